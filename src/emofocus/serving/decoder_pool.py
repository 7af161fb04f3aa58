"""Worker processes that decode, so that a hostile file costs one of them at most."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from typing import NamedTuple

import numpy as np

from emofocus.audio.loading import Waveform
from emofocus.serving.decoder_worker import ANSWER, HEAD, SAMPLES, TOO_LONG
from emofocus.serving.limits import Limits, Refusal

ROOM = 4 << 20
"""Bytes of an answer that are taken before the decoder has to wait."""

PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "SYSTEMROOT")
"""Of the environment. A decoder needs no secrets."""


class Decoders:
    """Bytes of files → samples at 16 kHz, each in one of a few processes.

    Args:
        count: How many there are.
        limits: What a file may cost.

    Attributes:
        lost: Processes that a file has ended.
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
        """End them, whatever they do."""
        for process in list(self._all):
            await self._end(process)

    @property
    def processes(self) -> list[int]:
        """Their numbers."""
        return [process.pid for process in self._all]

    async def decode(self, body: bytes) -> Waveform:
        """Samples of a file.

        Raises:
            Refusal: It is no audio (422), lasts too long (413), or is more than a decoder can take (422).
        """
        process = await self._free.get()
        usable = False
        try:
            if process is None or process.returncode is not None:  # ended meanwhile, or not to be started before
                process = await self._spawn()
            kind, payload = await asyncio.wait_for(self._ask(process, body), 2 * self.limits.decode_seconds)
            usable = True
        except (TimeoutError, EOFError, ConnectionError) as error:
            self.lost += 1
            raise Refusal(422, "undecodable", f"decoding it takes more than is allowed ({_what(error)})") from error
        finally:
            if not usable and process is not None:
                await self._end(process)
                process = None
            self._free.put_nowait(process)
        if kind == TOO_LONG:
            raise Refusal(413, "too_long", f"lasts longer than the {self.limits.seconds:g} s that are allowed")
        if kind != SAMPLES:
            raise Refusal(422, "not_audio", payload.decode())
        return np.frombuffer(payload, np.float32)

    async def _ask(self, process: Process, body: bytes) -> "_Answer":
        assert process.stdin
        assert process.stdout
        limits = self.limits
        head = HEAD.pack(len(body), limits.seconds, limits.decode_seconds, int(1e6 * limits.decode_megabytes))
        process.stdin.write(head)
        process.stdin.write(body)
        await process.stdin.drain()
        kind, size = ANSWER.unpack(await process.stdout.readexactly(ANSWER.size))
        return _Answer(kind, await process.stdout.readexactly(size))

    async def _spawn(self) -> Process:
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "emofocus.serving.decoder_worker"),
            stdin=PIPE,
            stdout=PIPE,
            limit=ROOM,
            stderr=asyncio.subprocess.DEVNULL,  # libraries print names and bytes of what they cannot decode
            env=environment | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the service, which lets requests end
        )
        self._all.add(process)
        return process

    async def _end(self, process: Process) -> None:
        self._all.discard(process)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class _Answer(NamedTuple):
    kind: int
    payload: bytes


def _what(error: BaseException) -> str:
    return "time" if isinstance(error, TimeoutError) else "time or memory, or it ended the decoder"
