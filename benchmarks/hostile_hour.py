"""An hour of the service under attack: statuses, memory, descriptors.

Run: ``python benchmarks/hostile_hour.py [--minutes 60] [--pause 0.2]``. One fair client asks all the time, while
others send damaged files, lies about lengths, endless and oversized bodies, hours of silence in FLAC, heads and bodies
a byte at a time, sockets with frames of any kind, guessed tokens and paths for names. Each minute a line says what the
service and its decoders hold. Prints Markdown; ends with 1 if a fair request went unanswered, or an attack got a
status that is not its own.
"""

import argparse
import asyncio
import io
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import numpy as np
import soundfile
import websockets

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.damage import damaged

Work = Callable[[], Awaitable[int | None]]
PORT = 8772
URL = f"http://127.0.0.1:{PORT}"
RNG = np.random.default_rng(0)
KINDS = ("byte", "number", "cut", "lost", "twice", "junk", "other")
FORMATS = {".wav": ("WAV", None), ".flac": ("FLAC", None), ".ogg": ("OGG", "VORBIS"), ".opus": ("OGG", "OPUS")}
FORMATS[".mp3"] = ("MP3", None)
NAMES = [
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "/etc/passwd",
    "file:///etc/passwd",
    "http://127.0.0.1:1/x",
    "\0",
]

ALLOWED = {
    "fair": {200},
    "damaged file": {200, 400, 413, 422},
    "lying length": {200, 400, 408, 413, 422, None},  # a reader may go by what is there
    "oversized body": {413},
    "endless body": {413, 408, None},
    "hours of silence": {413},
    "slow head": {None},
    "slow body": {408, None},
    "wrong frames": {101},
    "guessed token": {401, 429},
    "path for a name": {400, 404},
}
"""Statuses that each may be answered with; None is a connection that was ended."""


def sound(seconds: float, suffix: str, level: float = 0.3) -> bytes:
    """Noise in a file's format."""
    kind, codec = FORMATS[suffix]
    file = io.BytesIO()
    samples = level * RNG.normal(0, 0.3, round(16_000 * seconds)).clip(-1, 1)
    soundfile.write(file, samples.astype(np.float32), 16_000, format=kind, subtype=codec)
    return file.getvalue()


class Attack:
    """All clients of one run.

    Args:
        token: A right one.
        files: By suffix, to be damaged.
    """

    def __init__(self, token: str, files: dict[str, bytes]) -> None:
        self.files, self.clip, self.counts = files, sound(2.0, ".wav"), Counter[tuple[str, int | None]]()
        self.silence = sound(3600.0, ".flac", level=0.0)
        self.right = {"Authorization": f"Bearer {token}", "Content-Type": "audio/wav"}
        self.client = httpx.AsyncClient(
            base_url=URL, timeout=120, trust_env=False, limits=httpx.Limits(keepalive_expiry=3)
        )

    async def post(self, body: bytes, headers: dict[str, str] | None = None, model: str | None = None) -> int:
        """The status of a request to recognize."""
        query = {"model": model} if model else None
        headers = self.right | (headers or {})
        return (await self.client.post("/v1/recognize", content=body, headers=headers, params=query)).status_code

    async def fair(self) -> int | None:
        """A clip with its token."""
        return await self.post(self.clip)

    async def damaged_file(self) -> int | None:
        """Up to five damages to a file."""
        suffix = str(RNG.choice(list(self.files)))
        damage = []
        for kind in RNG.choice(KINDS, RNG.integers(1, 6)):
            value = str(RNG.choice(list(self.files))) if kind == "other" else int(RNG.integers(0, 4000))
            damage.append((str(kind), RNG.random() * RNG.choice([0.03, 1.0]), value % 256 if kind == "byte" else value))
        return await self.post(damaged(self.files, suffix, damage))

    async def lying_length(self) -> int | None:
        """A head that names another length than its body has, and a sound file whose head does."""
        body = bytearray(self.clip)
        body[40:44] = int(RNG.integers(0, 2**32)).to_bytes(4, "little")
        body[24:28] = int(RNG.integers(0, 2**32)).to_bytes(4, "little")  # the rate, too
        if RNG.random() < 0.5:
            return await self.post(bytes(body))
        return await self.raw(f"Content-Length: {len(body) * 2}\r\n", bytes(body), hang_up=True)

    async def oversized_body(self) -> int | None:
        """Forty megabytes."""
        return await self.raw(f"Content-Length: {40 << 20}\r\n", b"")

    async def endless_body(self) -> int | None:
        """Chunks without end."""
        chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
        return await self.raw("Transfer-Encoding: chunked\r\n", chunk, repeat=1000)

    async def hours_of_silence(self) -> int | None:
        """An hour in a few kilobytes."""
        return await self.post(self.silence)

    async def slow_head(self) -> int | None:
        """A byte a second."""
        return await self.raw(None, b"GET /v1/models HTTP/1.1\r\nX: " + b"a" * 200, pause=1.0)

    async def slow_body(self) -> int | None:
        """A byte a second."""
        return await self.raw("Content-Length: 1000\r\n", b"a" * 200, pause=1.0)

    async def raw(
        self, length: str | None, body: bytes, repeat: int = 1, pause: float = 0.0, hang_up: bool = False
    ) -> int | None:
        """Bytes on a connection; the status of what comes back, None if nothing does."""
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        answer = asyncio.create_task(reader.read(64))
        try:
            if length is not None:
                token = self.right["Authorization"]
                head = f"POST /v1/recognize HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\nAuthorization: {token}\r\n"
                writer.write(f"{head}Content-Type: audio/wav\r\n{length}\r\n".encode())
            for piece in [body] * repeat if not pause else [body[i : i + 1] for i in range(len(body))]:
                if answer.done():
                    break
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)
            if hang_up:
                writer.write_eof()
            told = await asyncio.wait_for(answer, 90)
            return int(told.split(b" ")[1]) if told.startswith(b"HTTP/") else None
        except ConnectionError:
            return None
        finally:
            answer.cancel()
            writer.close()

    async def wrong_frames(self) -> int | None:
        """A socket with samples, halves of samples, texts and nothing, in any order."""
        query = f"rate={RNG.choice([8000, 16000, 44100])}&format={RNG.choice(['pcm16', 'float32'])}"
        headers = {"Authorization": self.right["Authorization"]}
        async with websockets.connect(
            f"ws://127.0.0.1:{PORT}/v1/stream?{query}", additional_headers=headers, proxy=None
        ) as stream:
            try:
                for _ in range(RNG.integers(0, 5)):
                    text = str(RNG.choice(["{", "null", '{"type": 1}', "x" * 3000]))
                    await stream.send(text if RNG.random() < 0.2 else RNG.bytes(int(RNG.integers(0, 9000))))
                await stream.send('{"type": "end"}')
                async for _ in stream:
                    pass
            except websockets.ConnectionClosed:
                pass
        return 101

    async def guessed_token(self) -> int | None:
        """Thirty-two random bytes."""
        return await self.post(self.clip, {"Authorization": f"Bearer {RNG.bytes(32).hex()}"})

    async def path_for_a_name(self) -> int | None:
        """Where a model's name is expected."""
        return await self.post(self.clip, model=NAMES[int(RNG.integers(len(NAMES)))])


