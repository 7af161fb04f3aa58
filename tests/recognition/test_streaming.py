"""Streams: the same scores as a file's, whatever the chunks; and nothing that is fed can break one."""

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from emofocus import Recognizer, audio
from emofocus.audio.resampling import StreamResampler
from emofocus.cli.main import app
from emofocus.cli.stream import microphone, raw, view
from emofocus.errors import AudioError, ConfigError, MissingExtraError
from emofocus.recognition.smoothing import Smoother, Smoothing
from emofocus.recognition.streaming import Event, StreamingRecognizer
from emofocus.recognition.vad import FALL_DB, FLOOR_DB, EnergyVoice, voiced_segments
from helpers.properties import cases

RATE = audio.SAMPLING_RATE
FEW = cases(15, 300, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer.from_pretrained(threads=1, hop=0.1)


def talk(samples: int, seed: int = 0) -> np.ndarray:
    """Noise in syllables, with pauses: all that a recognizer can tell from speech is learned."""
    generator = np.random.default_rng(seed)
    syllables = np.repeat(generator.random(samples // 1600 + 1) > 0.3, 1600)[:samples]
    return (0.2 * generator.standard_normal(samples) * syllables).astype(np.float32)


def stacked(events: list[Event]) -> np.ndarray:
    return np.stack([event.scores for event in events])


# ------------------------------------------------------------------ the same as a file's


@FEW
@given(
    samples=st.integers(400, 70_000),
    sizes=st.lists(st.integers(0, 9_000), min_size=1, max_size=8).filter(any),
    copies=st.booleans(),
)
def test_a_stream_scores_its_segments_as_a_file_does(
    recognizer: Recognizer, samples: int, sizes: list[int], copies: bool
) -> None:
    waveform = talk(samples)
    stream, events, fed, turn = StreamingRecognizer(recognizer), [], 0, 0
    while fed < samples:
        size = sizes[turn % len(sizes)]
        events += stream.feed(waveform[fed : fed + size])
        fed, turn = fed + size, turn + 1
        if copies:
            stream = stream.copy()
    events += stream.finish()
    offline = recognizer({"array": waveform, "sampling_rate": RATE}).timeline
    np.testing.assert_allclose(stacked(events), offline.probabilities, atol=1e-4)
    np.testing.assert_allclose([event.start for event in events], offline.starts, atol=1e-9)
    np.testing.assert_allclose([event.end for event in events], offline.ends, atol=1e-9)


@pytest.mark.parametrize("name", ["mhsa-faca", "cnn-xvector", "adcnn", "timnet", "drn-mhsa"])
def test_other_networks_stream_too(name: str, tmp_path: Path) -> None:
    """Deltas look ahead, samples are frames, whole utterances are segments."""
    torch = pytest.importorskip("torch", reason="exporting needs emofocus[train]")
    from emofocus.config import ModelConfig, Recipe
    from emofocus.export.to_onnx import export
    from emofocus.models import MODELS, build
    from emofocus.models.checkpoint import save_config, save_tensors

    recipe = MODELS[name].recipe or Recipe()
    config = ModelConfig.of(name, ("a", "b", "c"), features=recipe.features, segment=recipe.segment)
    torch.manual_seed(0)
    save_tensors(tmp_path / "fold" / "model.safetensors", build(config).state_dict())
    save_config(tmp_path / "fold", config)
    export(tmp_path / "fold", tmp_path / "model")
    made = Recognizer.from_pretrained(tmp_path / "model")
    waveform = talk(40_000)
    stream = StreamingRecognizer(made)
    events = [event for start in range(0, 40_000, 1_234) for event in stream.feed(waveform[start : start + 1_234])]
    events += stream.finish()
    offline = made({"array": waveform, "sampling_rate": RATE}).timeline
    np.testing.assert_allclose(stacked(events), offline.probabilities, atol=1e-4)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_other_rates_are_resampled_as_a_file_is(recognizer: Recognizer, rate: int) -> None:
    waveform = talk(2 * rate + 777)
    stream, events = StreamingRecognizer(recognizer, rate), []
    for start in range(0, len(waveform), 997):
        events += stream.feed(waveform[start : start + 997])
        stream = stream.copy() if start % 10 == 0 else stream
    events += stream.finish()
    offline = recognizer({"array": waveform, "sampling_rate": rate}).timeline
    np.testing.assert_allclose(stacked(events), offline.probabilities, atol=1e-4)


@FEW
@given(st.sampled_from([8_000, 11_025, 22_050, 44_100, 96_000]), st.integers(0, 1000))
def test_a_copied_resampler_goes_on_where_the_first_was(rate: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    samples = generator.normal(0, 0.1, 2 * rate).astype(np.float32)
    whole, parts, fed = StreamResampler(rate), [], 0
    expected = np.concatenate([whole(samples), whole(samples[:0], last=True)])
    stream = StreamResampler(rate)
    while fed < len(samples):
        size = int(generator.integers(1, 4_000))
        parts.append(stream(samples[fed : fed + size]))
        stream, fed = (stream.copy() if generator.random() < 0.3 else stream), fed + size
    found = np.concatenate([*parts, stream(samples[:0], last=True)])
    assert len(found) == len(expected)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_channels_and_whole_numbers_are_samples_too(recognizer: Recognizer) -> None:
    waveform = talk(40_000)
    whole = np.round(waveform * 20_000).astype(np.int16)
    one = StreamingRecognizer(recognizer).feed(whole / np.float32(32_768))
    two = StreamingRecognizer(recognizer).feed(np.stack([whole, whole]))
    np.testing.assert_allclose(stacked(one), stacked(two), atol=1e-6)


def test_only_new_frames_are_computed(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = []
    encode = recognizer.engine.encode
    monkeypatch.setattr(recognizer.engine, "encode", lambda x, n: (lengths.append(x.shape[1]), encode(x, n))[1])
    stream = StreamingRecognizer(recognizer)
    for start in range(0, 20 * RATE, 800):
        stream.feed(talk(800, seed=start))
    hop = recognizer.config.segment.hop * recognizer.config.features.hop
    # A hop of new samples, the window around its frames, and the chunk in which it ended.
    assert max(lengths[1:]) <= hop + 2 * recognizer.config.features.window + 800 + recognizer.config.features.hop
    assert len(stream._state.encoded) <= recognizer.config.segment.frames
    assert len(stream._state.waveform) < RATE


# ------------------------------------------------------------------ a life of its own


def test_a_copy_and_its_original_go_different_ways(recognizer: Recognizer) -> None:
    stream = StreamingRecognizer(recognizer)
    stream.feed(talk(40_000))
    other = stream.copy()
    first, second = stream.feed(talk(8_000, 1)), other.feed(talk(8_000, 2))
    assert np.abs(stacked(first) - stacked(second)).max() > 1e-3
    again = StreamingRecognizer(recognizer)
    again.feed(talk(40_000))
    np.testing.assert_array_equal(stacked(again.feed(talk(8_000, 1))), stacked(first))


def test_reset_begins_a_new_stream(recognizer: Recognizer) -> None:
    stream = StreamingRecognizer(recognizer, 44_100)
    first = stream.feed(talk(150_000))
    stream.reset()
    assert stream.seconds == 0
    second = stream.feed(talk(150_000))
    np.testing.assert_array_equal(stacked(first), stacked(second))
    assert [event.emotion for event in first] == [event.emotion for event in second]


def test_a_finished_stream_says_so(recognizer: Recognizer) -> None:
    stream = StreamingRecognizer(recognizer)
    stream.feed(talk(8_000))
    assert len(stream.finish()) == 1
    assert stream.finish() == []
    with pytest.raises(AudioError, match=r"was finished; reset\(\) begins a new one"):
        stream.feed(talk(10))
    with pytest.raises(AudioError, match="was finished"):
        stream.skip(1)


def test_a_stream_of_nothing_has_no_events(recognizer: Recognizer) -> None:
    stream = StreamingRecognizer(recognizer)
    assert stream.feed(np.zeros(0, np.float32)) == []
    assert stream.finish() == []


# ------------------------------------------------------------------ what goes wrong


def test_another_rate_is_refused_and_costs_nothing(recognizer: Recognizer) -> None:
    stream = StreamingRecognizer(recognizer)
    stream.feed(talk(40_000), sampling_rate=RATE)
    with pytest.raises(AudioError, match="a chunk of 48000 Hz in a stream of 16000 Hz"):
        stream.feed(talk(100), sampling_rate=48_000)
    assert stream.seconds == 2.5
    with pytest.raises(AudioError, match="sampling_rate must be a positive whole number"):
        StreamingRecognizer(recognizer, 0)


@pytest.mark.parametrize(
    "chunk", ["abc", [[1.0], [2.0, 3.0]], np.zeros((2, 2, 2)), np.zeros(3, complex), None, {"array": 1}]
)
def test_what_is_no_sound_is_refused_and_costs_nothing(recognizer: Recognizer, chunk: object) -> None:
    stream, other = StreamingRecognizer(recognizer), StreamingRecognizer(recognizer)
    stream.feed(talk(30_000))
    with pytest.raises(AudioError, match="array must hold numbers"):
        stream.feed(chunk)
    other.feed(talk(30_000))
    np.testing.assert_array_equal(stacked(stream.feed(talk(9_000, 1))), stacked(other.feed(talk(9_000, 1))))


def test_a_burst_of_no_numbers_is_silence_and_marked(recognizer: Recognizer) -> None:
    waveform = talk(5 * RATE)
    damaged = waveform.copy()
    damaged[30_000:30_400] = [np.nan, np.inf, -np.inf, 0.1] * 100
    silent = waveform.copy()
    silent[30_000:30_400] = [0, 0, 0, 0.1] * 100
    stream, other = StreamingRecognizer(recognizer), StreamingRecognizer(recognizer)
    found, expected = [], []
    for start in range(0, len(waveform), 400):
        found += stream.feed(damaged[start : start + 400])
        expected += other.feed(silent[start : start + 400])
    np.testing.assert_allclose(stacked(found), stacked(expected), atol=1e-6)
    for event in found:
        inside = event.start - 0.1 < 30_000 / RATE and event.end + 0.1 > 30_400 / RATE
        touches = event.start + 0.1 < 30_400 / RATE and event.end - 0.1 > 30_000 / RATE
        assert not event.damaged or inside or touches
        assert event.damaged or not touches
    assert not any(event.damaged for event in expected)


def test_lost_samples_keep_the_clock(recognizer: Recognizer) -> None:
    stream, other = StreamingRecognizer(recognizer, 8_000), StreamingRecognizer(recognizer, 8_000)
    first = [*stream.feed(talk(8_000)), *stream.skip(1.5), *stream.feed(talk(12_000, 1)), *stream.finish()]
    second = other.feed(np.concatenate([talk(8_000), np.zeros(12_000, np.float32), talk(12_000, 1)])) + other.finish()
    np.testing.assert_allclose(stacked(first), stacked(second), atol=1e-5)
    assert stream.seconds == other.seconds == 4.0
    assert any(event.damaged for event in first)
    with pytest.raises(AudioError, match="cannot be skipped"):
        StreamingRecognizer(recognizer).skip(float("inf"))


@FEW
@given(st.data())
def test_no_feed_breaks_a_stream(recognizer: Recognizer, data: st.DataObject) -> None:
    """Wild samples, shapes and kinds: an error that says why, or events of the right shape."""
    stream, events = StreamingRecognizer(recognizer), []
    for _ in range(data.draw(st.integers(1, 6))):
        kind = data.draw(st.sampled_from(["f4", "f8", "i2", "i4", "u1", "i8"]))
        shape = data.draw(st.sampled_from([(0,), (1,), (16_000,), (40_001,), (2, 20_000), (3, 1), (1, 0)]))
        scale = data.draw(st.sampled_from([0.0, 1e-30, 1.0, 1e30, 3e38, np.nan]))
        with np.errstate(all="ignore"):
            chunk = (np.random.default_rng(0).standard_normal(shape) * scale).astype(kind)
        if len(shape) == 2 and shape[0] > shape[1] > 0:
            with pytest.raises(AudioError, match="looks like"):
                stream.feed(chunk)
        else:
            events += stream.feed(chunk)
    events += stream.finish()
    for event in events:
        assert event.scores.shape == (8,)
        assert np.isfinite(event.scores).all()
        assert event.start < event.end
        assert event.scores.sum() == pytest.approx(1, abs=1e-3)
        assert json.loads(json.dumps(event.to_dict()))


# ------------------------------------------------------------------ one emotion at a time


def test_the_average_forgets_with_its_time_constant() -> None:
    smoother = Smoother(Smoothing(seconds=1.0, margin=0), hop=0.1)
    smoother.update(np.array([1, 0], np.float32), True)
    for _ in range(10):
        smoother.update(np.array([0, 1], np.float32), True)
    assert smoother.mean[0] == pytest.approx(np.exp(-1), rel=1e-4)


def test_another_emotion_needs_its_margin() -> None:
    smoother = Smoother(Smoothing(seconds=0, margin=0.2), hop=0.1)
    told = []
    for share in (0.6, 0.45, 0.41, 0.39, 0.55, 0.61):
        smoother.update(np.array([share, 1 - share], np.float32), True)
        told.append(smoother.label)
    assert told == [0, 0, 0, 1, 1, 0]


def test_short_pauses_keep_the_emotion_and_long_ones_end_it() -> None:
    smoother = Smoother(Smoothing(release=0.25), hop=0.1)
    smoother.update(np.array([0.9, 0.1], np.float32), True)
    for _ in range(2):
        smoother.update(np.array([0.1, 0.9], np.float32), False)
    assert smoother.label == 0
    smoother.update(np.array([0.1, 0.9], np.float32), False)
    assert smoother.label is None
    assert smoother.mean is None


@pytest.mark.parametrize(("name", "value"), [("seconds", -1), ("margin", 1), ("release", float("nan"))])
def test_smoothing_that_makes_no_sense_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"smoothing: {name} cannot be"):
        Smoothing(**{name: value})


@FEW
@given(st.lists(st.floats(-90, 0), min_size=1, max_size=60), st.integers(0, 60))
def test_voice_is_decided_frame_by_frame(levels: list[float], cut: int) -> None:
    level = np.array(levels, np.float32)
    whole = EnergyVoice(40.0, 0.01)(level)
    voice = EnergyVoice(40.0, 0.01)
    np.testing.assert_array_equal(np.concatenate([voice(level[:cut]), voice(level[cut:])]), whole)
    loudest = -np.inf
    for value, told in zip(level, whole, strict=True):
        loudest = max(float(value), loudest - FALL_DB * 0.01)
        assert told == (value >= max(loudest - 40.0, FLOOR_DB)) or abs(value - (loudest - 40.0)) < 1e-4


def test_a_segment_is_speech_where_its_middle_is() -> None:
    voiced = np.zeros(100, bool)
    voiced[48:52] = True
    starts = np.array([0, 25, 60, 90])
    told = voiced_segments(voiced, starts, np.array([50, 50, 40, 10]), 5)
    assert told.tolist() == [False, True, False, False]


# ------------------------------------------------------------------ the command


def run(*arguments: object, **options: object):
    return CliRunner().invoke(app, ["stream", *map(str, arguments)], **options)


def test_a_file_is_played_and_told_line_by_line(recognizer: Recognizer, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "talk.wav", talk(3 * RATE), RATE)
    done = run(tmp_path / "talk.wav", "--fast", "--format", "jsonl", catch_exceptions=False)
    events = [json.loads(line) for line in done.output.splitlines()]
    offline = recognizer(tmp_path / "talk.wav").timeline
    assert len(events) == len(offline)
    for event, segment in zip(events, offline, strict=True):
        assert event["start"] == pytest.approx(segment.start, abs=1e-3)
        for label, score in segment.scores.items():
            assert event["scores"][label] == pytest.approx(score, abs=2e-3)  # the file was written in 16 bits
    changes = run(tmp_path / "talk.wav", "--fast", "--format", "text", catch_exceptions=False).output.splitlines()
    assert 1 <= len(changes) <= len(events)
    assert all(" s  " in line for line in changes)


def test_raw_samples_come_through_a_pipe(tmp_path: Path) -> None:
    whole = np.round(talk(3 * 44_100) * 20_000).astype("<i2")
    both = np.stack([whole, whole], axis=1).tobytes() + b"\x01"
    done = run("-", "--rate", 44_100, "--channels", 2, "--format", "jsonl", input=both, catch_exceptions=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 1 + (1 + 3 * RATE // 512 - 64) // 3
    assert "the last 1 bytes are no whole sample" in done.stderr


def test_pieces_of_a_pipe_may_split_a_sample() -> None:
    whole = np.arange(1000, dtype="<f4")

    class Pipe(io.BytesIO):
        def read1(self, size: int = -1) -> bytes:
            return super().read1(7)

    chunks = list(raw(Pipe(whole.tobytes()), np.dtype("<f4"), 1, RATE))
    np.testing.assert_array_equal(np.concatenate([chunk.samples[0] for chunk in chunks]), whole)


def test_unknown_spellings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown encoding of samples 'u8' \(valid: s16le, s32le, f32le\)"):
        run("-", "--samples", "u8", input=b"", catch_exceptions=False)
    with pytest.raises(ConfigError, match=r"unknown format 'srt' \(valid: view, text, jsonl\)"):
        run("-", "--format", "srt", input=b"", catch_exceptions=False)


def test_without_a_microphone_library_the_command_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'emofocus\[microphone\]'"):
        next(microphone(RATE))


def test_without_the_systems_sound_library_that_is_named_and_not_the_package_that_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """sounddevice was said to be missing, right after the command that the message gave had installed it."""
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    with pytest.raises(AudioError, match=r"the library PortAudio, which is not installed .*libportaudio2"):
        next(microphone(RATE))


def test_a_microphone_that_disappears_ends_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that gives two chunks and then nothing more, and one that cannot be opened."""

    class GoneError(Exception):
        pass

    class Device:
        def __init__(self, callback, blocksize, **_: object) -> None:
            self.callback, self.size = callback, blocksize

        def __enter__(self) -> None:
            for overflow in (False, True):
                status = SimpleNamespace(input_overflow=overflow)
                self.callback(np.zeros((self.size, 1), np.float32), self.size, None, status)

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr("emofocus.cli.stream.WAIT_SECONDS", 0.05)
    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace(InputStream=Device, PortAudioError=GoneError))
    heard = microphone(RATE)
    assert next(heard).lost == 0
    assert next(heard).lost > 0
    with pytest.raises(AudioError, match="the microphone has gone"):
        next(heard)

    def refuse(**_: object) -> None:
        raise GoneError("no device")

    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace(InputStream=refuse, PortAudioError=GoneError))
    with pytest.raises(AudioError, match=r"cannot be opened \(no device\)"):
        next(microphone(RATE))


def test_the_view_shows_every_emotion(recognizer: Recognizer) -> None:
    from rich.console import Console

    event = StreamingRecognizer(recognizer).feed(talk(40_000))[-1]
    console = Console(file=io.StringIO(), width=80)
    console.print(view(event))
    text = console.file.getvalue()
    assert all(label in text for label in recognizer.labels)
    assert "dB" in text
