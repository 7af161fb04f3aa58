"""Label maps: owner's labels → classes, with a count of the labels that have no class."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median

import polars as pl

from emofocus.corpora.corpus import Reader
from emofocus.errors import CorpusError, one_of
from emofocus.utils.table_text import near

FOUR = ("neutral", "happy", "sad", "angry")
"""Classes of the preset `four`, which every corpus has."""

SPELLINGS = {
    "neutral": ("neutral", "neutrality", "neu"),
    "happy": ("happy", "happiness", "hap", "joy", "joyful"),
    "sad": ("sad", "sadness"),
    "angry": ("angry", "anger", "ang"),
}
"""Class of the preset `four` → words for it."""

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    **SPELLINGS,
    "calm": ("calm", "calmness"),
    "fearful": ("fearful", "fear", "fea", "afraid", "scared", "anxious", "anxiety"),
    "disgust": ("disgust", "disgusted", "dis"),
    "surprised": ("surprised", "surprise", "sur", "ps"),
    "bored": ("bored", "boredom", "bor"),
    "excited": ("excited", "excitement", "exc"),
    "frustrated": ("frustrated", "frustration", "fru"),
    "contempt": ("contempt", "contemptuous", "con"),
}
"""Emotion → words for it."""

_EMOTION = {word: emotion for emotion, words in SYNONYMS.items() for word in words}

_WORDS = """
achievement admiration adoration affection afraid agitated agitation amazed amazement amused amusement annoyance
annoyed anxiety anxious apathetic apathy apologetic ashamed assertive astonished astonishment awe bor bored
boredom cal calm calmness cheerful cold compassion con concern concerned confident confused confusion contempt
contemptuous content contentment curiosity curious delighted depressed desire despair desperate determined dis
disappointed disappointment disapproval disgust disgusted dissatisfied distress distressed doubt drunk elated
elation embarrassed embarrassment empathic empathy encouraging enthusiasm enthusiastic envy exc excited
excitement fea fear fearful friendly frightened fru frustrated frustration fun furious fury grateful gratitude
grief guilt guilty hate hatred helpless hesitant high hope hopeful horror hostile hot hurt impatient indifferent
insecure interest interested ironic irony irritated irritation jealous jealousy laughter lonely love loving low
mad medium melancholy mixed negative nervous nervousness nostalgia optimistic oth other pain panic passive peace
peaceful playful pleasant pleased pleasure polite positive power pride proud puzzled question rage regret
relaxed relief relieved remorse resigned romantic sarcasm sarcastic satisfaction satisfied scared scorn serious
shame shocked shy skeptical sleepiness sleepy soft stress stressed sur surprise surprised suspicious sympathetic
sympathy tender tenderness tense tension terror thoughtful tired triumph trust uncertain uncomfortable unhappy
unsure upset urgent whisper worried worry
"""

WORDS = frozenset(_WORDS.split()) | {word for words in SPELLINGS.values() for word in words}
"""Labels that corpora use, in lower case. A label that is none of them may be a slip."""

LabelMap = Mapping[str, str]
"""Owner's label → class."""


def presets_of(reader: Reader) -> dict[str, LabelMap]:
    """Label maps of a corpus by name."""
    four = {label: name for label, name in reader.labels.items() if name in FOUR}
    return {"default": reader.labels, "four": four, **reader.presets}


