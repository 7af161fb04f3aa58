"""Many clips: in order, in parallel, and after any interruption each exactly once."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from emofocus import Recognizer, audio
from emofocus.cli.predict import predict_files
from emofocus.errors import AudioError, ConfigError
from emofocus.recognition.bulk import BATCH, Item, items_of, read_list, recognize, seconds
from emofocus.recognition.options import RecognitionOptions
from emofocus.recognition.prediction import Prediction

RATE = audio.SAMPLING_RATE


def noise(seconds: float, seed: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of unequal lengths, and one that is damaged."""
    root = tmp_path_factory.mktemp("clips")
    for number in range(40):
        soundfile.write(root / f"clip{number:02d}.wav", noise(0.3 + 0.13 * (number % 17), number), RATE)
    (root / "clip20.wav").write_bytes(b"RIFF nonsense")
    return root


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer.from_pretrained(threads=1)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_results_come_in_order_and_equal_those_of_each_clip_alone(recognizer: Recognizer, folder: Path) -> None:
    items = list(items_of([folder], pytest.fail))
    found = [result for batch in recognize(recognizer, items, workers=3) for result in batch]
    assert [item for item, _ in found] == items
    for item, told in found:
        if item.name.endswith("clip20.wav"):
            assert isinstance(told, AudioError)
            continue
        alone = recognizer(item.path)
        assert isinstance(told, Prediction)
        assert told.duration == alone.duration
        np.testing.assert_allclose(list(told.scores.values()), list(alone.scores.values()), atol=1e-5)
        np.testing.assert_allclose(told.timeline.probabilities, alone.timeline.probabilities, atol=1e-5)


def test_long_clips_are_recognized_by_themselves(recognizer: Recognizer, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(31, 0), RATE)
    soundfile.write(tmp_path / "b.wav", noise(1, 0), RATE)
    ((_, long), (_, short)) = next(iter(recognize(recognizer, items_of([tmp_path], pytest.fail))))
    assert long.duration == 31
    assert short.duration == 1
    assert long.scores == recognizer(tmp_path / "a.wav").scores