async def keep_on(
    attack: Attack, name: str, work: Callable[[], Awaitable[int | None]], pause: float, end: float
) -> None:
    """One client."""
    while time.monotonic() < end:
        try:
            status = await work()
        except (httpx.HTTPError, OSError, websockets.WebSocketException):
            status = None
        attack.counts[name, status] += 1
        await asyncio.sleep(pause)


def held(process: int) -> tuple[float, float, int, int]:
    """Megabytes of the service and of its decoders, its descriptors and its threads."""
    proc = Path("/proc")
    children = (proc / str(process) / "task" / str(process) / "children").read_text().split()
    page = os.sysconf("SC_PAGE_SIZE") / 1e6
    own, *others = (int((proc / str(pid) / "statm").read_text().split()[1]) * page for pid in (process, *children))
    descriptors = len(list((proc / str(process) / "fd").iterdir()))
    return own, sum(others), descriptors, len(list((proc / str(process) / "task").iterdir()))


async def watch(attack: Attack, process: int, minutes: float) -> None:
    """A line a minute."""
    print("| minute | service, MB | decoders, MB | descriptors | threads | requests |\n|---:|---:|---:|---:|---:|---:|")
    for minute in range(int(minutes) + 1):
        own, others, descriptors, threads = held(process)
        total = sum(attack.counts.values())
        print(f"| {minute} | {own:.0f} | {others:.0f} | {descriptors} | {threads} | {total} |", flush=True)
        await asyncio.sleep(60 if minute < int(minutes) else 0)


async def run(process: int, token: str, minutes: float, pause: float) -> bool:
    """All clients at once; whether every status was one of its own."""
    attack = Attack(token, {suffix: sound(0.5, suffix) for suffix in FORMATS})
    end = time.monotonic() + 60 * minutes
    clients = [("fair", attack.fair, pause)] + [("slow head", attack.slow_head, 0.0)] * 20
    clients += [("slow body", attack.slow_body, 0.0)] * 20
    for name in ALLOWED.keys() - {"fair", "slow head", "slow body"}:
        clients.append((name, getattr(attack, name.replace(" ", "_")), pause if name == "damaged file" else 5 * pause))
    await asyncio.gather(
        watch(attack, process, minutes), *(keep_on(attack, name, work, rest, end) for name, work, rest in clients)
    )
    await asyncio.sleep(5)
    own, others, descriptors, threads = held(process)
    print(f"| after | {own:.0f} | {others:.0f} | {descriptors} | {threads} | {sum(attack.counts.values())} |\n")
    print("| client | answers |\n|---|---|")
    for name in ALLOWED:
        told = sorted((str(status), count) for (client, status), count in attack.counts.items() if client == name)
        print(f"| {name} | {', '.join(f'{status}: {count}' for status, count in told)} |")
    print(f"\nlast fair request: {await attack.fair()}")
    return all(status in ALLOWED[name] for name, status in attack.counts)


def main() -> int:
    """Start a service, and attack it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--pause", type=float, default=0.2, help="Seconds between a client's requests.")
    given = parser.parse_args()
    emofocus = [sys.executable, "-c", "from emofocus.cli.main import main; main()"]
    with tempfile.TemporaryDirectory() as scratch:
        tokens = ["--file", f"{scratch}/tokens"]
        made = subprocess.run([*emofocus, "tokens", "add", "fair", *tokens], capture_output=True, text=True, check=True)
        command = [*emofocus, "serve", "--port", str(PORT), "--tokens", f"{scratch}/tokens", "--rate", "1e9"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as service:
            try:
                for _ in range(300):
                    if service.poll() is not None:
                        raise SystemExit(f"the service did not start; is port {PORT} in use?")
                    try:
                        httpx.get(f"{URL}/readyz", trust_env=False).raise_for_status()
                        break
                    except httpx.HTTPError:
                        time.sleep(0.1)
                good = asyncio.run(run(service.pid, made.stdout.strip(), given.minutes, given.pause))
            finally:
                service.terminate()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
