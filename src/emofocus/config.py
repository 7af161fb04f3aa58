"""Frozen, validated settings of a model and of a training recipe: YAML or JSON in, JSON out, unknown keys refused.

msgspec does the validating: it starts ten times faster than the alternatives, and `emofocus predict` starts with it.
"""

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta

from emofocus.errors import ConfigError, ModelError, one_of

Count = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, lt=1)]
Positive = Annotated[float, Meta(gt=0)]

RECIPES = Path(__file__).parent / "recipes"
"""Folder of the recipes that ship with the package."""

ENCODERS = ("whisper", "wav2vec2", "hubert", "wavlm")
"""Names of the features that a pretrained encoder makes."""

CopyName = Literal[
    "telephone", "codec", "noise", "babble", "crowd", "room", "microphone", "level", "varied", "varied again"
]  # fmt: skip
"""Names of recording conditions (`emofocus.audio.conditions`)."""

ENCODER_HOP = 160
"""Samples from one analysis window of an encoder's log-mels to the next; windows are centred at multiples."""

PITCH_WINDOW = 1024
"""Samples of the window of prosody, four periods of the lowest voice, for any window of the other features."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all settings: immutable, and strict about names."""


class EncoderSettings(Settings, frozen=True, kw_only=True):
    """A pretrained encoder: its shape, and the hash of its weights.

    Attributes:
        source: Name on the Hugging Face Hub, or name of the folder.
        digest: Hash of the weights that are used.
        config: Entries of its `config.json` that define its shape.
    """

    source: str
    digest: str
    config: dict[str, Any]


class FeatureSettings(Settings, frozen=True, kw_only=True):
    """Settings of the features of a frame (PAPER: 25 ms Hann window, 10 ms hop, 40 MFCCs).

    A pretrained encoder has its own window; ``hop`` is then a multiple of its step, whose frames are averaged.

    Attributes:
        window: Samples of the Hann window.
        hop: Samples from frame to frame.
        coefficients: MFCCs kept; unused by log-mel.
        deltas: Slopes (1) and curvatures (2) appended.
        also: Further descriptors of a frame, appended (`emofocus.features.descriptors`).
        pitch_bins: Bins of a pitchgram appended, 16 an octave from 60 Hz; 0 for none.
        remove_offset: Whether each frame's mean, weighted by its window, is subtracted before anything else, so that a
            DC offset of the recording changes no feature. Models that do not say so were trained without it.
        encoder: Encoder of features in `ENCODERS`: a name on the Hugging Face Hub, a folder, or settings.
        layers: Number of the encoder's layers that are used.
        taps: Numbers of the encoder's layers whose outputs a frame holds; the last one by default.
    """

    name: Literal["mfcc", "log-mel", "waveform", "whisper", "wav2vec2", "hubert", "wavlm"] = "mfcc"
    sampling_rate: Literal[16000] = 16000
    window: Count = 400
    hop: Count = 160
    mels: Count = 128
    coefficients: Count = 40
    deltas: Literal[0, 1, 2] = 0
    also: tuple[Literal["chroma", "mel", "contrast", "tonnetz", "prosody"], ...] = ()
    pitch_bins: Annotated[int, Meta(ge=0, le=112)] = 0
    # Unset ones are not written: settings from before these fields keep their bytes, and so their cache.
    remove_offset: bool | msgspec.UnsetType = msgspec.UNSET
    encoder: EncoderSettings | str | msgspec.UnsetType = msgspec.UNSET
    layers: Count | msgspec.UnsetType = msgspec.UNSET
    taps: tuple[Count, ...] | msgspec.UnsetType = msgspec.UNSET

    @property
    def pretrained(self) -> bool:
        """True for features that a pretrained encoder makes."""
        return self.name in ENCODERS

    @property
    def description(self) -> str:
        """Features in words, and whether they keep a DC offset of the recording."""
        if self.pretrained:
            return f"frames of a pretrained encoder ({self.name})"
        if self.name == "waveform":
            return "the waveform"
        plain = f"{self.coefficients} MFCCs" if self.name == "mfcc" else f"{self.mels} log-mel bands"
        parts = [plain, *self.also, *(["a pitchgram"] if self.pitch_bins else [])]
        words = " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
        return f"{words} (DC offset {'removed' if self.remove_offset is True else 'kept'})"

    @property
    def reach(self) -> int:
        """Samples around its centre that a frame's features are made of, deltas aside."""
        return max(self.window, PITCH_WINDOW) if "prosody" in self.also else self.window

    @property
    def ahead(self) -> int:
        """Samples from a frame's position up to the last one that it is made of, deltas aside.

        A frame is centred at its position; that of an encoder begins there, and holds a hop of analysis windows.
        """
        return self.reach // 2 + (self.hop - ENCODER_HOP if self.pretrained else 0)

    @property
    def centre(self) -> int:
        """Samples from a frame's position to its middle."""
        return self.hop // 2 if self.pretrained else 0


