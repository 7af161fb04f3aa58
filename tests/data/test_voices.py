"""Training segments adapted to their speakers, which must be what recognition does to a voice later."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from emofocus.config import (
    EncoderSettings,
    FeatureSettings,
    ModelConfig,
    NetworkSettings,
    Recipe,
    SegmentSettings,
    parse,
)
from emofocus.data import voices
from emofocus.data.datasets import SegmentDataset
from emofocus.data.feature_store import Speech
from emofocus.data.voices import VoicedPart
from emofocus.errors import ConfigError, ModelError
from emofocus.models import build
from emofocus.recognition.voice import VoiceProfile

SIZE, FRAME, STRENGTH = 8, 0.08, 4.0
SETTINGS = SegmentSettings(frames=20, hop=10)
SPEAKERS = ("a", "a", "a", "b", "b", "c")


def speech(seed: int, lengths: Sequence[int] = (20, 14, 20, 9, 20, 20)) -> list[Speech]:
    generator = np.random.default_rng(seed)
    return [
        Speech(generator.normal(number, 1 + number, (n, SIZE)).astype(np.float32), np.zeros(n, np.float32))
        for number, n in enumerate(lengths)
    ]


def part(clips: Sequence[int], variants: int = 1) -> VoicedPart:
    dataset = SegmentDataset(speech(0), [0, 1, 0, 1, 0, 1], SETTINGS, variants=[speech(k + 1) for k in range(variants)])
    return VoicedPart(dataset, SPEAKERS, clips, FRAME)


def network():
    encoder = EncoderSettings(source="none", digest="", config={"d_model": SIZE})
    features = FeatureSettings(name="whisper", encoder=encoder, layers=2)
    made = build(
        ModelConfig.of("encoder-faca", ("x", "y"), features=features, network=NetworkSettings(voice_seconds=STRENGTH))
    )
    made.normalize.set(torch.full((SIZE,), 2.0), torch.full((SIZE,), 3.0))
    return made


def prepared(clips: Sequence[int], variants: int = 1):
    voiced, made = part(clips, variants), network()
    voiced.prepare(made)
    return voiced, made


def test_an_average_utterance_has_statistics_of_zero_deviation() -> None:
    voiced, made = prepared([1])
    deviations = [
        made.voice(made.normalize(torch.from_numpy(item)))[1]
        for number in range(6)
        for item in voiced.part.segments_of(0, number)
    ]
    torch.testing.assert_close(torch.stack(deviations).mean(dim=0), torch.zeros(SIZE), atol=1e-5, rtol=0)


def test_no_clips_leave_every_segment_as_it_is() -> None:
    voiced, _ = prepared([0], variants=0)
    plain = next(voiced.part.epoch(6, np.random.default_rng(0)).steps).batch
    adapted = next(voiced.epoch(6, np.random.default_rng(0)).steps).batch
    torch.testing.assert_close(adapted.features, plain.features)
    assert adapted.labels.tolist() == plain.labels.tolist()


def test_all_clips_of_a_speaker_are_the_profile_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training shrinks means and deviations by the rule of `VoiceProfile`."""
    monkeypatch.setattr(voices, "ONE_CLASS", 0.0)
    voiced, made = prepared([3], variants=0)
    shift, scale = voiced.shifts(np.array([0]), np.random.default_rng(0))
    profile = None
    for number in range(3):
        (segment,) = voiced.part.segments_of(0, number)
        statistics = made.voice(made.normalize(torch.from_numpy(segment))).numpy()
        item = VoiceProfile("m", len(segment) * FRAME, 1, statistics)
        profile = item if profile is None else profile + item
    expected = profile.voice(STRENGTH)
    np.testing.assert_allclose(shift[0], expected.shift, atol=1e-5)
    np.testing.assert_allclose(scale[0], expected.scale, atol=1e-5)


def test_clips_of_one_class_alone_are_of_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speaker a has two clips of class 0 and one of class 1: many clips of one class are either of these."""
    monkeypatch.setattr(voices, "ONE_CLASS", 1.0)
    voiced, _ = prepared([9], variants=0)
    shift, _ = voiced.shifts(np.zeros(64, np.int64), np.random.default_rng(0))
    assert len(np.unique(shift.numpy().round(4), axis=0)) == 2
    monkeypatch.setattr(voices, "ONE_CLASS", 0.0)
    together, _ = voiced.shifts(np.zeros(64, np.int64), np.random.default_rng(0))
    assert len(np.unique(together.numpy().round(4), axis=0)) == 1


def test_clips_are_the_speakers_own_of_the_same_version_and_at_most_all_of_them() -> None:
    """Speaker c has one utterance, so that any number of clips is that one."""
    voiced, made = prepared([1, 5], variants=1)
    for track in range(2):
        voiced.part.track_of = np.full(6, track)
        shift, _ = voiced.shifts(np.array([5] * 4), np.random.default_rng(track))
        (segment,) = voiced.part.segments_of(track, 5)
        seconds = len(segment) * FRAME
        mean = made.normalize(torch.from_numpy(segment)).mean(dim=0)
        torch.testing.assert_close(shift, (seconds / (seconds + STRENGTH) * mean).expand(4, -1))


def test_an_epoch_is_drawn_from_its_generator_alone_and_padding_stays_zero() -> None:
    voiced, _ = prepared([0, 1, 2])
    passes = [list(voiced.epoch(3, np.random.default_rng(7)).steps) for _ in range(2)]
    for one, other in zip(*passes, strict=True):
        torch.testing.assert_close(one.batch.features, other.batch.features, atol=0, rtol=0)
        lengths = one.batch.lengths
        for row, length in zip(one.batch.features, [] if lengths is None else lengths.tolist(), strict=False):
            assert not row[length:].any()


def test_voices_need_a_network_that_is_adapted() -> None:
    with pytest.raises(ConfigError, match="its network needs voice_seconds"):
        parse(Recipe, {"voice_clips": [0, 4]}, "recipe")
    config = ModelConfig.of("compact-faca", ("x", "y"), network=NetworkSettings(voice_seconds=4.0))
    with pytest.raises(ModelError, match="cannot be adapted to voices"):
        build(config)
