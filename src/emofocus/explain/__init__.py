"""An explanation as pictures and as a page."""

from emofocus.explain.maps import draw_maps
from emofocus.explain.page import write_page
from emofocus.explain.story import caption, draw_story

__all__ = ["caption", "draw_maps", "draw_story", "write_page"]
