"""wav2vec 2.0, HuBERT and WavLM as features, by the classes of `transformers` (extra ``encoders``).

Baevski et al., NeurIPS 2020; Hsu et al., IEEE TASLP 29, 2021; Chen et al., IEEE JSTSP 16(6), 2022. A clip is brought to
zero mean and unit variance, as most of these networks were trained. Many of them normalise over time in their first
convolution, so that padding would change every frame: the clips of a batch are encoded one by one.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emofocus.errors import MissingExtraError
from emofocus.features.window_encoder import WindowEncoder

WINDOW, STEP = 400, 320
"""Samples that a position's convolutions see, and from one position to the next."""

LONGEST = 1500
"""Positions encoded at a time, 30 seconds: attention takes memory with their square."""

CLASSES = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert", "wavlm": "WavLM"}
"""Architecture → what its classes' names in `transformers` begin with."""

NOT_SHAPE = ("architectures", "_name_or_path", "transformers_version", "torch_dtype", "dtype", "num_hidden_layers")
"""Keys of `config.json` that say nothing of the shape of the layers that are used."""

STORED = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
"""Names of a normalised weight: in older files → in today's."""


def shape_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the encoder's shape from `config.json` (KeyError if one is missing)."""
    config["hidden_size"]  # stated in all of them
    return {name: value for name, value in config.items() if name not in NOT_SHAPE}


def depth_of(config: Mapping[str, Any]) -> int:
    """Layers that there are (KeyError)."""
    return int(config["num_hidden_layers"])


def width_of(config: Mapping[str, Any]) -> int:
    """Features of a position."""
    return int(config["hidden_size"])


def own_name(name: str, layers: int) -> str | None:
    """Name of a tensor of a file in the encoder; None if it belongs to a layer that is not used."""
    first, _, rest = name.partition(".")
    name = rest if first in CLASSES else name
    for old, new in STORED.items():
        name = name.replace(old, new)
    parts = name.split(".")
    return None if parts[:2] == ["encoder", "layers"] and int(parts[2]) >= layers else name


def make(shape: Mapping[str, Any], layers: int) -> nn.Module:
    """An encoder of a shape, without its weights.

    Raises:
        MissingExtraError: `transformers` is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "encoders") from error
    name = CLASSES[shape["model_type"]]
    plain = {"num_hidden_layers": layers, "mask_time_prob": 0.0, "mask_feature_prob": 0.0, "layerdrop": 0.0}
    config = getattr(transformers, f"{name}Config")(**{**shape, **plain})
    encoder: nn.Module = getattr(transformers, f"{name}Model")(config)
    if config.do_stable_layer_norm:  # its norm stands behind the deepest layer, and belongs to it
        encoder.encoder.layer_norm = nn.Identity()  # type: ignore[union-attr]
    return encoder


class SelfSupervised(WindowEncoder):
    """A network of `transformers`, each clip by itself."""

    def __init__(self, shape: Mapping[str, Any], encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.longest = encoder, LONGEST

    def sounds(self, waveform: Tensor, hop: int) -> Tensor:
        """Waveform (B, T) → its samples, and zeros up to the end of the last frame (B, 1 + T // hop, hop)."""
        frames = 1 + waveform.shape[1] // hop
        return F.pad(waveform, (0, hop))[:, : frames * hop].reshape(waveform.shape[0], -1, hop)

    def keep_positions(self, positions: int) -> None:
        """Positions are no vectors here."""

    def shown(self, sounds: Tensor) -> Tensor:
        """The samples (B, n, hop)."""
        return sounds

    def forward(self, sounds: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
        """Samples of a window (B, m, hop), true positions (B,) or None → outputs of layers, each (B, e, d)."""
        waveform = sounds.flatten(1)
        if lengths is None:
            return list(self._encode(waveform))
        counts = [int(item) for item in lengths]
        rows = [self._encode(row[None, : count * STEP]) for row, count in zip(waveform, counts, strict=True)]
        positions = waveform.shape[1] // STEP
        layers = zip(*rows, strict=True)
        return [torch.cat([F.pad(x, (0, 0, 0, positions - x.shape[1])) for x in outputs]) for outputs in layers]

    def _encode(self, waveform: Tensor) -> tuple[Tensor, ...]:
        """Windows of one length (B, e · 320) → outputs of layers, each (B, e, d)."""
        x = F.pad(waveform, (0, WINDOW - STEP))  # silence, up to where the last position's window ends
        x = (x - x.mean(dim=1, keepdim=True)) / (x.var(dim=1, keepdim=True, correction=0) + 1e-7).sqrt()
        outputs: tuple[Tensor, ...] = self.encoder(x, output_hidden_states=True).hidden_states
        return outputs[1:]
