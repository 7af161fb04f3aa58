"""Pitchgram: periodicity of each frame at each pitch, computed from its spectrum."""

import numpy as np
import torch
from torch import Tensor, nn

from emofocus.config import FeatureSettings
from emofocus.features.stft import power_of_bins

LOWEST, BINS_AN_OCTAVE, BAND = 60.0, 16, (50.0, 4000.0)
"""Frequency of the first bin in hertz, bins per octave, and the band in hertz that holds the harmonics."""

COMPRESSION, POWER_FLOOR = 0.335, 1e-12
"""Exponent of the power (about two thirds for the magnitude), and the smallest power before it."""


class PitchGram(nn.Module):
    """Periodicity of a frame at each pitch: autocorrelation of the compressed spectrum, 1 at most.

    Mel bands blur a voice's harmonics. Here their spacing, the melody of speech, shows as a ridge, and a change of
    pitch moves the ridge. Compression of the spectrum keeps formants from hiding it (Tolonen and Karjalainen, *A
    computationally efficient multipitch analysis model*, IEEE TSAP 8(6), 2000).
    """

    table: Tensor

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__()
        hertz = np.fft.rfftfreq(settings.window, 1.0 / settings.sampling_rate)
        seconds = 1.0 / (LOWEST * 2.0 ** (np.arange(settings.pitch_bins) / BINS_AN_OCTAVE))
        waves = np.cos(2 * np.pi * hertz[:, None] * seconds)
        voice = (hertz >= BAND[0]) & (hertz <= BAND[1])
        # The last column sums the spectrum: autocorrelation at lag 0.
        table = np.concatenate([waves, np.ones((len(hertz), 1))], axis=1) * voice[:, None]
        self.register_buffer("table", torch.tensor(table, dtype=torch.float32), persistent=False)

    def forward(self, squares: Tensor) -> Tensor:
        """Squares (…, N + 2) of `SquaredSpectrum` → (…, bins), bin k at 60 · 2^(k / 16) Hz."""
        power, table = power_of_bins(squares, self.table)
        power = power.clamp(min=POWER_FLOOR)
        # Runtimes of ONNX raise to a power five times as slowly as they take logarithms and exponentials.
        exported = torch.onnx.is_in_onnx_export()
        compressed = (COMPRESSION * power.log()).exp() if exported else power.pow(COMPRESSION)
        sums = compressed @ table  # (…, bins + 1)
        return sums[..., :-1] / sums[..., -1:]
