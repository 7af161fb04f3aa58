"""Frozen, validated settings of a model and of a training recipe: YAML or JSON in, JSON out, unknown keys refused."""

import json
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from emofocus.errors import ConfigError, ModelError, one_of


class Settings(BaseModel):
    """Base of all settings: immutable, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FeatureSettings(Settings):
    """How a waveform becomes frames (PAPER: 25 ms Hann window, 10 ms hop, 40 MFCCs)."""

    name: Literal["mfcc", "log-mel"] = "mfcc"
    sampling_rate: Literal[16000] = 16000
    window: int = Field(400, ge=4, description="samples of the Hann window")
    hop: int = Field(160, ge=1, description="samples from frame to frame")
    mels: int = Field(128, ge=1)
    coefficients: int = Field(40, ge=1, description="MFCCs kept; unused by log-mel")
    deltas: Literal[0, 1, 2] = Field(0, description="slopes (1) and curvatures (2) appended")


class SegmentSettings(Settings):
    """How frames become segments (PAPER: 0.5 s every 0.1 s), and which of them hold speech."""

    frames: int = Field(50, ge=1, description="frames of a segment")
    hop: int = Field(10, ge=1, description="frames from segment to segment")
    top_db: float = Field(40.0, gt=0, description="a frame this far below the clip's loudest one is silence")


class NetworkSettings(Settings):
    """What the networks leave to choose."""

    pooling: Literal["mean", "last", "flatten"] = "mean"
    dropout: float = Field(0.2, ge=0, lt=1)


class ModelConfig(Settings):
    """`config.json` of a model directory: all that is needed to rebuild and to run the model."""

    format: Literal["emofocus/1"] = "emofocus/1"
    model: str
    id2label: dict[int, str]
    label2id: dict[str, int]
    features: FeatureSettings = FeatureSettings()
    segment: SegmentSettings = SegmentSettings()
    network: NetworkSettings = NetworkSettings()
    license: str = "unknown"
    training: dict[str, Any] = Field(default_factory=dict, description="corpus, protocol, recipe, seed, figures")

    @classmethod
    def of(cls, model: str, labels: tuple[str, ...], **settings: Any) -> Self:
        """Make a config from a tuple of labels instead of the two dictionaries."""
        id2label = dict(enumerate(labels))
        label2id = {label: index for index, label in enumerate(labels)}
        return cls(model=model, id2label=id2label, label2id=label2id, **settings)

    @model_validator(mode="after")
    def _labels_agree(self) -> Self:
        if sorted(self.id2label) != list(range(len(self.id2label))) or not self.id2label:
            raise ValueError("id2label must number the labels 0, 1, 2 …")
        if {label: index for index, label in self.id2label.items()} != self.label2id:
            raise ValueError("id2label and label2id disagree")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return tuple(self.id2label[index] for index in range(len(self.id2label)))


class Recipe(Settings):
    """How a model is trained. Defaults are the paper's (section 4.1), where it says."""

    description: str = ""
    epochs: int = Field(100, ge=1)
    batch_size: int = Field(128, ge=1, description="segments")
    learning_rate: float = Field(3e-4, gt=0)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: float = Field(0.0, ge=0, lt=1, description="share of all steps in which the rate rises linearly")
    weight_decay: float = Field(0.0, ge=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    time_reversal: float = Field(0.0, ge=0, le=1, description="share of training segments played backwards")
    features: FeatureSettings = FeatureSettings()
    segment: SegmentSettings = SegmentSettings()
    network: NetworkSettings = NetworkSettings()


AnySettings = TypeVar("AnySettings", bound=Settings)


def parse(kind: type[AnySettings], values: Any, source: str) -> AnySettings:
    """Validate plain data into settings.

    Raises:
        ConfigError: An unknown key, a missing one, or a value out of range, named with ``source``.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_problem(item, kind) for item in error.errors())
        raise ConfigError(f"{source}: {problems}") from None


def _problem(item: Any, kind: type[Settings]) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"unknown key {where!r} ({one_of(_keys(kind, item['loc'][:-1]))})"
    return f"{where}: {item['msg']}, not {item['input']!r}" if where else str(item["msg"])


def _keys(kind: type[Settings], path: tuple[Any, ...]) -> list[str]:
    for name in path:
        inner = kind.model_fields[name].annotation
        if not isinstance(inner, type) or not issubclass(inner, Settings):
            break
        kind = inner
    return list(kind.model_fields)


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
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: damaged, not JSON ({error})") from error
    return parse(ModelConfig, values, str(path))


def recipe_names() -> list[str]:
    """Recipes that ship with the package."""
    folder = resources.files("emofocus") / "recipes"
    return sorted(Path(item.name).stem for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_recipe(name: str, **overrides: Any) -> tuple[str, Recipe]:
    """Read a recipe that ships with the package, or one from a YAML file.

    Args:
        name: A shipped recipe's name, or a path that ends in ``.yaml`` or ``.yml``.
        overrides: Values that replace the file's, unless they are None.

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
    values |= {key: value for key, value in overrides.items() if value is not None}
    return Path(name).stem, parse(Recipe, values, name)


def _recipe_text(name: str) -> str:
    if name in recipe_names():
        return (resources.files("emofocus") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"unknown recipe {name!r} ({one_of(recipe_names())}, or a .yaml file)")
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from error
