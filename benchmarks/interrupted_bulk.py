"""A bulk run that is killed at random moments: is every clip there once, with the same scores?

Run: ``python benchmarks/interrupted_bulk.py FOLDER... [--files 1500] [--kills 10]``. The first clips of the folders,
once in one go and once with SIGKILL in between; prints what the two files of results have in common.
"""

import argparse
import csv
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from emofocus import audio

CODE = "from emofocus.cli.main import main; main()"


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--files", type=int, default=1500)
    parser.add_argument("--kills", type=int, default=10)
    arguments = parser.parse_args()
    files = [str(path.resolve()) for path in audio.find(arguments.folders)][: arguments.files]
    generator = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        manifest, whole, out = (Path(folder) / name for name in ("files.csv", "whole.csv", "out.csv"))
        manifest.write_text("file\n" + "\n".join(files) + "\n")
        began = time.perf_counter()
        subprocess.run(command(manifest, whole), check=True, stderr=subprocess.DEVNULL)
        spent = time.perf_counter() - began
        print(f"{len(files)} files in one go: {spent:.0f} s")
        killed = 0
        while killed < arguments.kills:
            process = subprocess.Popen(command(manifest, out), stderr=subprocess.DEVNULL)
            try:
                code = process.wait(timeout=generator.uniform(0.2, 2 * spent / arguments.kills))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                killed += 1
                print(f"killed after {len(rows(out))} rows")
            else:
                print(f"was through after {killed} kills, with exit code {code}")
                break
        subprocess.run(command(manifest, out), check=True, stderr=subprocess.DEVNULL)
        print(f"rows: {len(rows(out))}; files: {len({row['file'] for row in rows(out)})}")
        print(f"the same bytes as in one go: {out.read_bytes() == whole.read_bytes()}")


def command(manifest: Path, out: Path) -> list[str]:
    """`emofocus predict`, as a process of its own."""
    return [sys.executable, "-c", CODE, "predict", str(manifest), "--format", "csv", "--out", str(out)]


def rows(path: Path) -> list[dict[str, str]]:
    """Of a table that may be cut off."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
