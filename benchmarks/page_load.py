"""From an empty browser to the first result: the page by itself, on a clip of four seconds.

Run: ``python benchmarks/page_load.py [--rounds 5]``; needs Chromium and the page (make page). The page's files come
from loopback, each round in a browser that has cached nothing. Prints Markdown: seconds from the request of the page
to what was heard of a clip that is chosen as soon as the page can take one.
"""

import argparse
import functools
import http.server
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import soundfile
from playwright.sync_api import sync_playwright

from emofocus.serving.web_page import FOLDER

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files, without a line for each."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


def first_result(url: str, clip: Path) -> float:
    """Seconds in a fresh browser."""
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page()
        began = time.perf_counter()
        page.goto(url, wait_until="commit")
        page.locator("#file").wait_for(state="attached")
        page.wait_for_function("() => window.emofocus")
        page.set_input_files("#file", clip)
        page.get_by_role("status").filter(has_text="Recognized").wait_for()
        taken = time.perf_counter() - began
        browser.close()
    return taken


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    handler = functools.partial(Quiet, directory=FOLDER)
    with (
        tempfile.TemporaryDirectory() as scratch,
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as files,
    ):
        clip = Path(scratch) / "clip.wav"
        soundfile.write(clip, np.random.default_rng(0).normal(0, 0.1, 4 * 16_000), 16_000)
        threading.Thread(target=files.serve_forever, daemon=True).start()
        times = [first_result(f"http://127.0.0.1:{files.server_port}/", clip) for _ in range(given.rounds)]
        files.shutdown()
    print("| rounds | median, s | fastest | slowest |\n|---:|---:|---:|---:|")
    print(f"| {len(times)} | {statistics.median(times):.2f} | {min(times):.2f} | {max(times):.2f} |")


if __name__ == "__main__":
    main()
