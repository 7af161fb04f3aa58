"""The service under load, beside what the same cores do offline, in one run.

Run: ``python benchmarks/service.py [--cores 0] [--load-cores 1] [--seconds 20]``; needs wrk and taskset. The
service, and the offline figure before and after it, run on ``--cores``; wrk, which sends clips of noise of 3.7 s in
16-bit WAV as fast as they are answered, on the others. Prints Markdown: clips a second, their share of the offline
figure, half and 99 % of the times to an answer, and answers by status; first at 1, 2, 4 … clients at a time, then with
more than may be under way.
"""

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import soundfile

RATE, SECONDS, PORT = 16_000, 3.7, 8771

SCRIPT = """
local file = io.open("{path}", "rb")
wrk.method, wrk.body = "POST", file:read("*a")
wrk.headers["Content-Type"] = "audio/wav"
local threads = {{}}
function setup(thread) table.insert(threads, thread) end
function init() statuses = "" counts = {{}} end
function response(status) counts[status] = (counts[status] or 0) + 1
  statuses = "" for k, v in pairs(counts) do statuses = statuses .. k .. "=" .. v .. " " end end
function done(summary, latency)
  local told = "" for _, thread in ipairs(threads) do told = told .. thread:get("statuses") end
  io.write(string.format("DONE %d %f %f %f %s\\n", summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, told)) end
"""

OFFLINE = """
import sys, time, numpy as np
from emofocus import Recognizer
from emofocus.recognition.bulk import recognize_together
recognizer = Recognizer.from_pretrained(threads=int(sys.argv[1]))
clips = list(np.random.default_rng(0).normal(0, 0.1, (32, {samples})).astype(np.float32))
recognize_together(recognizer, clips)
began, count = time.perf_counter(), 0
while time.perf_counter() - began < {seconds}:
    recognize_together(recognizer, clips)
    count += len(clips)
print(count / (time.perf_counter() - began))
"""


def offline(cores: str, seconds: float) -> float:
    """Clips a second of the engine alone, in batches."""
    code = OFFLINE.format(samples=round(SECONDS * RATE), seconds=seconds)
    command = ["taskset", "-c", cores, sys.executable, "-c", code, str(len(cores.split(",")))]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def load(cores: str, clients: int, seconds: float, script: Path) -> tuple[float, float, float, str]:
    """Clips a second, median and 99 % of the times to any answer in ms, and how many there were of each status."""
    command = [
        "taskset",
        "-c",
        cores,
        "wrk",
        "-t1",
        f"-c{clients}",
        f"-d{seconds:g}s",
        "--timeout",
        "60s",
        "-s",
        str(script),
    ]
    text = subprocess.run(
        [*command, f"http://127.0.0.1:{PORT}/v1/recognize"], capture_output=True, text=True, check=True
    ).stdout
    _, taken, middle, late, statuses = re.search(r"DONE (\d+) (\S+) (\S+) (\S+) (.*)", text).groups()  # type: ignore[union-attr]
    good = re.search(r"200=(\d+)", statuses)
    return int(good[1] if good else 0) / float(taken), float(middle), float(late), statuses.strip()


def wait_until_ready() -> None:
    """Until the service takes requests."""
    for _ in range(200):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz") as answer:
                if json.load(answer)["status"] == "ready":
                    return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the service did not come up")


def memory_of(process: int) -> float:
    """Resident megabytes of a process and its children."""
    pids = [process, *map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())]
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", default="0")
    parser.add_argument("--load-cores", default="1")
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    count = len(given.cores.split(","))
    with tempfile.TemporaryDirectory() as scratch:
        clip, script = Path(scratch) / "clip.wav", Path(scratch) / "load.lua"
        file = io.BytesIO()
        soundfile.write(file, np.random.default_rng(0).normal(0, 0.1, round(SECONDS * RATE)), RATE, format="WAV")
        clip.write_bytes(file.getvalue())
        script.write_text(SCRIPT.format(path=clip))
        before = offline(given.cores, given.seconds / 2)
        serve = [sys.executable, "-c", "from emofocus.cli.main import main; main()", "serve", "--port", str(PORT)]
        serve += ["--threads", str(count), "--rate", "1e9", "--requests", "64", "--connections", "4096"]
        with subprocess.Popen(["taskset", "-c", given.cores, *serve], stderr=subprocess.DEVNULL) as service:
            try:
                wait_until_ready()
                load(given.load_cores, 4, 3, script)
                rows = [(c, *load(given.load_cores, c, given.seconds, script)) for c in (1, 2, 4, 8, 16, 32, 64)]
                held = memory_of(service.pid)
                over = load(given.load_cores, 128, given.seconds, script)
                after_load = load(given.load_cores, 8, given.seconds, script)
                grown = memory_of(service.pid)
            finally:
                service.terminate()
        alone = (before + offline(given.cores, given.seconds / 2)) / 2
    print(f"offline: {alone:.1f} clips a second, {alone * SECONDS:.0f} times real time, on {count} core(s)\n")
    print("| clients | clips / s | of offline | median, ms | 99 %, ms | statuses |\n|---:|---:|---:|---:|---:|---|")
    for clients, speed, middle, late, statuses in [*rows, (128, *over), (8, *after_load)]:
        print(f"| {clients} | {speed:.1f} | {speed / alone:.0%} | {middle:.0f} | {late:.0f} | {statuses} |")
    print(f"\nmemory with its decoders: {held:.0f} MB after 64 clients, {grown:.0f} MB after 128")


if __name__ == "__main__":
    main()