class SegmentSettings(Settings, frozen=True, kw_only=True):
    """Length and hop of segments (PAPER: 0.5 s every 0.1 s), and the level of silence.

    Attributes:
        frames: Frames of a segment.
        hop: Frames from segment to segment.
        top_db: A frame this far below the clip's loudest one is silence.
    """

    frames: Count = 50
    hop: Count = 10
    top_db: Positive = 40.0


class NetworkSettings(Settings, frozen=True, kw_only=True):
    """Settings of a network.

    Attributes:
        adapter_rank: Rank of the adapters with which networks on a pretrained encoder fine-tune its layers behind the
            last of the taps; frozen features alone where it is unset.
        voice_seconds: Seconds of a voice's speech at which its own statistics count as much as those of the training
            part, for networks that are adapted to voices; unset for others.
    """

    pooling: Literal["mean", "last", "flatten"] = "mean"
    dropout: Share = 0.2
    adapter_rank: Count | msgspec.UnsetType = msgspec.UNSET
    voice_seconds: Positive | msgspec.UnsetType = msgspec.UNSET


class EmbeddingSettings(Settings, frozen=True, kw_only=True):
    """A vector that describes who speaks, with which each frame ends (`emofocus.data.speaker_embeddings`).

    Attributes:
        size: Length D of the vector.
        source: ``manifest``, for files that a manifest names, or ``onnx`` and the hash of the extractor's file.
    """

    size: Count
    source: str


class ModelConfig(Settings, frozen=True, kw_only=True):
    """`config.json` of a model directory: all that is needed to rebuild and to run the model.

    Attributes:
        embedding: Speaker embedding with which each frame ends, for models that take one.
        temperature: Divides logits before the softmax, which calibrates probabilities; 1 when none was fitted.
        threshold: Top probability from which on an answer counts as confident; 0 when none was chosen.
        energy: Energy (`emofocus.segments.energy`) that 95 % of the validation part reach; None if it was not measured.
            No warning follows from it, for it tells nothing (`docs/limits.md`).
        training: Record of the training: corpus, protocol, recipe, seed, figures.
    """

    format: Literal["emofocus/1"] = "emofocus/1"
    model: str
    id2label: dict[int, str]
    label2id: dict[str, int]
    features: FeatureSettings = FeatureSettings()
    segment: SegmentSettings = SegmentSettings()
    network: NetworkSettings = NetworkSettings()
    embedding: EmbeddingSettings | None = None
    temperature: Positive = 1.0
    threshold: Share = 0.0
    energy: float | None = None
    license: str = "unknown"
    training: dict[str, Any] = {}

    @classmethod
    def of(cls, model: str, labels: tuple[str, ...], **settings: Any) -> Self:
        """Make a config from a tuple of labels instead of the two dictionaries."""
        id2label = dict(enumerate(labels))
        label2id = {label: index for index, label in enumerate(labels)}
        return cls(model=model, id2label=id2label, label2id=label2id, **settings)

    def __post_init__(self) -> None:
        """Refuse labels that contradict each other (ValueError)."""
        if sorted(self.id2label) != list(range(len(self.id2label))) or not self.id2label:
            raise ValueError("id2label must number the labels 0, 1, 2 …")
        # Equal sizes too, or a label that is named twice would pass.
        named = {label: index for index, label in self.id2label.items()}
        if named != self.label2id or len(named) != len(self.id2label):
            raise ValueError("id2label and label2id disagree")

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return tuple(self.id2label[index] for index in range(len(self.id2label)))


