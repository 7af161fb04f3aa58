"""Label maps: owner's labels → classes, with a count of the labels that have no class."""

from collections.abc import Mapping

import polars as pl

from emofocus.corpora.corpus import Reader
from emofocus.errors import CorpusError, one_of

FOUR = ("neutral", "happy", "sad", "angry")
"""Classes of the preset `four`, which every corpus has."""

LabelMap = Mapping[str, str]
"""Owner's label → class."""


def presets_of(reader: Reader) -> dict[str, LabelMap]:
    """Label maps of a corpus by name."""
    four = {label: name for label, name in reader.labels.items() if name in FOUR}
    return {"default": reader.labels, "four": four, **reader.presets}


def label_map(text: str | None, presets: Mapping[str, LabelMap]) -> LabelMap:
    """Parse the option `--labels`.

    Args:
        text: Name of a preset, or classes with their labels: ``"happy=hap,exc sad=sad"``; None for the preset
            ``default``.
        presets: Label maps by name.

    Raises:
        CorpusError: The preset does not exist, or two classes have the same label.
    """
    text = text or "default"
    if text in presets:
        return presets[text]
    mapping: dict[str, str] = {}
    for item in text.split():
        name, equals, labels = item.partition("=")
        if not (name and equals and labels):
            raise CorpusError(f"labels {item!r} are no preset ({one_of(presets)}) and not of the form happy=hap,exc")
        for label in labels.split(","):
            if label in mapping:
                raise CorpusError(f"the label {label!r} is given to both {mapping[label]!r} and {name!r}")
            mapping[label] = name
    return mapping


def apply_labels(table: pl.DataFrame, labels: LabelMap) -> tuple[pl.DataFrame, dict[str, int]]:
    """Replace labels by classes.

    Returns:
        Rows whose label has a class, and the number of utterances of each other label, largest first.

    Raises:
        CorpusError: No utterance has a label of the map.
    """
    counts = {str(label): int(n) for label, n in table["emotion"].value_counts(sort=True).iter_rows()}
    absent = [label for label in labels if label not in counts]
    if len(absent) == len(labels):
        raise CorpusError(f"no utterance has a label that a class takes: {', '.join(absent)} ({one_of(counts)})")
    kept = table.filter(pl.col("emotion").is_in(list(labels)))
    kept = kept.with_columns(emotion=pl.col("emotion").replace_strict(dict(labels)))
    return kept, {label: n for label, n in counts.items() if label not in labels}


def classes_of(labels: LabelMap) -> tuple[str, ...]:
    """Classes of a label map in their order."""
    return tuple(dict.fromkeys(labels.values()))
