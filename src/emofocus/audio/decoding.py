"""Any audio file or array → mono samples at their own rate, block by block.

soundfile decodes first; PyAV takes what it cannot (m4a, webm) and what it gets wrong (mp3, whose length it guesses when
there is no Xing header).
"""

import re
from collections.abc import Iterator
from os import SEEK_END
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from emofocus.errors import AudioError, one_of

EXTENSIONS = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".m4a", ".webm")
"""Files that a folder is searched for."""

BLOCK_SECONDS = 30.0
"""Seconds decoded at a time."""

TOLERATED_SECONDS = 0.025
"""A WAV that lacks more than this of what its header promises is truncated."""

Waveform: TypeAlias = NDArray[np.float32]


OPENED = "the given file"
"""How messages call a file that was opened by somebody else."""


def decode(path: Path | BinaryIO, block_seconds: float = BLOCK_SECONDS) -> Iterator[tuple[int, Waveform]]:
    """Decode a file, or one that is open, at its own rate.

    Yields:
        The rate in hertz, and consecutive mono blocks of shape (T_k,).

    Raises:
        AudioError: The file is missing, empty, not audio, or truncated; or what is open cannot be read from its start.
    """
    if not isinstance(path, Path):
        yield from _decode_opened(_rewound(path), OPENED, block_seconds)
        return
    if path.is_dir():
        raise AudioError(f"{path}: is a folder, not an audio file")
    if not path.exists():
        raise AudioError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: is an empty file")
    try:
        # Decoders get no name: they stumble over "12:30.m4a" and over names that are not UTF-8.
        with path.open("rb") as opened:
            yield from _decode_opened(opened, str(path), block_seconds)
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror})") from error


def _rewound(opened: BinaryIO) -> BinaryIO:
    """The same at its start, if it can be had from there and holds anything."""
    if not opened.seekable():
        raise AudioError(f"{OPENED} cannot be rewound, as a pipe cannot; pass io.BytesIO(file.read())")
    if opened.seek(0, SEEK_END) == 0:
        raise AudioError(f"{OPENED}: is an empty file")
    opened.seek(0)
    return opened


def _decode_opened(opened: BinaryIO, name: str, block_seconds: float) -> Iterator[tuple[int, Waveform]]:
    file = _soundfile(opened)
    if file is None:
        yield from decode_av(opened, name)
    else:
        with file:
            yield from _decode_soundfile(file, name, block_seconds)


def _soundfile(opened: BinaryIO) -> Any | None:
    """The same file in soundfile's hands, or None when they are the wrong ones."""
    import soundfile  # imported here: decoding is not needed to start

    try:
        file = soundfile.SoundFile(opened)
    except (soundfile.LibsndfileError, TypeError):  # TypeError: a name that ends in .raw
        opened.seek(0)
        return None
    if file.format not in ("MP3", "MPEG"):
        return file
    file.close()
    opened.seek(0)
    return None


def _decode_soundfile(file: Any, name: str, block_seconds: float) -> Iterator[tuple[int, Waveform]]:
    import soundfile

    rate, expected, read = int(file.samplerate), _promised_samples(file), 0
    try:
        # Not file.blocks(), which fills up what could not be read with whatever the memory holds.
        while len(block := file.read(max(1, int(block_seconds * rate)), dtype="float32", always_2d=True)):
            read += len(block)
            yield rate, _mono(block.T)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{name}: damaged after {read / rate:.2f} s ({error})") from error
    # A stream of unknown length reports a huge count; only a file that promises its length can fall short.
    if read < expected < 1 << 62:
        raise AudioError(f"{name}: truncated: {read} of {expected} samples could be read")


def _promised_samples(file: Any) -> int:
    """Samples that the header names; of a WAV, libsndfile counts what is there and logs the difference."""
    shortened = re.search(r"^data : (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
    if not shortened:
        return int(file.frames)
    promised, present = map(int, shortened.groups())
    # Programs that write to a pipe promise 2 or 4 GiB; careless ones are wrong by a few bytes.
    if promised >= 0x7FFF0000 or present == 0:
        return int(file.frames)
    samples = int(file.frames) * promised // present
    return samples if samples - file.frames > TOLERATED_SECONDS * file.samplerate else int(file.frames)


def decode_av(opened: BinaryIO, name: str) -> Iterator[tuple[int, Waveform]]:
    """The first audio track of an open file: its rate and consecutive mono blocks; `AudioError` names ``name``."""
    import av

    try:
        with av.open(opened) as container:
            if not container.streams.audio:
                raise AudioError(f"{name}: holds no audio track")
            for frame in _frames(container):
                yield int(frame.sample_rate), _mono(_planar(frame))
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AudioError(f"{name}: not audio that can be decoded ({reason}); {one_of(EXTENSIONS)}") from error


def _frames(container: Any) -> Iterator[Any]:
    """Decode the first audio track; an MP3 may have tags or other junk around it, though none inside."""
    import av

    junk = None
    for packet in container.demux(audio=0):
        try:
            frames = packet.decode()
        except av.InvalidDataError as error:
            if container.format.name != "mp3":
                raise
            junk = error
            continue
        if frames and junk:
            raise junk
        yield from frames


def _planar(frame: Any) -> NDArray[np.float32]:
    """Samples of a PyAV frame as (channels, T) in [-1, 1]."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T  # (T·channels,) → (channels, T)
    return _as_float(samples)


def checked_rate(rate: Any) -> int:
    """A sampling rate in hertz.

    Raises:
        AudioError: Not a positive whole number.
    """
    if not isinstance(rate, int | np.integer) or isinstance(rate, bool) or rate <= 0:
        raise AudioError(f"sampling_rate must be a positive whole number of hertz, not {rate!r}")
    return int(rate)


def mono_samples(array: Any) -> Waveform:
    """Samples (T,) or (channels, T), floats or integers of any width → their mean over channels, floats (T,).

    Raises:
        AudioError: Something else.
    """
    try:
        samples = np.asarray(array)
    except ValueError as error:  # rows of different lengths
        raise AudioError(f"array must hold numbers of shape (T,) or (channels, T) ({error})") from error
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "fiu" or samples.shape[:-1] == (0,):
        raise AudioError(f"array must hold numbers of shape (T,) or (channels, T), not {samples.dtype} {samples.shape}")
    if samples.ndim == 2 and samples.shape[0] > samples.shape[1] > 0:
        raise AudioError(f"array of shape {samples.shape} looks like (T, channels); pass (channels, T)")
    return _mono(_as_float(np.atleast_2d(samples)))


def _as_float(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Integers of any width to [-1, 1); floats as they are."""
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # becomes infinite, which is refused later
            return samples.astype(np.float32)
    limits = np.iinfo(samples.dtype)
    middle = (int(limits.max) + int(limits.min) + 1) / 2  # 0 when signed, 128 for 8-bit unsigned
    return ((samples - middle) / ((int(limits.max) - int(limits.min) + 1) / 2)).astype(np.float32)


def _mono(channels: NDArray[np.float32]) -> Waveform:
    """(channels, T) → (T,): the mean, so that equal channels change nothing."""
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused later
        return cast(Waveform, channels[0] if len(channels) == 1 else channels.mean(axis=0, dtype=np.float32))
