"""Adaptation of many clips to their voices: the same answers as by hand, whatever the list and however it ended."""

import csv
import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="exporting needs emofocus[train]")

import soundfile
from click.testing import CliRunner, Result

from emofocus import Recognizer, audio
from emofocus.cli.main import app
from emofocus.errors import ConfigError
from emofocus.recognition import speakers
from emofocus.recognition.options import RecognitionOptions
from emofocus.recognition.speakers import VoiceGroups
from helpers.adaptable import talk

RATE = audio.SAMPLING_RATE
VOICES = {"anna": (0, 1, 2), "ben": (3, 4), "": (5,)}
"""Speaker → numbers of the clips, whose last one names nobody."""


@pytest.fixture(scope="module")
def recognizer(adaptable: Path) -> Recognizer:
    return Recognizer.from_pretrained(adaptable, threads=1)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of clips, in a folder for each speaker, with lists of them."""
    root = tmp_path / "clips"
    rows = []
    for name, numbers in VOICES.items():
        (root / (name or "nobody")).mkdir(parents=True)
        for number in numbers:
            file = f"{name or 'nobody'}/{number}.wav"
            soundfile.write(root / file, talk(2.5 + 0.5 * number, number), RATE)
            rows.append({"file": file, "Speaker ": name})
    rows = rows[::2] + rows[1::2]  # voices in turn
    with (root / "clips.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    (root / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def predict(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def answers(path: Path) -> dict[str, dict[str, float]]:
    """Name of each clip → its scores."""
    lines = path.read_text().splitlines()
    return {row["file"].rpartition("/")[2]: row["scores"] for row in map(json.loads, lines)}


def by_hand(recognizer: Recognizer, clips: Path, name: str) -> dict[str, dict[str, float]]:
    files = [clips / (name or "nobody") / f"{number}.wav" for number in VOICES[name]]
    adapted = recognizer.adapt(files) if name else recognizer
    return {file.name: adapted(file).scores for file in files}


def assert_adapted(found: dict[str, dict[str, float]], recognizer: Recognizer, clips: Path) -> None:
    for name in VOICES:
        for file, scores in by_hand(recognizer, clips, name).items():
            assert found[file] == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize("name", ["clips.csv", "clips.jsonl"])
def test_each_speaker_of_a_list_is_recognized_as_if_adapted_to_by_hand(
    name: str, adaptable: Path, recognizer: Recognizer, clips: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    result = predict(clips / name, "--by-speaker", "speaker", "--model", adaptable, "--out", out)
    assert result.exit_code == 0, result.output
    assert_adapted(answers(out), recognizer, clips)
    assert f"{out}: 6 done, 1 of no known voice" in result.output


def test_each_folder_is_a_voice(adaptable: Path, recognizer: Recognizer, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    result = predict(clips, "--by-folder", "--model", adaptable, "--out", out)
    assert result.exit_code == 0, result.output
    found = answers(out)
    for name in ("anna", "ben"):
        for file, scores in by_hand(recognizer, clips, name).items():
            assert found[file] == pytest.approx(scores, abs=1e-4)
    assert f"{out}: 6 done\n" in result.output


def test_the_number_of_workers_changes_no_bit(adaptable: Path, clips: Path) -> None:
    common = clips / "clips.csv", "--by-speaker", "speaker", "--model", adaptable, "--format", "jsonl"
    one, three = (predict(*common, "--workers", workers).stdout for workers in (1, 3))
    assert one == three


def test_an_interrupted_run_goes_on_with_the_same_bytes(adaptable: Path, clips: Path, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole.csv", tmp_path / "part.csv"
    common = clips / "clips.csv", "--by-speaker", "speaker", "--model", adaptable, "--out"
    predict(*common, whole)
    predict(*common, part)
    lines = part.read_text().splitlines(keepends=True)
    part.write_text("".join(lines[:4]) + lines[4][:9])
    result = predict(*common, part)
    assert "3 done, 1 of no known voice, 3 were there already" in result.output
    assert part.read_bytes() == whole.read_bytes()


def test_results_of_other_voices_are_not_gone_on_with(adaptable: Path, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    common = clips / "clips.csv", "--model", adaptable, "--out", out
    assert predict(*common, "--by-speaker", "speaker").exit_code == 0
    for others in ([], ["--by-folder"]):
        result = predict(*common, *others)
        assert isinstance(result.exception, ConfigError)
        assert "holds another run (voices is" in str(result.exception)
    soundfile.write(clips / "anna" / "1.wav", talk(3.0, 77), RATE)
    assert "holds another run (voices is" in str(predict(*common, "--by-speaker", "speaker").exception)


def test_results_with_a_profile_are_not_gone_on_with_without_it(adaptable: Path, clips: Path, tmp_path: Path) -> None:
    """A run without a profile once added its rows to those with one: what a record has more did not count."""
    voice, out = tmp_path / "anna.json", tmp_path / "out.csv"
    Recognizer.from_pretrained(adaptable).adapt(clips / "anna" / "0.wav").profile.save(voice)
    common = clips / "ben", "--model", adaptable, "--out", out
    assert predict(*common, "--voice", voice).exit_code == 0
    assert "voice is" in str(predict(*common).exception)


def test_a_clip_that_cannot_be_heard_costs_its_own_row_alone(
    adaptable: Path, recognizer: Recognizer, clips: Path, tmp_path: Path
) -> None:
    with (clips / "clips.csv").open("a") as stream:
        stream.write("absent.wav,anna\nbroken.wav,ben\n,anna\n")
    (clips / "broken.wav").write_bytes(b"RIFF")
    out = tmp_path / "out.jsonl"
    result = predict(clips / "clips.csv", "--by-speaker", "speaker", "--model", adaptable, "--out", out)
    assert result.exit_code == 1
    assert "3 failed" in result.output
    assert result.output.count("absent.wav") == 1
    assert_adapted(answers(out), recognizer, clips)


def test_timelines_are_adapted_too(adaptable: Path, recognizer: Recognizer, clips: Path, tmp_path: Path) -> None:
    plain, adapted = tmp_path / "plain", tmp_path / "adapted"
    common = clips / "clips.csv", "--timeline", "--model", adaptable, "--format", "json", "--out"
    assert predict(*common, plain).exit_code == 0
    result = predict(*common, adapted, "--by-speaker", "speaker")
    assert "6 done, 1 of no known voice" in result.output
    same = {file.stem for file in plain.glob("*.json") if file.read_bytes() == (adapted / file.name).read_bytes()}
    assert same == {"5"}
    assert "6 were there already" in predict(*common, adapted, "--by-speaker", "speaker").output
    assert "voice is" in str(predict(*common, adapted).exception)


def test_memory_grows_by_voices_and_not_by_clips(
    recognizer: Recognizer, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At no time are more profiles of clips alive than threads work on; their audio is gone with them."""
    alive, most = 0, 0
    measured = speakers._measured

    class Counted(speakers.VoiceProfile):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def counted(recognizer: Recognizer, item: object) -> object:
        nonlocal alive, most
        name, profile = measured(recognizer, item)
        alive += 1
        most = max(most, alive)
        return name, Counted(profile.model, profile.seconds, profile.clips, profile.statistics)

    monkeypatch.setattr(speakers, "_measured", counted)
    paths = [clips / "clips.csv"] * 10
    found = VoiceGroups("speaker").recognizers(recognizer, paths, workers=1)
    assert {name: adapted.profile.clips for name, adapted in found.items()} == {"anna": 30, "ben": 20}
    assert most <= len(VOICES) + 4


