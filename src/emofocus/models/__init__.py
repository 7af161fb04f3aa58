"""Networks by name. A new one is a file here and a line in `MODELS`."""

from typing import NamedTuple

from emofocus.config import ModelConfig, Recipe
from emofocus.errors import ModelError, one_of
from emofocus.features.front_end import frame_size
from emofocus.models.attention import AttentionMaps, FocusBias, HeadCalibration, MultiHeadSelfAttention
from emofocus.models.base import NetworkFactory, NetworkOutput, SpeechNetwork, append_embedding
from emofocus.models.baselines import (
    adcnn,
    audio_bre,
    cnn_xvector,
    deep_cnn,
    drn_mhsa,
    head_fusion,
    qcnn,
    reslstm,
    timnet,
)
from emofocus.models.compact import compact_bmhsa, compact_ca, compact_fa, compact_faca
from emofocus.models.encoder_head import encoder_bmhsa, encoder_ca, encoder_fa, encoder_faca
from emofocus.models.mhsa import bmhsa, mhsa_ca, mhsa_fa, mhsa_faca


class Model(NamedTuple):
    """A registered network, and all that the rest of the package needs to know about it.

    Attributes:
        make: Config and number of features of a frame → the network, with fresh weights.
        recipe: Features, segments and training of its publication, which ``--recipe paper`` selects. None for networks
            of the paper's family, whose setting is the recipe of that name.
        attends: Whether it returns attention maps.
        embeds: Whether it takes an embedding of the speaker at the end of each frame.
    """

    make: NetworkFactory
    recipe: Recipe | None = None
    attends: bool = False
    embeds: bool = False


MODELS: dict[str, Model] = {
    "bmhsa": Model(bmhsa, attends=True),
    "mhsa-fa": Model(mhsa_fa, attends=True),
    "mhsa-ca": Model(mhsa_ca, attends=True),
    "mhsa-faca": Model(mhsa_faca, attends=True),
    "compact-bmhsa": Model(compact_bmhsa, attends=True),
    "compact-fa": Model(compact_fa, attends=True),
    "compact-ca": Model(compact_ca, attends=True),
    "compact-faca": Model(compact_faca, attends=True),
    "encoder-bmhsa": Model(encoder_bmhsa, attends=True),
    "encoder-fa": Model(encoder_fa, attends=True),
    "encoder-ca": Model(encoder_ca, attends=True),
    "encoder-faca": Model(encoder_faca, attends=True),
    "audio-bre": Model(audio_bre.AudioBRE, audio_bre.RECIPE),
    "drn-mhsa": Model(drn_mhsa.DRN, drn_mhsa.RECIPE, attends=True),
    "adcnn": Model(adcnn.ADCNN, adcnn.RECIPE),
    "cnn-xvector": Model(cnn_xvector.CNNXVector, cnn_xvector.RECIPE, embeds=True),
    "deep-cnn": Model(deep_cnn.DeepCNN, deep_cnn.RECIPE),
    "head-fusion": Model(head_fusion.HeadFusion, head_fusion.RECIPE),
    "qcnn": Model(qcnn.QCNN, qcnn.RECIPE),
    "timnet": Model(timnet.TIMNet, timnet.RECIPE),
    "reslstm": Model(reslstm.ResLSTM, reslstm.RECIPE),
}

__all__ = [
    "MODELS",
    "AttentionMaps",
    "FocusBias",
    "HeadCalibration",
    "Model",
    "MultiHeadSelfAttention",
    "NetworkOutput",
    "SpeechNetwork",
    "append_embedding",
    "build",
]


def build(config: ModelConfig) -> SpeechNetwork:
    """Make the network that a config describes, with fresh weights.

    Raises:
        ModelError: Unknown model, or one that cannot use the config's features.
    """
    if config.model not in MODELS:
        raise ModelError(f"unknown model {config.model!r} ({one_of(MODELS)})")
    model, size = MODELS[config.model], frame_size(config.features)
    if config.embedding is None:
        network = model.make(config, size)
        if network.voice is None and config.network.voice_seconds:
            raise ModelError(f"{config.model} cannot be adapted to voices; networks on a pretrained encoder can")
        return network
    if not model.embeds:
        takers = [name for name, item in MODELS.items() if item.embeds]
        raise ModelError(f"{config.model} takes no embeddings of speakers ({one_of(takers)})")
    return model.make(config, size + config.embedding.size)
