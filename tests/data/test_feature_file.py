"""Training from a file of features equals training from the audio."""

from pathlib import Path

import numpy as np
import pytest

from emofocus.config import FeatureSettings, Recipe
from emofocus.corpora import Corpus, Utterance
from emofocus.data.cache import Cache
from emofocus.data.feature_file import FeaturesFile, write_features
from emofocus.data.feature_store import CachedSpeech
from emofocus.errors import ConfigError, CorpusError

RECIPE = Recipe(speeds=(0.9, 1.1))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> CachedSpeech:
    """Three clips of noise; the last one is a part of its file."""
    import soundfile

    root = tmp_path_factory.mktemp("audio")
    for number in range(3):
        soundfile.write(root / f"{number}.wav", np.random.default_rng(number).normal(0, 0.1, 20_000), 16_000)
    rows = [
        Utterance("0.wav", "happy", "a", text="so, “quoted”"),
        Utterance("1.wav", "sad", "b"),
        Utterance("2.wav", "happy", "b", start=0.25, end=1.0),
    ]
    return CachedSpeech(Corpus.of("made", root, ("happy", "sad"), rows, "none"), Cache(root / "cache"))


def test_it_comes_back_as_it_was(source: CachedSpeech, tmp_path: Path) -> None:
    write_features(tmp_path / "made.safetensors", source, RECIPE)
    found = FeaturesFile(tmp_path / "made.safetensors")
    assert found.corpus.table.equals(source.corpus.table)
    assert (found.corpus.name, found.corpus.classes, found.corpus.license) == ("made", ("happy", "sad"), "none")
    for one, two in zip(found.fingerprints(), source.fingerprints(), strict=True):
        assert one.digest == two.digest
        np.testing.assert_array_equal(one.prints, two.prints)
    for ours, theirs in zip(found.speech(RECIPE), source.speech(RECIPE), strict=True):
        for one, two in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one.frames, two.frames)
            np.testing.assert_array_equal(one.level, two.level)
    assert len(found.speech(Recipe())) == 1


def test_half_precision_is_half_the_size_and_close(source: CachedSpeech, tmp_path: Path) -> None:
    write_features(tmp_path / "whole.safetensors", source, RECIPE)
    write_features(tmp_path / "half.safetensors", source, RECIPE, half=True)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    for one, two in zip(
        FeaturesFile(tmp_path / "half.safetensors").speech(Recipe())[0], source.speech(Recipe())[0], strict=True
    ):
        assert np.abs((one.frames - two.frames) / two.frames.std(axis=0)).max() < 0.005


def test_what_is_not_in_it_is_named(source: CachedSpeech, tmp_path: Path) -> None:
    path = tmp_path / "made.safetensors"
    write_features(path, source, RECIPE)
    with pytest.raises(ConfigError, match=r"lacks speed 1.2 of the recipe \(valid: 1.0, 0.9, 1.1\)"):
        FeaturesFile(path).speech(Recipe(speeds=(1.2,)))
    with pytest.raises(ConfigError, match="holds other features than the recipe asks for"):
        FeaturesFile(path).speech(Recipe(features=FeatureSettings(deltas=1)))


@pytest.mark.parametrize("content", [None, b"", b"something else", "half"])
def test_what_is_no_file_of_features_is_refused(
    content: bytes | str | None, source: CachedSpeech, tmp_path: Path
) -> None:
    path = tmp_path / "made.safetensors"
    if content == "half":
        write_features(path, source, Recipe())
        content = path.read_bytes()[: path.stat().st_size // 2]
    if isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(CorpusError, match=r"made.safetensors: no file of features"):
        FeaturesFile(path)