def test_what_cannot_work_is_refused_in_a_line(adaptable: Path, clips: Path, recognizer: Recognizer) -> None:
    list_, folder = clips / "clips.csv", clips / "anna"
    voice = clips / "voice.json"
    recognizer.adapt(folder / "0.wav").profile.save(voice)
    refused = [
        (
            (list_, "--by-speaker", "spaeker"),
            "no column, or key, .spaeker.*it has: file, speaker.*mean speaker",
        ),
        ((folder, "--by-speaker", "speaker"), "anna: no list .* whose column 'speaker' could name the speaker"),
        (("-", "--by-folder"), "the standard input can be read once"),
        ((list_, "--by-speaker", "speaker", "--by-folder"), "--by-speaker and --by-folder exclude each other"),
        ((folder, "--by-folder", "--voice", voice), "--by-folder and --voice exclude each other"),
        ((folder, "--by-folder", "--ray", "local", "--out", clips / "o"), "--ray cannot hear voices"),
    ]
    for arguments, message in refused:
        result = predict(*arguments, "--model", adaptable)
        assert isinstance(result.exception, ConfigError), (arguments, result.output)
        assert "\n" not in str(result.exception)
        with pytest.raises(ConfigError, match=message):
            raise result.exception


def test_a_model_without_statistics_of_voices_says_why(clips: Path) -> None:
    if Recognizer.from_pretrained(threads=1).engine.adaptable:
        pytest.skip("the shipped model can be adapted")
    result = predict(clips / "anna", "--by-folder")
    assert "cannot be adapted to a voice" in str(result.exception)


def test_workers_of_a_cluster_get_the_profile_and_not_its_path(adaptable: Path, clips: Path, tmp_path: Path) -> None:
    """Other machines once were to read the profile from a path of this one."""
    pytest.importorskip("ray", reason="needs emofocus[cluster]")
    from emofocus.cluster.coordinator import PortableModel

    voice = tmp_path / "anna.json"
    mine = Recognizer.from_pretrained(adaptable).adapt(clips / "anna" / "0.wav")
    mine.profile.save(voice)
    portable = PortableModel.read(str(adaptable), RecognitionOptions(threads=1, voice=str(voice)))
    voice.unlink()
    clip = clips / "ben" / "3.wav"
    assert portable.load()(clip).scores == pytest.approx(mine(clip).scores, abs=1e-5)
