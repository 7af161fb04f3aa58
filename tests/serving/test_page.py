"""The page in a real browser: Debian's Chromium, headless, with a file for a microphone."""

import base64
import contextlib
import functools
import http.server
import io
import json
import re
import shutil
import sys
import threading
import warnings
import wave
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
from helpers.adaptable import adaptable_model, talk
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
CLIP = EXAMPLES / "angry-woman.wav"
SECONDS = 180_000
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
        return self.answer(), self.scores()

    def answer(self) -> str:
        return str(self.page.text_content("#answer strong"))

    def scores(self) -> dict[str, float]:
        rows = self.page.locator("#result .scores tr").all_inner_texts()
        found = [re.fullmatch(r"(\w+)\s+([\d.]+) %", row.strip()) for row in rows]
        return {row[1]: float(row[2]) / 100 for row in found if row}

    def choose(self, engine: str) -> None:
        """The engine, once the page knows that there is a choice."""
        self.page.locator(f"input[value={engine}]").check()

    def trouble(self, words: str) -> None:
        """Wait for an error of some words, which stands in the place of the old answer."""
        self.page.get_by_role("alert").filter(has_text=words).wait_for()
        assert not self.page.locator("#result").is_visible()

    def strangers(self) -> list[str]:
        """Addresses on other hosts that were asked for anything."""
        own = self.page.url.split("/")[2]
        return [url for url in self.asked if not url.startswith("blob:") and url.split("/")[2] != own]

    def saved(self, button: str) -> bytes:
        """The file that a button of the result saves."""
        keep = self.page.locator("details.keep")
        if keep.get_attribute("open") is None:
            keep.locator("summary").click()
        with self.page.expect_download() as found:
            self.page.get_by_role("button", name=button).click()
        return Path(found.value.path()).read_bytes()

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
    """The page, which may say nothing to its console and ask no other host, whatever a test does with it."""
    context = browser.new_context(permissions=["microphone"])
    visit = Visit(context.new_page()).open(service.url)
    yield visit
    assert visit.strangers() == []
    assert visit.errors() == []
    context.close()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["browser", "server"])
