"""Timelines: spans without a gap, in bounded memory, and files that other programs' own readers understand."""

import csv
import json
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import audformat
import numpy as np
import pysrt
import pytest
import soundfile
import webvtt
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from praatio import textgrid as praat

from emofocus import Recognizer, audio
from emofocus.cli.main import app
from emofocus.cli.timeline import write_timelines
from emofocus.errors import AudioError, ConfigError
from emofocus.recognition.options import RecognitionOptions
from emofocus.recognition.smoothing import Smoother, Smoothing
from emofocus.recognition.streaming import Event
from emofocus.recognition.timeline import Span, join, spans
from emofocus.recognition.timeline_formats import clock, words
from helpers.properties import cases

RATE = audio.SAMPLING_RATE


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer.from_pretrained(threads=1)


def bursts(seconds: list[float], seed: int = 0) -> np.ndarray:
    """Noise and silence, turn by turn."""
    generator = np.random.default_rng(seed)
    parts = [
        generator.standard_normal(round(length * RATE)) * (0.2 if number % 2 == 0 else 0.0)
        for number, length in enumerate(seconds)
    ]
    return np.concatenate(parts).astype(np.float32)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "meeting.wav", bursts([4, 3, 2.5, 4, 5]), RATE)
    return tmp_path / "meeting.wav"


# ------------------------------------------------------------------ spans


def test_spans_cover_a_recording_and_find_its_pauses(recognizer: Recognizer, recording: Path) -> None:
    found = list(spans(recognizer, recording))
    assert found[0].start == 0
    assert found[-1].end == pytest.approx(18.5)
    for before, after in pairwise(found):
        assert before.end == after.start
        assert before.start < before.end
        assert before.emotion != after.emotion
    silent = [span for span in found if span.emotion is None]
    assert len(silent) == 2
    # Speech is told at a hop's resolution, and goes on for the release.
    hop = recognizer.config.segment.hop * recognizer.config.features.hop / RATE
    for span, (start, end) in zip(silent, [(4, 7), (9.5, 13.5)], strict=True):
        assert start - hop <= span.start <= start + 0.5 + 2 * hop
        assert end - 2 * hop <= span.end <= end + hop
    for span in found:
        if span.emotion is not None:
            assert sum(span.scores.values()) == pytest.approx(1, abs=1e-3)
            assert span.confident == (span.probability >= recognizer.threshold)


def test_a_span_is_the_mean_of_its_segments(recognizer: Recognizer) -> None:
    labels = recognizer.labels
    scores = np.eye(8, dtype=np.float32)

    def event(start: float, row: np.ndarray, emotion: str | None) -> Event:
        return Event(start, start + 2, row, row, emotion, True, emotion is not None, False, -20.0, labels)

    events = [
        event(0, scores[0], labels[0]),
        event(0.5, (scores[0] + scores[1]) / 2, labels[0]),
        event(1, scores[1], labels[1]),
        event(1.5, scores[1], None),
    ]
    found = list(join(events, recognizer, lambda: 4.0))
    assert [(span.start, span.end, span.emotion) for span in found] == [
        (0.0, 1.75, labels[0]),
        (1.75, 2.25, labels[1]),
        (2.25, 4.0, None),
    ]
    assert found[0].scores[labels[0]] == pytest.approx(0.75)
    assert found[1].probability == 1
    assert found[2].scores == {}


