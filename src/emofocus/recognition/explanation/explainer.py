"""Explainer: scores a clip, and keeps the attention behind the prediction."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofocus import audio
from emofocus.audio.loading import SAMPLING_RATE, AudioInput
from emofocus.audio.samples import Waveform
from emofocus.config import FeatureSettings
from emofocus.errors import ConfigError, ModelError, SilentAudioError
from emofocus.recognition.engine import EngineOutput
from emofocus.recognition.explanation.explanation import PLACES, Explanation
from emofocus.recognition.prediction import Array, Prediction
from emofocus.recognition.scoring import Scorer
from emofocus.segments import segment_count

MAPS_BYTES = 64 << 20
"""Bytes of attention maps that are kept at most unless segments are chosen. Of recordings with more maps, those around
the loudest moment are kept."""

FEATURE_NAMES = {
    "mfcc": "MFCC",
    "log-mel": "mel bands",
    "waveform": "samples",
    "whisper": "mel bands",
    "wav2vec2": "samples",
    "hubert": "samples",
    "wavlm": "samples",
}
"""Features → their names in figures."""


def explain(
    scorer: Scorer,
    audio_input: AudioInput,
    start: float | None = None,
    end: float | None = None,
    segments: Sequence[float] = (),
    track: int | None = None,
) -> Explanation:
    """Explain one clip, or a part of it; see `emofocus.Recognizer.explain`."""
    if not scorer.engine.attends:
        raise ModelError(
            f"{scorer.config.model} has no attention to explain: its {scorer.engine.path.name} has no such output"
        )
    name = audio.name_of(audio_input)
    notices: list[audio.Notice] = []
    try:
        waveform = audio.load(audio_input, start, end, track, notices.append)
    except SilentAudioError as error:
        raise SilentAudioError(f"{error}: there is nothing to attend to") from error
    explainer = Explainer(scorer, waveform, name, start or 0.0)
    explanation = explainer.explain(explainer.choose(segments))
    return replace(explanation, prediction=explanation.prediction.with_notices(notices)) if notices else explanation


class Explainer:
    """Runs a model over a clip and keeps its attention, in memory that does not grow with S · m².

    Args:
        scorer: Scores the clip.
        waveform: Samples (T,), 16 kHz.
        name: Name of the clip.
        start: Seconds at which the first sample lies.
    """

    def __init__(self, scorer: Scorer, waveform: Waveform, name: str, start: float) -> None:
        self.scorer, self.engine, self.config = scorer, scorer.engine, scorer.config
        self.waveform, self.name, self.start = waveform, name, start
        hop = self.config.features.hop
        self.frame_seconds = hop / SAMPLING_RATE
        self.count = 1 + len(waveform) // hop  # n
        self.segments = segment_count(self.count, self.config.segment)  # S
        self.segment_frames = min(self.config.segment.frames, self.count)
        self.amplitude = frame_amplitude(waveform, hop, self.config.features.centre)
        self.first_middle = start + self.config.features.centre / SAMPLING_RATE
        self.peak_frames = peaks_of(self.amplitude, self._firsts(), self.segment_frames, 1)  # within their segments

    def _firsts(self) -> NDArray[np.int64]:
        """First frame of each segment."""
        return np.arange(self.segments) * self.config.segment.hop

    def choose(self, seconds: Sequence[float]) -> NDArray[np.int64]:
        """Numbers of the segments whose maps are kept (K,).

        Args:
            seconds: For each, the segment whose middle is nearest. Without any, all segments if they are few, or
                those around the loudest moment.

        Raises:
            ConfigError: A second lies outside the clip.
        """
        span = self.segment_frames * self.frame_seconds
        end = self.start + len(self.waveform) / SAMPLING_RATE
        for second in seconds:
            if not self.start <= second <= end:
                raise ConfigError(f"{self.name}: there is no second {second:g} (valid: {self.start:.2f} to {end:.2f})")
        wanted = [second - span / 2 for second in seconds]
        if not seconds:
            positions = -(-self.config.segment.frames // self.engine.step)
            if self.segments * 8 * 4 * positions**2 <= MAPS_BYTES:  # maps of 8 heads in float32
                return np.arange(self.segments)
            loudest = self._loudest()
            wanted = [loudest - place * span for place in PLACES]
        return self._nearest(wanted)

    def _nearest(self, starts: Sequence[float]) -> NDArray[np.int64]:
        """Numbers of the segments that start nearest to some seconds of the clip, each once, in order."""
        hop = self.config.segment.hop * self.frame_seconds
        numbers = np.rint((np.array(starts) - self.start) / hop).astype(np.int64)
        return np.unique(numbers.clip(0, self.segments - 1))

    def _loudest(self) -> float:
        return self.start + int(np.abs(self.waveform).argmax()) / SAMPLING_RATE

    def explain(self, chosen: NDArray[np.int64]) -> Explanation:
        """Score the clip and keep the attention maps of the chosen segments (K,)."""
        parts: list[EngineOutput] = []
        maps: list[Array] = []
        wanted = set(chosen.tolist())

        def observe(output: EngineOutput) -> None:
            assert output.attention is not None
            first = sum(len(part.logits) for part in parts)
            kept = output._replace(attention=received(output.attention, output.gates, output.attention.shape[3]))
            # Copies: views would keep onnxruntime's memory, which then grows with the recording.
            maps.extend(segment.copy() for number, segment in enumerate(output.attention, first) if number in wanted)
            parts.append(_each(lambda items: items[0].copy(), kept))

        prediction = self.scorer.score_recording([self.waveform], self.name, self.start, observe)
        return self._explanation(_each(np.concatenate, *parts), prediction, np.stack(maps), chosen)

    def _explanation(
        self, output: EngineOutput, prediction: Prediction, maps: Array, chosen: NDArray[np.int64]
    ) -> Explanation:
        """Make the explanation of the outputs.

        Args:
            output: Outputs of all segments and frames, whose attention is that to each position (S, m), see `received`.
            prediction: Prediction for the clip.
            maps: Attention of the chosen segments (K, h, m, m).
            chosen: Numbers of these segments (K,).
        """
        assert output.attention is not None
        assert output.features is not None
        position = self.engine.step * self.frame_seconds
        starts, speech = prediction.timeline.starts, prediction.timeline.speech
        centre = scope = None
        if output.centre is not None and output.scope is not None:
            # Positions count from 1, and the first one's middle is half a position behind the segment's start.
            middle = output.centre.mean(axis=2, dtype=np.float64) - 0.5
            centre = starts[:, None] + middle * position
            scope = output.scope.mean(axis=2, dtype=np.float64) * position
        return Explanation(
            name=self.name,
            model=self.config.model,
            feature_groups=_feature_groups(self.config.features, output.features.shape[1]),
            prediction=prediction,
            waveform=self.waveform,
            start=self.start,
            loudest=self._loudest(),
            frames=np.arange(self.count) * np.float64(self.frame_seconds) + self.first_middle,
            features=output.features,
            amplitude=self.amplitude,
            attention=over_time(
                output.attention[speech], self._firsts()[speech], self.segment_frames, self.engine.step, self.count
            ),
            received=output.attention,
            peaks=(self._firsts() + self.peak_frames) * np.float64(self.frame_seconds) + self.first_middle,
            peak_positions=self.peak_frames // self.engine.step,
            centre=centre,
            scope=scope,
            gates=output.gates,
            maps=maps,
            mapped=chosen,
            position_seconds=position,
        )


def _feature_groups(settings: FeatureSettings, size: int) -> tuple[tuple[str, int], ...]:
    """Names and numbers of a frame's features, in their order."""
    slopes = " and deltas" if settings.deltas else ""
    others = "".join(f", {name}" for name in settings.also)
    groups = (
        (f"{FEATURE_NAMES[settings.name]}{slopes}{others}", size - settings.pitch_bins),
        ("pitch", settings.pitch_bins),
    )
    return tuple((name, count) for name, count in groups if count)


