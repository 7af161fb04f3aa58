"""An output that is there already: the same work goes on, another run's work is refused by what differs."""

import json
import shutil
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner

from emofocus.cli.main import app
from emofocus.config import FeatureSettings, Recipe
from emofocus.corpora import read_corpus
from emofocus.data.cache import Cache
from emofocus.data.feature_store import CachedSpeech
from emofocus.errors import ConfigError
from emofocus.models import MODELS, Model
from emofocus.splits.protocols import make_folds
from emofocus.training import runs as training_runs
from emofocus.training.cross_validation import cross_validate
from emofocus.training.experiment import Experiment
from emofocus.training.fabric import make_fabric
from emofocus.training.options import ExperimentOptions, FabricOptions
from emofocus.training.results import plain
from emofocus.training.runs import train
from helpers.toy import TOY_RECIPE, Toy


@pytest.fixture(autouse=True, scope="module")
def toy() -> None:
    MODELS["toy"] = Model(Toy, TOY_RECIPE)
    MODELS["other-toy"] = Model(Toy, TOY_RECIPE)
    yield
    del MODELS["toy"], MODELS["other-toy"]


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stderr


def arguments_of(root: Path, cache: Path, *further: object) -> list[object]:
    common = ["--corpus", "emodb", "--root", root, "--cache", cache, "--recipe", "paper"]
    return [*common, "--protocol", "random", "--model", "toy", "--threads", 1, *further]


