"""The page in a real browser: Debian's Chromium, headless, with a file for a microphone."""

import base64
import contextlib
import functools
import http.server
import json
import re
import shutil
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from emofocus import Recognizer, audio
from emofocus.serving.limits import Limits
from emofocus.serving.tokens import Tokens, add_token
from emofocus.serving.web_page import FOLDER
from helpers.paths import EXAMPLES, ROOT
from helpers.serving import Service, running
from helpers.untrained import config_of, saved, untrained

sys.path.insert(0, str(ROOT / "page"))
from model_files import write as write_model_files

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or ""
pytestmark = [
    pytest.mark.xdist_group("page"),
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed"),
    pytest.mark.skipif(not (FOLDER / "index.html").is_file(), reason="the page is not built: make page"),
]
CLIP = EXAMPLES / "slow-and-low.wav"
SECONDS = 60_000
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
]


class Visit:
    """A page that is open, what it said to its console, and what it asked for."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.console: list[str] = []
        self.asked: list[str] = []
        page.set_default_timeout(SECONDS)
        page.on("console", lambda message: self.console.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.console.append(f"error: {error}"))
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("websocket", lambda socket: self.asked.append(socket.url))

    def open(self, url: str) -> "Visit":
        self.page.goto(url)
        return self

    def hear(self, path: Path) -> tuple[str, dict[str, float]]:
        """Upload a file; the label, and scores in percent as they are shown."""
        before = self.page.inner_text("#status")
        self.page.set_input_files("#file", path)
        self.page.wait_for_function(
            "before => { const now = document.getElementById('status').innerText;"
            " return now !== before && now.startsWith('Recognized'); }",
            arg=before,
        )
        return self.page.inner_text("#answer strong"), self.scores()

    def scores(self) -> dict[str, float]:
        rows = self.page.locator("#scores tr").all_inner_texts()
        found = [re.fullmatch(r"(\w+)\s+([\d.]+) %", row.strip()) for row in rows]
        return {row[1]: float(row[2]) / 100 for row in found if row}

    def errors(self) -> list[str]:
        return [line for line in self.console if not line.startswith(("log", "info", "debug", "verbose"))]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        microphone = f"--use-file-for-fake-audio-capture={CLIP}"
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, microphone])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any, service: Service) -> Iterator[Visit]:
    context = browser.new_context(permissions=["microphone"])
    yield Visit(context.new_page()).open(service.url)
    context.close()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["browser", "server"])
def test_a_file_is_heard_as_python_hears_it(visit: Visit, recognizer: Recognizer, engine: str) -> None:
    visit.page.locator(f"input[value={engine}]").check()
    for clip in sorted(EXAMPLES.glob("*.wav")):
        label, scores = visit.hear(clip)
        expected = recognizer(clip)
        assert label == expected.label
        assert scores == pytest.approx(expected.scores, abs=0.006)  # percent, as shown
    assert visit.page.locator("#charts canvas").count() == 4
    assert visit.errors() == []


@pytest.mark.slow
def test_browser_server_and_python_agree(service: Service, browser: Any, recognizer: Recognizer, data: Path) -> None:
    """On ten real clips, within a thousandth."""
    context = browser.new_context()
    page = Visit(context.new_page()).open(service.url).page
    for clip in sorted((data / "ravdess").rglob("*.flac"))[::140][:10]:
        told = page.evaluate(BOTH, [list(clip.read_bytes())])
        expected = recognizer.explain(clip)
        for found in told:
            assert found["scores"] == pytest.approx(expected.prediction.scores, abs=1e-3)
            assert found["label"] == expected.prediction.label
            assert len(found["timeline"]) == len(expected.prediction.timeline)
            assert found["listening"]["loudest"] == pytest.approx(expected.loudest, abs=1e-3)
            for name in ("centre", "scope", "gates"):
                assert _flat(found["listening"][name]) == pytest.approx(getattr(expected, name).ravel(), abs=1e-3)
            heard = [float("nan") if value is None else value for value in found["listening"]["attention"]]
            assert heard == pytest.approx(list(expected.attention), abs=2e-2, nan_ok=True)
    context.close()


@pytest.mark.slow
def test_the_browser_warns_as_python_does(
    service: Service, browser: Any, recognizer: Recognizer, tmp_path: Path
) -> None:
    voice, rate = soundfile.read(CLIP, dtype="float32")
    noise = np.random.default_rng(0).normal(0, 1, 3 * rate).astype(np.float32)
    altered = {
        "soft": voice * 0.002,
        "clipped": (5 * voice).clip(-0.5, 0.5),
        "narrow": soxr.resample(soxr.resample(voice, rate, 8_000), 8_000, rate),
        "noisy": 0.1 * noise,
        "offset": voice + np.float32(0.01),
        "sparse": np.concatenate([voice, 1e-4 * noise, 1e-4 * noise, 1e-4 * noise, 1e-4 * noise, 1e-4 * noise]),
        "inverted": np.stack([voice, -0.98 * voice], axis=1),
    }
    context = browser.new_context()
    page = Visit(context.new_page()).open(service.url).page
    for kind, samples in altered.items():
        path = tmp_path / f"{kind}.wav"
        soundfile.write(path, samples, rate, subtype="FLOAT")
        told = page.evaluate(BOTH, [list(path.read_bytes())])
        expected = list(recognizer(path).warnings)
        assert any(words.startswith(kind) for words in expected)
        assert told[0]["warnings"] == told[1]["warnings"] == expected
    context.close()


@pytest.mark.slow
def test_the_browser_mixes_channels_as_python_does(browser: Any, service: Service, tmp_path: Path) -> None:
    left = np.random.default_rng(0).normal(0, 0.1, 25 * 16_000).astype(np.float32)
    sign = np.where(np.arange(len(left)) < 12 * 16_000, 1, -0.9).astype(np.float32)
    page = Visit(browser.new_context().new_page()).open(service.url).page
    for right in (-0.98 * left, sign * left, np.roll(left, 40)):
        path = tmp_path / "stereo.wav"
        soundfile.write(path, np.stack([left, right], axis=1), 16_000)
        with warnings.catch_warnings(action="ignore"):
            expected = audio.load(path)
        decoded = page.evaluate(DECODED, base64.b64encode(path.read_bytes()).decode())
        np.testing.assert_allclose(decoded, expected[::100], atol=1e-4)


DECODED = """async (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const { samples } = await window.emofocus.decode(new Blob([bytes]));
    return Array.from(samples).filter((_, place) => place % 100 === 0);
}"""

BOTH = """async ([bytes]) => {
    const file = new Blob([new Uint8Array(bytes)]);
    const { browser, server, decode } = window.emofocus;
    const clip = { name: "clip", file, ...(await decode(file)) };
    return [await browser.recognize(clip), await server.recognize(clip)];
}"""


def _flat(rows: list[list[float]]) -> list[float]:
    return [value for row in rows for value in row]


@pytest.mark.slow
def test_in_browser_mode_nothing_leaves_this_machine(visit: Visit, service: Service) -> None:
    visit.hear(CLIP)
    _listen(visit)
    assert visit.asked
    assert all(url.startswith((service.url, "blob:")) for url in visit.asked)
    assert not any("/v1/recognize" in url or "/v1/stream" in url for url in visit.asked)
    assert "your voice never leaves this machine" in visit.page.inner_text("#where")
    assert visit.errors() == []


@contextlib.contextmanager
def plain_files(folder: Path) -> Iterator[str]:
    """A host of a folder and nothing else."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as files:
        threading.Thread(target=files.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{files.server_port}/"
        files.shutdown()


@pytest.mark.slow
def test_it_runs_as_plain_files_without_a_service(browser: Any) -> None:
    with plain_files(FOLDER) as url:
        context = browser.new_context()
        visit = Visit(context.new_page()).open(url)
        assert visit.hear(CLIP)[0]
        assert not visit.page.locator("#engines").is_visible()
        assert visit.errors() == []
        context.close()


@pytest.mark.slow
def test_it_runs_another_model_than_the_shipped_one(browser: Any, tmp_path: Path) -> None:
    """The paper's network, of half a second of MFCCs, with other labels."""
    config = config_of("mhsa-faca", ("calm", "upset", "other"))
    model = saved(tmp_path, untrained(config), config)
    shutil.copytree(FOLDER, tmp_path / "page")
    write_model_files(model, tmp_path / "page")
    expected = Recognizer.from_pretrained(model, threads=1)(CLIP)
    with plain_files(tmp_path / "page") as url:
        context = browser.new_context(permissions=["microphone"])
        visit = Visit(context.new_page()).open(url)
        label, scores = visit.hear(CLIP)
        assert label == expected.label
        assert scores == pytest.approx(expected.scores, abs=5.1e-3)  # whole percents are shown
        _listen(visit, emotions=3)
        assert visit.errors() == []
        context.close()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["browser", "server"])
