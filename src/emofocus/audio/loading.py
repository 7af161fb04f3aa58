"""Any audio file, or array with its rate, to 16 kHz mono float32 in bounded memory.

soxr does every resampling, because differing resamplers change labels.
"""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from io import BytesIO
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from emofocus.audio.channels import Channels, chosen, mixed
from emofocus.audio.decoding import BLOCK_SECONDS, EXTENSIONS, OPENED, TOLERATED_SECONDS, decode
from emofocus.audio.decoding import channel_count as channels_in_file
from emofocus.audio.notices import Notice, Warn
from emofocus.audio.samples import Waveform, channels_of, checked_rate
from emofocus.errors import AudioError, AudioWarning, ShortAudioError, SilentAudioError, one_of
from emofocus.utils.folder_tree import files_below, is_folder
from emofocus.utils.progress import log_line

SAMPLING_RATE = 16_000
"""Samples a second of everything behind this module."""

LARGEST = 1000.0
"""Samples above it, 60 dB over full scale, are no sound; their squares would overflow."""

MINIMUM_SAMPLES = 400
"""One analysis window of 25 ms; less cannot be recognized."""

SILENCE_DB = -80.0
"""Full-scale level (dB) that some sample must pass for audio not to count as silent."""


SEARCHED = (
    *EXTENSIONS,
    *(".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".caf", ".m4b", ".mka", ".mp2", ".mpga", ".oga"),
    *(".snd", ".spx", ".tta", ".w64", ".wma", ".wv"),
    *(".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".wmv"),
)
"""Suffixes that folders are searched for: audio, and videos, which have a sound track."""

SKIPPED = (".dss", ".ds2", ".mid", ".midi", ".m3u", ".m3u8", ".pcm", ".pls", ".raw", ".rm", ".sph", ".vox")
"""Suffixes of sound that cannot be told without further facts, or not decoded; folders' files of them are counted."""


BYTES = ("B", "b", "c")
"""Formats of a memoryview of bytes, as `struct` has them; others are of samples."""


class AudioArray(TypedDict):
    """Samples of shape (T,) or (channels, T) and their rate, as Hugging Face datasets give them."""

    array: NDArray[Any]
    sampling_rate: int


class Readable(Protocol):
    """Anything with ``read`` that gives bytes: a file opened with mode ``"rb"``, a pipe, an answer of HTTP."""

    def read(self, size: int = ..., /) -> bytes:
        """Bytes, all that are left by default."""


AudioInput: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO | Readable | AudioArray
"""A file by its path, its bytes, anything with ``read`` that gives them, or samples with their rate.

Samples may come in anything that has ``["array"]`` and ``["sampling_rate"]``, as the audio of Hugging Face datasets
does; of what has ``["bytes"]`` and ``["path"]``, as that has before it is decoded, the file is read.
"""


def load(
    audio: AudioInput,
    start: float | None = None,
    end: float | None = None,
    track: int | None = None,
    warn: Warn | None = None,
    channel: int | None = None,
) -> Waveform:
    """Decode a whole clip, or a part of it.

    Args:
        audio: A file's path, its bytes, a file open for reading bytes, or
            ``{"array": samples, "sampling_rate": hertz}``.
        start: Where the part begins, in seconds; None for the clip's beginning.
        end: Where it ends; None for the clip's end. The file is read up to there.
        track: Number of the audio track of a file that has several, from 1; None for its default one.
        warn: Takes a notice of each thing that is unusual about a file that is read all the same (cut, damaged, several
            audio tracks, channels that cancel each other); by default it becomes an `AudioWarning`.
        channel: Number of the channel to take, from 1; None to mix all of them.

    Returns:
        16 kHz mono samples of shape (T,).

    Raises:
        AudioError: The file is missing, empty, not audio, or holds samples that are not finite; it has no such track
            or channel, or ends before the part does.
        ShortAudioError: The part is shorter than one analysis window.
        SilentAudioError: It is silent.
    """
    name = name_of(audio)
    blocks = list(part(stream(audio, track=track, warn=warn, channel=channel), name, start, end))
    waveform = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    check(waveform, name if start is None and end is None else f"{name} from {start or 0:.2f} s")
    return waveform


def part(blocks: Iterable[Waveform], name: str, start: float | None, end: float | None) -> Iterator[Waveform]:
    """Blocks of a part of a recording; nothing is read behind it.

    Args:
        blocks: Consecutive blocks (T_k,) of the recording, 16 kHz.
        name: Name of the recording in errors.
        start: Where the part begins, in seconds; None for the recording's beginning.
        end: Where it ends; None for the recording's end.

    Raises:
        AudioError: The recording ends before the part does.
    """
    first = round((start or 0.0) * SAMPLING_RATE)
    last = None if end is None else round(end * SAMPLING_RATE)
    read = 0
    for block in blocks:
        piece = block[max(0, first - read) : None if last is None else max(0, last - read)]
        read += len(block)
        if len(piece):
            yield piece
        if last is not None and read >= last:
            return
    if end is not None and read < (end - TOLERATED_SECONDS) * SAMPLING_RATE:
        raise AudioError(f"{name}: ends at {read / SAMPLING_RATE:.2f} s, before {end:.2f} s")


def stream(
    audio: AudioInput,
    block_seconds: float = BLOCK_SECONDS,
    track: int | None = None,
    warn: Warn | None = None,
    channel: int | None = None,
) -> Iterator[Waveform]:
    """Decode block by block, so that hours of audio need the memory of seconds.

    Args:
        audio: A clip, as in `load`.
        block_seconds: Seconds decoded at a time.
        track: Number of the audio track, as in `load`.
        warn: Takes notices, as in `load`.
        channel: Number of the channel, as in `load`.

    Yields:
        Consecutive 16 kHz mono blocks of shape (T_k,), not longer than about ``block_seconds``.

    Raises:
        AudioError: As in `load`, except that only non-finite samples and undecodable files are found here;
            `check_length` and `check_level` judge the whole.
    """
    name = name_of(audio)
    file = _file(audio)
    warn = warn or partial(_warn, name)
    if file is not None:
        yield from _resampled(decode(file, block_seconds, track, warn, channel), name)
        return
    rate, samples = _checked_array(audio)
    if track not in (None, 1):
        raise AudioError(f"{name}: has no audio track {track!r} (valid: 1)")
    size = max(1, int(block_seconds * rate))
    blocks = ((rate, samples[:, start : start + size]) for start in range(0, samples.shape[1], size))
    yield from _resampled(mixed(blocks, warn) if channel is None else chosen(blocks, channel, name), name)


def channel_count(audio: AudioInput, track: int | None = None) -> int:
    """Number of channels at the beginning of a clip; 0 if it holds no samples.

    Args:
        audio: A clip, as in `load`.
        track: Number of the audio track, as in `load`.

    Raises:
        AudioError: As in `stream`.
    """
    file = _file(audio)
    return len(_checked_array(audio)[1]) if file is None else channels_in_file(file, track)


def _warn(name: str, notice: Notice) -> None:
    warnings.warn(f"{name}: {notice}", AudioWarning, stacklevel=2)


def with_rate(audio: Any, sampling_rate: int | None) -> Any:
    """An input, with a rate for samples that come without one.

    Raises:
        AudioError: The rate is given for a file, which has its own, or contradicts the samples' own.
    """
    if sampling_rate is None:
        return audio
    checked_rate(sampling_rate)
    if _file(audio) is not None:
        raise AudioError(f"{name_of(audio)}: has a rate of its own; sampling_rate is for samples")
    own = audio.get("sampling_rate", sampling_rate) if isinstance(audio, Mapping) else sampling_rate
    if own != sampling_rate:
        raise AudioError(f"sampling_rate is {sampling_rate} Hz, but the given array's own is {own} Hz")
    return audio if isinstance(audio, Mapping) else {"array": audio, "sampling_rate": sampling_rate}


def holds_numbers(items: Sequence[Any]) -> bool:
    """Whether a list is samples, of one channel or of several, and not a list of clips."""
    return bool(items) and isinstance(items[0], int | float | np.number | list | tuple)


def name_of(audio: AudioInput) -> str:
    """Name of an input in messages."""
    if isinstance(audio, str | os.PathLike):
        return os.fsdecode(audio)
    return "the given array" if _file(audio) is None else OPENED


def _file(audio: Any) -> Path | BinaryIO | None:
    """The file that an input is or holds; None for samples."""
    if isinstance(audio, str | os.PathLike):
        return _path(os.fsdecode(audio))
    if isinstance(audio, memoryview) and audio.format not in BYTES:
        return None  # of samples
    if isinstance(audio, bytes | bytearray | memoryview):
        return BytesIO(audio)
    if hasattr(audio, "read"):
        return cast(BinaryIO, audio)
    if isinstance(audio, Mapping) and "array" not in audio:
        content, path = audio.get("bytes"), audio.get("path")
        return BytesIO(content) if content else Path(path) if path else None
    return None


def _path(name: str) -> Path:
    """Path of a file by its name.

    Raises:
        AudioError: The name is empty, or an address of the web.
    """
    if not name:
        raise AudioError("an empty text names no file")
    if "://" in name and not Path(name).exists():
        raise AudioError(f"{name}: is an address, not a file; download it first, or pass its bytes")
    return Path(name)


def check(waveform: Waveform, name: str) -> None:
    """Refuse what cannot be recognized.

    Raises:
        ShortAudioError: It is shorter than one analysis window.
        SilentAudioError: No sample is above `SILENCE_DB`.
    """
    check_length(len(waveform), name)
    check_level(float(waveform.max() - waveform.min()) / 2, name)


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
    """Refuse silence (`SilentAudioError`); ``peak`` is the largest absolute sample, without a DC offset."""
    if peak < 10 ** (SILENCE_DB / 20):
        raise SilentAudioError(f"{name}: is silent (no sample above {SILENCE_DB:.0f} dBFS)")


def find(paths: Iterable[str | Path], report: Callable[[AudioError], None] | None = None) -> list[Path]:
    """List audio files: files as they are given, folders walked in the order of names, linked folders included.

    Files of other suffixes that may hold sound or pictures are counted in one line.

    Args:
        paths: Files and folders.
        report: Takes the error of a folder, below the given ones, that cannot be read; by default it is raised.

    Raises:
        AudioError: A folder holds no audio, or cannot be read.
    """
    return [file for path in paths for file in _files(Path(path), report or _raise)]


def _raise(error: AudioError) -> None:
    raise error


def _files(path: Path, report: Callable[[AudioError], None]) -> list[Path]:
    if not is_folder(path):
        return [path]
    unreadable: list[AudioError] = []

    def note(error: OSError) -> None:
        unreadable.append(AudioError(f"{os.fsdecode(error.filename)}: cannot be read ({error.strerror})"))
        report(unreadable[-1])

    files = list(files_below(path, note))
    found = sorted(file for file in files if file.suffix.lower() in SEARCHED)
    _count_skipped(path, files)
    if not found and not unreadable:
        raise AudioError(f"{path}: this folder holds no audio ({one_of(EXTENSIONS)})")
    return found


def _count_skipped(folder: Path, files: Iterable[Path]) -> None:
    """Say how many files of a folder are left out although they may be recordings."""
    skipped = Counter(file.suffix.lower() for file in files if file.suffix.lower() in SKIPPED)
    if skipped:
        listed = ", ".join(f"{count} {suffix}" for suffix, count in sorted(skipped.items()))
        log_line(f"{folder}: files that may hold sound, and are not searched for, are left out: {listed}")


def _checked_array(audio: Any) -> tuple[int, Channels]:
    """Rate and samples (channels, T) of anything that has them by name."""
    try:
        rate, array = audio["sampling_rate"], audio["array"]
    except Exception as error:  # any object may come, and raise any error
        raise AudioError(
            f"an array needs its rate: pass {{'array': samples, 'sampling_rate': hertz}}, not {type(audio).__name__}"
        ) from error
    return checked_rate(rate), channels_of(array, whole=True)


def _resampled(blocks: Iterator[tuple[int, Waveform]], name: str) -> Iterator[Waveform]:
    """Bring a stream of blocks to 16 kHz without a seam between blocks of one rate."""
    for rate, stretch in groupby(blocks, key=itemgetter(0)):
        waveforms = (_checked(block, name) for _, block in stretch)
        yield from waveforms if rate == SAMPLING_RATE else _at_16_khz(waveforms, rate)


def _checked(block: Waveform, name: str) -> Waveform:
    """Refuse samples that are no sound (`AudioError`)."""
    if not np.isfinite(block).all():
        raise AudioError(f"{name}: holds NaN or infinite samples")
    if len(block) and float(np.abs(block).max()) > LARGEST:
        raise AudioError(f"{name}: holds samples of {np.abs(block).max():.3g}, which is no sound (full scale is 1)")
    return block


def _at_16_khz(blocks: Iterator[Waveform], rate: int) -> Iterator[Waveform]:
    import soxr

    resampler = soxr.ResampleStream(rate, SAMPLING_RATE, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
