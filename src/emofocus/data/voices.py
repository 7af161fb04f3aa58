"""Training segments adapted to their speakers, as a network is later adapted to a voice that it never heard.

A network that learns from adapted speech alone fails on speech that is not adapted, and the other way round. So each
segment is adapted by a number of clips of its speaker, which is drawn anew whenever the segment is seen and is
sometimes 0. Some segments are adapted by clips of one class alone, because a voice may be heard angry first.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emofocus.data.datasets import ALONE, Batch, Pass, Rank, SegmentDataset
from emofocus.models.base import SpeechNetwork, VoiceShift

ONE_CLASS = 0.3
"""Share of segments that are adapted by clips of one class alone."""


class VoicedPart:
    """A training part whose segments are adapted to their speakers.

    An utterance's statistics are means over its segments that hold speech. Those of altered speech are its own: faster
    speech is another voice.

    Args:
        part: Segments of the part.
        speakers: Speaker of each utterance of the part (P,).
        clips: Numbers of clips, one of which is drawn for each segment.
        frame: Seconds from frame to frame.
    """

    def __init__(self, part: SegmentDataset, speakers: Sequence[str], clips: Sequence[int], frame: float) -> None:
        self.part, self._clips, self._frame = part, np.array(clips), frame
        names, self._speaker = np.unique(np.asarray(speakers), return_inverse=True)
        pools = [np.flatnonzero(self._speaker == number) for number in range(len(names))]
        longest = max(map(len, pools))
        self._sizes = np.array([len(pool) for pool in pools])
        self._pools = np.stack([np.resize(pool, longest) for pool in pools])  # (speakers, longest)
        self._network: SpeechNetwork | None = None

    def statistics(self) -> tuple[Tensor, Tensor]:
        """See `emofocus.data.datasets.TrainingPart`."""
        return self.part.statistics()

    def to(self, device: torch.device) -> None:
        """See `emofocus.data.datasets.TrainingPart`."""
        self.part.to(device)

    @torch.no_grad()
    def prepare(self, network: SpeechNetwork) -> None:
        """Measure all utterances, and give the network the statistics of an average one; a trained model keeps its own.

        Args:
            network: Network with `VoiceStatistics`, whose features are standardized by this part's statistics already.
        """
        assert network.voice is not None
        log_deviation = network.voice.log_deviation.clone()
        network.voice.log_deviation.zero_()
        measured = [
            network.voice.of_utterance(network.normalize(torch.from_numpy(item)) for item in segments)
            for track in range(self.part.tracks)
            for segments in (self.part.segments_of(track, u) for u in range(len(self.part.labels)))
        ]
        means = torch.stack(measured)  # (tracks · P, 2, F)
        self._measures = means.reshape(self.part.tracks, -1, *means.shape[1:])
        network.voice.log_deviation.copy_(log_deviation if network.trained else self._measures[0, :, 1].mean(dim=0))
        self._measures[:, :, 1] -= network.voice.log_deviation
        self._seconds = self._frame * self.part.frame_counts()  # (tracks, P)
        self._network = network

    def epoch(self, size: int, generator: np.random.Generator, rank: Rank = ALONE) -> Pass:
        """See `emofocus.data.datasets.TrainingPart`."""
        passing = self.part.epoch(size, generator, rank)
        draws = np.random.default_rng(generator.integers(2**63))
        steps = (step._replace(batch=self._adapted(step.batch, draws)) for step in passing.steps)
        return Pass(passing.count, steps, passing.draws)

    def shifts(self, utterances: NDArray[np.int64], draws: np.random.Generator) -> VoiceShift:
        """Draw clips of the speakers of some utterances (B,), and adapt to them: shift and scale (B, F)."""
        assert self._network is not None
        assert self._network.voice is not None
        speakers, tracks = self._speaker[utterances], self.part.track_of[utterances]
        pools, labels = self._pools[speakers], self.part.labels  # (B, longest)
        some = pools[np.arange(len(pools)), draws.integers(self._sizes[speakers])]
        alone = draws.random(len(utterances)) < ONE_CLASS
        allowed = np.arange(pools.shape[1]) < self._sizes[speakers][:, None]
        allowed &= ~alone[:, None] | (labels[pools] == labels[some][:, None])
        counts = np.minimum(draws.choice(self._clips, len(utterances)), allowed.sum(axis=1))
        order = np.where(allowed, draws.random(allowed.shape), 2.0)
        chosen = np.argsort(order, axis=1)[:, : max(1, counts.max())]
        clips = np.take_along_axis(pools, chosen, axis=1)  # (B, k)
        heard = np.arange(clips.shape[1]) < counts[:, None]
        seconds = torch.from_numpy(np.where(heard, self._seconds[tracks[:, None], clips], 0.0)).float()
        total = seconds.sum(dim=1, keepdim=True)  # (B, 1)
        measures = self._measures[tracks[:, None], clips]  # (B, k, 2, F)
        mean = torch.einsum("bk,bksf->bsf", seconds / total.clamp(min=1e-9), measures)
        return self._network.voice.shift(mean, total)

    def _adapted(self, batch: Batch, draws: np.random.Generator) -> Batch:
        assert self._network is not None
        shift, scale = (
            item[:, None].to(batch.features.device) for item in self.shifts(batch.utterances.numpy(), draws)
        )
        features = self._network.normalize.adapted(batch.features, shift, scale)
        if batch.lengths is not None:
            frames = torch.arange(features.shape[1], device=features.device)
            features = features * (frames < batch.lengths.to(features.device)[:, None])[:, :, None]
        return batch._replace(features=features)
