"""The auditor finds every leak that is planted, and none where there is none."""

import shutil
import subprocess
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofocus.audio.fingerprint import AudioFingerprint, altered_copies, fingerprint, fingerprint_of
from emofocus.audio.loading import load
from emofocus.corpora import Utterance, read_corpus
from emofocus.corpora.corpus import to_table
from emofocus.splits.audit import audit
from emofocus.splits.folds import PARTS, Fold
from helpers.properties import cases

CLASSES = ("neutral", "happy", "sad")
QUIET = np.zeros(0, np.uint32)

LEAKS = ("speaker", "session", "audio", "copy by source", "copy by name", "cut by name", "cut by times", "same row")
WANTS = {"copy by source": "recording", "copy by name": "recording", "cut by name": "recording"}
WANTS |= {"cut by times": "recording", "same row": "recording"}

SENTENCES = (
    "Kids are talking by the door, and nobody listens.",
    "Tomorrow I will come back with the other two books.",
    "That is exactly what happened on our way home.",
)

COPY_NAMES = ["{}_noise", "{}_aug2", "aug_{}", "{}_pitch+2", "{}-speed0.9", "sp1.1-{}", "{}_reverb_noise10", "{}_copy"]
CUT_NAMES = ["{}_seg1", "{}_chunk03", "{}-part2", "{}_window_4", "{}_seg1of3_noise"]


@st.composite
def clean_splits(draw: st.DrawFn) -> tuple[list[Utterance], list[str], Fold]:
    """A random corpus and a fold of it in which nothing leaks and no part lacks a class."""
    rows, parts = [], []
    sessions = draw(st.booleans())
    named = draw(st.sampled_from(["{s}-{c}-{n}", "spk{s}_take{n}_{c}", "{c}/{s}_{n:03}", "sp{s}_part_{c}_no{n}"]))
    for speaker in range(draw(st.integers(3, 9))):
        part = PARTS[speaker % 3] if speaker < 3 else draw(st.sampled_from(PARTS))
        session = f"{part}-{draw(st.integers(0, 2))}" if sessions else ""
        for emotion in CLASSES:
            for take in range(draw(st.integers(1, 3))):
                file = named.format(s=f"{speaker:02}", c=emotion, n=take) + draw(st.sampled_from([".wav", ".flac"]))
                text = draw(st.sampled_from(["", "door", "dog"]))
                rows.append(Utterance(file, emotion, f"{speaker:02}", session=session, text=text))
                parts.append(part)
    return rows, parts, fold_of(parts)


def fold_of(parts: list[str]) -> Fold:
    return Fold.of(*([i for i, part in enumerate(parts) if part == name] for name in PARTS))


def fingerprints_of_digests(digests: list[str]) -> list[AudioFingerprint]:
    return [AudioFingerprint(digest, QUIET) for digest in digests]


def failures(table: pl.DataFrame, fold: Fold, fingerprints: list[AudioFingerprint] | None = None) -> set[str]:
    return {offence.kind for offence in audit(table, [fold], fingerprints).offences if offence.fails}


@given(clean_splits())
@cases(100)
def test_a_clean_split_passes(split: tuple[list[Utterance], list[str], Fold]) -> None:
    rows, _, fold = split
    found = audit(to_table(rows), [fold], fingerprints_of_digests([str(n) for n in range(len(rows))]))
    assert found.passed, found.offences


@given(clean_splits(), st.sampled_from(LEAKS), st.data())
@cases(100)
def test_every_planted_leak_is_found_and_nothing_else(
    split: tuple[list[Utterance], list[str], Fold], leak: str, data: st.DataObject
) -> None:
    rows, parts, _ = split
    digests = [str(n) for n in range(len(rows))]
    victim = data.draw(st.integers(0, len(rows) - 1))
    other = data.draw(st.sampled_from([i for i, part in enumerate(parts) if part != parts[victim]]))
    one, two = rows[victim], rows[other]
    # The stranger is in the other part, alike in nothing but the planted leak.
    stranger = Utterance("new/stranger.wav", two.emotion, two.speaker, session=two.session)
    own = one.file.rsplit(".", 1)[0]
    folder, _, name = own.rpartition("/")
    make = {
        "speaker": lambda: {"speaker": one.speaker},
        "session": lambda: {"session": one.session or "shared"},
        "audio": dict,
        "copy by source": lambda: {"source": own},
        "copy by name": lambda: {"file": f"{folder or 'x'}/{data.draw(st.sampled_from(COPY_NAMES)).format(name)}.wav"},
        "cut by name": lambda: {"file": f"{folder or 'x'}/{data.draw(st.sampled_from(CUT_NAMES)).format(name)}.wav"},
        "cut by times": lambda: {"file": "long.wav", "start": 4.0, "end": 6.0},
        "same row": dict,
    }[leak]()
    rows.append(Utterance(**{field: getattr(stranger, field) for field in Utterance.__dataclass_fields__} | make))
    parts.append(parts[other])
    digests.append("planted")
    fold = fold_of(parts)
    if leak == "session":
        rows[victim] = Utterance(one.file, one.emotion, one.speaker, session=one.session or "shared", text=one.text)
    if leak == "audio":
        digests[-1] = digests[victim]
    if leak == "cut by times":
        rows.append(Utterance("long.wav", one.emotion, one.speaker, start=0.0, end=4.0, session=one.session))
        parts.append(parts[victim])
        digests.append("first half")
        fold = fold_of(parts)
    if leak == "same row":
        fold = Fold.of(*(np.append(part, victim) for part in fold.parts().values()))
    found = failures(to_table(rows), fold, fingerprints_of_digests(digests))
    if leak == "same row":  # whatever an utterance has is then shared too
        assert found >= {"recording", "speaker", "audio"}
    elif leak == "session" and one.session:
        assert found == {"session"}
    else:
        assert found == {WANTS.get(leak, leak)}


