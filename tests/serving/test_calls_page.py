"""The page at /docs: it describes every call, without another host."""

import shutil

import pytest

from emofocus.serving.web_page import CALLS, CALLS_NOT_BUILT, FOLDER
from helpers.serving import Service

BUILT = (FOLDER / "docs" / "swagger-ui-bundle.js").is_file()
CHROMIUM = shutil.which("chromium") or ""


def test_it_is_there_or_says_how_to_build_it(service: Service) -> None:
    with service.client() as client:
        answer = client.get("/docs")
    assert answer.text == (CALLS if BUILT else CALLS_NOT_BUILT)
    assert "://" not in CALLS  # no other host
    assert "default-src" in answer.headers["Content-Security-Policy"]


@pytest.mark.slow
@pytest.mark.skipif(not BUILT, reason="the page is not built: make page")
@pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")
def test_it_shows_every_call_and_asks_no_other_host(service: Service) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    asked, said = [], []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.goto(f"{service.url}/docs")
        page.wait_for_selector("[data-path='/v1/recognize']")
        shown = page.inner_text("#calls")
        browser.close()
    assert all(path in shown for path in ("/v1/recognize", "/v1/models", "/healthz", "/readyz", "/metrics"))
    assert [url for url in asked if not url.startswith((service.url, "data:"))] == []
    assert said == []
