"""What `emofocus audit` does: read a split, look for leaks, show them."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from emofocus.audio.fingerprint import AudioFingerprint
from emofocus.cli.options import ANY_PATH, FOLDER, corpus_options, with_options
from emofocus.corpora import Corpus, read_corpus
from emofocus.corpora.manifest import is_manifest
from emofocus.data.cache import Cache
from emofocus.data.feature_store import fingerprints_of
from emofocus.errors import SplitError
from emofocus.splits.audit import EXAMPLES, LEAKS, WARNINGS, Audit, Offence, audit
from emofocus.splits.formats import read_split, told_by_names
from emofocus.utils.atomic import write_text

WORDS = {
    **LEAKS,
    **WARNINGS,
    "class": "class absent from a part",
    "empty": "part without utterances",
}


def audit_split(
    path: Path,
    corpus: str | None,
    root: Path | None,
    labels: str | None,
    only: Sequence[str],
    listen: bool,
    json_file: Path | None,
    cache: Path | None,
) -> bool:
    """`emofocus audit`: print a table of offenders.

    Returns:
        Whether the split passes.

    Raises:
        EmofocusError: The split or the corpus cannot be read, or do not match.
    """
    split = read_split(path)
    if corpus is None:
        if (split.table["speaker"] == "").all():
            raise SplitError(f"{path} does not tell who speaks; say what it splits with --corpus NAME, --root DIR")
        found = audit(split.table, split.folds)
    elif root is None and not is_manifest(corpus):
        found = audit(told_by_names(split, corpus), split.folds)
    else:
        read = read_corpus(corpus, root, labels, only)
        folds = split.within(read)
        found = audit(read.table, folds, _fingerprints(read, cache) if listen else None)
    show(found, f"{path.name}: {found.folds} {'fold' if found.folds == 1 else 'folds'}")
    if json_file:
        write_text(json_file, json.dumps({"split": path.name, **found.to_plain()}, indent=1) + "\n")
    return found.passed


def _fingerprints(corpus: Corpus, cache: Path | None) -> list[AudioFingerprint]:
    store = Cache(cache)
    try:
        return fingerprints_of(corpus, store)
    finally:
        store.close()


def show(found: Audit, title: str) -> None:
    """Print offenders, one line for each fold and kind, and the verdict."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    table.add_column("folds")
    table.add_column("what")
    table.add_column("how many", justify="right")
    table.add_column("for example")
    for folds, offences in _alike(found.offences):
        color = "red" if offences[0].fails else "yellow"
        where = "all" if len(folds) == found.folds > 1 else " ".join(map(str, folds))
        what = f"[{color}]{'leak' if offences[0].fails else 'warning'}[/]: {WORDS[offences[0].kind]}"
        table.add_row(where, what, str(len(offences)), _examples(offences))
    if found.offences:
        console.print(table)
    if found.unseen:
        console.print(f"not looked at, for want of data: {', '.join(found.unseen)}", style="dim", highlight=False)
    console.print(verdict(found), style="bold green" if found.passed else "bold red", highlight=False)


def verdict(found: Audit) -> str:
    """One sentence."""
    failing = [offence.fold for offence in found.offences if offence.fails]
    if not failing:
        return f"passed: none of {found.folds} folds leaks"
    return f"failed: {len(set(failing))} of {found.folds} folds leak, or lack something"


def _alike(offences: Sequence[Offence]) -> list[tuple[list[int], list[Offence]]]:
    """Folds with the same offenders of one kind, and these in the first of the folds; what fails comes first."""
    by_fold: dict[tuple[int, str], list[Offence]] = {}
    for offence in sorted(offences, key=lambda offence: not offence.fails):
        by_fold.setdefault((offence.fold, offence.kind), []).append(offence)
    alike: dict[tuple[str, ...], list[int]] = {}
    for (fold, kind), found in by_fold.items():
        alike.setdefault((kind, *(offence.value for offence in found)), []).append(fold)
    return [(folds, by_fold[folds[0], kind]) for (kind, *_), folds in alike.items()]


def _examples(offences: Sequence[Offence]) -> str:
    shown = [
        f"{offence.value} ({', '.join(f'{part} {count}' for part, count in offence.parts.items())})"
        if offence.parts
        else offence.value
        for offence in offences[:EXAMPLES]
    ]
    return "; ".join(shown) + ("; …" if len(offences) > EXAMPLES else "")


@click.command("audit")
@click.argument("split", type=ANY_PATH)
@with_options(corpus_options())
@click.option("--listen/--no-listen", default=True, help="Compare the audio too, when there is a corpus.")
@click.option("--json", "json_file", type=ANY_PATH, help="File to write the offences to.")
@click.option("--cache", type=FOLDER, show_default="the user's cache", help="Folder of the cache.")
def audit_command(split: Path, **arguments: Any) -> None:
    """Look for leaks in a split, yours or somebody else's; exit code 1 if it has some.

    SPLIT is a folds.json, a CSV or JSONL with a column `split`, or a folder of lists such as EmoBox' folds.
    """
    if not audit_split(split, **arguments):
        sys.exit(1)
