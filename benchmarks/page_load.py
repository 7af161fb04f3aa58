"""The page by itself on a clip of four seconds: from an empty browser to the first result, and further clips.

Run: ``python benchmarks/page_load.py [MODEL_DIRECTORY …] [--rounds 5] [--clips 5]``; needs Chromium and the page (make
page). Without directories, the model with which the page was built is measured. The page's files come from loopback,
each round in a browser that has cached nothing; WebAssembly on one thread. Prints Markdown, medians of rounds: seconds
from the request of the page to what was heard of a clip that is chosen as soon as the page can take one, and seconds
that a further clip takes in the loaded page.
"""

import argparse
import functools
import http.server
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from playwright.sync_api import sync_playwright

from emofocus.serving.web_page import FOLDER

sys.path.insert(0, str(Path(__file__).parent.parent / "page"))
from model_files import write as write_model_files

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]

FURTHER = """async ([bytes, count]) => {
    const { browser, open } = window.emofocus;
    const watch = { signal: new AbortController().signal, report: () => undefined, see: () => undefined };
    const taken = [];
    for (let i = 0; i < count; i++) {
        const file = new Blob([new Uint8Array(bytes)]);
        const began = performance.now();
        await browser.recognize({ name: "clip", file, sound: await open(file) }, watch);
        taken.push((performance.now() - began) / 1000);
    }
    return taken;
}"""
"""Bytes of a clip, times → seconds of each time that the page hears it."""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files, without a line for each."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


def heard(url: str, clip: Path, clips: int) -> tuple[float, list[float]]:
    """Seconds to the first result in a fresh browser, and seconds of further clips."""
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page()
        page.set_default_timeout(120_000)
        began = time.perf_counter()
        page.goto(url, wait_until="commit")
        page.locator("#file").wait_for(state="attached")
        page.wait_for_function("() => window.emofocus")
        page.set_input_files("#file", clip)
        page.get_by_role("status").filter(has_text="Recognized").wait_for()
        taken = time.perf_counter() - began
        further = page.evaluate(FURTHER, [list(clip.read_bytes()), clips])
        browser.close()
    return taken, further


def measured(folder: Path, clip: Path, rounds: int, clips: int) -> str:
    """A row of the table, of the page in a folder."""
    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as files:
        threading.Thread(target=files.serve_forever, daemon=True).start()
        results = [heard(f"http://127.0.0.1:{files.server_port}/", clip, clips) for _ in range(rounds)]
        files.shutdown()
    megabytes = (folder / "model" / "model.onnx").stat().st_size / 1e6
    times = [spread([first for first, _ in results]), spread([item for _, further in results for item in further])]
    return f"{megabytes:.1f} | {rounds} | {times[0]} | {times[1]}"


def spread(times: Sequence[float]) -> str:
    """Median, fastest and slowest."""
    return f"{statistics.median(times):.2f} ({min(times):.2f} … {max(times):.2f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clips", type=int, default=5, help="further clips of a round")
    given = parser.parse_args()
    print("| model | MB of its graph | rounds | first result, s | further clip, s |\n|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as scratch:
        clip = Path(scratch) / "clip.wav"
        soundfile.write(clip, np.random.default_rng(0).normal(0, 0.1, 4 * 16_000), 16_000)
        for number, model in enumerate(given.models or [None]):
            folder = FOLDER
            if model is not None:
                folder = Path(scratch) / str(number)
                shutil.copytree(FOLDER, folder)
                write_model_files(model, folder)
            name = "the page's own" if model is None else model.name
            print(f"| {name} | {measured(folder, clip, given.rounds, given.clips)} |", flush=True)


if __name__ == "__main__":
    main()
