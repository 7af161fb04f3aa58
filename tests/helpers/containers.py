"""Containers made with PyAV: several tracks, late tracks, pauses; and files whose headers are broken."""

import io
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import av
import numpy as np
import soundfile

RATE = 48_000
FRAME = 960
"""Samples of a packet of Opus; other codecs regroup them."""

CONTAINERS = {"webm": "libopus", "mp4": "aac", "matroska": "aac", "mpegts": "aac", "mov": "pcm_s16le"}
"""Container → codec of its audio."""

VIDEO = {"webm": "libvpx", "matroska": "mpeg4", "mp4": "mpeg4", "mpegts": "mpeg2video", "mov": "mpeg4"}


class Pause(NamedTuple):
    """A hole in the timestamps: where it begins in the samples, and its length, in seconds."""

    start: float
    seconds: float


def container(
    kind: str,
    tracks: list[np.ndarray],
    late: float = 0.0,
    pause: Pause | None = None,
    video: float = 0.0,
    default: int | None = None,
    options: dict[str, str] | None = None,
) -> bytes:
    """A file of several audio tracks (T,) at 48 kHz.

    Args:
        kind: A key of `CONTAINERS`.
        tracks: Samples of each.
        late: Seconds after which the audio starts.
        pause: A hole in its timestamps.
        video: Seconds of black pictures.
        default: Position of the track that is marked as default; None leaves the marks to the muxer.
        options: Of the muxer.
    """
    with TemporaryDirectory() as folder:  # a muxer that moves its index to the front opens the file again
        path = Path(folder) / "file"
        _write(path, kind, tracks, late, pause, video, default, options or {})
        return path.read_bytes()


def _write(
    path: Path,
    kind: str,
    tracks: list[np.ndarray],
    late: float,
    pause: Pause | None,
    video: float,
    default: int | None,
    options: dict[str, str],
) -> None:
    with av.open(str(path), "w", format=kind, options=options) as output:
        pictures = _video_stream(output, kind) if video else None
        streams = [output.add_stream(CONTAINERS[kind], rate=RATE, layout="mono") for _ in tracks]
        for number, stream in enumerate(streams):
            if default is not None:
                flag = av.stream.Disposition.default if number == default else av.stream.Disposition(0)
                stream.disposition = flag
        if pictures is not None:
            _write_video(output, pictures, video)
        for stream, samples in zip(streams, tracks, strict=True):
            _write_audio(output, stream, samples, late, pause)


def _video_stream(output: av.container.OutputContainer, kind: str) -> av.VideoStream:
    stream = output.add_stream(VIDEO[kind], rate=25)
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    return stream


def _write_video(output: av.container.OutputContainer, stream: av.VideoStream, seconds: float) -> None:
    for number in range(round(25 * seconds)):
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
        picture.pts, picture.time_base = number, Fraction(1, 25)
        output.mux(stream.encode(picture))
    output.mux(stream.encode(None))


def _write_audio(
    output: av.container.OutputContainer, stream: av.AudioStream, samples: np.ndarray, late: float, pause: Pause | None
) -> None:
    for position in range(0, len(samples), FRAME):
        frame = av.AudioFrame.from_ndarray(samples[None, position : position + FRAME].astype("f"), "fltp", "mono")
        behind = pause is not None and position >= pause.start * RATE
        shift = late + (pause.seconds if pause is not None and behind else 0.0)
        frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
        frame.pts = position + round(shift * RATE)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def written(samples: np.ndarray, kind: str, subtype: str | None = None, rate: int = 16_000) -> bytes:
    """Samples (T,) or (T, channels) in a format of soundfile."""
    content = io.BytesIO()
    soundfile.write(content, samples, rate, format=kind, subtype=subtype)
    return content.getvalue()


def without_flac_length(flac: bytes) -> bytes:
    """Its STREAMINFO with 0 for the number of samples, as encoders leave it that write to a pipe."""
    content = bytearray(flac)
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    return bytes(content)


def with_wav_length(wav: bytes, length: int) -> bytes:
    """The data chunk's length replaced."""
    at = wav.index(b"data") + 4
    return wav[:at] + length.to_bytes(4, "little") + wav[at + 4 :]
