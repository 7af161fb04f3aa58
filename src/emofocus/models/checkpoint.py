"""Weights and configs of model directories, in safetensors and JSON. Nothing is unpickled."""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from emofocus.config import FeatureSettings, ModelConfig, load_model_config, to_plain
from emofocus.errors import ModelError
from emofocus.features.encoders import described, keep, weights_of
from emofocus.models import SpeechNetwork, build
from emofocus.utils.atomic import replacing, write_text

WEIGHTS = "model.safetensors"
"""Name of the file of weights in a model directory."""

PACKED_FROM = 32_768
"""Least number of values of a matrix that is packed to int8."""

ENCODER = "front_end.encoder."
"""Prefix of the names of a pretrained encoder's tensors."""


def encoder_tensors(features: FeatureSettings) -> dict[str, Tensor]:
    """The weights of the encoder that makes features, if one does, by their names in a model directory."""
    if not features.pretrained:
        return {}
    return {f"{ENCODER}{name}": tensor for name, tensor in weights_of(*described(features), features.name).items()}


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors to a safetensors file, atomically."""
    with replacing(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and metadata of a safetensors file.

    Raises:
        ModelError: Missing or damaged.
    """
    if not path.exists():
        raise ModelError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise ModelError(f"{path}: damaged ({error})") from error


def network_tensors(folder: Path) -> dict[str, Tensor]:
    """Tensors of a model directory's network as they are stored, without those of a pretrained encoder.

    Raises:
        ModelError: Missing or damaged.
    """
    tensors, _ = load_tensors(folder / WEIGHTS)
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(ENCODER)}


def tensors_hash(tensors: dict[str, Tensor]) -> str:
    """16 hexadecimal digits that tell tensors, by names, types, shapes and values, from others."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def save_config(folder: Path, config: ModelConfig) -> None:
    """Write `config.json` of a model directory."""
    write_text(folder / "config.json", json.dumps(to_plain(config), indent=1) + "\n")


def load_network(folder: Path) -> tuple[SpeechNetwork, ModelConfig]:
    """Rebuild the torch network of a model directory, in evaluation mode.

    Raises:
        ModelError: A file is missing or damaged, or the weights are another model's.
        ConfigError: `config.json` holds unknown keys or bad values.
    """
    config = load_model_config(folder / "config.json")
    network = build(config)
    tensors, _ = load_tensors(folder / "model.safetensors")
    encoder = {name.removeprefix(ENCODER): tensors.pop(name) for name in list(tensors) if name.startswith(ENCODER)}
    if encoder:
        keep(unpack(encoder))
    try:
        network.load_state_dict(unpack(tensors))
    except RuntimeError as error:
        raise ModelError(f"{folder / 'model.safetensors'}: not the weights of {config.model} ({error})") from error
    return network.eval(), config


# Packing: each row of a large matrix becomes whole numbers from -127 to 127 and one scale.


def pack(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Store large matrices as int8 rows with a scale each, a quarter of their size; the rest stays as it is."""
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.dim() >= 2 and tensor.numel() >= PACKED_FROM:
            packed[name], packed[f"{name}.scale"] = _quantize_rows(tensor)
        else:
            packed[name] = tensor
    return packed


def unpack(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Undo `pack`, up to its rounding; tensors that were never packed pass."""
    return {
        name: tensor.float() * tensors[f"{name}.scale"] if f"{name}.scale" in tensors else tensor
        for name, tensor in tensors.items()
        if not name.endswith(".scale")
    }


def _quantize_rows(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """(R, …) → whole numbers (R, …) and scales (R, 1 …)."""
    scale = matrix.abs().amax(dim=tuple(range(1, matrix.dim())), keepdim=True).clamp(min=1e-12) / 127
    return torch.round(matrix / scale).to(torch.int8), scale
