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

from emofocus.audio.loading import SAMPLING_RATE
from emofocus.audio.samples import Waveform
from emofocus.config import ModelConfig, Settings
from emofocus.errors import ConfigError
from emofocus.recognition.engine import Array, Engine, EngineOutput, Voice
from emofocus.recognition.scoring import BlockRunner
from emofocus.segments import active_segments
from emofocus.utils.atomic import write_text


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

    def save(self, path: Path) -> None:
        """Write the profile as JSON."""
        text = base64.b64encode(self.statistics.astype("<f4").tobytes()).decode()
        file = _ProfileFile(model=self.model, seconds=round(self.seconds, 2), clips=self.clips, statistics=text)
        write_text(path, msgspec.json.format(msgspec.json.encode(file)).decode() + "\n")

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
        if not np.isfinite(statistics).all() or not 0 < file.seconds < float("inf"):
            raise ConfigError("a damaged voice profile: its numbers are not finite, or no speech was heard")
        return cls(file.model, file.seconds, file.clips, statistics)


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
            f"the voice profile was made with another model ({profile.model}, this one is {engine.digest}); make it "
            "anew with emofocus adapt"
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
    levels = np.concatenate(level)
    speech = np.flatnonzero(active_segments(levels, config.segment))
    heard = np.zeros(len(levels), bool)
    for number in speech:
        first = number * config.segment.hop
        heard[first : first + config.segment.frames] = True
    seconds = float(heard.sum()) * config.features.hop / SAMPLING_RATE
    return VoiceProfile(engine.digest, seconds, 1, np.concatenate(statistics)[speech].mean(axis=0))
