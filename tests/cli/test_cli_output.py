"""What commands write, and what they say about it: formats by suffix, counts, bars, interruptions."""

import csv
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from emofocus.cli.main import app
from emofocus.cli.predict import shortened
from emofocus.cli.timeline import write_timelines
from emofocus.errors import ConfigError

PROGRAM = [sys.executable, "-c", "from emofocus.cli.main import main; main()"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, encode, tone) -> Path:
    """A folder of three clips."""
    folder = tmp_path_factory.mktemp("clips")
    for number, name in enumerate(("a", "b", "c")):
        encode(folder / f"{name}.wav", tone(200 + 100 * number, 1.5))
    return folder


@pytest.fixture
def parts(clips: Path, tmp_path: Path) -> Path:
    """A list of two parts of one file, a whole file, and a file that is not there."""
    rows = [
        "file,start,end",
        f"{clips / 'a.wav'},0.2,0.9",
        f"{clips / 'a.wav'},0.9,",
        f"{clips / 'b.wav'},,",
        "no.wav,,",
    ]
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "list.csv"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


# Formats


@pytest.mark.parametrize("suffix", [".json", ".JSON", ".jsonl", ".csv", ".txt"])
def test_the_suffix_of_a_file_names_its_format(suffix: str, clips: Path, tmp_path: Path) -> None:
    """`--out r.json` held the table."""
    path = tmp_path / f"r{suffix}"
    assert run("predict", clips, "--out", path).exit_code == 0
    text = path.read_text(encoding="utf-8")
    if suffix.lower() == ".json":
        assert len(json.loads(text)) == 3
    elif suffix == ".jsonl":
        assert [json.loads(line)["duration"] for line in text.splitlines()] == [1.5] * 3
    elif suffix == ".csv":
        assert [row["duration"] for row in csv.DictReader(text.splitlines())] == ["1.5"] * 3
    else:
        assert text.startswith("file ")


@pytest.mark.parametrize(
    ("suffix", "start"),
    [(".srt", "1\n"), (".vtt", "WEBVTT"), (".TextGrid", "File type"), (".textgrid", "File type"), (".csv", "file,"),
     (".json", "{"), (".txt", "/")],
)  # fmt: skip
def test_the_suffix_of_a_timeline_names_its_format(suffix: str, start: str, clips: Path, tmp_path: Path) -> None:
    assert write_timelines([clips / "a.wav"], None, None, tmp_path / f"a{suffix}") == 0
    assert (tmp_path / f"a{suffix}").read_text(encoding="utf-8").startswith(start)


def test_a_format_that_is_asked_for_decides(clips: Path, tmp_path: Path) -> None:
    assert run("predict", clips, "-f", "csv", "--out", tmp_path / "r.json").exit_code == 0
    assert (tmp_path / "r.json").read_text().startswith("file,label")
    assert write_timelines([clips / "a.wav"], None, "audacity", tmp_path / "a.txt") == 0
    assert (tmp_path / "a.txt").read_text().startswith("0.000\t")


def test_a_suffix_that_names_no_format_is_refused_before_the_work(clips: Path, tmp_path: Path) -> None:
    refused = {
        ("predict", clips, "--out", "r.xml"): "r.xml: cannot write .xml (valid: .txt, .json, .jsonl, .csv)",
        ("predict", clips, "--out", "r"): "r: cannot write a file without a suffix (valid: .txt, .json, .jsonl, .csv)",
        (
            "predict",
            clips / "a.wav",
            "--timeline",
            "--out",
            "r.doc",
        ): "r.doc: cannot write .doc (valid: .srt, .vtt, .txt",
        ("explain", clips / "a.wav", "--out", "r.gif"): "r.gif: cannot write .gif (valid: .html, .png, .svg, .pdf)",
        ("bench", "--out", "r.csv"): "r.csv: cannot write .csv (valid: .md, .json)",
        (
            "robustness",
            "--corpus",
            "emodb",
            "--root",
            clips,
            "--out",
            "r.json",
        ): "r.json: cannot write .json (valid: .md",
        ("corpora", "check", "emodb", "--root", clips, "--figure", "r.bmp"): "r.bmp: cannot write .bmp (valid: .png",
        ("compare", clips, "--out", "r.html"): "r.html: cannot write .html (valid: .md, .csv",
        ("report", clips, "--out", "r.html"): "r.html: cannot write .html (valid: .md)",
    }
    for arguments, message in refused.items():
        done = run(*arguments)
        assert isinstance(done.exception, ConfigError)
        assert str(done.exception).startswith(message)