def test_live_speech_is_told_while_it_is_spoken(visit: Visit, engine: str) -> None:
    visit.page.locator(f"input[value={engine}]").check()
    _listen(visit)
    assert visit.errors() == []
    assert visit.page.inner_text("#error") == ""


def _listen(visit: Visit, emotions: int = 8) -> None:
    page = visit.page
    page.get_by_role("button", name="Listen live").click()
    page.wait_for_function(
        "() => !['nothing yet', 'no speech'].includes(document.getElementById('live-emotion').innerText)"
    )
    assert page.locator("#live-scores tr").count() == emotions
    page.get_by_role("button", name="Stop listening").click()
    page.get_by_role("button", name="Listen live").wait_for()


@pytest.mark.slow
def test_a_recording_is_made_and_heard(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="Record", exact=True).click()
    page.get_by_role("button", name="Stop recording").wait_for()
    page.wait_for_timeout(2500)
    page.get_by_role("button", name="Stop recording").click()
    page.wait_for_function("() => document.getElementById('answer').innerText.startsWith('your recording')")
    assert visit.errors() == []


@pytest.mark.slow
def test_a_file_that_is_no_audio_is_told_and_the_next_one_is_heard(visit: Visit, tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no audio")
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, [0.0] * 16_000, 16_000)
    for path, words in ((bad, "no audio that the browser can decode"), (silent, "silent")):
        visit.page.set_input_files("#file", path)
        visit.page.get_by_role("alert").filter(has_text=words).wait_for()
    assert visit.hear(CLIP)[0]
    assert visit.page.inner_text("#error") == ""
    assert visit.errors() == []


