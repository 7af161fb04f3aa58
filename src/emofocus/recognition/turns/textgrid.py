"""TextGrids of Praat, long and short: a tier of turns for each speaker, and two more with what is heard in them.

The reader follows Praat's manual: numbers, texts in quotes and flags in angle brackets that stand free count, in their
order, and everything else is a comment. It takes time in proportion to the text, which may be a stranger's.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from emofocus.errors import ConfigError
from emofocus.recognition.turns.parsed import Parsed
from emofocus.recognition.turns.turn import Turn, TurnEmotion

TOKEN = re.compile(r'"(?:[^"]|"")*"|(?<!\S)<\w+>|(?<!\S)[-+]?\d[\d.eE+-]*(?!\S)|(?<!\S)![^\n]*')

INTERVALS, POINTS = "IntervalTier", "TextTier"

ROWS = {INTERVALS: ("intervals", ("xmin", "xmax", "text")), POINTS: ("points", ("number", "mark"))}
"""Kind of tier → name of its rows, and names of their values."""

FINER = ("words", "phones")
"""Ends of the names of tiers that are no turns, but their words and sounds, as the Montreal Forced Aligner writes."""

RESULTS = (" emotion", " scores")
"""Ends of the names of tiers that hold results."""


@dataclass(slots=True)
class Tier:
    """A tier: rows of two times and a text, or of one time and a mark, all as the file spells them."""

    kind: str
    name: str
    start: str
    end: str
    rows: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def has_turns(self) -> bool:
        """Whether its intervals are turns."""
        return self.kind == INTERVALS and not self.name.lower().endswith((*FINER, *RESULTS))


def parse(text: str, name: str, recording: str) -> Parsed:
    """Read turns: intervals with a text, of tiers that are named after their speakers.

    Args:
        text: Content of the file.
        name: Name of the file in errors.
        recording: Not used: a TextGrid names no recording.

    Raises:
        ConfigError: The text is no TextGrid, or breaks off.
    """
    try:
        start, end, tiers = _read(_tokens(text))
        turns = [
            Turn(float(row[0]), float(row[1]), tier.name, row[2].strip())
            for tier in tiers
            if tier.has_turns
            for row in tier.rows
            if row[2].strip()
        ]
    except (StopIteration, ValueError) as error:
        raise ConfigError(f"{name}: not a TextGrid, or one that breaks off") from error

    def render(emotions: Sequence[TurnEmotion], _: Sequence[str]) -> str:
        left = iter(emotions)
        found = [part for tier in tiers for part in (_with_results(tier, left) if tier.has_turns else [tier])]
        return "\n".join(_lines(start, end, found)) + "\n"

    return Parsed(turns, render)


def _tokens(text: str) -> Iterator[str]:
    return (match[0] for match in TOKEN.finditer(text) if not match[0].startswith("!"))


def _read(tokens: Iterator[str]) -> tuple[str, str, list[Tier]]:
    """Start, end and tiers.

    Raises:
        StopIteration: The text breaks off.
        ValueError: It is no TextGrid.
    """
    if (next(tokens), next(tokens)) != ('"ooTextFile"', '"TextGrid"'):
        raise ValueError
    start, end = next(tokens), next(tokens)
    count = int(next(tokens)) if next(tokens) == "<exists>" else 0
    return start, end, [_tier(tokens) for _ in range(count)]


def _tier(tokens: Iterator[str]) -> Tier:
    tier = Tier(_text(tokens), _text(tokens), next(tokens), next(tokens))
    if tier.kind not in ROWS:
        raise ValueError
    for _ in range(int(next(tokens))):
        times = [next(tokens) for _ in ROWS[tier.kind][1][:-1]]
        tier.rows.append((*times, _text(tokens)))
    return tier


def _text(tokens: Iterator[str]) -> str:
    token = next(tokens)
    if not token.startswith('"'):
        raise ValueError
    return token[1:-1].replace('""', '"')


def _with_results(tier: Tier, left: Iterator[TurnEmotion]) -> list[Tier]:
    """A tier of turns, and two of the same intervals with the emotion and all scores of each."""
    emotions = [next(left) if row[2].strip() else None for row in tier.rows]
    words = [emotion.words if emotion else "" for emotion in emotions]
    scores = [_scores(emotion) if emotion else "" for emotion in emotions]
    results = [
        Tier(INTERVALS, tier.name + end, tier.start, tier.end, _relabeled(tier, texts))
        for end, texts in zip(RESULTS, (words, scores), strict=True)
    ]
    return [tier, *results]


def _relabeled(tier: Tier, texts: Sequence[str]) -> list[tuple[str, ...]]:
    return [(row[0], row[1], text) for row, text in zip(tier.rows, texts, strict=True)]


def _scores(emotion: TurnEmotion) -> str:
    return " ".join(f"{label}={score:.4f}" for label, score in emotion.scores.items())


def _lines(start: str, end: str, tiers: Sequence[Tier]) -> Iterator[str]:
    """Lines of a long TextGrid."""
    yield from ('File type = "ooTextFile"', 'Object class = "TextGrid"', "", f"xmin = {start}", f"xmax = {end}")
    yield from ("tiers? <exists>", f"size = {len(tiers)}", "item []:")
    for number, tier in enumerate(tiers, start=1):
        yield from (f"    item [{number}]:", f"        class = {_quoted(tier.kind)}")
        yield from (
            f"        name = {_quoted(tier.name)}",
            f"        xmin = {tier.start}",
            f"        xmax = {tier.end}",
        )
        kind, names = ROWS[tier.kind]
        yield f"        {kind}: size = {len(tier.rows)}"
        for place, (*times, text) in enumerate(tier.rows, start=1):
            yield f"        {kind} [{place}]:"
            yield from (
                f"            {key} = {value}" for key, value in zip(names, (*times, _quoted(text)), strict=True)
            )


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
