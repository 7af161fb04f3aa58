"""Folders that tests read."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
EXAMPLES = ROOT / "examples"
DATA = ROOT.parent / "shared" / "data"
