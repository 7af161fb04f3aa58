"""`emofocus evaluate` as a user runs it: folders, manifests, models, files of predictions, and mistakes."""

import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from emofocus.cli.main import app, main
from emofocus.recognition import recognizer as recognizer_module

FIRST_FIGURES = {"wa": 0.676667, "ua": 0.6625, "macro_f1": 0.663828}
"""Figures of the shipped model on its test part, as its config and card state them."""

Evaluate = Callable[..., str]


@pytest.fixture
def evaluate() -> Evaluate:
    """Run the command in this process: what it printed. An error of the user's is raised."""

    def run(*arguments: object, code: int = 0) -> str:
        done = CliRunner().invoke(app, ["evaluate", *map(str, arguments)], catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.output

    return run


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command through the entry point of the installed program, which must fail: its last line on stderr."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["emofocus", "evaluate", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 1
        output = capsys.readouterr()
        assert "Traceback" not in output.err
        assert output.out == ""
        return output.err.splitlines()[-1]

    return run


def voice(path: Path, hertz: float, seconds: float = 1.2) -> None:
    """A buzz whose loudness swings, so that it counts as speech."""
    time = np.arange(round(16_000 * seconds)) / 16_000
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = np.sign(np.sin(2 * np.pi * hertz * time)) * (0.2 + 0.1 * np.sin(2 * np.pi * 4 * time))
    soundfile.write(path, sound, 16_000)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A folder with a folder for each of three classes, with two clips each."""
    for number, name in enumerate(("anger", "happiness", "sad")):
        for take in range(2):
            voice(tmp_path / "mine" / name / f"{take}.wav", 120 + 90 * number + 10 * take)
    return tmp_path / "mine"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A table with columns of other names: two speakers, two channels, a class that the model lacks."""
    rows = ["path;mood;who;sex;channel"]
    moods = ("angry", "happy", "sad", "bored")
    for number in range(16):
        voice(tmp_path / "audio" / f"{number}.wav", 100 + 20 * number, 1.2 if number % 2 else 2.4)
        channel = "phone" if number % 4 < 2 else "studio"
        rows.append(f"audio/{number}.wav;{moods[number % 4]};{'ab'[number // 8]};{'fm'[number // 8]};{channel}")
    (tmp_path / "mine.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "mine.csv"


COLUMNS = ("--columns", "file=path,emotion=mood,speaker=who")


def test_a_folder_of_classes_becomes_a_table_and_three_reports(
    evaluate: Evaluate, folders: Path, tmp_path: Path
) -> None:
    reports = [tmp_path / f"report{suffix}" for suffix in (".html", ".md", ".json")]
    shown = evaluate("--corpus", folders, *(word for path in reports for word in ("-o", path)))
    assert "mine: scored as the model's classes: angry = anger, happy = happiness" in shown
    assert "mine: the names of its files tell no speakers" not in shown.partition("shipped model on mine")[2]
    assert "shipped model on mine" in shown
    assert "guessing among" in shown
    report = json.loads(reports[2].read_text())
    assert report["classes"] == {"happy": ["happiness"], "sad": ["sad"], "angry": ["anger"]}
    assert (report["utterances"], report["speakers"], report["unit"]) == (6, 0, "utterances")
    assert any("fewer than 5 utterances" in note for note in report["notes"])
    assert "# shipped model on mine" in reports[1].read_text()
    page = reports[0].read_text()
    assert page.startswith("<!doctype html>")
    assert "http" not in page.replace("http-equiv", "")
    with (tmp_path / "report.predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["angry", "angry", "happy", "happy", "sad", "sad"]


def test_a_table_with_other_columns_is_told_apart_by_all_that_it_knows(
    evaluate: Evaluate, manifest: Path, tmp_path: Path
) -> None:
    shown = evaluate("--corpus", manifest, *COLUMNS, "-o", tmp_path / "out")
    assert "LEFT OUT, because the model has no such class: bored 4" in shown
    report = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert report["left_out"] == {"bored": 4}
    traits = {
        table["trait"]: [group["value"] for group in table["groups"]] for table in report["models"][0]["by_group"]
    }
    assert traits["gender"] == ["f", "m"]
    assert traits["channel"] == ["phone", "studio"]
    assert traits["length"] == ["1 to 2 s", "2 to 4 s"]
    assert traits["speaker"] == ["a", "b"]
    assert (tmp_path / "out" / "predictions.csv").exists()


def test_answers_give_the_same_report_as_the_model_that_gave_them(
    evaluate: Evaluate, manifest: Path, tmp_path: Path
) -> None:
    evaluate("--corpus", manifest, *COLUMNS, "-o", tmp_path / "out")
    evaluate(tmp_path / "out", "-o", tmp_path / "again.json")
    first = json.loads((tmp_path / "out" / "summary.json").read_text())["models"][0]
    again = json.loads((tmp_path / "again.json").read_text())["models"][0]
    assert {**again, "name": ""} == {**first, "name": ""}


def test_an_interrupted_evaluation_goes_on_and_repeats_nothing(
    evaluate: Evaluate, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    evaluate("--corpus", manifest, *COLUMNS, "-o", out)
    file = out / "predictions.csv"
    whole = file.read_text()
    lines = whole.splitlines(keepends=True)
    file.write_text("".join(lines[:9]) + lines[9][:7])  # eight rows, and one that was cut off
    counted = []
    score = recognizer_module.Scorer.score_batch
    monkeypatch.setattr(
        recognizer_module.Scorer,
        "score_batch",
        lambda self, waveforms: counted.extend(waveforms) or score(self, waveforms),
    )
    evaluate("--corpus", manifest, *COLUMNS, "-o", out)
    assert file.read_text() == whole
    assert len(counted) == 4  # the second batch of eight and four
    counted.clear()
    evaluate("--corpus", manifest, *COLUMNS, "-o", out)
    assert counted == []


def test_answers_of_other_labels_are_not_gone_on_with(
    evaluate: Evaluate, refused: Callable[..., str], manifest: Path, tmp_path: Path
) -> None:
    evaluate("--corpus", manifest, *COLUMNS, "-o", tmp_path / "out")
    manifest.write_text(manifest.read_text().replace("angry", "fearful"))
    line = refused("--corpus", manifest, *COLUMNS, "-o", tmp_path / "out")
    assert "holds another run (utterances is" in line


def test_cuts_of_one_recording_are_utterances(evaluate: Evaluate, tmp_path: Path) -> None:
    voice(tmp_path / "long.wav", 200, 6)
    cuts = ["0,1.5,angry", "1.5,3,sad", "3,4.5,angry", "4.5,,sad"]
    (tmp_path / "mine.csv").write_text("start,end,emotion,file\n" + "".join(f"{cut},long.wav\n" for cut in cuts))
    evaluate("--corpus", tmp_path / "mine.csv", "-o", tmp_path / "out")
    evaluate("--corpus", tmp_path / "mine.csv", "-o", tmp_path / "out")
    report = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert report["utterances"] == 4
    with (tmp_path / "out" / "predictions.csv").open() as file:
        times = [(row["start"], row["end"], row["duration"]) for row in csv.DictReader(file)]
    assert times == [("0", "1.5", "1.5"), ("1.5", "3", "1.5"), ("3", "4.5", "1.5"), ("4.5", "", "1.5")]


def test_only_some_classes_are_asked_for(evaluate: Evaluate, manifest: Path, tmp_path: Path) -> None:
    for text in ("common", "angry,happy,sad"):
        evaluate("--corpus", manifest, *COLUMNS, "--classes", text, "-o", tmp_path / "out")
        report = json.loads((tmp_path / "out" / "summary.json").read_text())
        assert sorted(report["models"][0]["classes"]) == ["angry", "happy", "sad"]
        assert report["restricted"]
    evaluate("--corpus", manifest, *COLUMNS, "--classes", "happy,low=sad+calm", "-o", tmp_path / "out")
    report = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert report["classes"] == {"happy": ["happy"], "low": ["sad", "calm"]}
    assert report["left_out"] == {"bored": 4, "angry": 4}


def test_a_model_is_tested_against_another_one(evaluate: Evaluate, manifest: Path, tmp_path: Path) -> None:
    evaluate("--corpus", manifest, *COLUMNS, "-o", tmp_path / "out")
    shown = evaluate("shipped", "--against", tmp_path / "out", "--corpus", manifest, *COLUMNS)
    assert "Paired test" in shown
    report = tmp_path / "pair.json"
    evaluate("shipped", "--against", tmp_path / "out", "--corpus", manifest, *COLUMNS, "-o", report)
    (test,) = json.loads(report.read_text())["tests"]
    assert (test["ua"]["value"], test["ua_p"], test["only_first"], test["only_second"]) == (0.0, 1.0, 0, 0)


def test_clips_that_cannot_be_recognized_are_named_and_cost_no_other_clip(
    evaluate: Evaluate, folders: Path, tmp_path: Path
) -> None:
    (folders / "sad" / "broken.wav").write_bytes(b"no audio")
    shown = evaluate("--corpus", folders, "-o", tmp_path / "report.json", code=1)
    assert "broken.wav" in shown
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["utterances"], report["failed"]) == (6, 1)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("yes", "no"), "mine and the model have no class in common: the corpus has no 1, yes 1"),
        (("angry",), "all 1 utterances are angry: an evaluation needs two classes at least"),
    ],
)
def test_folders_without_two_classes_of_the_model_are_refused(
    names: tuple[str, ...], message: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    for number, name in enumerate(names):
        voice(tmp_path / "mine" / name / "a.wav", 100 + 50 * number)
    assert message in refused("--corpus", tmp_path / "mine")


def test_folders_of_one_clip_each_are_evaluated_with_a_word(evaluate: Evaluate, tmp_path: Path) -> None:
    for number, name in enumerate(("angry", "sad")):
        voice(tmp_path / "mine" / name / "a.wav", 100 + 50 * number)
    shown = evaluate("--corpus", tmp_path / "mine")
    assert "classes with fewer than 5 utterances, whose recalls say next to nothing: angry 1, sad 1" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name labeled speech with --corpus, on which to evaluate shipped model"),
        (("--corpus", "MANIFEST", "--columns", "file=nothing"), "has no column 'nothing', which is to be 'file'"),
        (("--corpus", "MANIFEST", "--columns", "emotions=mood"), "no such column 'emotions' (did you mean emotion?)"),
        (("--corpus", "MANIFEST"), "the column 'file' is missing"),
        (("--corpus", "MANIFEST", *COLUMNS, "--speaker", "zoe"), "mine has none of the speakers zoe"),
        (("--corpus", "MANIFEST", *COLUMNS, "-o", "report.pdf"), "report.pdf: cannot write .pdf"),
        (("--corpus", "MANIFEST", *COLUMNS, "--classes", "angry,mad"), "no model has a class 'mad'"),
        (("no-such-model", "--corpus", "MANIFEST", *COLUMNS), "unknown model 'no-such-model'"),
        (("none.csv",), "none.csv: cannot be read"),
    ],
)
def test_mistakes_are_told_in_one_line(
    arguments: tuple[str, ...], message: str, refused: Callable[..., str], manifest: Path
) -> None:
    assert message in refused(*(str(manifest) if word == "MANIFEST" else word for word in arguments))


