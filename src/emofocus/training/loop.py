"""The training loop, and the scoring of a part. Training receives a training and a validation part, no test part."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from emofocus.config import ModelConfig, Recipe
from emofocus.data.datasets import Batch, ScoredPart, TrainingPart
from emofocus.data.voices import VoicedPart
from emofocus.errors import ConfigError
from emofocus.metrics.calibration import Calibration, Calibrator, calibrate
from emofocus.metrics.classification import measure
from emofocus.models import SpeechNetwork
from emofocus.models.checkpoint import load_tensors, save_config, save_tensors
from emofocus.segments import softmax
from emofocus.training.augmentation import augment
from emofocus.training.cuda_graphs import LogitsOf, logits_of
from emofocus.training.distributed import by_first, own_draws, rank_of, share_statistics, sum_of_all
from emofocus.utils.progress import log_line, track

EVALUATION_BATCH = 512
"""Segments of a batch when a part is scored."""

Weights = tuple[Tensor, ...] | list[Tensor]


@dataclass(frozen=True)
class Epoch:
    """Figures of one epoch: mean training loss, accuracy on the validation part, and how long both took.

    Accuracies are None without a validation part; seconds are None in results of older versions. Epochs that differ in
    seconds alone are equal.
    """

    epoch: int
    loss: float
    valid_wa: float | None
    valid_ua: float | None
    seconds: float | None = field(default=None, compare=False)

    @property
    def figures(self) -> tuple[float, float | None, float | None]:
        """Loss, validation WA and UA."""
        return self.loss, self.valid_wa, self.valid_ua

    def __str__(self) -> str:
        """Figures in the words of progress messages."""
        return f"loss {self.loss:.4f}" + ("" if self.valid_ua is None else f", validation UA {self.valid_ua:.2%}")


@dataclass(frozen=True)
class Fitted:
    """A finished training: the network holds the weights of the best epoch, of the last one without validation."""

    best_epoch: int
    history: tuple[Epoch, ...]

    @property
    def seconds(self) -> float | None:
        """Time of all epochs, whichever process ran them; None if one of them was not timed."""
        known = [item.seconds for item in self.history if item.seconds is not None]
        return sum(known) if len(known) == len(self.history) else None


def fit(
    network: SpeechNetwork,
    train: TrainingPart,
    valid: ScoredPart | None,
    recipe: Recipe,
    seed: int,
    folder: Path,
    fabric: Fabric | None = None,
    title: str = "training",
    after_epoch: Callable[[Epoch], None] | None = None,
) -> Fitted:
    """Train a network, keeping the weights of the epoch with the best validation UA (the earliest of equals).

    Without a validation part, or where the recipe says so, the last epoch's weights are kept, and the recipe's patience
    is not used.

    After each epoch ``folder/last.safetensors`` holds all that is needed to go on, and ``folder/model.safetensors``
    the best weights. When they are there already, training continues; it then ends in the same bits as one that
    was never interrupted, because everything random is drawn from the seed and the epoch's number.

    Several processes share each step, and the scoring of the validation part. From memory they do what one process
    would, up to rounding and to dropout, whose numbers each draws for itself. Only the first of them needs ``folder``.

    Args:
        network: Fresh, as built from the seed, or with the weights of a trained model; holds the best weights
            afterwards.
        train: Training part; statistics of features are taken from it, unless the network has a trained model's.
        valid: Validation part, which selects, if there is one.
        recipe: Settings of the training.
        seed: Seed of order, augmentation and dropout.
        folder: Folder of checkpoints.
        fabric: Device, precision and number of processes; one CPU in fp32 by default.
        title: Name of this run in progress messages.
        after_epoch: Called with each new epoch's figures, in every process.

    A TensorBoard logger that the fabric has gets each epoch's figures, too.

    Raises:
        ConfigError: The network is adapted to voices, and the part does not say who speaks.
    """
    fabric = fabric or Fabric(accelerator="cpu", devices=1)
    checkpoint = folder / "last.safetensors"
    if not network.trained:
        network.normalize.set(*train.statistics())
    if network.voice is not None:
        if not isinstance(train, VoicedPart):
            raise ConfigError("a network that is adapted to voices needs features of whole speakers, not shards")
        train.prepare(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    run = _Run(network, optimizer, _average_of(network, recipe), [])
    share_statistics(network, fabric.world_size)
    model, wrapped = fabric.setup(network, optimizer)
    # Behind the set-up: an optimizer takes its state to the device on which it finds its weights.
    run.resume(by_first(fabric, lambda: load_tensors(checkpoint) if checkpoint.exists() else None))
    train.to(fabric.device)
    if valid is not None:
        valid.to(fabric.device)
    run.average.to(fabric.device)
    passing = logits_of(model, network, fabric)
    for epoch in range(len(run.history) + 1, recipe.epochs + 1):
        if recipe.patience and run.history and epoch - best_of(run.history, recipe).epoch > recipe.patience:
            log_line(f"{title}: no better validation UA for {recipe.patience} epochs")
            break
        so_far = f", {run.history[-1]}" if run.history else ""
        shown = f"{title}: epoch {epoch}/{recipe.epochs}{so_far}"
        began = time.perf_counter()
        loss = _train_epoch(model, passing, wrapped, run.average, train, recipe, seed, epoch, fabric, shown)
        wa, ua = (None, None) if valid is None else _validate(run.judged(), valid, fabric)
        figures = Epoch(epoch, loss, wa, ua, time.perf_counter() - began)
        run.history.append(figures)
        if fabric.is_global_zero:
            if best_of(run.history, recipe).epoch == epoch:
                save_tensors(folder / "model.safetensors", run.judged().state_dict())
            run.save(checkpoint)
        log_line(f"{title}: epoch {epoch}/{recipe.epochs}, {figures}")
        logged = {f"{title}/{name}": value for name, value in asdict(figures).items() if value is not None}
        fabric.log_dict(logged, step=epoch)
        if after_epoch:
            after_epoch(figures)
    network.load_state_dict(by_first(fabric, lambda: load_tensors(folder / "model.safetensors"))[0])
    return Fitted(best_of(run.history, recipe).epoch, tuple(run.history))


def fit_calibrated(
    network: SpeechNetwork,
    train: TrainingPart,
    valid: ScoredPart,
    recipe: Recipe,
    seed: int,
    folder: Path,
    fabric: Fabric,
    title: str,
    after_epoch: Callable[[Epoch], None] | None = None,
    calibrated_by: Calibrator = calibrate,
) -> tuple[Fitted, Calibration]:
    """Train a network (`fit`), then fit its calibration to the validation part."""
    fitted = fit(network, train, valid, recipe, seed, folder, fabric, title, after_epoch)
    return fitted, calibrated_by(mean_logits(network, valid, fabric), valid.labels)


def save_trained(folder: Path, config: ModelConfig, calibration: Calibration, origin: dict[str, Any]) -> None:
    """Write `config.json` of a trained network, with its calibration and the record of its training."""
    temperature, threshold, energy, _ = calibration
    values: dict[str, Any] = {"temperature": temperature, "threshold": threshold, "energy": energy}
    save_config(folder, msgspec.structs.replace(config, training=origin, **values))


def best_of(history: list[Epoch], recipe: Recipe) -> Epoch:
    """Epoch with the best validation UA, the earliest of equals.

    It is the last one where nothing was validated, or the recipe keeps that.
    """
    if history[-1].valid_ua is None or recipe.keep == "last":
        return history[-1]
    return max(history, key=lambda item: (item.valid_ua or 0.0, -item.epoch))


def _train_epoch(
    model: nn.Module,
    logits_of_batch: LogitsOf,
    optimizer: torch.optim.Optimizer,
    average: AveragedModel,
    train: TrainingPart,
    recipe: Recipe,
    seed: int,
    epoch: int,
    fabric: Fabric,
    title: str,
) -> float:
    """One pass over all segments; returns the mean loss."""
    model.train()
    passing = train.epoch(recipe.batch_size, np.random.default_rng([seed, epoch]), rank_of(fabric))
    torch.manual_seed(_mix(seed, epoch, passing.draws))
    total, done = torch.zeros((), device=fabric.device), 0
    numbers = track(range(passing.count), title, "step", lambda: f"loss {float(total) / max(1, done):.3f}")
    for number, step in zip(numbers, passing.steps, strict=True):
        rate = learning_rate(recipe, (epoch - 1 + number / passing.count) / recipe.epochs)
        for group in optimizer.param_groups:
            group["lr"] = rate
        mixed, rows = augment(_to_device(step.batch, fabric), recipe), step.learned
        lengths = None if mixed.batch.lengths is None else mixed.batch.lengths[rows]
        with own_draws(fabric, _mix(seed, epoch, number, fabric.global_rank)):
            logits = logits_of_batch(mixed.batch.features[rows], lengths)
        # Gradients are averaged over processes: one with more of the segments counts for more.
        loss = mixed.loss(logits, recipe.label_smoothing, rows, recipe.absent or 0.0) * (
            fabric.world_size * len(logits) / step.segments
        )
        optimizer.zero_grad()
        fabric.backward(loss)
        if recipe.gradient_norm:
            fabric.clip_gradients(model, optimizer, max_norm=recipe.gradient_norm)
        optimizer.step()
        if recipe.weight_average:
            average.update_parameters(model)
        total += loss.detach()
        done = number + 1
    mean = cast(Tensor, fabric.all_reduce(total / passing.count, reduce_op="mean"))
    return float(mean)


def _average_of(network: SpeechNetwork, recipe: Recipe) -> AveragedModel:
    """Exponential moving average of weights and batch statistics.

    It warms up: a constant decay would hold on to the untrained weights for the first 1 / (1 - decay) steps, which
    is many epochs of a small corpus.
    """

    def update(averaged: Weights, current: Weights, seen: Tensor | int) -> None:
        steps = float(seen)  # once: on a GPU it waits for the device
        decay = min(recipe.weight_average, (1.0 + steps) / (10.0 + steps))
        get_ema_multi_avg_fn(decay)(averaged, current, seen)  # type: ignore[no-untyped-call]

    return AveragedModel(network, multi_avg_fn=update, use_buffers=True)


def learning_rate(recipe: Recipe, done: float) -> float:
    """Learning rate after a share ``done`` in [0, 1) of all steps."""
    if done < recipe.warmup:
        return recipe.learning_rate * max(done / recipe.warmup, 1e-3)
    if recipe.schedule == "constant":
        return recipe.learning_rate
    left = (done - recipe.warmup) / (1.0 - recipe.warmup)
    return recipe.learning_rate * max(0.5 * (1.0 + math.cos(math.pi * left)), 1e-3)


def _validate(network: SpeechNetwork, valid: ScoredPart, fabric: Fabric) -> tuple[float, float]:
    """WA and UA of the validation part."""
    predictions = score(network, valid, fabric).argmax(axis=1)
    names = [str(index) for index in range(max(valid.labels.max(), predictions.max()) + 1)]
    metrics = measure([names[i] for i in valid.labels], [names[i] for i in predictions], names)
    return metrics.wa, metrics.ua


def score(network: SpeechNetwork, data: ScoredPart, fabric: Fabric | None = None) -> NDArray[np.float32]:
    """Class probabilities of each utterance, softmax of its mean logits: (U, C). They are not calibrated."""
    return softmax(mean_logits(network, data, fabric))


@torch.inference_mode()
def mean_logits(network: SpeechNetwork, data: ScoredPart, fabric: Fabric | None = None) -> NDArray[np.float32]:
    """Mean of the logits of each utterance's active segments: (U, C).

    The processes of ``fabric`` share the work, and each returns all rows. The network keeps its mode (training or
    evaluation).
    """
    was_training = network.training
    network.eval()
    device = network.normalize.mean.device
    sums: Tensor | None = None
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


def _to_device(batch: Batch, fabric: Fabric) -> Batch:
    return cast(Batch, fabric.to_device(batch))


def _mix(*numbers: int) -> int:
    """One seed out of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


