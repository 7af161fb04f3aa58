"""Style of all figures.

The same data give the same bytes: figures hold no date and no program name, and the user's settings of matplotlib are
ignored.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import wrap
from typing import Any

from emofocus.errors import MissingExtraError

WIDTH = 8.0
"""Width in inches; a page of GitHub shows about this much without shrinking."""

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#767676"
"""Colors of Okabe and Ito, which are distinct for eyes with and without color blindness."""

EMOTIONS = ("#bbbbbb", "#56b4e9", "#e69f00", "#0072b2", "#d55e00", "#cc79a7", "#009e73", "#f0e442")
"""Colors of classes in their order; the lightest is for the mildest class."""

MAP = "Blues"
"""Color map of one hue from light to dark, which also works with color blindness and in print."""

STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "emofocus",  # names inside an SVG are random without one
}


@contextmanager
def style() -> Iterator[None]:
    """Draw with `STYLE` instead of the user's settings."""
    matplotlib = _matplotlib()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtraError("matplotlib", "figures") from error
    return matplotlib


def blank(height: float, width: float = WIDTH) -> Any:
    """Empty figure of a size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def add_title(figure: Any, title: str, subtitle: str) -> None:
    """Add a title and a subtitle, which is wrapped to the width of the figure."""
    letters = int(13 * figure.get_figwidth())
    figure.suptitle("\n".join([title, *wrap(subtitle, letters)]), fontsize=11)
