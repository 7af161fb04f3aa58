"""Training that starts from a trained model: its weights, front end and license, and its classes if asked for.

All layers but the last begin with the model's weights. So do the rows of the last one whose classes the model has;
those of new classes begin as in any training.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import torch
from torch import Tensor, nn

from emofocus.config import EmbeddingSettings, ModelConfig, Recipe, load_model_config
from emofocus.corpora import Corpus
from emofocus.corpora.labels import aligned
from emofocus.errors import ConfigError, CorpusError, ModelError, one_of
from emofocus.metrics.calibration import Array, Calibration, Numbers, calibrate
from emofocus.models import SpeechNetwork, build
from emofocus.models.checkpoint import load_network, network_tensors, tensors_hash
from emofocus.recognition.recognizer import model_folder
from emofocus.utils.progress import log_line

SHIPPED = "shipped"
"""Name of the shipped model, for `--init`."""

CALIBRATED_FROM = 50
"""Utterances of a validation part from which a calibration is fitted to it. With fewer the model keeps its own."""

OWN, MODEL = "own", "model"
CLASSES = (OWN, MODEL)
"""Choices of classes: those of the corpus, or those of the model."""


@dataclass(frozen=True)
class StartingModel:
    """A trained model from which training starts.

    Attributes:
        name: Name for records: that of its folder, or on the Hub.
        folder: Its model directory.
        config: Its configuration.
        weights: Hash of its weights.
        freeze: Whether its classifier alone is trained.
    """

    name: str
    folder: Path
    config: ModelConfig
    weights: str
    freeze: bool

    @classmethod
    def load(cls, source: str, freeze: bool) -> "StartingModel":
        """Find a model.

        Args:
            source: ``shipped``, a model directory, or ``org/name`` on the Hub.
            freeze: Whether its classifier alone is trained.

        Raises:
            ModelError: It does not exist, or its weights are missing or damaged.
            ConfigError: Its `config.json` has unknown keys or bad values.
        """
        shipped = source == SHIPPED and not Path(source).exists()
        folder = model_folder(None if shipped else source)
        name = Path(source).absolute().name if Path(source).is_dir() else source
        config = load_model_config(folder / "config.json")
        return cls(name, folder, config, tensors_hash(network_tensors(folder)), freeze)

    @property
    def corpus(self) -> str:
        """Corpus that the model was trained on."""
        return str(self.config.training.get("corpus", "an unnamed corpus"))

    def record(self) -> dict[str, Any]:
        """Plain data for results and the model card."""
        before = self.config.training.get("init")
        return {
            "name": self.name,
            "model": self.config.model,
            "corpus": self.corpus,
            "license": self.config.license,
            "weights": self.weights,
            "freeze": self.freeze,
            **({"init": before} if before else {}),
        }

    def refuse_other_front_end(self, model: str, usual: str, embedding: EmbeddingSettings | None) -> None:
        """Refuse a network by another name, and frames that end in other embeddings of speakers.

        Args:
            model: Name of the network that was asked for.
            usual: Name that nobody asked for.
            embedding: Settings of the embedding of the corpus' frames.

        Raises:
            ModelError: One of them differs.
        """
        if model not in (usual, self.config.model):
            raise ModelError(f"--model {model} with --init {self.name}, which is a {self.config.model}")
        if embedding != self.config.embedding:
            raise ModelError(f"--init {self.name}: it was trained with other embeddings of speakers")

    def recipe(self, recipe: Recipe) -> Recipe:
        """A recipe with the model's features, segments and network."""
        config = self.config
        return msgspec.structs.replace(
            recipe,
            features=config.features,
            segment=config.segment,
            network=config.network,
            voice_clips=recipe.voice_clips if config.network.voice_seconds else msgspec.UNSET,
        )

    def calibrate(self, logits: Array, labels: Numbers) -> Calibration:
        """Calibration by a validation part; with few utterances, the model's temperature and threshold.

        Args:
            logits: Mean logits of each utterance (U, C).
            labels: True class numbers (U,).
        """
        if len(labels) >= CALIBRATED_FROM:
            return calibrate(logits, labels)
        return calibrate(logits, labels, self.config.temperature, self.config.threshold)

    def license_with(self, corpus: Corpus) -> str:
        """Terms of weights that were made from the model and a corpus: the model's stay, known ones are added."""
        return joined_licenses(self.config.license, corpus.license)

    def network(self, config: ModelConfig) -> SpeechNetwork:
        """A network with the model's weights; the torch generator draws the rows of new classes.

        Args:
            config: Configuration of the network, which differs from the model's in its labels.

        Raises:
            ModelError: The model's weights are missing or damaged.
        """
        trained, own = load_network(self.folder)
        network = build(config)
        tensors = network.state_dict()
        last = rows_by_class(network)
        for name, tensor in trained.state_dict().items():
            tensors[name] = _rows(tensor, tensors[name], own, config) if name in last else tensor
        network.load_state_dict(tensors)
        network.trained = True
        if self.freeze:
            freeze(network)
        else:
            network.frozen = tuple(item for item in network.modules() if isinstance(item, nn.BatchNorm2d))
        return network


