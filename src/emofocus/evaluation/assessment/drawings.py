"""Drawings of a report as SVG, whose colors follow the page's."""

import html
from collections.abc import Sequence

from emofocus.evaluation.assessment.measures import Bin, Figure

ROW = 22
"""Height of a row in pixels."""

LETTER = 7.4
"""Width of a letter in pixels."""

WIDTH = 440
"""Width of a drawing; a narrower page shrinks it."""

SQUARE = 300
"""Width and height of a reliability diagram."""

LETTERS = 20
"""Letters of a name that are shown; most names differ at their ends."""


def interval_drawing(rows: Sequence[tuple[str, Figure]], title: str) -> str:
    """Figures from 0 to 100 % with their intervals, one below the other."""
    height = ROW * len(rows) + 34
    left = 12 + LETTER * max(len(_shortened(name)) for name, _ in rows)

    def place(share: float) -> float:
        return left + (WIDTH - left - 16) * share

    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" class="intervals" role="img" aria-label="{html.escape(title)}">']
    for tick in range(0, 101, 20):
        x = place(tick / 100)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{height - 28}" class="grid"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 12}" class="tick">{tick}</text>')
    for number, (name, figure) in enumerate(rows):
        parts += _interval(name, [place(share) for share in _shares(figure)], ROW * number + 4 + ROW / 2, left)
    parts.append(f'<text x="{place(1):.1f}" y="{height}" class="tick end">{html.escape(title)}</text></svg>')
    return "".join(parts)


def _shares(figure: Figure) -> tuple[float, float, float]:
    """Lower bound, value and upper bound."""
    return figure.low, figure.value, figure.high


def _interval(name: str, places: Sequence[float], y: float, left: float) -> list[str]:
    """The name of a row, at the places of its lower bound, value and upper bound a line and a point."""
    low, value, high = places
    return [
        f'<text x="{left - 8:.1f}" y="{y + 4:.1f}" class="name">{html.escape(_shortened(name))}</text>',
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}" class="whisker"/>',
        f'<circle cx="{value:.1f}" cy="{y:.1f}" r="4.5" class="point"/>',
    ]


def _shortened(name: str) -> str:
    return name if len(name) <= LETTERS else f"{name[:4]}…{name[5 - LETTERS :]}"


def reliability_drawing(bins: Sequence[Bin]) -> str:
    """Share of right answers over their probability; the diagonal is perfect. Areas tell how many there are."""
    margin, size = 36, SQUARE - 48
    most = max((item.utterances for item in bins), default=1)

    def x(share: float) -> float:
        return margin + size * share

    def y(share: float) -> float:
        return 8 + size * (1 - share)

    parts = [f'<svg viewBox="0 0 {SQUARE} {SQUARE}" class="reliability" role="img" aria-label="reliability">']
    for tick in range(0, 101, 20):
        share = tick / 100
        parts.append(f'<line x1="{x(share):.1f}" x2="{x(share):.1f}" y1="{y(0):.1f}" y2="{y(1):.1f}" class="grid"/>')
        parts.append(f'<line x1="{x(0):.1f}" x2="{x(1):.1f}" y1="{y(share):.1f}" y2="{y(share):.1f}" class="grid"/>')
        parts.append(f'<text x="{x(share):.1f}" y="{y(0) + 14:.1f}" class="tick">{tick}</text>')
        parts.append(f'<text x="{margin - 6}" y="{y(share) + 4:.1f}" class="name">{tick}</text>')
    parts.append(f'<line x1="{x(0):.1f}" y1="{y(0):.1f}" x2="{x(1):.1f}" y2="{y(1):.1f}" class="diagonal"/>')
    for item in bins:
        radius = 2 + 8 * (item.utterances / most) ** 0.5
        parts.append(
            f'<circle cx="{x(item.confidence):.1f}" cy="{y(item.accuracy):.1f}" r="{radius:.1f}" class="point">'
            f"<title>{item.utterances} utterances: {100 * item.confidence:.0f} % sure, "
            f"{100 * item.accuracy:.0f} % right</title></circle>"
        )
    parts.append(f'<text x="{x(1):.1f}" y="{SQUARE - 2}" class="tick end">probability %, right % upwards</text></svg>')
    return "".join(parts)
