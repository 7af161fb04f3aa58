"""The commands `emofocus corpora`: list, check, manifest and download."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emofocus.cli.interruption import resumes
from emofocus.cli.options import ANY_PATH, FILE, FOLDER, labels_option, only_option, root_option, with_options
from emofocus.errors import CorpusError, DownloadError, MissingExtraError, one_of

if TYPE_CHECKING:
    from emofocus.corpora import Reader
    from emofocus.corpora.check import Report
    from emofocus.corpora.download import Downloaded


@click.group()
def corpora() -> None:
    """Download, check and describe corpora."""


@corpora.command("list")
def list_() -> None:
    """List every corpus that is read in its owner's layout."""
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
        counts = ("?" if n is None else str(n) for n in (expected.utterances, expected.speakers, classes))
        table.add_row(name, reader.title, *counts, reader.language, reader.license, obtained)
    _console().print(table)
    click.echo("?: its owner does not say, or says another number with each release.")
    click.echo("emofocus corpora download NAME gets a corpus, or says where to request it.")
    click.echo("Any other corpus is read from a manifest (CSV or JSONL).")


@corpora.command()
@click.argument("corpus")
@with_options([root_option(), labels_option()])
@click.option("--json", "json_path", type=FILE, help="File for the whole report.")
@click.option("--figure", type=FILE, help="File for a figure of the corpus: .png, .pdf or .svg.")
def check(corpus: str, root: Path | None, labels: str | None, json_path: Path | None, figure: Path | None) -> None:
    """Decode a whole corpus and compare it with its owner's counts; exit code 1 when something is wrong.

    CORPUS is a name of `emofocus corpora list`, or the path of a manifest.
    """
    from emofocus.corpora import read_labeled
    from emofocus.corpora.check import inspect
    from emofocus.corpora.check_report import print_report
    from emofocus.corpora.labels import apply_labels, classes_of

    if figure:
        _refuse_figure(figure)  # before minutes of decoding
    source = read_labeled(corpus, root, labels)
    mapped, _ = apply_labels(source.table, source.labels)
    report = inspect(source.table, source.root, source.name, source.reader)
    print_report(report, source.labels, _console())
    if json_path:
        _write_json(json_path, report)
    if figure:
        from emofocus.corpora.figure import write_overview

        title = source.reader.title if source.reader else report.corpus
        write_overview(figure, mapped, report.seconds, title, classes_of(source.labels))
        click.echo(f"Overview: {figure}")
    click.echo(report.verdict)
    sys.exit(1 if report.problems else 0)


@corpora.command()
@click.argument("corpus")
@click.option("--out", required=True, type=ANY_PATH, help="M.csv, M.jsonl, or a folder for an audformat database.")
@with_options([root_option(), labels_option(), only_option()])
def manifest(corpus: str, root: Path | None, out: Path, labels: str | None, only: tuple[str, ...]) -> None:
    """Write a corpus as a manifest, with one row per utterance."""
    from emofocus.corpora import CORPORA, read_corpus

    selected = read_corpus(corpus, root, labels, only)
    if out.suffix.lower() in (".csv", ".jsonl"):
        from emofocus.corpora.manifest import write_manifest

        write_manifest(selected.table, out)
    elif out.suffix and not out.is_dir():
        raise CorpusError(f"--out {out}: {out.suffix!r} is no manifest ({one_of(('.csv', '.jsonl', 'a folder'))})")
    else:
        from emofocus.corpora.audformat import write_audformat

        language = CORPORA[corpus].language if corpus in CORPORA else ""
        write_audformat(selected.table, out, selected.name, selected.license, language)
    click.echo(f"{out}: {len(selected)} utterances; their files are below {selected.root}")


@corpora.command()
@click.argument("corpus")
@click.option("--out", required=True, type=FOLDER, help="Folder of the corpus: its --root from then on.")
@click.option("--accept-license", is_flag=True, help="You have read the corpus' license and keep to it.")
@resumes
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
    _report_download(corpus, out, done)


def _report_download(corpus: str, out: Path, done: "Downloaded") -> None:
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


def _write_json(path: Path, report: "Report") -> None:
    import msgspec

    from emofocus.utils.atomic import write_text

    write_text(path, msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n")
    click.echo(f"Report: {path}")


def _refuse_figure(path: Path) -> None:
    """Refuse a figure of an unknown format (ConfigError), or without what draws it (MissingExtraError)."""
    from importlib.util import find_spec

    from emofocus.corpora.figure import FORMATS
    from emofocus.utils.file_formats import suffix_of

    suffix_of(path, FORMATS)
    if find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "figures")


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)