@dataclass
class _Run:
    """State of a training. Its checkpoint is one safetensors file, with the history in the metadata."""

    network: SpeechNetwork
    optimizer: torch.optim.Optimizer
    average: AveragedModel
    history: list[Epoch]

    def judged(self) -> SpeechNetwork:
        """Network that is validated and kept: with averaged weights if the recipe averages, or the trained one."""
        averaged = int(self.average.n_averaged) > 0
        return cast(SpeechNetwork, self.average.module) if averaged else self.network

    def save(self, path: Path) -> None:
        """Write the checkpoint."""
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        if int(self.average.n_averaged):
            tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
        save_tensors(path, tensors, {"history": json.dumps([asdict(item) for item in self.history])})

    def resume(self, checkpoint: tuple[dict[str, Tensor], dict[str, str]] | None) -> None:
        """Go on from the tensors and metadata of a checkpoint, if there is one."""
        if checkpoint is None:
            return
        tensors, metadata = checkpoint
        self.network.load_state_dict(_below("network.", tensors))
        average = _below("average.", tensors)
        if average:
            self.average.load_state_dict(average)
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below("optimizer.", tensors).items():
            number, key = name.split(".", 1)
            state.setdefault(int(number), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.history = [Epoch(**item) for item in json.loads(metadata["history"])]


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
