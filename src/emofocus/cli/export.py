"""The command `emofocus export`: write a trained network as a model directory that runs without torch."""

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
