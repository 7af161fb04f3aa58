"""Segments, their statistics, and the cache of features."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from emofocus.config import FeatureSettings, SegmentSettings
from emofocus.corpora import read_corpus
from emofocus.datasets import FeatureCache, SegmentDataset, Speech, cache_key, compute_features
from emofocus.errors import AudioError
from emofocus.segments import active_segments, segment_count, softmax, utterance_logits

SEGMENTS = SegmentSettings()


def speech_of(frames: int, level: float = 0.0) -> Speech:
    features = np.arange(frames, dtype=np.float32)[:, None].repeat(3, axis=1)
    return Speech(features, np.full(frames, level, np.float32))


def made_corpus(root: Path, clips: int = 4) -> Path:
    for number in range(clips):
        file = root / "Actor_01" / f"03-01-{number + 1:02}-01-01-01-01.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).normal(0, 0.1, 16_000)
        soundfile.write(file, noise, 16_000)
    return root


@pytest.mark.parametrize(("frames", "count"), [(1, 1), (49, 1), (50, 1), (59, 1), (60, 2), (150, 11)])
def test_segments_of_half_a_second_every_tenth(frames: int, count: int) -> None:
    assert segment_count(frames, SEGMENTS) == count
    assert len(SegmentDataset([speech_of(frames)], [0], SEGMENTS)) == count


def test_short_utterances_are_padded_never_dropped() -> None:
    batch = SegmentDataset([speech_of(20), speech_of(50)], [0, 1], SEGMENTS).batch(np.array([0, 1]))
    assert batch.features.shape == (2, 50, 3)
    assert batch.lengths.tolist() == [20, 50]
    assert float(batch.features[0, 20:].abs().max()) == 0


def test_full_segments_need_no_lengths() -> None:
    assert SegmentDataset([speech_of(80)], [0], SEGMENTS).batch(np.array([0, 1])).lengths is None


def test_a_segment_inherits_its_utterances_label_and_place() -> None:
    data = SegmentDataset([speech_of(60), speech_of(70)], [4, 2], SEGMENTS)
    batch = data.batch(np.arange(5))
    assert batch.labels.tolist() == [4, 4, 2, 2, 2]
    assert batch.utterances.tolist() == [0, 0, 1, 1, 1]
    assert batch.features[:, 0, 0].tolist() == [0, 10, 0, 10, 20]


def test_silence_around_speech_is_left_out() -> None:
    level = np.concatenate([np.full(100, -90), np.full(100, -20), np.full(100, -90)]).astype(np.float32)
    active = active_segments(level, SEGMENTS)
    starts = np.flatnonzero(active) * 10
    assert starts.min() == 80  # 30 of its 50 frames are loud: the first with at least half
    assert starts.max() == 170


@given(st.lists(st.floats(-100, 0, width=32), min_size=1, max_size=300), st.floats(1, 90))
@settings(max_examples=60, deadline=None)
def test_some_segment_always_counts(levels: list[float], top_db: float) -> None:
    active = active_segments(np.array(levels, np.float32), SegmentSettings(top_db=top_db))
    assert len(active) == segment_count(len(levels), SEGMENTS)
    assert active.any()


def test_utterance_scores_are_the_mean_of_active_segments() -> None:
    logits = np.array([[1, 0], [3, 0], [100, 0]], np.float32)
    assert utterance_logits(logits, np.array([True, True, False])).tolist() == [2, 0]
    np.testing.assert_allclose(softmax(np.array([[0, 0], [1e4, 0]], np.float32)), [[0.5, 0.5], [1, 0]])


def test_every_segment_is_batched_once() -> None:
    data = SegmentDataset([speech_of(200), speech_of(90)], [0, 1], SEGMENTS)
    order = np.random.default_rng(0).permutation(len(data))
    seen = [
        pair
        for batch in data.batches(7, order)
        for pair in zip(batch.utterances.tolist(), batch.features[:, 0, 0].tolist(), strict=False)
    ]
    assert sorted(seen) == sorted((int(u), float(s)) for u, s in data.segments)


def test_features_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, cache = read_corpus("ravdess", made_corpus(tmp_path / "audio")), FeatureCache(tmp_path / "cache")
    keys = compute_features(corpus, FeatureSettings(), cache)
    first = [cache.read(key) for key in keys]
    assert first[0].frames.shape == (101, 40)
    monkeypatch.setattr("emofocus.datasets._features_of", lambda *_: pytest.fail("computed again"))
    assert compute_features(corpus, FeatureSettings(), cache) == keys


def test_other_settings_and_other_audio_have_other_keys(tmp_path: Path) -> None:
    files = sorted(made_corpus(tmp_path).rglob("*.wav"))
    keys = {cache_key(file, FeatureSettings()) for file in files}
    keys |= {cache_key(file, FeatureSettings(coefficients=20)) for file in files}
    assert len(keys) == 2 * len(files)
    copy = tmp_path / "copy.wav"
    copy.write_bytes(files[0].read_bytes())
    assert cache_key(copy, FeatureSettings()) == cache_key(files[0], FeatureSettings())


def test_a_damaged_file_is_named_and_costs_no_other_work(tmp_path: Path) -> None:
    root = made_corpus(tmp_path / "audio")
    bad = root / "Actor_01" / "03-01-08-01-01-01-01.wav"
    bad.write_text("no audio")
    cache = FeatureCache(tmp_path / "cache")
    corpus = read_corpus("ravdess", root)
    with pytest.raises(AudioError, match="03-01-08-01-01-01-01"):
        compute_features(corpus, FeatureSettings(), cache)
    keys = [cache_key(path, FeatureSettings()) for path in corpus.paths()[:4]]
    assert cache.missing(keys) == []


def _fill(root: Path, folder: Path) -> None:
    compute_features(read_corpus("ravdess", root), FeatureSettings(), FeatureCache(folder))


def test_two_processes_fill_one_cache(tmp_path: Path) -> None:
    root, folder = made_corpus(tmp_path / "audio", clips=8), tmp_path / "cache"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_fill, args=(root, folder)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    keys = [cache_key(path, FeatureSettings()) for path in read_corpus("ravdess", root).paths()]
    assert FeatureCache(folder).missing(keys) == []
