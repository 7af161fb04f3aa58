"""The commands that train, or make ready to: `emofocus crossval`, `grid`, `train`, `features` and `shards`."""

from pathlib import Path

import click

from emofocus.cli.interruption import resumes
from emofocus.cli.options import (
    ACCELERATORS,
    ANY_PATH,
    FILE,
    FOLDER,
    TRAINING_PRECISIONS,
    Command,
    ListingOption,
    Names,
    cache_option,
    corpora_options,
    embedding_option,
    grouped,
    network_option,
    protocol_names,
    ray_option,
    seed_option,
    threads_option,
    with_options,
)
from emofocus.config import recipe_names
from emofocus.errors import ConfigError
from emofocus.training.options import ExperimentOptions, FabricOptions, SourceOptions


def experiment_options(command: Command) -> Command:
    """Options that `crossval` and `train` share."""
    options = [
        *corpora_options(),
        embedding_option(),
        click.option("--features", type=ANY_PATH, help="Instead of a corpus: a file that emofocus features wrote."),
        click.option("--out", required=True, type=FOLDER, help="Folder for the results; the same command resumes."),
        network_option(),
        click.option(
            "--recipe",
            cls=ListingOption,
            names=recipe_names,
            show_default="emofocus; fine-tune with --init, fine-tune-head with --freeze",
            help="A .yaml file, or a recipe by name, of which paper is the model's own:",
        ),
        click.option(
            "--protocol",
            cls=ListingOption,
            names=protocol_names,
            show_default="speaker",
            help="How folds are dealt; of several corpora loco leaves one out, and unseen tests the kept ones; "
            "emobox5, random and random10 share speakers, and are optimistic:",
        ),
        click.option("--folds", type=ANY_PATH, help="Folds to use instead: JSON, EmoBox' folder, a CSV with a split."),
        click.option("--epochs", type=click.IntRange(min=1), show_default="the recipe's", help="Training length."),
        seed_option("Seed of folds, weights, order, augmentation and dropout."),
        cache_option(),
        click.option("--accelerator", default="cpu", type=ACCELERATORS, help="What trains."),
        click.option(
            "--devices",
            type=click.IntRange(min=1),
            show_default="1, or as torchrun has it",
            help="GPUs or processes of this machine that share each step (DDP).",
        ),
        click.option("--precision", default="32-true", type=TRAINING_PRECISIONS, help="Arithmetic of training."),
        threads_option(),
        click.option("--log", type=Names("tensorboard"), help="Write each epoch's figures for it below OUT."),
    ]
    return with_options(options)(command)


@click.command()
@experiment_options
@click.option("--jobs", default=1, type=click.IntRange(min=1), help="Folds to train side by side on the device.")
@click.option(
    "--refit",
    type=FOLDER,
    metavar="RUN",
    help="Train on validation parts too, as long as RUN, this run or one with another seed, chose.",
)
@ray_option()
@resumes
@grouped(options=ExperimentOptions, device=FabricOptions)
def crossval(options: ExperimentOptions, device: FabricOptions, out: Path, jobs: int, ray: str | None) -> None:
    """Train and test on every fold of a corpus; write summary.json and predictions.csv.

    With --ray, each fold is a task of --threads cores (1 by default), or of a GPU.
    """
    if ray is not None:
        from emofocus.cluster.cross_validation import crossval_on_ray

        crossval_on_ray(ray, options, device, out, jobs)
        return
    from emofocus.training.runs import crossval as run

    run(options, device, out, jobs)


@click.command()
@click.argument("file", type=FILE)
@click.option("--ray", "address", default="local", metavar="ADDRESS", help="Where: local, auto, or host:6379.")
@click.option("--out", default="results", type=FOLDER, help="Folder for the results; the same command resumes.")
@with_options([cache_option()])
@click.option("--accelerator", default="cpu", type=ACCELERATORS, help="What trains.")
@click.option("--precision", default="32-true", type=TRAINING_PRECISIONS, help="Arithmetic of training.")
@click.option(
    "--threads", default=1, type=click.IntRange(min=1), help="Cores of a fold. Equal threads give equal bits."
)
@resumes
@grouped(device=FabricOptions)
def grid(file: Path, address: str, out: Path, cache: Path | None, device: FabricOptions) -> None:
    """Cross-validate models x recipes x protocols x seeds x corpora on Ray.

    FILE is YAML with lists: corpora (each with corpus and root, or features), models, and if need be recipes,
    protocols, seeds. Results go to OUT/<corpus>/<protocol>/<model>-<recipe>/seed<S>.
    """
    from emofocus.cluster.grid import run_grid

    run_grid(file, address, out, cache, device)


