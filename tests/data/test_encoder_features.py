"""Frames of a pretrained encoder in the cache: in float16, by the hash of its weights, the same however computed."""

import multiprocessing
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from emofocus.audio.conditions import COPIES
from emofocus.config import FeatureSettings, Recipe, SegmentSettings
from emofocus.corpora import Corpus, Utterance
from emofocus.data.cache import Cache
from emofocus.data.datasets import SegmentDataset
from emofocus.data.feature_file import FeaturesFile, write_features
from emofocus.data.feature_store import CachedSpeech
from emofocus.errors import ConfigError
from emofocus.features.front_end import FrontEnd
from helpers.encoders import tiny_features


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are kept outside of the user's folder."""
    monkeypatch.setenv("EMOFOCUS_CACHE", str(tmp_path / "home"))


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Five clips of noise of different lengths."""
    import soundfile

    (tmp_path / "audio").mkdir()
    for number in range(5):
        samples = np.random.default_rng(number).normal(0, 0.1, 6_000 + 2_000 * number)
        soundfile.write(tmp_path / "audio" / f"{number}.wav", samples, 16_000)
    rows = [Utterance(f"{number}.wav", ("happy", "sad")[number % 2], "ab"[number % 2]) for number in range(5)]
    return Corpus.of("made", tmp_path / "audio", ("happy", "sad"), rows, "none")


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return Recipe(features=tiny_features(tmp_path / "ears"), speeds=(0.9,), copies=tuple(COPIES))


def frames_of(corpus: Corpus, folder: Path, recipe: Recipe) -> list[list[bytes]]:
    cache = Cache(folder)
    try:
        return [[item.frames.tobytes() for item in part] for part in CachedSpeech(corpus, cache).speech(recipe)]
    finally:
        cache.close()


def test_they_are_those_of_the_front_end_in_float16(corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    plain, *others = CachedSpeech(corpus, Cache(tmp_path / "cache")).speech(recipe)
    assert len(others) == 1 + len(COPIES)
    front_end = FrontEnd(recipe.features)
    for number, item in enumerate(plain):
        assert (item.frames.dtype, item.level.dtype) == (np.float16, np.float32)
        frames, level = front_end(torch.from_numpy(corpus.waveform(number))[None])
        np.testing.assert_allclose(item.frames, frames[0], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(item.level, level[0], rtol=1e-6)


def test_batches_of_them_are_in_float32_and_padded_with_zeros(corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    plain = CachedSpeech(corpus, Cache(tmp_path / "cache")).speech(Recipe(features=recipe.features))[0]
    data = SegmentDataset(plain, corpus.labels(), recipe.segment)
    batch = data.batch(np.arange(5))
    assert batch.features.dtype == torch.float32
    assert batch.lengths.tolist() == [5, 7, 8, 10, 11]
    np.testing.assert_array_equal(batch.features[0, :5], plain[0].frames.astype(np.float32))
    assert not batch.features[0, 5:].any()
    mean, deviation = data.statistics()
    whole = np.concatenate([item.frames for item in plain]).astype(np.float64)
    np.testing.assert_allclose(mean, whole.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(deviation, whole.std(axis=0), atol=1e-5)


SHORT = SegmentSettings(frames=4, hop=2)


def test_segments_of_a_longer_clip_stand_apart_each_heard_by_itself(
    corpus: Corpus, recipe: Recipe, tmp_path: Path
) -> None:
    """An encoder that heard the whole clip heard more around a segment than recognition lets it."""
    recipe = Recipe(features=recipe.features, segment=SHORT)
    cache = Cache(tmp_path / "cache")
    speech = CachedSpeech(corpus, cache).speech(recipe)[0]
    data = SegmentDataset(speech, corpus.labels(), SHORT)
    assert [item.apart for item in speech] == [True] * 5
    assert data.segments[:, 0].tolist() == sorted(data.segments[:, 0])
    front_end, batch = FrontEnd(recipe.features), data.batch(np.arange(len(data)))
    for features, (utterance, row) in zip(batch.features, data.segments, strict=True):
        waveform = torch.from_numpy(corpus.waveform(int(utterance)))[None]
        expected, _ = front_end.apart(waveform, [int(row) // 4 * 2], 4)
        torch.testing.assert_close(features, expected[0], rtol=1e-3, atol=1e-3)


def test_other_segments_have_entries_of_their_own(corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    whole, apart = Recipe(features=recipe.features), Recipe(features=recipe.features, segment=SHORT)
    expected = {name: frames_of(corpus, tmp_path / name, item) for name, item in {"w": whole, "a": apart}.items()}
    assert expected["w"] != expected["a"]
    for first, second in ((whole, apart), (apart, whole)):
        cache = tmp_path / f"both {first.segment.frames}"
        found = {item.segment.frames: frames_of(corpus, cache, item) for item in (first, second, first)}
        assert found == {whole.segment.frames: expected["w"], apart.segment.frames: expected["a"]}


def test_a_file_of_features_keeps_segments_apart(corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    recipe, path = Recipe(features=recipe.features, segment=SHORT), tmp_path / "made.safetensors"
    source = CachedSpeech(corpus, Cache(tmp_path / "cache"))
    write_features(path, source, recipe)
    (here,), (there,) = source.speech(recipe), FeaturesFile(path).speech(recipe)
    for one, other in zip(here, there, strict=True):
        assert one.apart == other.apart
        np.testing.assert_array_equal(one.frames, other.frames)
        np.testing.assert_array_equal(one.level, other.level)
    with pytest.raises(ConfigError, match="segments of 4 frames every 2, unlike the recipe"):
        FeaturesFile(path).speech(Recipe(features=recipe.features))


def test_an_interrupted_extraction_ends_in_the_same_bits(corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    expected = frames_of(corpus, tmp_path / "whole", recipe)
    cache = Cache(tmp_path / "parts")
    for part in CachedSpeech(corpus, cache).speech(recipe, passing=True)[:3]:
        part._compute([1, 3])  # type: ignore[attr-defined]
    cache.close()
    assert frames_of(corpus, tmp_path / "parts", recipe) == expected


def _fill(corpus: Corpus, cache: Path, recipe: Recipe) -> None:
    CachedSpeech(corpus, Cache(cache)).speech(recipe)


@pytest.mark.slow
def test_two_processes_fill_one_cache_and_a_third_is_killed(corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    three = [context.Process(target=_fill, args=(corpus, tmp_path / "shared", recipe)) for _ in range(3)]
    for process in three:
        process.start()
    while not (tmp_path / "shared" / "data.mdb").exists():
        time.sleep(0.001)
    three[0].kill()
    for process in three:
        process.join()
    assert [process.exitcode for process in three] == [-signal.SIGKILL, 0, 0]
    assert frames_of(corpus, tmp_path / "shared", recipe) == frames_of(corpus, tmp_path / "alone", recipe)


def test_another_encoder_or_layer_has_entries_of_its_own(corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    first = frames_of(corpus, tmp_path / "cache", recipe)
    features = tiny_features(tmp_path / "ears", layers=1)
    assert frames_of(corpus, tmp_path / "cache", Recipe(features=features))[0] != first[0]
    assert frames_of(corpus, tmp_path / "cache", recipe) == first


def test_copies_are_refused_where_features_are_stored(corpus: Corpus, tmp_path: Path) -> None:
    source = CachedSpeech(corpus, Cache(tmp_path / "cache"))
    with pytest.raises(ConfigError, match=r"copies \(telephone, noise\) are made for training with --corpus alone"):
        write_features(tmp_path / "made.safetensors", source, Recipe(copies=("telephone", "noise")))


def test_features_without_an_encoder_have_the_keys_that_they_always_had(corpus: Corpus, tmp_path: Path) -> None:
    """A cache of an older version is not computed again."""
    store = CachedSpeech(corpus, Cache(tmp_path / "cache")).speech(Recipe(features=FeatureSettings()))[0]
    assert store._key(0).rpartition("/")[2] == "b035e386f128643b"  # type: ignore[attr-defined]
