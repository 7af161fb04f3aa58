"""The commands about results: `emofocus report` and `emofocus compare`."""

from pathlib import Path

import click

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("results", type=FOLDER)
@click.option(
    "-o", "--out", type=FILE, default="docs/results.md", help="Markdown file; figures go to images/ beside it."
)
def report(results: Path, out: Path) -> None:
    """Write tables and figures of all results, computed anew from their predictions.

    RESULTS is a folder with the results of `emofocus crossval`. A summary that is not what its predictions give is an
    error.
    """
    from emofocus.report import write_report

    written = write_report(results, out)
    click.echo(f"{out}, and {len(written) - 1} figures in {out.parent / 'images' / out.stem}")


@click.command()
@click.argument("runs", nargs=-1, required=True, type=FOLDER)
@click.option(
    "--reference", type=FOLDER, show_default="the first RUN", help="The run that the others are tested against."
)
@click.option(
    "-o", "--out", multiple=True, type=FILE, help="A .md, .csv, .png, .svg or .pdf; several times for several."
)
@click.option("--time", "timed", is_flag=True, help="Measure each network's real-time factor, on one thread.")
def compare(runs: tuple[Path, ...], reference: Path | None, out: tuple[Path, ...], timed: bool) -> None:
    """Show runs of one experiment as a leaderboard, with intervals and paired tests.

    RUNS are folders that `emofocus crossval` wrote, on the same corpus and folds: runs that saw anything else are
    refused.
    """
    from emofocus.comparing import compare_runs

    compare_runs(runs, reference, out, timed)
