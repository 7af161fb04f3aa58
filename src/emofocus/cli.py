"""The command `emofocus`: each command is one short function that calls one function of the library.

Imports stand inside the commands, so that none pays for another's. click rather than Typer, which needs three times
as long to start.
"""

import os
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import click

from emofocus.cli_options import (
    ANY_PATH,
    FOLDER,
    corpus_options,
    engine_options,
    model_option,
    ray_option,
    with_options,
)
from emofocus.errors import ConfigError, EmofocusError, MissingExtraError
from emofocus.version import __version__

ELSEWHERE = {
    "corpora": "cli_corpora",
    **dict.fromkeys(("alignment", "bench", "combine", "compare", "report", "robustness"), "cli_report"),
    **dict.fromkeys(("serve", "tokens"), "cli_serve"),
    **dict.fromkeys(("crossval", "features", "grid", "shards", "train"), "cli_train"),
}
"""Commands of other modules, which are imported when one of them is asked for."""

TRAINING = ("torch", "lightning_fabric", "safetensors", "sklearn", "lmdb", "polars", "scipy", "pooch", "onnx", "yaml")
"""What the extra `[train]` brings, by the names that Python knows; half of the commands need some of it."""


class Commands(click.Group):
    """This module's commands, and those of `ELSEWHERE`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        return sorted({*super().list_commands(ctx), *ELSEWHERE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, or None."""
        if cmd_name in ELSEWHERE:
            return cast(click.Command, getattr(import_module(f"emofocus.{ELSEWHERE[cmd_name]}"), cmd_name))
        return super().get_command(ctx, cmd_name)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, prog_name="emofocus", message="%(prog)s %(version)s")
def app() -> None:
    """Speech emotion recognition with focus and calibration attention."""


@app.command()
@click.argument("paths", nargs=-1, required=True)
@model_option()
@with_options(engine_options())
@click.option(
    "-f",
    "--format",
    default="table",
    help="table, json, jsonl or csv; with --timeline table, json, csv, srt, vtt, audacity, textgrid, audformat or png.",
)
@click.option("-o", "--out", show_default="the terminal", help="File to write; with --ray, a folder's path or URI.")
@click.option("--threshold", type=float, metavar="P", show_default="the model's", help="Answers below it are unsure.")
@click.option("--workers", type=click.IntRange(min=1), show_default="all cores", help="Clips recognised side by side.")
@click.option("--timeline", is_flag=True, help="From when to when which emotion is heard, in recordings of any length.")
@click.option("--hop", type=float, metavar="SECONDS", show_default="the model's", help="From segment to segment.")
@click.option("--calm", default=1.0, metavar="SECONDS", help="With --timeline: over how long scores are averaged.")
@ray_option()
@click.option("--part", default=256, metavar="CLIPS", help="With --ray: clips of a task, and of a file of results.")
def predict(paths: tuple[str, ...], ray: str | None, part: int, **options: Any) -> None:
    """Recognise the emotion in audio files.

    PATHS are audio files, folders that are searched for some, and lists of files (.csv or .jsonl with a column, or key,
    file). A file that cannot be recognised is named on stderr and makes the exit code 1; the others are recognised all
    the same. With --out and csv or jsonl, the same command goes on where it was interrupted.

    An answer that is less probable than the threshold is marked: `?` in the table, "confident": false in JSON.

    With --ray, a cluster does it. Paths and OUT may be URIs, such as s3://bucket/folder, and results are Parquet below
    OUT.
    """
    if ray is None:
        failed = _predict_here(paths, **options)
    else:
        from emofocus.cluster.bulk import predict_on_ray

        failed = predict_on_ray(paths, ray, part=part, **_for_ray(**options))
    if failed:
        sys.exit(1)


def _predict_here(
    sources: tuple[str, ...], timeline: bool, calm: float, workers: int | None, out: str | None, **options: Any
) -> int:
    for text in (*sources, out or ""):
        if "://" in text and not Path(text).exists():
            shown = re.sub(r"//[^/]*@", "//", text)  # without secrets
            raise ConfigError(f"{shown}: a URI is read and written with --ray, such as --ray local")
    paths, file = [Path(source) for source in sources], None if out is None else Path(out)
    if timeline:
        from emofocus.timelining import write_timelines

        return write_timelines(paths, calm=calm, out=file, **options)
    from emofocus.predicting import predict_files

    return predict_files(paths, workers=workers, out=file, **options)


def _for_ray(timeline: bool, calm: float, format: str, out: str | None, **options: Any) -> dict[str, Any]:
    """What a cluster does not do is refused."""
    if timeline or format not in ("table", "parquet"):
        raise ConfigError("--ray writes Parquet: --timeline and other formats are for the local command")
    if out is None:
        raise ConfigError("--ray needs --out, the path or URI of a folder for the results")
    return options | {"out": out}


