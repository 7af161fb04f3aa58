"""`emofocus cache`: how full the cache of features is."""

from pathlib import Path

import click

from emofocus.cli.options import FOLDER


@click.group(invoke_without_command=True)
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
