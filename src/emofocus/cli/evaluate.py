"""The commands of evaluation: `emofocus evaluate`, `report`, `compare`, `combine`, `robustness` and the like."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import click

from emofocus.cli.interruption import resumable, resumes
from emofocus.cli.options import (
    ANY_PATH,
    FILE,
    FOLDER,
    PRECISIONS,
    cache_option,
    columns_option,
    corpora_options,
    corpus_option,
    corpus_options,
    device_option,
    precision_options,
    root_option,
    seed_option,
    threads_option,
    with_options,
)
from emofocus.cli.tally import Tally
from emofocus.errors import ConfigError
from emofocus.utils.file_formats import suffix_of

REPORTS = (".html", ".md", ".json")
"""Suffixes of a report on an evaluation."""


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@with_options([*corpus_options(), columns_option()])
@click.option(
    "--speaker",
    "speakers",
    multiple=True,
    show_default="all; of a corpus that trained a model, its test speakers",
    help="Whose speech; several times for several.",
)
@click.option(
    "--classes",
    metavar="NAMES",
    show_default="all of the model",
    help="Ask for these alone: common, or angry,happy,neutral=neutral+calm,sad.",
)
@click.option("--against", metavar="MODEL", help="Another model, which the others are tested against in pairs.")
@click.option(
    "-o",
    "--out",
    multiple=True,
    type=ANY_PATH,
    help="A report, .html, .md or .json, or a folder for predictions.csv and summary.json; several times for several.",
)
@with_options(precision_options())
@click.option("--threshold", type=float, metavar="P", show_default="the model's", help="Answers below it are unsure.")
@click.option("--workers", type=click.IntRange(min=1), show_default="all cores", help="Clips recognized side by side.")
def evaluate(
    models: tuple[str, ...],
    corpus: str | None,
    root: Path | None,
    labels: str | None,
    only: tuple[str, ...],
    columns: str | None,
    speakers: tuple[str, ...],
    classes: str | None,
    against: str | None,
    out: tuple[Path, ...],
    precision: str,
    device: str,
    threshold: float | None,
    workers: int | None,
) -> None:
    """Measure how well models recognize labeled speech, and whom they recognize worse.

    MODELS are model directories, org/name on the Hub, shipped (the default), or predictions.csv files, which need no
    corpus. --corpus is a corpus, a manifest, or a folder with a folder for each class. Labels that no model has a class
    for are listed and left out; a label is taken for the class of the same word or of a synonym, and --labels maps
    others.

    With --out, the same command goes on where it was interrupted. A clip that cannot be recognized is named on stderr,
    is in no figure, and makes the exit code 1.
    """
    from emofocus.evaluation.assessment import EvaluationOptions
    from emofocus.evaluation.assessment import evaluate as measure
    from emofocus.evaluation.assessment.rendering import json_text, print_report, write_report
    from emofocus.recognition.options import RecognitionOptions
    from emofocus.utils.atomic import write_text

    options = EvaluationOptions(
        corpus=corpus,
        root=None if root is None else str(root),
        labels=labels,
        only=only,
        columns=columns,
        speakers=speakers,
        classes=classes,
        against=against,
        workers=workers,
        recognition=RecognitionOptions(threshold=threshold, precision=precision, device=device),
    )
    folder, stem = _place_of_answers(out)
    tally = Tally()
    with resumable(out[0]) if out else nullcontext():
        found = measure(models, options, folder, stem, tally.report)
    print_report(found)
    for path in out:
        if path.suffix:
            write_report(found, path)
        else:
            write_text(path / "summary.json", json_text(found))
    if tally.failed:
        sys.exit(1)


def _place_of_answers(out: Sequence[Path]) -> tuple[Path | None, str]:
    """Folder of the answers of models and stem of their files: in a folder that is named, or beside the first report.

    Raises:
        ConfigError: A report has a suffix that is no format.
    """
    reports = [path for path in out if path.suffix]
    for path in reports:
        suffix_of(path, REPORTS)
    folders = [path for path in out if not path.suffix]
    if folders:
        return folders[0], "predictions"
    return (reports[0].parent, f"{reports[0].stem}.predictions") if reports else (None, "predictions")


@click.command()
@click.argument("results", type=FOLDER)
@click.option(
    "-o", "--out", type=FILE, default="docs/results.md", help="Markdown file; figures go to images/ beside it."
)
def report(results: Path, out: Path) -> None:
    """Write tables and figures of all results, computed anew from their predictions.

    RESULTS is a folder with the results of `emofocus crossval`. A summary that disagrees with its predictions is an
    error.
    """
    from emofocus.evaluation.report import write_report

    written = write_report(results, out)
    click.echo(f"{out}, and {len(written) - 1} figures in {out.parent / 'images' / out.stem}")


@click.command()
@click.argument("runs", nargs=-1, required=True, type=FOLDER)
@click.option(
    "--reference", type=FOLDER, show_default="the best UA", help="The run that the others are tested against."
)
@click.option(
    "-o", "--out", multiple=True, type=FILE, help="A .md, .csv, .png, .svg or .pdf; several times for several."
)
@click.option("--time", "timed", is_flag=True, help="Measure each network's real-time factor, on one thread.")
def compare(runs: tuple[Path, ...], reference: Path | None, out: tuple[Path, ...], timed: bool) -> None:
    """Show runs of one experiment as a leaderboard, with intervals and paired tests.

    RUNS are folders that `emofocus crossval` wrote, on the same corpus and folds; other runs are refused.
    """
    from emofocus.evaluation.leaderboard_table import compare_runs

    compare_runs(runs, reference, out, timed)


@click.command()
@click.argument("runs", nargs=-1, required=True, type=FOLDER)
@click.option(
    "-o", "--out", required=True, type=FOLDER, help="Folder for the results, as emofocus crossval writes them."
)
def combine(runs: tuple[Path, ...], out: Path) -> None:
    """Score several networks together, by the mean of their probabilities.

    RUNS are folders that `emofocus crossval` wrote, on the same corpus and folds. Every run has the same weight;
    nothing is fitted.
    """
    from emofocus.evaluation.ensemble import combine_runs

    click.echo(combine_runs(runs, out))


@click.command()
@click.argument("runs", nargs=-1, type=FOLDER)
@with_options(corpus_options())
@click.option("-o", "--out", required=True, type=FOLDER, help="Folder for the measures; the same command resumes.")
@click.option("--near", default=0.03, help="Seconds on either side of the loudest moment that belong to it.")
@click.option("--ring", default=0.1, help="Seconds on either side up to which its surroundings reach.")
@click.option("--turns", default=100, type=click.IntRange(min=1), help="Random shifts of loudness for the null.")
@click.option("--top-db", default=40.0, help="Silence before and behind speech, as dB below the loudest frame.")
@click.option("--faithful", default=60, type=click.IntRange(min=0), help="Utterances per fold that lose frames.")
@with_options([seed_option("Seed of everything random."), threads_option(), cache_option()])
@resumes
def alignment(
    runs: tuple[Path, ...],
    out: Path,
    corpus: str | None,
    root: Path | None,
    labels: str | None,
    only: tuple[str, ...],
    near: float,
    ring: float,
    turns: int,
    top_db: float,
    faithful: int,
    seed: int,
    threads: int | None,
    cache: Path | None,
) -> None:
    """Measure whether attention does what the paper says.

    RUNS are folders that `emofocus crossval` wrote, on the same folds, with the weights of their folds (fold-0, …).
    Each test part is measured once. Without RUNS, tables and figures are written anew from the measures in the folder.
    """
    import torch

    from emofocus.corpora import read_corpus
    from emofocus.evaluation.attention import ClaimSettings, write_tables
    from emofocus.evaluation.attention.study import measure_claims

    if threads:
        torch.set_num_threads(threads)
    if not runs:
        written = write_tables(out)
    elif corpus is None:
        raise ConfigError("name the runs' corpus with --corpus (and --root)")
    else:
        data = read_corpus(corpus, root, labels, only)
        settings = ClaimSettings(near=near, ring=ring, turns=turns, faithful=faithful, seed=seed, top_db=top_db)
        written = measure_claims(runs, out, data, settings, cache)
    for path in written:
        click.echo(path)


@click.command()
@click.option(
    "-m",
    "--model",
    multiple=True,
    show_default="the shipped model",
    help="Several: their mean is shown.",
)
@with_options(precision_options())
@with_options([corpus_option(required=True), root_option()])
@click.option("--speaker", "speakers", multiple=True, show_default="each model's test speakers", help="Whose speech.")
@click.option("-o", "--out", required=True, type=FILE, help="A .md or .csv to write.")
@click.option("--workers", default=2, type=click.IntRange(min=1), help="Threads.")
@with_options([seed_option("Seed of noise and rooms.")])
def robustness(
    model: tuple[str, ...],
    precision: str,
    device: str,
    corpus: str,
    root: Path | None,
    speakers: tuple[str, ...],
    out: Path,
    workers: int,
    seed: int,
) -> None:
    """Measure how loudness, coding, noise and rooms change a model's answers."""
    from emofocus.evaluation.robustness import markdown, measure_robustness
    from emofocus.recognition.options import RecognitionOptions

    options = RecognitionOptions(precision=precision, device=device)
    results = measure_robustness(model or (None,), out, corpus, root, speakers, workers, seed, options)
    click.echo(markdown(results))