@click.command()
@experiment_options
@click.option(
    "--init",
    metavar="MODEL",
    show_default="fresh weights",
    help="Start from a model: shipped, a model directory, or org/name on the Hub. Its features and network stay.",
)
@click.option("--freeze", is_flag=True, help="With --init: train the classifier alone; all layers otherwise.")
@click.option(
    "--classes",
    default="own",
    type=Names("own", "model"),
    help="With --init: the classes of the corpus, or the model's, of which the corpus may lack some.",
)
@click.option(
    "--fold", type=click.IntRange(min=0), show_default="0", help="Whose parts to train, validate and test on."
)
@click.option("--shards", metavar="URI", help="Instead of a corpus: what emofocus shards wrote. Nothing is tested.")
@click.option("--buffer", default="256MB", help="With --shards: features that segments are drawn from.")
@click.option("--ray", metavar="ADDRESS", help="Train on a Ray cluster, by --devices workers: auto, local, host:port.")
@resumes
@grouped(options=ExperimentOptions, device=FabricOptions)
def train(
    options: ExperimentOptions,
    device: FabricOptions,
    out: Path,
    fold: int | None,
    shards: str | None,
    buffer: str,
    ray: str | None,
) -> None:
    """Train one model directory, selected on a validation part.

    With --init, a trained model goes on learning: from a manifest, a CSV, a folder with a folder for each class, or a
    corpus. Its license terms stay.
    """
    if options.init is not None and (ray or shards):
        raise ConfigError("--init learns from a corpus on this machine: leave out --ray and --shards")
    if ray:
        from emofocus.cluster.training import TrainingJob
        from emofocus.cluster.training import train as train_on_ray

        job = TrainingJob(options=options, device=device, fold=fold, shards=shards, buffer=buffer)
        train_on_ray(ray, job, out)
    elif shards:
        from emofocus.training.shards.training import train as train_from_shards

        train_from_shards(shards, buffer, options, device, out, fold)
    else:
        from emofocus.training.runs import train as train_from_corpus

        train_from_corpus(options, device, out, fold)


@click.command()
@with_options([*corpora_options(), embedding_option()])
@click.option("--recipe", default="emofocus", help="Whose features and speeds: emofocus, quick, paper, or a .yaml.")
@click.option("--model", default="compact-faca", help="Whose paper, if the recipe is paper.")
@click.option("--out", required=True, type=ANY_PATH, help="File to write, a .safetensors.")
@click.option("--half", is_flag=True, help="Half the size, at a thousandth of a standard deviation of error.")
@with_options([cache_option()])
@resumes
@grouped(options=SourceOptions)
def features(options: SourceOptions, model: str, recipe: str, out: Path, half: bool) -> None:
    """Write a corpus' features to one file, to train elsewhere without its audio."""
    from emofocus.training.runs import save_features

    save_features(options, model, recipe, out, half)


@click.command()
@with_options([*corpora_options(), embedding_option()])
@click.option("--features", type=ANY_PATH, help="Instead of a corpus: a file that emofocus features wrote.")
@click.option("--recipe", default="emofocus", help="Whose features, speeds and segments.")
@click.option("--model", default="compact-faca", help="Whose paper, if the recipe is paper.")
@click.option("--protocol", show_default="speaker", help="How folds are dealt; as for train.")
@click.option("--folds", type=ANY_PATH, help="Folds to use instead, as for train.")
@click.option("--fold", default=0, type=click.IntRange(min=0), help="Whose training and validation part to write.")
@with_options([seed_option("Seed of folds, and of the order in which utterances are written.")])
@click.option("--out", required=True, metavar="URI", help="A folder, or s3://bucket/folder; the same command resumes.")
@click.option("--half", is_flag=True, help="Half the size, at a thousandth of a standard deviation of error.")
@click.option("--listen/--no-listen", default=True, help="Compare the audio, too, in the audit.")
@click.option("--utterances", default=256, type=click.IntRange(min=1), help="Of a shard.")
@with_options([cache_option("Folder of the cache, which is only read.")])
@resumes
@grouped(options=ExperimentOptions)
def shards(options: ExperimentOptions, out: str, fold: int, half: bool, listen: bool, utterances: int) -> None:
    """Write a fold's training and validation part as shards, for corpora larger than memory or disk.

    Nothing is written of a split that fails its audit.
    """
    from emofocus.training.shards.training import save_shards

    save_shards(options, out, fold, half, listen, utterances)
