"""Alterations of training segments do what they say, and nothing else."""

import numpy as np
import pytest
import torch

from emofocus.config import FeatureSettings, Recipe, SegmentSettings
from emofocus.data.datasets import Batch, SegmentDataset
from emofocus.data.feature_store import Speech, faster
from emofocus.features.front_end import MFCC, LogMel
from emofocus.training.augmentation import augment, mask, mix


def batch_of(lengths: list[int] | None = None, size: int = 50) -> Batch:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4, size, 40, generator=generator)
    for row, length in enumerate(lengths or []):
        features[row, length:] = 0
    return Batch(features, None if lengths is None else torch.tensor(lengths), torch.arange(4), torch.arange(4))


def test_a_recipe_that_asks_for_nothing_changes_nothing_and_draws_nothing() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    batch = batch_of()
    mixed = augment(batch, Recipe())
    assert mixed.batch is batch
    assert mixed.share == 1.0
    assert torch.equal(torch.random.get_rng_state(), before)


def test_time_reversal_plays_true_frames_backwards_and_leaves_padding_behind() -> None:
    features = torch.arange(1.0, 6.0)[None, :, None].repeat(2, 1, 1)
    features[1, 3:] = 0
    batch = Batch(features, torch.tensor([5, 3]), torch.zeros(2), torch.zeros(2))
    backwards = augment(batch, Recipe(time_reversal=1.0)).batch.features
    assert backwards[0, :, 0].tolist() == [5, 4, 3, 2, 1]
    assert backwards[1, :, 0].tolist() == [3, 2, 1, 0, 0]


@pytest.mark.parametrize(("name", "module"), [("mfcc", MFCC), ("log-mel", LogMel)])
def test_gain_on_features_is_gain_on_the_waveform(name: str, module: type[LogMel]) -> None:
    settings = FeatureSettings(name=name)  # type: ignore[arg-type]
    waveform = torch.randn(4, 8000, generator=torch.Generator().manual_seed(0)) * 0.1
    features = module(settings)(waveform)
    torch.manual_seed(3)
    changed = augment(Batch(features, None, torch.arange(4), torch.arange(4)), Recipe(gain_db=10, features=settings))
    torch.manual_seed(3)
    decibels = 10 * (2 * torch.rand(4, 1) - 1)
    expected = module(settings)(waveform * 10 ** (decibels / 20))
    torch.testing.assert_close(changed.batch.features, expected, atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("axis", [1, 2])
def test_a_mask_hides_one_stretch_behind_the_mean(axis: int) -> None:
    torch.manual_seed(0)
    batch = batch_of()
    masked = mask(batch, 20, axis).features
    other = 3 - axis
    changed = (masked != batch.features).any(dim=other)  # (4, size)
    for row in changed:
        places = torch.nonzero(row)[:, 0]
        assert len(places) <= 20
        assert places.numel() == 0 or int(places[-1] - places[0]) + 1 == len(places)
    assert changed.any()


def test_a_mask_hides_frames_behind_the_mean_of_true_frames_and_leaves_padding() -> None:
    torch.manual_seed(0)
    batch = batch_of([50, 20, 10, 30])
    masked = mask(batch, 20, axis=1).features
    for row, length in enumerate([50, 20, 10, 30]):
        hidden = (masked[row] != batch.features[row]).any(dim=1)
        assert not hidden[length:].any()
        torch.testing.assert_close(
            masked[row, hidden], batch.features[row, :length].mean(dim=0).expand(hidden.sum(), -1)
        )


def test_mixed_segments_have_both_labels_by_their_shares() -> None:
    torch.manual_seed(0)
    batch = batch_of([50, 20, 50, 30])
    mixed = mix(batch, 0.4)
    assert 0.5 <= mixed.share <= 1
    expected = torch.empty_like(batch.features)
    lengths = [50, 20, 50, 30]
    for row, partner in enumerate(mixed.partners.tolist()):
        for frame in range(50):
            heard = [(mixed.share, row), (1 - mixed.share, partner)]
            heard = [(share, index) for share, index in heard if frame < lengths[index]] or heard
            expected[row, frame] = sum(share * batch.features[i, frame] for share, i in heard) / sum(
                s for s, _ in heard
            )
    torch.testing.assert_close(mixed.batch.features, expected)
    assert mixed.batch.lengths.tolist() == [
        max(a, b) for a, b in zip([50, 20, 50, 30], [[50, 20, 50, 30][i] for i in mixed.partners], strict=True)
    ]
    logits = torch.randn(4, 4)
    log = torch.log_softmax(logits, dim=1)
    loss = -(mixed.share * log.diag() + (1 - mixed.share) * log[torch.arange(4), mixed.partners]).mean()
    torch.testing.assert_close(mixed.loss(logits, 0.0), loss)


def test_faster_speech_is_shorter_and_higher() -> None:
    times = np.arange(16_000) / 16_000
    played = faster(np.sin(2 * np.pi * 400 * times).astype(np.float32), 1.25)
    assert len(played) == 12_800
    assert np.abs(np.fft.rfft(played)).argmax() * 16_000 / len(played) == pytest.approx(500, abs=2)
    assert faster(played, 1.0) is played


def test_an_epoch_hears_each_utterance_once_in_some_variant() -> None:
    def speech(value: float, frames: int) -> Speech:
        return Speech(np.full((frames, 3), value, np.float32), np.zeros(frames, np.float32))

    slow, plain, fast = ([speech(v, n) for _ in range(30)] for v, n in ((0.9, 90), (1.0, 80), (1.1, 70)))
    data = SegmentDataset(plain, [0] * 30, SegmentSettings(), variants=[slow, fast])
    assert set(data.batch(np.arange(len(data))).features.unique().tolist()) == {1.0}  # until it is drawn
    data.draw(np.random.default_rng(0))
    heard = data.batch(np.arange(len(data)))
    values = {int(u): set(heard.features[heard.utterances == u].unique().tolist()) for u in range(30)}
    assert all(len(found) == 1 for found in values.values())
    assert len(set.union(*values.values())) == 3
    assert data.statistics()[0].tolist() != [1.0, 1.0, 1.0]  # statistics are those of what is heard


def test_batches_read_from_the_cache_equal_those_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    lengths = [20, 50, 83, 140]
    items = [Speech(generator.normal(size=(n, 5)).astype(np.float32), np.zeros(n, np.float32)) for n in lengths]
    held = SegmentDataset(items, [0, 1, 2, 3], SegmentSettings(), np.array([3, 0, 2]))
    monkeypatch.setattr("emofocus.data.datasets.RESIDENT_BYTES", 100)
    read = SegmentDataset(items, [0, 1, 2, 3], SegmentSettings(), np.array([3, 0, 2]))
    for one, two in zip(held.batches(4), read.batches(4), strict=True):
        assert torch.equal(one.features, two.features)
        assert (one.lengths is None) == (two.lengths is None)
        assert torch.equal(one.labels, two.labels)
