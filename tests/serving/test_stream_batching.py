"""Streams that share one engine: each hears what it would hear by itself."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from time import sleep

import numpy as np
import pytest

from emofocus import Recognizer, StreamingRecognizer
from emofocus.recognition.engine import Voice
from emofocus.serving.stream_batching import CLASSIFY_BATCH, ENCODE_BATCH, SharedEngine


class Watched:
    """An engine that notes how much is asked of it at a time, and may be held up."""

    def __init__(self, recognizer: Recognizer) -> None:
        self.engine, self.go = recognizer.engine, Event()
        self.encoded: list[int] = []
        self.classified: list[int] = []
        self.go.set()

    def encode(self, waveform: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.go.wait(30)
        self.encoded.append(len(waveform))
        return self.engine.encode(waveform, lengths)

    def classify(self, frames: np.ndarray, voice: Voice | None = None) -> np.ndarray:
        self.go.wait(30)
        self.classified.append(len(frames))
        return self.engine.classify(frames, voice)


def samples(seed: int, seconds: float = 4.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.02 * (1 + seed % 5), round(16_000 * seconds)).astype(np.float32)


def test_each_stream_hears_what_it_would_hear_by_itself(recognizer: Recognizer) -> None:
    engine = Watched(recognizer)
    with ThreadPoolExecutor(2) as pool, ThreadPoolExecutor(12) as clients:
        shared = SharedEngine(engine, pool)  # type: ignore[arg-type]

        def speech(seed: int) -> np.ndarray:
            return samples(seed, seconds=0.7 + 1.65 * (seed % 3))  # the shortest ends before a segment is full

        def heard(seed: int) -> list[dict]:
            stream = StreamingRecognizer(recognizer, engine=shared)
            events = [event for chunk in np.array_split(speech(seed), 9 + seed) for event in stream.feed(chunk)]
            return [replace(event, smoothed=None) for event in events + stream.finish()]

        found = list(clients.map(heard, range(12)))
    assert max(engine.classified) > 1, "some ran together"
    assert max(engine.encoded) > 1
    for seed, events in enumerate(found):
        alone = StreamingRecognizer(recognizer)
        expected = [*alone.feed(speech(seed)), *alone.finish()]
        assert len(events) == len(expected)
        for event, other in zip(events, expected, strict=True):
            np.testing.assert_allclose(event.scores, other.scores, atol=1e-4)
            assert (event.start, event.end, event.speech) == pytest.approx((other.start, other.end, other.speech))


def test_what_waits_runs_together_but_not_without_end_and_not_beside_much_longer_ones(recognizer: Recognizer) -> None:
    engine = Watched(recognizer)
    engine.go.clear()
    with ThreadPoolExecutor(1) as pool, ThreadPoolExecutor(64) as clients:
        shared = SharedEngine(engine, pool)  # type: ignore[arg-type]
        lengths = [4_000] * 30 + [40_000] * 3
        asked = [clients.submit(shared.encode, samples(0)[None, :size], np.array([size])) for size in lengths]
        sleep(0.5)  # until all of them wait
        engine.go.set()
        answers = [item.result() for item in asked]
    assert max(engine.encoded) <= ENCODE_BATCH
    assert sum(engine.encoded) == len(lengths)
    assert len(engine.encoded) < len(lengths) / 2
    for size, (encoded, level) in zip(lengths, answers, strict=True):
        whole = recognizer.engine.encode(samples(0)[None, :size], np.array([size]))
        frames = 1 + size // recognizer.config.features.hop
        np.testing.assert_allclose(encoded[0, :frames], whole[0][0], atol=1e-4)
        np.testing.assert_allclose(level[0, :frames], whole[1][0], atol=1e-3)
    assert CLASSIFY_BATCH < ENCODE_BATCH


def test_an_error_reaches_those_who_asked_and_the_next_one_is_answered(recognizer: Recognizer) -> None:
    with ThreadPoolExecutor(1) as pool:
        shared = SharedEngine(recognizer.engine, pool)
        with pytest.raises(Exception, match=r"(?i)dim|rank|shape"):
            shared.classify(np.zeros((1, 2, 3), np.float32))
        encoded, _ = shared.encode(samples(1)[None], np.array([64_000]))
        assert np.isfinite(encoded).all()
