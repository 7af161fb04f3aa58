"""Segments, their statistics, and the cache of features."""

import multiprocessing
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from emofocus.config import FeatureSettings, SegmentSettings
from emofocus.corpora import Corpus, Utterance, read_corpus
from emofocus.data.cache import Cache, clear
from emofocus.data.datasets import SegmentDataset
from emofocus.data.feature_store import Speech, SpeechStore, fingerprints_of
from emofocus.errors import AudioError
from emofocus.segments import active_segments, segment_count, softmax, utterance_logits
from helpers.properties import cases

SEGMENTS = SegmentSettings()
FEATURES = FeatureSettings()


def speech_of(frames: int, level: float = 0.0) -> Speech:
    features = np.arange(frames, dtype=np.float32)[:, None].repeat(3, axis=1)
    return Speech(features, np.full(frames, level, np.float32))


def made_corpus(root: Path, clips: int = 4) -> Path:
    """A part of RAVDESS: noise of a second, other noise in each file."""
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
@cases(60)
def test_some_segment_always_counts(levels: list[float], top_db: float) -> None:
    active = active_segments(np.array(levels, np.float32), SegmentSettings(top_db=top_db))
    assert len(active) == segment_count(len(levels), SEGMENTS)
    assert active.any()


def test_utterance_scores_are_the_mean_of_active_segments() -> None:
    logits = np.array([[1, 0], [3, 0], [100, 0]], np.float32)
    assert utterance_logits(logits, np.array([True, True, False])).tolist() == [2, 0]
    np.testing.assert_allclose(softmax(np.array([[0, 0], [1e4, 0]], np.float32)), [[0.5, 0.5], [1, 0]])


def test_statistics_are_those_of_all_segments_frames() -> None:
    data = SegmentDataset([speech_of(200), speech_of(20)], [0, 1], SEGMENTS)
    frames = np.concatenate([data.speech[u].frames[s : s + 50] for u, s in data.segments])
    mean, deviation = data.statistics()
    np.testing.assert_allclose(mean, frames.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(deviation, frames.std(axis=0), rtol=1e-6)


def test_every_segment_is_batched_once() -> None:
    data = SegmentDataset([speech_of(200), speech_of(90)], [0, 1], SEGMENTS)
    order = np.random.default_rng(0).permutation(len(data))
    seen = [
        pair
        for batch in data.batches(7, order)
        for pair in zip(batch.utterances.tolist(), batch.features[:, 0, 0].tolist(), strict=False)
    ]
    assert sorted(seen) == sorted((int(u), float(s)) for u, s in data.segments)


def store_of(root: Path, cache: Cache, settings: FeatureSettings = FEATURES) -> SpeechStore:
    return SpeechStore(read_corpus("ravdess", root), settings, cache)


def test_features_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, cache = made_corpus(tmp_path / "audio"), Cache(tmp_path / "cache")
    store_of(root, cache).fill()
    monkeypatch.setattr("emofocus.audio.load", lambda *_: pytest.fail("decoded again"))
    again = store_of(root, cache)
    again.fill()
    assert again[0].frames.shape == (101, 40)
    assert len(fingerprints_of(read_corpus("ravdess", root), cache)) == 4


def test_features_go_by_the_audio_not_by_its_name_and_by_the_settings(tmp_path: Path) -> None:
    root, cache = made_corpus(tmp_path / "audio"), Cache(tmp_path / "cache")
    first = sorted(root.rglob("*.wav"))[0]
    (first.parent / "03-01-01-01-01-02-01.wav").write_bytes(first.read_bytes())
    store = store_of(root, cache)
    store.fill()
    assert cache.usage().entries == 5 + 4 + 4  # hashes of five files; features and sounds of four contents
    np.testing.assert_array_equal(store[0].frames, store[1].frames)
    assert len(store_of(root, cache, FeatureSettings(coefficients=20))[0].frames[0]) == 20


def test_a_file_that_changes_gets_new_features(tmp_path: Path) -> None:
    root, cache = made_corpus(tmp_path / "audio"), Cache(tmp_path / "cache")
    before = store_of(root, cache)[0].frames
    file = sorted(root.rglob("*.wav"))[0]
    soundfile.write(file, np.random.default_rng(99).normal(0, 0.1, 12_000), 16_000)
    assert store_of(root, cache)[0].frames.shape != before.shape


def test_a_part_of_a_file_has_features_of_its_own(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 48_000)
    soundfile.write(tmp_path / "long.wav", noise, 16_000)
    rows = [Utterance("long.wav", "a", "x", start=0.0, end=1.0), Utterance("long.wav", "b", "x", start=1.0, end=3.0)]
    corpus = Corpus.of("made", tmp_path, ("a", "b"), rows)
    cache = Cache(tmp_path / "cache")
    store = SpeechStore(corpus, FEATURES, cache)
    store.fill()
    assert [len(item.frames) for item in store] == [101, 201]
    late = Corpus.of("made", tmp_path, ("a",), [Utterance("long.wav", "a", "x", start=2.0, end=4.0)])
    with pytest.raises(AudioError, match=r"long.wav: ends at 3.00 s, before 4.00 s"):
        SpeechStore(late, FEATURES, cache).fill()


def test_a_damaged_file_is_named_and_costs_no_other_work(tmp_path: Path) -> None:
    root, cache = made_corpus(tmp_path / "audio"), Cache(tmp_path / "cache")
    (root / "Actor_01" / "03-01-08-01-01-01-01.wav").write_text("no audio")
    store = store_of(root, cache)
    with pytest.raises(AudioError, match="03-01-08-01-01-01-01"):
        store.fill()
    assert cache.usage().entries == 5 + 4 + 4


def test_what_was_dropped_to_make_room_is_computed_again(tmp_path: Path) -> None:
    root, cache = made_corpus(tmp_path / "audio"), Cache(tmp_path / "cache")
    store = store_of(root, cache)
    store.fill()
    before = store[0].frames
    clear(cache.folder)
    cache.__init__(cache.folder)  # type: ignore[misc]
    np.testing.assert_array_equal(store[0].frames, before)


def _fill(root: Path, folder: Path) -> None:
    store_of(root, Cache(folder)).fill()


@pytest.mark.slow
def test_two_processes_fill_one_cache_and_one_is_killed(tmp_path: Path) -> None:
    root, folder = made_corpus(tmp_path / "audio", clips=8), tmp_path / "cache"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_fill, args=(root, folder)) for _ in range(3)]
    for worker in workers:
        worker.start()
    deadline = time.monotonic() + 60
    while not (folder / "data.mdb").exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    workers[0].kill()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [-signal.SIGKILL, 0, 0]
    store, fresh = store_of(root, Cache(folder)), store_of(root, Cache(tmp_path / "other"))
    for found, expected in zip(store, fresh, strict=True):
        np.testing.assert_array_equal(found.frames, expected.frames)
        np.testing.assert_array_equal(found.level, expected.level)
