"""How figures look, and how they are written.

The same data give the same bytes: no date, no program's name, and matplotlib's own settings whatever the user's are.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import wrap
from typing import Any

from emofocus.errors import MissingExtraError

WIDTH = 8.0
"""Inches; about what a page of GitHub shows without shrinking."""

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#767676"
"""Of Okabe and Ito's colors, which everybody can tell apart."""

EMOTIONS = ("#bbbbbb", "#56b4e9", "#e69f00", "#0072b2", "#d55e00", "#cc79a7", "#009e73", "#f0e442")
"""Of classes, in their order; the lightest for the mildest."""

MAP = "Blues"
"""One hue from light to dark: equal to eyes with and without color blindness, and in print."""

STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "emofocus",  # names inside an SVG are random without one
}


@contextmanager
def style() -> Iterator[None]:
    """Draw with our settings and without the user's."""
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
    """An empty figure, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def add_title(figure: Any, title: str, what: str) -> None:
    """Two lines, the second broken where the figure is too narrow for it."""
    letters = int(13 * figure.get_figwidth())
    figure.suptitle("\n".join([title, *wrap(what, letters)]), fontsize=11)
