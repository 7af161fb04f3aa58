"""Damaged files and wild chunks: an error that says why, or samples and events that are what they claim to be.

``EMOFOCUS_FUZZ=100000 pytest tests/test_fuzz.py -n 2`` tries that many; a few hundred otherwise. What was found stays,
as examples by name.
"""

import os
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emofocus import Recognizer, StreamingRecognizer, audio
from emofocus.errors import AudioError

RATE = 16_000
COUNT = int(os.environ.get("EMOFOCUS_FUZZ", "300"))
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".webm")
SECONDS_ALLOWED = 10

FUZZ = settings(
    max_examples=COUNT,
    deadline=1000 * SECONDS_ALLOWED,  # what hangs is a failure
    database=None,
    suppress_health_check=list(HealthCheck),
)

PLACES = st.floats(0, 1, exclude_max=True)
HEADS = st.floats(0, 0.03)
SPECIAL = st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
DAMAGE = st.lists(
    st.one_of(
        st.tuples(st.just("byte"), PLACES | HEADS, st.integers(0, 255)),
        st.tuples(st.just("number"), HEADS | PLACES, SPECIAL),
        st.tuples(st.just("cut"), PLACES, PLACES),
        st.tuples(st.just("lost"), PLACES | HEADS, st.integers(1, 4000)),
        st.tuples(st.just("twice"), PLACES | HEADS, st.integers(1, 4000)),
        st.tuples(st.just("junk"), PLACES | HEADS, st.integers(1, 400)),
        st.tuples(st.just("other"), PLACES, st.sampled_from(SUFFIXES)),
    ),
    min_size=1,
    max_size=5,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, encode) -> dict[str, bytes]:
    """A third of a second in every format."""
    folder = tmp_path_factory.mktemp("whole")
    time = np.arange(8_000) / RATE
    samples = (0.3 * np.sin(2 * np.pi * 300 * time * (1 + time))).astype(np.float32)
    return {suffix: encode(folder / f"clip{suffix}", samples).read_bytes() for suffix in SUFFIXES}


def damaged(files: dict[str, bytes], suffix: str, damage: list[tuple]) -> bytes:
    content = bytearray(files[suffix])
    for kind, place, value in damage:
        at = int(place * len(content))
        if kind == "byte":
            content[at : at + 1] = bytes([value])
        elif kind == "number":
            size = 1 if value < 256 else 2 if value < 65536 else 4
            content[at : at + size] = value.to_bytes(size, "little")
        elif kind == "cut":
            del content[at:]
        elif kind == "lost":
            del content[at : at + value]
        elif kind == "twice":
            content[at:at] = content[at : at + value]
        elif kind == "junk":
            content[at:at] = np.random.default_rng(value).bytes(value)
        else:
            content[at:] = files[value][int(place * len(files[value])) :]
    return bytes(content)


@FUZZ
@given(suffix=st.sampled_from(SUFFIXES), damage=DAMAGE)
def test_a_damaged_file_is_read_or_refused(
    files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory, suffix: str, damage: list[tuple]
) -> None:
    path = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
    path.write_bytes(damaged(files, suffix, damage))
    try:
        waveform = audio.load(path)
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
