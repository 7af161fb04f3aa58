"""What is wrong with a recording is told, and what is right is not."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from emofocus import Recognizer, audio
from emofocus.audio.degradations import DISTORTIONS, Scene, mixed
from emofocus.audio.quality import Quality
from emofocus.cli.main import app
from emofocus.errors import ConfigError
from emofocus.evaluation.robustness import KINDS, DistortionResult, mean, measure_robustness
from emofocus.segments import energy

RATE = audio.SAMPLING_RATE
SCENE = Scene(np.random.default_rng(0), [np.random.default_rng(i).normal(0, 0.1, RATE).astype("f") for i in range(6)])


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer.from_pretrained(threads=1)


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    """Syllables of wide band, with pauses between them and a little hiss."""
    generator = np.random.default_rng(0)
    syllables = np.repeat(np.arange(20) % 2, RATE // 8)
    noise = generator.standard_normal(len(syllables))
    return (0.2 * noise * syllables + 1e-3 * generator.standard_normal(len(syllables))).astype(np.float32)


def warned(recognizer: Recognizer, waveform: np.ndarray) -> set[str]:
    told = recognizer({"array": waveform, "sampling_rate": RATE}).warnings
    return {text.partition(":")[0] for text in told}


def test_a_good_recording_is_not_warned_of(recognizer: Recognizer, voice: np.ndarray) -> None:
    assert warned(recognizer, voice) == set()


def test_each_damage_is_named(recognizer: Recognizer, voice: np.ndarray) -> None:
    assert warned(recognizer, voice * np.float32(0.002)) == {"soft"}
    assert "clipped" in warned(recognizer, np.clip(5 * voice, -0.3, 0.3))
    assert warned(recognizer, DISTORTIONS["8 kHz and back"](voice, SCENE)) == {"narrow"}
    assert "narrow" in warned(recognizer, DISTORTIONS["MP3, 16 kbit/s"](voice, SCENE))
    assert "noisy" in warned(recognizer, DISTORTIONS["white noise, 0 dB below"](voice, SCENE))
    sparse = np.concatenate([np.zeros(9 * RATE, np.float32), voice[: RATE // 2]])
    assert "sparse" in warned(recognizer, sparse)


def test_an_offset_is_named_and_nothing_else_is_made_of_it(voice: np.ndarray, tmp_path: Path) -> None:
    """With features that keep it: it made every pause as loud as the speech, which passed for noise."""
    pytest.importorskip("torch")
    from helpers.untrained import config_of, saved, untrained

    config = config_of("compact-faca")
    keeping = Recognizer.from_pretrained(saved(tmp_path, untrained(config), config), threads=1)
    for offset in (0.003, -0.01):
        assert warned(keeping, voice + np.float32(offset)) == {"offset"}


def test_the_shipped_model_answers_as_without_an_offset_and_says_nothing(
    recognizer: Recognizer, voice: np.ndarray
) -> None:
    """Of 30 answers to clips, an offset of 0.3 % of full scale changed 7, and one of 1 % changed 12."""
    plain = recognizer({"array": voice, "sampling_rate": RATE})
    for offset in (0.003, -0.01, 0.05):
        found = recognizer({"array": voice + np.float32(offset), "sampling_rate": RATE})
        assert found.label == plain.label
        assert found.warnings == ()
        assert found.scores == pytest.approx(plain.scores, abs=0.05)


def test_a_tone_is_not_clipped(tone) -> None:
    quality = Quality()
    quality.feed(tone(hertz=440, seconds=2, level=0.9))
    assert quality.clipped == 0
    quality.feed(np.clip(2 * tone(hertz=440, seconds=2, level=0.9), -1, 1))
    assert quality.clipped > 0.3 * 2 * RATE


def test_quality_does_not_depend_on_blocks_but_for_where_it_looks(voice: np.ndarray) -> None:
    clipped = np.clip(3 * voice, -0.4, 0.4)
    whole, parts = Quality(), Quality()
    whole.feed(clipped)
    for start in range(0, len(clipped), 4_000):
        parts.feed(clipped[start : start + 4_000])
    assert (whole.samples, whole.peak) == (parts.samples, parts.peak)
    assert parts.clipped == pytest.approx(whole.clipped, rel=0.05)  # runs that a block's end cuts in two
    assert parts.treble == pytest.approx(whole.treble, abs=1)


def test_energy_is_the_logarithm_of_the_sum() -> None:
    logits = np.array([[0.0, 0.0], [1000.0, 0.0], [-5.0, 2.0]])
    np.testing.assert_allclose(energy(logits), [np.log(2), 1000.0, np.logaddexp(-5, 2)])


def test_less_energy_than_the_training_data_is_no_warning(recognizer: Recognizer, speech: Path) -> None:
    """It was called `unlike`, and tells next to nothing (docs/limits.md)."""
    other = Recognizer(recognizer.engine, msgspec.structs.replace(recognizer.config, energy=1000.0))
    assert other(speech).warnings == recognizer(speech).warnings == ()


@pytest.mark.parametrize("name", DISTORTIONS)
def test_distorted_speech_is_still_sound_and_the_same_each_time(name: str, voice: np.ndarray) -> None:
    def made() -> np.ndarray:
        return DISTORTIONS[name](voice, Scene(np.random.default_rng(1), SCENE.others))

    first = made()
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert np.abs(first).max() <= 1.5
    assert len(first) == len(voice)
    np.testing.assert_array_equal(first, made())


def test_noise_lies_as_far_below_the_speech_as_it_says() -> None:
    generator = np.random.default_rng(0)
    speech = np.concatenate([generator.normal(0, 0.1, RATE), np.zeros(RATE)]).astype(np.float32)
    noise = generator.normal(0, 1, 2 * RATE)
    made = mixed(speech, noise, 10.0) - speech
    assert 10 * np.log10(0.1**2 / np.square(made).mean()) == pytest.approx(10, abs=0.2)


def test_robustness_is_measured_on_the_speakers_that_are_named(
    small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: DISTORTIONS[name] for name in ("as it is", "20 dB softer", "four voices, 0 dB below")}
    monkeypatch.setattr("emofocus.evaluation.robustness.DISTORTIONS", few)
    arguments = ["robustness", "--corpus", "emodb", "--root", str(small_corpus), "--speaker", "03"]
    with pytest.raises(ConfigError, match=r"the model does not know bored \(it knows neutral, calm"):
        CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out.md")], catch_exceptions=False)
    with pytest.raises(ConfigError, match="has none of the speakers 99"):
        measure_robustness([None], tmp_path / "out.md", "emodb", small_corpus, ["99"])
    with pytest.raises(ConfigError, match=r"cannot write .txt \(valid: .md, .csv\)"):
        measure_robustness([None], tmp_path / "out.txt", "emodb", small_corpus)


def test_a_table_of_robustness_is_not_written_over_another(
    small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emofocus.evaluation.robustness.DISTORTIONS", {"as it is": DISTORTIONS["as it is"]})
    files = sorted(small_corpus.rglob("*.wav"))[:2]
    manifest, out = tmp_path / "list.csv", tmp_path / "out.md"
    rows = [f"{file},{label},one" for file, label in zip(files, ("happy", "sad"), strict=True)]
    manifest.write_text("\n".join(["file,emotion,speaker", *rows]), encoding="utf-8")
    measure_robustness([None], out, str(manifest), None, ["one"])
    before = out.read_bytes()
    measure_robustness([None], out, str(manifest), None, ["one"])
    with pytest.raises(ConfigError, match=r"out.md holds another run \(seed is 0, not 1\); name another --out"):
        measure_robustness([None], out, str(manifest), None, ["one"], seed=1)
    assert out.read_bytes() == before
    files[0].write_bytes(files[1].read_bytes())
    with pytest.raises(ConfigError, match="recordings is '"):
        measure_robustness([None], out, str(manifest), None, ["one"])
    (tmp_path / ".out.md.settings").unlink()
    with pytest.raises(ConfigError, match="is there already, and nobody knows how it was made"):
        measure_robustness([None], out, str(manifest), None, ["one"])


def test_of_several_models_the_mean_is_told() -> None:
    """Accuracy of confident answers is that of all of them together: a model that gives none has no say."""
    zero = (0.0,) * len(KINDS)
    one = DistortionResult("noise", 0.5, 0.4, 0.9, 0.3, 1.0, zero)
    two = DistortionResult("noise", 0.7, 0.6, 0.7, 0.1, 0.6, (1.0, *zero[1:]))
    none = DistortionResult("noise", 0.6, 0.5, 0.8, 0.0, None, zero)
    found = mean([one, two, none])
    assert found[1:5] == pytest.approx((0.6, 0.5, 0.8, 0.4 / 3))
    assert found.confident_wa == pytest.approx((0.3 * 1.0 + 0.1 * 0.6) / 0.4)
    assert found.warned == pytest.approx((1 / 3, *zero[1:]))
    assert mean([none]) == none


def test_the_table_tells_of_damage_below(tmp_path: Path, voice: np.ndarray) -> None:
    import soundfile

    soundfile.write(tmp_path / "phone.wav", DISTORTIONS["8 kHz and back"](voice, SCENE), RATE)
    done = CliRunner().invoke(app, ["predict", str(tmp_path / "phone.wav")], catch_exceptions=False)
    assert f"! {tmp_path / 'phone.wav'}: narrow: nothing above 6 kHz" in done.stdout
