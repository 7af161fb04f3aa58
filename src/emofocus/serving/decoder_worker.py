"""A process that decodes strangers' audio: bytes in, samples out, and nothing else of the machine to spend.

Run as ``python -m emofocus.serving.decoder_worker``. A request on stdin is its head (`HEAD`) and a file's bytes. The
answer on stdout is a head (`ANSWER`) and samples in float32, or a reason in UTF-8. A file that costs too much ends the
process: the kernel counts its seconds and its memory. It is told no names, and it may write no file.
"""

import contextlib
import fcntl
import io
import resource
import struct
import sys
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from emofocus.audio.loading import SAMPLING_RATE, Waveform, stream
from emofocus.errors import AudioError

HEAD = struct.Struct("<QddQ")
"""Bytes of the file; seconds of audio that are allowed, and of processor time; bytes of memory beyond the present."""

ANSWER = struct.Struct("<BQ")
"""Which of the following, and bytes that follow."""

SAMPLES, REASON, TOO_LONG = range(3)

PIPE_BYTES = 1 << 20
"""That a pipe may hold: sixteen seconds of samples, and as much as Linux gives a user without rights."""


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    _warm_up()
    for pipe in (requests, answers):
        _widen(pipe.fileno())
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)
    while head := requests.read(HEAD.size):
        size, seconds, processor, memory = HEAD.unpack(head)
        body = requests.read(size)
        _allow(processor, memory)
        kind, payload = answer(body, seconds)
        answers.write(ANSWER.pack(kind, len(payload)))
        answers.write(payload)
        answers.flush()


def answer(body: bytes, seconds: float) -> tuple[int, bytes]:
    """Which answer a file gets, and its bytes."""
    try:
        waveform = _decoded(body, seconds)
    except AudioError as error:
        return REASON, str(error).encode()
    except MemoryError:
        return REASON, b"the given file: needs more memory to decode than is allowed"
    return (TOO_LONG, b"") if waveform is None else (SAMPLES, waveform.tobytes())


def _decoded(body: bytes, seconds: float) -> Waveform | None:
    """Its samples at 16 kHz; None if there are more than allowed, of which no more are decoded."""
    blocks, left = [], round(seconds * SAMPLING_RATE)
    for block in _blocks(body):
        left -= len(block)
        if left < 0:
            return None
        blocks.append(block)
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _blocks(body: bytes) -> Iterator[Waveform]:
    return stream(io.BytesIO(body), block_seconds=5.0)


def _allow(processor: float, memory: int) -> None:
    """Let the kernel end this process once it has used more than that from here on."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _lower(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + processor) + 1)
    if memory and sys.platform == "linux":
        with open("/proc/self/statm") as file:  # noqa: PTH123  (pathlib is not loaded here)
            pages = int(file.read().split()[0])
        _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + memory)


def _widen(pipe: int) -> None:
    """Let a pipe hold a clip, so that service and decoder take turns less often; Linux alone can."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # more than this user may have
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _lower(kind: int, value: int) -> None:
    resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))


def _warm_up() -> None:
    """Load all decoders, so that no request pays for it, with its limits or with its time."""
    import av  # noqa: F401
    import soundfile
    import soxr  # noqa: F401

    file = io.BytesIO()
    soundfile.write(file, np.zeros(4_410, np.float32), 44_100, format="WAV")
    answer(file.getvalue(), 1.0)


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
