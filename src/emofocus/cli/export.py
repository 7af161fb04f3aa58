"""Commands for model directories: `emofocus export` writes one, and `emofocus calibrate` fits its confidence."""

from pathlib import Path

import click

from emofocus.cli.options import ANY_PATH, FOLDER, corpus_options, with_options


@click.command()
@click.argument("source", type=FOLDER)
@click.argument("out", type=FOLDER)
@click.option("--packed", is_flag=True, help="Store large matrices as int8 rows: a quarter of the size, float at work.")
@click.option("--embeddings", type=ANY_PATH, help="The extractor (.onnx) that it was trained with, if it was.")
@click.option("--int8", is_flag=True, help="Also model-int8.onnx, which works on bytes; needs --corpus.")
@click.option("--fp16", is_flag=True, help="Also model-fp16.onnx, for devices with half precision; needs --corpus.")
@click.option("--fixed", is_flag=True, help="Also model-fixed.onnx: one segment of a fixed length, for phones.")
@with_options(corpus_options())
def export(
    source: Path,
    out: Path,
    packed: bool,
    embeddings: Path | None,
    int8: bool,
    fp16: bool,
    fixed: bool,
    corpus: str | None,
    root: Path | None,
    labels: str | None,
    only: tuple[str, ...],
) -> None:
    """Write model.onnx and the model card of a trained fold, checking that torch and ONNX agree.

    SOURCE is a fold of a run (OUT/fold-0) or a model directory; OUT is the model directory to write, with the graphs
    that are asked for alone: older ones are removed. Ranges of bytes are set on speech of the corpus, but not of the
    model's test speakers.
    """
    from emofocus.export.model_directory import export_model

    export_model(source, out, packed, embeddings, int8, fp16, fixed, corpus, root, labels, only)


@click.command()
@click.argument("runs", nargs=-1, required=True, type=FOLDER)
@click.option("-m", "--model", type=FOLDER, help="A model directory that takes the calibration.")
@click.option("--test", "tested", multiple=True, type=FOLDER, help="A run to measure it on; several times.")
@click.option("--target", default=0.9, type=click.FloatRange(0, 1), help="Share of confident answers to be right.")
@click.option(
    "--least",
    default=0.02,
    type=click.FloatRange(0, 1),
    help="Share of all answers to be confident at least.",
)
def calibrate(
    runs: tuple[Path, ...], model: Path | None, tested: tuple[Path, ...], target: float, least: float
) -> None:
    """Fit a temperature and a threshold to runs whose test parts are other corpora.

    RUNS are folders that `emofocus crossval --protocol loco` wrote, for example with several seeds. Each corpus counts
    alike. What confident answers are worth is printed by corpus.
    """
    from emofocus.evaluation.recalibration import recalibrate, reliability_table, write_calibration

    made, measured = recalibrate(runs, tested, target, least)
    click.echo(reliability_table(made, measured))
    if model is not None:
        write_calibration(model, made)
