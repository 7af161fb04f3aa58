"""Draw the README's picture: clips one after the other, and what is heard in each two seconds of them.

Run from the project's root: ``.venv/bin/python docs/draw_examples.py examples/*.wav``.
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

from emofocus import Recognizer, audio
from emofocus.utils.plotting import EMOTIONS


def main(clips: list[Path], out: Path) -> None:
    """Draw clips as if they were one."""
    parts = [audio.load(clip) for clip in clips]
    waveform = np.concatenate(parts)
    prediction = Recognizer.from_pretrained()({"array": waveform, "sampling_rate": audio.SAMPLING_RATE})
    timeline = prediction.timeline
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(9, 4.2), sharex=True, height_ratios=(1, 1.6), layout="constrained"
    )
    top.plot(np.arange(len(waveform)) / audio.SAMPLING_RATE, waveform, color="#333333", linewidth=0.4)
    top.set(yticks=[], ylabel="waveform")
    edges = np.cumsum([0, *(len(part) for part in parts)]) / audio.SAMPLING_RATE
    for clip, start, end in zip(clips, edges, edges[1:], strict=False):
        top.text((start + end) / 2, 1.02, clip.name, transform=top.get_xaxis_transform(), ha="center", va="bottom")
        for axes in (top, bottom):
            axes.axvline(end, color="black", linewidth=0.8, linestyle=":")
    middles = (timeline.starts + timeline.ends) / 2
    bottom.stackplot(
        middles, 100 * timeline.probabilities.T, labels=timeline.labels, colors=EMOTIONS, edgecolor="white"
    )
    bottom.set(xlabel="seconds (middle of each two-second segment)", ylabel="probability, %", ylim=(0, 100))
    bottom.set_xlim(0, prediction.duration)
    bottom.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, reverse=True)
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=150)


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]], Path("docs/images/examples.png"))
