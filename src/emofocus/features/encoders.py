"""Pretrained encoders: where their weights are found, and which ones they are.

A recipe names an encoder by its name on the Hugging Face Hub or by a folder. `resolved` reads it once, describes it
(`EncoderSettings`), and keeps its weights by their hash, beside the cache of features. From then on settings alone are
enough, and nothing that is written down holds the path of a folder.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from emofocus.config import EncoderSettings, FeatureSettings
from emofocus.errors import ConfigError, ModelError, one_of
from emofocus.features import self_supervised, whisper
from emofocus.features.window_encoder import WindowEncoder
from emofocus.utils.atomic import replacing
from emofocus.utils.folders import cache_folder

WEIGHTS, CONFIG = "model.safetensors", "config.json"

FOLDER_VARIABLE = "EMOFOCUS_ENCODERS"
"""Environment variable: a folder of encoders placed by hand, as ``openai/whisper-base/config.json``."""

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")

Shape = Mapping[str, Any]
"""Content of an encoder's `config.json`, or the settings in it that define the encoder's shape."""


class Family(NamedTuple):
    """Functions for the encoders of one architecture.

    Attributes:
        step: Samples from one position to the next.
        shape_of: `config.json` → settings of the shape (KeyError).
        depth_of: `config.json` → number of layers (KeyError).
        width_of: Shape → number of features of a position.
        own_name: A tensor's name in the file, and layers used → its name in the encoder, None if it is not used.
        make: Shape, layers → the encoder, without its weights.
        hear: Shape, encoder → the object that runs it, window by window.
    """

    step: int
    shape_of: Callable[[Shape], dict[str, Any]]
    depth_of: Callable[[Shape], int]
    width_of: Callable[[Shape], int]
    own_name: Callable[[str, int], str | None]
    make: Callable[[Shape, int], nn.Module]
    hear: Callable[[Shape, nn.Module], WindowEncoder]


FAMILIES: dict[str, Family] = {
    "whisper": Family(
        whisper.STEP,
        whisper.shape_of,
        whisper.depth_of,
        whisper.width_of,
        whisper.own_name,
        whisper.WhisperEncoder,
        whisper.Whisper,
    ),
    **dict.fromkeys(
        self_supervised.CLASSES,
        Family(
            self_supervised.STEP,
            self_supervised.shape_of,
            self_supervised.depth_of,
            self_supervised.width_of,
            self_supervised.own_name,
            self_supervised.make,
            self_supervised.SelfSupervised,
        ),
    ),
}
"""By `model_type` of their `config.json`, and name of the features."""

_held: dict[str, dict[str, Tensor]] = {}
"""Weights by digest that this process has read."""


def resolved(settings: FeatureSettings) -> FeatureSettings:
    """Settings in which the encoder that they name is described; others pass.

    Raises:
        ConfigError: An encoder is named where none is needed, or is missing, or has not as many layers.
        ModelError: It cannot be found, is of another architecture, or its files do not agree.
        MissingExtraError: It needs `transformers`, which is not installed.
    """
    if not settings.pretrained:
        if settings.encoder is not msgspec.UNSET or settings.layers is not msgspec.UNSET:
            raise ConfigError(f"features {settings.name} take no encoder and no layers")
        return settings
    if isinstance(settings.encoder, EncoderSettings):
        return settings
    if not isinstance(settings.encoder, str) or not isinstance(settings.layers, int):
        raise ConfigError(f"features {settings.name} need an encoder (org/name on the Hub, or a folder) and its layers")
    folder = folder_of(settings.encoder)
    shape = _shape_in(folder, settings)
    tensors = _weights_in(folder, settings.name, settings.layers, shape)
    source = folder.resolve().name if Path(settings.encoder).is_dir() else settings.encoder
    encoder = EncoderSettings(source=source, digest=keep(tensors), config=shape)
    return msgspec.structs.replace(settings, encoder=encoder)


def folder_of(encoder: str) -> Path:
    """Folder of an encoder: a given one, one below ``$EMOFOCUS_ENCODERS``, or a download from the Hub.

    Raises:
        ModelError: No such folder exists, and the Hub has none.
    """
    if Path(encoder).is_dir():
        return Path(encoder)
    placed = os.environ.get(FOLDER_VARIABLE)
    if placed and (Path(placed) / encoder).is_dir():
        return Path(placed) / encoder
    parts = encoder.split("/")
    if len(parts) != 2 or not all(parts) or encoder.startswith((".", "~", "/")):
        raise ModelError(f"no such encoder: {encoder!r} (valid: a folder, or org/name on the Hub)")
    return _download(encoder)


def _download(encoder: str) -> Path:
    from huggingface_hub import snapshot_download  # imported here: seldom needed, and slow to start

    try:
        return Path(snapshot_download(encoder, allow_patterns=[WEIGHTS, CONFIG]))
    except Exception as error:  # the Hub's, the network's and the file system's errors share no base
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"no such encoder: {encoder!r} is no folder, and the Hub did not give it ({reason}). Without a network, "
            f"put its {CONFIG} and {WEIGHTS} into a folder {encoder}, and name the one around it in ${FOLDER_VARIABLE}"
        ) from error


def _shape_in(folder: Path, settings: FeatureSettings) -> dict[str, Any]:
    """Settings of the encoder's shape from a folder's `config.json`, checked against the feature settings."""
    path, kind = folder / CONFIG, FAMILIES[settings.name]
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        architecture = config["model_type"]
        if architecture != settings.name:
            known = "" if architecture in FAMILIES else f" ({one_of(FAMILIES)})"
            raise ModelError(f"{folder.name}: its architecture is {architecture!r}, not {settings.name!r}{known}")
        shape, depth = kind.shape_of(config), kind.depth_of(config)
    except OSError as error:
        raise ModelError(f"{folder.name}: no encoder, its {CONFIG} cannot be read ({error.strerror})") from error
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
        raise ModelError(f"{folder.name}: its {CONFIG} is damaged ({error})") from error
    except KeyError as error:
        raise ModelError(f"{folder.name}: its {CONFIG} lacks {error}") from error
    taps = settings.taps if isinstance(settings.taps, tuple) else ()
    assert isinstance(settings.layers, int)
    if settings.layers > depth:
        raise ConfigError(f"{folder.name} has {depth} layers, not {settings.layers} (valid: 1 to {depth})")
    if any(tap > settings.layers for tap in taps):
        raise ConfigError(f"taps {taps} lie beyond the {settings.layers} layers that are used")
    return shape


def _weights_in(folder: Path, name: str, layers: int, shape: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a folder that are used, by our names, in the precision of the file.

    Raises:
        ModelError: No safetensors, damaged ones, or of other shapes than the config says.
    """
    path, kind = folder / WEIGHTS, FAMILIES[name]
    if not path.exists():
        pickles = sorted(item.name for pattern in PICKLES for item in folder.glob(pattern))
        remark = f"; {pickles[0]} is a pickle, which could run code and is never read" if pickles else ""
        raise ModelError(f"{folder.name}: no {WEIGHTS}{remark}")
    try:
        with safe_open(path, framework="pt") as file:
            names = {theirs: kind.own_name(theirs, layers) for theirs in file.keys()}  # noqa: SIM118
            tensors = {ours: file.get_tensor(theirs) for theirs, ours in names.items() if ours is not None}
    except SafetensorError as error:
        raise ModelError(f"{folder.name}: its {WEIGHTS} is damaged ({error})") from error
    with torch.device("meta"):
        expected = {key: value.shape for key, value in kind.make(shape, layers).state_dict().items()}
    for key, size in expected.items():
        if key not in tensors:
            raise ModelError(f"{folder.name}: its {WEIGHTS} lacks what the encoder calls {key}")
        if tensors[key].shape != size:
            there = tuple(tensors[key].shape)
            raise ModelError(f"{folder.name}: {key} has the shape {there}, but its {CONFIG} says {tuple(size)}")
    return {key: tensors[key] for key in expected}


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Hash of weights, by their values in float32, so that a file in float16 and its copy in float32 are the same."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def keep(tensors: dict[str, Tensor]) -> str:
    """Remember weights, in this process and in the user's cache folder; returns their digest."""
    digest = digest_of(tensors)
    _held[digest] = tensors
    path = _kept(digest)
    if not path.exists():
        with replacing(path) as temporary:
            save_file(tensors, temporary)
    return digest


