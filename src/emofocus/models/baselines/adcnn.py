"""A-DCNN: band-pass filters that learn their bands, and convolutions, over a quarter of a second of samples.

Priyasad et al., *Attention Driven Fusion for Multi-Modal Emotion Recognition*, ICASSP 2020 (arXiv 2009.10991): its
acoustic branch.

======================= ================ =====================================================
stage                   shape            note
======================= ================ =====================================================
samples                 (B, 1, 4000)     25 frames of 160; layer norm
80 sinc filters of 251  (B, 80, 1250)    magnitude, max-pool 3, layer norm, leaky ReLU
convolution 5           (B, 60, 415)     max-pool 3, layer norm, leaky ReLU
convolution 5           (B, 60, 137)     max-pool 3, layer norm, leaky ReLU
flatten                 (B, 8220)
dense                   (B, 2048)        batch norm, leaky ReLU, dropout
dense                   (B, 512)         batch norm, leaky ReLU, dropout
classifier              (B, C)
======================= ================ =====================================================

Published: raw audio, a SincNet layer and a deep CNN; 250 ms windows and 80 filters of 251 samples (from memory). The
number, sizes and order of the layers up to the flattening are those of SincNet's own code for speakers. Our stand-ins:
layer norms over channels and time together, where that code normalizes each channel over time alone; filters that pass
their band with gain 1, where it scales their middle sample to 1; no layer norm behind the flattening; two dense layers
with dropout 0.5 for its three of 2048; an utterance's score is the mean of its windows', one behind the
other, instead of an attention over them; AdamW for RMSprop; 8 epochs of a cosine schedule, because a CPU takes four
minutes for one. Loudness varies by 20 % in training, as in that code. The
bands' edges are learned in hertz, as there, and so move by about the learning rate a step: a few hertz in all.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from emofocus.config import FeatureSettings, ModelConfig, NetworkSettings, Recipe, SegmentSettings
from emofocus.errors import ModelError
from emofocus.models.base import NetworkOutput, SpeechNetwork
from emofocus.models.baselines.sinc import SincConv
from emofocus.models.masking import fixed

SINC_FILTERS, SINC_SIZE, CHANNELS, KERNEL, POOL = 80, 251, 60, 5, 3
DENSE = (2048, 512)

RECIPE = Recipe(
    description="A-DCNN's own, as far as it is known; see emofocus.models.baselines.adcnn.",
    epochs=8,
    batch_size=128,
    learning_rate=1e-3,
    schedule="cosine",
    gain_db=1.6,
    features=FeatureSettings(name="waveform"),
    segment=SegmentSettings(frames=25, hop=25),
    network=NetworkSettings(dropout=0.5),
)


class ADCNN(SpeechNetwork):
    """Band-pass filters that learn their bands, and convolutions, over a quarter of a second of samples.

    Args:
        config: Labels, dropout, length of segments, and features, which must be samples.
        size: Samples of a frame, F.

    Raises:
        ModelError: Other features.
    """

    def __init__(self, config: ModelConfig, size: int) -> None:
        super().__init__(size)
        if config.features.name != "waveform":
            raise ModelError(f"adcnn needs features: waveform, not {config.features.name}, as in --recipe paper")
        self.frames = config.segment.frames
        length = self.frames * size
        self.input_norm = nn.LayerNorm(length)
        self.sinc = SincConv(SINC_FILTERS, SINC_SIZE, config.features.sampling_rate)
        length = (length - SINC_SIZE + 1) // POOL
        self.sinc_norm = nn.LayerNorm([SINC_FILTERS, length])
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        for channels in (SINC_FILTERS, CHANNELS):
            length = (length - KERNEL + 1) // POOL
            self.convolutions.append(nn.Conv1d(channels, CHANNELS, KERNEL))
            self.norms.append(nn.LayerNorm([CHANNELS, length]))
        dropout, (wide, narrow) = config.network.dropout, DENSE
        self.dense = nn.Sequential(
            *(nn.Linear(CHANNELS * length, wide), nn.BatchNorm1d(wide), nn.LeakyReLU(0.2), nn.Dropout(dropout)),
            *(nn.Linear(wide, narrow), nn.BatchNorm1d(narrow), nn.LeakyReLU(0.2), nn.Dropout(dropout)),
        )
        self.classifier = nn.Linear(narrow, len(config.labels))

    def classify(self, encoded: Tensor, lengths: Tensor | None = None, need_maps: bool = False) -> NetworkOutput:
        """Normalised samples (B, m, F) → logits (B, C)."""
        samples = fixed(encoded, lengths, self.frames).flatten(1)  # (B, frames · F)
        x = self.sinc(self.input_norm(samples)[:, None]).abs()  # (B, SINC_FILTERS, …)
        x = F.leaky_relu(self.sinc_norm(F.max_pool1d(x, POOL)), 0.2)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.leaky_relu(norm(F.max_pool1d(convolution(x), POOL)), 0.2)  # (B, CHANNELS, …)
        return NetworkOutput(self.classifier(self.dense(x.flatten(1))), None)