@given(seed=st.integers(0, 2**32 - 1), segments=st.integers(1, 80), seconds=st.sampled_from([0.0, 0.3, 1.0, 5.0]))
@cases(200)
def test_a_span_shows_its_likeliest_emotion(recognizer: Recognizer, seed: int, segments: int, seconds: float) -> None:
    """Smoothed scores lag behind: a span was called angry, and its own scores said happy."""
    generator, labels = np.random.default_rng(seed), recognizer.labels
    smoother, events = Smoother(Smoothing(seconds=seconds), hop=0.1), []
    for number in range(segments):
        scores = generator.dirichlet(np.full(len(labels), generator.choice([0.1, 1.0]))).astype(np.float32)
        smoother.update(scores, bool(generator.random() < 0.9))
        emotion = None if smoother.label is None else labels[smoother.label]
        start = 0.1 * number
        events.append(Event(start, start + 0.5, scores, smoother.mean, emotion, True, True, False, -20.0, labels))
    found = list(join(events, recognizer, lambda: 0.1 * segments + 0.4))
    assert found[0].start == 0
    assert found[-1].end == pytest.approx(0.1 * segments + 0.4)
    for one, other in pairwise(found):
        assert one.end == other.start
        assert one.emotion != other.emotion
    for span in found:
        assert span.emotion is None or span.probability == max(span.scores.values())


def test_a_part_has_the_times_of_its_recording(recognizer: Recognizer, recording: Path, tmp_path: Path) -> None:
    found = list(spans(recognizer, recording, start=7.25, end=13.0))
    soundfile.write(tmp_path / "part.wav", bursts([4, 3, 2.5, 4, 5])[round(7.25 * RATE) : 13 * RATE], RATE)
    alone = list(spans(recognizer, tmp_path / "part.wav"))
    assert [(span.start, span.end) for span in found] == [(span.start + 7.25, span.end + 7.25) for span in alone]
    assert (found[0].start, found[-1].end) == (7.25, 13.0)
    with pytest.raises(AudioError, match=r"ends at 18.50 s, before 20.00 s"):
        list(spans(recognizer, recording, start=17.0, end=20.0))


def test_a_recording_of_one_short_word_has_one_span(recognizer: Recognizer) -> None:
    found = list(spans(recognizer, {"array": bursts([0.3]), "sampling_rate": RATE}))
    assert [(span.start, span.end) for span in found] == [(0.0, 0.3)]
    with pytest.raises(AudioError, match=r"lasts 12.5 ms; at least 25 ms are needed"):
        list(spans(recognizer, {"array": bursts([0.0125]), "sampling_rate": RATE}))


def test_silence_is_one_span_without_an_emotion(recognizer: Recognizer) -> None:
    found = list(spans(recognizer, {"array": np.zeros(10 * RATE, np.float32), "sampling_rate": RATE}))
    assert [(span.start, span.end, span.emotion) for span in found] == [(0.0, 10.0, None)]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from Linux")
def test_timelines_need_the_memory_of_seconds(tmp_path: Path) -> None:
    """Ten minutes in what one takes, and some."""
    peaks = []
    for minutes in (1, 10):
        clip = tmp_path / f"{minutes}.flac"
        with soundfile.SoundFile(clip, "w", RATE, 1) as file:
            for minute in range(minutes):
                file.write(bursts([20, 2, 30, 8], minute))
        code = (
            "import re, sys; from emofocus import Recognizer; from emofocus.recognition.timeline import spans; "
            "print(sum(1 for _ in spans(Recognizer.from_pretrained(), sys.argv[1]))); "
            # Not getrusage, whose maximum is that of the test's own process until this one began.
            "print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])"
        )
        done = subprocess.run([sys.executable, "-c", code, str(clip)], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[1]))
    assert peaks[1] < peaks[0] + (60 << 10)  # kB
    assert peaks[1] < 300 << 10


