"""Made-up corpora in folders of their own, for what works on several corpora at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

CLASSES = ("neutral", "happy", "sad", "angry")
HERTZ = {"neutral": 200, "calm": 210, "happy": 500, "sad": 120, "angry": 350, "fear": 650, "surprised": 800}


def plant_corpora(root: Path, labels: Mapping[str, Sequence[str]], speakers: int = 4, takes: int = 2) -> Path:
    """Folders ``root/NAME`` with a `manifest.csv` and noisy tones, whose pitch tells the label.

    Half of the speakers are women. Speakers of different corpora have the same names.

    Args:
        root: Folder of the corpora.
        labels: Labels of each corpus.
        speakers: Speakers of each corpus.
        takes: Clips of each speaker and label.
    """
    for place, (name, own) in enumerate(labels.items()):
        lines = ["file,emotion,speaker,gender,language"]
        for speaker in range(speakers):
            for label in own:
                for take in range(takes):
                    file = f"audio/{speaker}-{label}-{take}.wav"
                    seed = [place, speaker, take, HERTZ[label]]
                    write_tone(root / name / file, HERTZ[label] * (1 + 0.02 * speaker), seed)
                    lines.append(f"{file},{label},{speaker},{'female' if speaker % 2 else 'male'},{name[:2]}")
        (root / name / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def write_tone(path: Path, hertz: float, seed: Sequence[int]) -> None:
    """A tone in noise, 0.75 s."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(12_000) / 16_000
    noise = np.random.default_rng(seed).normal(0, 0.03, len(time))
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * time) + noise, 16_000)