def received(attention: Array, gates: Array | None, length: int) -> Array:
    """Attention to each position over an even share: the mean over queries and, weighted by their gates, heads.

    Args:
        attention: Attention maps (S, h, m, m), query by key; rows sum to one.
        gates: Weight of each head (S, h), or None for equal heads.
        length: Number of positions that are no padding.

    Returns:
        (S, m), whose first ``length`` columns have the mean 1; NaN behind them.
    """
    of_head = attention[:, :, :length].mean(axis=2)  # (S, h, m)
    shares = np.einsum("sh,shm->sm", head_shares(attention, gates), of_head) * length
    shares[:, length:] = np.nan
    return np.asarray(shares, np.float32)


def head_shares(weights: Array, gates: Array | None) -> Array:
    """Weight of each head of maps (S, h, m, m), which sum to one (S, h): its gate (S, h), or the same for all."""
    counts = np.ones(weights.shape[:2], np.float32) if gates is None else gates
    return np.asarray(counts / counts.sum(axis=1, keepdims=True), np.float32)


def peaks_of(amplitude: Array, starts: NDArray[np.int64], frames: int, step: int) -> NDArray[np.int64]:
    """Position of the largest amplitude in the maps of each segment (…, S).

    Args:
        amplitude: Amplitude of each frame of an utterance (…, n).
        starts: First frame of each segment (S,).
        frames: Number of frames of a segment; the segment of a short utterance ends with it.
        step: Number of frames of a position.
    """
    padding = np.full((*amplitude.shape[:-1], frames), -1, amplitude.dtype)
    padded = np.concatenate([amplitude, padding], axis=-1)
    return np.asarray(padded[..., starts[:, None] + np.arange(frames)].argmax(axis=-1) // step, np.int64)


def over_time(received: Array, firsts: NDArray[np.int64], frames: int, step: int, count: int) -> Array:
    """Attention to each frame: the mean over the segments that hold it.

    Args:
        received: Attention to each position of the segments that count (S, m).
        firsts: First frame of each of these segments (S,).
        frames: Number of frames of a segment that are no padding.
        step: Number of frames of a position.
        count: Number of frames of the clip, n.

    Returns:
        Attention (n,), NaN where there is no segment.
    """
    total, times = np.zeros(count), np.zeros(count)
    offsets = np.arange(frames)
    for first, row in zip(firsts, received, strict=True):
        total[first + offsets] += row[offsets // step]
        times[first + offsets] += 1
    with np.errstate(invalid="ignore"):
        return np.asarray(total / np.where(times, times, np.nan), np.float32)


def frame_amplitude(waveform: Waveform, hop: int, centre: int = 0) -> Array:
    """Largest absolute sample that is nearer to a frame's middle than to any other's.

    Args:
        waveform: Samples (T,).
        hop: Number of samples from frame to frame.
        centre: Number of samples from a frame's position, i · hop, to its middle.

    Returns:
        (1 + T // hop,).
    """
    count = 1 + len(waveform) // hop
    before = hop // 2 - centre
    padded = np.zeros(count * hop, np.float32)
    kept = np.abs(waveform[: count * hop - before])
    padded[before : before + len(kept)] = kept
    return np.asarray(padded.reshape(count, hop).max(axis=1), np.float32)  # (n · hop,) → (n, hop)


def _each(change: Callable[[Sequence[Any]], Any], *outputs: EngineOutput) -> EngineOutput:
    """Combine outputs value by value; values that the model lacks stay None."""
    values: list[Any] = [None if items[0] is None else change(items) for items in zip(*outputs, strict=True)]
    return EngineOutput(*values)
