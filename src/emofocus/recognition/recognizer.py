"""File or array → `Prediction`, through `model.onnx`, in bounded memory and without torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from emofocus import audio
from emofocus.audio.loading import SAMPLING_RATE, AudioInput
from emofocus.config import ModelConfig, load_model_config
from emofocus.errors import ConfigError, ModelError
from emofocus.recognition.engine import Engine, graph_file
from emofocus.recognition.prediction import Prediction, Segment, Timeline
from emofocus.recognition.scoring import Scorer

if TYPE_CHECKING:
    from emofocus.recognition.explanation.explanation import Explanation

__all__ = ["Prediction", "Recognizer", "Segment", "Timeline", "model_folder"]


class Recognizer:
    """Recognizes the emotion in speech.

    >>> recognizer = Recognizer.from_pretrained()  # doctest: +SKIP
    >>> recognizer("clip.wav").label  # doctest: +SKIP
    'happy'

    Args:
        engine: Runs the model.
        config: Its `config.json`.
        threshold: Top probability from which on a prediction is confident, 0 … 1; the config's by default.
        hop: Seconds from segment to segment, in whole frames; the config's by default.

    Raises:
        ConfigError: The threshold is no probability, or the hop is not above 0.
    """

    def __init__(
        self, engine: Engine, config: ModelConfig, threshold: float | None = None, hop: float | None = None
    ) -> None:
        self.engine, self.config = engine, config if hop is None else with_hop(config, hop)
        self.labels = config.labels
        self.threshold = config.threshold if threshold is None else threshold
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"threshold {self.threshold} is no probability (valid: 0 to 1)")
        self.scorer = Scorer(engine, self.config, self.threshold)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | None = None,
        threads: int | None = None,
        threshold: float | None = None,
        hop: float | None = None,
        precision: str = "fp32",
        device: str = "auto",
        optimize_graph: bool = True,
    ) -> "Recognizer":
        """Load a model.

        Args:
            source: A model directory, ``org/name`` on the Hugging Face Hub, or None for the model that is shipped.
            threads: CPU threads; as many as there are cores by default.
            threshold: Top probability from which on a prediction is confident; the model's by default.
            hop: Seconds from segment to segment; the model's by default.
            precision: Arithmetic of the network: fp32, int8 or fp16. A model directory may have any of them.
            device: cpu, cuda, coreml or directml; auto takes what there is.
            optimize_graph: As in `Engine`.

        Raises:
            ModelError: No such model, or a file of it is missing or damaged.
            ConfigError: Its `config.json` has unknown keys or bad values, the threshold is no probability, or there
                is no such precision or device.
        """
        folder = model_folder(source)
        path = graph_file(folder, precision)
        config = load_model_config(folder / "config.json")
        return cls(Engine(path, threads, device, optimize_graph), config, threshold, hop)

    def __call__(self, audio_input: AudioInput) -> Prediction:
        """Recognize one clip of any length.

        Args:
            audio_input: A file's path, a file open for reading bytes, or
                ``{"array": samples, "sampling_rate": hertz}``.

        Raises:
            AudioError: The audio cannot be read, or holds nothing that can be recognized.
        """
        return self.scorer.score_recording(audio.stream(audio_input), audio.name_of(audio_input))

    def explain(
        self,
        audio_input: AudioInput,
        start: float | None = None,
        end: float | None = None,
        segments: Sequence[float] = (),
    ) -> "Explanation":
        """What the model listened to in one clip, or in a part of it: the numbers behind the figures.

        Args:
            audio_input: As above.
            start: Where the part begins, in seconds; None for the clip's beginning.
            end: Where it ends; None for the clip's end.
            segments: Seconds of the segments whose attention maps are wanted: of each, the segment whose middle is
                nearest. Without any, those of all segments, or the loudest ones' of a long recording.

        Raises:
            AudioError: As above, or there is no such part.
            ModelError: The model has no attention to explain.
            ConfigError: A second of ``segments`` lies outside the part.
        """
        from emofocus.recognition.explanation.explainer import explain  # imported here: predicting starts without

        return explain(self.scorer, audio_input, start, end, segments)


def with_hop(config: ModelConfig, seconds: float) -> ModelConfig:
    """The same model with another hop, of whole frames, at least one.

    Raises:
        ConfigError: It is not above 0.
    """
    if not seconds > 0:
        raise ConfigError(f"hop of {seconds:g} s: segments cannot follow each other like that (valid: above 0)")
    frames = max(1, round(seconds * SAMPLING_RATE / config.features.hop))
    return replace(config, segment=replace(config.segment, hop=frames))


def model_folder(source: str | Path | None) -> Path:
    """Where a model's files are, fetched from the Hub when ``source`` is ``org/name``.

    Raises:
        ModelError: No such folder, and not a name on the Hub that could be fetched.
    """
    if source is None:
        from importlib.resources import files  # here: it takes a while to start, and a path needs none of it

        return Path(str(files("emofocus"))) / "assets" / "default"
    if Path(source).is_dir():
        return Path(source)
    parts = str(source).split("/")
    if len(parts) != 2 or not all(parts) or str(source).startswith((".", "~", "/")):
        raise ModelError(f"unknown model {str(source)!r} (valid: a model directory, or org/name on the Hub)")
    return _download(str(source))


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download  # imported here: seldom needed, and slow to start

    try:
        patterns = ["model*.onnx", "config.json", "README.md", "*.safetensors"]
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # the Hub's, the network's and the file system's errors share no base
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"unknown model {name!r}: no such folder here, and the Hub did not give it ({reason})"
        ) from error
