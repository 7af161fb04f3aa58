"""Random alterations of training segments, applied to their features."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from emofocus.config import Recipe
from emofocus.data.datasets import Batch
from emofocus.models.attention import valid_frames
from emofocus.models.masking import reversal

EVERYTHING = slice(None)


class Mixed(NamedTuple):
    """A batch of mixed segments.

    Attributes:
        batch: The mixed segments, with the labels of the first of each pair.
        partners: Position of the second segment of each pair (B,).
        share: Share of the first segment; the second has the rest.
    """

    batch: Batch
    partners: Tensor
    share: float

    def loss(self, logits: Tensor, label_smoothing: float, rows: slice = EVERYTHING, absent: float = 0.0) -> Tensor:
        """Mean cross-entropy with both labels, weighted by their shares; logits (B, C) of the batch's ``rows``."""
        labels, labelled = self.batch.labels, self.batch.labelled
        own = None if labelled is None else labelled[rows]
        loss = cross_entropy(logits, labels[rows], label_smoothing, own, absent)
        if self.share == 1.0:
            return loss
        partners = None if labelled is None else labelled[self.partners][rows]
        other = cross_entropy(logits, labels[self.partners][rows], label_smoothing, partners, absent)
        return self.share * loss + (1.0 - self.share) * other


def cross_entropy(
    logits: Tensor, labels: Tensor, label_smoothing: float, labelled: Tensor | None = None, absent: float = 0.0
) -> Tensor:
    """Mean cross-entropy of logits (B, C) with labels (B,), over the classes that each row's corpus has.

    A class that a corpus lacks is not taught as absent: the softmax leaves it out, so that its logit has no gradient.

    Args:
        logits: (B, C).
        labels: Class numbers (B,).
        label_smoothing: Share of the target that all classes of a row share.
        labelled: Whether the corpus of each row has utterances of each class (B, C); None if all have.
        absent: Weight in the softmax of the classes that a corpus lacks, where they are to count.
    """
    if labelled is None:
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    outside = logits + math.log(absent) if absent else torch.full_like(logits, -torch.inf)
    logarithms = torch.where(labelled, logits, outside).log_softmax(dim=1)  # (B, C)
    own = logarithms.gather(1, labels[:, None])[:, 0]
    mean = logarithms.masked_fill(~labelled, 0.0).sum(dim=1) / labelled.sum(dim=1)
    return -((1.0 - label_smoothing) * own + label_smoothing * mean).mean()


def augment(batch: Batch, recipe: Recipe) -> Mixed:
    """Alter training segments by a recipe. Alterations that the recipe leaves out draw no random number."""
    if recipe.time_reversal:
        batch = reverse(batch, recipe.time_reversal)
    if recipe.gain_db:
        batch = change_gain(batch, recipe)
    for _ in range(recipe.masks):
        if recipe.mask_frames:
            batch = mask(batch, recipe.mask_frames, axis=1)
        if recipe.mask_coefficients:
            batch = mask(batch, recipe.mask_coefficients, axis=2)
    if recipe.mixup:
        return mix(batch, recipe.mixup)
    return Mixed(batch, torch.arange(len(batch.labels)), 1.0)


def reverse(batch: Batch, share: float) -> Batch:
    """Play a share of the segments backwards; padding stays at the end."""
    size, device = batch.features.shape[1], batch.features.device
    full = torch.full((len(batch.features),), size, device=device)
    ends = full if batch.lengths is None else batch.lengths.to(device)
    chosen = torch.rand(len(ends), 1, device=device) < share
    index = torch.where(chosen, reversal(ends, size), torch.arange(size, device=device))[:, :, None].expand_as(
        batch.features
    )
    return batch._replace(features=batch.features.gather(1, index))


def change_gain(batch: Batch, recipe: Recipe) -> Batch:
    """Make each segment louder or softer by up to ``gain_db``.

    A gain of g dB adds g to every log-mel band, and so g·√mels to the zeroth MFCC alone (an orthonormal DCT). Samples
    are multiplied by 10^(g / 20). Other features of a frame stay.
    """
    features = batch.features.clone()
    gain = recipe.gain_db * (2.0 * torch.rand(len(features), 1, device=features.device) - 1.0)  # (B, 1)
    if recipe.features.name == "mfcc":
        features[:, :, 0] += gain * recipe.features.mels**0.5
    elif recipe.features.name == "waveform":
        features *= 10.0 ** (gain[:, :, None] / 20.0)
    else:
        features[:, :, : recipe.features.mels] += gain[:, :, None]
    if batch.lengths is not None:
        features = features.masked_fill(~_true_frames(batch), 0.0)
    return batch._replace(features=features)


def mask(batch: Batch, longest: int, axis: int) -> Batch:
    """Hide a stretch of frames (axis 1) or features (axis 2) of each segment behind the segment's mean.

    Park et al., *SpecAugment*, Interspeech 2019.
    """
    features = batch.features
    size, device = features.shape[axis], features.device
    width = torch.randint(0, longest + 1, (len(features), 1), device=device)
    start = (torch.rand(len(features), 1, device=device) * (size - width + 1)).long()
    place = torch.arange(size, device=device)
    hidden = (place >= start) & (place < start + width)  # (B, size)
    hidden = hidden[:, :, None] if axis == 1 else hidden[:, None, :]
    true = _true_frames(batch)
    mean = (features * true).sum(dim=1, keepdim=True) / true.sum(dim=1, keepdim=True)  # (B, 1, F)
    return batch._replace(features=torch.where(hidden & true, mean, features))


def mix(batch: Batch, alpha: float) -> Mixed:
    """Mix each segment with another one of the batch, all by one share (Zhang et al., *mixup*, ICLR 2018)."""
    drawn = float(torch.distributions.Beta(alpha, alpha).sample())
    share = max(drawn, 1.0 - drawn)
    partners = torch.randperm(len(batch.labels))
    device = batch.features.device
    first, second, true = batch.features, batch.features[partners.to(device)], _true_frames(batch)
    # Where one of a pair has ended, the other one is taken alone.
    first, second = torch.where(true, first, second), torch.where(true[partners.to(device)], second, first)
    features = share * first + (1.0 - share) * second
    lengths = batch.lengths if batch.lengths is None else torch.maximum(batch.lengths, batch.lengths[partners])
    return Mixed(batch._replace(features=features, lengths=lengths), partners, share)


def _true_frames(batch: Batch) -> Tensor:
    """Mask of the frames that are not padding: (B, m, 1)."""
    size, device = batch.features.shape[1], batch.features.device
    if batch.lengths is None:
        return torch.ones(len(batch.features), size, 1, dtype=torch.bool, device=device)
    return valid_frames(batch.lengths.to(device), size)[:, :, None]
