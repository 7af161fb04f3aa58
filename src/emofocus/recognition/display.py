"""Predictions in notebooks: bars, strips, tables and players as HTML, and figures of matplotlib."""

import base64
import io
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from emofocus import audio
from emofocus.errors import AudioError, MissingExtraError
from emofocus.recognition.prediction import Prediction, Predictions, Timeline
from emofocus.utils.plotting import BLUE, EMOTIONS, GREY, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from emofocus.recognition.explanation.explanation import Explanation

PLAYED_SECONDS = 30.0
"""Longest clip that has a player: its samples are in the page."""

SHOWN_CLIPS = 20
"""Clips that a table shows."""

SHOWN_SEGMENTS = 400
"""Pieces of a strip at most; a longer timeline is thinned out."""

BAR = (
    '<div style="display:flex;align-items:center;gap:.5em;line-height:1.5">'
    '<span style="width:7em;text-align:right;{weight}">{label}</span>'
    '<span style="width:14em;background:rgba(128,128,128,.15);border-radius:2px">'
    '<span style="display:block;height:.8em;border-radius:2px;width:{share:.1f}%;background:{color}"></span></span>'
    "<span>{share:.0f} %</span></div>"
)


# HTML


def prediction_html(prediction: Prediction) -> str:
    """Bars of all emotions, faults of the recording, and a player of a short clip."""
    bars = "".join(
        BAR.format(
            label=escape(label),
            share=100 * score,
            color=BLUE if label == prediction.label else GREY,
            weight="font-weight:bold" if label == prediction.label else "",
        )
        for label, score in prediction.top_k(len(prediction.scores)).items()
    )
    sure = "" if prediction.confident else " (unsure)"
    head = f"<b>{escape(prediction.label)}</b>{sure}, {prediction.duration:g} s"
    faults = "".join(f"<div>! {escape(str(notice))}</div>" for notice in prediction.notices)
    return f'<div style="font-size:90%">{head}{bars}{faults}{player(prediction)}</div>'


def player(prediction: Prediction) -> str:
    """A player of a clip of up to `PLAYED_SECONDS`; nothing where the clip cannot be read again."""
    if prediction.source is None or prediction.duration > PLAYED_SECONDS:
        return ""
    try:
        waveform = audio.load(prediction.source, warn=lambda _: None)
    except AudioError:  # the file is gone, or was a stream
        return ""
    kind, content = encoded(waveform)
    address = f"data:audio/{kind};base64,{base64.b64encode(content).decode()}"
    return f'<audio controls style="height:2em;max-width:22em" src="{address}"></audio>'


def encoded(waveform: audio.Waveform) -> tuple[str, bytes]:
    """Kind and bytes of a file that browsers play: MP3, or WAV where soundfile has no MP3."""
    import soundfile

    kind = "mpeg" if "MP3" in soundfile.available_formats() else "wav"
    file = io.BytesIO()
    soundfile.write(file, waveform.clip(-1, 1), audio.SAMPLING_RATE, format="MP3" if kind == "mpeg" else "WAV")
    return kind, file.getvalue()


