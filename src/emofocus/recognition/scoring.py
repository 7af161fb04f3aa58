"""A recording of any length through `model.onnx`, block by block, exactly as if it were one."""

from collections.abc import Callable
from math import ceil
from typing import Any

import numpy as np

from emofocus.audio.loading import SAMPLING_RATE, Waveform
from emofocus.config import FeatureSettings, ModelConfig
from emofocus.errors import ModelError
from emofocus.recognition.engine import Engine, EngineOutput
from emofocus.segments import segment_count

BLOCK_SAMPLES = 10 * SAMPLING_RATE
"""Samples recognized at a time."""

DELTA_NEIGHBORS = 4
"""Frames on either side that a delta is made of."""

BY_FRAME = ("level", "features")
"""Outputs with one row a frame; the others have one a segment."""


class BlockScorer:
    """Scores a recording block by block, exactly as if it were one: blocks overlap by what windows need.

    Args:
        engine: Runs the model.
        config: Its `config.json`.
        take: Given what is new in each block, without the batch's axis: consecutive frames (n', …) and segments
            (S', …). Its arrays are views of onnxruntime's memory, which is kept as long as one of them is.
        need_maps: As in `Engine.run`.
    """

    def __init__(
        self, engine: Engine, config: ModelConfig, take: Callable[[EngineOutput], None], need_maps: bool = False
    ) -> None:
        self.engine, self.config, self.segment = engine, config, config.segment
        self.take, self.need_maps = take, need_maps
        self.frame_hop = config.features.hop
        self.segment_hop = config.segment.hop * config.features.hop  # samples
        # Segments that stay for the next block, because windows or deltas of its first frames reach before it.
        self.margin = ceil(frames_around(config.features) / config.segment.hop)
        self.samples = 0
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
        output = self.engine.run(waveform[None], np.array([len(waveform)], np.int64), self.need_maps, self.segment.hop)
        check_shapes(output, len(waveform), self.config)
        frames, segments = finished(len(waveform), self.config, last)
        first_segment, first_frame = self._origin // self.segment_hop, self._origin // self.frame_hop
        new_frames = slice(self._frames - first_frame, frames)
        new_segments = slice(self._segments - first_segment, segments)
        self.take(_cut(output, new_frames, new_segments))
        self._segments, self._frames = first_segment + segments, first_frame + frames
        self._origin = max(0, self._segments - self.margin) * self.segment_hop
        rest = waveform[self._origin - first_segment * self.segment_hop :]
        self._waiting, self._waiting_samples = [rest], len(rest)


def frames_around(settings: FeatureSettings) -> int:
    """Frames on either side that a frame's window and its deltas reach over."""
    return ceil(settings.reach / 2 / settings.hop) + _neighbors(settings)


def _neighbors(settings: FeatureSettings) -> int:
    return DELTA_NEIGHBORS if settings.deltas else 0


def finished(samples: int, config: ModelConfig, last: bool) -> tuple[int, int]:
    """Frames and segments that no later sample can change; all that there are, if these are the last."""
    features, segment = config.features, config.segment
    if last:
        frames = 1 + samples // features.hop
        return frames, segment_count(frames, segment)
    frames = max(0, 1 + (samples - features.reach // 2) // features.hop - _neighbors(features))
    return frames, segment_count(frames, segment) if frames >= segment.frames else 0


def check_shapes(output: EngineOutput, samples: int, config: ModelConfig) -> None:
    """Refuse a graph that was exported for another config.json.

    Raises:
        ModelError: It gives other numbers of frames, segments or scores than the config leads to.
    """
    frames = 1 + samples // config.features.hop
    expected = frames, segment_count(frames, config.segment), len(config.labels)
    given = output.level.shape[1], *output.logits.shape[1:]
    for number, wanted, name in zip(given, expected, ("frames", "segments", "scores"), strict=True):
        if number != wanted:
            raise ModelError(f"model.onnx gives {number} {name} where config.json leads to {wanted}")


def _cut(output: EngineOutput, frames: slice, segments: slice) -> EngineOutput:
    """The first row of a batch, and of it some frames and segments."""

    def part(name: str, values: Any) -> Any:
        return None if values is None else values[0, frames if name in BY_FRAME else segments]

    return EngineOutput(**{name: part(name, values) for name, values in output._asdict().items()})
