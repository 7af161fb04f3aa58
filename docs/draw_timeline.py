"""Draw the README's picture: a clip's waveform, and what is heard in each half second of it.

Run from the project's root: ``.venv/bin/python docs/draw_timeline.py examples/fast-and-high.wav``.
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

from emofocus import Recognizer, audio

# Okabe and Ito's colours, told apart by the colour-blind, lightest for the mildest emotions.
COLOURS = ["#bbbbbb", "#56b4e9", "#e69f00", "#0072b2", "#d55e00", "#cc79a7", "#009e73", "#f0e442"]


def main(clip: Path, out: Path) -> None:
    """Draw one clip."""
    prediction = Recognizer.from_pretrained()(clip)
    waveform, timeline = audio.load(clip), prediction.timeline
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(9, 4.2), sharex=True, height_ratios=(1, 1.6), layout="constrained"
    )
    top.plot(np.arange(len(waveform)) / audio.SAMPLING_RATE, waveform, color="#333333", linewidth=0.4)
    top.set(yticks=[], ylabel="waveform")
    top.set_title(f"{clip.name}: {prediction.label}, {prediction.scores[prediction.label]:.0%}", loc="left")
    middles = (timeline.starts + timeline.ends) / 2
    bottom.stackplot(middles, 100 * timeline.probabilities.T, labels=timeline.labels, colors=COLOURS, edgecolor="white")
    bottom.set(xlabel="seconds (middle of each half-second segment)", ylabel="probability, %", ylim=(0, 100))
    bottom.set_xlim(0, prediction.duration)
    bottom.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, reverse=True)
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=150)


if __name__ == "__main__":
    source = Path(sys.argv[1] if len(sys.argv) > 1 else "examples/fast-and-high.wav")
    main(source, Path("docs/images/timeline.png"))