@pytest.mark.slow
def test_the_shipped_model_reproduces_the_figures_of_its_test_part(
    evaluate: Evaluate, ravdess: Path, tmp_path: Path
) -> None:
    shown = evaluate("--corpus", "ravdess", "--root", ravdess, "-o", tmp_path / "out")
    assert "ravdess trained shipped model: its test speakers alone are evaluated (02, 05, 14, 15, 16)" in shown
    report = json.loads((tmp_path / "out" / "summary.json").read_text())
    model = report["models"][0]
    assert {name: round(model[name]["value"], 6) for name in FIRST_FIGURES} == FIRST_FIGURES
    assert round(model["calibration"]["ece"], 6) == 0.076397
    assert round(model["calibration"]["coverage"], 6) == 0.136667


@pytest.fixture
def trained(tmp_path: Path) -> Callable[..., Path]:
    """The shipped model with another record of its training."""

    def with_record(**training: object) -> Path:
        folder = tmp_path / "trained"
        shutil.copytree(recognizer_module.SHIPPED, folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "training": training}))
        return folder

    return with_record


OPTIMISTIC = "a corpus called mine trained trained, which may have heard these utterances"


@pytest.mark.parametrize(
    ("training", "speakers", "line"),
    [
        (
            {"corpus": "mine", "protocol": "speaker", "test_speakers": ["b"]},
            {"b"},
            "test speakers alone are evaluated (b)",
        ),
        ({"corpus": "other+mine", "protocol": "loco", "test_speakers": ["mine/a"]}, {"a"}, "alone are evaluated (a)"),
        ({"corpus": "mine", "protocol": "random", "test_speakers": ["a", "b"]}, {"a", "b"}, OPTIMISTIC),
        ({"corpus": "mine", "protocol": "speaker", "test_speakers": [""]}, {"a", "b"}, OPTIMISTIC),
        ({"corpus": "new", "test_speakers": ["x"], "init": {"corpus": "mine"}}, {"a", "b"}, OPTIMISTIC),
        ({"corpus": "other", "test_speakers": ["x"]}, {"a", "b"}, ""),
        ({}, {"a", "b"}, ""),
    ],
)
def test_speakers_whom_a_model_has_heard_are_left_out_or_told(
    training: dict[str, object],
    speakers: set[str],
    line: str,
    evaluate: Evaluate,
    trained: Callable[..., Path],
    manifest: Path,
    tmp_path: Path,
) -> None:
    shown = evaluate(trained(**training), "--corpus", manifest, *COLUMNS, "-o", tmp_path / "out")
    assert line in shown
    assert ("optimistic" in shown) == (line == OPTIMISTIC)
    with (tmp_path / "out" / "predictions.csv").open() as file:
        assert {row["speaker"] for row in csv.DictReader(file)} == speakers