def test_a_file_is_heard_as_python_hears_it(visit: Visit, recognizer: Recognizer, engine: str) -> None:
    visit.choose(engine)
    for clip in sorted(EXAMPLES.glob("*.wav")):
        label, scores = visit.hear(clip)
        expected = recognizer(clip)
        assert label == expected.label
        assert scores == pytest.approx(expected.scores, abs=0.006)  # percent, as shown
    assert visit.page.locator(".timeline canvas").is_visible()


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
        # Its features remove an offset: nothing is to be said of it.
        assert any(words.startswith(kind) for words in expected) == (kind != "offset")
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
    const found = [];
    const sound = await window.emofocus.open(new Blob([bytes]));
    for await (const samples of sound.blocks()) for (const sample of samples) found.push(sample);
    return found.filter((_, place) => place % 100 === 0);
}"""

BOTH = """async ([bytes]) => {
    const file = new Blob([new Uint8Array(bytes)]);
    const { browser, server, open } = window.emofocus;
    const clip = async () => ({ name: "clip", file, sound: await open(file) });
    const watch = { signal: new AbortController().signal, report: () => undefined, see: () => undefined };
    return [await browser.recognize(await clip(), watch), await server.recognize(await clip(), watch)];
}"""


HEARD = """async ([bytes]) => {
    const { browser, open } = window.emofocus;
    const clip = { name: "clip", file: null, sound: await open(new Blob([new Uint8Array(bytes)])) };
    const watch = { signal: new AbortController().signal, report: () => undefined, see: () => undefined };
    return (await browser.recognize(clip, watch)).warnings;
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
    assert "Your voice never leaves this machine" in visit.page.inner_text("#where")


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
        voice, rate = soundfile.read(CLIP, dtype="float32")
        soundfile.write(tmp_path / "offset.wav", voice + np.float32(0.01), rate, subtype="FLOAT")
        told = visit.page.evaluate(HEARD, [list((tmp_path / "offset.wav").read_bytes())])
        assert [words.partition(":")[0] for words in told] == ["offset"], "its features keep an offset"
        _listen(visit, emotions=3)
        assert visit.errors() == []
        context.close()


@pytest.mark.slow
def test_a_voice_is_adapted_to_as_in_python(
    browser: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Within a thousandth, by recordings of any length; and forgotten when it is asked for."""
    voices = [tmp_path / "first.wav", tmp_path / "second.wav"]
    for path, seconds, seed in zip(voices, (14.0, 3.0), (1, 3), strict=True):
        soundfile.write(path, talk(seconds, seed), 16_000)
    with adaptable_model(tmp_path_factory) as model:
        recognizer = Recognizer.from_pretrained(model, threads=1)
        shutil.copytree(FOLDER, tmp_path / "page")
        write_model_files(model, tmp_path / "page")
    mine = recognizer.adapt(voices)
    expected = [each(CLIP).to_dict() for each in (recognizer, mine, recognizer)]
    with plain_files(tmp_path / "page") as url:
        context = browser.new_context(permissions=["microphone"])
        visit = Visit(context.new_page()).open(url)
        told = visit.page.evaluate(ADAPTED, [[list(path.read_bytes()) for path in voices], list(CLIP.read_bytes())])
        for found, wanted in zip(told["found"], expected, strict=True):
            assert found["scores"] == pytest.approx(wanted["scores"], abs=1e-3)
            for segment, other in zip(found["timeline"], wanted["timeline"], strict=True):
                assert segment["scores"] == pytest.approx(other["scores"], abs=1e-3)
        assert told["profile"]["seconds"] == pytest.approx(mine.profile.seconds, abs=1e-3)
        np.testing.assert_allclose(told["statistics"], mine.profile.statistics.ravel(), atol=1e-3)
        visit.page.set_input_files("#voice-files", voices)
        visit.page.get_by_text("Adapted to 17 s of speech").wait_for()
        assert visit.hear(CLIP)[1] == pytest.approx(expected[1]["scores"], abs=5.1e-3)  # whole percents are shown
        _listen(visit)
        visit.page.get_by_role("button", name="Forget the voice").click()
        assert visit.hear(CLIP)[1] == pytest.approx(expected[0]["scores"], abs=5.1e-3)
        assert visit.errors() == []
        context.close()


ADAPTED = """async ([voices, bytes]) => {
    const { browser, open } = window.emofocus;
    const watch = { signal: new AbortController().signal, report: () => undefined, see: () => undefined };
    const clip = async (bytes) => {
        const file = new Blob([new Uint8Array(bytes)]);
        return { name: "clip", file, sound: await open(file) };
    };
    const found = [await browser.recognize(await clip(bytes), watch)];
    let profile = null;
    for (const voice of voices) profile = await browser.adapt(await clip(voice), watch);
    found.push(await browser.recognize(await clip(bytes), watch));
    await browser.forget();
    found.push(await browser.recognize(await clip(bytes), watch));
    return { found, profile, statistics: Array.from(profile.statistics) };
}"""


@pytest.mark.slow
def test_a_model_that_cannot_be_adapted_offers_no_voice(visit: Visit, recognizer: Recognizer) -> None:
    if recognizer.engine.adaptable:
        pytest.skip("the shipped model can be adapted")
    visit.hear(CLIP)
    assert not visit.page.locator("#voice").is_visible()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["browser", "server"])
def test_live_speech_is_told_while_it_is_spoken(visit: Visit, engine: str) -> None:
    visit.choose(engine)
    _listen(visit)
    assert visit.page.inner_text("#error") == ""
    # What was heard stays: to be seen, played and kept.
    assert visit.page.locator("#result").is_visible()
    assert visit.page.locator("#play").is_enabled()
    told = json.loads(visit.saved("Everything (JSON)"))
    assert told["timeline"]
    assert told["label"] == visit.answer()
    with wave.open(io.BytesIO(visit.saved("Sound (WAV)"))) as sound:
        assert sound.getnframes() / sound.getframerate() == pytest.approx(told["duration"], abs=0.5)


def _listen(visit: Visit, emotions: int = 8) -> None:
    page = visit.page
    page.locator("#live").click()
    page.wait_for_function("() => (document.getElementById('live-emotion') ?? {}).textContent?.trim()")
    page.wait_for_function("() => document.getElementById('live-emotion').textContent !== 'no speech'")
    assert page.locator("#live-scores tr").count() == emotions
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("status").filter(has_text="is kept below").wait_for()


@pytest.mark.slow
def test_a_recording_is_made_and_heard(visit: Visit) -> None:
    page = visit.page
    page.locator("#record").click()
    page.wait_for_function("() => document.getElementById('clock').innerText >= '0:02'")
    page.wait_for_function("() => document.getElementById('meter').value > -60")  # the microphone beeps once a second
    assert "fake" in page.inner_text("#microphone").lower()  # the choice of microphones
    page.get_by_role("button", name="Pause").click()
    page.wait_for_timeout(300)
    before = page.inner_text("#clock")
    page.wait_for_timeout(1500)
    assert page.inner_text("#clock") == before
    page.get_by_role("button", name="Go on").click()
    page.wait_for_function("before => document.getElementById('clock').innerText !== before", arg=before)
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("status").filter(has_text="Recognized recording").wait_for()
    with wave.open(io.BytesIO(visit.saved("Sound (WAV)"))) as sound:
        assert sound.getnframes() >= 2 * 16_000


@pytest.mark.slow
def test_a_recording_stops_at_its_limit_and_keeps_what_it_has(visit: Visit, service: Service) -> None:
    visit.open(f"{service.url}/?longest=2")
    visit.page.locator("#record").click()
    visit.page.locator("#result").wait_for()
    with wave.open(io.BytesIO(visit.saved("Sound (WAV)"))) as sound:
        assert sound.getnframes() / 16_000 == pytest.approx(2.0, abs=0.11)


@pytest.mark.slow
def test_a_discarded_recording_leaves_nothing(visit: Visit) -> None:
    visit.page.locator("#record").click()
    visit.page.get_by_role("button", name="Discard").click()
    visit.page.get_by_role("status").filter(has_text="discarded").wait_for()
    assert not visit.page.locator("#capture").is_visible()
    assert not visit.page.locator("#result").is_visible()


@pytest.mark.slow
def test_an_error_replaces_the_old_answer_and_says_what_to_do(visit: Visit, tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no audio")
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, [0.0] * 16_000, 16_000)
    visit.hear(CLIP)
    for path, words in ((bad, "This browser cannot read the file. Try a WAV"), (silent, "only silence")):
        visit.page.set_input_files("#file", path)
        visit.trouble(words)
    assert visit.hear(CLIP)[0]
    assert visit.page.inner_text("#error") == ""


@pytest.mark.slow
def test_what_the_browser_cannot_read_is_sent_to_the_service_only_on_a_click(visit: Visit, tmp_path: Path) -> None:
    """A file of Core Audio: no browser reads it, and the service does."""
    voice, rate = soundfile.read(CLIP)
    path = tmp_path / "clip.caf"
    soundfile.write(path, voice, rate)
    visit.page.locator("#engines").wait_for()
    visit.page.set_input_files("#file", path)
    visit.trouble("cannot read the file")
    assert not any("/v1/recognize" in url for url in visit.asked)
    visit.page.get_by_role("button", name="Send it to the service").click()
    visit.page.locator("#result").wait_for()
    assert any("/v1/recognize" in url for url in visit.asked)
    assert visit.answer()


@pytest.mark.slow
def test_a_service_that_is_gone_is_said_in_plain_words(browser: Any, recognizer: Recognizer) -> None:
    context = browser.new_context()
    with running(recognizer, Limits(rate=1e6)) as service:
        visit = Visit(context.new_page()).open(service.url)
        visit.choose("server")
    visit.page.set_input_files("#file", CLIP)
    visit.trouble("Cannot reach the service. Check the connection")
    context.close()


@pytest.mark.slow
def test_several_files_are_a_list_and_one_failure_costs_no_other(visit: Visit, tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no audio")
    clips = sorted(EXAMPLES.glob("*.wav"))
    visit.page.set_input_files("#file", [clips[0], bad, *clips[1:]])
    rows = visit.page.locator("#list .file")
    visit.page.wait_for_function("() => !document.querySelector('#list .file:disabled')")
    told = rows.all_inner_texts()
    assert len(told) == 1 + len(clips)
    assert "cannot read" in told[1]
    assert all("%" in text for number, text in enumerate(told) if number != 1)
    rows.nth(0).click()
    assert clips[0].name in visit.page.inner_text("#result .what")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["browser", "server"])
def test_a_long_recording_is_heard_in_parts_as_python_hears_it(
    visit: Visit, recognizer: Recognizer, engine: str, tmp_path: Path
) -> None:
    """Three minutes of stereo at another rate: too much to decode whole or to send at once."""
    path = _long(tmp_path, 3)
    visit.choose(engine)
    label, scores = visit.hear(path)
    expected = recognizer(path)
    assert label == expected.label
    assert scores == pytest.approx(expected.scores, abs=0.01)  # another resampler, and whole percents
    told = json.loads(visit.saved("Everything (JSON)"))
    assert told["duration"] == pytest.approx(expected.duration, abs=0.01)
    assert len(told["timeline"]) == len(expected.timeline)
    near = [
        abs(a["scores"][b.label] - b.scores[b.label]) for a, b in zip(told["timeline"], expected.timeline, strict=True)
    ]
    assert max(near) < 0.05
    assert len(told["listening"]["attention"]) == len(told["listening"]["frames"])


def _long(folder: Path, minutes: int) -> Path:
    """Real voices, over and over, in stereo at 22.05 kHz."""
    voices = [soundfile.read(clip, dtype="float32")[0] for clip in sorted(EXAMPLES.glob("*.wav"))]
    once = np.concatenate([soxr.resample(voice, 16_000, 22_050) for voice in voices])
    mono = np.tile(once, 1 + minutes * 60 * 22_050 // len(once))[: minutes * 60 * 22_050]
    soundfile.write(folder / "long.wav", np.stack([mono, 0.5 * mono], axis=1), 22_050)
    return folder / "long.wav"


@pytest.mark.slow
def test_a_long_recording_shows_its_progress_and_can_be_canceled(visit: Visit, tmp_path: Path) -> None:
    visit.page.set_input_files("#file", _long(tmp_path, 20))
    visit.page.wait_for_function("() => document.getElementById('progress').value > 0.01")
    assert "of 20:00" in visit.page.inner_text("#progress-label")
    visit.page.get_by_role("button", name="Cancel").click()
    visit.trouble("Stopped.")
    assert visit.hear(CLIP)[0]


@pytest.mark.slow
def test_what_was_heard_is_kept_as_files(visit: Visit, recognizer: Recognizer) -> None:
    visit.hear(CLIP)
    expected = recognizer(CLIP)
    told = json.loads(visit.saved("Everything (JSON)"))
    assert told["scores"] == pytest.approx(expected.scores, abs=1e-3)
    rows = visit.saved("Table (CSV)").decode().splitlines()
    assert rows[0].split(",") == ["file", "start", "end", "emotion", *(f"p_{label}" for label in recognizer.labels)]
    assert len(rows) == 1 + len(expected.timeline)
    assert f"--> 00:00:02,{round(1000 * (expected.duration - 2)):03}" in visit.saved("Subtitles (SRT)").decode()
    assert visit.saved("Picture (PNG)").startswith(b"\x89PNG")
    assert "v1/recognize?timeline=true&explain=true" in visit.page.inner_text("details.keep")


@pytest.mark.slow
def test_a_moment_is_read_played_and_zoomed(visit: Visit) -> None:
    visit.hear(CLIP)
    page = visit.page
    picture = page.locator(".timeline")
    picture.hover(position={"x": 200, "y": 60})
    assert re.match(r"0:\d\d\.\d: \w+ [\d.]+ %", page.inner_text(".readout"))
    picture.click(position={"x": 200, "y": 60})
    page.wait_for_function("() => document.getElementById('player').currentTime > 0.1")
    page.get_by_role("button", name="Zoom in").click()
    page.keyboard.press("Tab")
    picture.focus()
    page.keyboard.press("End")
    assert float(str(picture.get_attribute("aria-valuenow"))) == pytest.approx(2.2, abs=0.1)
    page.keyboard.press("ArrowLeft")
    assert "%" in str(picture.get_attribute("aria-valuetext"))
    page.get_by_role("button", name="Show all").click()


@pytest.mark.slow
def test_it_says_how_it_listened_and_what_that_does_not_show(visit: Visit) -> None:
    visit.hear(CLIP)
    box = visit.page.locator("details.listened")
    assert box.get_attribute("open") is None
    box.locator("summary").click()
    told = box.inner_text()
    assert all(words in told for words in ("Focus:", "Calibration:", "What this does not show:"))
    assert box.locator("canvas").is_visible()


@pytest.mark.slow
def test_words_say_what_was_heard_how_sure_when_it_changed_and_what_the_picture_means(visit: Visit) -> None:
    """The four questions of somebody who knows nothing of attention, each answered without a look at the picture."""
    label, scores = visit.hear(CLIP)
    answer = visit.page.inner_text("#result .answer")
    assert label in answer.lower()
    assert f"{round(100 * scores[label])} %" in answer
    assert any(words in answer for words in ("sure", "a guess", "no clear answer"))
    assert "Of ten answers with this number" in answer
    assert "It did not change" in answer or "It changed" in answer
    picture = visit.page.locator(".timeline").get_attribute("aria-label")
    assert all(words in str(picture) for words in ("emotion over time", "less sure", "the sound", "attention"))
    assert "attention" in str(visit.page.locator("details.listened").text_content())


@pytest.mark.slow
def test_reload_works_without_a_network(browser: Any, service: Service) -> None:
    context = browser.new_context()
    visit = Visit(context.new_page()).open(service.url)
    visit.page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    context.set_offline(True)
    visit.page.reload()
    assert visit.hear(CLIP)[0]
    assert not visit.page.locator("#engines").is_visible()
    assert visit.strangers() == []
    context.close()


def test_files_of_the_page_are_made_of_the_shipped_model(tmp_path: Path) -> None:
    """Its input hop is one number without an axis: its last axis was asked for, and no page was built."""
    write_model_files(ROOT / "src" / "emofocus" / "assets" / "default", tmp_path)
    settings = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))["page"]
    assert (settings["voice_size"], settings["frame_size"]) == (0, 120)
    assert settings["bytes"].keys() == {"model.onnx", "live-encode.onnx", "live-classify.onnx"}


def test_webassembly_is_sent_compressed(service: Service) -> None:
    (path,) = (FOLDER / "assets").glob("*.wasm")
    with service.client() as client:
        plain = client.get(f"/assets/{path.name}", headers={"Accept-Encoding": "identity"})
        packed = client.get(f"/assets/{path.name}", headers={"Accept-Encoding": "gzip"})
    assert plain.content == packed.content == path.read_bytes()
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Content-Type"] == plain.headers["Content-Type"] == "application/wasm"
    assert int(packed.headers["Content-Length"]) < 0.3 * int(plain.headers["Content-Length"])


@pytest.mark.slow
def test_a_service_with_tokens_is_asked_with_one(browser: Any, recognizer: Recognizer, tmp_path: Path) -> None:
    token = add_token(tmp_path / "tokens", "ours")
    with running(recognizer, Limits(rate=1e6), tokens=Tokens(tmp_path / "tokens")) as service:
        context = browser.new_context(permissions=["microphone"])
        visit = Visit(context.new_page()).open(service.url)
        visit.choose("server")
        visit.page.set_input_files("#file", CLIP)
        visit.trouble("This service asks for a token.")
        visit.page.fill("#token", token)
        assert visit.hear(CLIP)[0]
        _listen(visit)
        context.close()


@pytest.mark.slow
def test_it_can_be_used_with_the_keyboard_and_read_aloud(visit: Visit) -> None:
    page = visit.page
    names = []
    page.locator("#examples button").first.wait_for()
    for _ in range(12):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.id || document.activeElement.innerText"))
    assert {"file", "record", "live"} <= set(names)
    page.locator("#examples button").first.focus()
    page.keyboard.press("Enter")
    page.get_by_role("status").filter(has_text="Recognized").wait_for()
    assert page.get_by_role("slider").is_visible()
    assert page.get_by_role("table").first.is_visible()
    unnamed = (
        "[...document.querySelectorAll('button, input, select, meter, progress')]"
        ".filter(e => !(e.labels?.length || e.textContent.trim() || e.ariaLabel)).length"
    )
    assert page.evaluate(unnamed) == 0


@pytest.mark.slow
def test_nothing_is_wider_than_the_screen(visit: Visit) -> None:
    visit.hear(CLIP)
    visit.page.locator("details.listened summary").click()
    visit.page.locator("details.keep summary").click()
    for width in (360, 768, 1280):
        visit.page.set_viewport_size({"width": width, "height": 800})
        for scheme in ("light", "dark"):
            visit.page.emulate_media(color_scheme=scheme)
            assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    visit.page.emulate_media(media="print")
    assert visit.page.locator("#answer").is_visible()
    assert not visit.page.locator(".start").is_visible()


def test_the_pages_own_script_is_small() -> None:
    import gzip

    scripts = [path for path in (FOLDER / "assets").glob("*.js") if "worklet" not in path.name]
    assert sum(len(gzip.compress(path.read_bytes())) for path in scripts) < 300_000
    assert json.loads((FOLDER / "model" / "config.json").read_text())["format"] == "emofocus/1"
