"""Pictures of the page for docs/gallery.md: ``python docs/make_page_pictures.py URL`` of a running `emofocus serve`."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from emofocus.cli.explain import explain_clip

ROOT = Path(__file__).parent.parent
OUT = Path(__file__).parent / "images" / "gallery"
HEIGHTS = {1280: 800, 768: 1024, 360: 740}
VOICE = ROOT / "examples" / "angry-woman.wav"
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *(
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={VOICE}",
    ),
]


def first_screen(page: Any) -> None:
    """The page as it is met."""
    page.wait_for_function("() => document.getElementById('loading').hidden")


def result(page: Any) -> None:
    """An example, with a moment pointed at and the folded part open."""
    page.locator("#examples button").first.click()
    page.locator("#result").wait_for()
    page.locator("details.listened summary").click()
    page.locator(".timeline").hover(position={"x": 150, "y": 80})


def several(page: Any) -> None:
    """Several files, one of which is no audio."""
    bad = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no audio"}
    clips = [
        {"name": clip.name, "mimeType": "audio/wav", "buffer": clip.read_bytes()}
        for clip in sorted((ROOT / "examples").glob("*.wav"))
    ]
    page.set_input_files("#file", [*clips, bad])
    page.wait_for_function("() => !document.querySelector('#list .file:disabled')")


def recording(page: Any) -> None:
    """A microphone that is on."""
    page.locator("#record").click()
    page.wait_for_function("() => document.getElementById('clock').innerText >= '0:02'")


def live(page: Any) -> None:
    """Live speech, while it is spoken."""
    page.locator("#live").click()
    page.locator("#live-emotion").wait_for()
    page.wait_for_timeout(6_000)


FLOWS: dict[str, Callable[[Any], None]] = {
    "start": first_screen,
    "result": result,
    "files": several,
    "recording": recording,
    "live": live,
}


def explained(browser: Any) -> None:
    """The file that `emofocus explain` writes of the example that the microphone hears."""
    with TemporaryDirectory() as folder:
        page = browser.new_page(viewport={"width": 1000, "height": 800})
        page.goto(explain_clip(VOICE, [None], Path(folder) / "page.html").as_uri())
        page.wait_for_timeout(500)
        page.screenshot(path=OUT / "page.png", full_page=True)
        page.close()
    shrink(OUT / "page.png")


def shrink(path: Path) -> None:
    """Write a picture with 256 colors: the most frequent ones, so that those of emotions stay apart."""
    picture = Image.open(path).convert("RGB")
    picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)


SHOWN = [
    *(("start", 1280, "light"), ("start", 360, "light"), ("result", 1280, "light"), ("result", 1280, "dark")),
    *(("result", 768, "light"), ("result", 360, "dark"), ("files", 1280, "light"), ("recording", 768, "dark")),
    ("live", 768, "light"),
]
"""Flow, width and colors of each picture."""


def main() -> None:
    """Draw the pictures, or those whose names follow the address."""
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for name, width, scheme in SHOWN:
            if sys.argv[2:] and name not in sys.argv[2:]:
                continue
            size = {"width": width, "height": HEIGHTS[width]}
            context = browser.new_context(viewport=size, color_scheme=scheme, permissions=["microphone"])
            page = context.new_page()
            page.set_default_timeout(120_000)
            page.goto(sys.argv[1])
            FLOWS[name](page)
            page.wait_for_timeout(500)
            path = OUT / f"page-{name}-{scheme}-{width}.png"
            page.screenshot(path=path, full_page=True)
            shrink(path)
            context.close()
        if not sys.argv[2:] or "explained" in sys.argv[2:]:
            explained(browser)
        browser.close()


if __name__ == "__main__":
    main()
