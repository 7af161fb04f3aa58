"""Splits of ours and of other people are read back, checked against the corpus, and audited."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from emofocus.cli.main import app
from emofocus.corpora import Corpus, Utterance, read_corpus
from emofocus.errors import EmofocusError, SplitError
from emofocus.splits.folds import Fold, write_folds
from emofocus.splits.formats import read_folds, read_split, with_validation
from emofocus.splits.protocols import EMOBOX6_TEST, make_folds
from helpers.trees import TREES


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The names of RAVDESS, without its sound."""
    folder = tmp_path_factory.mktemp("ravdess")
    TREES["ravdess"](folder)
    return folder


@pytest.fixture(scope="module")
def corpus(root: Path) -> Corpus:
    return read_corpus("ravdess", root)


def run(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["audit", *map(str, arguments)], env={"COLUMNS": "200"})
    if done.exception and not isinstance(done.exception, SystemExit | EmofocusError):
        raise done.exception
    return done.exit_code, done.output + str(done.exception or "")


def emobox(folder: Path, corpus: Corpus, folds: list[tuple[np.ndarray, np.ndarray]]) -> Path:
    """Folds as EmoBox writes them: training and test, no validation, no speakers."""
    for number, parts in enumerate(folds, start=1):
        for name, part in zip(("train", "test"), parts, strict=True):
            lines = [
                json.dumps(
                    {
                        "key": f"ravdess-{corpus.utterances[i].key}",
                        "dataset": "ravdess",
                        "wav": f"downloads/ravdess/{corpus.utterances[i].file}",
                        "type": "raw",
                        "sample_rate": 48000,
                        "length": 3.3,
                        "task": "category",
                        "emo": corpus.utterances[i].emotion,
                        "channel": 1,
                    }
                )
                for i in part
            ]
            file = folder / f"fold_{number}" / f"ravdess_{name}_fold_{number}.jsonl"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(lines) + "\n")
    return folder


def by_actors(corpus: Corpus) -> list[tuple[np.ndarray, np.ndarray]]:
    actors = corpus.table["speaker"].cast(int).to_numpy()
    return [(np.flatnonzero(~np.isin(actors, test)), np.flatnonzero(np.isin(actors, test))) for test in EMOBOX6_TEST]


@pytest.mark.parametrize("protocol", ["speaker", "random", "content"])
def test_folds_come_back_as_they_were_written(corpus: Corpus, protocol: str, tmp_path: Path) -> None:
    folds = make_folds(corpus, protocol, seed=3)
    write_folds(folds, corpus, tmp_path / "folds.json")
    again = read_folds(tmp_path / "folds.json", corpus, None, 0)
    assert (again.protocol, again.seed, again.speakers_shared) == (protocol, 3, protocol == "random")
    assert again.digest(corpus) == folds.digest(corpus)


def test_folds_that_name_files_of_another_copy_are_understood(corpus: Corpus, tmp_path: Path) -> None:
    folds = make_folds(corpus, "speaker", seed=0)
    parts = [
        {
            name: [f"D:\\data\\{corpus.utterances[i].file.replace('/', chr(92))}" for i in part]
            for name, part in f.items()
        }
        for f in (fold.parts() for fold in folds)
    ]
    (tmp_path / "folds.json").write_text(json.dumps({"folds": parts}))
    assert read_folds(tmp_path / "folds.json", corpus, None, 0).digest(corpus) == folds.digest(corpus)


def test_emobox_folds_get_a_speaker_disjoint_validation_part(corpus: Corpus, tmp_path: Path) -> None:
    folder = emobox(tmp_path / "emobox", corpus, by_actors(corpus))
    folds = read_folds(folder, corpus, None, seed=0)
    assert len(folds) == 6
    for fold, (train, test) in zip(folds, by_actors(corpus), strict=True):
        assert sorted(fold.test) == sorted(test)
        assert sorted([*fold.train, *fold.valid]) == sorted(train)
        heard = [set(corpus.table["speaker"].gather(part)) for part in (fold.train, fold.valid)]
        assert heard[1]
        assert not heard[0] & heard[1]


def test_folds_of_four_sessions_without_validation_give_up_one_of_them(tmp_path: Path) -> None:
    """As EmoBox' folds of IEMOCAP, whose speakers are tied in pairs."""
    rows = [Utterance(f"{s}{g}{c}.wav", c, f"{s}{g}", session=f"{s}") for s in range(5) for g in "FM" for c in "ab"]
    corpus = Corpus.of("iemocap", tmp_path, ("a", "b"), rows)
    test = np.flatnonzero((corpus.table["session"] == "0").to_numpy())
    fold = with_validation(corpus, Fold.of(np.setdiff1d(np.arange(len(rows)), test), [], test), seed=0)
    assert len(set(corpus.table["session"].gather(fold.valid))) == 1
    assert len(set(corpus.table["session"].gather(fold.train))) == 3


def test_emobox_folds_fail_their_audit_for_want_of_validation(root: Path, corpus: Corpus, tmp_path: Path) -> None:
    folder = emobox(tmp_path / "emobox", corpus, by_actors(corpus))
    code, said = run(folder, "--corpus", "ravdess", "--root", root, "--no-listen")
    assert code == 1
    assert "part without utterances" in said
    assert "failed: 6 of 6 folds" in said


