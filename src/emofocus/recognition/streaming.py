"""Live speech → an event for each segment as it ends. Only new frames are computed, and scores equal a file's."""

from copy import copy
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from emofocus.audio.channels import ChannelMixer, Channels, inverted
from emofocus.audio.loading import LARGEST, SAMPLING_RATE
from emofocus.audio.notices import Notice
from emofocus.audio.resampling import StreamResampler
from emofocus.audio.samples import Waveform, channels_of, checked_rate
from emofocus.errors import AudioError, ModelError
from emofocus.recognition.engine import Array, Voice
from emofocus.recognition.options import RecognitionOptions
from emofocus.recognition.recognizer import Recognizer
from emofocus.recognition.scoring import BLOCK_SAMPLES, final_counts, frames_around
from emofocus.recognition.smoothing import Smoother, Smoothing
from emofocus.recognition.vad import MIDDLE_SECONDS, EnergyVoice, voiced_segments
from emofocus.recognition.voice import SpeechStatistics, VoiceProfile, strength_of
from emofocus.segments import softmax

STREAM_HOP = 0.1
"""Seconds from event to event (PAPER: a segment every 100 ms)."""

ROWS = 64
"""Segments classified at a time, when a chunk is long."""


@dataclass(frozen=True, slots=True)
class Event:
    """The emotion of one segment of a stream.

    Attributes:
        start: Seconds from the stream's beginning.
        end: Seconds from the stream's beginning.
        scores: Probability of each emotion in this segment alone (C,), in the order of ``labels``.
        smoothed: Probabilities averaged over this segment and those before (C,); None while there is no speech.
        emotion: Emotion of the stream at this time, which changes less often than the likeliest label. None while
            there is no speech.
        confident: Whether the averaged probability of the emotion reaches the recognizer's threshold.
        speech: Whether there is speech around the segment's middle.
        damaged: Whether samples of the segment were lost or no numbers; they count as silence.
        level: Level of the segment's loudest frame, dB full scale.
        labels: Names of the emotions (C,).
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
        """Middle of the segment, in seconds."""
        return (self.start + self.end) / 2

    def to_dict(self) -> dict[str, Any]:
        """Plain data, the form of the JSON output."""
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
    """Runs a model for a stream: an `Engine`, or one that several streams share."""

    def encode(self, waveform: Array, lengths: NDArray[np.int64]) -> tuple[Array, Array]:
        """See `Engine.encode`."""

    def classify(self, frames: Array, voice: Voice | None = None) -> Array:
        """See `Engine.classify`."""

    def classify_and_measure(self, frames: Array, voice: Voice | None = None) -> tuple[Array, Array]:
        """See `Engine.classify_and_measure`."""


@dataclass(slots=True)
class StreamState:
    """Everything of a stream that changes from chunk to chunk. Arrays are replaced, never written to.

    Attributes:
        resampler: Brings chunks to 16 kHz, without a seam.
        voice: Decides which frames are speech.
        smoother: Averages the scores of segments.
        mixer: Mixes channels.
        waveform: Last samples (T,), 16 kHz: those that windows or deltas of later frames reach.
        lost: Whether each of these samples was lost (T,).
        received: Number of samples so far, at 16 kHz.
        first_frame: Number of the first kept frame, from the stream's beginning.
        encoded: Kept frames as the network encodes them (k, D): those that later segments hold. None before the first.
        level: Level of each kept frame in dB full scale (k,).
        voiced: Whether each kept frame is speech (k,).
        damaged: Whether samples near each kept frame were lost (k,).
        segments: Number of segments classified so far.
        finished: Whether the stream has ended.
        notices: Faults of the stream.
        heard: Statistics of its speech, of a stream that adapts.
    """

    resampler: StreamResampler
    voice: EnergyVoice
    smoother: Smoother
    mixer: ChannelMixer = field(default_factory=ChannelMixer)
    waveform: Waveform = field(default_factory=lambda: np.zeros(0, np.float32))
    lost: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    received: int = 0
    first_frame: int = 0
    encoded: Array | None = None
    level: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    voiced: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    damaged: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    segments: int = 0
    finished: bool = False
    notices: tuple[Notice, ...] = ()
    heard: SpeechStatistics = field(default_factory=SpeechStatistics)

    @property
    def frames(self) -> int:
        """Number of frames encoded so far."""
        return self.first_frame + len(self.level)

    def copy(self) -> "StreamState":
        """Another state that goes on from here."""
        resampler, voice, smoother = self.resampler.copy(), copy(self.voice), copy(self.smoother)
        return replace(self, resampler=resampler, voice=voice, smoother=smoother, mixer=self.mixer.copy())

    def append_samples(self, samples: Waveform, lost: bool, last: bool) -> None:
        """Add samples (T,) at the stream's own rate."""
        resampled = self.resampler(samples, last)
        self.waveform = np.concatenate([self.waveform, resampled])
        self.lost = np.concatenate([self.lost, np.full(len(resampled), lost)])
        self.received += len(resampled)

    def drop_samples(self, count: int) -> None:
        """Forget the first kept samples."""
        self.waveform, self.lost = self.waveform[count:], self.lost[count:]

    def append_frames(self, encoded: Array, level: Array, damaged: NDArray[np.bool_]) -> None:
        """Add frames (k, D), their levels and whether samples near them were lost (k,)."""
        kept = [encoded] if self.encoded is None else [self.encoded, encoded]
        self.encoded = np.concatenate(kept)  # a copy: views would keep onnxruntime's memory
        self.level = np.concatenate([self.level, level])
        self.voiced = np.concatenate([self.voiced, self.voice(level)])
        self.damaged = np.concatenate([self.damaged, damaged])

    def drop_frames(self, count: int) -> None:
        """Forget the first kept frames."""
        assert self.encoded is not None
        self.first_frame += count
        self.encoded, self.level = self.encoded[count:].copy(), self.level[count:]
        self.voiced, self.damaged = self.voiced[count:], self.damaged[count:]


