"""Live streams on one service: how many at once, for how long, and how late their events are.

Run: ``python benchmarks/live_streams.py [--streams 50] [--minutes 10] [--hop 0.1]``. Each client sends noise with
pauses as a microphone would, 16 kHz in 16 bits, a tenth of a second at a time, and notes how long after its last
sample was sent an event comes. Prints Markdown: a line a minute, with events, half, 99 % and the most of the delays,
memory and the share of all cores; ends with 1 if an event was missing or a stream ended early.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import websockets

PORT, RATE, STEP = 8773, 16_000, 0.1


class Listener:
    """One client.

    Attributes:
        delays: Of each event: minute, and seconds behind the sending of its last sample.
        missing: Events that should have come.
    """

    def __init__(self, number: int, seconds: float, hop: float) -> None:
        self.seconds, self.hop = seconds, hop
        self.delays: list[tuple[int, float]] = []
        self.missing = 0
        self._rng = np.random.default_rng(number)
        self._first = number % 10 / 100

    async def run(self) -> None:
        """Speak and listen until the time is over."""
        url = f"ws://127.0.0.1:{PORT}/v1/stream?rate={RATE}&format=pcm16&hop={self.hop}"
        async with websockets.connect(url, proxy=None, max_size=None) as socket:
            self.hop = json.loads(await socket.recv())["hop"]  # in whole frames
            await asyncio.sleep(self._first)
            began = time.perf_counter()
            speaking = asyncio.create_task(self._speak(socket, began))
            last = 0.0
            async for text in socket:
                told = json.loads(text)
                if told["type"] == "event":
                    now = time.perf_counter() - began
                    # The samples of an event lie in a piece that is sent when its last sample would have been spoken.
                    sent = -(-round(told["end"] * 1000) // round(STEP * 1000)) * STEP
                    self.delays.append((int(now // 60), now - sent))
                    last = told["end"]
            await speaking
        expected = (self.seconds - 2.5) / self.hop
        self.missing = max(0, int(expected - len(self.delays))) if last else int(expected)

    async def _speak(self, socket: websockets.ClientConnection, began: float) -> None:
        for number in range(round(self.seconds / STEP)):
            level = 0.1 if number % 40 < 30 else 0.0002  # three seconds of voice, one of pause
            samples = (32767 * level * self._rng.normal(0, 0.5, round(STEP * RATE)).clip(-1, 1)).astype("<i2")
            wait = began + (number + 1) * STEP - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            await socket.send(samples.tobytes())
        await socket.send('{"type": "end"}')


def used(process: int) -> tuple[float, float]:
    """Seconds of processor time so far, and megabytes, of the service."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def listen(process: int, streams: int, minutes: float, hop: float) -> bool:
    """Run all clients; whether nothing was missing."""
    clients = [Listener(number, 60 * minutes, hop) for number in range(streams)]
    running = asyncio.gather(*(client.run() for client in clients))
    print("| minute | events | median, ms | 99 %, ms | most, ms | MB | share of all cores |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    before, _ = used(process)
    for minute in range(int(np.ceil(minutes))):
        await asyncio.sleep(60 if minute < minutes - 1 else 60 * (minutes - minute))
        after, megabytes = used(process)
        delays = np.array([delay for client in clients for at, delay in client.delays if at == minute])
        middle, late, most = (1000 * np.quantile(delays, [0.5, 0.99, 1])) if len(delays) else (np.nan,) * 3
        share = (after - before) / (60 * min(1, minutes - minute)) / (os.cpu_count() or 1)
        before = after
        times = f"{middle:.0f} | {late:.0f} | {most:.0f}"
        print(f"| {minute + 1} | {len(delays)} | {times} | {megabytes:.0f} | {share:.0%} |", flush=True)
    await running
    missing = sum(client.missing for client in clients)
    print(f"\n{streams} streams, an event each {hop:g} s; missing: {missing}")
    return not missing


def main() -> int:
    """Start a service, and listen to it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--hop", type=float, default=0.1)
    given = parser.parse_args()
    command = [sys.executable, "-c", "from emofocus.cli.main import main; main()", "serve", "--port", str(PORT)]
    command += ["--streams", str(given.streams), "--rate", "1e6"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as service:
        try:
            for _ in range(300):
                try:
                    httpx.get(f"http://127.0.0.1:{PORT}/readyz", trust_env=False).raise_for_status()
                    break
                except httpx.HTTPError:
                    time.sleep(0.1)
            good = asyncio.run(listen(service.pid, given.streams, given.minutes, given.hop))
        finally:
            service.terminate()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