def test_a_leaking_json_fails_and_names_the_offenders(root: Path, corpus: Corpus, tmp_path: Path) -> None:
    folds = make_folds(corpus, "speaker", seed=0)
    moved = int(folds[2].test[0])
    speaker = corpus.utterances[moved].speaker
    folds.folds[2].train[0] = moved  # it is tested, too
    write_folds(folds, corpus, tmp_path / "folds.json")
    report = tmp_path / "report.json"
    code, said = run(tmp_path / "folds.json", "--corpus", "ravdess", "--root", root, "--no-listen", "--json", report)
    assert code == 1
    assert f"{speaker} (train 1, test 60)" in said
    assert "cuts or altered copies" in said
    offences = [item for item in json.loads(report.read_text())["offences"] if item["fails"]]
    assert {(item["fold"], item["kind"]) for item in offences} == {(2, "speaker"), (2, "recording")}


def test_a_clean_json_passes(root: Path, corpus: Corpus, tmp_path: Path) -> None:
    write_folds(make_folds(corpus, "actors5", seed=0), corpus, tmp_path / "folds.json")
    code, said = run(tmp_path / "folds.json", "--corpus", "ravdess", "--root", root, "--no-listen")
    assert code == 0
    assert "passed: none of 5 folds leaks" in said
    assert "sentence in two parts" in said  # a warning


def test_a_csv_with_a_split_column_needs_no_corpus(tmp_path: Path) -> None:
    rows = [
        f"{s}/{c}{n}.wav,{c},{s},{p}" for s, p in ((1, "Train"), (2, "dev"), (3, "TEST")) for c in "ab" for n in "12"
    ]
    (tmp_path / "split.csv").write_text("\n".join(["file,emotion,speaker,split", *rows]))
    assert run(tmp_path / "split.csv")[0] == 0
    (tmp_path / "split.csv").write_text("\n".join(["file,emotion,speaker,split", *rows, "3/a1_noise.wav,a,3,train"]))
    code, said = run(tmp_path / "split.csv")
    assert code == 1
    assert "speaker in two parts" in said
    assert "cuts or altered copies" in said


def test_a_folder_of_lists_is_audited(root: Path, corpus: Corpus, tmp_path: Path) -> None:
    fold = make_folds(corpus, "speaker", seed=0)[0]
    for name, part in zip(("train", "dev", "test"), fold.parts().values(), strict=True):
        lines = [f"{corpus.utterances[i].file} {corpus.utterances[i].emotion}" for i in part]
        (tmp_path / f"{name}.txt").write_text("\r\n".join(lines))
    code, said = run(tmp_path, "--corpus", "ravdess", "--root", root, "--no-listen")
    assert code == 0, said
    assert "none of 1 folds leaks" in said


def test_lists_without_a_corpus_are_refused_because_nobody_knows_who_speaks(tmp_path: Path) -> None:
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.txt").write_text("a.wav\n")
    code, said = run(tmp_path)
    assert code == 1
    assert "does not tell who speaks; say what it splits with --corpus" in said


def test_names_tell_who_speaks_when_the_corpus_is_not_at_hand(corpus: Corpus, tmp_path: Path) -> None:
    folder = emobox(tmp_path / "emobox", corpus, by_actors(corpus))
    code, said = run(folder, "--corpus", "ravdess")
    assert code == 1
    assert "part without utterances" in said  # and no other leak
    assert "speaker in two parts" not in said
    emobox(folder, corpus, [(np.arange(0, 1440, 2), np.arange(1, 1440, 2))])
    assert "speaker in two parts" in run(folder, "--corpus", "ravdess")[1]
    code, said = run(folder, "--corpus", "emodb")
    assert "1440 names are not like wav/03a01Fa.wav" in said


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("folds.json", "{", "no folds"),
        ("folds.json", '{"folds": [{"train": 3}]}', "no folds"),
        ("folds.json", '{"parts": []}', "no folds"),
        ("folds.json", '{"folds": [{"train": ["x"], "valid": [], "test": []}]}', "1 of 1 utterances are not in it"),
        ("split.yaml", "a: b", "a split is a .json"),
        ("split.csv", "file,emotion,speaker,split\na.wav,x,1,maybe\n", r"line 2: 'maybe' is no part of a split"),
        ("nothing/readme.md", "", "holds no list of a part"),
    ],
)
def test_what_is_no_split_is_refused(name: str, text: str, message: str, corpus: Corpus, tmp_path: Path) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    with pytest.raises(EmofocusError, match=message):
        read_folds(file.parent if "/" in name else file, corpus, None, 0)
    with pytest.raises(SplitError, match="no such file"):
        read_split(tmp_path / "nowhere.json")


def test_folds_keep_their_name_unless_they_are_admitted_to_be_random(corpus: Corpus, tmp_path: Path) -> None:
    write_folds(make_folds(corpus, "speaker", seed=0), corpus, tmp_path / "folds.json")
    with pytest.raises(SplitError, match="these folds are called 'speaker'"):
        read_folds(tmp_path / "folds.json", corpus, "content", 0)
    assert read_folds(tmp_path / "folds.json", corpus, "random", 0).speakers_shared
