"""What `inspect` finds in whole and in damaged corpora, and the overview figure."""

import sys
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
import soundfile

from conftest import Encode, Tone
from emofocus.corpora import CORPORA, Utterance
from emofocus.corpora.check import Count, Report, count, inspect
from emofocus.corpora.corpus import to_table
from emofocus.corpora.figure import draw, write_overview
from emofocus.errors import ConfigError, MissingExtraError
from helpers.trees import TREES

PAIR = ["03-01-03-01-02-01-07", "03-01-03-01-02-02-07"]
CLASSES = ("neutral", "happy", "sad", "angry", "fearful", "disgust")


@pytest.fixture
def emodb(tmp_path: Path) -> Path:
    """All of EmoDB, with made-up sound."""
    return TREES["emodb"](tmp_path / "emodb", audio=True, seconds=0.05)


def check(name: str, root: Path) -> Report:
    return inspect(CORPORA[name].read(root), root, name, CORPORA[name])


def own(root: Path, utterances: Iterable[Utterance]) -> Report:
    """A report without a reader, as of a manifest."""
    return inspect(to_table(utterances), root, "own")


# Real corpora


def test_ravdess_is_right_and_its_equal_pair_is_found(ravdess: Path) -> None:
    start = time.monotonic()
    report = check("ravdess", ravdess)
    assert time.monotonic() - start < 15
    assert report.problems == []
    assert [(group.keys, group.labels, group.known) for group in report.copies] == [(PAIR, ["happy"], True)]
    assert (report.rates, report.channels, report.formats) == ({16_000: 1440}, {1: 1440}, {"FLAC PCM_16": 1440})
    assert report.counts.utterances == Count(1440, 1440)
    assert report.counts.genders == {"female": 720, "male": 720}
    assert report.durations is not None
    assert report.durations.total == pytest.approx(sum(report.seconds.values()), abs=0.1)
    assert (report.extra, report.silent, report.damaged) == ([], [], {})


def test_the_pair_is_a_problem_when_nobody_declares_it(ravdess: Path) -> None:
    table = CORPORA["ravdess"].read(ravdess)
    seventh = table.filter((table["speaker"] == "07") & (table["emotion"] == "happy"))
    report = inspect(seventh.with_columns(source=pl.lit("")), ravdess, "own")
    assert report.problems == [f"groups of utterances with equal audio: 1 ({' = '.join(PAIR)})"]


def test_original_files_keep_their_rate_and_channels(data: Path) -> None:
    report = check("ravdess", data / "ravdess-original")
    assert (report.rates, report.channels) == ({48_000: 10}, {1: 8, 2: 2})
    assert len(report.counts.missing) == 1430
    assert "10 of 1440 utterances" in report.problems
    assert report.verdict.startswith("ravdess is NOT right: 10 of 1440 utterances; ")


# Damage


def test_a_whole_corpus_is_right(emodb: Path) -> None:
    report = check("emodb", emodb)
    assert report.problems == []
    assert report.verdict == "emodb is right: 535 utterances, 10 speakers, 0.01 h"
    assert report.counts.by_speaker["03"].gender == "male"
    assert sum(speaker.utterances for speaker in report.counts.by_speaker.values()) == 535


def test_missing_files_are_named(tmp_path: Path) -> None:
    root = TREES["savee"](tmp_path, audio=True, seconds=0.05)
    gone = sorted(root.rglob("*.wav"))[7]
    gone.unlink()
    report = check("savee", root)
    assert report.counts.missing == [gone.stem]
    assert f"utterances missing: 1 ({gone.stem})" in report.problems


def test_undecodable_files_do_not_stop_the_others(emodb: Path) -> None:
    files = sorted(emodb.rglob("*.wav"))
    files[0].write_bytes(b"")
    files[1].write_text("no sound at all")
    files[2].write_bytes(files[2].read_bytes()[:600])
    soundfile.write(files[3], np.full(800, np.nan, np.float32), 16_000, subtype="FLOAT")
    report = check("emodb", emodb)
    names = [f"wav/{path.name}" for path in files[:4]]
    assert list(report.damaged) == names
    assert [report.damaged[name].split()[0] for name in names] == ["is", "not", "cut:", "holds"]
    assert report.problems == [f"files that cannot be decoded: 4 ({', '.join(names)})"]
    assert len(report.seconds) == 531


