"""Pictures of the page for docs/gallery.md: ``python docs/make_page_pictures.py URL`` of a running `emofocus serve`."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

OUT = Path(__file__).parent / "images" / "gallery"
SIZES = [(1280, 900), (390, 844)]


def main() -> None:
    """One picture for each width, in light and dark, of an example that plays."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        for width, height in SIZES:
            for scheme in ("light", "dark"):
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
                page = context.new_page()
                page.goto(sys.argv[1])
                page.get_by_role("button", name="slow and low").click()
                page.get_by_role("status").filter(has_text="Recognized slow and low").wait_for()
                page.evaluate("() => { document.getElementById('player').currentTime = 1.2; }")
                page.wait_for_timeout(500)
                page.screenshot(path=OUT / f"page-{scheme}-{width}.png", full_page=True)
                context.close()
        browser.close()


if __name__ == "__main__":
    main()