class StreamingRecognizer:
    """Recognizes speech while it is spoken.

    Examples:
        >>> stream = StreamingRecognizer.from_pretrained(sampling_rate=48_000)
        >>> for event in stream.feed(chunk):
        ...     print(event.end, event.emotion)

    Args:
        recognizer: Has the model and the threshold; its hop is the time from event to event.
        sampling_rate: Sampling rate of all chunks, in hertz.
        smoothing: How scores are smoothed over time.
        engine: Runs the model; by default the recognizer's own engine.
        adapt: Whether the stream adapts to the voice as it goes: each segment is recognized with the profile of the
            speech that was heard before it ended, in segments of its length, which begins with the recognizer's own.

    Raises:
        AudioError: The sampling rate is impossible.
        ModelError: The model cannot stream.
        ConfigError: The stream is to adapt, and the model cannot.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        sampling_rate: int = SAMPLING_RATE,
        smoothing: Smoothing | None = None,
        engine: StreamEngine | None = None,
        adapt: bool = False,
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
        self._adaptation = _Adaptation.of(recognizer) if adapt else None
        self.reset()

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | None = None,
        *,
        sampling_rate: int = SAMPLING_RATE,
        smoothing: Smoothing | None = None,
        hop: float = STREAM_HOP,
        window: float | None = None,
        threads: int | None = 1,
        threshold: float | None = None,
        precision: str = "fp32",
        device: str = "auto",
        voice: str | Path | None = None,
        adapt: bool = False,
    ) -> "StreamingRecognizer":
        """Load a model for one stream.

        Args:
            source: A model directory, ``org/name`` on the Hugging Face Hub, or None for the shipped model.
            sampling_rate: Sampling rate of all chunks, in hertz.
            smoothing: How scores are smoothed over time.
            hop: Seconds from event to event.
            window: Seconds that an event is about, see `Recognizer.for_stream`.
            threads: CPU threads; None for as many as there are cores.
            threshold: Lowest probability of an emotion at which an event counts as confident; by default the model's.
            precision: Arithmetic of the network: fp32, int8 or fp16. A model directory need not have all of them.
            device: cpu, cuda, coreml or directml; auto takes the first that this machine has.
            voice: File of a voice's profile, which `emofocus adapt` wrote.
            adapt: Whether the stream adapts to the voice as it goes.

        Raises:
            ModelError: The model cannot be loaded, or cannot stream.
            ConfigError: An argument is not valid.
            AudioError: The sampling rate is impossible.
        """
        options = RecognitionOptions(
            threads=threads,
            threshold=threshold,
            precision=precision,
            device=device,
            voice=None if voice is None else str(voice),
        )
        recognizer = Recognizer.load(source, options).for_stream(hop, window)
        return cls(recognizer, sampling_rate, smoothing, adapt=adapt)

    def reset(self) -> None:
        """Begin a new stream."""
        frame = self._hop / SAMPLING_RATE
        self._state = StreamState(
            resampler=StreamResampler(self.sampling_rate),
            voice=EnergyVoice(self._segment.top_db, frame),
            smoother=Smoother(self.smoothing, self._segment.hop * frame),
        )

    def with_voice(self, profile: VoiceProfile) -> "StreamingRecognizer":
        """A new stream with the same settings, for a voice whose profile is known.

        Raises:
            ConfigError: The model cannot be adapted, or the profile was made with another model.
        """
        recognizer = self.recognizer.with_voice(profile)
        return StreamingRecognizer(recognizer, self.sampling_rate, self.smoothing, self._engine, self.adapts)

    def copy(self) -> "StreamingRecognizer":
        """Another stream that goes on from here; the model is shared."""
        other = copy(self)
        other._state = self._state.copy()
        return other

    @property
    def seconds(self) -> float:
        """Length of the stream so far."""
        return self._state.received / SAMPLING_RATE

    @property
    def adapts(self) -> bool:
        """Whether the stream adapts to the voice as it goes."""
        return self._adaptation is not None

    @property
    def profile(self) -> VoiceProfile | None:
        """Profile of the voice: the recognizer's own, and the speech so far of a stream that adapts; None for none."""
        given, adaptation = self.recognizer.profile, self._adaptation
        heard = None if adaptation is None else self._state.heard.profile(adaptation.model, self._hop)
        if given is None or heard is None:
            return given if heard is None else heard
        return given + heard

    @property
    def notices(self) -> tuple[Notice, ...]:
        """Faults of the stream so far: channels that cancel each other."""
        return self._state.notices

    @property
    def warnings(self) -> tuple[str, ...]:
        """The notices as text, as `Prediction.warnings` has them."""
        return tuple(map(str, self.notices))

    def feed(self, chunk: Any, sampling_rate: int | None = None) -> list[Event]:
        """Recognize the next samples.

        Args:
            chunk: Any number of samples, (T,) or (channels, T), floats in [-1, 1] or integers. Samples that are no
                numbers, or beyond any sound, count as lost.
            sampling_rate: Rate of the chunk in hertz, to have it compared with the stream's.

        Returns:
            An event for each segment that has ended.

        Raises:
            AudioError: The rate is not the stream's, the chunk holds no samples of sound, or the stream was finished.
                The stream is as it was before.
        """
        if sampling_rate not in (None, self.sampling_rate):
            raise AudioError(
                f"a chunk of {sampling_rate} Hz in a stream of {self.sampling_rate} Hz: a stream keeps its rate; begin "
                "another one"
            )
        self._refuse_finished()
        samples = self._mixed(channels_of(chunk))
        good = np.abs(samples) <= LARGEST  # False for NaN, too
        whole = bool(good.all())
        return self._receive(samples if whole else np.where(good, samples, np.float32(0)), damaged=not whole)

    def _mixed(self, channels: Channels) -> Waveform:
        """(channels, T) → (T,), with a notice the first time that channels cancel each other."""
        state = self._state
        samples = state.mixer(channels)
        if state.mixer.chosen is not None and not state.notices:
            state.notices = (inverted(state.mixer.chosen, round(self.seconds, 1)),)
        return samples

    def skip(self, seconds: float) -> list[Event]:
        """Go on after lost samples: they count as silence, and the clock does not stop.

        Args:
            seconds: Length of the lost part.

        Raises:
            AudioError: The time is negative or infinite, or the stream was finished.
        """
        if not 0 <= seconds < float("inf"):
            raise AudioError(f"{seconds} s cannot be skipped (valid: 0 or more)")
        self._refuse_finished()
        events, left = [], round(seconds * self.sampling_rate)
        while left > 0:  # in parts, so that hours need no memory
            part = min(left, self.sampling_rate)
            events += self._receive(np.zeros(part, np.float32), damaged=True)
            left -= part
        return events

    def finish(self) -> list[Event]:
        """End the stream: the events that are left, as if silence followed."""
        if self._state.finished:
            return []
        events = self._receive(np.zeros(0, np.float32), damaged=False, last=True)
        self._state.finished = True
        return events

    def _refuse_finished(self) -> None:
        if self._state.finished:
            raise AudioError("this stream was finished; reset() begins a new one")

    def _receive(self, samples: Waveform, damaged: bool, last: bool = False) -> list[Event]:
        """Recognize samples (T,) at the stream's rate, block by block."""
        events = []
        size = max(1, BLOCK_SAMPLES * self.sampling_rate // SAMPLING_RATE)
        for start in range(0, max(1, len(samples)), size):
            final = last and start + size >= len(samples)
            self._state.append_samples(samples[start : start + size], damaged, final)
            events += self._advance(final)
        return events

    def _advance(self, last: bool) -> list[Event]:
        """Encode the frames that are complete, once a segment ends with them, and classify that segment."""
        frames, segments = final_counts(self._state.received, self.recognizer.config, last)
        if segments <= self._state.segments or not self._state.received:
            return []
        self._encode(frames)
        return self._classify(segments)

    @property
    def _first_sample_frame(self) -> int:
        """Number of the frame at whose middle the kept samples begin."""
        return max(0, self._state.frames - self._context)

    def _encode(self, frames: int) -> None:
        """Encode frames up to a number of them, and drop the samples that no later frame needs."""
        state, origin = self._state, self._first_sample_frame
        (encoded,), (level,) = self._engine.encode(state.waveform[None], np.array([len(state.waveform)]))
        new = slice(state.frames - origin, frames - origin)
        damaged = lost_near(state.lost, np.arange(new.start, new.stop) * self._hop, self._hop)
        state.append_frames(encoded[new], level[new].copy(), damaged)
        state.drop_samples((self._first_sample_frame - origin) * self._hop)

    def _classify(self, segments: int) -> list[Event]:
        """Classify segments up to a number of them, and drop the frames that no later segment needs."""
        state = self._state
        hop, size = self._segment.hop, self._segment.frames
        starts = np.arange(state.segments, segments) * hop - state.first_frame
        lengths = np.minimum(len(state.level) - starts, size).astype(np.int64)
        speech = voiced_segments(state.voiced, starts, lengths, self._reach)
        if self._adaptation is not None:
            logits = self._adapted_logits(starts, lengths, speech, self._adaptation)
        else:
            rows = range(0, len(starts), ROWS)
            logits = np.concatenate([self._logits(starts[row : row + ROWS], lengths[row : row + ROWS]) for row in rows])
        scores = softmax(logits, self.recognizer.config.temperature)
        segment = zip(starts.tolist(), lengths.tolist(), scores, speech, strict=True)
        events = [self._event(*values) for values in segment]
        state.segments = segments
        state.drop_frames(min(segments * hop - state.first_frame, len(state.level)))
        return events

    def _logits(self, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """Scores (S, C) of segments by their first kept frames and lengths (S,), which are all equal."""
        encoded = self._state.encoded
        assert encoded is not None  # the only segment of a stream that ended before it was full is shorter
        rows = [encoded[start : start + length] for start, length in zip(starts, lengths, strict=True)]
        return self._engine.classify(np.stack(rows), self.recognizer.scorer.voice)

    def _adapted_logits(
        self,
        starts: NDArray[np.int64],
        lengths: NDArray[np.int64],
        speech: NDArray[np.bool_],
        adaptation: "_Adaptation",
    ) -> NDArray[np.float32]:
        """Scores (S, C) of segments, each adapted to the speech before it, and learn the voice from each.

        Args:
            starts: First kept frame of each segment (S,).
            lengths: Number of frames of each (S,).
            speech: Whether each holds speech (S,); only such segments, without lost samples, tell how a voice sounds.
            adaptation: The way from a profile to a voice.
        """
        state, logits = self._state, []
        assert state.encoded is not None
        for start, end, voiced in zip(starts.tolist(), (starts + lengths).tolist(), speech, strict=True):
            profile = self.profile
            voice = None if profile is None else profile.voice(adaptation.strength)
            scores, statistics = self._engine.classify_and_measure(state.encoded[None, start:end], voice)
            logits.append(scores)
            if voiced and not state.damaged[start:end].any():
                state.heard = state.heard.add(statistics[0], state.first_frame + start, state.first_frame + end)
        return np.concatenate(logits)

    def _event(self, start: int, length: int, scores: NDArray[np.float32], speech: bool) -> Event:
        """Event of the segment of ``length`` frames that begins at a kept frame."""
        state, labels = self._state, self.recognizer.labels
        state.smoother.update(scores, bool(speech))
        frame, span = self._hop / SAMPLING_RATE, slice(start, start + length)
        begins = (state.first_frame + start) * frame
        label, mean = state.smoother.label, state.smoother.mean
        return Event(
            start=begins,
            end=min(begins + self._segment.frames * frame, self.seconds),
            scores=scores,
            smoothed=mean,
            emotion=None if label is None else labels[label],
            confident=label is not None and mean is not None and float(mean[label]) >= self.recognizer.threshold,
            speech=bool(speech),
            damaged=bool(state.damaged[span].any()),
            level=float(state.level[span].max()),
            labels=labels,
        )


class _Adaptation(NamedTuple):
    """The way from a stream's speech to a voice.

    Attributes:
        model: Digest of the model.
        strength: Seconds of speech at which the voice's statistics count half.
    """

    model: str
    strength: float

    @classmethod
    def of(cls, recognizer: Recognizer) -> "_Adaptation":
        """Those of a recognizer's model.

        Raises:
            ConfigError: The model cannot be adapted.
        """
        strength = strength_of(recognizer.engine, recognizer.config)
        return cls(recognizer.engine.digest, strength)


def lost_near(lost: NDArray[np.bool_], positions: NDArray[np.int64], reach: int) -> NDArray[np.bool_]:
    """Whether a sample near each position was lost (k,).

    Args:
        lost: Whether each sample was lost (T,).
        positions: Numbers of samples (k,).
        reach: Samples on either side of a position that count.
    """
    total = np.concatenate([[0], np.cumsum(lost)])
    before, behind = (total[np.clip(positions + side * reach, 0, len(lost))] for side in (-1, 1))
    return np.asarray(behind > before)
