"""OpenAI's Whisper encoder as features: waveform → log-mel → convolutions → the first layers of its transformer.

Radford et al., *Robust Speech Recognition via Large-Scale Weak Supervision*, ICML 2023. Two things differ from how
Whisper itself is run. A clip is not padded to 30 seconds: its positions are cut to its own length. And the output of
each layer is taken without the final norm, which belongs to the deepest layer.

=================== ============ ============================================================
stage               shape        note
=================== ============ ============================================================
log-mel             (B, 2e, 80)  25 ms every 10 ms; floor 80 dB below the clip's loudest
convolution 3       (B, 2e, d)   GELU
convolution 3       (B, e, d)    stride 2, GELU; plus the vectors of e positions
transformer layers  (B, e, d)    norm first; as many as are asked for
mean over time      (B, n, d)    of e / n positions of 20 ms
=================== ============ ============================================================

A clip of T samples has n = 1 + T // hop frames, as with all features, and so e = n · hop / 320 positions. It counts as
silent from its last sample to the end of its last frame.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emofocus.config import FeatureSettings
from emofocus.features.log_mel import LogMel
from emofocus.features.stft import BLOCK_FRAMES
from emofocus.features.window_encoder import WindowEncoder

STEP = 320
"""Samples from one position of the encoder to the next, 20 ms."""

MEL_WINDOW, MEL_HOP = 400, 160
"""Samples of a frame of log-mels, and from one to the next."""

DECADES = 8.0
"""Powers of ten below a clip's largest mel at which its log-mels are cut off."""

SHAPE = ("d_model", "encoder_attention_heads", "encoder_ffn_dim", "num_mel_bins", "max_source_positions")
"""Keys of `config.json` that the encoder's shape needs."""

PREFIXES = ("model.encoder.", "encoder.")
"""Prefixes of the names of the encoder's tensors in files of `transformers`."""

NAMES = {
    "self_attn_layer_norm": "attention_norm",
    "self_attn.q_proj": "query",
    "self_attn.k_proj": "key",
    "self_attn.v_proj": "value",
    "self_attn.out_proj": "output",
    "final_layer_norm": "norm",
    "fc1": "expand",
    "fc2": "contract",
    "conv1": "first",
    "conv2": "second",
    "embed_positions.weight": "positions",
}
"""Parts of tensors' names: `transformers`' → ours."""


def shape_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the encoder's shape from Whisper's `config.json` (KeyError if one is missing)."""
    return {name: config[name] for name in SHAPE}


def depth_of(config: Mapping[str, Any]) -> int:
    """Number of layers of the encoder (KeyError)."""
    return int(config["encoder_layers"])


def width_of(config: Mapping[str, Any]) -> int:
    """Features of a position, d."""
    return int(config["d_model"])


def own_name(name: str, layers: int) -> str | None:
    """Name of one of `transformers`' tensors in `WhisperEncoder`; None if it is not used."""
    prefix = next((item for item in PREFIXES if name.startswith(item)), None)
    if prefix is None:
        return None
    name = name.removeprefix(prefix)
    for theirs, ours in NAMES.items():
        name = name.replace(theirs, ours)
    parts = name.split(".")
    if parts[0] == "layer_norm" or (parts[0] == "layers" and int(parts[1]) >= layers):
        return None
    return name


