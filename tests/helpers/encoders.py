"""Small encoders with random weights, as folders in the layout of `transformers`."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from emofocus.config import FeatureSettings
from emofocus.features.encoders import resolved
from emofocus.features.self_supervised import CLASSES

TINY = {
    "model_type": "whisper",
    "d_model": 32,
    "encoder_layers": 3,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "num_mel_bins": 80,
    "max_source_positions": 200,
}

SMALL = {
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
"""Shape of small encoders of `transformers`."""

VARIANTS = {
    "group norm": {"feat_extract_norm": "group", "do_stable_layer_norm": False},
    "layer norm": {"feat_extract_norm": "layer", "do_stable_layer_norm": True},
}


def tiny_self_supervised(folder: Path, name: str, variant: str) -> Any:
    """A network of `transformers` with random weights, and its folder as it saves it."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = getattr(transformers, f"{CLASSES[name]}Config")(**SMALL, **VARIANTS[variant])
    network = getattr(transformers, f"{CLASSES[name]}Model")(config).eval()
    network.save_pretrained(folder)
    return network


def self_supervised_features(folder: Path, name: str, **changes: Any) -> FeatureSettings:
    """Settings of features of such an encoder, two layers and 40 ms a frame by default."""
    return resolved(FeatureSettings(name=name, encoder=str(folder), **{"layers": 2, "hop": 640} | changes))


def whisper_tensors(config: dict[str, Any], seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights, by the names that `transformers` gives to them."""
    generator = torch.Generator().manual_seed(seed)
    width, inner = config["d_model"], config["encoder_ffn_dim"]
    shapes: dict[str, tuple[int, ...]] = {
        "conv1.weight": (width, config["num_mel_bins"], 3),
        "conv1.bias": (width,),
        "conv2.weight": (width, width, 3),
        "conv2.bias": (width,),
        "embed_positions.weight": (config["max_source_positions"], width),
    }
    for layer in range(config["encoder_layers"]):
        head = f"layers.{layer}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes[f"{head}.self_attn.{name}.weight"] = (width, width)
            if name != "k_proj":
                shapes[f"{head}.self_attn.{name}.bias"] = (width,)
        shapes |= {f"{head}.fc1.weight": (inner, width), f"{head}.fc1.bias": (inner,)}
        shapes |= {f"{head}.fc2.weight": (width, inner), f"{head}.fc2.bias": (width,)}
        for norm in ("self_attn_layer_norm", "final_layer_norm"):
            shapes |= {f"{head}.{norm}.weight": (width,), f"{head}.{norm}.bias": (width,)}
    return {f"model.encoder.{name}": 0.2 * torch.randn(*size, generator=generator) for name, size in shapes.items()}


def tiny_whisper(folder: Path, seed: int = 0, half: bool = False, **changes: Any) -> Path:
    """A folder with a small random Whisper encoder."""
    config = TINY | changes
    folder.mkdir(parents=True, exist_ok=True)
    tensors = whisper_tensors(config, seed)
    save_file({name: value.half() if half else value for name, value in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def tiny_features(folder: Path, **settings: Any) -> FeatureSettings:
    """Settings of features of such an encoder, two layers and 80 ms a frame by default."""
    settings = {"layers": 2, "hop": 1280} | settings
    return resolved(FeatureSettings(name="whisper", encoder=str(tiny_whisper(folder)), **settings))