def freeze(network: SpeechNetwork) -> None:
    """Leave only the classifier of a network to be trained."""
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    classifier = network.get_submodule("classifier")
    for parameter in classifier.parameters():
        parameter.requires_grad_(True)
    network.frozen = tuple(child for child in network.children() if child is not classifier)


def rows_by_class(network: SpeechNetwork) -> set[str]:
    """Names of the tensors with a row for each class.

    Raises:
        ModelError: The network does not end in a linear layer of a module `classifier`.
    """
    if network.last_layer is None:
        raise ModelError(f"{type(network).__name__} has no linear classifier that other classes could be given to")
    return {f"{network.last_layer}.weight", f"{network.last_layer}.bias"}


def _rows(trained: Tensor, fresh: Tensor, own: ModelConfig, config: ModelConfig) -> Tensor:
    """Rows of the last layer: trained ones (C, …) for classes that the model has, fresh ones (C', …) for others."""
    names = aligned(config.labels, own.labels)
    rows = [
        trained[own.label2id[names[label]]] if label in names else fresh[number]
        for number, label in enumerate(config.labels)
    ]
    return torch.stack(rows)


def joined_licenses(*licenses: str) -> str:
    """Several terms that hold together; the terms of a corpus may be unknown, those of the first one stay."""
    first, *others = licenses
    return " AND ".join(dict.fromkeys((first, *(name for name in others if name != "unknown"))))


def with_model_classes(corpus: Corpus, start: StartingModel) -> Corpus:
    """A corpus with classes of the model alone, in the model's order; other utterances are left out.

    A class is taken for the model's of the same name, or a synonym, which is named on stderr, as are those left out.

    Raises:
        CorpusError: None is left.
    """
    counts: Mapping[str, int] = dict(corpus.table["emotion"].value_counts().sort("emotion").iter_rows())
    names = aligned(counts, start.config.labels)
    if not names:
        raise CorpusError(
            f"{corpus.name} and --init {start.name} have no class in common: {', '.join(counts)} "
            f"({one_of(start.config.labels)}); --labels maps one to the other, such as 'happy=fun', or leave out "
            f"--classes {MODEL}"
        )
    renamed = [f"{label} as {name}" for label, name in names.items() if label != name]
    if renamed:
        log_line(f"{corpus.name}: learned as the model's classes: {', '.join(renamed)}")
    foreign = {label: number for label, number in counts.items() if label not in names}
    if foreign:
        listed = ", ".join(f"{label} {number}" for label, number in foreign.items())
        log_line(f"{corpus.name}: LEFT OUT, because {start.name} has no such class: {listed}")
    table = corpus.table.filter(pl.col("emotion").is_in(list(names)))
    table = table.with_columns(emotion=pl.col("emotion").replace_strict(names))
    classes = tuple(label for label in start.config.labels if label in names.values())
    return replace(corpus, classes=classes, table=table, left_out={**corpus.left_out, **foreign})


def refuse_few_classes(corpus: Corpus) -> None:
    """Refuse a corpus from which nothing can be learned: one class, or a class with one clip.

    Raises:
        CorpusError: It is one.
    """
    counts = dict(corpus.table["emotion"].value_counts().sort("emotion").iter_rows())
    if len(counts) < 2:
        raise CorpusError(f"{corpus.name} has one class, {next(iter(counts))}: there is nothing to tell it from")
    alone = [name for name, number in counts.items() if number == 1]
    if alone:
        raise CorpusError(
            f"{corpus.name}: the class {alone[0]} has one clip, which cannot be learned and tested both; record more, "
            "or leave the class out with --labels"
        )


def usual_protocol(corpus: Corpus, start: StartingModel | None) -> str:
    """Protocol where none was asked for: ``speaker``, or ``random`` where training goes on and speakers are unknown.

    Raises:
        ConfigError: The corpus has a single speaker.
    """
    speakers = set(corpus.table["speaker"])
    if start is not None and "" in speakers:
        unknown = int((corpus.table["speaker"] == "").sum())
        log_line(
            f"{corpus.name}: the speaker of {unknown} clips is not known, so clips are divided at random: one voice "
            "may be in all parts. The figures then hold for voices that the model has heard, and say nothing of "
            "others. A column speaker in a manifest keeps speakers apart"
        )
        return "random"
    if len(speakers) == 1 and "" not in speakers:
        raise ConfigError(
            f"{corpus.name} has one speaker, {next(iter(speakers))}, who cannot be in one part alone: --protocol "
            "random trains and tests on this voice, and its figures hold for this voice"
        )
    return "speaker"
