"""Experiments and sources of features from the options of a command."""

import msgspec

from emofocus.config import EmbeddingSettings, Recipe, load_recipe
from emofocus.corpora import Corpus, multi_corpus, read_corpora
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
from emofocus.training.options import ExperimentOptions, SourceOptions
from emofocus.training.refit import refitted
from emofocus.utils.progress import log_line


def make_experiment(options: ExperimentOptions) -> tuple[Experiment, SpeechSource]:
    """Check all names and deal the folds before any work begins.

    Returns:
        The experiment, and the source of its features.

    Raises:
        EmofocusError: A name does not exist, or the parts do not fit; the message lists valid ones.
    """
    name, recipe = recipe_of(options.model, options.recipe, options.epochs)
    source = find_source(options)
    name, recipe = with_embedding(options.model, name, recipe, source.embedding)
    corpus, protocol, seed = source.corpus, options.protocol, options.seed
    for line in describe(corpus):
        log_line(line)
    if options.folds is None:
        folds = make_folds(corpus, protocol or "speaker", seed)
    else:
        folds = read_folds(options.folds, corpus, protocol, seed)
    experiment = Experiment(corpus, options.model, name, recipe, folds, seed)
    return refitted(experiment, options.refit) if options.refit else experiment, source


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
    """A recipe and its name, with the embedding that ends each frame, if there is one.

    Raises:
        ModelError: The model takes no embeddings.
    """
    if embedding is None:
        return name, recipe
    if not MODELS[model].embeds:
        takers = one_of(other for other, item in MODELS.items() if item.embeds)
        raise ModelError(f"{model} takes no embeddings of speakers ({takers})")
    return f"{name}+embeddings", msgspec.structs.replace(recipe, embedding=embedding)


def find_source(options: SourceOptions) -> SpeechSource:
    """Open a corpus with its cache, or a file of features.

    Raises:
        EmofocusError: Neither is named, or both, or it cannot be read.
    """
    if bool(options.corpus) == (options.features is not None):
        raise ConfigError("name either --corpus (with --root) or --features")
    if options.corpus:
        cache = Cache(options.cache)
        corpus = read_corpora(options.corpus, options.root, options.labels, options.only, options.keep)
        source = CachedSpeech(corpus, cache)
        return with_embeddings(source, cache, options.embeddings) if options.embeddings else source
    if options.root or options.keep or options.labels or options.only or options.embeddings:
        raise ConfigError(
            "--root, --keep, --labels, --only and --embeddings were settled when the file of --features was written"
        )
    assert options.features is not None
    return FeaturesFile(options.features)


def describe(corpus: Corpus) -> list[str]:
    """Lines: how much of a corpus is used; of several, each corpus' own."""
    line = f"{corpus.name}: {len(corpus)} utterances of {len(corpus.classes)} classes"
    return [line, *multi_corpus.describe(corpus)] if corpus.members else [line]
