"""A pool of processes that decode uploads, so that a hostile file costs at most one of them."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from typing import NamedTuple, cast

import numpy as np

from emofocus.audio.notices import Kind, Notice
from emofocus.audio.samples import Waveform
from emofocus.serving.decoder_worker import ANSWER, HEAD, SAMPLES, TOO_LONG
from emofocus.serving.limits import Limits, Refusal

BUFFER_BYTES = 4 << 20
"""Bytes of an answer that are buffered before the decoder has to wait."""

ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "SYSTEMROOT")
"""Environment variables that a decoder gets; it needs no secrets."""


class Decoded(NamedTuple):
    """A decoded file.

    Attributes:
        waveform: Samples at 16 kHz (T,).
        notices: Facts about the file that its answer should carry.
    """

    waveform: Waveform
    notices: tuple[Notice, ...]


class DecoderPool:
    """Decodes files to samples at 16 kHz in a few processes.

    Args:
        count: Number of processes.
        limits: Time, memory and duration that a file may need.

    Attributes:
        lost: Number of processes that files have ended.
    """

    def __init__(self, count: int, limits: Limits) -> None:
        self.count, self.limits, self.lost = count, limits, 0
        self._free: asyncio.Queue[Process | None] = asyncio.Queue()
        self._all: set[Process] = set()

    async def start(self) -> None:
        """Start the processes."""
        for process in await asyncio.gather(*(self._spawn() for _ in range(self.count))):
            self._free.put_nowait(process)

    async def stop(self) -> None:
        """Kill the processes."""
        for process in list(self._all):
            await self._end(process)

    @property
    def processes(self) -> list[int]:
        """Process ids."""
        return [process.pid for process in self._all]

    async def decode(self, body: bytes) -> Decoded:
        """Decode the bytes of a file.

        Raises:
            Refusal: The file is not audio (422), lasts too long (413), or needs too much time or memory (422).
        """
        process = await self._free.get()
        usable = False
        try:
            if process is None or process.returncode is not None:  # the process has ended, or could not be started
                process = await self._spawn()
            kind, payload, lines = await asyncio.wait_for(self._request(process, body), 2 * self.limits.decode_seconds)
            usable = True
        except (TimeoutError, EOFError, ConnectionError) as error:
            self.lost += 1
            cause = "time" if isinstance(error, TimeoutError) else "time or memory, or it ended the decoder"
            raise Refusal(422, "undecodable", f"decoding it takes more than is allowed ({cause})") from error
        finally:
            if not usable and process is not None:
                await self._end(process)
                process = None
            self._free.put_nowait(process)
        if kind == TOO_LONG:
            raise Refusal(413, "too_long", f"lasts longer than the {self.limits.seconds:g} s that are allowed")
        if kind != SAMPLES:
            raise Refusal(422, "not_audio", payload.decode())
        parts = (line.partition(" ") for line in lines.decode().splitlines())
        notices = tuple(Notice(cast(Kind, name), text) for name, _, text in parts)
        return Decoded(np.frombuffer(payload, np.float32), notices)

    async def _request(self, process: Process, body: bytes) -> tuple[int, bytes, bytes]:
        """Send a file to a process; return the kind of its answer, the payload and the notices."""
        assert process.stdin
        assert process.stdout
        limits = self.limits
        head = HEAD.pack(len(body), limits.seconds, limits.decode_seconds, int(1e6 * limits.decode_megabytes))
        process.stdin.write(head)
        process.stdin.write(body)
        await process.stdin.drain()
        kind, size, more = ANSWER.unpack(await process.stdout.readexactly(ANSWER.size))
        return kind, await process.stdout.readexactly(size), await process.stdout.readexactly(more)

    async def _spawn(self) -> Process:
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "emofocus.serving.decoder_worker"),
            stdin=PIPE,
            stdout=PIPE,
            limit=BUFFER_BYTES,
            stderr=asyncio.subprocess.DEVNULL,  # libraries print names and bytes of files that they cannot decode
            env=environment | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C reaches the service alone, which lets requests end
        )
        self._all.add(process)
        return process

    async def _end(self, process: Process) -> None:
        self._all.discard(process)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
