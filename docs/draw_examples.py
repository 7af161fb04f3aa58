"""Draw the README's picture: each example's waveform, where attention fell, and the answer beside what was acted.

Run from the project's root: ``.venv/bin/python docs/draw_examples.py``.
"""

from pathlib import Path
from typing import Any

import numpy as np

from emofocus import Recognizer
from emofocus.audio.loading import SAMPLING_RATE
from emofocus.recognition.explanation.explanation import Explanation
from emofocus.recognition.explanation.figures import edges_of
from emofocus.utils.plotting import EMOTIONS, MAP, blank, style

ROOT = Path(__file__).parent.parent
OUT = ROOT / "docs" / "images" / "examples.png"
RIGHT, WRONG = "#00694d", "#b03a00"
BARS = 3
"""Emotions that are shown of each clip, the likeliest first."""


def draw(explanations: dict[str, Explanation]) -> Any:
    """Draw a column for each clip, whose name begins with the emotion that was acted."""
    figure = blank(3.9, 10.4)
    rows = figure.subplots(3, len(explanations), sharex="row", squeeze=False, height_ratios=(1.0, 0.16, 1.0))
    longest = max(explanation.end for explanation in explanations.values())
    for column, (name, explanation) in enumerate(explanations.items()):
        waveform, attention, bars = rows[:, column]
        draw_sound(explanation, waveform, attention, longest)
        draw_answer(explanation, bars, name.split("-")[0])
        waveform.set_title(name, fontsize=12, fontweight="bold")
        if not column:
            waveform.set_ylabel("sound", fontsize=9)
            attention.set_ylabel("attention", fontsize=9, rotation=0, ha="right", va="center")
            bars.set_ylabel("answer", fontsize=9)
    return figure


def draw_sound(explanation: Explanation, waveform: Any, attention: Any, seconds: float) -> None:
    """Draw the samples over seconds, and below them how much attention each moment got."""
    times = np.arange(len(explanation.waveform)) / SAMPLING_RATE
    waveform.plot(times, explanation.waveform, color="#333333", linewidth=0.4)
    waveform.set(xlim=(0, seconds), xticks=[], yticks=[])
    waveform.spines[:].set_visible(False)
    edges = edges_of(explanation.frames, explanation.start, explanation.end)
    attention.pcolormesh(edges, [0, 1], explanation.attention[None], cmap=MAP, vmin=0)
    attention.set(xlim=(0, seconds), yticks=[], xticks=[0, 1, 2])
    attention.set_xlabel("seconds", fontsize=8, labelpad=1)
    attention.tick_params(labelsize=8, length=2)
    attention.spines[["left", "top", "right"]].set_visible(False)


def draw_answer(explanation: Explanation, axes: Any, acted: str) -> None:
    """Draw the probabilities of the likeliest emotions, and say whether the answer is right."""
    found = explanation.prediction
    colors = dict(zip(found.scores, EMOTIONS, strict=False))
    likeliest = sorted(found.scores, key=found.scores.__getitem__, reverse=True)[:BARS]
    for row, label in enumerate(likeliest):
        score = found.scores[label]
        axes.barh(row, 1, height=0.62, color="#eeeeee")
        axes.barh(row, score, height=0.62, color=colors[label], alpha=0.85)
        axes.text(0.03, row, f"{label} {score:.0%}", va="center", fontsize=10)
    right = found.label == acted
    words = f"{'sure' if found.confident else 'unsure'} {'and' if found.confident is right else 'but'} "
    axes.set_title(words + ("right" if right else "wrong"), fontsize=10.5, color=RIGHT if right else WRONG)
    axes.set(xlim=(0, 1), ylim=(BARS - 0.5, -0.5), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def main() -> None:
    """Draw the clips of `examples/`."""
    recognizer = Recognizer.from_pretrained()
    with style():
        clips = sorted((ROOT / "examples").glob("*.wav"))
        figure = draw({clip.stem: recognizer.explain(clip) for clip in clips})
        figure.savefig(OUT, dpi=150, metadata={"Software": None})


if __name__ == "__main__":
    main()
