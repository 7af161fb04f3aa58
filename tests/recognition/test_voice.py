"""Adaptation to a voice: what the statistics mean, that all engines agree, and that nothing is adapted unasked."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from emofocus import Recognizer, audio
from emofocus.errors import ConfigError, SilentAudioError
from emofocus.recognition.engine import Voice
from emofocus.recognition.streaming import StreamingRecognizer
from emofocus.recognition.voice import VoiceProfile

torch = pytest.importorskip("torch", reason="exporting needs emofocus[train]")

import soundfile  # noqa: E402

from emofocus.cli.main import app  # noqa: E402
from emofocus.config import ModelConfig, NetworkSettings  # noqa: E402
from emofocus.export.to_onnx import WaveformClassifier  # noqa: E402
from emofocus.models import build  # noqa: E402
from emofocus.models.base import VoiceShift  # noqa: E402
from emofocus.models.checkpoint import load_network  # noqa: E402
from helpers.adaptable import SIZE, STRENGTH, adaptable_model  # noqa: E402
from helpers.untrained import LABELS  # noqa: E402

RATE = audio.SAMPLING_RATE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory that can be adapted, whose statistics of the training part are not zeros and ones."""
    with adaptable_model(tmp_path_factory) as folder:
        yield folder


@pytest.fixture(scope="module")
def recognizer(folder: Path) -> Recognizer:
    return Recognizer.from_pretrained(folder, threads=1)


def talk(seconds: float, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (0.1 * generator.standard_normal(round(seconds * RATE))).astype(np.float32)


def clip(seconds: float, seed: int = 0) -> dict:
    return {"array": talk(seconds, seed), "sampling_rate": RATE}


def some_voice(seed: int = 3) -> Voice:
    generator = np.random.default_rng(seed)
    return Voice(generator.normal(0, 0.5, SIZE).astype(np.float32), generator.uniform(0.5, 2, SIZE).astype(np.float32))


def test_torch_and_onnx_agree_for_a_voice_and_on_its_statistics(folder: Path, recognizer: Recognizer) -> None:
    network, config = load_network(folder)
    rows, lengths, voice = talk(4.0)[None], np.array([4 * RATE]), some_voice()
    with torch.inference_mode():
        expected = WaveformClassifier(network, config).eval()(
            torch.from_numpy(rows), torch.tensor(lengths), voice=VoiceShift(*map(torch.from_numpy, voice))
        )
    found = recognizer.engine.run(rows, lengths, voice=voice, need_voice=True)
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-4)
    np.testing.assert_allclose(found.voice, expected.voice, atol=1e-4)
    unadapted = recognizer.engine.run(rows, lengths, need_voice=True)
    np.testing.assert_array_equal(found.voice, unadapted.voice)
    assert np.abs(found.logits - unadapted.logits).max() > 1e-3


def test_nobodys_voice_changes_no_bit(recognizer: Recognizer) -> None:
    rows, lengths = talk(3.0)[None], np.array([3 * RATE])
    nobody = Voice(np.zeros(SIZE, np.float32), np.ones(SIZE, np.float32))
    plain, given = (recognizer.engine.run(rows, lengths, voice=voice) for voice in (None, nobody))
    np.testing.assert_array_equal(plain.logits, given.logits)


def test_adapted_features_have_the_statistics_of_the_training_part() -> None:
    """Endlessly much speech of a voice leaves features of mean 0, whose deviations are those of training."""
    config = ModelConfig.of(
        "encoder-faca",
        LABELS,
        features=tiny_features_without_weights(),
        network=NetworkSettings(voice_seconds=STRENGTH),
    )
    network = build(config)
    generator = torch.Generator().manual_seed(0)
    network.normalize.set(*(torch.rand(SIZE, generator=generator) + 0.5 for _ in range(2)))
    network.voice.log_deviation.copy_(torch.randn(SIZE, generator=generator))
    x = 3 + 2 * torch.randn(1, 40, SIZE, generator=generator)
    mean, deviation = network.voice(network.normalize(x))[0]
    adapted = network.normalize.adapted(x, mean, deviation.exp())
    again = network.voice(network.normalize(adapted))[0]
    torch.testing.assert_close(again, torch.zeros(2, SIZE), atol=1e-4, rtol=0)


def tiny_features_without_weights():
    from emofocus.config import EncoderSettings, FeatureSettings

    encoder = EncoderSettings(source="none", digest="", config={"d_model": SIZE})
    return FeatureSettings(name="whisper", encoder=encoder, layers=2)


def test_little_speech_adapts_little_and_the_strength_is_where_it_counts_half() -> None:
    statistics = np.array([[2.0, -4.0], [0.5, 0.0]], np.float32)
    for seconds, share in ((0.01, 0.001), (STRENGTH, 0.5), (1e9, 1.0)):
        shift, scale = VoiceProfile("m", seconds, 1, statistics).voice(STRENGTH)
        np.testing.assert_allclose(shift, share * statistics[0], rtol=1e-2)
        np.testing.assert_allclose(scale, np.exp(share * statistics[1]), rtol=1e-2)


