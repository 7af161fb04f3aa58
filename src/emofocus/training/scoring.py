"""Scores of a network on a part."""

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from emofocus.data.datasets import ScoredPart
from emofocus.models import SpeechNetwork
from emofocus.segments import softmax
from emofocus.training.distributed import rank_of, sum_of_all

EVALUATION_BATCH = 512
"""Segments scored at a time."""


def score(network: SpeechNetwork, data: ScoredPart, fabric: Fabric | None = None) -> NDArray[np.float32]:
    """Class probabilities of each utterance, softmax of its mean logits: (U, C). They are not calibrated."""
    return softmax(mean_logits(network, data, fabric))


@torch.inference_mode()
def mean_logits(network: SpeechNetwork, data: ScoredPart, fabric: Fabric | None = None) -> NDArray[np.float32]:
    """Mean of the logits of each utterance's active segments: (U, C).

    The processes of ``fabric`` share the work, and all of them get all of it. The network is left in the mode
    (training or evaluation) that it was in.
    """
    was_training = network.training
    network.eval()
    device = network.normalize.mean.device
    sums: torch.Tensor | None = None
    counts = torch.zeros(len(data.labels))
    for batch in data.batches(EVALUATION_BATCH, rank=rank_of(fabric)):
        lengths = None if batch.lengths is None else batch.lengths.to(device)
        logits = network(batch.features.to(device), lengths).logits.float().cpu()
        sums = torch.zeros(len(data.labels), logits.shape[1]) if sums is None else sums
        sums.index_add_(0, batch.utterances, logits)
        counts.index_add_(0, batch.utterances, torch.ones(len(logits)))
    network.train(was_training)
    sums, counts = sum_of_all(fabric, sums), sum_of_all(fabric, counts)
    return np.asarray((sums / counts[:, None]).numpy(), dtype=np.float32)
