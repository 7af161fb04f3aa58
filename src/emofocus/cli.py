"""The command `emofocus`: each command is one short function that calls one function of the library.

Imports stand inside the commands, so that none pays for another's.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emofocus.errors import EmofocusError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

app = typer.Typer(
    name="emofocus",
    help="Speech emotion recognition with focus and calibration attention.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

CorpusName = Annotated[str, typer.Option("--corpus", help="Name of the corpus, for example ravdess.")]
Root = Annotated[Path, typer.Option("--root", help="Folder that holds the corpus in its owner's layout.")]
Model = Annotated[str, typer.Option("--model", help="bmhsa, mhsa-fa, mhsa-ca or mhsa-faca.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="A shipped recipe, or a .yaml file.")]
Protocol = Annotated[
    str,
    typer.Option("--protocol", help="speaker (no speaker in two parts), or random (speakers shared: optimistic)."),
]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Instead of the recipe's.")]
Seed = Annotated[int, typer.Option("--seed", help="Of folds, weights, order, augmentation and dropout.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for the results; the same command goes on from there.")]
Cache = Annotated[Path | None, typer.Option("--cache", help="Folder of the feature cache.")]
Accelerator = Annotated[str, typer.Option(help="cpu, gpu or auto.")]
Devices = Annotated[int, typer.Option(min=1, help="Processes, or GPUs; more than one trains in parallel (DDP).")]
Precision = Annotated[str, typer.Option(help="32-true, or bf16-mixed.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; equal threads give equal bits.")]


@app.command()
def predict(
    paths: Annotated[list[Path], typer.Argument(help="Audio files, or folders that hold some.", show_default=False)],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Model directory, or org/name on the Hub.", show_default="shipped")
    ] = None,
    format: Annotated[str, typer.Option("--format", "-f", help="table, json, jsonl or csv.")] = "table",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write there instead of to the terminal.")] = None,
) -> None:
    """Recognise the emotion in audio files."""
    from emofocus.predicting import predict_files

    if predict_files(paths, model, format, out):
        raise typer.Exit(1)


@app.command()
def crossval(
    corpus: CorpusName,
    root: Root,
    out: Out,
    model: Model = "mhsa-faca",
    recipe: RecipeName = "quick",
    protocol: Protocol = "speaker",
    epochs: Epochs = None,
    seed: Seed = 0,
    cache: Cache = None,
    accelerator: Accelerator = "cpu",
    devices: Devices = 1,
    precision: Precision = "32-true",
    threads: Threads = None,
) -> None:
    """Train and test on every fold of a corpus; resumes when started again."""
    from emofocus.experiments import crossval as run

    fabric = _fabric(accelerator, devices, precision, threads)
    run(corpus, root, out, model, recipe, protocol, epochs, seed, cache, fabric)


@app.command()
def train(
    corpus: CorpusName,
    root: Root,
    out: Out,
    model: Model = "mhsa-faca",
    recipe: RecipeName = "quick",
    protocol: Protocol = "speaker",
    fold: Annotated[int, typer.Option(min=0, help="Which fold's parts to train, validate and test on.")] = 0,
    epochs: Epochs = None,
    seed: Seed = 0,
    cache: Cache = None,
    accelerator: Accelerator = "cpu",
    devices: Devices = 1,
    precision: Precision = "32-true",
    threads: Threads = None,
) -> None:
    """Train one model directory, selected on a validation part; resumes when started again."""
    from emofocus.experiments import train as run

    fabric = _fabric(accelerator, devices, precision, threads)
    run(corpus, root, out, model, recipe, protocol, fold, epochs, seed, cache, fabric)


@app.command()
def export(
    source: Annotated[Path, typer.Argument(help="A fold of a run, or a model directory.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Model directory to write.", show_default=False)],
    packed: Annotated[bool, typer.Option("--packed", help="Store large matrices as int8 rows: a quarter.")] = False,
) -> None:
    """Write model.onnx and the model card, checking that torch and ONNX agree."""
    from emofocus.experiments import export_model

    export_model(source, out, packed)


def _fabric(accelerator: str, devices: int, precision: str, threads: int | None) -> "Fabric":
    from emofocus.experiments import make_fabric

    return make_fabric(accelerator, devices, precision, threads)


def main() -> None:
    """Run the command line; errors that a user can cause end with one line and exit code 1."""
    try:
        app()
    except EmofocusError as error:
        print(f"emofocus: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("emofocus: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
