"""Streams that adapt as they go: what they answer, from which speech, and which profile is left."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="exporting needs emofocus[train]")

import soundfile
from click.testing import CliRunner, Result

from emofocus import Recognizer, audio
from emofocus.cli.main import app
from emofocus.errors import ConfigError
from emofocus.recognition.streaming import Event, StreamingRecognizer
from emofocus.recognition.voice import VoiceProfile
from emofocus.serving.stream_batching import SharedEngine
from helpers.adaptable import FRAMES, HOP, SIZE, talk
from helpers.properties import cases

RATE = audio.SAMPLING_RATE
STREAM_HOP = 0.56
"""Seconds from event to event: seven frames."""


@pytest.fixture(scope="module")
def recognizer(adaptable: Path) -> Recognizer:
    return Recognizer.from_pretrained(adaptable, threads=1).for_stream(STREAM_HOP)


def some_profile(recognizer: Recognizer) -> VoiceProfile:
    statistics = np.random.default_rng(4).normal(0, 0.5, (2, SIZE)).astype(np.float32)
    return VoiceProfile(recognizer.engine.digest, 7.0, 2, statistics)


def with_pause(seconds: float, pause: float, seed: int) -> np.ndarray:
    """Speech, silence, and speech that sounds otherwise (T,)."""
    silence = np.zeros(round(pause * RATE), np.float32)
    return np.concatenate([talk(seconds / 2, 2 * seed), silence, talk(seconds / 2, 2 * seed + 1)])


def heard(recognizer: Recognizer, waveform: np.ndarray, adapt: bool = True, chunk: int = RATE) -> list[Event]:
    stream = StreamingRecognizer(recognizer, adapt=adapt)
    parts = [waveform[start : start + chunk] for start in range(0, len(waveform), chunk)]
    return [event for part in parts for event in stream.feed(part)] + stream.finish()


def profile_of_segments(recognizer: Recognizer, waveform: np.ndarray, speech: list[bool]) -> VoiceProfile | None:
    """Profile of the first segments of a waveform, those with speech, as a plain mean."""
    numbers = np.flatnonzero(speech)
    if not len(numbers):
        return None
    hop = recognizer.config.segment.hop
    lengths = np.array([len(waveform)])
    statistics = recognizer.engine.run(waveform[None], lengths, hop=hop, need_voice=True).voice[0]
    frames = {number * hop + frame for number in numbers.tolist() for frame in range(FRAMES)}
    return VoiceProfile(recognizer.engine.digest, len(frames) * HOP / RATE, 1, statistics[numbers].mean(axis=0))


@given(
    seconds=st.floats(5.0, 12.0),
    pause=st.sampled_from([0.0, 3.0]),
    seed=st.integers(0, 99),
    chunk=st.sampled_from([1600, RATE, 40 * RATE]),
    continued=st.booleans(),
)
@cases(8, 60)
def test_each_answer_is_the_offline_one_with_a_profile_of_the_audio_before_it(
    recognizer: Recognizer, seconds: float, pause: float, seed: int, chunk: int, continued: bool
) -> None:
    """The audio behind the segment is cut off: neither its answer nor its profile can know it."""
    waveform = with_pause(seconds, pause, seed)
    beginning = some_profile(recognizer) if continued else None
    events = heard(recognizer.with_voice(beginning), waveform, chunk=chunk)
    speech = [event.speech for event in heard(recognizer, waveform, adapt=False)]
    hop, ahead = recognizer.config.segment.hop, recognizer.config.features.ahead
    for number, event in enumerate(events):
        before = waveform[: (number * hop + FRAMES) * HOP + ahead]
        profile = profile_of_segments(recognizer, before, speech[:number])
        if beginning is not None:
            profile = beginning if profile is None else beginning + profile
        answer = recognizer.with_voice(profile)({"array": before, "sampling_rate": RATE})
        np.testing.assert_allclose(event.scores, answer.timeline.probabilities[number], atol=1e-4)


def test_the_size_of_chunks_changes_no_answer(recognizer: Recognizer) -> None:
    waveform = with_pause(9.0, 2.0, 1)
    whole, parts = (heard(recognizer, waveform, chunk=chunk) for chunk in (40 * RATE, 777))
    np.testing.assert_allclose([event.scores for event in whole], [event.scores for event in parts], atol=1e-5)


def test_answers_of_a_stream_that_adapts_differ_from_the_second_segment_on(recognizer: Recognizer) -> None:
    waveform = talk(8.0, 1)
    plain, adapted = (heard(recognizer, waveform, adapt) for adapt in (False, True))
    differences = [np.abs(one.scores - other.scores).max() for one, other in zip(plain, adapted, strict=True)]
    assert differences[0] < 1e-6
    assert min(differences[1:]) > 1e-5


def test_the_profile_grows_by_speech_and_not_by_silence_or_lost_samples(recognizer: Recognizer) -> None:
    stream = StreamingRecognizer(recognizer, adapt=True)
    stream.feed(np.zeros(4 * RATE, np.float32))
    assert stream.profile is None
    stream.feed(talk(5.0, 1))
    first = stream.profile.seconds
    assert 2.0 < first <= 7.0
    stream.skip(6.0)
    after_loss = stream.profile.seconds
    assert after_loss <= first + 1.0
    stream.feed(talk(5.0, 1))
    assert stream.profile.seconds > after_loss + 2.0
    stream.reset()
    assert stream.profile is None


def test_a_stream_goes_on_with_the_profile_that_another_has_left(recognizer: Recognizer) -> None:
    first = StreamingRecognizer(recognizer, adapt=True)
    first.feed(talk(6.0, 1))
    first.finish()
    second = StreamingRecognizer(recognizer.with_voice(first.profile), adapt=True)
    assert second.profile.digest == first.profile.digest
    second.feed(talk(6.0, 3))
    assert second.profile.clips == 2
    assert second.profile.seconds > first.profile.seconds + 4.0


def test_a_copy_learns_by_itself(recognizer: Recognizer) -> None:
    stream = StreamingRecognizer(recognizer, adapt=True)
    stream.feed(talk(4.0, 1))
    other, before = stream.copy(), stream.profile.digest
    other.feed(talk(4.0, 3))
    assert stream.profile.digest == before != other.profile.digest


def test_streams_that_share_an_engine_adapt_as_alone(recognizer: Recognizer) -> None:
    waveform = talk(7.0, 1)
    with ThreadPoolExecutor(1) as pool:
        stream = StreamingRecognizer(recognizer, engine=SharedEngine(recognizer.engine, pool), adapt=True)
        events = stream.feed(waveform) + stream.finish()
    alone = heard(recognizer, waveform)
    np.testing.assert_allclose([e.scores for e in events], [e.scores for e in alone], atol=1e-5)


def test_a_model_without_statistics_of_voices_says_why() -> None:
    shipped = Recognizer.from_pretrained(threads=1)
    if shipped.engine.adaptable:
        pytest.skip("the shipped model can be adapted")
    with pytest.raises(ConfigError, match="cannot be adapted to a voice"):
        StreamingRecognizer(shipped, adapt=True)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["stream", *map(str, arguments)])


def test_the_command_saves_the_profile_at_the_end(adaptable: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    clip, voice = tmp_path / "clip.wav", tmp_path / "voice.json"
    soundfile.write(clip, talk(6.0, 1), RATE, subtype="FLOAT")
    common = clip, "--model", adaptable, "--fast", "--hop", STREAM_HOP, "--format", "jsonl", "--adapt"
    result = run(*common, "--save-voice", voice)
    assert result.exit_code == 0, result.output
    assert f"{voice}: 6 s of speech in 1 recordings" in result.output
    stream = StreamingRecognizer(recognizer, adapt=True)
    stream.feed(talk(6.0, 1))
    stream.finish()
    np.testing.assert_allclose(VoiceProfile.load(voice).statistics, stream.profile.statistics, atol=1e-6)
    again = run(*common, "--voice", voice, "--save-voice", voice)
    assert "12 s of speech in 2 recordings" in again.output
    assert again.stdout != result.stdout


def test_silence_saves_no_profile(adaptable: Path, tmp_path: Path) -> None:
    clip, voice = tmp_path / "silence.wav", tmp_path / "voice.json"
    soundfile.write(clip, np.zeros(4 * RATE, np.float32), RATE)
    result = run(clip, "--model", adaptable, "--fast", "--adapt", "--save-voice", voice)
    assert "not written, because no speech was heard" in result.output
    assert not voice.exists()


def test_a_profile_that_nothing_learns_is_refused(adaptable: Path, tmp_path: Path) -> None:
    result = run(tmp_path / "clip.wav", "--model", adaptable, "--save-voice", tmp_path / "voice.json")
    assert "--save-voice needs --adapt" in str(result.exception)