def timeline_html(timeline: Timeline) -> str:
    """A strip with the likeliest emotion of each segment, and what its colors mean."""
    colors = colors_of(timeline.labels)
    step = max(1, -(-len(timeline) // SHOWN_SEGMENTS))
    shown = [timeline[number] for number in range(0, len(timeline), step)]
    pieces = "".join(
        f'<span title="{escape(f"{item.start:g}–{item.end:g} s: {item.label} {item.scores[item.label]:.0%}")}" '
        f'style="flex:1;background:{colors[item.label]}"></span>'
        for item in shown
    )
    legend = " ".join(
        f'<span style="white-space:nowrap"><span style="color:{colors[label]}">■</span> {escape(label)}</span>'
        for label in timeline.labels
        if any(item.label == label for item in shown)
    )
    strip = f'<div style="display:flex;height:1.5em;max-width:40em">{pieces}</div>'
    return f'<div style="font-size:90%">{escape(repr(timeline))}{strip}{legend}</div>'


def predictions_html(predictions: Predictions[Any]) -> str:
    """A table of the first clips, and how many there are."""
    rows = "".join(_rows(predictions))
    left = len(predictions) - SHOWN_CLIPS
    more = f"<div>… and {left} more: to_frame() has all</div>" if left > 0 else ""
    head = "<tr><th>file</th><th>emotion</th><th>probability</th><th>seconds</th></tr>"
    return f"<div>{escape(repr(predictions))}<table>{head}{rows}</table>{more}</div>"


def _rows(predictions: Predictions[Any]) -> Iterator[str]:
    for name, item in zip(predictions.names[:SHOWN_CLIPS], predictions, strict=False):
        if isinstance(item, Prediction):
            sure = "" if item.confident else "?"
            cells = (name, item.label + sure, f"{item.probability:.0%}", f"{item.duration:g}")
            yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        else:
            yield f'<tr><td>{escape(name)}</td><td colspan="3">{escape(str(item))}</td></tr>'


def colors_of(labels: tuple[str, ...]) -> dict[str, str]:
    """Color of each emotion."""
    return {label: EMOTIONS[number % len(EMOTIONS)] for number, label in enumerate(labels)}


# Figures


def axes_or_new(axes: "Axes | None", width: float, height: float) -> "Axes":
    """The given axes, or new ones of a size in inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    if axes is not None:
        return axes
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingExtraError("matplotlib", "notebook") from error
    return pyplot.subplots(figsize=(width, height), layout="constrained")[1]


def plot_scores(prediction: Prediction, axes: "Axes | None" = None) -> "Axes":
    """A bar for the probability of each emotion, the likeliest on top."""
    axes = axes_or_new(axes, 5, 0.35 * len(prediction.scores) + 0.8)
    scores = prediction.top_k(len(prediction.scores))
    colors = [BLUE if label == prediction.label else GREY for label in scores]
    axes.barh(list(scores), list(scores.values()), color=colors)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="probability", title=prediction.label + ("" if prediction.confident else " (unsure)"))
    return axes


def plot_timeline(timeline: Timeline, axes: "Axes | None" = None) -> "Axes":
    """The probability of each emotion over time, one upon the other; segments without speech are blank."""
    axes = axes_or_new(axes, 8, 3)
    middles = (timeline.starts + timeline.ends) / 2
    colors = colors_of(timeline.labels)
    shares = np.where(timeline.speech, timeline.probabilities.T, np.nan)
    if len(timeline) == 1:  # an area needs two points
        middles, shares = np.array([timeline.starts[0], timeline.ends[0]]), np.repeat(shares, 2, axis=1)
    axes.stackplot(middles, shares, labels=timeline.labels, colors=[colors[label] for label in timeline.labels])
    axes.set(xlabel="seconds", ylabel="probability", ylim=(0, 1), xlim=(middles[0], middles[-1]))
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return axes


def plot_explanation(explanation: "Explanation", axes: "Axes | None" = None) -> "Axes":
    """Attention over time, 1 for an even share, above the loudness of the clip; a line marks the loudest moment."""
    axes = axes_or_new(axes, 8, 3)
    loudness = explanation.amplitude / max(float(explanation.amplitude.max()), 1e-9)
    highest = float(np.nanmax(explanation.attention))
    axes.fill_between(explanation.frames, highest * loudness, color=GREY, alpha=0.3, label="loudness", linewidth=0)
    axes.plot(explanation.frames, explanation.attention, color=BLUE, label="attention")
    axes.axvline(explanation.loudest, color=ORANGE, linestyle=":", label="loudest moment")
    axes.set(xlabel="seconds", ylabel="attention, of an even share", title=explanation.prediction.label)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return axes
