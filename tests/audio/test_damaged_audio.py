"""Damaged files and wild chunks: an error that says why, or samples and events that are what they claim to be.

``EMOFOCUS_FUZZ=100000 pytest tests/audio/test_damaged_audio.py --hypothesis-profile thorough`` tries that many; a few
hundred otherwise. Each damage that was found to be handled wrongly stays as a test with its own name.
"""

import os
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emofocus import Recognizer, StreamingRecognizer, audio
from emofocus.audio.notices import ignore
from emofocus.errors import AudioError
from helpers.damage import DAMAGE, SUFFIXES, damaged
from helpers.properties import cases, count

RATE = 16_000
COUNT = int(os.environ.get("EMOFOCUS_FUZZ", count(300)))
SECONDS_ALLOWED = 10

# What hangs is a failure.
FUZZ = cases(COUNT, COUNT, deadline=1000 * SECONDS_ALLOWED, suppress_health_check=list(HealthCheck))


@FUZZ
@given(suffix=st.sampled_from(SUFFIXES), damage=DAMAGE)
def test_a_damaged_file_is_read_or_refused(
    files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory, suffix: str, damage: list[tuple]
) -> None:
    path = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
    path.write_bytes(damaged(files, suffix, damage))
    try:
        waveform = audio.load(path, warn=ignore)
    except AudioError as error:
        if str(path) not in str(error):
            raise
        return
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    assert np.isfinite(waveform).all()
    assert len(waveform) > 0


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer.from_pretrained(threads=1, hop=0.5)


CHUNKS = st.lists(
    st.tuples(
        st.sampled_from(["f4", "f8", "i2", "i4", "u1", "i8", "f2", "?", "c8", "U1"]),
        st.sampled_from(
            [(0,), (1,), (160,), (1_601,), (9_000,), (2, 800), (800, 2), (3, 1), (1, 0), (0, 4), (2, 2, 2), ()]
        ),
        st.sampled_from([0.0, 1e-30, 1e-3, 1.0, 1e30, 3e38, float("nan"), float("inf")]),
        st.integers(0, 9),
    ),
    max_size=6,
)


@settings(FUZZ, max_examples=max(100, COUNT // 20))
@given(
    rate=st.sampled_from([8_000, 11_025, 16_000, 44_100, 48_000]),
    chunks=CHUNKS,
    skips=st.lists(st.floats(), max_size=2),
)
def test_wild_chunks_give_events_or_are_refused(
    recognizer: Recognizer, rate: int, chunks: list[tuple], skips: list[float]
) -> None:
    stream, events = StreamingRecognizer(recognizer, rate), []
    for kind, shape, scale, seed in chunks:
        with np.errstate(all="ignore"):
            chunk = np.asarray(np.random.default_rng(seed).standard_normal(shape) * scale)
            chunk = chunk.astype(kind) if kind != "U1" else np.full(shape, "x")
        before = stream.seconds
        try:
            events += stream.feed(chunk)
        except AudioError:
            assert stream.seconds == before  # it has cost nothing
    for seconds in skips:
        with suppress(AudioError):
            events += stream.skip(seconds if seconds < 100 else float("inf"))
    events += stream.finish()
    ends = [event.end for event in events]
    assert ends == sorted(ends)
    for event in events:
        assert event.scores.shape == (8,)
        assert np.isfinite(event.scores).all()
        assert event.scores.sum() == pytest.approx(1, abs=1e-3)
        assert 0 <= event.start < event.end
