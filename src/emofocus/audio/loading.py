"""Any audio file, or array with its rate, to 16 kHz mono float32 in bounded memory.

soxr does every resampling, because differing resamplers change labels.
"""

from collections.abc import Iterable, Iterator, Mapping
from io import IOBase
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from emofocus.audio.decoding import (
    BLOCK_SECONDS,
    EXTENSIONS,
    OPENED,
    TOLERATED_SECONDS,
    Waveform,
    checked_rate,
    decode,
    mono_samples,
)
from emofocus.errors import AudioError, ShortAudioError, SilentAudioError, one_of

__all__ = [
    "BLOCK_SECONDS",
    "EXTENSIONS",
    "LARGEST",
    "MINIMUM_SAMPLES",
    "SAMPLING_RATE",
    "SILENCE_DB",
    "TOLERATED_SECONDS",
    "AudioArray",
    "AudioInput",
    "Waveform",
    "check",
    "check_length",
    "check_level",
    "checked_rate",
    "decode",
    "find",
    "load",
    "mono_samples",
    "name_of",
    "stream",
]

SAMPLING_RATE = 16_000
"""Samples a second of everything behind this module."""

LARGEST = 1000.0
"""Samples above it, 60 dB over full scale, are no sound; their squares would overflow."""

MINIMUM_SAMPLES = 400
"""One analysis window of 25 ms; less cannot be recognized."""

SILENCE_DB = -80.0
"""Full-scale level (dB) that some sample must pass for audio not to count as silent."""


class AudioArray(TypedDict):
    """Samples of shape (T,) or (channels, T) and their rate, as Hugging Face datasets give them."""

    array: NDArray[Any]
    sampling_rate: int


AudioInput: TypeAlias = str | Path | BinaryIO | AudioArray
"""A file by its path or open for reading bytes, or samples with their rate."""


def load(audio: AudioInput, start: float | None = None, end: float | None = None) -> Waveform:
    """Decode a whole clip, or a part of it.

    Args:
        audio: A file's path, a file open for reading bytes, or ``{"array": samples, "sampling_rate": hertz}``.
        start: Where the part begins, in seconds; None for the clip's beginning.
        end: Where it ends; None for the clip's end. What is behind it is not read.

    Returns:
        16 kHz mono samples of shape (T,).

    Raises:
        AudioError: The file is missing, empty, not audio, truncated, too short, silent, or not finite; or it ends
            before the part does.
    """
    blocks = list(stream(audio) if end is None else _until(stream(audio), round(end * SAMPLING_RATE)))
    waveform = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    name = name_of(audio)
    if end is not None and len(waveform) < (end - TOLERATED_SECONDS) * SAMPLING_RATE:
        raise AudioError(f"{name}: ends at {len(waveform) / SAMPLING_RATE:.2f} s, before {end:.2f} s")
    waveform = waveform[round((start or 0.0) * SAMPLING_RATE) :]
    check(waveform, name if start is None and end is None else f"{name} from {start or 0:.2f} s")
    return waveform


def _until(blocks: Iterable[Waveform], samples: int) -> Iterator[Waveform]:
    """Blocks up to a number of samples."""
    for block in blocks:
        yield block[:samples]
        samples -= len(block)
        if samples <= 0:
            return


def stream(audio: AudioInput, block_seconds: float = BLOCK_SECONDS) -> Iterator[Waveform]:
    """Decode block by block, so that hours of audio need the memory of seconds.

    Args:
        audio: As in `load`.
        block_seconds: Seconds decoded at a time.

    Yields:
        Consecutive 16 kHz mono blocks of shape (T_k,), not longer than about ``block_seconds``.

    Raises:
        AudioError: As in `load`, except that only non-finite samples and undecodable files are found here;
            `check_length` and `check_level` judge the whole.
    """
    if isinstance(audio, str | Path):
        yield from _resampled(decode(Path(audio), block_seconds), str(audio))
    elif isinstance(audio, IOBase):
        yield from _resampled(decode(cast(BinaryIO, audio), block_seconds), OPENED)
    else:
        rate, samples = _checked_array(cast(Mapping[str, Any], audio))
        size = max(1, int(block_seconds * rate))
        blocks = ((rate, samples[start : start + size]) for start in range(0, len(samples), size))
        yield from _resampled(blocks, name_of(audio))


def name_of(audio: AudioInput) -> str:
    """How messages call this input."""
    if isinstance(audio, str | Path):
        return str(audio)
    return OPENED if isinstance(audio, IOBase) else "the given array"


def check(waveform: Waveform, name: str) -> None:
    """Refuse what cannot be recognized.

    Raises:
        ShortAudioError: It is shorter than one analysis window.
        SilentAudioError: No sample is above `SILENCE_DB`.
    """
    check_length(len(waveform), name)
    check_level(float(np.abs(waveform).max()), name)


def check_length(samples: int, name: str) -> None:
    """Refuse audio that is shorter than one analysis window (`ShortAudioError`)."""
    if samples == 0:
        raise ShortAudioError(f"{name}: holds no samples")
    if samples < MINIMUM_SAMPLES:
        raise ShortAudioError(
            f"{name}: lasts {1000 * samples / SAMPLING_RATE:.1f} ms; at least "
            f"{1000 * MINIMUM_SAMPLES / SAMPLING_RATE:.0f} ms are needed"
        )


def check_level(peak: float, name: str) -> None:
    """Refuse silence (`SilentAudioError`); ``peak`` is the largest absolute sample."""
    if peak < 10 ** (SILENCE_DB / 20):
        raise SilentAudioError(f"{name}: is silent (no sample above {SILENCE_DB:.0f} dBFS)")


def find(paths: Iterable[str | Path]) -> list[Path]:
    """List audio files: files as they are given, folders walked in the order of names.

    Raises:
        AudioError: A path does not exist, or a folder holds no audio.
    """
    return [file for path in paths for file in _files(Path(path))]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in EXTENSIONS and file.is_file())
    if not found:
        raise AudioError(f"{path}: this folder holds no audio ({one_of(EXTENSIONS)})")
    return found


def _checked_array(audio: Mapping[str, Any]) -> tuple[int, Waveform]:
    if not isinstance(audio, Mapping) or "sampling_rate" not in audio or "array" not in audio:
        raise AudioError(
            f"an array needs its rate: pass {{'array': samples, 'sampling_rate': hertz}}, not {type(audio).__name__}"
        )
    return checked_rate(audio["sampling_rate"]), mono_samples(audio["array"])


def _resampled(blocks: Iterator[tuple[int, Waveform]], name: str) -> Iterator[Waveform]:
    """Bring a stream of blocks to 16 kHz without a seam between them."""
    import soxr

    resampler, source_rate = None, None
    for rate, block in blocks:
        if not np.isfinite(block).all():
            raise AudioError(f"{name}: holds NaN or infinite samples")
        if len(block) and float(np.abs(block).max()) > LARGEST:
            raise AudioError(f"{name}: holds samples of {np.abs(block).max():.3g}, which is no sound (full scale is 1)")
        if source_rate not in (None, rate):
            raise AudioError(f"{name}: changes its rate midway, from {source_rate} to {rate} Hz")
        source_rate = rate
        if rate != SAMPLING_RATE and resampler is None:
            resampler = soxr.ResampleStream(rate, SAMPLING_RATE, 1, dtype="float32", quality="HQ")
        yield block if resampler is None else resampler.resample_chunk(block)
    if resampler is not None:
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
