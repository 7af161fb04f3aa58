"""`emofocus predict --segments` and `--channels`: the files that are written, the lines that are said."""

import csv
import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from emofocus import Recognizer, audio
from emofocus.cli.main import app
from emofocus.errors import AudioError, ConfigError
from helpers import transcripts
from helpers.call import talk
from helpers.transcripts import TIMES

RATE = audio.SAMPLING_RATE


@pytest.fixture
def call(tmp_path: Path) -> Path:
    """A call with two channels that differ."""
    soundfile.write(tmp_path / "call.wav", np.stack([talk(), talk(seed=1)], axis=1), RATE)
    return tmp_path / "call.wav"


def predict(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)], catch_exceptions=False)


# ------------------------------------------------------------------ segments


@pytest.mark.parametrize(
    ("suffix", "content"), [(".json", transcripts.WHISPERX), (".rttm", transcripts.RTTM), (".vtt", transcripts.VTT)]
)
def test_the_same_file_is_written_with_emotions(call: Path, tmp_path: Path, suffix: str, content: str) -> None:
    segments, out = tmp_path / f"call{suffix}", tmp_path / f"out{suffix}"
    segments.write_text(content)
    on_terminal = predict(call, "--segments", segments)
    assert on_terminal.exit_code == 0
    assert on_terminal.stderr == ""
    assert predict(call, "--segments", segments, "--out", out).exit_code == 0
    assert out.read_text() == on_terminal.stdout
    emotions = {turn.emotion for turn in Recognizer.from_pretrained().turns(call, segments)}
    assert all(emotion in on_terminal.stdout for emotion in emotions if emotion)


def test_the_suffix_of_out_and_the_format_choose_json_or_csv(call: Path, tmp_path: Path) -> None:
    (tmp_path / "call.srt").write_text(transcripts.SRT)
    predict(call, "--segments", tmp_path / "call.srt", "--out", tmp_path / "out.csv")
    rows = list(csv.DictReader(StringIO((tmp_path / "out.csv").read_text())))
    assert [float(row["start"]) for row in rows] == [start for start, _ in TIMES]
    done = predict(call, "--segments", tmp_path / "call.srt", "--format", "json")
    assert [entry["emotion"] for entry in json.loads(done.stdout)["segments"]] == [row["emotion"] for row in rows]
    with pytest.raises(ConfigError, match=r"cannot be written as 'textgrid' \(valid: srt, json, csv\)"):
        predict(call, "--segments", tmp_path / "call.srt", "--out", tmp_path / "out.TextGrid")


def test_each_turn_is_heard_in_its_channel(call: Path, tmp_path: Path) -> None:
    own = transcripts.RTTM.replace(" call 1 2.100", " call 2 2.100")
    (tmp_path / "call.rttm").write_text(own)
    done = predict(call, "--segments", tmp_path / "call.rttm", "--channels", "each", "--format", "json")
    found = [entry["scores"] for entry in json.loads(done.stdout)["segments"]]
    recognizer = Recognizer.from_pretrained()
    turns = recognizer.turns(call, tmp_path / "call.rttm", channels="each")
    assert found == [turn.scores for turn in turns]
    assert found[1] != recognizer.turns(call, tmp_path / "call.rttm")[1].scores
    by_name = predict(
        call, "--segments", tmp_path / "call.rttm", "--channels", "SPEAKER_00=1,SPEAKER_01=2", "--format", "json"
    )
    assert by_name.stdout == done.stdout


def test_oddities_of_turns_are_one_line_each(call: Path, tmp_path: Path) -> None:
    extra = "".join(
        f"SPEAKER other 1 {start} {length} <NA> <NA> SPEAKER_02 <NA> <NA>\n" for start, length in ((0.5, 0.01), (99, 1))
    )
    (tmp_path / "odd.rttm").write_text(transcripts.RTTM.replace("call", "other") + extra)
    done = predict(call, "--segments", tmp_path / "odd.rttm")
    name = tmp_path / "odd.rttm"
    assert done.exit_code == 1  # a turn behind the end
    assert done.stderr.splitlines() == [
        f"{name}: calls its recording other, not call",
        f"{name}: 2 of its 5 turns overlap; in them, several voices are heard at once",
        f"{name}: 1 of its 5 turns have no emotion: 1 too short",
        f"emofocus: {name}: 1 of its 5 turns begin behind the end of the recording, and have no emotion",
    ]
    assert len(done.stdout.splitlines()) == 5


