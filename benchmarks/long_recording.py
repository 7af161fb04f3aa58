"""A recording of hours, joined from real clips: memory, speed, and whether its timeline finds what they say.

Run: ``python benchmarks/long_recording.py --corpus ravdess --root DIR [--hours 8] [--pause 1]``. Clips of the model's
test speakers follow each other in random order, with a pause between them, until the hours are full. ``emofocus predict
--timeline`` recognizes the recording as a process of its own. Its answer to a clip is the emotion that takes most of
its time, or that has the highest mean score; beside them stands what `emofocus predict` says of the clip alone.
"""

import argparse
import json
import random
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from emofocus import Recognizer
from emofocus.audio.loading import SAMPLING_RATE
from emofocus.corpora import read_corpus
from emofocus.evaluation.benchmark import watched
from emofocus.metrics.classification import measure
from emofocus.recognition.bulk import recognize_together


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default="ravdess")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--pause", type=float, default=1.0)
    arguments = parser.parse_args()
    recognizer = Recognizer.from_pretrained(threads=1)
    corpus = read_corpus(arguments.corpus, arguments.root)
    told = recognizer.config.training["test_speakers"]
    numbers = [number for number, item in enumerate(corpus.utterances) if item.speaker in told]
    clips = {number: corpus.waveform(number) for number in numbers}
    alone = {number: recognize_together(recognizer, [clip])[0].label for number, clip in clips.items()}
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "hours.flac", Path(folder) / "hours.json"
        placed = write(path, clips, arguments.hours, arguments.pause)
        spent, most = watched(["predict", str(path), "--timeline", "--format", "json", "--out", str(out)])
        spans = json.loads(out.read_text())["timeline"]
    hours = placed[-1][2] / 3600
    print(f"{hours:.2f} hours, {len(placed)} clips, {len(spans)} spans")
    print(f"{spent:.0f} s: {3600 * hours / spent:.0f} times as fast as it lasts; most memory: {most:.0f} MB")
    labels = [corpus.utterances[number].emotion for number, *_ in placed]
    before = [alone[number] for number, *_ in placed]
    answers = {"clips alone": before, "timeline, time": [], "timeline, scores": []}
    for _, start, end in placed:
        times, scores = heard(spans, start, end, corpus.classes)
        answers["timeline, time"].append(corpus.classes[int(times.argmax())])
        answers["timeline, scores"].append(corpus.classes[int(scores.argmax())])
    for name, given in answers.items():
        figures = measure(labels, given, corpus.classes)
        same = np.mean([one == other for one, other in zip(given, before, strict=True)])
        print(f"{name}: WA {100 * figures.wa:.2f}, UA {100 * figures.ua:.2f}, as alone {100 * same:.1f} %")


def write(path: Path, clips: dict[int, np.ndarray], hours: float, pause: float) -> list[tuple[int, float, float]]:
    """The recording, and which clip is where, in seconds."""
    generator, placed, samples = random.Random(0), [], 0
    silence = np.zeros(round(pause * SAMPLING_RATE), np.float32)
    with soundfile.SoundFile(path, "w", SAMPLING_RATE, 1) as file:
        while samples < hours * 3600 * SAMPLING_RATE:
            for number in generator.sample(sorted(clips), len(clips)):
                clip = clips[number]
                file.write(clip)
                placed.append((number, samples / SAMPLING_RATE, (samples + len(clip)) / SAMPLING_RATE))
                file.write(silence)
                samples += len(clip) + len(silence)
                if samples >= hours * 3600 * SAMPLING_RATE:
                    break
    return placed


def heard(spans: list[dict], start: float, end: float, classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Of the time between, what each emotion takes, and the mean of the spans' scores: (C,) each."""
    times, scores = np.zeros(len(classes)), np.zeros(len(classes))
    for span in spans:  # tens of thousands: looking through all of them is quick enough
        share = min(span["end"], end) - max(span["start"], start)
        if span["emotion"] and share > 0:
            times[classes.index(span["emotion"])] += share
            scores += share * np.array([span["scores"][name] for name in classes])
    return times, scores


if __name__ == "__main__":
    main()
