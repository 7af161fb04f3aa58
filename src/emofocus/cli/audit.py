"""The command `emofocus audit`: look for leaks in a split and show them."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from emofocus.audio.fingerprint import AudioFingerprint
from emofocus.cli.options import ANY_PATH, cache_option, corpus_options, with_options
from emofocus.corpora import Corpus, read_corpus
from emofocus.corpora.manifest import is_manifest
from emofocus.data.cache import Cache
from emofocus.data.feature_store import fingerprints_of
from emofocus.errors import SplitError
from emofocus.splits.audit import EXAMPLES, LEAKS, WARNINGS, Audit, Offence, audit
from emofocus.splits.formats import read_split, utterances_from_names
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
    """Audit a split and print a table of its offences.

    Returns:
        Whether the split passes.

    Raises:
        EmofocusError: The split or the corpus cannot be read, or they do not match.
    """
    split = read_split(path)
    if corpus is None:
        if (split.table["speaker"] == "").all():
            raise SplitError(f"{path} does not tell who speaks; say what it splits with --corpus NAME, --root DIR")
        result = audit(split.table, split.folds)
    elif root is None and not is_manifest(corpus):
        result = audit(utterances_from_names(split, corpus), split.folds)
    else:
        utterances = read_corpus(corpus, root, labels, only)
        fingerprints = _fingerprints(utterances, cache) if listen else None
        result = audit(utterances.table, split.within(utterances), fingerprints)
    show(result, f"{path.name}: {result.folds} {'fold' if result.folds == 1 else 'folds'}")
    if json_file:
        write_text(json_file, json.dumps({"split": path.name, **result.to_plain()}, indent=1) + "\n")
    return result.passed


def _fingerprints(corpus: Corpus, cache: Path | None) -> list[AudioFingerprint]:
    store = Cache(cache)
    try:
        return fingerprints_of(corpus, store)
    finally:
        store.close()


def show(result: Audit, title: str) -> None:
    """Print offences, one line per fold and kind, and the verdict."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    table.add_column("folds")
    table.add_column("what")
    table.add_column("how many", justify="right")
    table.add_column("for example")
    for folds, offences in _alike(result.offences):
        color = "red" if offences[0].fails else "yellow"
        where = "all" if len(folds) == result.folds > 1 else " ".join(map(str, folds))
        what = f"[{color}]{'leak' if offences[0].fails else 'warning'}[/]: {WORDS[offences[0].kind]}"
        table.add_row(where, what, str(len(offences)), _examples(offences))
    if result.offences:
        console.print(table)
    if result.unseen:
        console.print(f"not looked at, for want of data: {', '.join(result.unseen)}", style="dim", highlight=False)
    console.print(verdict(result), style="bold green" if result.passed else "bold red", highlight=False)


def verdict(result: Audit) -> str:
    """Summarize an audit in one line."""
    failing = [offence.fold for offence in result.offences if offence.fails]
    if not failing:
        return f"passed: none of {result.folds} folds leaks"
    return f"failed: {len(set(failing))} of {result.folds} folds leak, or lack something"


def _alike(offences: Sequence[Offence]) -> list[tuple[list[int], list[Offence]]]:
    """Group folds that have the same offences of one kind, failures first.

    Returns:
        Numbers of the folds of each group, and the offences of the first of them.
    """
    by_fold: dict[tuple[int, str], list[Offence]] = {}
    for offence in sorted(offences, key=lambda offence: not offence.fails):
        by_fold.setdefault((offence.fold, offence.kind), []).append(offence)
    alike: dict[tuple[str, ...], list[int]] = {}
    for (fold, kind), group in by_fold.items():
        alike.setdefault((kind, *(offence.value for offence in group)), []).append(fold)
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
@with_options([cache_option()])
def audit_command(split: Path, **arguments: Any) -> None:
    """Look for leaks in a split, yours or somebody else's; exit code 1 if it has some.

    SPLIT is a folds.json, a CSV or JSONL with a column `split`, or a folder of lists such as EmoBox' folds.
    """
    if not audit_split(split, **arguments):
        sys.exit(1)