def test_named_speakers_are_evaluated_whom_the_model_heard(
    evaluate: Evaluate, trained: Callable[..., Path], manifest: Path, tmp_path: Path
) -> None:
    model = trained(corpus="mine", protocol="speaker", test_speakers=["b"])
    shown = evaluate(model, "--corpus", manifest, *COLUMNS, "--speaker", "a", "-o", tmp_path / "out")
    assert OPTIMISTIC in shown
    assert "one speaker: intervals resample utterances" in shown


def test_a_corpus_of_which_nothing_can_be_recognized_is_named(refused: Callable[..., str], tmp_path: Path) -> None:
    for name in ("angry", "sad"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        (tmp_path / "mine" / name / "a.wav").write_bytes(b"no audio")
    assert "shipped model could recognize none of the utterances of mine" in refused("--corpus", tmp_path / "mine")


def test_models_of_one_name_are_told_apart(evaluate: Evaluate, manifest: Path, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        evaluate("--corpus", manifest, *COLUMNS, "-o", tmp_path / folder / "x" / "y")
    answers = [str(tmp_path / folder / "x" / "y") for folder in ("one", "two")]
    shown = tmp_path / "both.json"
    evaluate(*answers, "-o", shown)
    assert [model["name"] for model in json.loads(shown.read_text())["models"]] == answers
