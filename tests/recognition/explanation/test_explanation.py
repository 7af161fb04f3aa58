"""What a model listened to: the numbers, the pictures and the page show what is there, and nothing else."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

from emofocus import Recognizer, audio
from emofocus.cli.explain import explain_clip, names_apart, pages
from emofocus.cli.main import app
from emofocus.config import ModelConfig
from emofocus.errors import ConfigError, ModelError, SilentAudioError
from emofocus.export.to_onnx import WaveformClassifier
from emofocus.features.front_end import FrontEnd
from emofocus.models import MODELS, SpeechNetwork, build
from emofocus.models.checkpoint import load_network
from emofocus.recognition.explanation import caption, draw_maps, draw_story, write_page
from emofocus.recognition.explanation.explainer import frame_amplitude, received
from emofocus.recognition.explanation.explanation import Explanation, _brightness
from emofocus.recognition.explanation.figures import edges_of, lanes_of
from emofocus.recognition.recognizer import model_folder
from emofocus.segments import runs
from emofocus.utils.plotting import style
from helpers.speeds import slow_but
from helpers.untrained import LABELS, config_of, saved, untrained

pytestmark = pytest.mark.xdist_group("explanation")

RATE = audio.SAMPLING_RATE


@pytest.fixture(scope="module", params=slow_but(name for name, model in MODELS.items() if model.attends))
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = config_of(request.param)
    return saved(tmp_path_factory.mktemp(request.param), untrained(config), config)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = config_of("mhsa-faca")
    return saved(tmp_path_factory.mktemp("plain"), untrained(config), config)


def force(network: SpeechNetwork, position: float, positions: int) -> None:
    """Make every query of every head attend to one position, by the focus alone."""
    attention = network.attention
    width = attention.query.weight.shape[0]
    with torch.no_grad():
        attention.key.weight.zero_()
        attention.key.bias.zero_()
        attention.query.weight.zero_()
        attention.query.bias.fill_(1.0)
        attention.focus.query_projection.weight.copy_(100 * torch.eye(width))  # tanh of it is one
        attention.focus.mean_projection.weight.zero_()
        share = torch.tensor(position / positions)
        attention.focus.centre_vector.fill_(torch.logit(share) / attention.focus.centre_vector.shape[1])
        attention.focus.scope_vector.fill_(-1.0)  # the narrowest scope there is


def burst(second: float, seconds: float = 2.0) -> np.ndarray:
    """Soft noise with a tone of 5 ms at a known time."""
    generator = np.random.default_rng(0)
    waveform = generator.normal(0, 0.01, round(seconds * RATE)).astype(np.float32)
    times = np.arange(round(0.005 * RATE))
    first = round(second * RATE) - len(times) // 2
    waveform[first : first + len(times)] += 0.8 * np.hanning(len(times)) * np.sin(2 * np.pi * 1000 * times / RATE)
    return waveform


def array(waveform: np.ndarray) -> dict:
    return {"array": waveform, "sampling_rate": RATE}


# ------------------------------------------------------------------ the numbers


def test_maps_are_those_of_the_explicit_form(directory: Path, speech: Path) -> None:
    compare_with_torch(directory, speech)


def test_the_shipped_models_maps_are_those_of_the_explicit_form(speech: Path) -> None:
    compare_with_torch(model_folder(None), speech)


def compare_with_torch(directory: Path, speech: Path) -> None:
    recognizer = Recognizer.from_pretrained(directory)
    found = recognizer.explain(speech)
    network, config = load_network(directory)
    waveform = torch.from_numpy(audio.load(speech))[None]
    with torch.inference_mode():
        expected = WaveformClassifier(network, config).eval()(
            waveform, torch.tensor([waveform.shape[1]]), need_maps=True
        )
    # Rounding of the features moves most what two keys share by halves.
    np.testing.assert_allclose(found.maps, expected.maps.weights[0], atol=2e-5)
    np.testing.assert_allclose(found.features, expected.features[0], atol=1e-2)
    np.testing.assert_allclose(found.prediction.scores[LABELS[0]], recognizer(speech).scores[LABELS[0]], atol=1e-5)
    assert (found.gates is None) == (expected.maps.gates is None)
    assert (found.centre is None) == (expected.maps.centre is None)


def test_rows_sum_to_one_before_calibration(directory: Path, speech: Path) -> None:
    found = Recognizer.from_pretrained(directory).explain(speech)
    np.testing.assert_allclose(found.maps.sum(axis=3), 1.0, atol=1e-5)


def test_padding_gets_no_attention(directory: Path) -> None:
    """A clip shorter than a segment."""
    recognizer = Recognizer.from_pretrained(directory)
    found = recognizer.explain(array(burst(0.1, seconds=0.2)))
    frames = 1 + 3_200 // recognizer.config.features.hop
    positions = -(-frames // recognizer.engine.step)
    assert found.maps.shape[2:] == (positions, positions), "there is no padding: the only segment ends with the clip"
    np.testing.assert_allclose(found.maps.sum(axis=3), 1.0, atol=1e-5)
    np.testing.assert_allclose(found.received.mean(axis=1), 1.0, rtol=1e-5)


def test_every_array_has_its_named_axes(directory: Path, speech: Path) -> None:
    found = Recognizer.from_pretrained(directory).explain(speech)
    places = found.coordinates()
    for name, axes in Explanation.AXES.items():
        values = getattr(found, name)
        if values is not None:
            assert values.shape == tuple(len(places[axis]) for axis in axes), name


@pytest.mark.parametrize("second", [0.2, 0.7313, 1.5])
def test_a_burst_is_found_to_the_frame(plain: Path, second: float) -> None:
    found = Recognizer.from_pretrained(plain).explain(array(burst(second)))
    frame = 0.01
    assert abs(found.loudest - second) < frame / 2
    assert abs(found.frames[found.amplitude.argmax()] - second) <= frame / 2
    starts = found.prediction.timeline.starts
    inside = (starts + frame < second) & (second < starts + 0.49)
    assert inside.any()
    assert np.abs(found.peaks[inside] - second).max() <= frame / 2 + 1e-9
    expected = np.rint((second - starts[inside]) / frame)
    assert np.abs(found.peak_positions[inside] - expected).max() <= 1


def test_the_last_samples_count_for_the_last_frame() -> None:
    waveform = np.zeros(1000, np.float32)
    waveform[999] = -0.5
    amplitude = frame_amplitude(waveform, 160)
    assert len(amplitude) == 7
    assert amplitude.argmax() == 6
    assert amplitude[6] == 0.5


def test_attention_that_is_forced_to_a_frame_shows_everywhere(tmp_path: Path, speech: Path) -> None:
    config = config_of("mhsa-faca")
    network = untrained(config)
    force(network, position=31.0, positions=50)  # counted from 1
    found = Recognizer.from_pretrained(saved(tmp_path, network, config)).explain(speech)
    assert (found.maps.argmax(axis=3) == 30).all()
    assert (found.received.argmax(axis=1) == 30).all()
    starts = found.prediction.timeline.starts
    np.testing.assert_allclose(found.centre - starts[:, None], 0.305, atol=1e-3)  # the middle of the 31st
    np.testing.assert_allclose(found.scope, 0.005, atol=1e-4)
    with style():
        figure = draw_maps([found], seconds=[1.0], heads=[1])
        story = draw_story(found)
    mesh = next(item for axes in figure.axes[1:] for item in axes.collections)
    assert (mesh.get_array().reshape(50, 50).argmax(axis=1) == 30).all()
    line = figure.axes[1].lines[0].get_xdata()[0]
    assert line == pytest.approx((found.peak_positions[found.mapped[found.nearest(1.0)]] + 0.5) * 0.01)
    heads = next(axes for axes in story.axes if axes.get_ylabel() == "heads")
    strips, bars = heads.containers[:2]
    np.testing.assert_allclose([strip.get_x() for strip in strips], starts)
    middles = [bar.get_x() + bar.get_width() / 2 for bar in bars]
    np.testing.assert_allclose(middles - starts, 0.305, atol=1e-3)


def test_attention_over_time_is_the_mean_over_segments_that_count(plain: Path) -> None:
    """Silence before and after: its frames get none, and do not dilute the rest."""
    waveform = np.concatenate([np.zeros(RATE), burst(0.5, 1.0), np.zeros(RATE)]).astype(np.float32)
    found = Recognizer.from_pretrained(plain).explain(array(waveform))
    speech = found.prediction.timeline.speech
    assert not speech.all()
    total, times = np.zeros(len(found.frames)), np.zeros(len(found.frames))
    for number in np.flatnonzero(speech):
        for position in range(50):
            total[10 * number + position] += found.received[number, position]
            times[10 * number + position] += 1
    heard = times > 0
    np.testing.assert_allclose(found.attention[heard], total[heard] / times[heard], rtol=1e-4)
    assert np.isnan(found.attention[~heard]).all()
    assert np.isnan(found.attention[[0, -1]]).all()


def test_gates_weigh_what_is_received() -> None:
    """Head one attends to the first position, head two to the second, with a third of the weight."""
    attention = np.zeros((1, 2, 2, 2), np.float32)
    attention[0, 0, :, 0] = attention[0, 1, :, 1] = 1
    np.testing.assert_allclose(received(attention, None, 2), [[1, 1]])
    np.testing.assert_allclose(received(attention, np.array([[0.6, 0.2]], np.float32), 2), [[1.5, 0.5]])


def test_a_part_is_explained_as_a_clip_of_its_own_at_its_own_time(plain: Path, speech: Path) -> None:
    recognizer = Recognizer.from_pretrained(plain)
    whole = audio.load(speech)
    part = recognizer.explain(speech, start=0.5, end=1.75)
    alone = recognizer.explain(array(whole[8000:28000]))
    np.testing.assert_allclose(part.maps, alone.maps, atol=1e-5)
    assert part.start == 0.5
    assert part.end == pytest.approx(1.75)
    for name in ("frames", "peaks", "centre"):
        np.testing.assert_allclose(getattr(part, name), getattr(alone, name) + 0.5, atol=1e-6)
    assert part.loudest == pytest.approx(alone.loudest + 0.5)
    assert part.prediction.timeline[0].start == 0.5


def test_maps_of_chosen_segments_alone(plain: Path, speech: Path) -> None:
    recognizer = Recognizer.from_pretrained(plain)
    every = recognizer.explain(speech)
    few = recognizer.explain(speech, segments=[1.25, 0.6])
    assert few.mapped.tolist() == [round((0.6 - 0.25) / 0.1), round((1.25 - 0.25) / 0.1)]
    np.testing.assert_array_equal(few.maps, every.maps[few.mapped])
    np.testing.assert_array_equal(few.received, every.received)


def test_blocks_explain_as_one(plain: Path, speech: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = Recognizer.from_pretrained(plain)
    whole = recognizer.explain(speech)
    monkeypatch.setattr("emofocus.recognition.scoring.BLOCK_SAMPLES", 16_000)
    blocks = recognizer.explain(speech)
    np.testing.assert_allclose(blocks.maps, whole.maps, atol=1e-5)
    np.testing.assert_allclose(blocks.attention, whole.attention, atol=1e-4)
    np.testing.assert_allclose(blocks.features, whole.features, atol=1e-3)


# ------------------------------------------------------------------ what cannot be explained


def test_silence_has_nothing_to_attend_to(plain: Path) -> None:
    with pytest.raises(SilentAudioError, match=r"is silent .* nothing to attend to"):
        Recognizer.from_pretrained(plain).explain(array(np.zeros(RATE, np.float32)))


def test_a_model_without_attention_is_refused(tmp_path: Path, speech: Path) -> None:
    config = config_of("reslstm")
    directory = saved(tmp_path, build(config), config)
    with pytest.raises(ModelError, match=r"reslstm has no attention to explain: its model.onnx has no such"):
        Recognizer.from_pretrained(directory).explain(speech)


@pytest.mark.parametrize("name", MODELS)
def test_the_list_of_models_that_attend_is_true(name: str) -> None:
    config = config_of(name)
    features = torch.randn(2, config.segment.frames, FrontEnd(config.features).size)
    with torch.inference_mode():
        maps = build(config).eval()(features, need_maps=True).maps
    assert (maps is not None) == MODELS[name].attends


def test_a_second_outside_the_clip_is_refused(plain: Path, speech: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no second 99 \(valid: 0.00 to "):
        Recognizer.from_pretrained(plain).explain(speech, segments=[99])


# ------------------------------------------------------------------ pictures and pages


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["explain", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("suffix", ["html", "png", "svg", "pdf"])
def test_the_shipped_model_explains_a_clip_in_every_format(speech: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out.{suffix}"
    output = run(speech, "--out", out)
    assert "Heard as" in output
    assert "the loudest moment is at" in output
    first = out.read_bytes()
    begins = {"html": b"<!doctype html>", "png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert first.startswith(begins[suffix])
    run(speech, "--out", out)
    assert out.read_bytes() == first  # no date in it


def test_the_page_is_named_after_the_clip(speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "speech-explained.html" in run(speech)
    assert (tmp_path / "speech-explained.html").is_file()


def page_data(text: str) -> dict:
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)[1])


def test_the_page_holds_all_it_needs(directory: Path, speech: Path, tmp_path: Path) -> None:
    found = Recognizer.from_pretrained(directory).explain(speech)
    write_page([found], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.findall(
        r"""(?:src|href)\s*=\s*["']?(?!data)[\w/.:]+|https?://|url\(|import\s""", text.split("audio.src")[0]
    )
    assert "default-src 'none'" in text
    (model,) = page_data(text)["models"]
    for name, shape in (
        ("starts", (len(found.received),)),
        ("probabilities", found.prediction.timeline.probabilities.shape),
    ):
        assert np.shape(model[name]) == shape
    assert (model["centre"] is None) == (found.centre is None)
    decoded = np.frombuffer(base64.b64decode(model["maps"]), np.uint8).reshape(found.maps.shape)
    rebuilt = decoded / 255 * np.array(model["tops"])[:, :, None, None]
    np.testing.assert_allclose(rebuilt, found.maps, atol=1 / 255)


