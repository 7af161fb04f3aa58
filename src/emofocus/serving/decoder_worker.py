"""A process that decodes untrusted audio: bytes of a file on stdin, samples on stdout.

Run as ``python -m emofocus.serving.decoder_worker``. A request is a head (`HEAD`) followed by a file's bytes; an answer
is a head (`ANSWER`) followed by float32 samples or by a reason in UTF-8. The kernel limits processor time and memory,
so a file that needs too much ends the process. The process gets no file names and may write no files.
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

from emofocus.audio.loading import SAMPLING_RATE, stream
from emofocus.audio.notices import Notice, Warn, ignore
from emofocus.audio.samples import Waveform
from emofocus.errors import AudioError

HEAD = struct.Struct("<QddQ")
"""Size of the file in bytes, allowed duration and processor time in seconds, and additional memory in bytes."""

ANSWER = struct.Struct("<BQQ")
"""Kind of the answer, one of the following; bytes that follow, and bytes of notices behind these, one a line."""

SAMPLES, REASON, TOO_LONG = range(3)

PIPE_BYTES = 1 << 20
"""Capacity of a pipe: 16 s of samples, and the most that Linux gives an ordinary user."""


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until the input ends."""
    _warm_up()
    for pipe in (requests, answers):
        _widen(pipe.fileno())
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)
    while head := requests.read(HEAD.size):
        size, seconds, processor, memory = HEAD.unpack(head)
        body = requests.read(size)
        _allow(processor, memory)
        notices: list[Notice] = []
        kind, payload = answer(body, seconds, notices.append)
        lines = "\n".join(f"{notice.kind} {notice.text}" for notice in notices).encode()
        answers.write(ANSWER.pack(kind, len(payload), len(lines)))
        answers.write(payload)
        answers.write(lines)
        answers.flush()


def answer(body: bytes, seconds: float, warn: Warn = ignore) -> tuple[int, bytes]:
    """Decode a file of at most ``seconds``; return the kind of the answer and its bytes."""
    try:
        waveform = _decoded(body, seconds, warn)
    except AudioError as error:
        return REASON, str(error).encode()
    except MemoryError:
        return REASON, b"the given file: needs more memory to decode than is allowed"
    return (TOO_LONG, b"") if waveform is None else (SAMPLES, waveform.tobytes())


def _decoded(body: bytes, seconds: float, warn: Warn) -> Waveform | None:
    """Samples at 16 kHz (T,), or None if the file is longer than ``seconds``; decoding stops there."""
    blocks, left = [], round(seconds * SAMPLING_RATE)
    for block in _blocks(body, warn):
        left -= len(block)
        if left < 0:
            return None
        blocks.append(block)
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _blocks(body: bytes, warn: Warn) -> Iterator[Waveform]:
    return stream(io.BytesIO(body), block_seconds=5.0, warn=warn)


def _allow(processor: float, memory: int) -> None:
    """Let the kernel end this process after ``processor`` more seconds, or ``memory`` more bytes."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _lower(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + processor) + 1)
    if memory and sys.platform == "linux":
        with open("/proc/self/statm") as file:  # noqa: PTH123  (pathlib is not loaded here)
            pages = int(file.read().split()[0])
        _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + memory)


def _widen(pipe: int) -> None:
    """Let a pipe hold a whole clip, so that service and decoder wait for each other less often; Linux only."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # the user's limit is lower
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _lower(kind: int, value: int) -> None:
    resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))


def _warm_up() -> None:
    """Load all decoding libraries, so that their time and memory do not count as a request's."""
    import av  # noqa: F401
    import soundfile
    import soxr  # noqa: F401

    file = io.BytesIO()
    soundfile.write(file, np.zeros(4_410, np.float32), 44_100, format="WAV")
    answer(file.getvalue(), 1.0)


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
