"""Networks by name. A new one is a file here and a line in `MODELS`."""

from collections.abc import Callable

from emofocus.config import ModelConfig
from emofocus.errors import ModelError, one_of
from emofocus.features import FrontEnd
from emofocus.models.attention import AttentionMaps, FocusBias, HeadCalibration, MultiHeadSelfAttention
from emofocus.models.base import NetworkOutput, SpeechNetwork
from emofocus.models.compact import compact_bmhsa, compact_ca, compact_fa, compact_faca
from emofocus.models.mhsa import bmhsa, mhsa_ca, mhsa_fa, mhsa_faca

MODELS: dict[str, Callable[[ModelConfig, int], SpeechNetwork]] = {
    "bmhsa": bmhsa,
    "mhsa-fa": mhsa_fa,
    "mhsa-ca": mhsa_ca,
    "mhsa-faca": mhsa_faca,
    "compact-bmhsa": compact_bmhsa,
    "compact-fa": compact_fa,
    "compact-ca": compact_ca,
    "compact-faca": compact_faca,
}

__all__ = [
    "MODELS",
    "AttentionMaps",
    "FocusBias",
    "HeadCalibration",
    "MultiHeadSelfAttention",
    "NetworkOutput",
    "SpeechNetwork",
    "build",
]


def build(config: ModelConfig) -> SpeechNetwork:
    """Make the network that a config describes, with fresh weights.

    Raises:
        ModelError: Unknown model.
    """
    if config.model not in MODELS:
        raise ModelError(f"unknown model {config.model!r} ({one_of(MODELS)})")
    return MODELS[config.model](config, FrontEnd(config.features).size)