def test_the_page_asks_for_no_value_that_its_data_lack(plain: Path, speech: Path, tmp_path: Path) -> None:
    """A renamed key once left the whole page empty."""
    write_page([Recognizer.from_pretrained(plain).explain(speech)], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    asked = set(re.findall(r"(?<![\w.])data\.(\w+)", text))
    assert {"colors", "models"} <= asked <= page_data(text).keys()


def test_a_clips_name_cannot_put_code_into_its_page(plain: Path, tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>& <.wav"
    soundfile.write(tmp_path / name, burst(0.5, 1.0), RATE)
    write_page([Recognizer.from_pretrained(plain).explain(tmp_path / name)], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<title>&lt;img src=x" in text
    assert page_data(text)["name"] == name
    assert text.count("</script>") == 2


def test_models_stand_side_by_side(plain: Path, speech: Path, tmp_path: Path) -> None:
    config = config_of("bmhsa")
    other = saved(tmp_path, build(config), config)
    explanations = [Recognizer.from_pretrained(model).explain(speech) for model in (other, plain)]
    with style():
        figure = draw_maps(explanations, seconds=[0.5, 1.0])
    titles = [axes.get_title() for axes in figure.axes[1:]]
    assert len(titles) == 2 * 2 * 2  # segments, models, heads
    assert [title.split("\n")[0] for title in titles[:4]] == ["bmhsa", "mhsa-faca", "bmhsa", "mhsa-faca"]
    assert all(("gate" in title) == ("faca" in title) for title in titles)
    output = run(speech, "-m", other, "-m", plain, "--out", tmp_path / "both.html")
    assert output.count("Heard as") == 2
    assert len(page_data((tmp_path / "both.html").read_text(encoding="utf-8"))["models"]) == 2


def test_models_of_different_labels_are_refused(plain: Path, speech: Path, tmp_path: Path) -> None:
    config = ModelConfig.of("bmhsa", ("happy", "sad"))
    other = saved(tmp_path, build(config), config)
    with pytest.raises(ConfigError, match="bmhsa knows happy, sad, mhsa-faca neutral"):
        explain_clip(speech, [str(plain), str(other)], None)


def test_unknown_formats_and_heads_are_refused(plain: Path, speech: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot write .gif \(valid: .html, .png, .svg, .pdf\)"):
        explain_clip(speech, [None], tmp_path / "out.gif")
    with pytest.raises(ConfigError, match=r"mhsa-faca has no head 9 \(valid: 1, 2, 3, 4, 5, 6, 7, 8\)"):
        explain_clip(speech, [str(plain)], tmp_path / "out.png", segments=[0.5], heads=[9])
    assert list(tmp_path.iterdir()) == []


def test_a_pitchgram_is_bright_on_its_ridge_alone() -> None:
    """Weak noise between ridges was as bright as they are, while each feature was drawn over its own mean."""
    noise = np.random.default_rng(0).normal(0.0, 0.01, (50, 6)).astype(np.float32)
    noise[:, 2] += 0.9
    shown = _brightness(noise, "pitch")
    assert shown[:, 2].min() > 0.9
    assert np.delete(shown, 2, axis=1).max() < 0.1
    assert _brightness(noise, "MFCC")[:, 0].std() == pytest.approx(0.2, abs=0.01)


def test_segments_lie_in_lanes_that_do_not_overlap() -> None:
    starts = 0.5 * np.arange(9)
    assert lanes_of(starts, starts + 2.0) == 4
    assert lanes_of(starts[:1], starts[:1] + 2.0) == 1
    assert lanes_of(starts[:2], starts[:2] + 2.0) == 2


def test_a_clip_of_one_short_segment_is_drawn(plain: Path, tmp_path: Path) -> None:
    clip = tmp_path / "short.wav"
    soundfile.write(clip, burst(0.1, 0.2), RATE)
    for suffix in ("png", "html", "pdf"):
        assert explain_clip(clip, [str(plain)], tmp_path / f"out.{suffix}").is_file()


def test_a_long_picture_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = tmp_path / "long.wav"
    soundfile.write(clip, np.tile(burst(0.5), 35), RATE)
    monkeypatch.setattr(Recognizer, "explain", None)
    with pytest.raises(ConfigError, match="70 s are too long for one picture, which shows up to 60; choose a part"):
        explain_clip(clip, [None], tmp_path / "out.png")


def test_pages_cover_a_recording_without_a_gap() -> None:
    assert list(pages(0.0, 30.0)) == [(0.0, 30.0)]
    assert list(pages(5.0, 66.0)) == [(5.0, 35.0), (35.0, 65.0), (65.0, 66.0)]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from Linux")
def test_ten_minutes_are_explained_in_bounded_memory(tmp_path: Path) -> None:
    clip = tmp_path / "long.wav"
    generator = np.random.default_rng(0)
    soundfile.write(clip, 0.1 * generator.standard_normal(600 * RATE).astype(np.float32), RATE)
    code = "import re, sys, pathlib; from emofocus.cli.explain import explain_clip; "
    code += "clip, out = map(pathlib.Path, sys.argv[1:]); explain_clip(clip, [None], out); "
    code += "print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])"
    for suffix in ("html", "pdf"):
        out = tmp_path / f"out.{suffix}"
        done = subprocess.run([sys.executable, "-c", code, str(clip), str(out)], check=True, capture_output=True)
        assert out.stat().st_size > 100_000
        assert int(done.stdout.split()[-1]) < 2 << 20  # kB


def test_the_caption_says_what_was_heard_and_where(plain: Path) -> None:
    found = Recognizer.from_pretrained(plain).explain(array(burst(0.75)))
    words = caption(found)
    assert words.startswith(f"Heard as {found.prediction.label}")
    assert words.endswith("the loudest moment is at 0.75 s.")


def test_runs_and_edges() -> None:
    assert runs(np.array([True, True, False, True])) == [(0, 1), (3, 3)]
    assert runs(np.zeros(3, bool)) == []
    np.testing.assert_allclose(edges_of(np.array([1.0, 2.0, 4.0]), 0.0, 5.0), [0, 1.5, 3, 5])
    np.testing.assert_allclose(edges_of(np.array([1.0]), 0.0, 2.0), [0, 2])


@pytest.mark.parametrize(
    ("networks", "sources", "expected"),
    [
        (["a", "b"], ["x/one", "x/two"], ["a", "b"]),
        (["a", "a"], ["x/one", "x/two"], ["a (one)", "a (two)"]),
        (["a", "a", "a"], ["x/fold-0", "y/fold-0", None], ["a (x/fold-0)", "a (y/fold-0)", "a (shipped)"]),
        (["a", "a"], ["x/one", "x/one"], ["a (one) #1", "a (one) #2"]),
    ],
)
def test_models_of_one_network_are_named_apart(networks: list[str], sources: list[str], expected: list[str]) -> None:
    """Two folds of one network, side by side, had one name."""
    assert names_apart(networks, sources) == expected
