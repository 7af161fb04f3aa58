"""The command `emofocus report`."""

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
