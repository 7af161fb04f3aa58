"""Models on a pretrained encoder: one graph, and one answer to a window wherever it comes from."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emofocus import Recognizer, audio
from emofocus.errors import ConfigError
from emofocus.recognition.streaming import StreamingRecognizer
from emofocus.segments import softmax

torch = pytest.importorskip("torch", reason="exporting needs emofocus[train]")

from emofocus.config import FeatureSettings, ModelConfig, Recipe, SegmentSettings  # noqa: E402
from emofocus.corpora import Corpus, Utterance  # noqa: E402
from emofocus.data.cache import Cache  # noqa: E402
from emofocus.data.datasets import SegmentDataset  # noqa: E402
from emofocus.data.feature_store import CachedSpeech  # noqa: E402
from emofocus.export.to_onnx import WaveformClassifier, segment_counts  # noqa: E402
from emofocus.features.encoders import resolved  # noqa: E402
from emofocus.features.front_end import FrontEnd  # noqa: E402
from emofocus.models.checkpoint import load_network  # noqa: E402
from emofocus.recognition.engine import Engine  # noqa: E402
from emofocus.training.loop import score  # noqa: E402
from helpers.encoders import tiny_features, tiny_whisper  # noqa: E402
from helpers.untrained import LABELS, saved, untrained  # noqa: E402

RATE, HOP, FRAMES = audio.SAMPLING_RATE, 1280, 25
"""Samples of a frame, and frames of a segment: 2 seconds."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory with a small random encoder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOFOCUS_CACHE", str(tmp_path_factory.mktemp("cache")))
        root = tmp_path_factory.mktemp("model")
        features = tiny_features(root / "encoder", hop=HOP)
        config = ModelConfig.of(
            "encoder-faca", LABELS, features=features, segment=SegmentSettings(frames=FRAMES, hop=10)
        )
        yield saved(root, untrained(config), config)


@pytest.fixture(scope="module")
def recognizer(folder: Path) -> Recognizer:
    return Recognizer.from_pretrained(folder, threads=1)