@click.command()
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    show_default="the shipped model",
    help="Model directory, or org/name on the Hub; several times for several.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=PRECISIONS,
    show_default="all that it has",
    help="Measure this one.",
)
@device_option()
@click.option("--seconds", default=3.7, help="Length of a clip.")
@click.option("--streams", default=8, type=click.IntRange(min=1), help="Live streams at once, on one core.")
@click.option(
    "--rounds", default=3, type=click.IntRange(min=1), help="Times that all precisions are measured, in turns."
)
@click.option(
    "--results",
    type=FOLDER,
    show_default="the model's own test part",
    help="Results of emofocus crossval, whose mean UA stands beside each model that they are of.",
)
@click.option(
    "--beside",
    is_flag=True,
    help="Also wav2vec2-base, HuBERT-base, WavLM-base, ECAPA-TDNN and eGeMAPS, with their published UA.",
)
@click.option("-o", "--out", type=FILE, show_default="the terminal", help="A .md or .json to write.")
def bench(
    models: tuple[str, ...],
    precisions: tuple[str, ...],
    device: str,
    seconds: float,
    streams: int,
    rounds: int,
    results: Path | None,
    beside: bool,
    out: Path | None,
) -> None:
    """Measure speed, latency, memory and start of models on this machine, on one core.

    The accuracy that is known of each stands in the same table.
    """
    from emofocus.evaluation.benchmark import bench_models

    bench_models(models or (None,), precisions, device, seconds, streams, rounds, out, results, beside)


