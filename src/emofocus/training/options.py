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
        only: Filters, ``column=value``.
        embeddings: Source of speaker embeddings: ``manifest``, or an extractor's ONNX file.
    """

    corpus: tuple[str, ...] = ()
    features: Path | None = None
    cache: Path | None = None
    root: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    labels: str | None = None
    only: tuple[str, ...] = ()
    embeddings: str | None = None


class ExperimentOptions(SourceOptions, frozen=True, kw_only=True):
    """An experiment by the names of its parts.

    Attributes:
        model: Network by name.
        recipe: Recipe by name, or a YAML file.
        protocol: Protocol of the folds; ``speaker`` by default.
        folds: File of folds to use in place of a protocol's.
        epochs: Length of training in place of the recipe's.
        seed: Seed of folds, weights, order, augmentation and dropout.
        refit: Folder of a finished run whose training lengths and calibrations are used
            (`emofocus.training.refit`).
    """

    model: str = "compact-faca"
    recipe: str = "emofocus"
    protocol: str | None = None
    folds: Path | None = None
    epochs: int | None = None
    seed: int = 0
    refit: Path | None = None


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
