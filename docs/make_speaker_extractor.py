"""Make the extractor of speaker embeddings behind our cnn-xvector results: an ONNX file for `--embeddings`.

Its weights are those of Resemblyzer 0.1.4 (Apache-2.0), a GE2E speaker encoder (Wan et al., 2018) that was trained on
LibriSpeech and VoxCeleb; none of our corpora is among them. It stands in for the Kaldi x-vectors of the paper.

    pip download --no-deps resemblyzer==0.1.4 && unzip -j Resemblyzer-*.whl resemblyzer/pretrained.pt
    python docs/make_speaker_extractor.py pretrained.pt speaker.onnx
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emofocus.config import FeatureSettings
from emofocus.export.to_onnx import OPSET, segment_index
from emofocus.features.front_end import LogMel

MELS, HIDDEN, LAYERS, SIZE = 40, 256, 3, 256
WINDOW, HOP = 160, 80
"""Frames of 10 ms that the encoder hears at a time; means over such windows describe an utterance."""

LOUDNESS_DB = -30.0
"""Quieter recordings are amplified to this root mean square before anything else."""


class SpeakerEncoder(nn.Module):
    """Waveforms (B, T), 16 kHz, and true samples (B,) → embeddings (B, 256) of length 1.

    Resemblyzer also cuts long silences out, with a detector of voices that ONNX cannot hold; this does not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mel = LogMel(FeatureSettings(name="log-mel", mels=MELS))
        self.lstm = nn.LSTM(MELS, HIDDEN, LAYERS, batch_first=True)
        self.linear = nn.Linear(HIDDEN, SIZE)

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """See the class."""
        level = 10.0 * torch.log10(waveform.square().sum(dim=1) / lengths + 1e-10)  # (B,)
        gain = (LOUDNESS_DB - level).clamp(min=0.0)
        mels = 10.0 ** ((self.mel(waveform) + gain[:, None, None]) / 10.0)  # (B, n, 40), power
        frames = torch.div(lengths, 160, rounding_mode="floor") + 1  # (B,)
        mels = mels * (torch.arange(mels.shape[1])[None, :, None] < frames[:, None, None])
        padded = F.pad(mels, (0, 0, 0, WINDOW))
        index = segment_index(mels, WINDOW, HOP)[:, :1] + torch.arange(WINDOW)  # (W, 160)
        windows = padded.index_select(1, index.flatten()).reshape(-1, WINDOW, MELS)  # (B · W, 160, 40)
        hidden = self.lstm(windows)[1][0][-1]  # (B · W, 256)
        each = F.normalize(F.relu(self.linear(hidden)), dim=1).reshape(mels.shape[0], -1, SIZE)  # (B, W, 256)
        starts = index[:, 0]
        true = ((starts + WINDOW <= frames[:, None]) | (starts == 0)).to(each.dtype)  # (B, W)
        return F.normalize((each * true[:, :, None]).sum(dim=1), dim=1)


def main() -> None:
    """Weights in, ONNX out."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("weights", type=Path)
    arguments.add_argument("out", type=Path)
    given = arguments.parse_args()
    encoder = SpeakerEncoder().eval()
    state = torch.load(given.weights, map_location="cpu", weights_only=True)["model_state"]
    encoder.load_state_dict({name: value for name, value in state.items() if name.startswith(("lstm.", "linear."))})
    torch.onnx.export(
        encoder,
        (torch.randn(2, 40_000), torch.tensor([40_000, 30_000])),
        str(given.out),
        dynamo=False,  # the dynamo exporter fixes the time axis of an LSTM
        opset_version=OPSET,
        input_names=["waveform", "lengths"],
        output_names=["embedding"],
        dynamic_axes={"waveform": {0: "batch", 1: "samples"}, "lengths": {0: "batch"}, "embedding": {0: "batch"}},
    )


if __name__ == "__main__":
    main()