@pytest.mark.slow
@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_after_a_kill_each_clip_is_there_once_with_the_same_bits(folder: Path, tmp_path: Path, format: str) -> None:
    whole = tmp_path / f"whole.{format}"
    assert predict_files([folder], None, format, whole, workers=2) == 1
    out = tmp_path / f"out.{format}"
    command = [sys.executable, "-m", "emofocus", "predict", folder, "--format", format, "--out", out]
    code = "from emofocus.cli.main import main; import sys; sys.argv[0] = 'emofocus'; main()"
    command = [sys.executable, "-c", code, *command[3:], "--workers", "2"]
    generator, killed = random.Random(0), 0
    for _ in range(40):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        before = out.stat().st_size if out.exists() else 0
        while process.poll() is None and (out.stat().st_size if out.exists() else 0) <= before:
            time.sleep(0.002)  # until it has written something more
        time.sleep(generator.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            break
        killed += 1
    assert killed >= 2
    assert subprocess.run(command, capture_output=True).returncode == 1  # the damaged clip is tried again
    assert out.read_bytes() == whole.read_bytes()


def test_a_row_that_was_cut_off_is_written_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    predict_files([folder], None, "csv", out)
    whole = out.read_bytes()
    for length in (len(whole) - 7, len(whole) // 2, 3, 0):
        out.write_bytes(whole[:length])
        predict_files([folder], None, "csv", out)
        assert out.read_bytes() == whole


def test_what_failed_is_tried_again_and_comes_last(folder: Path, tmp_path: Path, capsys) -> None:
    out, more = tmp_path / "out.csv", tmp_path / "more"
    more.mkdir()
    for name in ("a", "b"):
        soundfile.write(more / f"{name}.wav", noise(0.5, 1), RATE)
    mended = (more / "a.wav").read_bytes()
    (more / "a.wav").write_bytes(b"")
    assert predict_files([more], None, "csv", out) == 1
    assert "a.wav: is an empty file" in capsys.readouterr().err
    (more / "a.wav").write_bytes(mended)
    assert predict_files([more], None, "csv", out) == 0
    assert [Path(row["file"]).name for row in rows(out)] == ["b.wav", "a.wav"]


def test_rows_of_another_model_or_hop_are_refused(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    predict_files([folder / "clip00.wav"], None, "csv", out)
    before = out.read_bytes()
    for changed in ({"threshold": 0.5}, {"hop": 0.1}):
        with pytest.raises(
            ConfigError, match=r"holds another run \((threshold|config.segment.hop) is .*\); name another --out"
        ):
            predict_files([folder / "clip01.wav"], None, "csv", out, RecognitionOptions(**changed))
    (tmp_path / ".out.csv.settings").unlink()
    with pytest.raises(ConfigError, match="is there already, and nobody knows how it was made"):
        predict_files([folder / "clip01.wav"], None, "csv", out)
    assert out.read_bytes() == before


@pytest.mark.parametrize("format", ["csv", "jsonl"])
@pytest.mark.parametrize("noted", [True, False], ids=["noted", "of an older version"])
def test_a_recording_that_was_replaced_under_its_name_is_recognized_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], format: str, noted: bool
) -> None:
    clips, out = tmp_path / "clips", tmp_path / f"out.{format}"
    clips.mkdir()
    for number, name in enumerate(("a", "b", "c")):
        soundfile.write(clips / f"{name}.wav", noise(0.5 + 0.1 * number, number), RATE)
    predict_files([clips], None, format, out)
    first = out.read_text().splitlines()
    predict_files([clips], None, format, out)
    assert out.read_text().splitlines() == first
    if not noted:
        (tmp_path / f".out.{format}.recordings").unlink()
    soundfile.write(clips / "a.wav", noise(1.5, 9), RATE)
    os.utime(clips / "a.wav", ns=(1 << 62, 1 << 62))
    (clips / "b.wav").unlink()
    predict_files([clips], None, format, out)
    assert "1 recordings were replaced since; they are recognized again" in capsys.readouterr().err
    again = out.read_text().splitlines()
    head = 1 if format == "csv" else 0
    assert again[:-1] == first[:head] + first[head + 1 :], "the others' rows stay, those of a lost recording too"
    assert "1.5" in again[-1]
    predict_files([clips], None, format, out)
    assert out.read_text().splitlines() == again


def test_a_manifest_names_parts_of_files(recognizer: Recognizer, folder: Path, tmp_path: Path) -> None:
    manifest = folder / "parts.csv"
    manifest.write_text("file,start,end,emotion\nclip16.wav,,,sad\nclip16.wav,0.5,1.25,sad\nclip16.wav,1,,sad\n")
    out = tmp_path / "out.csv"
    assert predict_files([manifest], None, "csv", out) == 0
    found = rows(out)
    assert [(row["file"], row["start"], row["end"]) for row in found] == [
        ("clip16.wav", "", ""),
        ("clip16.wav", "0.5", "1.25"),
        ("clip16.wav", "1", ""),
    ]
    part = audio.load(folder / "clip16.wav", 0.5, 1.25)
    alone = recognizer({"array": part, "sampling_rate": RATE})
    assert float(found[1]["p_angry"]) == pytest.approx(alone.scores["angry"], abs=1e-5)
    before = out.read_bytes()
    assert predict_files([manifest], None, "csv", out) == 0
    assert out.read_bytes() == before
    lines = tmp_path / "parts.jsonl"
    lines.write_text(json.dumps({"file": str(folder / "clip16.wav"), "start": 0.5, "end": 1.25}) + "\n")
    (item,) = read_list(lines, pytest.fail)
    assert (item.start, item.end) == (0.5, 1.25)
    manifest.unlink()


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_two_parts_that_differ_in_the_seventh_digit_have_a_row_each(folder: Path, tmp_path: Path, format: str) -> None:
    (folder / "parts.csv").write_text("file,start,end\nclip00.wav,0.1000001,\nclip00.wav,0.1000002,\n")
    out = tmp_path / f"out.{format}"
    for _ in range(2):
        assert predict_files([folder / "parts.csv"], None, format, out) == 0
        text = out.read_text()
        assert (text.count("0.1000001"), text.count("0.1000002"), text.count("clip00.wav")) == (1, 1, 2)


@given(st.floats(0, 1e7, allow_nan=False))
def test_times_of_clips_are_spelt_exactly(time: float) -> None:
    assert float(seconds(time)) == time
    assert seconds(float(round(time))) == str(round(time))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.csv", "path\nx.wav\n", "entry 1 names no file"),
        ("a.jsonl", "{}\n", "entry 1 names no file"),
        ("a.jsonl", "[1]\n", "entry 1 names no file"),
        ("a.jsonl", "nonsense\n", "cannot be read as a list of clips"),
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, name: str, text: str, reason: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=reason):
        list(read_list(tmp_path / name, pytest.fail))


def test_what_is_recognized_too_early_is_bounded(recognizer: Recognizer, folder: Path) -> None:
    """The items of a million files are not taken while the first results wait."""
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield Item("clip00.wav", folder / "clip00.wav")

    results = recognize(recognizer, endless(), workers=2)
    next(results)
    assert len(taken) <= BATCH * 6
    results.close()