# ------------------------------------------------------------------ files


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["predict", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def expected(recognizer: Recognizer, recording: Path) -> list[Span]:
    return list(spans(recognizer, recording))


def heard(found: list[Span]) -> list[Span]:
    return [span for span in found if span.emotion is not None]


def test_pysrt_reads_the_subtitles(recording: Path, expected: list[Span], tmp_path: Path) -> None:
    run(recording, "--timeline", "--format", "srt", "--out", tmp_path / "out.srt")
    cues = pysrt.open(str(tmp_path / "out.srt"))
    assert [(cue.start.ordinal, cue.end.ordinal, cue.text) for cue in cues] == [
        (round(1000 * span.start), round(1000 * span.end), words(span)) for span in heard(expected)
    ]
    assert [cue.index for cue in cues] == list(range(1, len(cues) + 1))


def test_webvtt_reads_the_subtitles(recording: Path, expected: list[Span], tmp_path: Path) -> None:
    run(recording, "--timeline", "--format", "vtt", "--out", tmp_path / "out.vtt")
    cues = list(webvtt.read(tmp_path / "out.vtt"))
    assert [(cue.start_in_seconds, cue.end_in_seconds, cue.text) for cue in cues] == [
        (pytest.approx(span.start, abs=1), pytest.approx(span.end, abs=1), words(span)) for span in heard(expected)
    ]
    assert [(cue.start, cue.end) for cue in cues] == [(clock(s.start, "."), clock(s.end, ".")) for s in heard(expected)]


def test_praatio_reads_the_tier(recording: Path, expected: list[Span], tmp_path: Path) -> None:
    run(recording, "--timeline", "--format", "textgrid", "--out", tmp_path / "out.TextGrid")
    grid = praat.openTextgrid(str(tmp_path / "out.TextGrid"), includeEmptyIntervals=True)
    entries = grid.getTier("emotion").entries
    assert [(entry.start, entry.end, entry.label) for entry in entries] == [
        (pytest.approx(span.start), pytest.approx(span.end), span.emotion or "") for span in expected
    ]


def test_audformat_reads_the_database(recording: Path, expected: list[Span], tmp_path: Path) -> None:
    run(recording, "--timeline", "--format", "audformat", "--out", tmp_path / "database")
    table = audformat.Database.load(str(tmp_path / "database"))["emotion"].get()
    assert [row.emotion for row in table.itertuples()] == [span.emotion for span in heard(expected)]
    assert [start.total_seconds() for start in table.index.get_level_values("start")] == [
        pytest.approx(span.start) for span in heard(expected)
    ]
    assert set(table.index.get_level_values("file")) == {str(recording)}


def test_audacity_labels_are_three_columns(recording: Path, expected: list[Span], tmp_path: Path) -> None:
    run(recording, "--timeline", "--format", "audacity", "--out", tmp_path / "out.txt")
    rows = [line.split("\t") for line in (tmp_path / "out.txt").read_text().splitlines()]
    assert [(float(a), float(b), c) for a, b, c in rows] == [(s.start, s.end, words(s)) for s in heard(expected)]


def test_json_and_csv_hold_every_span(recording: Path, expected: list[Span]) -> None:
    told = json.loads(run(recording, "--timeline", "--format", "json"))
    assert told["file"] == str(recording)
    assert told["timeline"] == [span.to_dict() for span in expected]
    rows = list(csv.DictReader(run(recording, "--timeline", "--format", "csv").splitlines()))
    assert [row["emotion"] for row in rows] == [span.emotion or "" for span in expected]
    assert [float(row["end"]) for row in rows] == [span.end for span in expected]
    first = next(number for number, span in enumerate(expected) if span.emotion)
    assert float(rows[first]["p_angry"]) == expected[first].scores["angry"]


def test_the_table_reads_from_top_to_bottom(recording: Path, expected: list[Span]) -> None:
    lines = run(recording, "--timeline").splitlines()
    assert lines[0] == str(recording)
    assert len(lines) == 1 + len(expected)
    for line, span in zip(lines[1:], expected, strict=True):
        assert line.strip().startswith(clock(span.start, ".")[:-2])
        assert ("·" in line) == (span.emotion is None)


def test_a_figure_of_hours_and_of_seconds(recording: Path, tmp_path: Path) -> None:
    run(recording, "--timeline", "--format", "png", "--out", tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    from emofocus.cli.timeline import draw

    day = [Span(60.0 * i, 60.0 * i + 60, "ab"[i % 2], {"a": 0.6, "b": 0.4}, i % 3 == 0) for i in range(600)]
    draw(day, ("a", "b"), "day", tmp_path / "day.png")
    assert (tmp_path / "day.png").stat().st_size < 1 << 20


def test_narrow_bars_of_a_figure_have_names() -> None:
    from matplotlib.figure import Figure

    from emofocus.cli.timeline import _draw_row

    lengths = {"surprised": 10.0, "happy": 1.0, "sad": 0.3}
    ends = np.cumsum(list(lengths.values()))
    row = [
        Span(float(end - length), float(end), name, {name: 0.7}, True)
        for (name, length), end in zip(lengths.items(), ends, strict=True)
    ]
    axes = Figure().subplots()
    _draw_row(axes, row, 0.0, 30.0, dict.fromkeys(lengths, "red"))
    shown = {text.get_text(): text.get_rotation() for text in axes.texts}
    assert shown == {"surprised\n70%": 0, "happy": 90, " end": 0}


def test_several_recordings_go_into_a_folder(recording: Path, tmp_path: Path) -> None:
    other = tmp_path / "more" / "meeting.wav"
    other.parent.mkdir()
    soundfile.write(other, bursts([1]), RATE)
    out = tmp_path / "out"
    assert write_timelines([recording, other], None, "srt", out) == 0
    assert sorted(path.name for path in out.glob("[!.]*")) == ["meeting-2.srt", "meeting.srt"]
    with pytest.raises(ConfigError, match="timelines of 2 recordings need a folder"):
        write_timelines([recording, other], None, "srt", tmp_path / "one.srt")


def test_a_timeline_is_written_again_of_a_replaced_recording_and_not_over_another(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, out = tmp_path / "own.wav", tmp_path / "own.srt"
    shutil.copy(recording, own)
    write_timelines([own], None, "srt", out)
    first = out.read_bytes()
    write_timelines([own], None, "srt", out)
    assert "own.srt: written before" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"own.srt holds another run \(smoothing is 1.0, not 3.0\); name another"):
        write_timelines([own], None, "srt", out, smoothing_seconds=3.0)
    with pytest.raises(ConfigError, match="recording is "):
        write_timelines([recording], None, "srt", out)
    assert out.read_bytes() == first
    soundfile.write(own, bursts([1]), RATE)
    write_timelines([own], None, "srt", out)
    assert "was replaced since; it is recognized again" in capsys.readouterr().err
    assert out.read_bytes() != first
    (tmp_path / ".own.srt.settings").unlink()
    with pytest.raises(ConfigError, match="is there already, and nobody knows how it was made"):
        write_timelines([own], None, "srt", out)


def test_a_damaged_recording_does_not_stop_the_others(recording: Path, tmp_path: Path, capsys) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF nonsense")
    assert write_timelines([broken, recording], None, "srt", tmp_path / "out") == 1
    assert "broken.wav" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == ["meeting.srt"]


def test_what_cannot_be_written_is_refused_before_the_work(recording: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown format 'jsonl' of timelines \(valid: table, srt, vtt"):
        write_timelines([recording], None, "jsonl", None)
    with pytest.raises(ConfigError, match="png needs --out: a file to write"):
        write_timelines([recording], None, "png", None)
    with pytest.raises(ConfigError, match=r"hop of 0 s: .* \(valid: above 0\)"):
        write_timelines([recording], None, "srt", None, RecognitionOptions(hop=0))


@given(st.floats(0, 360_000))
@cases(50)
def test_clocks_carry(seconds: float) -> None:
    hours, minutes, rest = clock(seconds, ".").split(":")
    assert 3600 * int(hours) + 60 * int(minutes) + float(rest) == pytest.approx(seconds, abs=6e-4)
    assert int(minutes) < 60
    assert float(rest) < 60