def test_a_recognizer_that_was_adapted_answers_differently_and_the_first_one_as_before(recognizer: Recognizer) -> None:
    before = recognizer(clip(3.0, 5)).scores
    mine = recognizer.adapt([clip(4.0, 1), clip(2.0, 2)])
    assert mine(clip(3.0, 5)).scores != before
    assert recognizer(clip(3.0, 5)).scores == before
    assert mine.with_voice(None)(clip(3.0, 5)).scores == before


def test_profiles_add_up_whatever_the_order(recognizer: Recognizer) -> None:
    one, other = (recognizer.adapt(clip(seconds, seed)).profile for seconds, seed in ((4.0, 1), (2.0, 2)))
    both = recognizer.adapt([clip(4.0, 1), clip(2.0, 2)]).profile
    for total in (one + other, other + one, recognizer.with_voice(one).adapt(clip(2.0, 2)).profile):
        assert (total.clips, total.seconds) == (2, pytest.approx(both.seconds))
        np.testing.assert_allclose(total.statistics, both.statistics, atol=1e-6)
    assert both.seconds == pytest.approx(6.0, abs=0.8)  # whole segments


def test_a_long_recording_has_the_profile_of_its_blocks(recognizer: Recognizer) -> None:
    profile = recognizer.adapt(clip(31.0)).profile
    assert profile.seconds == pytest.approx(31.0, abs=1.0)
    output = recognizer.engine.run(talk(31.0)[None], np.array([31 * RATE]), need_voice=True)
    np.testing.assert_allclose(profile.statistics, output.voice[0].mean(axis=0), atol=1e-4)


def test_a_profile_survives_its_file_which_is_small(recognizer: Recognizer, tmp_path: Path) -> None:
    mine = recognizer.adapt(clip(3.0))
    mine.profile.save(tmp_path / "voice.json")
    again = VoiceProfile.load(tmp_path / "voice.json")
    np.testing.assert_array_equal(again.statistics, mine.profile.statistics)
    assert recognizer.with_voice(again)(clip(2.5, 9)).scores == mine(clip(2.5, 9)).scores
    assert (tmp_path / "voice.json").stat().st_size < 8192


def test_streams_and_batches_hear_the_voice_as_a_clip_does(recognizer: Recognizer) -> None:
    mine = recognizer.adapt(clip(4.0, 1))
    waveform = talk(6.0, 7)
    stream = StreamingRecognizer(mine)
    events = [*stream.feed(waveform), *stream.finish()]
    whole = mine({"array": waveform, "sampling_rate": RATE})
    np.testing.assert_allclose([event.scores for event in events], whole.timeline.probabilities, atol=1e-4)
    batch = mine.scorer.score_batch([waveform, waveform])
    assert batch[0].scores == pytest.approx(whole.scores, abs=1e-4)


def test_silence_is_no_voice(recognizer: Recognizer) -> None:
    with pytest.raises(SilentAudioError):
        recognizer.adapt({"array": np.zeros(RATE, np.float32), "sampling_rate": RATE})
    with pytest.raises(ConfigError, match="no clips"):
        recognizer.adapt([])


def test_a_model_that_cannot_be_adapted_says_why(recognizer: Recognizer) -> None:
    shipped = Recognizer.from_pretrained(threads=1)
    if shipped.engine.adaptable:
        pytest.skip("the shipped model can be adapted")
    with pytest.raises(ConfigError, match="cannot be adapted to a voice"):
        shipped.adapt(clip(3.0))
    with pytest.raises(ConfigError, match="cannot be adapted to a voice"):
        shipped.with_voice(recognizer.adapt(clip(3.0)).profile)


def test_a_profile_of_another_model_is_refused(recognizer: Recognizer) -> None:
    other = VoiceProfile("another", 3.0, 1, np.zeros((2, SIZE), np.float32))
    with pytest.raises(ConfigError, match="made with another model"):
        recognizer.with_voice(other)
    with pytest.raises(ConfigError, match="cannot be joined"):
        recognizer.adapt(clip(2.0)).profile + other


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format": "emofocus-voice/2"}', b"\xff\xfe", b"[1]"])
def test_what_is_no_profile_is_refused_in_a_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "voice.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"voice\.json: no voice profile") as error:
        VoiceProfile.load(path)
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        VoiceProfile.load(tmp_path / "absent.json")


def test_the_commands_write_and_take_a_profile(folder: Path, tmp_path: Path) -> None:
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", talk(3.0, number), RATE)
    model, voice = ["--model", str(folder)], tmp_path / "voice.json"
    run = CliRunner()
    adapt = ["adapt", str(tmp_path / "0.wav"), str(tmp_path / "1.wav"), *model, "--out", str(voice)]
    result = run.invoke(app, adapt, catch_exceptions=False)
    assert "s of speech in 2 recordings" in result.output
    target = [str(tmp_path / "2.wav"), *model, "--format", "json"]
    plain, mine = (run.invoke(app, ["predict", *target, *more]).output for more in ([], ["--voice", str(voice)]))
    assert plain != mine
    more = run.invoke(app, [*adapt[:2], *model, "--voice", str(voice), "--out", str(voice)], catch_exceptions=False)
    assert "s of speech in 3 recordings" in more.output
