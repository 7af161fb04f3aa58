"""Training on training and validation parts, with the length and calibration that an earlier run chose."""

from pathlib import Path

import msgspec

from emofocus.errors import ConfigError
from emofocus.metrics.calibration import Calibration, Selection
from emofocus.training.experiment import Experiment, ValidationChoice
from emofocus.training.results import FoldEntry, plain, read_summary
from emofocus.utils.provenance import refuse_other_work


def refitted(experiment: Experiment, run: Path) -> Experiment:
    """The experiment, with the number of epochs and the calibration of each fold that a finished run of it chose.

    Args:
        experiment: Experiment of the run, with the same or another seed.
        run: Folder of results of the finished run.

    Raises:
        ConfigError: The folder holds no results, another experiment's, lacks folds, or was never calibrated.
    """
    if not (run / "summary.json").exists():
        raise ConfigError(f"--refit {run}: no summary.json; the folder of results of a finished crossval is expected")
    summary = read_summary(run / "summary.json")
    wanted = msgspec.structs.replace(experiment.identity(), seed=summary.seed)
    refuse_other_work(run, plain(summary), plain(wanted), "name another folder")
    finished = {entry.fold: entry for entry in summary.folds}
    missing = [number for number in range(len(experiment.folds)) if number not in finished]
    if missing:
        shown = ", ".join(map(str, missing))
        raise ConfigError(f"--refit {run}: folds {shown} are not finished; start their crossval again first")
    patience = experiment.recipe.patience
    return experiment.refit([_validation_choice(run, finished[number], patience) for number in sorted(finished)])


def _validation_choice(run: Path, fold: FoldEntry, patience: int) -> ValidationChoice:
    """Choices of one fold. With patience, the length is that of the best epoch; without it, all epochs."""
    entry = plain(fold)
    for name in ("valid_coverage", "valid_selective_wa", "temperature", "threshold", "best_epoch", "history"):
        if name not in entry:
            raise ConfigError(f"--refit {run}: its summary is too old to tell its {name!r}; train it again first")
    valid = Selection(entry["valid_coverage"], entry["valid_selective_wa"])
    calibration = Calibration(entry["temperature"], entry["threshold"], entry.get("energy"), valid)
    return ValidationChoice(entry["best_epoch"] if patience else len(entry["history"]), calibration)