@given(clean_splits(), st.sampled_from(CLASSES), st.sampled_from(PARTS))
@cases(30, 300)
def test_a_class_absent_from_a_part_is_found(
    split: tuple[list[Utterance], list[str], Fold], emotion: str, name: str
) -> None:
    rows, parts, _ = split
    kept = [i for i, row in enumerate(rows) if (row.emotion, parts[i]) != (emotion, name)]
    fold = Fold.of(*([i for i in kept if parts[i] == part] for part in PARTS))
    offences = [offence for offence in audit(to_table(rows), [fold]).offences if offence.fails]
    assert [(offence.kind, offence.value) for offence in offences] == [("class", f"{emotion} absent from {name}")]


@given(clean_splits(), st.sampled_from(PARTS))
@cases(30, 300)
def test_an_empty_part_is_found(split: tuple[list[Utterance], list[str], Fold], name: str) -> None:
    rows, _, fold = split
    empty = Fold.of(**(fold.parts() | {name: []}))
    assert failures(to_table(rows), empty) == {"empty"}


def test_shared_sentences_are_a_warning_only() -> None:
    rows = [Utterance(f"{part}{c}.wav", c, part, text="door") for part in PARTS for c in CLASSES]
    found = audit(to_table(rows), [Fold.of([0, 1, 2], [3, 4, 5], [6, 7, 8])])
    assert found.passed
    assert [(item.kind, item.value, item.parts) for item in found.offences] == [
        ("text", "door", {"train": 3, "valid": 3, "test": 3})
    ]


def test_what_is_not_known_is_said_to_be_unseen() -> None:
    rows = [Utterance(f"{part}{c}.wav", c, "") for part in PARTS for c in CLASSES]
    found = audit(to_table(rows), [Fold.of([0, 1, 2], [3, 4, 5], [6, 7, 8])])
    assert set(found.unseen) == {"speaker", "session", "text", "audio", "altered"}


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """Nine sentences, spoken by three synthetic voices."""
    program = shutil.which("espeak-ng")
    if program is None:
        pytest.skip("espeak-ng, which speaks the test sentences, is not installed")
    folder = tmp_path_factory.mktemp("voices")
    found = []
    for number, (sentence, kind) in enumerate(product(SENTENCES, ("en-us", "en-us+f3", "en-us+m7"))):
        path = folder / f"{number}.wav"
        subprocess.run([program, "-v", kind, "-w", str(path), sentence], check=True, capture_output=True)
        found.append(load(path))
    return found


@pytest.mark.parametrize(
    "alter",
    [
        pytest.param(lambda x, g: 0.3 * x, id="softer"),
        pytest.param(lambda x, g: x + g.normal(0, 0.1 * x.std(), len(x)).astype(np.float32), id="noise 20 dB below"),
        pytest.param(lambda x, g: x[5_000:-6_000], id="a cut"),
        pytest.param(lambda x, g: np.concatenate([np.zeros(3_000, np.float32), x]), id="later"),
        pytest.param(lambda x, g: np.clip(x, -0.5 * x.max(), 0.5 * x.max()), id="clipped"),
    ],
)
def test_an_altered_copy_is_heard(alter: Callable[..., np.ndarray], voices: list[np.ndarray]) -> None:
    changed = alter(voices[3], np.random.default_rng(0))
    assert fingerprint_of(changed).digest != fingerprint_of(voices[3]).digest
    pairs = altered_copies([*map(fingerprint, voices), fingerprint(changed)])
    assert [(pair.first, pair.second) for pair in pairs] == [(3, 9)]


def test_an_altered_copy_in_another_part_is_a_leak(voices: list[np.ndarray]) -> None:
    rows = [Utterance(f"{part}{c}.wav", c, part) for part in PARTS for c in CLASSES]
    fingerprints = [fingerprint_of(0.5 * voices[0] if number == 8 else voices[number]) for number in range(9)]
    found = audit(to_table(rows), [Fold.of([0, 1, 2], [3, 4, 5], [6, 7, 8])], fingerprints)
    assert [(item.kind, item.value, item.parts) for item in found.offences] == [
        ("altered", "trainneutral", {"train": 1, "test": 1})
    ]


def test_takes_of_one_sentence_are_not_copies(ravdess: Path) -> None:
    """Actor 7 happens to have the corpus' one pair of equal files; other takes differ."""
    corpus = read_corpus("ravdess", ravdess, only=["speaker=07"])
    pairs = altered_copies([fingerprint(load(corpus.path(i))) for i in range(len(corpus))])
    names = [(corpus.utterances[pair.first].key, corpus.utterances[pair.second].key) for pair in pairs]
    assert names == [("03-01-03-01-02-01-07", "03-01-03-01-02-02-07")]
