"""Audio tracks of containers (MP4, WebM, MP3 and all else that FFmpeg knows), at the times that a player shows."""

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from emofocus.audio.channels import Channels
from emofocus.audio.headers import data_chunk, is_mpeg_audio, mp3_frames
from emofocus.audio.notices import Notice, Warn
from emofocus.audio.samples import as_float
from emofocus.errors import AudioError, one_of

EXTENSIONS = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".m4a", ".webm")
"""Files that a folder is searched for."""

GAP_SECONDS = 0.05
"""Timestamps this far ahead of the samples are a pause; less is their rounding, or a clock that runs a little fast."""

LONGEST_PAUSE_SECONDS = 3600.0
"""Timestamps that jump further have begun anew, or are damaged."""

LONGEST_TRANSPORT_PAUSE_SECONDS = 10.0
"""The same in MPEG transport streams, whose clocks begin anew (FFmpeg's `dts_delta_threshold`)."""

CUT_SECONDS = 0.25
"""A recording that lacks more than this of what its header promises is cut."""

UNTIMED = ("mp3", "aac", "ac3", "eac3", "wav", "w64", "aiff", "au", "amr", "caf")
"""FFmpeg's names of formats without timestamps, whose times are counted from their packets."""

PROMISING = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "asf")
"""Formats whose header says how long they are; the duration of others is FFmpeg's guess."""

TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")
"""How notes begin that stand before, behind and, in joined files, between the frames of an MP3."""


def decode_container(
    opened: BinaryIO, name: str, block_seconds: float, track: int | None, warn: Warn
) -> Iterator[tuple[int, Channels]]:
    """Decode one audio track of an open file.

    Pauses in the track's timestamps, and the time that it starts later than the file, become silence.

    Args:
        opened: The file, at its start.
        name: Name of the file in errors.
        block_seconds: Seconds of silence given at a time.
        track: Number of the audio track, from 1; None for the one that the file marks as its default.
        warn: Takes notices of further tracks, of damage, and of a cut.

    Yields:
        The rate in hertz, and consecutive blocks of shape (channels, T_k).

    Raises:
        AudioError: The file holds no audio that can be decoded, or no such track.
    """
    import av

    options = {"ignore_length": "1"} if _lacks_length(opened) else {}
    opened.seek(0)
    try:
        with av.open(opened, options=options) as container:
            stream = _track(container, name, track, warn)
            yield from _Track(container, stream, _promised_seconds(opened, container), block_seconds, warn).blocks()
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AudioError(f"{name}: not audio that can be decoded ({reason}); {one_of(EXTENSIONS)}") from error


def _lacks_length(opened: BinaryIO) -> bool:
    """Whether an open file is a WAV (or a relative) whose header names no length."""
    chunk = data_chunk(opened)
    return chunk is not None and chunk.declared is None


def _track(container: Any, name: str, track: int | None, warn: Warn) -> Any:
    """Choose an audio track: by its number, or the first one that is marked as default, or the first one.

    Raises:
        AudioError: There is none, or none of that number.
    """
    import av

    tracks = container.streams.audio
    if not tracks:
        raise AudioError(f"{name}: holds no audio track")
    numbers = range(1, len(tracks) + 1)
    if track is not None:
        if track not in numbers:
            raise AudioError(f"{name}: has no audio track {track!r} ({one_of(numbers)})")
        return tracks[track - 1]
    default = av.stream.Disposition.default
    chosen = next((stream for stream in tracks if stream.disposition & default), tracks[0])
    if len(tracks) > 1:
        number = list(tracks).index(chosen) + 1
        warn(Notice("tracks", f"{len(tracks)} audio tracks; number {number} was read (option track)"))
    return chosen


def _promised_seconds(opened: BinaryIO, container: Any) -> float | None:
    """Length of a file that its header names; None where it names none."""
    stream, format = container.streams.audio[0], container.format.name
    if format == "caf" and stream.frames:  # of plain samples
        return float(stream.frames) / float(stream.rate)
    if format in PROMISING and container.duration:
        # Matroska's length is that of its clock, which need not begin at 0.
        before = max(0, container.start_time or 0) if format == "matroska,webm" else 0
        return float((container.duration - before) / 1e6)
    if format == "flac" and stream.duration:
        return float(stream.duration * stream.time_base)
    if format == "mp3" and stream.rate:
        position = opened.tell()
        frames = mp3_frames(opened)
        opened.seek(position)
        return None if frames is None else frames * (1152 if stream.rate >= 32_000 else 576) / float(stream.rate)
    return None