def presets_of_labels(counts: Mapping[str, int]) -> dict[str, LabelMap]:
    """Label maps of a manifest by name.

    ``default`` takes every label but those that look like slips: a label of `WORDS` never does; another does where it
    is at most half as frequent as the median label, or is spelt like a more frequent one of `WORDS`. ``all`` takes
    every label, and ``four`` those with a spelling of the four classes. Labels that differ in case alone are one class,
    named as most of them are spelt.

    Args:
        counts: Number of utterances of each label.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        groups[label.strip().casefold()].append(label)
    sizes = {group: sum(counts[label] for label in labels) for group, labels in groups.items()}
    meant = [group for group in groups if not _is_slip(group, sizes)]
    meant = meant if len(meant) > 1 else list(groups)

    def labels_of(chosen: Iterable[str]) -> LabelMap:
        names = {label: groups[group][0] for group in chosen for label in groups[group]}
        return dict(sorted(names.items(), key=lambda item: item[1]))

    four = {label: name for name, words in SPELLINGS.items() for word in words for label in groups.get(word, ())}
    return {"default": labels_of(meant), "all": labels_of(groups), "four": four}


def _is_slip(label: str, sizes: Mapping[str, int]) -> bool:
    if label in WORDS:
        return False
    known = [other for other, size in sizes.items() if other in WORDS and size > sizes[label]]
    return 2 * sizes[label] <= median(sizes.values()) or near(label, known) != ""


def counts_of(table: pl.DataFrame) -> dict[str, int]:
    """Number of utterances of each label, largest first."""
    counts = table["emotion"].value_counts().sort(["count", "emotion"], descending=[True, False])
    return {str(label): int(n) for label, n in counts.iter_rows()}


def lines_of(counts: Mapping[str, int], labels: LabelMap) -> Iterator[str]:
    """Spell a label map: the labels of each class with their counts, and the labels that no class takes.

    Args:
        counts: Number of utterances of each label.
        labels: The map.
    """
    classes: dict[str, list[str]] = {name: [] for name in classes_of(labels)}
    for label, name in labels.items():
        classes[name].append(f"{label} {counts.get(label, 0)}")
    spelled = (own[0] if own[0].startswith(f"{name} ") and len(own) == 1 else f"{name} = {' + '.join(own)}"
               for name, own in classes.items())  # fmt: skip
    yield f"classes: {', '.join(spelled)}"
    left_out = [label for label in counts if label not in labels]
    if left_out:
        yield f"LEFT OUT, because no class takes their label: {_listed(left_out, counts, labels)}"


def unknown_lines(counts: Mapping[str, int], labels: LabelMap) -> Iterator[str]:
    """Spell the labels with a class that are none of `WORDS`, if there are any."""
    unknown = [label for label in labels if label.strip().casefold() not in WORDS]
    if unknown:
        yield f"classes, although no such emotion is known: {_listed(unknown, counts, WORDS)}"


def _listed(labels: Iterable[str], counts: Mapping[str, int], known: Iterable[str]) -> str:
    names = sorted({*known, *WORDS})
    return ", ".join(f"{label} {counts[label]}{near(label, known) or near(label, names)}" for label in labels)


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
    counts = counts_of(table)
    absent = [label for label in labels if label not in counts]
    if len(absent) == len(labels):
        raise CorpusError(f"no utterance has a label that a class takes: {', '.join(absent)} ({one_of(counts)})")
    kept = table.filter(pl.col("emotion").is_in(list(labels)))
    kept = kept.with_columns(emotion=pl.col("emotion").replace_strict(dict(labels)))
    return kept, {label: n for label, n in counts.items() if label not in labels}


def classes_of(labels: LabelMap) -> tuple[str, ...]:
    """Classes of a label map in their order."""
    return tuple(dict.fromkeys(labels.values()))


def aligned(labels: Iterable[str], classes: Sequence[str]) -> dict[str, str]:
    """Label → the class that it means, for labels of which there is one: the same word in any case, or a synonym."""
    exact = {name.casefold(): name for name in classes}
    by_emotion: dict[str, str] = {}
    for name in classes:
        by_emotion.setdefault(_emotion(name), name)
    named = {label: exact.get(label.strip().casefold()) or by_emotion.get(_emotion(label)) for label in labels}
    return {label: name for label, name in named.items() if name is not None}


def _emotion(word: str) -> str:
    plain = word.strip().casefold()
    return _EMOTION.get(plain, plain)