def test_equal_audio_under_two_names_is_a_problem(emodb: Path) -> None:
    happy, angry = next(emodb.rglob("*Fa.wav")), next(emodb.rglob("*Wa.wav"))
    samples, rate = soundfile.read(happy, dtype="int16")
    soundfile.write(angry.with_suffix(".flac"), samples, rate)
    angry.unlink()
    report = check("emodb", emodb)
    (group,) = report.copies
    assert set(group.keys) == {happy.stem, angry.stem}
    assert (group.labels, group.known) == (["angry", "happy"], False)
    assert report.problems == [f"groups of utterances with equal audio: 1 ({' = '.join(group.keys)})"]


def test_equal_samples_at_another_rate_are_no_copy(tmp_path: Path, tone: Tone) -> None:
    for name, rate in (("a", 16_000), ("b", 8_000)):
        soundfile.write(tmp_path / f"{name}.wav", tone(), rate)
    assert own(tmp_path, [Utterance("a.wav", "sad", "1"), Utterance("b.wav", "sad", "1")]).copies == []


def test_declared_copies_are_known(tmp_path: Path, tone: Tone) -> None:
    for name in "abc":
        soundfile.write(tmp_path / f"{name}.wav", tone(), 16_000)
    rows = [Utterance("a.wav", "sad", "1"), *(Utterance(f"{name}.wav", "sad", "1", source="a") for name in "bc")]
    report = own(tmp_path, rows)
    assert [group.known for group in report.copies] == [True]
    assert report.problems == []


@pytest.mark.parametrize(("level", "silent"), [(0.0, True), (0.0009, True), (0.0012, False)])
def test_silence_is_what_stays_below_60_db(tmp_path: Path, tone: Tone, level: float, silent: bool) -> None:
    soundfile.write(tmp_path / "a.wav", tone(level=level), 16_000)
    assert own(tmp_path, [Utterance("a.wav", "sad", "1")]).silent == (["a"] if silent else [])


@pytest.mark.parametrize(("run", "share"), [(2, None), (3, 0.003), (100, 0.1)])
def test_clipping_is_a_run_at_full_scale(tmp_path: Path, run: int, share: float | None) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 1000)
    samples[500 : 500 + run] = -1.0
    samples[10], samples[990] = 1.0, 1.0  # peaks that just reach it
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    assert own(tmp_path, [Utterance("a.wav", "sad", "1")]).clipped == ({} if share is None else {"a": share})


def test_strange_audio_is_named_but_is_no_problem(emodb: Path) -> None:
    soundfile.write(emodb / "wav" / "noise.wav", np.zeros(800), 16_000)
    report = check("emodb", emodb)
    assert (report.extra, report.problems) == (["wav/noise.wav"], [])


# Cuts of long files, and other formats


def test_cuts_of_one_file_are_measured_apart(tmp_path: Path, tone: Tone) -> None:
    loud, quiet = tone(seconds=70, rate=8000), np.zeros(8000, np.float32)
    soundfile.write(tmp_path / "a.wav", np.concatenate([loud, quiet]), 8000)
    times = [(None, 20.0), (25.0, 45.5), (70.0, None), (1.0, 2.0), (2.0, 3.0)]
    report = own(
        tmp_path, [Utterance("a.wav", "sad", "1", key=f"{n}", start=a, end=b) for n, (a, b) in enumerate(times)]
    )
    assert report.seconds == {"0": 20.0, "1": 20.5, "2": 1.0, "3": 1.0, "4": 1.0}
    assert report.silent == ["2"]
    assert [group.keys for group in report.copies] == [["3", "4"]]  # 440 whole waves each
    assert report.rates == {8000: 1}


