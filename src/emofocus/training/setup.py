"""Names and settings of a command → an experiment and the source of its features."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from emofocus.config import EmbeddingSettings, Recipe, load_recipe
from emofocus.corpora import Corpus, read_corpus
from emofocus.data.cache import Cache
from emofocus.data.feature_file import FeaturesFile
from emofocus.data.feature_store import CachedSpeech, SpeechSource
from emofocus.data.speaker_embeddings import with_embeddings
from emofocus.errors import ConfigError, ModelError, one_of
from emofocus.features.encoders import resolved
from emofocus.models import MODELS
from emofocus.splits.formats import read_folds
from emofocus.splits.protocols import make_folds
from emofocus.training.experiment import Experiment
from emofocus.training.refit import refitted
from emofocus.utils.progress import log_line


def make_experiment(
    corpus: str | None,
    features: Path | None,
    cache: Path | None,
    root: Path | None,
    labels: str | None,
    only: Sequence[str],
    model: str,
    recipe: str,
    protocol: str | None,
    folds: Path | None,
    epochs: int | None,
    seed: int,
    embeddings: str | None = None,
    refit: Path | None = None,
) -> tuple[Experiment, SpeechSource]:
    """Check all names and deal the folds before any work begins; with ``refit``, see `emofocus.training.refit`.

    Returns:
        The experiment, and where its features come from.

    Raises:
        EmofocusError: Something does not exist, or does not fit; the message says what would.
    """
    name, settings = recipe_of(model, recipe, epochs)
    source = find_source(corpus, features, cache, root, labels, only, embeddings)
    name, settings = with_embedding(model, name, settings, source.embedding)
    read = source.corpus
    log_line(describe(read))
    dealt = make_folds(read, protocol or "speaker", seed) if folds is None else read_folds(folds, read, protocol, seed)
    experiment = Experiment(read, model, name, settings, dealt, seed)
    return refitted(experiment, refit) if refit else experiment, source


def recipe_of(model: str, recipe: str, epochs: int | None) -> tuple[str, Recipe]:
    """A recipe by name or file; ``paper`` is the setting of the model's own paper.

    Returns:
        Its short name, and the recipe.

    Raises:
        ConfigError: No such recipe, or bad values.
        ModelError: No such model.
    """
    if model not in MODELS:
        raise ModelError(f"unknown model {model!r} ({one_of(MODELS)})")
    published = MODELS[model].recipe
    if recipe != "paper" or published is None:
        name, settings = load_recipe(recipe, epochs=epochs)
        return name, msgspec.structs.replace(settings, features=resolved(settings.features))
    return recipe, published if epochs is None else msgspec.structs.replace(published, epochs=epochs)


def with_embedding(model: str, name: str, recipe: Recipe, embedding: EmbeddingSettings | None) -> tuple[str, Recipe]:
    """A recipe and its name, told what frames end with.

    Raises:
        ModelError: The model takes no embeddings.
    """
    if embedding is None:
        return name, recipe
    if not MODELS[model].embeds:
        takers = one_of(other for other, item in MODELS.items() if item.embeds)
        raise ModelError(f"{model} takes no embeddings of speakers ({takers})")
    return f"{name}+embeddings", msgspec.structs.replace(recipe, embedding=embedding)


def find_source(
    corpus: str | None,
    features: Path | None,
    cache: Path | None,
    root: Path | None,
    labels: str | None,
    only: Sequence[str],
    embeddings: str | None,
) -> SpeechSource:
    """A corpus by way of the cache, or a file of features.

    Raises:
        EmofocusError: Neither is named, or both, or it cannot be read.
    """
    if (corpus is None) == (features is None):
        raise ConfigError("name either --corpus (with --root) or --features")
    if corpus is not None:
        opened = Cache(cache)
        source = CachedSpeech(read_corpus(corpus, root, labels, only), opened)
        return with_embeddings(source, opened, embeddings) if embeddings else source
    if root or labels or only or embeddings:
        raise ConfigError(
            "--root, --labels, --only and --embeddings were settled when the file of --features was written"
        )
    assert features is not None
    return FeaturesFile(features)


def describe(corpus: Corpus) -> str:
    """One line: how much of a corpus is used, and which labels are left out."""
    line = f"{corpus.name}: {len(corpus)} utterances of {len(corpus.classes)} classes"
    if not corpus.left_out:
        return line
    listed = ", ".join(f"{label} {count}" for label, count in corpus.left_out.items())
    return f"{line}; left out, because no class takes their label: {listed}"
