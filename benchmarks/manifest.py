"""A manifest of a million utterances: time and memory to load, split by speaker and audit it, each in its own process.

Run: ``python benchmarks/manifest.py``. Makes the manifest in a temporary folder (5,000 speakers, 8 emotions) and prints
a Markdown table. Memory is the peak of the process, less its peak when all is imported; ``--files`` also makes the
files and has them looked for.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from emofocus.corpora import Corpus
from emofocus.corpora.corpus import SCHEMA
from emofocus.corpora.manifest import SUFFIXES, read_manifest, write_manifest
from emofocus.splits.audit import audit
from emofocus.splits.protocols import make_folds

ROWS, SPEAKERS, SESSIONS = 1_000_000, 5_000, 10
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")


def made(rows: int) -> pl.DataFrame:
    """A table like a large corpus'."""
    row, speaker = pl.int_range(rows), pl.int_range(rows) % SPEAKERS
    session = row // SPEAKERS % SESSIONS
    filled = {
        "file": pl.format("speaker{}/session{}/utterance{}.wav", speaker, session, row),
        "emotion": (row % len(EMOTIONS)).replace_strict(dict(enumerate(EMOTIONS)), return_dtype=pl.String),
        "speaker": pl.format("speaker{}", speaker),
        "gender": pl.when(speaker % 2 == 0).then(pl.lit("female")).otherwise(pl.lit("male")),
        "text": pl.format("Kids are talking by the door, and this is sentence {}.", row),
        "session": pl.format("pair{}/session{}", speaker // 2, session),
    }
    table = pl.select(**filled, key=pl.format("speaker{}/session{}/utterance{}", speaker, session, row))
    empty = {name: None if name in ("start", "end") else "" for name in SCHEMA if name not in table.columns}
    return table.with_columns(pl.lit(value).alias(name) for name, value in empty.items()).select(*SCHEMA).cast(SCHEMA)


def load(path: Path, root: Path | None, protocol: str | None) -> None:
    """Load in this process, perhaps split and audit, and print seconds and MB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    table = read_manifest(path, check_files=root)
    if protocol:
        corpus = Corpus("made", path.parent, tuple(sorted(EMOTIONS)), table, "none")
        found = audit(table, make_folds(corpus, protocol, seed=0))
        assert found.passed == (protocol != "random"), found.summary()
    seconds = time.perf_counter() - started
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{len(table):,} | {seconds:.2f} | {megabytes:.0f} |")


def alone(*arguments: str) -> str:
    """Run this file in a new process, as the peak of a process is never taken back; what it prints."""
    return subprocess.run(
        [sys.executable, __file__, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def make(folder: Path, rows: int, files: bool) -> None:
    """Write the manifests and, if wanted, the files."""
    table = made(rows)
    for suffix in SUFFIXES:
        write_manifest(table, folder / f"manifest{suffix}")
    if files:
        for parent in table.select(pl.col("file").str.extract("^(.*)/").unique()).to_series():
            (folder / parent).mkdir(parents=True, exist_ok=True)
        for file in table["file"]:
            (folder / file).touch()


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--files", action="store_true", help="make empty files and have them looked for, too")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--protocol", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        return make(arguments.make, arguments.rows, arguments.files)
    if arguments.load:
        return load(arguments.load, arguments.root, arguments.protocol)
    print("| step | file, MB | utterances | seconds | memory, MB |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        alone("--make", folder, "--rows", str(arguments.rows), *(["--files"] if arguments.files else []))
        steps = [(f"load {suffix[1:].upper()}", suffix, ()) for suffix in SUFFIXES]
        steps += [
            (f"load CSV, split by protocol {name}, audit", ".csv", ("--protocol", name))
            for name in ("speaker", "random")
        ]
        if arguments.files:
            steps.append(("load CSV, look for all files", ".csv", ("--root", folder)))
        for step, suffix, options in steps:
            path = Path(folder) / f"manifest{suffix}"
            print(f"| {step} | {path.stat().st_size / 1e6:.0f} | {alone('--load', str(path), *options)}", flush=True)
    return None


if __name__ == "__main__":
    main()
