"""The commands `emofocus corpora …`: list, download, check, and write as a manifest."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emofocus.errors import CorpusError, DownloadError, MissingExtraError, one_of

if TYPE_CHECKING:
    import polars as pl

    from emofocus.corpora import Reader
    from emofocus.corpora.check import Report

FOLDER = click.Path(path_type=Path, file_okay=False)
ANY_PATH = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)

root_option = click.option(
    "--root", type=FOLDER, show_default="a manifest's own folder", help="Folder with the corpus in its owner's layout."
)
labels_option = click.option(
    "--labels", show_default="the usual classes", help="A preset (four), or classes: 'happy=hap,exc sad=sad'."
)


@click.group()
def corpora() -> None:
    """Download, check and describe corpora."""


@corpora.command("list")
def list_() -> None:
    """Every corpus that is read in its owner's layout."""
    from emofocus.corpora import CORPORA
    from emofocus.corpora.check_report import columns
    from emofocus.corpora.download import OFFERS

    numbers = ("utter-\nances", "speak-\ners", "class-\nes")
    table = columns(
        "name", "title", *numbers, "lang.", "license", "to get", right=numbers, wrapped=("title", "license")
    )
    table.columns[1].max_width, table.padding = 9, (0, 0)  # so that 80 columns are enough
    for name, reader in CORPORA.items():
        expected, classes = reader.expected, len(set(reader.labels.values()))
        obtained = "download" if name in OFFERS else "request"
        counts = (str(n) for n in (expected.utterances, expected.speakers, classes))
        table.add_row(name, reader.title, *counts, reader.language, reader.license, obtained)
    _console().print(table)
    click.echo("emofocus corpora download NAME gets a corpus, or says where to request it.")
    click.echo("Any other corpus is read from a manifest (CSV or JSONL).")


@corpora.command()
@click.argument("corpus")
@root_option
@labels_option
@click.option("--json", "json_path", type=FILE, help="File for the whole report.")
@click.option("--figure", type=FILE, show_default="CORPUS-overview.png", help="File for the overview: png, pdf, svg.")
@click.option("--no-figure", is_flag=True, help="Draw no overview.")
def check(
    corpus: str, root: Path | None, labels: str | None, json_path: Path | None, figure: Path | None, no_figure: bool
) -> None:
    """Decode a whole corpus and compare it with what its owner says; exit code 1 when something is wrong.

    CORPUS is a name of `emofocus corpora list`, or the path of a manifest.
    """
    from emofocus.corpora.check import inspect
    from emofocus.corpora.check_report import print_report

    if figure:
        _refuse_missing_figures()  # now, and not after minutes of decoding
    table, reader, root, name = _open(corpus, root, labels)
    mapped, mapping = _map_labels(table, reader, labels)
    report = inspect(table, root, name, reader)
    print_report(report, mapping, _console())
    if json_path:
        _write_json(json_path, report)
    if not no_figure:
        _draw(figure or Path(f"{name}-overview.png"), figure is not None, mapped, report, reader, mapping)
    click.echo(report.verdict)
    sys.exit(1 if report.problems else 0)


@corpora.command()
@click.argument("corpus")
@root_option
@click.option("--out", required=True, type=ANY_PATH, help="M.csv, M.jsonl, or a folder for an audformat database.")
@labels_option
@click.option("--only", multiple=True, help="A filter such as style=improvised; may be given several times.")
def manifest(corpus: str, root: Path | None, out: Path, labels: str | None, only: tuple[str, ...]) -> None:
    """Write what a corpus holds as a manifest, with one row an utterance."""
    from emofocus.corpora import CORPORA, read_corpus

    found = read_corpus(corpus, root, labels, only)
    if out.suffix.lower() in (".csv", ".jsonl"):
        from emofocus.corpora.manifest import write_manifest

        write_manifest(found.table, out)
    elif out.suffix and not out.is_dir():
        raise CorpusError(f"--out {out}: {out.suffix!r} is no manifest ({one_of(('.csv', '.jsonl', 'a folder'))})")
    else:
        from emofocus.corpora.audformat import write_audformat

        language = CORPORA[corpus].language if corpus in CORPORA else ""
        write_audformat(found.table, out, found.name, found.license, language)
    click.echo(f"{out}: {len(found)} utterances; their files are below {found.root}")


