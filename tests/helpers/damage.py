"""Damage to files, for tests of whatever reads them."""

import numpy as np
from hypothesis import strategies as st

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".webm")

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
