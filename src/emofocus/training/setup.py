"""Experiments and sources of features from the options of a command."""

from dataclasses import replace

import msgspec

from emofocus.config import EmbeddingSettings, Recipe, load_recipe
from emofocus.corpora import Corpus, multi_corpus, read_corpora
from emofocus.corpora.manifest import columns_of
from emofocus.data.cache import Cache
from emofocus.data.feature_file import FeaturesFile
from emofocus.data.feature_store import CachedSpeech, SpeechSource
from emofocus.data.speaker_embeddings import with_embeddings
from emofocus.errors import ConfigError, ModelError, one_of
from emofocus.features.encoders import resolved
from emofocus.models import MODELS
from emofocus.splits.folds import Folds
from emofocus.splits.formats import read_folds
from emofocus.splits.protocols import make_folds
from emofocus.training.experiment import Experiment
from emofocus.training.fine_tuning import (
    CLASSES,
    MODEL,
    OWN,
    StartingModel,
    refuse_few_classes,
    usual_protocol,
    with_model_classes,
)
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
    start = starting_model(options)
    model = options.model if start is None else start.config.model
    name, recipe = recipe_of(model, options.chosen_recipe, options.epochs)
    source = find_source(options)
    if start is not None:
        start.refuse_other_front_end(options.model, ExperimentOptions().model, source.embedding)
        recipe, source = start.recipe(recipe), with_classes(options, source, start)
    name, recipe = with_embedding(model, name, recipe, source.embedding)
    corpus = source.corpus
    for line in describe(corpus):
        log_line(line)
    refuse_few_classes(corpus)
    folds = folds_of(options, corpus, start)
    if start is not None and options.classes == MODEL:
        corpus = replace(corpus, classes=start.config.labels)
    experiment = Experiment(corpus, model, name, recipe, folds, options.seed, start=start)
    return refitted(experiment, options.refit) if options.refit else experiment, source


def starting_model(options: ExperimentOptions) -> StartingModel | None:
    """Model from which training starts, if one is named.

    Raises:
        ConfigError: Options that need such a model are given without one, or a choice of classes does not exist.
        ModelError: No such model.
    """
    if options.classes not in CLASSES:
        raise ConfigError(f"unknown classes {options.classes!r} ({one_of(CLASSES)})")
    if options.init is not None:
        return StartingModel.load(options.init, options.freeze)
    if options.freeze or options.classes != OWN:
        given = "--freeze" if options.freeze else f"--classes {options.classes}"
        raise ConfigError(f"{given} needs a model to start from: --init MODEL")
    return None


def with_classes(options: ExperimentOptions, source: SpeechSource, start: StartingModel) -> SpeechSource:
    """A source of the utterances whose classes are asked for; a corpus that the model has learned is named.

    Raises:
        ConfigError: A file of features has utterances that would be left out.
        CorpusError: The corpus and the model have no class in common.
    """
    corpus = source.corpus
    if start.corpus in (corpus.name, *corpus.members):
        log_line(f"{start.name} was trained on {start.corpus}: its speakers are no strangers to it")
    if options.classes == OWN:
        return source
    kept = with_model_classes(corpus, start)
    if isinstance(source, CachedSpeech):
        return source.of(kept)
    if len(kept) < len(corpus):
        raise ConfigError(f"--classes {MODEL}: name --corpus, for a file of features keeps all of its utterances")
    return source


def folds_of(options: ExperimentOptions, corpus: Corpus, start: StartingModel | None) -> Folds:
    """Folds of a file, or of a protocol.

    Raises:
        EmofocusError: They do not fit the corpus.
    """
    if options.folds is not None:
        return read_folds(options.folds, corpus, options.protocol, options.seed)
    return make_folds(corpus, options.protocol or usual_protocol(corpus, start), options.seed)


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
        columns = columns_of(options.columns)
        corpus = read_corpora(options.corpus, options.root, options.labels, options.only, options.keep, columns)
        source = CachedSpeech(corpus, cache)
        return with_embeddings(source, cache, options.embeddings) if options.embeddings else source
    settled = (options.root, options.keep, options.labels, options.columns, options.only, options.embeddings)
    if any(settled):
        raise ConfigError(
            "--root, --keep, --labels, --columns, --only and --embeddings were settled when the file of --features was "
            "written"
        )
    assert options.features is not None
    return FeaturesFile(options.features)


def describe(corpus: Corpus) -> list[str]:
    """Lines: how much of a corpus is used; of several, each corpus' own."""
    line = f"{corpus.name}: {len(corpus)} utterances of {len(corpus.classes)} classes"
    return [line, *multi_corpus.describe(corpus)] if corpus.members else [line]