def test_features_are_written_as_what_they_are(small_corpus: Path, tmp_path: Path) -> None:
    done = run(
        "features", "--corpus", "emodb", "--root", small_corpus, "--cache", tmp_path, "--out", tmp_path / "f.npz"
    )
    assert isinstance(done.exception, ConfigError)
    assert "cannot write .npz (valid: .safetensors)" in str(done.exception)


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="this system has no /dev/stdout")
@pytest.mark.parametrize("timeline", [[], ["--timeline"]])
def test_a_device_is_written_to(timeline: list[str], clips: Path) -> None:
    """`--out /dev/null` was advised to be removed, to begin again."""
    arguments = [*PROGRAM, "predict", str(clips / "a.wav"), *timeline, "--format", "csv", "--out", "/dev/stdout"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("file,")
    assert done.stderr == "/dev/stdout: 1 done\n"


# Lists


def test_the_parts_of_a_file_can_be_told_apart(parts: Path, clips: Path, tmp_path: Path) -> None:
    done = run("predict", parts)
    assert [line.partition(".wav")[2].split("  ")[0] for line in done.stdout.splitlines()[1:4]] == [
        " 0.2–0.9 s",
        " from 0.9 s",
        "",
    ]
    assert run("predict", parts, "--out", tmp_path / "r.json").exit_code == 1
    found = json.loads((tmp_path / "r.json").read_text())
    assert [(item.get("start"), item.get("end")) for item in found] == [(0.2, 0.9), (0.9, None), (None, None)]


def test_a_list_has_timelines_at_the_times_of_its_files(parts: Path, tmp_path: Path) -> None:
    """A list was called no audio."""
    done = run("predict", "--timeline", parts, "--format", "json", "--out", tmp_path / "lines")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == f"{tmp_path / 'lines'}: 3 done, 1 failed"
    found = [json.loads(path.read_text())["timeline"] for path in sorted((tmp_path / "lines").glob("[!.]*"))]
    assert sorted((spans[0]["start"], spans[-1]["end"]) for spans in found) == [(0.0, 1.5), (0.2, 0.9), (0.9, 1.5)]


def test_long_names_lose_their_middle() -> None:
    name = "recordings/of-the-third-session/2024-05-17/speaker-12-take-3.wav 0.5–1.5 s"
    short = shortened(name, 40)
    assert len(short) == 40
    assert short.startswith("recordin…")
    assert short.endswith("take-3.wav 0.5–1.5 s")
    assert shortened(name, 200) == name
    assert shortened("日本語の録音/とても長い名前の録音.wav", 20).endswith("録音.wav")


# Counts, bars and interruptions


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".json"])
def test_an_output_says_what_was_done(suffix: str, parts: Path, tmp_path: Path) -> None:
    out = tmp_path / f"r{suffix}"
    assert run("predict", parts, "--out", out).stderr.splitlines()[-1] == f"{out}: 3 done, 1 failed"
    again = run("predict", parts, "--out", out).stderr.splitlines()[-1]
    resumed = "0 done, 1 failed, 3 were there already"
    assert again == f"{out}: {'3 done, 1 failed' if suffix == '.json' else resumed}"


def on_a_terminal(arguments: list[str], folder: Path) -> str:
    """Everything that a command writes to a terminal."""
    leader, follower = pty.openpty()
    environment = os.environ | {"COLUMNS": "80", "TERM": "xterm"}
    with subprocess.Popen(
        [*PROGRAM, *arguments], stdout=follower, stderr=follower, cwd=folder, env=environment
    ) as made:
        os.close(follower)
        written = b""
        while True:
            try:
                block = os.read(leader, 4096)
            except OSError:  # Linux' way of saying that the other side is closed
                break
            if not block:
                break
            written += block
        assert made.wait() == 0
    os.close(leader)
    return written.decode()


@pytest.mark.parametrize("out", [["--out", "r.csv"], []], ids=["file", "table"])
def test_bulk_recognition_shows_a_bar_on_a_terminal(out: list[str], clips: Path, tmp_path: Path) -> None:
    shown = on_a_terminal(["predict", str(clips), *out], tmp_path)
    assert "━" in shown
    assert "3/3" in shown
    if out:
        assert "r.csv: 3 done" in shown
        assert "0 done, 3 were there already" in on_a_terminal(["predict", str(clips), *out], tmp_path)
    else:
        assert "a.wav" in shown


def test_an_interrupted_run_says_that_it_goes_on(tmp_path: Path, encode, tone) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    clip = encode(folder / "0.wav", tone(200, 20)).read_bytes()
    for number in range(1, 200):
        (folder / f"{number}.wav").write_bytes(clip)
    out = tmp_path / "r.jsonl"
    with subprocess.Popen(
        [*PROGRAM, "predict", str(folder), "--out", str(out), "--workers", "1"], stderr=subprocess.PIPE, text=True
    ) as made:
        while not (out.exists() and out.stat().st_size):
            assert made.poll() is None
            time.sleep(0.05)
        made.send_signal(signal.SIGINT)
        _, said = made.communicate()
    assert made.returncode == 130
    assert said == f"{out}: interrupted; the same command goes on from here\n"
    assert 0 < len(out.read_text().splitlines()) < 200
