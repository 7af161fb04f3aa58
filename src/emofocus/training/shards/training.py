"""The commands `emofocus shards` and `emofocus train --shards`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from emofocus.config import to_plain
from emofocus.data.cache import format_size, parse_size
from emofocus.errors import ConfigError, MissingExtraError
from emofocus.models import build
from emofocus.training.distributed import by_first
from emofocus.training.experiment import SELECTION_BY_VALIDATION
from emofocus.training.fabric import make_fabric
from emofocus.training.loop import Epoch, Fitted, fit_calibrated, save_trained
from emofocus.training.model_training import ModelTraining
from emofocus.training.options import ExperimentOptions, FabricOptions
from emofocus.training.setup import make_experiment, recipe_of, with_embedding
from emofocus.utils.progress import log_line
from emofocus.version import __version__

try:
    from emofocus.training.shards.format import shards_at
    from emofocus.training.shards.reader import Shards
    from emofocus.training.shards.writer import write_shards
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "pyarrow", "cluster") from error

DECIDED_BY_SHARDS = (
    *("corpus", "features", "root", "labels", "columns", "only"),
    *("embeddings", "protocol", "folds", "cache"),
)
"""Options that shards decide."""

FREE_OPTIONS = "--model, --recipe, --epochs, --seed, --buffer, and where to train"


def save_shards(options: ExperimentOptions, out: str, fold: int, half: bool, listen: bool, utterances: int) -> None:
    """`emofocus shards`: write the training and validation part of a fold."""
    location = shards_at(out)
    experiment, source = make_experiment(options)
    experiment.require_fold(fold)
    index = write_shards(experiment, fold, source, location, half, listen, utterances)
    for name, part in index["parts"].items():
        sizes = ", ".join(f"{part[kind]} {kind}" for kind in ("utterances", "segments", "shards"))
        log_line(f"{location.name}: {name}, {sizes}")


def train(
    shards: str,
    buffer: str,
    options: ExperimentOptions,
    device: FabricOptions,
    out: Path,
    fold: int | None = None,
    after_epoch: Callable[[Epoch], None] | None = None,
) -> None:
    """`emofocus train --shards`.

    Raises:
        ConfigError: An option is given that the shards decide, or the recipe asks for what they lack.
    """
    given = [name for name in DECIDED_BY_SHARDS if getattr(options, name) not in (None, ())]
    given += [] if fold is None else ["fold"]
    if given:
        raise ConfigError(f"--{given[0]} was settled when the shards were written; --shards takes {FREE_OPTIONS}")
    opened, buffer_bytes = Shards(shards), parse_size(buffer)
    model, seed = options.model, options.seed
    name, settings = with_embedding(model, *recipe_of(model, options.chosen_recipe, options.epochs), opened.embedding)
    train_part, valid = opened.training(settings, buffer_bytes), opened.validation()
    fabric = make_fabric(device, out)
    training = ModelTraining(out)
    record = {
        "shards": opened.index,
        "model": model,
        "recipe": name,
        "recipe_settings": to_plain(settings),
        "seed": seed,
        "buffer": buffer_bytes,
        "precision": device.precision,
    }
    if by_first(fabric, lambda: training.begin(record)):
        return
    parts = ", ".join(f"{part} {size['utterances']}" for part, size in opened.index["parts"].items())
    log_line(
        f"{opened.index['corpus']} out of {opened.location.name}: {parts}; a buffer of {format_size(buffer_bytes)}"
    )
    config = settings.config(model, tuple(opened.index["classes"]), opened.index["license"])
    torch.manual_seed(seed)
    network = build(config)
    network.load_pretrained()
    title = f"{opened.index['corpus']} {opened.index['protocol']['name']} fold {opened.index['protocol']['fold']}"
    fitted, calibration = fit_calibrated(
        network, train_part, valid, settings, seed, training.work, fabric, title, after_epoch
    )
    if fabric.is_global_zero:
        origin = _origin(opened, fitted) | {"recipe": name, "seed": seed, "precision": device.precision}
        origin |= {"valid_coverage": calibration.valid.coverage, "valid_selective_wa": calibration.valid.accuracy}
        save_trained(training.work, config, calibration, origin)
        training.finish()


def _origin(shards: Shards, fitted: Fitted) -> dict[str, Any]:
    """The record of its training that the model directory holds. The test part was not scored."""
    index, best = shards.index, fitted.history[fitted.best_epoch - 1]
    return {
        "corpus": index["corpus"],
        "protocol": index["protocol"]["name"],
        "note": index["protocol"]["note"],
        "fold": index["protocol"]["fold"],
        "digest": index["protocol"]["digest"],
        "selection": SELECTION_BY_VALIDATION,
        "folds_seed": index["seed"],
        "test": index["protocol"]["test"],
        "train": index["parts"]["train"]["utterances"],
        "valid": index["parts"]["valid"]["utterances"],
        "best_epoch": fitted.best_epoch,
        "valid_wa": best.valid_wa and round(best.valid_wa, 6),
        "valid_ua": best.valid_ua and round(best.valid_ua, 6),
        "version": __version__,
    }
