"""Voices: statistics of somebody's unlabelled speech, to which a model is adapted.

A network hears a voice, a microphone and a room before it hears an emotion. So a model's features are brought to the
statistics that they have in its training part: the more speech of a voice is known, the further (a maximum a posteriori
estimate of mean and deviation, whose prior is the training part; Gauvain and Lee, *Maximum a posteriori estimation for
multivariate Gaussian mixture observations of Markov chains*, IEEE Transactions on Speech and Audio Processing 2, 1994).

A profile holds no audio and no words. Its numbers say how somebody sounds, so it is personal data all the same.
"""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from emofocus.audio.loading import SAMPLING_RATE
from emofocus.audio.samples import Waveform
from emofocus.config import ModelConfig, Settings
from emofocus.errors import ConfigError
from emofocus.recognition.engine import Array, Engine, EngineOutput, Voice
from emofocus.recognition.scoring import BlockRunner
from emofocus.segments import active_segments
from emofocus.utils.atomic import write_text

LARGEST_MEAN, LARGEST_LOG_DEVIATION, LONGEST_SECONDS = 1e3, 10.0, 1e7
"""Largest numbers of a profile that speech could lead to; others are damage, and would overflow in the network."""


class _ProfileFile(Settings, frozen=True, kw_only=True):
    """A profile as JSON: the statistics are 2 · F numbers of 32 bits in base64."""

    format: Literal["emofocus-voice/1"] = "emofocus-voice/1"
    model: str
    seconds: float
    clips: int
    statistics: str


@dataclass(frozen=True, eq=False)
class VoiceProfile:
    """Statistics of a voice, for one model.

    Attributes:
        model: Digest of the model (`Engine.digest`). Its fp32, fp16 and int8 graphs share it.
        seconds: Seconds of speech that were heard.
        clips: Number of recordings.
        statistics: Mean and log deviation of each feature (2, F); zeros are those of the training part.
    """

    model: str
    seconds: float
    clips: int
    statistics: Array

    def __add__(self, other: "VoiceProfile") -> "VoiceProfile":
        """The profile of the speech of both.

        Raises:
            ConfigError: They are for different models.
        """
        if self.model != other.model:
            raise ConfigError(f"profiles for two models cannot be joined ({self.model} and {other.model})")
        total = self.seconds + other.seconds
        statistics = (self.statistics * self.seconds + other.statistics * other.seconds) / total
        return VoiceProfile(self.model, total, self.clips + other.clips, statistics.astype(np.float32))

    @property
    def digest(self) -> str:
        """Hash of the profile, which tells it from others and not how the voice sounds."""
        import hashlib  # here: OpenSSL takes longer to load than a clip to be recognized

        content = self.model.encode() + np.float64(self.seconds).tobytes() + self.statistics.tobytes()
        return hashlib.blake2b(content, digest_size=16).hexdigest()

    def voice(self, strength: float) -> Voice:
        """The voice, as the engine takes it.

        Args:
            strength: Seconds of speech at which the voice's statistics count half.
        """
        weight = np.float32(self.seconds / (self.seconds + strength))
        return Voice(weight * self.statistics[0], np.exp(weight * self.statistics[1]))

    def to_json(self) -> str:
        """The profile as JSON, which `parse` reads."""
        text = base64.b64encode(self.statistics.astype("<f4").tobytes()).decode()
        file = _ProfileFile(model=self.model, seconds=round(self.seconds, 2), clips=self.clips, statistics=text)
        return msgspec.json.format(msgspec.json.encode(file)).decode()

    def save(self, path: Path) -> None:
        """Write the profile as JSON."""
        write_text(path, self.to_json() + "\n")

    @classmethod
    def load(cls, path: Path) -> "VoiceProfile":
        """Read what `save` wrote.

        Raises:
            ConfigError: The file is missing, or is no profile.
        """
        try:
            return cls.parse(path.read_bytes())
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None

    @classmethod
    def parse(cls, content: bytes) -> "VoiceProfile":
        """Read the content of a profile's file.

        Raises:
            ConfigError: It is none.
        """
        try:
            file = msgspec.json.decode(content, type=_ProfileFile)
            values = np.frombuffer(base64.b64decode(file.statistics, validate=True), "<f4")
            statistics = values.reshape(2, -1).astype(np.float32)
        except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
            raise ConfigError(f"no voice profile, which emofocus adapt writes ({error})") from error
        largest = np.abs(statistics).max(axis=1, initial=0.0)
        possible = largest[0] <= LARGEST_MEAN and largest[1] <= LARGEST_LOG_DEVIATION  # False for NaN, too
        if not possible or not 0 < file.seconds <= LONGEST_SECONDS:
            raise ConfigError("a damaged voice profile: no speech has such statistics, or none was heard")
        return cls(file.model, file.seconds, file.clips, statistics)