@app.command()
@click.argument("clip", type=ANY_PATH)
@click.option("-m", "--model", multiple=True, show_default="the shipped model", help="Several stand side by side.")
@click.option("--segment", multiple=True, type=float, metavar="SECOND", help="Draw this segment's attention maps.")
@click.option("--head", multiple=True, type=int, metavar="NUMBER", help="Draw this head's maps.")
@click.option("--start", type=float, metavar="SECOND", show_default="the beginning", help="Explain a part alone.")
@click.option("--end", type=float, metavar="SECOND", show_default="the end")
@click.option("-o", "--out", type=ANY_PATH, show_default="CLIP-explained.html", help=".html, .png, .svg or .pdf.")
def explain(clip: Path, model: tuple[str, ...], out: Path | None, **part: Any) -> None:
    """Show what was heard in a clip, and where the model listened.

    A page (.html) can be played and hovered, and needs nothing else. A picture tells the story of the clip; with
    --segment, or with several models, it shows their attention maps. A .pdf has both.
    """
    from emofocus.explaining import explain_clip

    segments, heads = part.pop("segment"), part.pop("head")
    explain_clip(clip, model or (None,), out, segments=segments, heads=heads, **part)


@app.command()
@click.argument("source", required=False)
@model_option()
@with_options(engine_options())
@click.option("-f", "--format", show_default="view on a terminal, else text", help="view, text or jsonl.")
@click.option("--hop", default=0.1, metavar="SECONDS", help="From event to event.")
@click.option("--calm", default=1.0, metavar="SECONDS", help="Over how long scores are averaged.")
@click.option("--threshold", type=float, metavar="P", show_default="the model's", help="Answers below it are unsure.")
@click.option("--rate", default=16_000, metavar="HERTZ", help="Of raw samples, or of the microphone.")
@click.option("--samples", default="s16le", help="Of raw samples: s16le, s32le or f32le.")
@click.option("--channels", default=1, type=click.IntRange(min=1), help="Of raw samples.")
@click.option("--fast", is_flag=True, help="Do not wait for a file's time to pass.")
def stream(**arguments: Any) -> None:
    """Recognise live speech, until it ends or Ctrl-C.

    SOURCE is an audio file, played at its own speed, or - for raw samples on standard input, such as
    `ffmpeg … -f s16le -ar 16000 -ac 1 - | emofocus stream -`. Without one, the microphone is heard.
    """
    from emofocus.live import stream as run

    run(**arguments)


@app.command()
@click.argument("source", type=FOLDER)
@click.argument("out", type=FOLDER)
@click.option("--packed", is_flag=True, help="Store large matrices as int8 rows: a quarter of the size, float at work.")
@click.option("--embeddings", type=ANY_PATH, help="The extractor (.onnx) that it was trained with, if it was.")
@click.option("--int8", is_flag=True, help="Also model-int8.onnx, which works on bytes; needs --corpus.")
@click.option("--fp16", is_flag=True, help="Also model-fp16.onnx, for devices with half precision; needs --corpus.")
@click.option("--fixed", is_flag=True, help="Also model-fixed.onnx: one segment of a fixed length, for phones.")
@with_options(corpus_options())
def export(**arguments: Any) -> None:
    """Write model.onnx and the model card of a trained fold, checking that torch and ONNX agree.

    SOURCE is a fold of a run (OUT/fold-0) or a model directory; OUT is the model directory to write, with the graphs
    that are asked for alone: older ones are removed. Ranges of bytes are set on speech of the corpus, but not of the
    model's test speakers.
    """
    from emofocus.export.model_directory import export_model

    export_model(**arguments)


@app.command()
@click.argument("split", type=ANY_PATH)
@with_options(corpus_options())
@click.option("--listen/--no-listen", default=True, help="Compare the audio too, when there is a corpus.")
@click.option("--json", "json_file", type=ANY_PATH, help="File to write the offences to.")
@click.option("--cache", type=FOLDER, show_default="the user's cache", help="Folder of the cache.")
def audit(split: Path, **arguments: Any) -> None:
    """Look for leaks in a split, yours or somebody else's; exit code 1 if it has some.

    SPLIT is a folds.json, a CSV or JSONL with a column `split`, or a folder of lists such as EmoBox' folds.
    """
    from emofocus.auditing import audit_split

    if not audit_split(split, **arguments):
        sys.exit(1)


@app.group(invoke_without_command=True)
@click.option("--cache", "folder", type=FOLDER, show_default="the user's cache", help="Folder of the cache.")
@click.pass_context
def cache(context: click.Context, folder: Path | None) -> None:
    """Show how full the cache of features is, or clear it."""
    from emofocus.data.cache import Cache, describe

    context.obj = folder
    if context.invoked_subcommand is None:
        click.echo(describe(Cache(folder)))


@cache.command("clear")
@click.pass_obj
def clear_cache(folder: Path | None) -> None:
    """Delete all of it; it fills again when it is needed."""
    from emofocus.data.cache import clear, format_size

    click.echo(f"freed {format_size(clear(folder))}")


def main() -> None:
    """Run the command line; errors that a user can cause end with one line and exit code 1."""
    # torch's exporter warns at every LSTM of what the parity check then shows to be right; read when torch is loaded.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        app()
    except (EmofocusError, ModuleNotFoundError) as error:
        if isinstance(error, ModuleNotFoundError):
            if error.name not in TRAINING:
                raise
            error = MissingExtraError(error.name, "train")
        if os.environ.get("LOCAL_RANK", "0") == "0":  # once a machine, where several processes train together
            print(f"emofocus: {error}", file=sys.stderr)
        sys.exit(1)