class Recipe(Settings, frozen=True, kw_only=True):
    """Settings of a training. Defaults are those of the paper (section 4.1), where it gives them.

    Attributes:
        epochs: Largest number of epochs.
        patience: Epochs without a better validation UA after which training ends; 0 always trains all epochs.
        batch_size: Segments of a step.
        warmup: Share of all steps in which the learning rate rises linearly.
        time_reversal: Share of training segments played backwards.
        speeds: Additional speeds (and pitches) of training speech, such as 0.9 and 1.1.
        copies: Recording conditions of which training speech has an additional copy each, computed once
            (`emofocus.audio.conditions`).
        gain_db: Largest change of a training segment's loudness, up or down.
        mask_frames: Longest stretch of frames that is hidden in a training segment (SpecAugment).
        mask_coefficients: The same for neighboring features.
        masks: Stretches of each kind that are hidden.
        mixup: Parameter α of the Beta distribution by which training segments are mixed in pairs; 0 mixes none.
        gradient_norm: Limit of the norm of all gradients together; 0 for none.
        weight_average: Decay, a step, of the moving average of the weights that is validated and kept, less in the
            first steps; 0 for the weights themselves.
        embedding: Speaker embedding with which each frame ends, for models that take one.
        balance: Columns whose combinations of values an epoch takes alike often, instead of each segment once. By
            default corpus, emotion and gender where several corpora are trained on, and none otherwise.
        absent: Weight in the softmax of classes that a segment's corpus lacks: 0 masks them, so that nothing is learnt
            of them there, and 1 teaches that they are absent.
        voice_clips: Numbers of a speaker's clips, one of which is drawn for each training segment. The segment is then
            adapted by so many clips of its speaker, as the network is adapted to a voice later.
        keep: Epoch whose weights are kept: the ``best`` by validation UA, which is the default, or the ``last``, for
            validation parts that are too small to choose.
    """

    description: str = ""
    epochs: Count = 100
    patience: Annotated[int, Meta(ge=0)] = 0
    batch_size: Count = 128
    learning_rate: Positive = 3e-4
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: Share = 0.0
    weight_decay: Annotated[float, Meta(ge=0)] = 0.0
    label_smoothing: Share = 0.0
    time_reversal: Annotated[float, Meta(ge=0, le=1)] = 0.0
    speeds: tuple[Annotated[float, Meta(ge=0.5, le=2)], ...] = ()
    copies: tuple[CopyName, ...] = ()
    gain_db: Annotated[float, Meta(ge=0)] = 0.0
    mask_frames: Annotated[int, Meta(ge=0)] = 0
    mask_coefficients: Annotated[int, Meta(ge=0)] = 0
    masks: Count = 1
    mixup: Annotated[float, Meta(ge=0)] = 0.0
    gradient_norm: Annotated[float, Meta(ge=0)] = 0.0
    weight_average: Share = 0.0
    features: FeatureSettings = FeatureSettings()
    segment: SegmentSettings = SegmentSettings()
    network: NetworkSettings = NetworkSettings()
    embedding: EmbeddingSettings | None = None
    balance: tuple[Literal["corpus", "emotion", "gender"], ...] | msgspec.UnsetType = msgspec.UNSET
    absent: Annotated[float, Meta(ge=0, le=1)] | msgspec.UnsetType = msgspec.UNSET
    voice_clips: tuple[Annotated[int, Meta(ge=0)], ...] | msgspec.UnsetType = msgspec.UNSET
    keep: Literal["best", "last"] | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        """Refuse clips of voices for a network that is not adapted (ValueError)."""
        if self.voice_clips and self.network.voice_seconds is msgspec.UNSET:
            raise ValueError("voice_clips adapt a network to voices; its network needs voice_seconds")

    def config(self, model: str, labels: tuple[str, ...], license: str = "unknown") -> ModelConfig:
        """Config of a network that is trained by this recipe, without figures."""
        held = {name: getattr(self, name) for name in ("features", "segment", "network", "embedding")}
        return ModelConfig.of(model, labels, license=license, **held)