def test_a_transcript_of_another_recording_writes_nothing(call: Path, tmp_path: Path) -> None:
    (tmp_path / "call.csv").write_text("start,end\n90,91\n95,96\n")
    with pytest.raises(ConfigError, match="a transcript of another recording"):
        predict(call, "--segments", tmp_path / "call.csv", "--out", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_segments_are_of_one_recording_and_have_one_output(call: Path, tmp_path: Path) -> None:
    (tmp_path / "call.rttm").write_text(transcripts.RTTM)
    with pytest.raises(ConfigError, match="--segments is of one recording"):
        predict(call, call, "--segments", tmp_path / "call.rttm")
    with pytest.raises(ConfigError, match="--segments is of one recording"):
        predict(tmp_path, "--segments", tmp_path / "call.rttm")
    for option in ("--timeline", "--by-folder"):
        with pytest.raises(ConfigError, match=f"--segments and {option} exclude each other"):
            predict(call, "--segments", tmp_path / "call.rttm", option)
    for option in (["--segments", tmp_path / "call.rttm"], ["--channels", "each"]):
        with pytest.raises(ConfigError, match="--embeddings goes with neither"):
            predict(call, *option, "--embeddings", tmp_path / "out.parquet")
    with pytest.raises(ConfigError, match="--segments are for the local command"):
        predict(call, "--segments", tmp_path / "call.rttm", "--ray", "local", "--out", tmp_path / "out")


# ------------------------------------------------------------------ channels


def test_each_channel_has_a_prediction(call: Path) -> None:
    samples, _ = soundfile.read(call, dtype="float32")
    recognizer = Recognizer.from_pretrained()
    rows = list(csv.DictReader(StringIO(predict(call, "--channels", "each", "--format", "csv").stdout)))
    assert [(row["file"], row["channel"]) for row in rows] == [(str(call), "1"), (str(call), "2")]
    for row, side in zip(rows, (0, 1), strict=True):
        alone = recognizer(samples[:, side], RATE)
        assert row["label"] == alone.label
        assert float(row[f"p_{alone.label}"]) == pytest.approx(alone.scores[alone.label], abs=1e-4)
        assert recognizer(call, channel=side + 1).scores == pytest.approx(alone.scores, abs=1e-5)


def test_channels_may_have_names(call: Path) -> None:
    entries = json.loads(predict(call, "--channels", "agent=1,customer=2", "--format", "json").stdout)
    assert [entry["channel"] for entry in entries] == ["agent", "customer"]
    table = predict(call, "--channels", "customer=2").stdout
    assert f"{call} [customer]" in table


def test_each_channel_has_a_timeline(call: Path, tmp_path: Path) -> None:
    done = predict(
        call, "--timeline", "--channels", "agent=1,customer=2", "--format", "json", "--out", tmp_path / "out"
    )
    assert done.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == ["call-agent.json", "call-customer.json"]
    written = {name: json.loads((tmp_path / f"out/call-{name}.json").read_text()) for name in ("agent", "customer")}
    assert written["agent"]["file"] == f"{call} [agent]"
    assert written["agent"]["timeline"] != written["customer"]["timeline"]
    again = predict(
        call, "--timeline", "--channels", "agent=1,customer=2", "--format", "json", "--out", tmp_path / "out"
    )
    assert "2 were there already" in again.stderr
    predict(call, "--timeline", "--channels", "2", "--out", tmp_path / "one.srt")
    with pytest.raises(ConfigError, match="channel is 2, not None"):
        predict(call, "--timeline", "--out", tmp_path / "one.srt")
    with pytest.raises(ConfigError, match="timelines of 2 channels need a folder"):
        predict(call, "--timeline", "--channels", "each", "--out", tmp_path / "out.srt")


def test_a_run_over_channels_goes_on_and_is_not_mixed_with_another(call: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    predict(call, "--channels", "each", "--out", out)
    assert "2 were there already" in predict(call, "--channels", "each", "--out", out).stderr
    for other in ([], ["--channels", "agent=1,customer=2"]):
        with pytest.raises(ConfigError, match="channels"):
            predict(call, *other, "--out", out)


def test_a_channel_that_is_not_there_is_named_and_costs_no_other_file(call: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "mono.wav", audio.load(call), RATE)
    done = predict(call, tmp_path / "mono.wav", tmp_path / "none.wav", "--channels", "2", "--format", "csv")
    assert done.exit_code == 1
    assert f"emofocus: {tmp_path / 'mono.wav'}: has no channel 2 (valid: 1)" in done.stderr
    assert len(done.stdout.splitlines()) == 2
    every = predict(call, tmp_path / "mono.wav", tmp_path / "none.wav", "--channels", "each", "--format", "csv")
    assert len(every.stdout.splitlines()) == 4
    assert "no such file" in every.stderr
    with pytest.raises(ConfigError, match="the standard input can be read once"):
        predict("-", "--channels", "each")


def test_an_array_has_channels_too(call: Path) -> None:
    samples, _ = soundfile.read(call, dtype="float32")
    assert audio.channel_count({"array": samples.T, "sampling_rate": RATE}) == 2
    assert audio.channel_count(str(call)) == 2
    given = {"array": samples.T, "sampling_rate": RATE}
    assert np.array_equal(audio.load(given, channel=2), samples[:, 1])
    with pytest.raises(AudioError, match=r"has no channel 3 \(valid: 1, 2\)"):
        audio.load(given, channel=3)