class WhisperLogMel(LogMel):
    """Whisper's log-mels: log10, cut off 8 below the clip's largest one, (x + 4) / 4.

    Numbers of `transformers.WhisperFeatureExtractor`: the clip is mirrored before its first sample, and silent behind
    its last one. So padding with zeros changes nothing.

    What depends on the whole clip, the cut, is a step of its own, `cut_off`.
    """

    def __init__(self, mels: int) -> None:
        super().__init__(FeatureSettings(name="log-mel", window=MEL_WINDOW, hop=MEL_HOP, mels=mels))

    def forward(self, waveform: Tensor, samples: int) -> Tensor:  # type: ignore[override]
        """Waveform (B, T), samples at whose end the last frame ends → log10 of power (B, samples / 160, mels)."""
        margin = MEL_WINDOW // 2
        mirrored = F.pad(waveform, (0, margin + 1))[:, 1 : margin + 1].flip(1)
        silent = F.pad(waveform, (0, samples + MEL_HOP))
        whole = torch.cat([mirrored, silent], dim=1)[:, : samples + MEL_WINDOW - MEL_HOP]
        if torch.onnx.is_in_onnx_export():
            return self._logarithms(self.spectrum.chunked_frames(whole))
        parts = torch.split(whole.unfold(1, MEL_WINDOW, MEL_HOP), max(1, BLOCK_FRAMES // len(waveform)), dim=1)
        return torch.cat([self._logarithms(part) for part in parts], dim=1)

    def _logarithms(self, frames: Tensor) -> Tensor:
        """(B, n, N) → log10 of power (B, n, mels)."""
        rows = frames.flatten(0, 1)
        squares = self.spectrum.squares(rows)
        mels = self.mels(squares)  # in units of the floor, 1e-10
        if not torch.onnx.is_in_onnx_export():  # which is in float64 anyhow
            self.sharpen(mels, self.spectrum.power(squares), rows)
        return (mels.log10() - 10.0).reshape(frames.shape[0], -1, mels.shape[1])


def cut_off(logarithms: Tensor) -> Tensor:
    """Log10 of power of a window (B, n, mels) → Whisper's log-mels, whose floor lies 8 below the window's largest."""
    floor = logarithms.amax(dim=(1, 2), keepdim=True) - DECADES
    return (torch.maximum(logarithms, floor) + 4.0) / 4.0


class WhisperLayer(nn.Module):
    """One layer of the transformer, norm first."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, inner)
        self.contract = nn.Linear(inner, width)

    def forward(self, x: Tensor, true: Tensor | None = None) -> Tensor:
        """(B, e, d), which positions are true (B, 1, 1, e) or None → (B, e, d)."""
        y = self.attention_norm(x)
        heads = (*y.shape[:2], self.heads, -1)
        queries, keys, values = (part(y).reshape(heads).transpose(1, 2) for part in (self.query, self.key, self.value))
        context = F.scaled_dot_product_attention(queries, keys, values, attn_mask=true)  # (B, h, e, d_h)
        x = x + self.output(context.transpose(1, 2).flatten(2))
        inner: Tensor = self.contract(F.gelu(self.expand(self.norm(x))))
        return x + inner


class WhisperEncoder(nn.Module):
    """Convolutions, positions and the first layers.

    Args:
        config: Shape, as in Whisper's `config.json`.
        layers: Number of layers.
    """

    def __init__(self, config: Mapping[str, Any], layers: int) -> None:
        super().__init__()
        width, heads, inner, mels, positions = (int(config[name]) for name in SHAPE)
        self.first = nn.Conv1d(mels, width, 3, padding=1)
        self.second = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.positions = nn.Parameter(torch.zeros(positions, width))
        self.layers = nn.ModuleList(WhisperLayer(width, heads, inner) for _ in range(layers))

    def forward(self, log_mels: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
        """Log-mels (B, 2e, mels), true positions (B,) or None when all are → each layer's output (B, e, d)."""
        positions, true = log_mels.shape[1] // 2, None
        if lengths is not None:
            # The first convolution reaches one frame behind a clip's end, and has to find nothing there.
            places = torch.arange(2 * positions, device=lengths.device)
            log_mels = log_mels * (places < 2 * lengths[:, None])[:, :, None]
            true = (places[:positions] < lengths[:, None])[:, None, None]  # (B, 1, 1, e)
        x = F.gelu(self.second(F.gelu(self.first(log_mels.transpose(1, 2)))))  # (B, d, e)
        x = x.transpose(1, 2) + self.positions[:positions]
        outputs = []
        for layer in self.layers:
            x = layer(x, true)
            outputs.append(x)
        return outputs


class Whisper(WindowEncoder):
    """Log-mels and encoder.

    Overlapping windows share the logarithms of mels. The floor is that of the window, so all behind it is, too.
    """

    encoder: WhisperEncoder

    def __init__(self, config: Mapping[str, Any], encoder: nn.Module) -> None:
        super().__init__()
        assert isinstance(encoder, WhisperEncoder)
        self.log_mel, self.encoder = WhisperLogMel(int(config["num_mel_bins"])), encoder
        self.longest = int(config["max_source_positions"])

    def sounds(self, waveform: Tensor, hop: int) -> Tensor:
        """Waveform (B, T) → logarithms of the mels of each frame of a hop (B, 1 + T // hop, hop / 160 · mels)."""
        frames = 1 + waveform.shape[1] // hop
        logarithms: Tensor = self.log_mel(waveform, frames * hop)
        return logarithms.reshape(waveform.shape[0], -1, hop // MEL_HOP * self.log_mel.size)

    def keep_positions(self, positions: int) -> None:
        """Drop the vectors of later positions."""
        self.longest = min(self.longest, positions)
        self.encoder.positions.data = self.encoder.positions.data[: self.longest].clone()

    def shown(self, sounds: Tensor) -> Tensor:
        """Sounds (B, n, D) → each frame's mean power by mel band, in decibels (B, n, mels)."""
        return 10.0 * sounds.reshape(*sounds.shape[:2], -1, self.log_mel.size).mean(dim=2)

    def forward(self, sounds: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
        """Logarithms of a window (B, m, D), true positions (B,) or None → outputs of layers, each (B, e, d)."""
        log_mels = cut_off(sounds.reshape(sounds.shape[0], -1, self.log_mel.size))
        outputs: list[Tensor] = self.encoder(log_mels, lengths)
        return outputs