@pytest.mark.slow
def test_a_service_with_tokens_is_asked_with_one(browser: Any, recognizer: Recognizer, tmp_path: Path) -> None:
    token = add_token(tmp_path / "tokens", "ours")
    with running(recognizer, Limits(rate=1e6), tokens=Tokens(tmp_path / "tokens")) as service:
        context = browser.new_context(permissions=["microphone"])
        visit = Visit(context.new_page()).open(service.url)
        visit.page.locator("input[value=server]").check()
        visit.page.set_input_files("#file", CLIP)
        visit.page.get_by_role("alert").filter(has_text="this service needs a token").wait_for()
        visit.page.fill("#token", token)
        assert visit.hear(CLIP)[0]
        _listen(visit)
        context.close()


@pytest.mark.slow
def test_it_can_be_used_with_the_keyboard_and_read_aloud(visit: Visit) -> None:
    page = visit.page
    names = []
    for _ in range(12):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.id || document.activeElement.innerText"))
    assert {"file", "record", "live", "plain"} <= set(names)
    page.get_by_role("button", name="plain").focus()
    page.keyboard.press("Enter")
    page.get_by_role("status").filter(has_text="Recognized plain").wait_for()
    assert page.get_by_role("img").count() >= 4
    assert page.get_by_role("table").first.is_visible()
    unnamed = "[...document.querySelectorAll('button, input')].filter(e => !(e.labels?.length || e.innerText)).length"
    assert page.evaluate(unnamed) == 0


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen(service: Service, browser: Any, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    visit = Visit(context.new_page()).open(service.url)
    visit.hear(CLIP)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_the_pages_own_script_is_small() -> None:
    import gzip

    scripts = [path for path in (FOLDER / "assets").glob("*.js") if "worklet" not in path.name]
    assert sum(len(gzip.compress(path.read_bytes())) for path in scripts) < 300_000
    assert json.loads((FOLDER / "model" / "config.json").read_text())["format"] == "emofocus/1"
