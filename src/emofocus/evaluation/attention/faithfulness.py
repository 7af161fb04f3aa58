"""Faithfulness of attention: probabilities after removing frames in the order of several rankings.

Deletion and insertion: Petsiuk, Das and Saenko, *RISE*, BMVC 2018. Integrated gradients: Sundararajan, Taly and Yan,
ICML 2017, by captum. Occlusion: Zeiler and Fergus, ECCV 2014. A removed frame is replaced by the mean frame of the
training part, which carries no information about the utterance.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emofocus.errors import MissingExtraError
from emofocus.models import SpeechNetwork

SHARES = (0.1, 0.2, 0.3, 0.5, 0.7)
"""Shares of the frames that are removed or restored."""

RANKINGS = ("attention", "random", "loudest", "gradients", "occlusion")
RANDOM_DRAWS = 3
GRADIENT_STEPS = 16
OCCLUDED_SECONDS = 0.1
"""Duration that occlusion hides at a time."""

BATCH = 384
"""Segments per batch."""

Array = NDArray[np.float64]
Curves = dict[str, tuple[Array, Array]]
"""Ranking → probabilities after deletion and after insertion, from no frame to all (shares + 2,)."""


class Utterance(NamedTuple):
    """Features of one utterance.

    Attributes:
        frames: Features (n, F), not normalized.
        starts: First frame of each active segment (S,).
        label: Number of the class whose probability is measured.
    """

    frames: Tensor
    starts: NDArray[np.int64]
    label: int


class FrameRemoval(nn.Module):
    """Probability of one class for an utterance with some frames removed.

    Args:
        network: Network in evaluation mode.
        utterance: Utterance to score.
        size: Frames of a segment.
        temperature: Divisor of the logits.
    """

    def __init__(self, network: SpeechNetwork, utterance: Utterance, size: int, temperature: float) -> None:
        super().__init__()
        self.network, self.utterance, self.temperature = network, utterance, temperature
        count = len(utterance.frames)
        self.size = min(size, count)
        index = torch.from_numpy(utterance.starts)[:, None] + torch.arange(self.size)  # (S, m)
        self.index = index.clamp(max=count - 1)
        self.nothing = network.normalize.mean.expand_as(utterance.frames)

    @property
    def counted(self) -> NDArray[np.int64]:
        """Numbers of the frames in active segments, the only ones that affect the result."""
        return np.unique(self.index.numpy())

    def forward(self, frames: Tensor) -> Tensor:
        """Utterances (B, n, F) → log-probability of the class (B,)."""
        encoded = self.network.encode_frames(frames)  # (B, n, D)
        segments = encoded[:, self.index.flatten()]  # (B, S · m, D)
        segments = segments.reshape(-1, self.size, encoded.shape[2])  # (B · S, m, D)
        logits = self.network.classify(segments).logits
        mean = logits.view(len(frames), len(self.index), -1).mean(dim=1) / self.temperature  # (B, C)
        return mean.log_softmax(dim=1)[:, self.utterance.label]

    @torch.inference_mode()
    def probabilities(self, removed: NDArray[np.bool_]) -> Array:
        """Probabilities of the class with some frames removed: mask (B, n) → (B,)."""
        frames, at_once = self.utterance.frames, max(1, BATCH // len(self.index))
        scores = []
        for start in range(0, len(removed), at_once):
            gone = torch.from_numpy(removed[start : start + at_once])[:, :, None]
            scores.append(self(torch.where(gone, self.nothing, frames)).exp())
        return torch.cat(scores).double().numpy()


def curves(
    scorer: FrameRemoval, attention: NDArray[np.float32], amplitude: NDArray[np.float32], seed: int, hop_seconds: float
) -> Curves:
    """Deletion and insertion curves of one utterance by each ranking of its frames.

    Args:
        scorer: The utterance and its network.
        attention: Attention on each frame (n,); NaN for frames outside of active segments.
        amplitude: Amplitude of each frame (n,).
        seed: Seed of the random ranking, whose curves are means over draws.
        hop_seconds: Seconds from frame to frame.

    Raises:
        MissingExtraError: captum is not installed.
    """
    counted = scorer.counted
    generator = np.random.default_rng(seed)
    width = max(1, round(OCCLUDED_SECONDS / hop_seconds))
    importance: dict[str, list[NDArray[Any]]] = {
        "attention": [attention],
        "random": [generator.random(len(amplitude)) for _ in range(RANDOM_DRAWS)],
        "loudest": [amplitude],
        "gradients": [gradients(scorer)],
        "occlusion": [occlusion(scorer, width)],
    }
    removed = [_removals(values[counted], counted, len(amplitude)) for name in RANKINGS for values in importance[name]]
    whole, nothing = np.zeros(len(amplitude), bool), np.isin(np.arange(len(amplitude)), counted)
    scores = scorer.probabilities(np.concatenate([[whole, nothing], *removed]))
    ends, middles = scores[:2], scores[2:].reshape(-1, 2, len(SHARES))  # (rankings and draws, 2, shares)
    by_ranking: Curves = {}
    for name in RANKINGS:
        draws = len(importance[name])
        deletion, insertion = middles[:draws].mean(axis=0)
        by_ranking[name] = (np.array([ends[0], *deletion, ends[1]]), np.array([ends[1], *insertion, ends[0]]))
        middles = middles[draws:]
    return by_ranking


def _removals(importance: Array, counted: NDArray[np.int64], frames: int) -> NDArray[np.bool_]:
    """Masks of removed frames (2 · shares, n): after deleting, then after inserting, the most important shares."""
    order = counted[np.argsort(-importance, kind="stable")]
    removed = np.zeros((2 * len(SHARES), frames), bool)
    for number, share in enumerate(SHARES):
        count = round(share * len(order))
        removed[number, order[:count]] = True
        removed[len(SHARES) + number, order[count:]] = True
    return removed


def area(curve: Array) -> float:
    """Area under a curve over the share of frames from 0 to 1, by trapezoids."""
    shares = np.array([0.0, *SHARES, 1.0])
    return float(np.trapezoid(curve, shares))


def gradients(scorer: FrameRemoval) -> Array:
    """Integrated gradients of the log-probability from the mean frame, summed over features: (n,)."""
    try:
        from captum.attr import IntegratedGradients
    except ImportError as error:
        raise MissingExtraError("captum", "why") from error
    at_once = max(1, BATCH // len(scorer.index))
    attributions: Tensor = IntegratedGradients(scorer).attribute(
        scorer.utterance.frames[None],
        baselines=scorer.nothing[None],
        n_steps=GRADIENT_STEPS,
        internal_batch_size=at_once,
    )
    return np.asarray(attributions[0].sum(dim=1).detach().numpy(), np.float64)


def occlusion(scorer: FrameRemoval, width: int) -> Array:
    """Fall of the probability when the stretch of frames around a frame is removed: (n,)."""
    frames = len(scorer.utterance.frames)
    stretch = np.arange(frames) // width
    removed = stretch[None] == np.arange(stretch[-1] + 1)[:, None]
    whole = scorer.probabilities(np.zeros((1, frames), bool))
    return np.asarray((whole - scorer.probabilities(removed))[stretch])
