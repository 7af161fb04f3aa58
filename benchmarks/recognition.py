"""Recognition on one core: ours beside what a user would pick instead, in one run.

Run: ``python benchmarks/recognition.py [--clips N]``. Each system recognizes the same clips of noise, 3.7 s as RAVDESS'
are, on one thread, in turns; weights of the large ones are random, which costs the same. What is not installed is left
out (``pip install transformers speechbrain opensmile``). Prints Markdown: seconds of one core for a second of audio,
one clip at a time and in batches, the ratio to ours, and parameters.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

from emofocus import Recognizer
from emofocus.export.to_onnx import WaveformClassifier
from emofocus.models.checkpoint import load_network
from emofocus.recognition.bulk import recognize_together
from emofocus.recognition.recognizer import model_folder

RATE, SECONDS, CLASSES, BATCH, ROUNDS = 16_000, 3.7, 8, 8, 3

Run = Callable[[list[np.ndarray]], object]


def ours() -> tuple[Run, Run, float]:
    """The shipped model, as `emofocus predict` runs it."""
    recognizer = Recognizer.from_pretrained(threads=1)
    network, _ = load_network(model_folder(None))
    parameters = sum(item.numel() for item in network.parameters())
    single: Run = lambda clips: [recognize_together(recognizer, [clip]) for clip in clips]  # noqa: E731
    return single, lambda clips: recognize_together(recognizer, clips), parameters


def torch_engine() -> tuple[Run, Run, float]:
    """The same network in torch, features and all."""
    network, config = load_network(model_folder(None))
    whole = WaveformClassifier(network, config).eval()

    @torch.inference_mode()
    def batch(clips: list[np.ndarray]) -> object:
        waveform = torch.from_numpy(np.stack(clips))
        return whole(waveform, torch.full((len(clips),), waveform.shape[1])).logits

    return lambda clips: [batch([clip]) for clip in clips], batch, sum(p.numel() for p in network.parameters())


def straightforward() -> tuple[Run, Run, float]:
    """The same network in torch, one segment at a time, each from its own samples."""
    network, config = load_network(model_folder(None))
    whole = WaveformClassifier(network, config).eval()
    size, hop = ((n - 1) * config.features.hop for n in (config.segment.frames, config.segment.hop + 1))

    @torch.inference_mode()
    def one(clip: np.ndarray) -> object:
        starts = range(0, max(1, len(clip) - size + 1), hop)
        pieces = (torch.from_numpy(clip[start : start + size])[None] for start in starts)
        return [whole(piece, torch.tensor([piece.shape[1]])).logits for piece in pieces]

    run: Run = lambda clips: [one(clip) for clip in clips]  # noqa: E731
    return run, run, sum(p.numel() for p in network.parameters())


def transformer(name: str) -> tuple[Run, Run, float]:
    """A classifier on a base-sized transformer."""
    import transformers

    config = getattr(transformers, f"{name}Config")(num_labels=CLASSES)
    model = getattr(transformers, f"{name}ForSequenceClassification")(config).eval()

    @torch.inference_mode()
    def batch(clips: list[np.ndarray]) -> object:
        return model(torch.from_numpy(np.stack(clips))).logits

    return lambda clips: [batch([clip]) for clip in clips], batch, sum(p.numel() for p in model.parameters())


def ecapa() -> tuple[Run, Run, float]:
    """SpeechBrain's ECAPA-TDNN on 80 mel bands, with a linear classifier, as its IEMOCAP recipe has it."""
    from speechbrain.lobes.features import Fbank
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN

    features, network, classifier = (
        Fbank(n_mels=80),
        ECAPA_TDNN(80, lin_neurons=192).eval(),
        torch.nn.Linear(192, CLASSES),
    )

    @torch.inference_mode()
    def batch(clips: list[np.ndarray]) -> object:
        return classifier(network(features(torch.from_numpy(np.stack(clips)))))

    count = sum(p.numel() for module in (network, classifier) for p in module.parameters())
    return lambda clips: [batch([clip]) for clip in clips], batch, count


def egemaps() -> tuple[Run, Run, float]:
    """OpenSMILE's eGeMAPS functionals and a support vector machine."""
    import opensmile
    from sklearn.svm import SVC

    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals, num_workers=1)
    generator = np.random.default_rng(0)
    machine = SVC().fit(generator.normal(size=(1000, 88)), generator.integers(CLASSES, size=1000))

    def run(clips: list[np.ndarray]) -> object:
        return machine.predict(np.concatenate([smile.process_signal(clip, RATE).to_numpy() for clip in clips]))

    return run, run, float("nan")


SYSTEMS: dict[str, Callable[[], tuple[Run, Run, float]]] = {
    "emofocus, `compact-faca`": ours,
    "the same in torch": torch_engine,
    "the same in torch, segment by segment": straightforward,
    "wav2vec2-base": lambda: transformer("Wav2Vec2"),
    "WavLM-base": lambda: transformer("WavLM"),
    "ECAPA-TDNN (SpeechBrain)": ecapa,
    "eGeMAPS (openSMILE) and an SVM": egemaps,
}


def measured(clips: list[np.ndarray]) -> Iterator[tuple[str, float, float, float]]:
    """Name, seconds for a second of audio one by one and in batches, and parameters."""
    ready = {}
    for name, make in SYSTEMS.items():
        try:
            ready[name] = make()
        except ImportError as error:
            print(f"left out: {name} ({error})")
    for single, batch, _ in ready.values():
        single(clips[:1]), batch(clips[:BATCH])
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ready}
    for _ in range(ROUNDS):
        for name, (single, batch, _) in ready.items():
            times[name].append((taken(single, clips[: max(2, len(clips) // 4)]), taken(batch, clips)))
    for name, rows in times.items():
        yield name, *(statistics.median(column) for column in zip(*rows, strict=True)), ready[name][2]


def taken(run: Run, clips: list[np.ndarray]) -> float:
    """Seconds for a second of audio."""
    began = time.perf_counter()
    for start in range(0, len(clips), BATCH):
        run(clips[start : start + BATCH])
    return (time.perf_counter() - began) / (len(clips) * SECONDS)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=16)
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    count = parser.parse_args().clips
    clips = [generator.normal(0, 0.1, round(SECONDS * RATE)).astype(np.float32) for _ in range(count)]
    rows = list(measured(clips))
    first = rows[0]
    print(f"| system | parameters | one by one | to ours | batches of {BATCH} | to ours |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, single, batch, parameters in rows:
        size = "–" if np.isnan(parameters) else f"{parameters / 1e6:.1f} M"
        print(f"| {name} | {size} | {single:.5f} | {single / first[1]:.1f} | {batch:.5f} | {batch / first[2]:.1f} |")


if __name__ == "__main__":
    main()