def talk(samples: int, seed: int = 0) -> np.ndarray:
    """Noise in syllables of very different levels, so that a window's floor depends on where it lies."""
    generator = np.random.default_rng(seed)
    levels = np.repeat(10.0 ** generator.uniform(-4, 0, samples // 4000 + 1), 4000)[:samples]
    return (0.2 * levels * generator.standard_normal(samples)).astype(np.float32)


def run_torch(folder: Path, waveform: np.ndarray, lengths: list[int]):
    network, config = load_network(folder)
    with torch.inference_mode():
        return WaveformClassifier(network, config).eval()(
            torch.from_numpy(waveform), torch.tensor(lengths), need_maps=True
        ), config


def test_torch_and_onnx_agree_on_a_batch_maps_included(folder: Path, recognizer: Recognizer) -> None:
    lengths = [recognizer.engine.whole, recognizer.engine.whole + 700, recognizer.engine.whole + 50_000]
    waveform = np.stack([talk(lengths[-1], seed) for seed in range(3)])
    waveform *= np.arange(lengths[-1]) < np.array(lengths)[:, None]
    expected, config = run_torch(folder, waveform, lengths)
    found = recognizer.engine.run(waveform, np.array(lengths), need_maps=True)
    assert found.features is not None
    assert found.features.shape == (3, 1 + lengths[-1] // HOP, 80)
    np.testing.assert_allclose(found.features, expected.features, atol=1e-2)
    for row, count in enumerate(segment_counts(np.array(lengths), config)):
        np.testing.assert_allclose(found.logits[row, :count], expected.logits[row, :count], atol=1e-4)
        np.testing.assert_allclose(found.attention[row, :count], expected.maps.weights[row, :count], atol=1e-4)
        np.testing.assert_allclose(found.gates[row, :count], expected.maps.gates[row, :count], atol=1e-4)


def test_padding_a_batch_changes_no_logit(recognizer: Recognizer) -> None:
    samples = recognizer.engine.whole + 30_000
    batch = np.stack([talk(samples + 31_000, seed) for seed in range(2)])
    batch[0, samples:] = 0.0
    alone = recognizer.engine.run(batch[:1, :samples], np.array([samples])).logits
    together = recognizer.engine.run(batch, np.array([samples, samples + 31_000])).logits
    np.testing.assert_allclose(together[:1, : alone.shape[1]], alone, atol=1e-5)


@pytest.mark.parametrize("samples", [400, 5_000, 24 * HOP - 1, 25 * HOP - 1])
def test_a_clip_of_one_segment_is_scored_as_training_scores_it(
    folder: Path, recognizer: Recognizer, samples: int
) -> None:
    network, config = load_network(folder)
    waveform = talk(samples, 3)[None]
    with torch.inference_mode():
        features, _ = FrontEnd(config.features)(torch.from_numpy(waveform))
        expected = network.eval()(features, torch.tensor([features.shape[1]])).logits
    assert features.shape[1] <= FRAMES
    lengths = np.array([samples])
    np.testing.assert_allclose(recognizer.engine.run(waveform, lengths).logits[0], expected, atol=1e-4)
    encoded, _ = recognizer.engine.encode(waveform, lengths)
    np.testing.assert_allclose(recognizer.engine.classify(encoded), expected, atol=1e-4)


def test_a_clip_of_many_segments_is_scored_as_training_scores_it(
    folder: Path, recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training's encoder once heard the whole clip, whose segments recognition hears one by one."""
    import soundfile

    monkeypatch.setenv("EMOFOCUS_CACHE", str(tmp_path / "home"))
    network, config = load_network(folder)
    soundfile.write(tmp_path / "long.wav", talk(23 * RATE, 5), RATE, subtype="FLOAT")
    corpus = Corpus.of("made", tmp_path, LABELS, [Utterance("long.wav", LABELS[0], "1")])
    recipe = Recipe(features=config.features, segment=config.segment)
    speech = CachedSpeech(corpus, Cache(tmp_path / "cache")).speech(recipe)[0]
    found = score(network, SegmentDataset(speech, corpus.labels(), config.segment))
    prediction = recognizer(tmp_path / "long.wav")
    assert len(prediction.timeline.starts) > 20
    expected = [prediction.scores[label] for label in config.labels]
    np.testing.assert_allclose(found[0], expected, atol=1e-3)  # frames are kept in float16


def test_a_segment_depends_on_its_own_window_alone(recognizer: Recognizer) -> None:
    """The floor of its log-mels is that of the window: a shout elsewhere in the recording changes nothing."""
    waveform = 1e-3 * talk(6 * RATE, 1)
    loud = waveform.copy()
    loud[5 * RATE :] *= 1000.0
    soft, shout = (recognizer.engine.run(item[None], np.array([len(item)])).logits[0] for item in (waveform, loud))
    before = int((5 * RATE - 200) // HOP - FRAMES) // 10 + 1  # segments that end before it
    np.testing.assert_allclose(shout[:before], soft[:before], atol=1e-5)
    assert np.abs(shout[before:] - soft[before:]).max() > 1e-3


def test_a_long_recording_is_scored_block_by_block_as_if_it_were_one(recognizer: Recognizer) -> None:
    waveform = talk(37 * RATE)
    whole = recognizer.engine.run(waveform[None], np.array([len(waveform)])).logits[0]
    found = recognizer({"array": waveform, "sampling_rate": RATE}).timeline
    np.testing.assert_allclose(found.probabilities, softmax(whole), atol=1e-4)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    samples=st.integers(400, 90_000),
    sizes=st.lists(st.integers(0, 20_000), min_size=1, max_size=6).filter(any),
    window=st.sampled_from([0.4, 1.0, 2.0]),
    hop=st.sampled_from([0.08, 0.25, 1.0]),
)
def test_a_stream_scores_its_windows_as_a_file_does(
    recognizer: Recognizer, samples: int, sizes: list[int], window: float, hop: float
) -> None:
    waveform, listener = talk(samples), recognizer.for_stream(hop, window)
    stream, events, fed, turn = StreamingRecognizer(listener), [], 0, 0
    while fed < samples:
        size = sizes[turn % len(sizes)]
        events += stream.feed(waveform[fed : fed + size])
        fed, turn = fed + size, turn + 1
    events += stream.finish()
    offline = listener({"array": waveform, "sampling_rate": RATE}).timeline
    np.testing.assert_allclose(np.stack([event.scores for event in events]), offline.probabilities, atol=1e-4)
    np.testing.assert_allclose([event.start for event in events], offline.starts, atol=1e-9)
    np.testing.assert_allclose([event.end for event in events], offline.ends, atol=1e-9)


def test_an_event_comes_with_the_last_sample_that_its_window_needs(recognizer: Recognizer) -> None:
    needed = FRAMES * HOP + 40  # the last analysis window reaches that far behind the segment
    stream = StreamingRecognizer(recognizer)
    assert stream.feed(talk(needed)[:-1]) == []
    assert len(stream.feed(talk(needed)[-1:])) == 1


def test_streams_hear_at_most_three_seconds_unless_told_otherwise(recognizer: Recognizer) -> None:
    assert recognizer.for_stream(0.08).config.segment == SegmentSettings(frames=FRAMES, hop=1)
    assert recognizer.for_stream(0.5, 1.0).config.segment == SegmentSettings(frames=12, hop=6)
    shorter = recognizer.with_window(1.0)
    assert shorter.config.segment == SegmentSettings(frames=12, hop=5)  # they overlap as before
    assert shorter.with_window(2.0).config.segment.frames == FRAMES


def test_windows_that_a_model_does_not_have_are_refused(recognizer: Recognizer) -> None:
    with pytest.raises(ConfigError, match=r"encoder-faca has no segments of 3 s \(valid: up to 2\)"):
        recognizer.with_window(3.0)
    shipped = Recognizer.from_pretrained(threads=1)
    with pytest.raises(ConfigError, match=r"compact-faca has no segments of 1 s"):
        shipped.with_window(1.0)
    with pytest.raises(ConfigError, match="window of 0 s"):
        Recognizer.from_pretrained(window=0.0)
    with pytest.raises(ValueError, match="no segments of 26 frames"):
        recognizer.engine.run(np.zeros((1, 40_000), np.float32), np.array([40_000]), window=26)


def test_short_clips_of_several_lengths_are_scored_together_as_alone(recognizer: Recognizer) -> None:
    from emofocus.recognition.bulk import recognize_together

    clips = [talk(size, seed) for seed, size in enumerate((9_000, 40_000, 12_345, 33_000, 70_000))]
    for listener in (recognizer, recognizer.with_window(0.8)):
        together = recognize_together(listener, clips)
        for clip, found in zip(clips, together, strict=True):
            alone = listener({"array": clip, "sampling_rate": RATE})
            assert found.scores == pytest.approx(alone.scores, abs=1e-5)


def test_an_explanation_shows_mel_bands_and_where_the_loudest_moment_is(recognizer: Recognizer) -> None:
    waveform = 1e-3 * talk(4 * RATE)
    waveform[2 * RATE + 100] = 0.9
    found = recognizer.explain({"array": waveform, "sampling_rate": RATE})
    assert found.feature_groups == (("mel bands", 80),)
    assert found.features.shape == (1 + len(waveform) // HOP, 80)
    assert found.maps.shape == (3, 4, FRAMES, FRAMES)
    np.testing.assert_allclose(found.frames[:2], [0.04, 0.12])  # middles: a frame begins at its position
    assert np.abs(found.peaks - 2.0).min() <= HOP / RATE / 2 + 100 / RATE
    loudest = int(found.amplitude.argmax())
    assert abs(found.frames[loudest] - found.loudest) <= HOP / RATE / 2
    np.testing.assert_allclose(np.nanmean(found.received, axis=1), 1.0, atol=1e-4)


def test_the_graph_is_opened_without_torch(folder: Path) -> None:
    engine = Engine(folder / "model.onnx", threads=1)
    assert (engine.attends, engine.streams, engine.windowed, engine.frames) == (True, True, True, FRAMES)


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_fewer_bits_answer_alike_and_stream(precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from emofocus.export.quantization import write_fp16, write_int8

    monkeypatch.setenv("EMOFOCUS_CACHE", str(tmp_path / "cache"))
    encoder = tiny_whisper(tmp_path / "encoder", d_model=64, encoder_ffn_dim=128)
    features = resolved(FeatureSettings(name="whisper", encoder=str(encoder), layers=2, hop=HOP))
    config = ModelConfig.of("encoder-faca", LABELS, features=features, segment=SegmentSettings(frames=FRAMES, hop=10))
    folder = saved(tmp_path, untrained(config), config)
    agreement = (write_int8 if precision == "int8" else write_fp16)(folder, config, [talk(50_000, k) for k in range(4)])
    assert agreement.mean < (0.02 if precision == "int8" else 0.001)
    small, whole = (Recognizer.from_pretrained(folder, threads=1, precision=name) for name in (precision, "fp32"))
    assert small.engine.path.stat().st_size < 0.75 * whole.engine.path.stat().st_size
    stream = StreamingRecognizer(small.for_stream(0.5, 1.0))
    events = stream.feed(talk(40_000)) + stream.finish()
    offline = small.for_stream(0.5, 1.0)({"array": talk(40_000), "sampling_rate": RATE}).timeline
    np.testing.assert_allclose(np.stack([event.scores for event in events]), offline.probabilities, atol=1e-4)