@corpora.command()
@click.argument("corpus")
@click.option("--out", required=True, type=FOLDER, help="Folder of the corpus: its --root from then on.")
@click.option("--accept-license", is_flag=True, help="You have read the corpus' license and keep to it.")
def download(corpus: str, out: Path, accept_license: bool) -> None:
    """Get a corpus that its owner offers freely; the same command goes on after an interruption."""
    from emofocus.corpora.download import download, license_of, offer_of

    reader = _reader(corpus)
    offer_of(corpus, reader)
    click.echo(license_of(reader))
    if not accept_license:
        raise DownloadError(f"nothing was downloaded: if you keep to this license of {corpus}, add --accept-license")
    done = download(corpus, reader, out)
    if done.unverified:
        click.echo(
            "Its owner publishes no checksum: only the counts below and the archive's own checksums speak for what "
            f"was downloaded. For your records, the archive's SHA-256: {done.unverified}"
        )
    _tell_downloaded(corpus, out, done)


def _tell_downloaded(corpus: str, out: Path, done: Any) -> None:
    if done.differences:
        raise DownloadError(
            f"{corpus} in {out} is not whole: {'; '.join(done.differences)}. "
            "Remove what is there and try again, or see what is wrong: emofocus corpora check"
        )
    click.echo(f"{out}: {corpus} is whole: {done.utterances} utterances")


def _reader(corpus: str) -> "Reader":
    from emofocus.corpora import CORPORA

    if corpus not in CORPORA:
        raise CorpusError(f"unknown corpus {corpus!r} ({one_of(CORPORA)})")
    return CORPORA[corpus]


def _open(corpus: str, root: Path | None, labels: str | None) -> "tuple[pl.DataFrame, Reader | None, Path, str]":
    """All utterances with their owner's labels, the reader if there is one, the root and the name."""
    from emofocus.corpora import CORPORA, read_corpus

    if corpus in CORPORA and root is not None:
        return CORPORA[corpus].read(root), CORPORA[corpus], root, corpus
    found = read_corpus(corpus, root, labels)
    return found.table, None, found.root, found.name


def _map_labels(
    table: "pl.DataFrame", reader: "Reader | None", labels: str | None
) -> "tuple[pl.DataFrame, dict[str, str]]":
    """The utterances that a class takes, and label → class; a manifest's labels are classes already."""
    from emofocus.corpora.labels import apply_labels, label_map, presets_of

    if reader is None:
        return table, {label: label for label in table["emotion"].unique().sort()}
    mapping = dict(label_map(labels, presets_of(reader)))
    unknown = [label for label in mapping if label not in reader.expected.labels]
    if unknown:
        raise CorpusError(f"{reader.title} has no label {unknown[0]!r} ({one_of(reader.expected.labels)})")
    return apply_labels(table, mapping)[0], mapping


def _write_json(path: Path, report: "Report") -> None:
    import msgspec

    from emofocus.utils.atomic import write_text

    write_text(path, msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n")
    click.echo(f"Report: {path}")


def _draw(
    path: Path,
    asked: bool,
    table: "pl.DataFrame",
    report: "Report",
    reader: "Reader | None",
    mapping: dict[str, str],
) -> None:
    from emofocus.corpora.figure import write_overview

    try:
        title = reader.title if reader else report.corpus
        write_overview(path, table, report.seconds, title, tuple(dict.fromkeys(mapping.values())))
        click.echo(f"Overview: {path}")
    except MissingExtraError as error:
        if asked:
            raise
        click.echo(f"no overview was drawn: {error}", err=True)


def _refuse_missing_figures() -> None:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "figures")


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)
