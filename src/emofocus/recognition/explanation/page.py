"""Page of an explanation: one HTML file that needs no other, to hover, play and zoom."""

import base64
import html
import io
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofocus.audio.loading import SAMPLING_RATE
from emofocus.audio.samples import Waveform
from emofocus.recognition.explanation.explanation import Explanation
from emofocus.recognition.explanation.figures import caption, heading
from emofocus.utils.atomic import write_text
from emofocus.utils.plotting import EMOTIONS

ENVELOPE_COLUMNS = 4000
"""Number of columns of a waveform."""


def write_page(explanations: Sequence[Explanation], path: Path) -> None:
    """Write the page of one clip.

    Args:
        explanations: Explanations of one clip, one for each model.
        path: File to write.
    """
    first = explanations[0]
    name = Path(first.name).name
    data = {
        "name": name,
        "start": first.start,
        "end": first.end,
        "loudest": first.loudest,
        "labels": first.prediction.timeline.labels,
        "colors": EMOTIONS,
        "envelope": envelope(first.waveform),
        "audio": f"data:audio/flac;base64,{_flac(first.waveform)}",
        "models": [_model(item) for item in explanations],
    }
    template = (resources.files("emofocus.recognition.explanation") / "page.html").read_text(encoding="utf-8")
    # "</" would end the script that holds the data.
    text = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    title = html.escape(f"{name}: {heading(first)}")
    write_text(path, template.replace("@@TITLE@@", title).replace("@@DATA@@", text))


def envelope(waveform: Waveform) -> list[list[float]]:
    """Lowest and highest sample of each column, over the largest absolute sample."""
    columns = np.array_split(waveform, min(ENVELOPE_COLUMNS, len(waveform)))
    top = float(np.abs(waveform).max())
    return [[round(float(part.min()) / top, 3), round(float(part.max()) / top, 3)] for part in columns]


def _flac(waveform: Waveform) -> str:
    import soundfile

    stream = io.BytesIO()
    soundfile.write(stream, waveform.clip(-1, 1), SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    return base64.b64encode(stream.getvalue()).decode()


def _model(explanation: Explanation) -> dict[str, Any]:
    """Data of the page for one model."""
    timeline = explanation.prediction.timeline
    tops = explanation.maps.max(axis=(2, 3))  # (K, h)
    return {
        "model": explanation.model,
        "heading": heading(explanation),
        "caption": caption(explanation),
        "first": explanation.start,
        "hop": float(explanation.frames[1] - explanation.frames[0]) if len(explanation.frames) > 1 else 1.0,
        "attention": _plain(explanation.attention),
        "size": explanation.features.shape[1],
        "groups": explanation.feature_groups,
        "features": _bytes(explanation.brightness),
        "starts": _plain(timeline.starts),
        "ends": _plain(timeline.ends),
        "probabilities": _plain(timeline.probabilities),
        "speech": timeline.speech.tolist(),
        "peakPositions": explanation.peak_positions.tolist(),
        "centre": _plain(explanation.centre),
        "scope": _plain(explanation.scope),
        "gates": _plain(explanation.gates),
        "heads": explanation.heads,
        "positions": explanation.maps.shape[2],
        "position": explanation.position_seconds,
        "mapped": explanation.mapped.tolist(),
        "tops": tops.tolist(),
        "maps": _bytes(explanation.maps / tops[:, :, None, None]),
    }


def _plain(values: NDArray[Any] | None) -> Any:
    """Numbers with four decimals; None for NaN and for a missing array."""
    if values is None:
        return None
    if values.ndim == 1:
        return [None if np.isnan(value) else round(float(value), 4) for value in values]
    return [_plain(row) for row in values]


def _bytes(shares: NDArray[Any]) -> str:
    """Values from 0 to 1 in 255 steps, as base64."""
    whole = np.round(np.clip(shares, 0, 1) * 255).astype(np.uint8)
    return base64.b64encode(whole.tobytes()).decode()