def test_a_cut_behind_the_end_is_damage(tmp_path: Path, tone: Tone) -> None:
    soundfile.write(tmp_path / "a.wav", tone(seconds=2), 16_000)
    report = own(tmp_path, [Utterance("a.wav", "sad", "1", key="x", start=1.0, end=3.0)])
    assert report.damaged == {"a.wav": "x: from 1 to 3 s is not in this file of 2.00 s"}
    assert own(tmp_path, [Utterance("a.wav", "sad", "1", key="x", start=1.0, end=2.04)]).damaged == {}


def test_formats_that_soundfile_cannot_read(tmp_path: Path, tone: Tone, encode: Encode) -> None:
    encode(tmp_path / "a.m4a", np.stack([tone(rate=44_100)] * 2), 44_100)
    report = own(tmp_path, [Utterance("a.m4a", "sad", "1")])
    assert (report.rates, report.channels, report.problems) == ({44_100: 1}, {2: 1}, [])
    assert next(iter(report.formats)).endswith("aac")


def test_files_that_are_not_there_are_damage(tmp_path: Path) -> None:
    report = own(tmp_path, [Utterance("a.wav", "sad", "1")])
    assert report.damaged == {"a.wav": "no such file"}
    assert report.durations is None


def test_sessions_are_counted_by_class(tmp_path: Path) -> None:
    table = CORPORA["iemocap"].read(TREES["iemocap"](tmp_path))
    counts = count(table, CORPORA["iemocap"])
    assert {name: n.expected for name, n in counts.sessions["1"].items()} == {
        "neutral": 384,
        "happy": 278,
        "sad": 194,
        "angry": 229,
    }
    assert all(n.right for labels in counts.sessions.values() for n in labels.values())
    fewer = count(table.filter(table["session"] != "5"), CORPORA["iemocap"])
    assert fewer.sessions["5"]["neutral"] == Count(0, 384)


def test_the_report_is_plain_json_without_paths_of_this_machine(emodb: Path) -> None:
    next(emodb.rglob("*.wav")).write_text("no sound at all")
    report = check("emodb", emodb)
    text = msgspec.json.encode(report)
    assert str(emodb).encode() not in text
    assert msgspec.json.decode(text, type=Report) == report


# The figure


def speakers(number: int) -> list[Utterance]:
    return [
        Utterance(f"{speaker}_{name}_{take}.wav", name, str(speaker), gender="male" if speaker % 2 else "female")
        for speaker in range(1001, 1001 + number)
        for name in CLASSES
        for take in range(8 + speaker % 7)
    ]


@pytest.mark.parametrize("number", [1, 24, 91, 200])
def test_no_text_of_the_figure_overlaps_or_is_cut(number: int) -> None:
    table = to_table(speakers(number))
    figure = draw(table, {key: 2.0 + len(key) % 3 for key in table["key"]}, "A corpus", CLASSES)
    figure.draw_without_rendering()
    for axes in figure.axes:
        low, high = axes.get_xlim()
        below = [label for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
        boxes = [label.get_window_extent() for label in below]
        assert not any(one.overlaps(next_one) for one, next_one in pairwise(boxes))
        for text in (*axes.texts, *below, *axes.get_yticklabels(), axes.title):
            box = text.get_window_extent()
            assert figure.bbox.padded(1).contains(*box.min), text
            assert figure.bbox.padded(1).contains(*box.max), text


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_the_figure_is_written_as_its_suffix_says(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    write_overview(path, to_table(speakers(2)), {}, "A corpus")
    assert path.read_bytes()[:5] in (b"\x89PNG\r", b"%PDF-", b"<?xml")
    assert list(tmp_path.iterdir()) == [path]


def test_a_wrong_suffix_names_the_right_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.xyz: cannot write .xyz \(valid: .png, .pdf, .svg\)"):
        write_overview(tmp_path / "a.xyz", to_table(speakers(2)), {}, "A corpus")


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"emofocus\[figures\]"):
        write_overview(tmp_path / "a.png", to_table(speakers(2)), {}, "A corpus")