@pytest.fixture(scope="module")
def trained(shared_small_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished training, and the cache that it used."""
    folder = tmp_path_factory.mktemp("trained")
    run("train", *arguments_of(shared_small_corpus, folder / "cache"), "--out", folder / "model")
    return folder


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("further", "difference"),
    [
        (["--seed", 1], "seed is 0, not 1"),
        (["--fold", 1], "fold is 0, not 1"),
        (["--protocol", "random10"], "protocol.name is 'random', not 'random10'"),
        (["--labels", "happy=happy sad=sad"], r"classes is \["),
        (["--model", "other-toy"], "model is 'toy', not 'other-toy'"),
        (["--epochs", 2], "recipe_settings.epochs is 1, not 2"),
        (["--recipe", "quick"], "recipe is 'paper', not 'quick'"),
        (["--precision", "bf16-mixed"], "precision is '32-true', not 'bf16-mixed'"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_train_into_another_runs_folder_is_refused(
    trained: Path, shared_small_corpus: Path, tmp_path: Path, further: list[object], difference: str
) -> None:
    """It trained nothing, kept the weights of the other run, and wrote a card with figures of test speakers."""
    before = bytes_below(trained / "model")
    with pytest.raises(ConfigError, match=rf"model holds another run \(.*{difference}.*; name another --out"):
        run("train", *arguments_of(shared_small_corpus, tmp_path / "cache", *further), "--out", trained / "model")
    assert bytes_below(trained / "model") == before


def test_train_on_another_corpus_into_its_folder_is_refused(
    trained: Path, shared_small_corpus: Path, tmp_path: Path
) -> None:
    files = sorted(shared_small_corpus.rglob("*.wav"))
    lines = [f"{file},{'happy' if number % 2 else 'sad'},{file.name[:2]}" for number, file in enumerate(files)]
    manifest = trained / "others.csv"
    manifest.write_text("\n".join(["file,emotion,speaker", *lines]), encoding="utf-8")
    common = ["--corpus", manifest, "--cache", tmp_path / "cache", "--recipe", "paper", "--model", "toy"]
    with pytest.raises(ConfigError, match=r"another run \(corpus is 'emodb', not 'others'"):
        run("train", *common, "--protocol", "random", "--out", trained / "model")


def test_train_after_a_recording_was_replaced_is_refused(
    trained: Path, shared_small_corpus: Path, tmp_path: Path
) -> None:
    root = tmp_path / "replaced"
    shutil.copytree(shared_small_corpus, root)
    same = arguments_of(root, tmp_path / "cache")
    assert "finished before" in run("train", *same, "--out", trained / "model"), "where it lies does not matter"
    file = next(root.rglob("*.wav"))
    samples, rate = soundfile.read(file)
    soundfile.write(file, samples[::-1], rate)
    with pytest.raises(ConfigError, match="recordings is '"):
        run("train", *same, "--out", trained / "model")


def test_train_after_a_label_was_changed_is_refused(tmp_path: Path, shared_small_corpus: Path) -> None:
    files = sorted(shared_small_corpus.rglob("*.wav"))
    manifest = tmp_path / "list.csv"

    def options_with(first: str, second: str) -> ExperimentOptions:
        labels = [first, second, *(("happy", "sad")[number % 2] for number in range(len(files) - 2))]
        rows = [f"{file},{label},{file.name[:2]}" for file, label in zip(files, labels, strict=True)]
        manifest.write_text("\n".join(["file,emotion,speaker", *rows]), encoding="utf-8")
        return ExperimentOptions(
            corpus=(str(manifest),), cache=tmp_path / "cache", model="toy", recipe="paper", protocol="random"
        )

    device, out = FabricOptions(devices=1, threads=1), tmp_path / "out"
    train(options_with("happy", "sad"), device, out)
    with pytest.raises(ConfigError, match="holds another run"):
        train(options_with("sad", "happy"), device, out)


def test_a_finished_train_run_again_trains_nothing(
    trained: Path, shared_small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = bytes_below(trained / "model")
    for name in ("run_fold", "refuse_leaks"):
        monkeypatch.setattr(training_runs, name, lambda *_: pytest.fail("worked again"))
    told = run("train", *arguments_of(shared_small_corpus, tmp_path / "cache"), "--out", trained / "model")
    assert "model (finished before)" in told
    assert bytes_below(trained / "model") == before


def test_a_finished_train_whose_graph_was_deleted_is_exported_again(
    trained: Path, shared_small_corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(trained / "model", out)
    (out / "model.onnx").unlink()
    run("train", *arguments_of(shared_small_corpus, tmp_path / "cache"), "--out", out)
    assert (out / "model.safetensors").read_bytes() == (trained / "model" / "model.safetensors").read_bytes()
    assert (out / "model.onnx").exists()


def test_an_interrupted_train_is_not_gone_on_with_by_another_seed(shared_small_corpus: Path, tmp_path: Path) -> None:
    def options_with(seed: int) -> ExperimentOptions:
        return ExperimentOptions(
            corpus=("emodb",),
            root=(str(shared_small_corpus),),
            cache=tmp_path / "cache",
            model="toy",
            recipe="paper",
            protocol="random",
            epochs=3,
            seed=seed,
        )

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    device, out = FabricOptions(devices=1, threads=1), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        train(options_with(0), device, out, after_epoch=interrupt)
    with pytest.raises(ConfigError, match="seed is 0, not 1"):
        train(options_with(1), device, out)
    train(options_with(0), device, out)
    train(options_with(0), device, tmp_path / "at-once")
    for name in ("model.safetensors", "training/model.safetensors"):
        assert (out / name).read_bytes() == (tmp_path / "at-once" / name).read_bytes()


@pytest.mark.parametrize("left", ["model directory", "training"])
def test_train_into_a_folder_without_a_record_is_refused(
    trained: Path, shared_small_corpus: Path, tmp_path: Path, left: str
) -> None:
    """Folders of older versions, and other people's models."""
    out = tmp_path / "out"
    shutil.copytree(trained / "model", out)
    (out / "training" / "provenance.json").unlink()
    if left == "model directory":
        shutil.rmtree(out / "training")
    before = bytes_below(out)
    with pytest.raises(ConfigError, match="out is there already, and nobody knows how it was made; name another --out"):
        run("train", *arguments_of(shared_small_corpus, tmp_path / "cache"), "--out", out)
    assert bytes_below(out) == before


# Cross-validation

KEEPING, REMOVING = FeatureSettings(), FeatureSettings(remove_offset=True)


def cross_validated(
    root: Path,
    cache: Cache,
    out: Path,
    seed: int = 0,
    precision: str = "32-true",
    features: FeatureSettings = KEEPING,
) -> dict:
    corpus = read_corpus("emodb", root)
    recipe = Recipe(epochs=1, batch_size=32, features=features)
    experiment = Experiment(corpus, "toy", "tiny", recipe, make_folds(corpus, "random", seed, count=3), seed)
    fabric = make_fabric(FabricOptions(devices=1, threads=1))
    return plain(cross_validate(experiment, out, fabric, CachedSpeech(corpus, cache), precision=precision))


@pytest.fixture(scope="module")
def validated(shared_small_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Cache]:
    folder = tmp_path_factory.mktemp("validated")
    cache = Cache(folder / "cache")
    cross_validated(shared_small_corpus, cache, folder / "run")
    yield folder / "run", cache
    cache.close()


def test_crossval_does_not_take_left_over_weights_of_another_seed(
    validated: tuple[Path, Cache], shared_small_corpus: Path, tmp_path: Path
) -> None:
    """Its summary was removed to begin again, the folders of its folds were not."""
    out = tmp_path / "out"
    shutil.copytree(validated[0], out)
    (out / "summary.json").unlink()
    (out / "predictions.csv").unlink()
    with pytest.raises(ConfigError, match="seed is 0, not 1"):
        cross_validated(shared_small_corpus, validated[1], out, seed=1)
    (out / "provenance.json").unlink()
    with pytest.raises(ConfigError, match="nobody knows how it was made"):
        cross_validated(shared_small_corpus, validated[1], out, seed=1)


def test_crossval_after_a_recording_was_replaced_or_with_another_precision_is_refused(
    validated: tuple[Path, Cache], shared_small_corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="precision is '32-true', not 'bf16-mixed'"):
        cross_validated(shared_small_corpus, validated[1], validated[0], precision="bf16-mixed")
    root = tmp_path / "replaced"
    shutil.copytree(shared_small_corpus, root)
    file = next(root.rglob("*.wav"))
    samples, rate = soundfile.read(file)
    soundfile.write(file, samples[::-1], rate)
    with pytest.raises(ConfigError, match="recordings is '"):
        cross_validated(root, validated[1], validated[0])


def test_crossval_goes_on_with_a_run_of_an_older_version(
    validated: tuple[Path, Cache], shared_small_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(validated[0], out)
    (out / "provenance.json").unlink()
    summary = cross_validated(shared_small_corpus, validated[1], out)
    assert "folds of an older version" in capsys.readouterr().err
    assert summary == json.loads((validated[0] / "summary.json").read_text())
    assert (out / "provenance.json").read_bytes() == (validated[0] / "provenance.json").read_bytes()


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "of an older version"])
@pytest.mark.parametrize(
    ("before", "after", "difference"),
    [(KEEPING, REMOVING, "is absent, not True"), (REMOVING, KEEPING, "is True, not absent")],
    ids=["kept before", "removed before"],
)
def test_crossval_does_not_go_on_with_folds_of_a_recipe_that_treated_offsets_otherwise(
    shared_small_corpus: Path,
    tmp_path: Path,
    before: FeatureSettings,
    after: FeatureSettings,
    difference: str,
    recorded: bool,
) -> None:
    """A recipe keeps its name when it begins to remove DC offsets. What is unset is not written."""
    cache, out = Cache(tmp_path / "cache"), tmp_path / "run"
    cross_validated(shared_small_corpus, cache, out, features=before)
    if not recorded:
        (out / "provenance.json").unlink()
    written = bytes_below(out)
    with pytest.raises(
        ConfigError, match=rf"run holds another run \(recipe_settings.features.remove_offset {difference}"
    ):
        cross_validated(shared_small_corpus, cache, out, features=after)
    assert bytes_below(out) == written
    cache.close()


# Files of features


def test_features_are_not_written_over_others(shared_small_corpus: Path, tmp_path: Path) -> None:
    common = ["features", "--corpus", "emodb", "--root", shared_small_corpus, "--cache", tmp_path / "cache"]
    common += ["--out", tmp_path / "made.safetensors", "--recipe", "quick"]
    assert "written before" not in run(*common)
    before = (tmp_path / "made.safetensors").read_bytes()
    assert "written before" in run(*common)
    with pytest.raises(ConfigError, match=r"made.safetensors holds another run \(half is False, not True\)"):
        run(*common, "--half")
    with pytest.raises(ConfigError, match=r"speeds is \[1.0\], not \[1.0, "):
        run(*common, "--recipe", "emofocus")
    assert (tmp_path / "made.safetensors").read_bytes() == before
    (tmp_path / "made.safetensors").write_text("a thesis", encoding="utf-8")
    with pytest.raises(ConfigError, match="is there already, and is no file of features"):
        run(*common)
