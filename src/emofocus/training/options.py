"""Options of the commands that train, as typed values. Nothing here needs torch."""

from pathlib import Path

import msgspec


class SourceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Source of the features of a corpus: its audio and the cache, or a file of features.

    Attributes:
        corpus: Corpora by name, or manifests (`emofocus.corpora.read_corpora`).
        features: A file that `emofocus features` wrote, in place of a corpus.
        cache: Folder of the feature cache; the user's by default.
        root: Folders of the corpora: ``NAME=FOLDER``, or a folder.
        keep: Corpora that are only tested.
        labels: Preset or mapping of labels to classes.
        columns: Other names of a manifest's columns (`emofocus.corpora.manifest.columns_of`).
        only: Filters, ``column=value``.
        embeddings: Source of speaker embeddings: ``manifest``, or an extractor's ONNX file.
    """

    corpus: tuple[str, ...] = ()
    features: Path | None = None
    cache: Path | None = None
    root: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    labels: str | None = None
    columns: str | None = None
    only: tuple[str, ...] = ()
    embeddings: str | None = None


class ExperimentOptions(SourceOptions, frozen=True, kw_only=True):
    """An experiment by the names of its parts.

    Attributes:
        model: Network by name.
        recipe: Recipe by name, or a YAML file; `chosen_recipe` by default.
        protocol: Protocol of the folds; ``speaker`` by default.
        folds: File of folds to use in place of a protocol's.
        epochs: Length of training in place of the recipe's.
        seed: Seed of folds, weights, order, augmentation and dropout.
        refit: Folder of a finished run whose training lengths and calibrations are used
            (`emofocus.training.refit`).
        init: Model from which training starts (`emofocus.training.fine_tuning`): a model directory, or ``org/name`` on
            the Hub.
        freeze: With ``init``, whether its classifier alone is trained.
        classes: With ``init``, ``own`` for the corpus' classes, or ``model`` for the model's.
    """

    model: str = "compact-faca"
    recipe: str | None = None
    protocol: str | None = None
    folds: Path | None = None
    epochs: int | None = None
    seed: int = 0
    refit: Path | None = None
    init: str | None = None
    freeze: bool = False
    classes: str = "own"

    @property
    def chosen_recipe(self) -> str:
        """The recipe, by default ``emofocus``, or one for a model that goes on learning."""
        if self.recipe is not None:
            return self.recipe
        if self.init is None:
            return "emofocus"
        return "fine-tune-head" if self.freeze else "fine-tune"


class FabricOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Device, precision and processes of a training.

    Attributes:
        accelerator: cpu, gpu or auto.
        devices: GPUs or processes of this machine; 1, or as many as torchrun started, by default.
        precision: Arithmetic of training: 32-true, bf16-mixed or 16-mixed.
        threads: Threads of the CPU; all cores by default.
        log: ``tensorboard``, or nothing.
    """

    accelerator: str = "cpu"
    devices: int | None = None
    precision: str = "32-true"
    threads: int | None = None
    log: str | None = None