@click.command()
@click.argument("run", type=FOLDER)
@with_options(corpora_options())
@click.option(
    "--seconds",
    multiple=True,
    type=click.FloatRange(min=0),
    help="Seconds of a voice; several times. inf: all other utterances of the speaker.",
)
@click.option("--emotion", "emotions", multiple=True, help="Adapt to 15 s of this class alone, too; several times.")
@click.option("-o", "--out", required=True, type=FOLDER, help="Folder for the results.")
@cache_option()
def adaptation(
    run: Path,
    corpus: tuple[str, ...],
    root: tuple[str, ...],
    keep: tuple[str, ...],
    labels: str | None,
    columns: str | None,
    only: tuple[str, ...],
    seconds: tuple[float, ...],
    emotions: tuple[str, ...],
    out: Path,
    cache: Path | None,
) -> None:
    """Measure what unlabelled speech of the test speakers brings.

    RUN is a folder that `emofocus crossval` wrote with a recipe that adapts to voices, with the weights of its folds.
    Each condition is written as a run of a protocol of its own.
    """
    from emofocus.corpora import read_corpora
    from emofocus.corpora.manifest import columns_of
    from emofocus.evaluation.adaptation import Condition, measure_adaptation

    if not corpus:
        raise ConfigError("name the run's corpus with --corpus (and --root)")
    data = read_corpora(corpus, root, labels, only, keep, columns_of(columns))
    conditions = [Condition(value) for value in seconds or (0.0, 4.0, 15.0, 30.0, 60.0, 110.0)]
    conditions += [Condition(15.0, emotion) for emotion in emotions]
    click.echo(measure_adaptation(run, out, data, conditions, cache).read_text(encoding="utf-8"))
