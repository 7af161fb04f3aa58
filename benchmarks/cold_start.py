"""How long `emofocus predict` takes as a whole process, against importing numpy and onnxruntime alone, in pairs.

Run after ``make demo``: ``.venv-light/bin/python benchmarks/cold_start.py [MODEL_DIRECTORY]``; the shipped model by
default.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAIRS = 15


def seconds(command: list[str]) -> float:
    """Wall-clock time of one process."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Print medians and the ratio."""
    model = [f"--model={path}" for path in sys.argv[1:]]
    clip = ROOT / "examples" / "angry-man.wav"
    predict = [str(Path(sys.executable).with_name("emofocus")), "predict", str(clip), *model]
    imports = [sys.executable, "-c", "import numpy, onnxruntime"]
    pairs = [(seconds(predict), seconds(imports)) for _ in range(PAIRS + 1)][1:]
    mine, least = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratios = sorted(a / b for a, b in pairs)
    print(f"emofocus predict: {1e3 * mine:.0f} ms; import numpy, onnxruntime: {1e3 * least:.0f} ms")
    print(f"ratio: median {statistics.median(ratios):.2f}, from {ratios[0]:.2f} to {ratios[-1]:.2f}")


if __name__ == "__main__":
    main()
