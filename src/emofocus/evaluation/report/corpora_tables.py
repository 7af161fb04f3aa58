"""Tables of results on several corpora: four and all classes side by side, by test corpus, language and sex."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from emofocus.corpora.labels import FOUR
from emofocus.evaluation.report.entries import Entry
from emofocus.evaluation.report.formatting import NONE, seeds
from emofocus.evaluation.results import RunResult
from emofocus.metrics.statistics import FIGURES
from emofocus.utils.markdown import table

WORDS = """\
### Each test corpus: UA % of four classes / of all

Four classes: utterances labeled neutral (calm among them), happy, sad or angry, whose most probable class of these four
is the answer. All: all utterances, and the most probable of all classes. A corpus that lacks a class counts those that
it has. Mean over test corpora, each alike. Several seeds: mean ± sample standard deviation over seeds.
"""

RANDOM = "random answers (expected)"

SEXES = ("female", "male")


def overview(entries: Sequence[Entry]) -> Iterator[str]:
    """Paragraphs on all results on several corpora: a row per model, recipe and protocol, a column per test corpus."""
    several = [entry for entry in entries if entry.first.groups]
    if not several:
        return
    names = list(dict.fromkeys(name for entry in several for name in test_corpora(entry.first)))
    rows = [_row(entry, names) for entry in several]
    floor = f"{100 / len(FOUR):.1f} / {100 / len(several[0].classes):.1f}"
    rows.append([RANDOM, "", *[floor] * (len(names) + 1)])
    yield WORDS
    yield table(["model, recipe", "protocol", *(f"`{name}`" for name in names), "mean"], rows, right=2)


def _row(entry: Entry, names: Sequence[str]) -> list[str]:
    own = [name for name in names if name in test_corpora(entry.first)]
    four, whole = ({name: _values(entry, name, asked) for name in own} for asked in (FOUR, None))
    cells = [f"{_shown(four[name])} / {_shown(whole[name])}" if name in own else NONE for name in names]
    means = [np.mean([values[name] for name in own], axis=0) for values in (four, whole)]
    return [
        f"`{entry.model}`, `{entry.recipe}` ({seeds(entry)})",
        f"`{entry.protocol}`",
        *cells,
        " / ".join(map(_shown, means)),
    ]


def details(entry: Entry) -> Iterator[str]:
    """Table of one result on several corpora: a row per test corpus, with language and sex."""
    first = entry.first
    if not first.groups:
        return
    rows = []
    for name in test_corpora(first):
        chosen = first.groups["corpus"] == name
        languages = ", ".join(sorted(set(first.groups["language"][chosen].tolist())))
        figures = [_shown(_values(entry, name, asked, kind)) for asked in (FOUR, None) for kind in ("wa", "ua")]
        women, men = (_of_sex(entry, name, sex) for sex in SEXES)
        gap = NONE if women is None or men is None else f"{100 * float(np.mean(women - men)):+.1f}".replace("-", "−")
        rows.append([f"`{name}`", languages, str(int(chosen.sum())), *figures, *map(_shown, (women, men)), gap])
    head = ["test corpus", "language", "utterances", "four: WA %", "four: UA %", "all: WA %", "all: UA %"]
    yield table([*head, "four, women: UA %", "four, men: UA %", "women − men"], rows, right=2)


def test_corpora(result: RunResult) -> list[str]:
    """Names of the corpora that a result tests, in the order of its summary."""
    tested = set(result.groups["corpus"].tolist())
    return [name for name in result.summary.corpora or () if name in tested]


def _values(entry: Entry, name: str, asked: Sequence[str] | None, kind: str = "ua") -> NDArray[np.float64]:
    """One figure of one test corpus for each seed (S,)."""
    number = FIGURES.index(kind)
    return np.array([r.figures_of(r.groups["corpus"] == name, asked)[number] for r in entry.results])


def _of_sex(entry: Entry, name: str, sex: str) -> NDArray[np.float64] | None:
    """UA of four classes of one sex in one test corpus for each seed (S,); None if there is no such utterance."""
    chosen = [(r.groups["corpus"] == name) & (r.groups["gender"] == sex) for r in entry.results]
    if not chosen[0].any():
        return None
    return np.array(
        [r.figures_of(own, FOUR)[FIGURES.index("ua")] for r, own in zip(entry.results, chosen, strict=True)]
    )


def _shown(values: NDArray[np.float64] | None) -> str:
    """Mean over seeds in percent, with the deviation where there are several."""
    if values is None:
        return NONE
    mean = f"{100 * float(values.mean()):.1f}"
    return f"{mean} ± {100 * float(values.std(ddof=1)):.1f}" if len(values) > 1 else mean