AnySettings = TypeVar("AnySettings", bound=msgspec.Struct)


def parse(kind: type[AnySettings], values: Any, source: str) -> AnySettings:
    """Validate plain data into settings.

    Raises:
        ConfigError: An unknown key, a missing one, or a value out of range, named with ``source``.
    """
    try:
        return msgspec.convert(values, kind, str_keys=True)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {next(_wrong_parts(kind, values), error)}") from None


def _wrong_parts(kind: Any, values: Any, place: str = "$") -> Iterator[str]:
    """Keys in plain data that its type does not have, and values that are no choice of it, each with the valid ones.

    Args:
        kind: Settings, or the type of a field, which may hold settings.
        values: Plain data of that type.
        place: Path to the data, as msgspec spells it.
    """
    if get_origin(kind) is Literal:
        if values not in get_args(kind):
            yield f"{values!r} at `{place}` ({one_of(get_args(kind))})"
    elif not isinstance(kind, type) or not issubclass(kind, Settings):
        items = values if isinstance(values, list | tuple) else [values]
        for part, item in product(get_args(kind), items):
            yield from _wrong_parts(part, item, place)
    elif isinstance(values, dict):
        types = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
        for key, value in values.items():
            if key in types:
                yield from _wrong_parts(types[key], value, f"{place}.{key}")
            else:
                yield f"unknown field `{key}` at `{place}` ({one_of(types)})"


def to_plain(settings: Settings) -> dict[str, Any]:
    """Settings as plain data, ready for JSON."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(settings))
    return plain


def load_model_config(path: Path) -> ModelConfig:
    """Read `config.json`.

    Raises:
        ModelError: The file is missing or no JSON.
        ConfigError: It holds unknown keys or bad values.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path.parent}: not a model directory, {path.name} is missing") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: damaged, not JSON ({error})") from error
    return parse(ModelConfig, values, str(path))


def recipe_names() -> list[str]:
    """Names of the recipes that ship with the package."""
    return sorted(file.stem for file in RECIPES.glob("*.yaml"))


def load_recipe(name: str, epochs: int | None = None) -> tuple[str, Recipe]:
    """Read a recipe that ships with the package, or one from a YAML file.

    Args:
        name: A shipped recipe's name, or a path that ends in ``.yaml`` or ``.yml``.
        epochs: Largest number of epochs, in place of the file's.

    Returns:
        The recipe's short name and the recipe.

    Raises:
        ConfigError: No such recipe, no YAML, unknown keys or bad values.
    """
    import yaml  # part of emofocus[train]

    try:
        values = yaml.safe_load(_recipe_text(name)) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not YAML ({error})") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{name}: a recipe is a list of 'key: value' lines")
    if epochs is not None:
        values["epochs"] = epochs
    return Path(name).stem, parse(Recipe, values, name)


def _recipe_text(name: str) -> str:
    if name in recipe_names():
        return (RECIPES / f"{name}.yaml").read_text(encoding="utf-8")
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"unknown recipe {name!r} ({one_of(recipe_names())}, or a .yaml file)")
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from error
