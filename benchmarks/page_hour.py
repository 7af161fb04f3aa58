"""An hour-long recording in the page: seconds, and memory at its highest.

Run: ``python benchmarks/page_hour.py [--minutes 60] [--engine browser]``; needs Chromium and the page (make page). An
MP3 of real voices over and over, stereo at 44.1 kHz, is chosen as a person would choose it. Memory is what the
processes of the browser hold for themselves and their share of the rest (PSS), every half second. Prints Markdown.
"""

import argparse
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import soundfile
import soxr
from playwright.sync_api import sync_playwright

from emofocus import Recognizer

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from helpers.serving import running

EXAMPLES = Path(__file__).parent.parent / "examples"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
RATE = 44_100
MEGABYTE = 1e6


def write_recording(path: Path, minutes: float) -> None:
    """Write voices over and over, in stereo, block by block."""
    voices = [soundfile.read(clip, dtype="float32") for clip in sorted(EXAMPLES.glob("*.wav"))]
    once = np.concatenate([soxr.resample(voice, rate, RATE) for voice, rate in voices])
    left = round(minutes * 60 * RATE)
    with soundfile.SoundFile(path, "w", RATE, 2, format="MP3") as file:
        while left > 0:
            part = once[:left]
            file.write(np.stack([part, 0.7 * part], axis=1))
            left -= len(part)


class Memory:
    """Memory of all processes below one, in bytes: the highest sum, and the highest of one process."""

    def __init__(self, flag: str) -> None:
        self.flag, self.total, self.page, self.going = flag, 0, 0, True
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        while self.going:
            sizes = [size for size in map(self._of, Path("/proc").glob("[0-9]*")) if size]
            self.total, self.page = max(self.total, sum(sizes)), max(self.page, *sizes, 0)
            time.sleep(0.5)

    def _of(self, process: Path) -> int:
        """Bytes of a process, if the browser's flag is in its command or in that of its parent."""
        try:
            if self.flag not in (process / "cmdline").read_text():
                return 0
            lines = (process / "smaps_rollup").read_text().splitlines()
        except OSError:
            return 0
        return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def measure(url: str, path: Path, engine: str) -> tuple[float, float, Memory, str]:
    """Seconds until the page answers, how often it showed progress, memory, and its answer."""
    flag = f"--user-agent=emofocus-{time.time_ns()}"  # every process of this browser has it
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=[*FLAGS, flag])
        page = browser.new_page()
        page.set_default_timeout(3_600_000)
        page.goto(url)
        page.wait_for_function("() => document.getElementById('loading').hidden")
        if engine == "server":
            page.locator("input[value=server]").check()
        memory = Memory(flag)
        began = time.perf_counter()
        page.set_input_files("#file", path)
        page.locator("#result").wait_for()
        seconds = time.perf_counter() - began
        heap = page.evaluate("performance.memory.usedJSHeapSize")
        memory.going = False
        answer = f"{page.text_content('#answer')}; {page.inner_text('.what')}"
        browser.close()
    return seconds, heap, memory, answer


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--engine", choices=("browser", "server"), default="browser")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, running(Recognizer.from_pretrained(threads=1)) as service:
        path = Path(scratch) / "recording.mp3"
        write_recording(path, given.minutes)
        size = path.stat().st_size
        seconds, heap, memory, answer = measure(service.url, path, given.engine)
    print("| minutes | file, MB | engine | seconds | page's process, MB | all processes, MB | JavaScript heap, MB |")
    print("|---:|---:|---|---:|---:|---:|---:|")
    sizes = (size, memory.page, memory.total, heap)
    megabytes = [f"{value / MEGABYTE:.0f}" for value in sizes]
    print(f"| {given.minutes:g} | {megabytes[0]} | {given.engine} | {seconds:.0f} | {' | '.join(megabytes[1:])} |")
    print(f"\nAnswer: {answer}")


if __name__ == "__main__":
    main()