def weights_of(encoder: EncoderSettings, layers: int, name: str) -> dict[str, Tensor]:
    """The weights that settings describe.

    Raises:
        ModelError: They are not in the cache, and cannot be found where they came from, or differ there.
    """
    if encoder.digest not in _held:
        path = _kept(encoder.digest)
        if path.exists():
            with safe_open(path, framework="pt") as file:
                _held[encoder.digest] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        else:
            tensors = _weights_in(folder_of(encoder.source), name, layers, encoder.config)
            if keep(tensors) != encoder.digest:
                raise ModelError(f"{encoder.source}: its weights are not those of the training ({encoder.digest})")
    return _held[encoder.digest]


def _kept(digest: str) -> Path:
    return cache_folder() / "encoders" / f"{digest}.safetensors"


def load(settings: FeatureSettings) -> WindowEncoder:
    """The encoder that settings describe, with its weights, frozen; see `Family.hear`.

    Raises:
        ModelError: As in `weights_of`.
    """
    encoder, layers = described(settings)
    family = FAMILIES[settings.name]
    with torch.device("meta"):
        network = family.make(encoder.config, layers)
    tensors = weights_of(encoder, layers, settings.name)
    network.load_state_dict({key: value.float() for key, value in tensors.items()}, assign=True)
    runner = family.hear(encoder.config, network)
    runner.requires_grad_(False).eval()
    return runner


