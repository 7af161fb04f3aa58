"""Samples → `Prediction`: the one way for clips, batches, long recordings, requests and explanations."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofocus import audio
from emofocus.audio.loading import SAMPLING_RATE
from emofocus.audio.quality import Quality
from emofocus.audio.samples import Waveform
from emofocus.config import FeatureSettings, ModelConfig
from emofocus.errors import ModelError
from emofocus.recognition.engine import Array, Engine, EngineOutput, Voice
from emofocus.recognition.prediction import Prediction, Timeline, scores_by_label, segment_times
from emofocus.segments import active_segments, segment_count, softmax, utterance_logits

BLOCK_SAMPLES = 10 * SAMPLING_RATE
"""Samples of a long recording that are scored at a time."""

DELTA_NEIGHBORS = 4
"""Frames on either side that a delta is computed from."""

BY_FRAME = ("level", "features")
"""Outputs with one row a frame; the others have one a segment."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """Scores waveforms with one model. Every `Prediction` of the project is made here.

    Attributes:
        engine: Runs the model.
        config: The model's `config.json`.
        threshold: Lowest probability of the label at which a prediction counts as confident, 0 to 1.
        voice: Voice that the model is adapted to; None for nobody's.
    """

    engine: Engine
    config: ModelConfig
    threshold: float
    voice: Voice | None = None

    def score_recording(
        self,
        blocks: Iterable[Waveform],
        name: str,
        start: float = 0.0,
        observe: Callable[[EngineOutput], None] | None = None,
    ) -> Prediction:
        """Score one recording of any length, in memory that grows by a few numbers a segment.

        Args:
            blocks: Consecutive samples (T_k,), 16 kHz.
            name: Name of the recording in error messages.
            start: Seconds at which the first sample lies; all times of the prediction count from there.
            observe: Receives the output of each block, attention maps included, as `BlockRunner` gives it.

        Raises:
            AudioError: The recording is shorter than one analysis window, or silent.
            ModelError: `model.onnx` does not belong to the config.
        """
        recording = OpenRecording(self, name, start, observe)
        for block in blocks:
            recording.feed(block)
        return recording.finish()

    def score_batch(self, waveforms: Sequence[Waveform]) -> list[Prediction]:
        """Score several clips (T,) in one run of the engine, padded to the longest.

        Clips that fill no segment must all have one length.

        Raises:
            ModelError: `model.onnx` does not belong to the config.
        """
        lengths = np.array([len(waveform) for waveform in waveforms], np.int64)
        rows = np.zeros((len(waveforms), int(lengths.max())), np.float32)
        for row, waveform in zip(rows, waveforms, strict=True):
            row[: len(waveform)] = waveform
        output = run_checked(self.engine, self.config, rows, lengths, voice=self.voice)
        predictions = []
        for number, waveform in enumerate(waveforms):
            quality = Quality()
            quality.feed(waveform)
            frames = 1 + len(waveform) // self.config.features.hop
            logits = output.logits[number, : segment_count(frames, self.config.segment)].copy()
            level = output.level[number, :frames].copy()
            predictions.append(self.predict(logits, level, quality))
        return predictions

    def embed_recording(self, blocks: Iterable[Waveform], name: str) -> tuple[Array, NDArray[np.bool_]]:
        """Embedding of each segment of a recording (S, D), and whether the segment holds speech (S,).

        Args:
            blocks: Consecutive samples (T_k,), 16 kHz.
            name: Name of the recording in error messages.

        Raises:
            AudioError: The recording is shorter than one analysis window, or silent.
            ModelError: The model gives no embeddings, or does not belong to the config.
        """
        if not self.engine.embeds:
            folder = self.engine.path.parent
            raise ModelError(f"{folder} gives no embeddings; emofocus export {folder} makes it anew, with them")
        embedding: list[Array] = []
        level: list[Array] = []

        def keep(output: EngineOutput) -> None:
            assert output.pooled is not None
            embedding.append(output.pooled.copy())
            level.append(output.level.copy())

        BlockRunner(self.engine, self.config, keep, voice=self.voice, need_embedding=True).run(blocks, name)
        return np.concatenate(embedding), active_segments(np.concatenate(level), self.config.segment)

    def predict(self, logits: Array, level: Array, quality: Quality, start: float = 0.0) -> Prediction:
        """Turn the outputs for one recording into its prediction.

        Args:
            logits: Scores of each segment (S, C).
            level: Level of each frame (n,), in dB full scale.
            quality: Quality of the whole recording.
            start: Seconds at which the recording begins.
        """
        config = self.config
        speech = active_segments(level, config.segment)
        mean = utterance_logits(logits, speech)
        probabilities = softmax(mean, config.temperature)
        duration = quality.samples / SAMPLING_RATE
        starts, ends = segment_times(len(logits), duration, config)
        timeline = Timeline(start + starts, start + ends, softmax(logits, config.temperature), speech, config.labels)
        scores, label = scores_by_label(probabilities, config.labels), config.labels[int(probabilities.argmax())]
        removed = config.features.remove_offset is True
        notices = quality.notices(level, removed)
        return Prediction(label, scores, round(duration, 3), timeline, scores[label] >= self.threshold, notices)


class OpenRecording:
    """A recording that comes block by block, and is scored when it ends.

    Args:
        scorer: Scores it.
        name: Name of the recording in error messages.
        start: Seconds at which the first sample lies.
        observe: Receives the output of each block, as in `Scorer.score_recording`.
    """

    def __init__(
        self, scorer: Scorer, name: str, start: float = 0.0, observe: Callable[[EngineOutput], None] | None = None
    ) -> None:
        self._scorer, self._name, self._start, self._observe = scorer, name, start, observe
        self._logits: list[Array] = []
        self._level: list[Array] = []
        self._runner = BlockRunner(scorer.engine, scorer.config, self._keep, observe is not None, scorer.voice)

    def feed(self, block: Waveform) -> None:
        """Take the next samples (T,), 16 kHz."""
        self._runner.feed(block)

    def finish(self) -> Prediction:
        """Score the samples that are left, and predict.

        Raises:
            AudioError: The recording is shorter than one analysis window, or silent.
        """
        self._runner.finish(self._name)
        logits, level = np.concatenate(self._logits), np.concatenate(self._level)
        return self._scorer.predict(logits, level, self._runner.quality, self._start)

    def _keep(self, output: EngineOutput) -> None:
        # Copies: views would keep onnxruntime's memory, which then grows with the recording.
        self._logits.append(output.logits.copy())
        self._level.append(output.level.copy())
        if self._observe is not None:
            self._observe(output)


class BlockRunner:
    """Runs a model over a recording block by block, with the outputs of a single run.

    Blocks overlap by the reach of windows and deltas.

    Args:
        engine: Runs the model.
        config: The model's `config.json`.
        take: Receives the new part of each block's output, without the batch's axis: consecutive frames (n', …) and
            segments (S', …). The arrays are views of onnxruntime's memory, which is kept as long as one of them is.
        need_maps: Whether to compute attention maps and features too, see `Engine.run`.
        voice: Voice that the model is adapted to.
        need_voice: Whether to compute statistics of the voice too.
        need_embedding: Whether to compute embeddings too.

    Attributes:
        quality: Quality of the samples so far.
    """

    def __init__(
        self,
        engine: Engine,
        config: ModelConfig,
        take: Callable[[EngineOutput], None],
        need_maps: bool = False,
        voice: Voice | None = None,
        need_voice: bool = False,
        need_embedding: bool = False,
    ) -> None:
        self.engine, self.config, self.segment = engine, config, config.segment
        self.take, self._wanted = take, (need_maps, voice, need_voice, need_embedding)
        self.frame_hop = config.features.hop
        self.segment_hop = config.segment.hop * config.features.hop  # samples
        # Segments that stay for the next block, because windows or deltas of its first frames reach before it.
        self.margin = ceil(frames_around(config.features) / config.segment.hop)
        self.quality = Quality()
        self._waiting: list[Waveform] = []
        self._waiting_samples = 0
        self._origin = 0  # position of the first waiting sample
        self._segments = self._frames = 0  # done

    def run(self, blocks: Iterable[Waveform], name: str) -> Quality:
        """Feed a whole recording, block by block, and finish it.

        Args:
            blocks: Consecutive samples (T_k,), 16 kHz.
            name: Name of the recording in error messages.

        Returns:
            Quality of the recording.

        Raises:
            AudioError: The recording is shorter than one analysis window, or silent.
            ModelError: `model.onnx` does not belong to the config.
        """
        for block in blocks:
            self.feed(block)
        self.finish(name)
        return self.quality

    def feed(self, block: Waveform) -> None:
        """Add samples, and score when a block is full."""
        self.quality.feed(block)
        for start in range(0, len(block), BLOCK_SAMPLES):
            part = block[start : start + BLOCK_SAMPLES]
            self._waiting.append(part)
            self._waiting_samples += len(part)
            if self._waiting_samples >= BLOCK_SAMPLES:
                self._run(last=False)

    def finish(self, name: str) -> None:
        """Score the samples that are left; ``name`` and errors are those of `run`."""
        audio.check_length(self.quality.samples, name)
        audio.check_level(self.quality.swing, name)
        self._run(last=True)

    def _run(self, last: bool) -> None:
        waveform = np.concatenate(self._waiting)
        lengths = np.array([len(waveform)], np.int64)
        output = run_checked(self.engine, self.config, waveform[None], lengths, *self._wanted)
        frames, segments = final_counts(len(waveform), self.config, last)
        first_segment, first_frame = self._origin // self.segment_hop, self._origin // self.frame_hop
        new_frames = slice(self._frames - first_frame, frames)
        new_segments = slice(self._segments - first_segment, segments)
        self.take(_cut(output, new_frames, new_segments))
        self._segments, self._frames = first_segment + segments, first_frame + frames
        self._origin = max(0, self._segments - self.margin) * self.segment_hop
        rest = waveform[self._origin - first_segment * self.segment_hop :]
        self._waiting, self._waiting_samples = [rest], len(rest)


def frames_around(settings: FeatureSettings) -> int:
    """Number of frames on either side that a frame's window and its deltas reach."""
    return ceil(settings.reach / 2 / settings.hop) + _neighbors(settings)


def _neighbors(settings: FeatureSettings) -> int:
    return DELTA_NEIGHBORS if settings.deltas else 0


def final_counts(samples: int, config: ModelConfig, last: bool) -> tuple[int, int]:
    """Number of frames and of segments that no later sample can change.

    Args:
        samples: Number of samples so far.
        config: The model's `config.json`.
        last: Whether no more samples follow: then all frames and segments are final.
    """
    features, segment = config.features, config.segment
    if last:
        frames = 1 + samples // features.hop
        return frames, segment_count(frames, segment)
    frames = max(0, 1 + (samples - features.ahead) // features.hop - _neighbors(features))
    return frames, segment_count(frames, segment) if frames >= segment.frames else 0


def run_checked(
    engine: Engine,
    config: ModelConfig,
    rows: Array,
    lengths: NDArray[np.int64],
    need_maps: bool = False,
    voice: Voice | None = None,
    need_voice: bool = False,
    need_embedding: bool = False,
) -> EngineOutput:
    """Run a batch (B, T) and refuse a graph that was exported for another `config.json`.

    Raises:
        ModelError: The output has other numbers of frames, segments or scores than the config leads to.
    """
    window = config.segment.frames if engine.windowed else None
    output = engine.run(rows, lengths, need_maps, config.segment.hop, window, voice, need_voice, need_embedding)
    frames = 1 + rows.shape[1] // config.features.hop
    expected = frames, segment_count(frames, config.segment), len(config.labels)
    given = output.level.shape[1], *output.logits.shape[1:]
    for number, wanted, name in zip(given, expected, ("frames", "segments", "scores"), strict=True):
        if number != wanted:
            raise ModelError(f"model.onnx gives {number} {name} where config.json leads to {wanted}")
    return output


def _cut(output: EngineOutput, frames: slice, segments: slice) -> EngineOutput:
    """Some frames and segments of the first row of a batch."""

    def part(name: str, values: Any) -> Any:
        return None if values is None else values[0, frames if name in BY_FRAME else segments]

    return EngineOutput(**{name: part(name, values) for name, values in output._asdict().items()})
