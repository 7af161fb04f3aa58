"""File or array → `Prediction`, through `model.onnx`, in bounded memory and without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from math import ceil
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from emofocus import audio
from emofocus.audio import SAMPLING_RATE, AudioInput, Waveform
from emofocus.config import ModelConfig, load_model_config
from emofocus.engine import Engine, EngineOutput
from emofocus.errors import ConfigError, ModelError
from emofocus.segments import active_segments, segment_count, softmax, utterance_logits

BLOCK_SAMPLES = 10 * SAMPLING_RATE
"""Samples recognised at a time."""

DELTA_NEIGHBOURS = 4
"""Frames on either side that a delta is made of."""

Array = NDArray[np.float32]
Times = NDArray[np.float64]  # float32 cannot tell milliseconds apart after a few hours


@dataclass(frozen=True, slots=True)
class Segment:
    """One entry of a timeline: seconds, the likeliest label, and the probability of each.

    The temperature is that of whole utterances, on which it was fitted: nobody has measured how well it suits segments.
    """

    start: float
    end: float
    label: str
    scores: dict[str, float]


class Timeline(Sequence[Segment]):
    """Segments in order, made when they are looked at: an hour has 36,000 of them.

    Attributes:
        starts: Seconds (S,).
        ends: Seconds (S,).
        probabilities: (S, C), in the order of ``labels``.
        speech: Whether a segment is loud enough to count for the whole (S,).
    """

    def __init__(
        self,
        starts: Times,
        ends: Times,
        probabilities: Array,
        speech: NDArray[np.bool_],
        labels: tuple[str, ...],
    ) -> None:
        self.starts, self.ends = starts, ends
        self.probabilities, self.speech, self.labels = probabilities, speech, labels

    def __len__(self) -> int:
        """Number of segments."""
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> Segment: ...
    @overload
    def __getitem__(self, index: slice) -> "Timeline": ...
    def __getitem__(self, index: int | slice) -> "Segment | Timeline":
        """One segment, or a stretch of the timeline."""
        if isinstance(index, slice):
            parts = (self.starts[index], self.ends[index], self.probabilities[index], self.speech[index])
            return Timeline(*parts, self.labels)
        scores = self.probabilities[index]
        return Segment(
            start=round(float(self.starts[index]), 3),
            end=round(float(self.ends[index]), 3),
            label=self.labels[int(scores.argmax())],
            scores=_named(scores, self.labels),
        )


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was heard in one clip.

    Attributes:
        label: The likeliest emotion.
        scores: Probability of each emotion, in the order of the model's labels.
        duration: Seconds.
        timeline: One entry a segment.
        confident: Whether the probability of the label reaches the threshold.
    """

    label: str
    scores: dict[str, float]
    duration: float
    timeline: Timeline
    confident: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in the JSON output."""
        timeline = [
            {"start": item.start, "end": item.end, "label": item.label, "scores": item.scores} for item in self.timeline
        ]
        return {
            "label": self.label,
            "confident": self.confident,
            "scores": self.scores,
            "duration": self.duration,
            "timeline": timeline,
        }


class Recognizer:
    """Recognises the emotion in speech.

    >>> recognizer = Recognizer.from_pretrained()  # doctest: +SKIP
    >>> recognizer("clip.wav").label  # doctest: +SKIP
    'happy'

    Args:
        engine: Runs the model.
        config: Its `config.json`.
        threshold: Top probability from which on a prediction is confident, 0 … 1; the config's by default.

    Raises:
        ConfigError: The threshold is no probability.
    """

    def __init__(self, engine: Engine, config: ModelConfig, threshold: float | None = None) -> None:
        self.engine, self.config = engine, config
        self.labels = config.labels
        self.threshold = config.threshold if threshold is None else threshold
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"threshold {self.threshold} is no probability (valid: 0 to 1)")

    @classmethod
    def from_pretrained(
        cls, source: str | Path | None = None, threads: int | None = None, threshold: float | None = None
    ) -> "Recognizer":
        """Load a model.

        Args:
            source: A model directory, ``org/name`` on the Hugging Face Hub, or None for the model that is shipped.
            threads: CPU threads; as many as there are cores by default.
            threshold: Top probability from which on a prediction is confident; the model's by default.

        Raises:
            ModelError: No such model, or a file of it is missing or damaged.
            ConfigError: Its `config.json` has unknown keys or bad values, or the threshold is no probability.
        """
        folder = model_folder(source)
        config = load_model_config(folder / "config.json")
        return cls(Engine(folder / "model.onnx", threads), config, threshold)

    def __call__(self, audio_input: AudioInput) -> Prediction:
        """Recognise one clip of any length.

        Args:
            audio_input: A file's path, or ``{"array": samples, "sampling_rate": hertz}``.

        Raises:
            AudioError: The audio cannot be read, or holds nothing that can be recognised.
        """
        logits, level, samples = self._score(audio_input)
        speech = active_segments(level, self.config.segment)
        temperature = self.config.temperature
        scores = softmax(utterance_logits(logits, speech), temperature)
        duration = samples / SAMPLING_RATE
        starts, ends = self._times(len(logits), duration)
        timeline = Timeline(starts, ends, softmax(logits, temperature), speech, self.labels)
        named, label = _named(scores, self.labels), self.labels[int(scores.argmax())]
        return Prediction(label, named, round(duration, 3), timeline, confident=named[label] >= self.threshold)

    def _times(self, count: int, duration: float) -> tuple[Times, Times]:
        """Start and end of each segment in seconds."""
        frame = self.config.features.hop / SAMPLING_RATE
        starts: Times = np.arange(count) * np.float64(self.config.segment.hop * frame)
        ends: Times = np.minimum(starts + self.config.segment.frames * frame, duration)
        return starts, ends

    def _score(self, audio_input: AudioInput) -> tuple[Array, Array, int]:
        """Logits of all segments (S, C), level of all frames (n,), and the number of samples."""
        name = audio.name_of(audio_input)
        scorer = _BlockScorer(self.engine, self.config)
        peak = 0.0
        for block in audio.stream(audio_input):
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
            scorer.feed(block)
        audio.check_length(scorer.samples, name)
        audio.check_level(peak, name)
        scorer.finish()
        return np.concatenate(scorer.logits), np.concatenate(scorer.level), scorer.samples


class _BlockScorer:
    """Scores a recording block by block, exactly as if it were one: blocks overlap by what windows need."""

    def __init__(self, engine: Engine, config: ModelConfig) -> None:
        self.engine, self.segment, self.labels = engine, config.segment, config.labels
        self.frame_hop, self.window = config.features.hop, config.features.reach
        self.segment_hop = config.segment.hop * config.features.hop  # samples
        self.neighbours = DELTA_NEIGHBOURS if config.features.deltas else 0
        # Segments that stay for the next block, because windows or deltas of its first frames reach before it.
        self.margin = ceil((ceil(self.window / 2 / self.frame_hop) + self.neighbours) / config.segment.hop)
        self.samples = 0
        self.logits: list[Array] = []
        self.level: list[Array] = []
        self._waiting: list[Waveform] = []
        self._waiting_samples = 0
        self._origin = 0  # position of the first waiting sample
        self._segments = self._frames = 0  # done

    def feed(self, block: Waveform) -> None:
        """Take samples; score when enough have come."""
        for start in range(0, len(block), BLOCK_SAMPLES):
            part = block[start : start + BLOCK_SAMPLES]
            self._waiting.append(part)
            self._waiting_samples += len(part)
            self.samples += len(part)
            if self._waiting_samples >= BLOCK_SAMPLES:
                self._run(last=False)

    def finish(self) -> None:
        """Score what is left."""
        self._run(last=True)

    def _run(self, last: bool) -> None:
        waveform = np.concatenate(self._waiting)
        output = self.engine.run(waveform[None], np.array([len(waveform)], np.int64))
        self._check(output, len(waveform))
        frames, segments = self._finished(len(waveform), last)
        first_segment, first_frame = self._origin // self.segment_hop, self._origin // self.frame_hop
        # Copies: views would keep onnxruntime's memory, which then grows with the recording.
        self.logits.append(output.logits[0, self._segments - first_segment : segments].copy())
        self.level.append(output.level[0, self._frames - first_frame : frames].copy())
        self._segments, self._frames = first_segment + segments, first_frame + frames
        self._origin = max(0, self._segments - self.margin) * self.segment_hop
        rest = waveform[self._origin - first_segment * self.segment_hop :]
        self._waiting, self._waiting_samples = [rest], len(rest)

    def _finished(self, samples: int, last: bool) -> tuple[int, int]:
        """Frames and segments of a block that no later sample can change."""
        if last:
            frames = 1 + samples // self.frame_hop
            return frames, segment_count(frames, self.segment)
        frames = max(0, 1 + (samples - self.window // 2) // self.frame_hop - self.neighbours)
        return frames, segment_count(frames, self.segment) if frames >= self.segment.frames else 0

    def _check(self, output: EngineOutput, samples: int) -> None:
        """Refuse a graph that was exported for another config.json."""
        frames = 1 + samples // self.frame_hop
        expected = frames, segment_count(frames, self.segment), len(self.labels)
        given = output.level.shape[1], *output.logits.shape[1:]
        for number, wanted, name in zip(given, expected, ("frames", "segments", "scores"), strict=True):
            if number != wanted:
                raise ModelError(f"model.onnx gives {number} {name} where config.json leads to {wanted}")


def model_folder(source: str | Path | None) -> Path:
    """Where a model's files are, fetched from the Hub when ``source`` is ``org/name``.

    Raises:
        ModelError: No such folder, and not a name on the Hub that could be fetched.
    """
    if source is None:
        return Path(str(resources.files("emofocus") / "assets" / "default"))
    if Path(source).is_dir():
        return Path(source)
    parts = str(source).split("/")
    if len(parts) != 2 or not all(parts) or str(source).startswith((".", "~", "/")):
        raise ModelError(f"unknown model {str(source)!r} (valid: a model directory, or org/name on the Hub)")
    return _download(str(source))


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download  # imported here: seldom needed, and slow to start

    try:
        return Path(snapshot_download(name, allow_patterns=["model.onnx", "config.json", "README.md", "*.safetensors"]))
    except Exception as error:  # the Hub's, the network's and the file system's errors share no base
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"unknown model {name!r}: no such folder here, and the Hub did not give it ({reason})"
        ) from error


def _named(scores: Array, labels: tuple[str, ...]) -> dict[str, float]:
    return {label: round(float(score), 6) for label, score in zip(labels, scores, strict=True)}
