"""Explanations of predictions, and their figures and pages."""

from emofocus.recognition.explanation.figures import caption, draw_maps, draw_story
from emofocus.recognition.explanation.page import write_page

__all__ = ["caption", "draw_maps", "draw_story", "write_page"]