@dataclass(frozen=True, eq=False)
class SpeechStatistics:
    """Statistics of the segments of one recording that hold speech, added up one by one.

    Attributes:
        total: Sum of the statistics of the segments (2, F); 0 before the first.
        segments: Number of segments.
        frames: Number of frames that lie in at least one of them.
        end: Number of the first frame behind all of them.
    """

    total: NDArray[np.float64] | float = 0.0
    segments: int = 0
    frames: int = 0
    end: int = 0

    def add(self, statistics: Array, start: int, end: int) -> "SpeechStatistics":
        """Statistics with one more segment, which begins at no earlier frame than those before.

        Args:
            statistics: Those of the segment (2, F).
            start: Number of its first frame.
            end: Number of the frame behind it.
        """
        frames = self.frames + max(0, end - max(start, self.end))
        total = np.asarray(self.total + statistics, np.float64)
        return SpeechStatistics(total, self.segments + 1, frames, max(end, self.end))

    def profile(self, model: str, hop: int) -> VoiceProfile | None:
        """Profile of the voice; None if no segment held speech.

        Args:
            model: Digest of the model.
            hop: Number of samples from frame to frame.
        """
        if not self.segments:
            return None
        mean = np.asarray(self.total / self.segments, np.float32)
        return VoiceProfile(model, self.frames * hop / SAMPLING_RATE, 1, mean)


def strength_of(engine: Engine, config: ModelConfig) -> float:
    """Seconds of speech at which a voice's statistics count half.

    Raises:
        ConfigError: The model cannot be adapted.
    """
    seconds = config.network.voice_seconds
    if not engine.adaptable or not isinstance(seconds, float):
        raise ConfigError(
            f"this {config.model} cannot be adapted to a voice: it was trained without voice_clips in its recipe"
        )
    return seconds


def adapted_voice(engine: Engine, config: ModelConfig, profile: VoiceProfile) -> Voice:
    """The engine's input for a profile.

    Raises:
        ConfigError: The model cannot be adapted, or the profile is another model's.
    """
    strength = strength_of(engine, config)
    if profile.model != engine.digest:
        raise ConfigError(
            f"the voice profile was made with another model ({profile.model[:32]}, this one is {engine.digest}); make "
            "it anew with emofocus adapt"
        )
    if profile.statistics.shape[1] != engine.voice_size:
        raise ConfigError(
            f"a damaged voice profile: it has {profile.statistics.shape[1]} features, and its model {engine.voice_size}"
        )
    return profile.voice(strength)


def measure(engine: Engine, config: ModelConfig, blocks: Iterable[Waveform], name: str) -> VoiceProfile:
    """Profile of the voice in one recording.

    Args:
        engine: Runs the model.
        config: The model's `config.json`.
        blocks: Consecutive samples (T_k,), 16 kHz.
        name: Name of the recording in error messages.

    Raises:
        ConfigError: The model cannot be adapted.
        AudioError: The recording is shorter than one analysis window, or silent.
    """
    strength_of(engine, config)
    statistics: list[Array] = []
    level: list[Array] = []

    def keep(output: EngineOutput) -> None:
        assert output.voice is not None
        statistics.append(output.voice.copy())
        level.append(output.level.copy())

    BlockRunner(engine, config, keep, need_voice=True).run(blocks, name)
    levels, segments, heard = np.concatenate(level), np.concatenate(statistics), SpeechStatistics()
    for number in np.flatnonzero(active_segments(levels, config.segment)).tolist():
        first = number * config.segment.hop
        heard = heard.add(segments[number], first, min(first + config.segment.frames, len(levels)))
    profile = heard.profile(engine.digest, config.features.hop)
    assert profile is not None  # at least one segment is active
    return profile
