"""Several corpora as one: their classes harmonized, their speakers and files apart."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from emofocus.corpora.corpus import SCHEMA, Corpus
from emofocus.corpora.labels import FOUR
from emofocus.errors import CorpusError, one_of

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "neutral": ("neutral", "calm"),
    "happy": ("happy", "happiness", "joy"),
    "sad": ("sad", "sadness"),
    "angry": ("angry", "anger"),
    "fearful": ("fearful", "fear"),
    "disgust": ("disgust", "disgusted"),
    "surprised": ("surprised", "surprise"),
}
"""Class of several corpora → classes of one corpus that it takes."""

HARMONIES: Mapping[str, tuple[str, ...]] = {"seven": tuple(SYNONYMS), "four": FOUR}
"""Classes of several corpora by the name of their preset; the first one is the default."""

KEPT = ("tess", "ased", "turev")
"""Corpora that are kept for testing: no model that learns from several corpora is trained on them or chosen by them."""

_PREFIXED = ("file", "key", "speaker", "session", "source", "embedding")
"""Columns whose values begin with the name of their corpus, in a table of several."""


def joined(corpora: Sequence[Corpus], labels: str | None = None, kept: Iterable[str] = KEPT) -> Corpus:
    """Several corpora as one.

    Utterances whose class is none of the harmonized ones are left out, and counted.

    Args:
        corpora: The corpora, with their usual classes.
        labels: Name in `HARMONIES`; the first by default.
        kept: Names of corpora that are only tested.

    Raises:
        CorpusError: Two corpora share a name, there are no such labels, or a corpus has none of the classes.
    """
    names = [corpus.name for corpus in corpora]
    refuse_repeated(names)
    classes = harmony(labels)
    parts = [_harmonized(corpus, classes) for corpus in corpora]
    present = {emotion for part in parts for emotion in part["emotion"].unique()}
    return Corpus(
        name="+".join(names),
        root=Path(),
        classes=tuple(name for name in classes if name in present),
        table=pl.concat(parts),
        license="; ".join(f"{corpus.name}: {corpus.license}" for corpus in corpora),
        left_out={
            f"{corpus.name}/{label}": count for corpus in corpora for label, count in _left_out(corpus, classes).items()
        },
        roots={corpus.name: corpus.root for corpus in corpora},
        kept=tuple(name for name in names if name in set(kept)),
    )


def refuse_repeated(names: Sequence[str]) -> None:
    """Refuse two corpora of one name.

    Raises:
        CorpusError: There are two.
    """
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise CorpusError(f"two corpora are called {repeated[0]!r}; name each of several corpora once")


def harmony(labels: str | None) -> tuple[str, ...]:
    """Classes of several corpora by the name of a preset, or the usual ones.

    Raises:
        CorpusError: There is no such preset.
    """
    name = labels or next(iter(HARMONIES))
    if name not in HARMONIES:
        raise CorpusError(f"--labels {name!r} is no set of classes for several corpora ({one_of(HARMONIES)})")
    return HARMONIES[name]


def describe(corpus: Corpus) -> list[str]:
    """Lines that tell which labels each class takes, and for each corpus the utterances of each class that it has."""
    lines = [f"class {name}: labels {', '.join(SYNONYMS[name])}" for name in corpus.classes]
    for name in corpus.members:
        own = corpus.table.filter(pl.col("corpus") == name)
        counts = dict(own["emotion"].value_counts().iter_rows())
        held = ", ".join(f"{label} {counts[label]}" for label in corpus.classes if label in counts)
        lacks = [label for label in corpus.classes if label not in counts]
        left_out = _of_member(corpus.left_out, name)
        words = [f"{name}: {len(own)} utterances, {own['speaker'].n_unique()} speakers: {held}"]
        trained = "" if name in corpus.kept else " (masked in the loss)"
        words += [f"lacks {', '.join(lacks)}{trained}"] if lacks else []
        words += [f"left out: {', '.join(f'{label} {n}' for label, n in left_out.items())}"] if left_out else []
        words += ["only tested"] if name in corpus.kept else []
        lines.append("; ".join(words))
    return lines


def entries(corpus: Corpus) -> dict[str, dict[str, object]]:
    """Entry of each of several corpora in a result: utterances, speakers, classes, and whether it is only tested."""
    held = corpus.table.group_by("corpus", maintain_order=True).agg(
        pl.len(), pl.col("speaker").n_unique(), pl.col("emotion").unique()
    )
    return {
        name: {
            "utterances": utterances,
            "speakers": speakers,
            "classes": [label for label in corpus.classes if label in emotions],
            "only_tested": name in corpus.kept,
        }
        for name, utterances, speakers, emotions in held.iter_rows()
        if name
    }


def _harmonized(corpus: Corpus, classes: Sequence[str]) -> pl.DataFrame:
    """Rows of a corpus that have one of the classes, named as those of several corpora."""
    mapping = {synonym: name for name in classes for synonym in SYNONYMS[name]}
    emotion = pl.col("emotion").str.to_lowercase().replace_strict(mapping, default=None)
    table = corpus.table.with_columns(emotion=emotion, corpus=pl.lit(corpus.name)).filter(
        pl.col("emotion").is_not_null()
    )
    if not len(table):
        raise CorpusError(f"{corpus.name} has none of the classes {', '.join(classes)} ({one_of(corpus.classes)})")
    prefixed = [
        pl.when(pl.col(name) == "").then(pl.lit("")).otherwise(pl.lit(f"{corpus.name}/") + pl.col(name)).alias(name)
        for name in _PREFIXED
    ]
    return table.with_columns(prefixed).select(list(SCHEMA))


def _left_out(corpus: Corpus, classes: Sequence[str]) -> dict[str, int]:
    """Utterances of each label of a corpus that no class takes."""
    taken = {synonym for name in classes for synonym in SYNONYMS[name]}
    counts = corpus.table["emotion"].value_counts(sort=True).iter_rows()
    return {**corpus.left_out, **{label: n for label, n in counts if label.lower() not in taken}}


def _of_member(counts: Mapping[str, int], name: str) -> dict[str, int]:
    """Counts of one corpus, of those of several."""
    head = f"{name}/"
    return {label.removeprefix(head): n for label, n in counts.items() if label.startswith(head)}