def described(settings: FeatureSettings) -> tuple[EncoderSettings, int]:
    """Encoder and layers of settings that are `resolved`.

    Raises:
        ConfigError: They are not.
    """
    if not isinstance(settings.encoder, EncoderSettings) or not isinstance(settings.layers, int):
        raise ConfigError(f"features {settings.name} are not resolved: {settings.encoder!r}, {settings.layers!r}")
    return settings.encoder, settings.layers


def frame_size(settings: FeatureSettings) -> int:
    """Features of a frame."""
    return FAMILIES[settings.name].width_of(described(settings)[0].config) * len(taps_of(settings))


def taps_of(settings: FeatureSettings) -> tuple[int, ...]:
    """Numbers of the layers whose outputs a frame holds."""
    return settings.taps if isinstance(settings.taps, tuple) else (described(settings)[1],)


class EncoderFeatures(nn.Module):
    """A frozen encoder's outputs, averaged over the hop, in two steps.

    The first, `sounds`, looks at each frame alone, so that overlapping windows share it. The second, `encode`, sees
    a whole window: its convolutions, its attention and the floor of Whisper's log-mels depend on all of its frames.

    Shape: waveform (B, T), lengths (B,) in samples or None → (B, 1 + T // hop, taps · d).
    """

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__()
        step = FAMILIES[settings.name].step
        if settings.hop % step:
            raise ConfigError(
                f"features {settings.name} need a hop of a multiple of {step} samples, not {settings.hop}"
            )
        self.encoder = load(settings)
        self.longest = self.encoder.longest // (settings.hop // step)
        self.taps, self.size = taps_of(settings), frame_size(settings)
        self.hop = settings.hop
        self.pool = settings.hop // step

    def blocks(self, waveform: Tensor, lengths: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Features (B, n, F) and mean square (B, n), in pieces as long as the encoder has positions for."""
        total = 1 + waveform.shape[1] // self.hop
        frames = None if lengths is None else torch.div(lengths, self.hop, rounding_mode="floor") + 1
        sounds, power = self.sounds(waveform)
        for start in range(0, total, self.longest):
            count = min(self.longest, total - start)
            true = None if frames is None else (frames - start).clamp(1, count)
            piece = slice(start, start + count)
            yield self.encode(sounds[:, piece], true), power[:, piece]

    def shown(self, sounds: Tensor) -> Tensor:
        """Sounds (B, n, D) → what figures show of each frame (B, n, …)."""
        return self.encoder.shown(sounds)

    def keep_positions(self, frames: int) -> None:
        """Drop what only windows of more frames need."""
        self.encoder.keep_positions(frames * self.pool)

    def sounds(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Waveform (B, T) → what the encoder takes of each frame (B, n, D), and its mean square (B, n)."""
        frames = 1 + waveform.shape[1] // self.hop
        padded = F.pad(waveform, (0, self.hop))[:, : frames * self.hop]
        power = padded.reshape(waveform.shape[0], -1, self.hop).square().mean(dim=2)
        return self.encoder.sounds(waveform, self.hop), power

    def encode(self, sounds: Tensor, frames: Tensor | None = None) -> Tensor:
        """Sounds of windows (B, m, D), true frames (B,) or None when all are → features (B, m, F)."""
        outputs = self.encoder(sounds, None if frames is None else frames * self.pool)
        chosen = torch.cat([outputs[number - 1] for number in self.taps], dim=2)  # (B, e, F)
        return chosen.reshape(chosen.shape[0], -1, self.pool, self.size).mean(dim=2)
