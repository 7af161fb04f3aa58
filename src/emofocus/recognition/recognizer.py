"""`Recognizer`: a file or an array → `Prediction`, in bounded memory and without torch."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from msgspec.structs import replace

from emofocus import audio
from emofocus.audio.loading import SAMPLING_RATE, AudioInput
from emofocus.config import ModelConfig, SegmentSettings, load_model_config
from emofocus.errors import AudioError, ConfigError, ModelError, one_of
from emofocus.recognition.engine import Engine, graph_file
from emofocus.recognition.options import RecognitionOptions, check_hop, check_threshold, check_window
from emofocus.recognition.prediction import Array, Prediction, Predictions, Segment, Timeline
from emofocus.recognition.scoring import Scorer
from emofocus.segments import utterance_logits

if TYPE_CHECKING:
    from emofocus.recognition.explanation.explanation import Explanation
    from emofocus.recognition.turns.turn import TurnEmotion
    from emofocus.recognition.voice import VoiceProfile

__all__ = ["Prediction", "Predictions", "Recognizer", "Segment", "Timeline", "model_folder"]


STREAM_WINDOW = 3.2
"""Seconds that an event of a stream is about, at most, unless a window is asked for.

A whole phrase is a segment of a model on a pretrained encoder; a listener does not wait that long.
"""

SHIPPED = Path(__file__).parents[1] / "assets" / "default"
"""Folder of the shipped model."""


class Recognizer:
    """Recognizes the emotion in speech.

    Examples:
        >>> recognizer = Recognizer.from_pretrained()
        >>> recognizer("clip.wav").label
        'happy'

    Args:
        engine: Runs the model.
        config: The model's `config.json`.
        threshold: Lowest probability of the label at which a prediction counts as confident, 0 to 1; by default the
            config's.
        track: Number of the audio track to read of files that have several, from 1; None for their default one.
        profile: Profile of the voice that speaks; None for nobody's.

    Raises:
        ConfigError: The threshold is no probability, or the profile is not this model's.
    """

    def __init__(
        self,
        engine: Engine,
        config: ModelConfig,
        threshold: float | None = None,
        track: int | None = None,
        profile: "VoiceProfile | None" = None,
    ) -> None:
        self.track, self.profile = track, profile
        self.engine, self.config, self.labels = engine, config, config.labels
        self.threshold = config.threshold if threshold is None else threshold
        check_threshold(self.threshold)
        voice = None
        if profile is not None:
            from emofocus.recognition.voice import adapted_voice  # imported here: prediction starts without it

            voice = adapted_voice(engine, config, profile)
        self.scorer = Scorer(engine, config, self.threshold, voice)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | None = None,
        *,
        threads: int | None = None,
        threshold: float | None = None,
        hop: float | None = None,
        window: float | None = None,
        precision: str = "fp32",
        device: str = "auto",
        optimize_graph: bool = True,
        voice: str | Path | None = None,
        labels: Sequence[str] | None = None,
    ) -> "Recognizer":
        """Load a model.

        Args:
            source: A model directory, ``org/name`` on the Hugging Face Hub, or None for the shipped model.
            threads: CPU threads; by default as many as there are cores.
            threshold: Lowest probability of the label at which a prediction counts as confident; by default the
                model's own.
            hop: Seconds from segment to segment; by default the model's own.
            window: Seconds of a segment; by default the model's own. Models on a pretrained encoder take shorter ones.
            precision: Arithmetic of the network: fp32, int8 or fp16. A model directory need not have all of them.
            device: cpu, cuda, coreml or directml; auto takes the first that this machine has.
            optimize_graph: Whether onnxruntime arranges the graph anew: a slower start, and faster clips.
            voice: File of a voice's profile, which `emofocus adapt` wrote.
            labels: Emotions to choose from, as in `with_labels`; by default all of the model's.

        Raises:
            ModelError: The model does not exist, or one of its files is missing or damaged.
            ConfigError: An argument is not valid, or `config.json` has unknown keys or bad values.
        """
        options = RecognitionOptions(
            threads=threads,
            threshold=threshold,
            hop=hop,
            window=window,
            precision=precision,
            device=device,
            optimize_graph=optimize_graph,
            voice=None if voice is None else str(voice),
            labels=None if labels is None else tuple(labels),
        )
        return cls.load(source, options)

    @classmethod
    def load(cls, source: str | Path | None, options: RecognitionOptions) -> "Recognizer":
        """Load a model with options that are already one object.

        Args:
            source: A model directory, ``org/name`` on the Hugging Face Hub, or None for the shipped model.
            options: How it is loaded and how it recognizes.

        Raises:
            ModelError: The model does not exist, or one of its files is missing or damaged.
            ConfigError: `config.json` has unknown keys or bad values, this machine lacks the device, or the model
                has no such window.
        """
        folder = model_folder(source)
        path = graph_file(folder, options.precision)
        config = load_model_config(folder / "config.json")
        engine = Engine(path, options.threads, options.device, options.optimize_graph)
        profile = None
        if options.voice is not None:
            from emofocus.recognition.voice import VoiceProfile  # imported here: prediction starts without it

            profile = VoiceProfile.load(Path(options.voice))
        recognizer = cls(engine, config, options.threshold, options.track, profile)
        if options.window is not None:
            recognizer = recognizer.with_window(options.window)
        if options.labels is not None:
            recognizer = recognizer.with_labels(options.labels)
        return recognizer if options.hop is None else recognizer.with_hop(options.hop)

    def __repr__(self) -> str:
        """The network, its segments and its emotions."""
        frame, segment = self.engine.frame_hop / SAMPLING_RATE, self.config.segment
        lengths = f"segments of {segment.frames * frame:.3g} s every {segment.hop * frame:.3g} s"
        return f"Recognizer({self.config.model}, {lengths}: {', '.join(self.labels)})"

    def with_labels(self, labels: Sequence[str]) -> "Recognizer":
        """The same model that chooses among some of its emotions, whose probabilities sum to 1.

        The threshold of confident answers stays that of all emotions.

        Args:
            labels: Emotions, at least two. Results keep them in the model's order.

        Raises:
            ConfigError: There are fewer, or the model lacks one.
        """
        wanted = (labels,) if isinstance(labels, str) else tuple(labels)
        unknown = [label for label in wanted if label not in self.labels]
        if unknown:
            raise ConfigError(f"this model has no emotion {unknown[0]!r} ({one_of(self.labels)})")
        kept = [number for number, label in enumerate(self.labels) if label in wanted]
        if len(kept) < 2:
            raise ConfigError(f"to choose among {', '.join(wanted) or 'no emotions'} takes at least two of them")
        names = [self.labels[number] for number in kept]
        restricted = replace(
            self.config,
            id2label=dict(enumerate(names)),
            label2id={label: number for number, label in enumerate(names)},
        )
        engine = self.engine.with_columns(kept)
        return Recognizer(engine, restricted, self.threshold, self.track, self.profile)

    def with_hop(self, seconds: float) -> "Recognizer":
        """The same model with another time from segment to segment, rounded to whole frames, at least one.

        Raises:
            ConfigError: The hop is not above 0.
        """
        check_hop(seconds)
        return self._with_segment(replace(self.config.segment, hop=self._frames_in(seconds)))

    def with_window(self, seconds: float) -> "Recognizer":
        """The same model with shorter segments, rounded to whole frames, at least one.

        The hop shrinks with them, so that they overlap as before.

        Raises:
            ConfigError: The window is not above 0 or is longer than the model's own segments, or the model is not on a
                pretrained encoder: others keep their segments.
        """
        check_window(seconds)
        frames, engine, segment = self._frames_in(seconds), self.engine, self.config.segment
        if frames != engine.frames and not (engine.windowed and frames <= engine.frames):
            longest = engine.frames * engine.frame_hop / SAMPLING_RATE
            valid = f"up to {longest:g}" if engine.windowed else f"{longest:g}"
            raise ConfigError(f"{self.config.model} has no segments of {seconds:g} s (valid: {valid})")
        hop = max(1, round(segment.hop * frames / segment.frames))
        return self._with_segment(replace(segment, frames=frames, hop=hop))

    def for_stream(self, hop: float | None = None, window: float | None = None) -> "Recognizer":
        """The same model for a stream or a timeline.

        Args:
            hop: Seconds from event to event, as in `with_hop`; by default as now.
            window: Seconds that an event is about, as in `with_window`. By default those of the model's segments, but
                at most `STREAM_WINDOW` where the model allows that.

        Raises:
            ConfigError: As in both.
        """
        hop = self.config.segment.hop * self.engine.frame_hop / SAMPLING_RATE if hop is None else hop
        if window is None and self.engine.windowed:
            window = min(STREAM_WINDOW, self.config.segment.frames * self.engine.frame_hop / SAMPLING_RATE)
        return (self if window is None else self.with_window(window)).with_hop(hop)

    def _frames_in(self, seconds: float) -> int:
        return max(1, round(seconds * SAMPLING_RATE / self.config.features.hop))

    def _with_segment(self, segment: SegmentSettings) -> "Recognizer":
        return Recognizer(self.engine, replace(self.config, segment=segment), self.threshold, self.track, self.profile)

    def adapt(self, clips: Any, sampling_rate: int | None = None, track: int | None = None) -> "Recognizer":
        """The same model, adapted to the voice, the microphone and the room of some unlabelled speech.

        >>> mine = recognizer.adapt(["monday.wav", "tuesday.wav"])  # doctest: +SKIP
        >>> mine("wednesday.wav").label  # doctest: +SKIP

        Speech of one person, in more than one mood if there is a choice; a quarter of a minute helps, two minutes help
        most. Speech that this recognizer was adapted to before counts on.

        Args:
            clips: A clip, or a list of clips, as a call of the recognizer takes them.
            sampling_rate: Rate in hertz of samples that come without it.
            track: Number of the audio track of files that have several, from 1.

        Raises:
            AudioError: A clip cannot be read, or is silent.
            ConfigError: The model cannot be adapted, or there are no clips.
        """
        from emofocus.recognition.voice import measure  # imported here: prediction starts without it

        several = isinstance(clips, list | tuple) and not audio.holds_numbers(clips)
        profile = self.profile
        for item in clips if several else [clips]:
            clip = audio.with_rate(item, sampling_rate)
            blocks = audio.stream(clip, track=track or self.track)
            heard = measure(self.engine, self.config, blocks, audio.name_of(clip))
            profile = heard if profile is None else profile + heard
        if profile is None:
            raise ConfigError("no clips to adapt to")
        return self.with_voice(profile)

    def with_voice(self, profile: "VoiceProfile | None") -> "Recognizer":
        """The same model for a voice whose profile is known, or for nobody's.

        Raises:
            ConfigError: The model cannot be adapted, or the profile was made with another model.
        """
        return Recognizer(self.engine, self.config, self.threshold, self.track, profile)

    @overload
    def __call__(
        self,
        audio_input: AudioInput,
        sampling_rate: int | None = None,
        track: int | None = None,
        channel: int | None = None,
    ) -> Prediction: ...
    @overload
    def __call__(
        self,
        audio_input: list[Any],
        sampling_rate: int | None = None,
        track: int | None = None,
        channel: int | None = None,
    ) -> Predictions[Prediction]: ...
    @overload
    def __call__(
        self, audio_input: Any, sampling_rate: int, track: int | None = None, channel: int | None = None
    ) -> Prediction: ...
    def __call__(
        self, audio_input: Any, sampling_rate: int | None = None, track: int | None = None, channel: int | None = None
    ) -> Prediction | Predictions[Prediction]:
        """Recognize one clip of any length, or a list of clips one after the other; `batch` is faster for many.

        Args:
            audio_input: A file's path, its bytes, anything with ``read`` that gives them, or
                ``{"array": samples, "sampling_rate": hertz}``; or, with ``sampling_rate``, samples of shape (T,) or
                (channels, T). A list of any of these gives a list of predictions; a list of numbers is samples.
            sampling_rate: Rate in hertz of samples that come without it.
            track: Number of the audio track of a file that has several, from 1; None for the
                recognizer's own, or else the file's default one.
            channel: Number of the channel that is heard, from 1; None for the mean of all.

        Raises:
            AudioError: The audio cannot be read, or holds nothing that can be recognized.
        """
        if isinstance(audio_input, list) and not audio.holds_numbers(audio_input):
            names = [audio.name_of(item) for item in audio_input]
            found = [self._recognize(item, sampling_rate, track, channel) for item in audio_input]
            return Predictions(found, names)
        return self._recognize(audio_input, sampling_rate, track, channel)

    def _recognize(
        self, audio_input: Any, sampling_rate: int | None, track: int | None, channel: int | None
    ) -> Prediction:
        clip = audio.with_rate(audio_input, sampling_rate)
        notices: list[audio.Notice] = []
        blocks = audio.stream(clip, track=track or self.track, warn=notices.append, channel=channel)
        prediction = self.scorer.score_recording(blocks, audio.name_of(clip)).with_notices(notices)
        return prediction if channel is not None else prediction.with_source(clip)

    def batch(
        self,
        clips: Iterable[Any],
        sampling_rate: int | None = None,
        track: int | None = None,
        workers: int | None = None,
    ) -> "Predictions[Prediction | AudioError]":
        """Recognize many clips in parallel, several in a run of the model.

        >>> found = recognizer.batch(["a.wav", "b.wav"])  # doctest: +SKIP
        >>> found.to_frame()  # doctest: +SKIP

        Args:
            clips: Clips, each as a call of the recognizer takes it.
            sampling_rate: Rate in hertz of samples that come without it.
            track: Number of the audio track of files that have several, from 1.
            workers: Number of threads; by default as many as there are cores.

        Returns:
            The predictions in the order of the clips. A clip that cannot be recognized has its `AudioError` instead,
            and costs no other one.
        """
        from emofocus.recognition.bulk import recognize_clips  # imported here: prediction starts without it

        given = list(clips)
        found = recognize_clips(self, given, sampling_rate, track or self.track, workers)
        return Predictions(found, [audio.name_of(clip) for clip in given])

    def embed(
        self, audio_input: Any, sampling_rate: int | None = None, track: int | None = None, segments: bool = False
    ) -> Array:
        """Embedding of a clip, of which the last layer makes the scores, for classifiers and searches of your own.

        Args:
            audio_input: A clip, or a list of clips, as a call of the recognizer takes them.
            sampling_rate: Rate in hertz of samples that come without it.
            track: Number of the audio track of files that have several, from 1.
            segments: Whether to return the embedding of each segment of one clip, with those that hold no speech.

        Returns:
            The mean over the segments that hold speech (D,); of a list of clips (N, D); of segments (S, D).

        Raises:
            AudioError: The audio cannot be read, or holds nothing that can be recognized.
            ModelError: The model was exported by a version whose models give no embeddings.
            ConfigError: Segments of several clips are asked for.
        """
        if isinstance(audio_input, list) and not audio.holds_numbers(audio_input):
            if segments:
                raise ConfigError("segments=True is for one clip; ask for each clip by itself")
            return np.stack([self.embed(item, sampling_rate, track) for item in audio_input])
        clip = audio.with_rate(audio_input, sampling_rate)
        blocks = audio.stream(clip, track=track or self.track)
        embedding, speech = self.scorer.embed_recording(blocks, audio.name_of(clip))
        return embedding if segments else utterance_logits(embedding, speech)

    def turns(
        self, audio_input: AudioInput, segments: str | Path | Iterable[Any], channels: str | None = None
    ) -> "list[TurnEmotion]":
        """Recognize each turn that a diarization or a transcript names, in one pass over the recording.

        >>> for turn in recognizer.turns("call.wav", "call.json"):  # doctest: +SKIP
        ...     print(turn.turn.speaker, turn.emotion, turn.confident)

        Args:
            audio_input: The recording, as a call of the recognizer takes it.
            segments: A file (.rttm, .json, .srt, .vtt, .TextGrid or .csv), or turns: ``(start, end)``,
                ``(start, end, speaker)`` or mappings with these keys, times in seconds.
            channels: Channels of the turns, as `emofocus predict --channels` takes them; None for the mean of all.

        Returns:
            The emotion of each turn, in the order of ``segments``; a turn that holds nothing to hear has a reason.

        Raises:
            AudioError: The recording cannot be read, or has no such channel.
            ConfigError: The turns cannot be read, or are those of another recording.
        """
        from emofocus.recognition.turns.recognition import turn_emotions  # imported here: prediction starts without it

        return turn_emotions(self, audio_input, segments, channels)

    def explain(
        self,
        audio_input: AudioInput,
        start: float | None = None,
        end: float | None = None,
        segments: Sequence[float] = (),
    ) -> "Explanation":
        """Recognize one clip, or a part of it, and return the attention behind the prediction.

        Args:
            audio_input: Path of a file, a file open for reading bytes, or
                ``{"array": samples, "sampling_rate": hertz}``.
            start: Start of the part in seconds; None for the start of the clip.
            end: End of the part in seconds; None for the end of the clip.
            segments: Seconds whose attention maps are kept: for each, those of the segment whose middle is nearest.
                Without any, maps of all segments are kept, or of a long recording those around the loudest moment.

        Raises:
            AudioError: The audio cannot be read, is silent, or ends before the part does.
            ModelError: The model has no attention to explain.
            ConfigError: A second of ``segments`` lies outside the part.
        """
        from emofocus.recognition.explanation.explainer import explain  # imported here: prediction starts without it

        return explain(self.scorer, audio_input, start, end, segments, self.track)


def model_folder(source: str | Path | None) -> Path:
    """Folder of a model's files, which are downloaded from the Hub when ``source`` is ``org/name``.

    Raises:
        ModelError: ``source`` is no folder, and no model on the Hub that can be downloaded.
    """
    if source is None:
        return SHIPPED
    if Path(source).is_dir():
        return Path(source)
    parts = str(source).split("/")
    if len(parts) != 2 or not all(parts) or str(source).startswith((".", "~", "/")):
        raise ModelError(f"unknown model {str(source)!r} (valid: a model directory, or org/name on the Hub)")
    return _download(str(source))


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download  # imported here: it is seldom needed, and slow to start

    try:
        patterns = ["model*.onnx", "config.json", "README.md", "*.safetensors"]
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # errors of the Hub, the network and the file system share no base
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"unknown model {name!r}: no such folder here, and the Hub did not give it ({reason})"
        ) from error
