"""Audio-BRE: a bidirectional LSTM over MFCCs, beside the utterance's prosody.

Yoon, Byun, Dey and Jung, *Speech Emotion Recognition Using Multi-hop Attention Mechanism*, ICASSP 2019 (arXiv
1904.10788): its acoustic branch, the bidirectional recurrent encoder.

=================== ============= ==============================================================
stage               shape         note
=================== ============= ==============================================================
features            (B, m, 135)   40 MFCCs and 5 of prosody, their slopes and curvatures; normalized
between silences    (B, m', 135)  from the first to the last frame within 40 dB of the loudest
BiLSTM, 200 a way   (B, m, 400)   of the 120 that are MFCCs; dropout before it
final states        (B, 400)      of both ways
prosody             (B, 35)       seven functionals of each of the five contours
classifier          (B, C)
=================== ============= ==============================================================

Published, in its authors' related code: one layer of 200 units, final states beside 35 prosodic values,
keep-probability 0.7, orthogonal and ± 0.25 uniform initialization, Adam 1e-3, batch 128, gradients cut to norm 1; about
0.52 M parameters, which leaves no room for the residual connection with a projection that the code has and switches
off, so there is none. Our stand-ins: functionals of our contours for openSMILE's 35 values (whose license forbids
commercial use); the silence at both ends is cut off, of which IEMOCAP, that code's corpus, has little: with a second of
it, as on RAVDESS, the final states knew 83 % of the training part and guessed the rest (validation UA 17 %, `random`,
fold 0); Hann windows; all gradients together are cut, not each tensor's; 60 epochs at most, until seven in a row are no
better, which that code counts in thirds of an epoch.
"""

import torch
from torch import Tensor, nn

from emofocus.config import FeatureSettings, ModelConfig, NetworkSettings, Recipe, SegmentSettings
from emofocus.errors import ModelError
from emofocus.features.descriptors import Prosody
from emofocus.models.attention import masked_mean
from emofocus.models.base import NetworkOutput, SpeechNetwork
from emofocus.models.masking import at_end, between_loud, largest, mean_and_deviation
from emofocus.models.mhsa import BiLSTM

HIDDEN, FUNCTIONALS = 200, 7
SILENCE_DB = 40.0

RECIPE = Recipe(
    description="Audio-BRE's own, as far as it is known; see emofocus.models.baselines.audio_bre.",
    epochs=60,
    patience=7,
    batch_size=128,
    learning_rate=1e-3,
    gradient_norm=1.0,
    features=FeatureSettings(deltas=2, also=("prosody",)),
    segment=SegmentSettings(frames=1000, hop=1000),
    network=NetworkSettings(dropout=0.3),
)


class AudioBRE(SpeechNetwork):
    """A bidirectional LSTM over MFCCs, beside the utterance's prosody.

    Args:
        config: Labels, dropout, and features, which must be MFCCs with two orders of deltas and prosody.
        size: Features of a frame, F.

    Raises:
        ModelError: Other features.
    """

    def __init__(self, config: ModelConfig, size: int) -> None:
        super().__init__(size)
        features = config.features
        if features.deltas != 2 or features.also != ("prosody",) or features.pitch_bins:
            raise ModelError("audio-bre needs features with deltas: 2 and also: [prosody], as in --recipe paper")
        self.order = size // 3  # features before their deltas; prosody is the last of them
        self.lstm = BiLSTM(3 * (self.order - Prosody.size), HIDDEN, layers=1, dropout=0.0)
        self.dropout = nn.Dropout(config.network.dropout)
        self.classifier = nn.Linear(2 * HIDDEN + FUNCTIONALS * Prosody.size, len(config.labels))
        for name, parameter in self.lstm.named_parameters():
            if "weight" in name:
                nn.init.orthogonal_(parameter)
        nn.init.uniform_(self.classifier.weight, -0.25, 0.25)

    def classify(self, encoded: Tensor, lengths: Tensor | None = None, need_maps: bool = False) -> NetworkOutput:
        """Normalised features (B, m, F) → logits (B, C)."""
        level = self.order - Prosody.size  # the first contour
        decibels = encoded[..., level] * self.normalize.deviation[level]  # but for a constant
        encoded, lengths = between_loud(encoded, decibels, lengths, SILENCE_DB)
        batch, m, _ = encoded.shape
        orders = encoded.reshape(batch, m, 3, self.order)
        cepstrum, prosody = orders[..., : -Prosody.size], orders[..., -Prosody.size :]  # (B, m, 3, …)
        states = self.lstm(self.dropout(cepstrum.flatten(2)), lengths)  # (B, m, 2 · HIDDEN)
        final = torch.cat([at_end(states[..., :HIDDEN], lengths), states[:, 0, HIDDEN:]], dim=1)
        return NetworkOutput(self.classifier(torch.cat([final, functionals(prosody, lengths)], dim=1)), None)


def functionals(contours: Tensor, lengths: Tensor | None) -> Tensor:
    """Mean, deviation, maximum, minimum; deviation and mean size of the slope; deviation of the curvature.

    Shape: contours with their slopes and curvatures (B, m, 3, P), lengths (B,) → (B, 7 · P).
    """
    mean, deviation = mean_and_deviation(contours.flatten(2), lengths)  # (B, 3 · P)
    values, slopes, _ = contours.unbind(dim=2)
    extremes = largest(values, lengths), -largest(-values, lengths)
    return torch.cat([mean[:, : values.shape[2]], deviation, *extremes, masked_mean(slopes.abs(), lengths)], dim=1)
