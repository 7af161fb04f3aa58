"""Explanations of predictions, and their figures and pages."""

from emofocus.recognition.explanation.maps import draw_maps
from emofocus.recognition.explanation.page import write_page
from emofocus.recognition.explanation.figures import caption, draw_story

__all__ = ["caption", "draw_maps", "draw_story", "write_page"]
