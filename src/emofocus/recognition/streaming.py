"""Live speech → an event for each segment as it ends: new frames alone are computed, and scores equal a file's."""

from copy import copy
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emofocus.audio.loading import LARGEST, SAMPLING_RATE, Waveform, checked_rate, mono_samples
from emofocus.audio.resampling import StreamResampler
from emofocus.errors import AudioError, ModelError
from emofocus.recognition.engine import Array
from emofocus.recognition.options import RecognitionOptions
from emofocus.recognition.recognizer import Recognizer
from emofocus.recognition.scoring import BLOCK_SAMPLES, finished, frames_around
from emofocus.recognition.smoothing import Smoother, Smoothing
from emofocus.recognition.vad import MIDDLE_SECONDS, EnergyVoice, voiced_segments
from emofocus.segments import softmax

STREAM_HOP = 0.1
"""Seconds from event to event (PAPER: a segment every 100 ms)."""

ROWS = 64
"""Segments classified at a time, when a chunk is long."""


@dataclass(frozen=True, slots=True)
class Event:
    """What was heard in one segment of a stream.

    Attributes:
        start: Seconds from the stream's beginning.
        end: Seconds.
        scores: Probability of each emotion in this segment alone (C,), in the order of ``labels``.
        smoothed: Averaged over the segments before (C,); None while there is no speech.
        emotion: What the stream is taken for: changes less often than the likeliest label. None while there is no
            speech.
        confident: Whether the averaged probability of the emotion reaches the recognizer's threshold.
        speech: Whether there is speech around the segment's middle.
        damaged: Whether samples of it were lost, or no numbers; they count as silence.
        level: Of the segment's loudest frame, dB full scale.
        labels: Names of the emotions.
    """

    start: float
    end: float
    scores: NDArray[np.float32]
    smoothed: NDArray[np.float32] | None
    emotion: str | None
    confident: bool
    speech: bool
    damaged: bool
    level: float
    labels: tuple[str, ...]

    @property
    def middle(self) -> float:
        """Of the segment, seconds."""
        return (self.start + self.end) / 2

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in JSON lines."""
        scores = {label: round(float(score), 4) for label, score in zip(self.labels, self.scores, strict=True)}
        return {
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "emotion": self.emotion,
            "confident": self.confident,
            "speech": self.speech,
            "damaged": self.damaged,
            "level": round(self.level, 1),
            "scores": scores,
        }


class StreamEngine(Protocol):
    """What runs a model for a stream: an `Engine`, or something that shares one."""

    def encode(self, waveform: Array, lengths: NDArray[np.int64]) -> tuple[Array, Array]:
        """See `Engine.encode`."""

    def classify(self, frames: Array) -> Array:
        """See `Engine.classify`."""


class StreamingRecognizer:
    """Recognizes speech while it is spoken.

    >>> stream = StreamingRecognizer.from_pretrained(sampling_rate=48_000)  # doctest: +SKIP
    >>> for event in stream.feed(chunk):  # doctest: +SKIP
    ...     print(event.end, event.emotion)

    Args:
        recognizer: Whose model; its hop is that of the events.
        sampling_rate: Of all chunks, in hertz.
        smoothing: How scores are smoothed over time.
        engine: What runs the model, the recognizer's own by default.

    Raises:
        AudioError: An impossible rate.
        ModelError: A model that cannot stream.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        sampling_rate: int = SAMPLING_RATE,
        smoothing: Smoothing | None = None,
        engine: StreamEngine | None = None,
    ) -> None:
        if not recognizer.engine.streams:
            raise ModelError(f"{recognizer.config.model} is told who speaks, which a stream cannot tell it")
        self.recognizer, self.smoothing = recognizer, smoothing or Smoothing()
        self.sampling_rate = checked_rate(sampling_rate)
        self._engine: StreamEngine = engine or recognizer.engine
        features, self._segment = recognizer.config.features, recognizer.config.segment
        self._hop = features.hop
        # Frames whose samples are kept, because windows or deltas of new frames reach before these.
        self._context = frames_around(features)
        self._reach = ceil(MIDDLE_SECONDS * SAMPLING_RATE / self._hop)
        self.reset()

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | None = None,
        *,
        sampling_rate: int = SAMPLING_RATE,
        smoothing: Smoothing | None = None,
        hop: float = STREAM_HOP,
        threads: int | None = 1,
        threshold: float | None = None,
        precision: str = "fp32",
        device: str = "auto",
    ) -> "StreamingRecognizer":
        """Load a model for one stream.

        Args:
            source: A model directory, ``org/name`` on the Hugging Face Hub, or None for the shipped model.
            sampling_rate: Sampling rate of all chunks, in hertz.
            smoothing: How scores are smoothed over time.
            hop: Seconds from event to event.
            threads: CPU threads; None for as many as there are cores.
            threshold: Lowest probability of an emotion at which an event counts as confident; by default the model's.
            precision: Arithmetic of the network: fp32, int8 or fp16. A model directory need not have all of them.
            device: cpu, cuda, coreml or directml; auto takes the first that this machine has.

        Raises:
            ModelError: The model cannot be loaded, or cannot stream.
            ConfigError: An argument is not valid.
            AudioError: The sampling rate is impossible.
        """
        options = RecognitionOptions(threads=threads, threshold=threshold, hop=hop, precision=precision, device=device)
        return cls(Recognizer.load(source, options), sampling_rate, smoothing)

    def reset(self) -> None:
        """Begin a new stream."""
        self._resampler = StreamResampler(self.sampling_rate)
        frame = self._hop / SAMPLING_RATE
        self._voice = EnergyVoice(self._segment.top_db, frame)
        self._smoother = Smoother(self.smoothing, self._segment.hop * frame)
        self._waveform: Waveform = np.zeros(0, np.float32)  # from the origin on
        self._lost = np.zeros(0, bool)
        self._origin = 0  # frame that the kept samples begin with
        self._samples = 0  # so far, at 16 kHz
        self._frames = 0  # done so far
        self._segments = 0  # done so far
        self._first = 0  # frame that the kept frames begin with
        self._encoded: NDArray[np.float32] | None = None
        self._level = np.zeros(0, np.float32)
        self._voiced = self._damaged = np.zeros(0, bool)
        self._finished = False

    def copy(self) -> "StreamingRecognizer":
        """Another stream that goes on from here; the model is shared."""
        other = copy(self)
        other._resampler = self._resampler.copy()
        other._voice, other._smoother = copy(self._voice), copy(self._smoother)
        return other  # arrays are replaced, never changed

    @property
    def seconds(self) -> float:
        """How much was heard."""
        return self._samples / SAMPLING_RATE

    def feed(self, chunk: Any, sampling_rate: int | None = None) -> list[Event]:
        """Take samples.

        Args:
            chunk: Any number of them, (T,) or (channels, T), floats in [-1, 1] or integers. What is no
                number, or beyond any sound, counts as lost.
            sampling_rate: To have it checked.

        Returns:
            An event for each segment that has ended.

        Raises:
            AudioError: Another rate than the stream's, a chunk that holds no samples of sound, or a stream that was
                finished. The stream is as it was before.
        """
        if sampling_rate not in (None, self.sampling_rate):
            raise AudioError(
                f"a chunk of {sampling_rate} Hz in a stream of {self.sampling_rate} Hz: a stream keeps its rate; begin "
                "another one"
            )
        self._refuse_finished()
        samples = mono_samples(chunk)
        good = np.abs(samples) <= LARGEST  # not so of what is no number
        whole = bool(good.all())
        return self._take(samples if whole else np.where(good, samples, np.float32(0)), damaged=not whole)

    def skip(self, seconds: float) -> list[Event]:
        """Samples were lost: they count as silence, and the clock goes on.

        Raises:
            AudioError: Not a time that can pass, or a stream that was finished.
        """
        if not 0 <= seconds < float("inf"):
            raise AudioError(f"{seconds} s cannot be skipped (valid: 0 or more)")
        self._refuse_finished()
        events, left = [], round(seconds * self.sampling_rate)
        while left > 0:  # in parts, so that hours need no memory
            part = min(left, self.sampling_rate)
            events += self._take(np.zeros(part, np.float32), damaged=True)
            left -= part
        return events

    def finish(self) -> list[Event]:
        """The stream has ended: what is left of it, as if silence followed."""
        if self._finished:
            return []
        events = self._take(np.zeros(0, np.float32), damaged=False, last=True)
        self._finished = True
        return events

    def _refuse_finished(self) -> None:
        if self._finished:
            raise AudioError("this stream was finished; reset() begins a new one")

    def _take(self, samples: Waveform, damaged: bool, last: bool = False) -> list[Event]:
        events = []
        size = max(1, BLOCK_SAMPLES * self.sampling_rate // SAMPLING_RATE)
        for start in range(0, max(1, len(samples)), size):
            final = last and start + size >= len(samples)
            fresh = self._resampler(samples[start : start + size], final)
            self._waveform = np.concatenate([self._waveform, fresh])
            self._lost = np.concatenate([self._lost, np.full(len(fresh), damaged)])
            self._samples += len(fresh)
            events += self._advance(final)
        return events

    def _advance(self, last: bool) -> list[Event]:
        """Compute the frames that have come, once a segment ends with them."""
        frames, ready = finished(self._samples, self.recognizer.config, last)
        if ready <= self._segments or not self._samples:
            return []
        self._compute(frames)
        return self._classify(ready)

    def _compute(self, frames: int) -> None:
        """Encode frames up to a number, and forget the samples that no later frame needs."""
        (encoded,), (level,) = self._engine.encode(self._waveform[None], np.array([len(self._waveform)]))
        new = slice(self._frames - self._origin, frames - self._origin)
        level = level[new].copy()
        held = [encoded[new]] if self._encoded is None else [self._encoded, encoded[new]]
        self._encoded = np.concatenate(held)  # a copy: views would keep onnxruntime's memory
        self._level = np.concatenate([self._level, level])
        self._voiced = np.concatenate([self._voiced, self._voice(level)])
        lost = np.concatenate([[0], np.cumsum(self._lost)])
        places = (np.arange(self._frames, frames) - self._origin) * self._hop
        around = [lost[np.clip(places + side * self._hop, 0, len(self._lost))] for side in (-1, 1)]
        self._damaged = np.concatenate([self._damaged, around[1] > around[0]])
        self._frames = frames
        origin = max(0, frames - self._context)
        gone = (origin - self._origin) * self._hop
        self._waveform, self._lost, self._origin = self._waveform[gone:], self._lost[gone:], origin

    def _classify(self, ready: int) -> list[Event]:
        """Segments up to a number."""
        assert self._encoded is not None
        hop, size = self._segment.hop, self._segment.frames
        starts = np.arange(self._segments, ready) * hop - self._first
        lengths = np.minimum(len(self._encoded) - starts, size).astype(np.int64)
        speech = voiced_segments(self._voiced, starts, lengths, self._reach)
        logits = np.concatenate(
            [self._logits(starts[i : i + ROWS], lengths[i : i + ROWS]) for i in range(0, len(starts), ROWS)]
        )
        scores = softmax(logits, self.recognizer.config.temperature)
        events = [self._event(*of) for of in zip(starts.tolist(), lengths.tolist(), scores, speech, strict=True)]
        self._segments = ready
        kept = min(ready * hop - self._first, len(self._encoded))
        self._first += kept
        self._encoded, self._level = self._encoded[kept:].copy(), self._level[kept:]
        self._voiced, self._damaged = self._voiced[kept:], self._damaged[kept:]
        return events

    def _logits(self, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        assert self._encoded is not None  # the only segment of a stream that ended before it was full is shorter
        rows = [self._encoded[start : start + length] for start, length in zip(starts, lengths, strict=True)]
        return self._engine.classify(np.stack(rows))

    def _event(self, start: int, length: int, scores: NDArray[np.float32], speech: bool) -> Event:
        smoother, labels = self._smoother, self.recognizer.labels
        smoother.update(scores, bool(speech))
        frame, span = self._hop / SAMPLING_RATE, slice(start, start + length)
        begins = (self._first + start) * frame
        label, mean = smoother.label, smoother.mean
        return Event(
            start=begins,
            end=min(begins + self._segment.frames * frame, self.seconds),
            scores=scores,
            smoothed=mean,
            emotion=None if label is None else labels[label],
            confident=label is not None and mean is not None and float(mean[label]) >= self.recognizer.threshold,
            speech=bool(speech),
            damaged=bool(self._damaged[span].any()),
            level=float(self._level[span].max()),
            labels=labels,
        )
