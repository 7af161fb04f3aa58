"""Turns of diarizations and transcripts: all formats in and out, the scores of the parts, and every bad input."""

import csv
import json
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pysrt
import pytest
import soundfile
import webvtt
from hypothesis import given
from hypothesis import strategies as st
from praatio import textgrid as praat

from emofocus import Recognizer, audio
from emofocus.errors import AudioError, ConfigError, LateTurnError, ShortAudioError, SilentAudioError
from emofocus.recognition.channel_choice import ChannelChoice
from emofocus.recognition.turns.recognition import MOST_AT_ONCE
from emofocus.recognition.turns.turn import Turn, TurnEmotion
from emofocus.recognition.turns.turn_file import TurnFile, format_by_suffix, turns_of
from helpers import transcripts
from helpers.call import talk
from helpers.properties import cases
from helpers.transcripts import SPEAKERS, TEXTS, TIMES

RATE = audio.SAMPLING_RATE


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer.from_pretrained(threads=1)


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A call with two channels that differ."""
    path = tmp_path_factory.mktemp("call") / "call.wav"
    soundfile.write(path, np.stack([talk(), talk(seed=1)], axis=1), RATE)
    return path


def file_of(tmp_path: Path, name: str, content: str) -> Path:
    (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path / name


# ------------------------------------------------------------------ scores


def test_a_turn_scores_as_the_same_part_of_the_file_does(recognizer: Recognizer, call: Path) -> None:
    turns = recognizer.turns(call, [(start, end) for start, end in TIMES])
    for turn, (start, end) in zip(turns, TIMES, strict=True):
        part = recognizer({"array": audio.load(call, start, end), "sampling_rate": RATE})
        assert turn.emotion == part.label
        assert turn.scores == pytest.approx(part.scores, abs=1e-4)
        assert turn.confident == part.confident


def test_turns_keep_their_order_speakers_and_words(recognizer: Recognizer, call: Path) -> None:
    given = [{"start": 3, "end": 5, "speaker": "b", "text": "yes"}, (0.5, 1.5, "a"), Turn(0.2, 5.5, "c")]
    found = recognizer.turns(call, given)
    assert [turn.turn for turn in found] == [Turn(3, 5, "b", "yes"), Turn(0.5, 1.5, "a"), Turn(0.2, 5.5, "c")]
    alone = [recognizer.turns(call, [turn])[0] for turn in given]
    assert [turn.scores for turn in found] == [pytest.approx(turn.scores, abs=1e-4) for turn in alone]


def test_channels_are_heard_apart(recognizer: Recognizer, call: Path) -> None:
    own = [{"start": 0.3, "end": 2.9, "channel": 1}, {"start": 0.3, "end": 2.9, "channel": 2}]
    one, two = recognizer.turns(call, own, channels="each")
    samples, _ = soundfile.read(call, dtype="float32")
    for turn, side in ((one, 0), (two, 1)):
        part = recognizer(samples[round(0.3 * RATE) : round(2.9 * RATE), side], RATE)
        assert turn.scores == pytest.approx(part.scores, abs=1e-4)
        assert turn.overlap == 0  # of another channel
    assert one.scores != two.scores
    named = [(0.3, 2.9, "agent"), (0.3, 2.9, "customer")]
    again = recognizer.turns(call, named, channels="agent=1,customer=2")
    assert [turn.scores for turn in again] == [one.scores, two.scores]
    [only] = recognizer.turns(call, [(0.3, 2.9)], channels="2")
    assert only.scores == two.scores


def test_a_long_turn_needs_no_memory_of_its_length(tmp_path: Path) -> None:
    """Three turns of half an hour over each other: their samples alone would be 345 MB."""
    path = tmp_path / "long.flac"
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for _ in range(60):
            file.write(talk(30))
    code = (
        "import resource; from emofocus import Recognizer; r = Recognizer.from_pretrained(threads=1)\n"
        f"r.turns({str(path)!r}, [(0, 40)])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"found = r.turns({str(path)!r}, [(0, 1799), (0.5, 1799.5), (1, 1800)])\n"
        "assert all(turn.emotion for turn in found)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60


# ------------------------------------------------------------------ formats

FILES = {
    "call.json": transcripts.WHISPERX,
    "whisper.json": transcripts.WHISPER,
    "cpp.json": transcripts.WHISPER_CPP,
    "pyannote.json": transcripts.PYANNOTE,
    "call.rttm": transcripts.RTTM,
    "call.srt": transcripts.SRT,
    "call.vtt": transcripts.VTT,
    "call.csv": transcripts.CSV,
    "call.TextGrid": transcripts.TEXTGRID,
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_is_read(name: str, tmp_path: Path) -> None:
    file = TurnFile.read(file_of(tmp_path, name, FILES[name]), "call.wav")
    order = [0, 2, 1] if name == "call.TextGrid" else [0, 1, 2]  # tier by tier
    assert [turn[:2] for turn in file.turns] == [TIMES[number] for number in order]
    if name not in ("whisper.json", "cpp.json"):
        assert [turn.speaker for turn in file.turns] == [SPEAKERS[number] for number in order]
    if name not in ("pyannote.json", "call.rttm"):
        texts = [turn.text.replace('"', "") for turn in file.turns]
        assert texts == [TEXTS[number] for number in order]
    assert file.notices == ()


def found_in(recognizer: Recognizer, call: Path, tmp_path: Path, name: str) -> tuple[str, list[TurnEmotion]]:
    """The file that is written, and its turns."""
    path = file_of(tmp_path, name, FILES[name])
    found = recognizer.turns(call, path)
    return TurnFile.read(path).text(found, recognizer.labels), found


@pytest.mark.parametrize("name", ["call.json", "whisper.json", "cpp.json", "pyannote.json"])
def test_json_is_written_with_everything_that_it_had(
    recognizer: Recognizer, call: Path, tmp_path: Path, name: str
) -> None:
    text, found = found_in(recognizer, call, tmp_path, name)
    written, given = json.loads(text), json.loads(FILES[name])
    [key] = [key for key in ("segments", "transcription", "diarization") if key in given]
    assert {k: v for k, v in written.items() if k != key} == {k: v for k, v in given.items() if k != key}
    for entry, before, turn in zip(written[key], given[key], found, strict=True):
        assert entry == before | turn.findings()
        assert entry["emotion"] == turn.emotion
        assert set(entry["scores"]) == set(recognizer.labels)


def test_rttm_is_written_in_fields_that_a_diarization_leaves_empty(
    recognizer: Recognizer, call: Path, tmp_path: Path
) -> None:
    text, found = found_in(recognizer, call, tmp_path, "call.rttm")
    for line, before, turn in zip(text.splitlines(), transcripts.RTTM.splitlines(), found, strict=True):
        fields = line.split(" ")
        assert len(fields) == 10
        assert [*fields[:5], fields[7], fields[9]] == [*before.split(" ")[:5], before.split(" ")[7], "<NA>"]
        scores = dict(part.split("=") for part in fields[5].split(","))
        assert {name: float(value) for name, value in scores.items()} == pytest.approx(turn.scores, abs=1e-4)
        assert (fields[6], fields[8]) == (turn.words, f"{turn.probability:.4f}")


def test_subtitles_are_written_for_their_own_readers(recognizer: Recognizer, call: Path, tmp_path: Path) -> None:
    text, found = found_in(recognizer, call, tmp_path, "call.srt")
    cues = pysrt.from_string(text)
    for cue, turn, words, speaker in zip(cues, found, TEXTS, SPEAKERS, strict=True):
        first, second = cue.text.splitlines()
        assert first == f"[{speaker}]: {words}"
        assert second.startswith(f"({turn.words} {turn.probability:.0%}")
    text, found = found_in(recognizer, call, tmp_path, "call.vtt")
    for line in transcripts.VTT.splitlines():
        assert line in text.splitlines()
    captions = webvtt.from_string(text)
    assert captions.styles
    for caption, turn, speaker in zip(captions, found, SPEAKERS, strict=True):
        assert caption.voice == speaker
        assert caption.identifier.startswith("turn-")
        assert caption.text.endswith(")")
        assert turn.words in caption.text
    notes = [json.loads(line[5:]) for line in text.splitlines() if line.startswith("NOTE {")]
    assert notes == [turn.findings() for turn in found]


def test_a_text_grid_is_written_with_two_tiers_for_each_speaker(
    recognizer: Recognizer, call: Path, tmp_path: Path
) -> None:
    text, found = found_in(recognizer, call, tmp_path, "call.TextGrid")
    grid = praat.openTextgrid(str(file_of(tmp_path, "out.TextGrid", text)), includeEmptyIntervals=False)
    sides = [f"{name}{end}" for name in ("SPEAKER_00", "SPEAKER_01") for end in ("", " emotion", " scores")]
    assert list(grid.tierNames) == [*sides, "SPEAKER_01 - words", "clicks"]
    assert grid.getTier("SPEAKER_00").entries[0].label == 'Where is my "order"?'
    assert [entry.label for entry in grid.getTier("SPEAKER_00 emotion").entries] == [turn.words for turn in found[:2]]
    [(start, end, label)] = grid.getTier("SPEAKER_01 scores").entries
    assert (start, end) == TIMES[1]
    scores = {name: float(value) for name, value in (part.split("=") for part in label.split())}
    assert scores == pytest.approx(found[2].scores, abs=1e-4)
    again = TurnFile.read(file_of(tmp_path, "again.TextGrid", text))
    assert again.turns == TurnFile.read(file_of(tmp_path, "call.TextGrid", transcripts.TEXTGRID)).turns


def test_a_short_text_grid_is_read(tmp_path: Path) -> None:
    file = TurnFile.read(file_of(tmp_path, "short.TextGrid", transcripts.SHORT_TEXTGRID))
    assert file.turns == (Turn(0, 2, "SPEAKER_00", "Where?"),)
    path = tmp_path / "wide.TextGrid"
    path.write_bytes(transcripts.SHORT_TEXTGRID.encode("utf-16"))  # as Praat saves other letters than ASCII
    assert TurnFile.read(path).turns == file.turns


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_keeps_its_columns_and_gets_more(
    recognizer: Recognizer, call: Path, tmp_path: Path, delimiter: str
) -> None:
    content = transcripts.CSV.replace(",", delimiter)
    if delimiter == ";":
        content = "".join(
            ";".join(cell.replace(".", ",") if place < 2 else cell for place, cell in enumerate(line.split(";"))) + "\n"
            for line in content.splitlines()
        )
    path = file_of(tmp_path, "call.csv", content)
    found = recognizer.turns(call, path)
    rows = list(csv.DictReader(StringIO(TurnFile.read(path).text(found, recognizer.labels)), delimiter=delimiter))
    for row, before, turn in zip(rows, csv.DictReader(StringIO(content), delimiter=delimiter), found, strict=True):
        assert {name: row[name] for name in before} == before
        assert (row["emotion"], row["confident"]) == (turn.emotion, str(turn.confident).lower())
        assert {label: float(row[f"p_{label}"]) for label in recognizer.labels} == turn.scores


def test_every_format_is_written_as_json_and_csv_too(recognizer: Recognizer, call: Path, tmp_path: Path) -> None:
    path = file_of(tmp_path, "call.srt", transcripts.SRT)
    found = recognizer.turns(call, path)
    file = TurnFile.read(path)
    segments = json.loads(file.text(found, recognizer.labels, "json"))["segments"]
    assert [(entry["speaker"], entry["emotion"]) for entry in segments] == [
        (turn.turn.speaker, turn.emotion) for turn in found
    ]
    rows = list(csv.DictReader(StringIO(file.text(found, recognizer.labels, "csv"))))
    assert [(row["text"], row["emotion"]) for row in rows] == [(turn.turn.text, turn.emotion) for turn in found]
    with pytest.raises(ConfigError, match=r"cannot be written as 'rttm' \(valid: srt, json, csv\)"):
        file.text(found, recognizer.labels, "rttm")


def test_lines_of_rttm_that_are_no_turns_stay(recognizer: Recognizer, call: Path, tmp_path: Path) -> None:
    others = ";; a comment\nSPKR-INFO call 1 <NA> <NA> <NA> unknown SPEAKER_00 <NA> <NA>\n"
    meeting = "SPEAKER meeting 1 99.0 1.0 <NA> <NA> SPEAKER_07 <NA> <NA>\n"
    path = file_of(tmp_path, "several.rttm", others + transcripts.RTTM + meeting)
    file = TurnFile.read(path, str(call))
    assert len(file.turns) == 3
    text = file.text(recognizer.turns(call, path), recognizer.labels)
    assert text.startswith(others)
    assert text.endswith(meeting)


# ------------------------------------------------------------------ turns without an emotion, and bad input


def test_turns_that_hold_nothing_to_hear_have_a_reason(recognizer: Recognizer, tmp_path: Path) -> None:
    samples = talk(6)
    samples[2 * RATE : 4 * RATE] = 0
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    turns = recognizer.turns(tmp_path / "a.wav", [(0, 2), (2.1, 3.9), (4.5, 4.51), (5, 6.3), (5, 8), (7, 9), (5, 5)])
    kinds = [type(turn.error) for turn in turns]
    heard = type(None)
    assert kinds == [heard, SilentAudioError, ShortAudioError, heard, heard, LateTurnError, ShortAudioError]
    assert [turn.emotion is None for turn in turns] == [turn.reason is not None for turn in turns]
    assert turns[5].reason == "the turn: begins behind the recording's end, at 6.00 s"
    assert "cut: the recording ends 2.00 s before the turn does" in turns[4].warnings
    assert not any("cut" in warning for warning in turns[3].warnings)  # times are rounded


def test_overlapping_turns_are_heard_and_say_so(recognizer: Recognizer, call: Path) -> None:
    turns = recognizer.turns(call, [(0, 2), (1, 3), (1.5, 2.5), (4, 5)])
    assert [round(turn.overlap, 6) for turn in turns] == [1, 1.5, 1, 0]
    assert "overlap: other turns share 1.50 of its 2.00 s" in turns[1].warnings
    assert all(turn.emotion for turn in turns)


def test_more_turns_over_each_other_than_fit_are_refused(recognizer: Recognizer, call: Path) -> None:
    recognizer.turns(call, [(0, 0.5)] * MOST_AT_ONCE)
    with pytest.raises(ConfigError, match=f"segments: more than {MOST_AT_ONCE} turns lie over each other at 1.00 s"):
        recognizer.turns(call, [(1, 1.5)] * (MOST_AT_ONCE + 1))


def test_a_transcript_of_a_longer_recording_is_refused(recognizer: Recognizer, call: Path, tmp_path: Path) -> None:
    path = file_of(tmp_path, "other.csv", "start,end\n1,2\n30,31\n40,41\n")
    with pytest.raises(ConfigError, match=r"other.csv: a transcript of another recording\? 2 of its 3 turns begin"):
        recognizer.turns(call, path)


def test_a_transcript_of_other_recordings_is_refused(tmp_path: Path) -> None:
    other = transcripts.RTTM.replace("call", "monday") + transcripts.RTTM.replace("call", "tuesday")
    path = file_of(tmp_path, "week.rttm", other)
    with pytest.raises(
        ConfigError, match=r"week.rttm: a transcript of other recordings\? It has turns of 2 \(monday, "
    ):
        TurnFile.read(path, "call.wav")
    table = file_of(tmp_path, "week.csv", "file,start,end\nmonday.wav,0,1\ntuesday.wav,0,1\n")
    with pytest.raises(ConfigError, match=r"and none is called call\.wav"):
        TurnFile.read(table, "call.wav")
    assert len(TurnFile.read(table, "calls/tuesday.wav").turns) == 1
    one = file_of(tmp_path, "one.rttm", transcripts.RTTM.replace("call", "waveform"))  # of samples without a name
    assert TurnFile.read(one, "call.wav").notices == (f"{one}: calls its recording waveform, not call",)


BAD: dict[str, tuple[str, Any, str]] = {
    "columns": ("a.csv", "begin,stop,who\n0,1,a\n", r"no column start \(it has: begin, stop, who\)"),
    "a slip": ("a.csv", "strat,end\n0,1\n", r"no column start \(it has: strat, end\) \(did you mean strat\?\)"),
    "a time": ("a.csv", "start,end\n0,one\n", r"row 1: needs start and end in seconds"),
    "no time": ("a.csv", "start,end\n0,\n", r"row 1: needs start and end in seconds \(its end is not there\)"),
    "empty": ("a.csv", "", "cannot be read as CSV, or is empty"),
    "no rows": ("a.csv", "start,end\n", "holds no turns"),
    "results": ("a.csv", "start,end,emotion\n0,1,sad\n", "has emotion already, which the result would replace"),
    "backwards": ("a.csv", "start,end\n2,1\n", "turn 1 ends at 1 s, before it begins, at 2 s"),
    "negative": ("a.csv", "start,end\n-2,1\n", "turn 1 has no times"),
    "json": ("a.json", "{", "cannot be read as JSON"),
    "deep": ("a.json", "[" * 100_000, "cannot be read as JSON"),
    "keys": ("a.json", '{"results": []}', r"no list of turns \(valid: 'segments', .*; it has the keys 'results'\)"),
    "number": ("a.json", "3", "no list of turns"),
    "entries": ("a.json", "[1]", "turn 1 is 1, and no object with start and end"),
    "word": ("a.json", '[{"word": "a"}]', "turn 1: needs start and end in seconds"),
    "huge": ("a.json", '[{"start": 1e400, "end": 2}]', "turn 1: needs start and end in seconds"),
    "rttm": ("a.rttm", "SPEAKER call 1 zero 1\n", r"line 1: not a line of RTTM \(valid: SPEAKER file channel"),
    "no rttm": ("a.rttm", "nothing here\n", "holds no turns"),
    "srt": ("a.srt", "1\n0:0 --> 0:1\nhello\n", "'0:0 --> 0:1' are no times"),
    "vtt": ("a.vtt", "1\n00:00.000 --> 00:01.000\nhello\n", "not WebVTT"),
    "grid": ("a.TextGrid", transcripts.TEXTGRID[:400], "not a TextGrid, or one that breaks off"),
    "no grid": ("a.TextGrid", "hello", "not a TextGrid"),
    "suffix": ("a.docx", "hello", r"not a file of turns by its suffix, '.docx' \(valid: .rttm, .json, "),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_in_one_line(case: str, tmp_path: Path) -> None:
    name, content, message = BAD[case]
    with pytest.raises(ConfigError, match=message) as error:
        TurnFile.read(file_of(tmp_path, name, content))
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.srt: cannot be read \(No such file"):
        TurnFile.read(tmp_path / "none.srt")
    (tmp_path / "a.srt").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(ConfigError, match="is no text in UTF-8 or UTF-16"):
        TurnFile.read(tmp_path / "a.srt")


PIECES = [
    "\n",
    "\n\n",
    '"',
    "-->",
    "0",
    "9" * 20,
    "1e400",
    "NaN",
    "null",
    "{",
    "]",
    ",",
    ";",
    "\t",
    "<v ",
    "\x00",
    "start",
    "-5",
]


@cases(200)
@given(
    name=st.sampled_from(sorted(FILES)),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(PIECES)), min_size=1, max_size=6),
)
def test_damaged_files_are_read_or_refused_in_one_line(name: str, changes: list[tuple[float, int, str]]) -> None:
    text = FILES[name]
    for place, length, piece in changes:
        start = round(place * len(text))
        text = text[:start] + piece + text[start + length :]
    assert "\n" not in refusal(text, name)


def refusal(text: str, name: str) -> str:
    """Reason why a file is refused; empty if it is read and can be written."""
    try:
        file = TurnFile.parse(text.encode(), format_by_suffix(name), name, "call.wav")
    except ConfigError as error:
        return str(error)
    heard = [TurnEmotion(turn, "calm", {"calm": 0.9, "sad": 0.1}, True) for turn in file.turns]
    assert all(file.text(heard, ["calm", "sad"], format) for format in (None, "json", "csv"))
    return ""


@pytest.mark.parametrize("content", ["<v " + " " * 500_000, "<a" * 300_000, "[" * 500_000, "\n" * 500_000])
def test_a_strangers_subtitles_take_no_longer_than_their_length(content: str) -> None:
    text = f"WEBVTT\n\n00:00.000 --> 00:01.000\n{content}"
    assert len(TurnFile.parse(text.encode(), "vtt", "a").turns) == 1


def test_a_channel_that_is_not_there_is_named(recognizer: Recognizer, call: Path) -> None:
    with pytest.raises(AudioError, match=r"call.wav: has no channel 3 \(valid: 1, 2\)"):
        recognizer.turns(call, [(0, 1)], channels="3")
    with pytest.raises(AudioError, match=r"has no channel 0"):
        recognizer.turns(call, [{"start": 0, "end": 1, "channel": 0}], channels="each")
    with pytest.raises(ConfigError, match="segments: turn 1 names no channel"):
        recognizer.turns(call, [(0, 1)], channels="each")
    with pytest.raises(ConfigError, match=r"turn 1 is bob's, who has no channel \(valid: agent, customer\)"):
        recognizer.turns(call, [(0, 1, "bob")], channels="agent=1,customer=2")


@pytest.mark.parametrize("text", ["", "left", "0", "a=", "=1", "1,1", "a=1,a=2", "a=1,b=1", "1.5"])
def test_choices_of_channels_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="valid: each, numbers from 1, or names: agent=1,customer=2"):
        ChannelChoice.parse(text)


def test_turns_of_no_kind_are_refused() -> None:
    with pytest.raises(ConfigError, match="segments: turn 2 is 5, and no object"):
        turns_of([(0, 1), 5])
    with pytest.raises(ConfigError, match="segments: holds no turns"):
        turns_of([])