class _Track:
    """Decodes a track and compares its samples with its timestamps.

    Args:
        container: The file, opened by PyAV.
        stream: The file's audio stream.
        promised: Seconds that the header names.
        block_seconds: Seconds of silence given at a time.
        warn: Takes notices of damage.
    """

    def __init__(self, container: Any, stream: Any, promised: float | None, block_seconds: float, warn: Warn) -> None:
        self._container, self._stream, self._promised = container, stream, promised
        self._block_seconds, self._warn = block_seconds, warn
        self._format = container.format.name
        self._timed = self._format not in UNTIMED
        transport = self._format == "mpegts"
        self._longest_pause = LONGEST_TRANSPORT_PAUSE_SECONDS if transport else LONGEST_PAUSE_SECONDS
        self._origin = (container.start_time or 0) / 1e6  # timestamp that players show as 0
        self._shift = 0.0  # seconds by which timestamps have begun anew
        self._seconds = 0.0  # given so far
        self._reached = 0.0  # end of the last packet of any track
        self._lost = 0  # packets that could not be decoded, with others behind them
        self._first_lost = 0.0
        self._breaks_off = False

    def blocks(self) -> Iterator[tuple[int, Channels]]:
        """Consecutive blocks of shape (channels, T_k) with their rates."""
        for frame in self._frames():
            rate, samples = int(frame.sample_rate), _planar(frame)
            yield from self._silence(self._pause(frame), rate, len(samples))
            yield rate, samples
            self._seconds += samples.shape[1] / rate
        self._judge_end()

    def _frames(self) -> Iterator[Any]:
        import av

        any_frame, failed, error_of_first = False, [], None
        try:
            for packet in self._container.demux():
                self._note_end(packet)
                if packet.stream.index != self._stream.index:
                    continue
                try:
                    frames = packet.decode()
                except av.InvalidDataError as error:
                    error_of_first = error_of_first or error
                    failed.append(bytes(packet)[:16])
                    continue
                if frames:
                    self._note_lost(failed if any_frame or self._format != "mp3" else [])
                    failed, any_frame = [], True
                    yield from frames
        except av.FFmpegError:
            if not any_frame:
                raise
            self._breaks_off = True
        if error_of_first is not None and not any_frame:
            raise error_of_first
        self._breaks_off |= any(self._format != "mp3" or is_mpeg_audio(head) for head in failed)

    def _note_end(self, packet: Any) -> None:
        if packet.pts is not None and packet.time_base is not None:
            self._reached = max(self._reached, float((packet.pts + (packet.duration or 0)) * packet.time_base))

    def _note_lost(self, failed: list[bytes]) -> None:
        """Count packets that could not be decoded; notes in joined MP3 files are none."""
        lost = sum(not head.startswith(TAGS) for head in failed) if self._format == "mp3" else len(failed)
        if lost and not self._lost:
            self._first_lost = self._seconds
        self._lost += lost

    def _pause(self, frame: Any) -> float:
        """Seconds by which a frame's timestamp is ahead of the samples so far."""
        if not self._timed or frame.pts is None or frame.time_base is None:
            return 0.0
        ahead = float(frame.pts * frame.time_base) - self._origin + self._shift - self._seconds
        if GAP_SECONDS < ahead <= self._longest_pause:
            if self._format == "flac":  # whose frames are numbered, so that a hole is a loss
                self._note_lost([b""])
            return ahead
        if abs(ahead) > GAP_SECONDS:  # timestamps have begun anew, as in files that were joined
            self._shift -= ahead
        return 0.0

    def _silence(self, seconds: float, rate: int, channels: int) -> Iterator[tuple[int, Channels]]:
        left = round(seconds * rate)
        self._seconds += left / rate
        size = max(1, int(self._block_seconds * rate))
        while left > 0:
            yield rate, np.zeros((channels, min(left, size)), np.float32)
            left -= size

    def _judge_end(self) -> None:
        """Warn of a recording that ends before its header says so, and of damage inside it."""
        reached = self._seconds if self._format in UNTIMED else max(self._seconds, self._reached - self._origin)
        if self._promised is not None and reached < self._promised - CUT_SECONDS:
            self._warn(Notice("cut", f"{self._seconds:.2f} of {self._promised:.2f} s could be read"))
        elif self._breaks_off:
            self._warn(Notice("cut", f"the recording breaks off at {self._seconds:.2f} s"))
        if self._lost:
            where = f"the first at {self._first_lost:.2f} s"
            self._warn(Notice("damaged", f"{self._lost} packets could not be decoded, {where}"))


def _planar(frame: Any) -> Channels:
    """Samples of a PyAV frame as (channels, T) in [-1, 1]."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T  # (T·channels,) → (channels, T)
    return as_float(samples)
