"""Export of a whole model directory: `emofocus export`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofocus.config import ModelConfig, load_model_config, to_plain
from emofocus.corpora import Corpus, read_corpus
from emofocus.errors import ConfigError
from emofocus.export.model_card import model_card
from emofocus.export.quantization import FIXED, Agreement, write_fixed, write_fp16, write_int8
from emofocus.export.to_onnx import export
from emofocus.models.checkpoint import WEIGHTS, network_tensors, pack, tensors_hash, unpack
from emofocus.recognition.engine import PRECISION_FILES
from emofocus.splits.protocols import PROTOCOLS, make_folds
from emofocus.utils.atomic import write_text
from emofocus.utils.progress import log_line
from emofocus.utils.provenance import refuse_other_work

CLIPS = 64
"""Number of the corpus' clips on which int8 ranges are calibrated and graphs are checked."""


def export_model(
    source: Path,
    out: Path,
    packed: bool = False,
    embeddings: Path | None = None,
    int8: bool = False,
    fp16: bool = False,
    fixed: bool = False,
    corpus: str | None = None,
    root: Path | None = None,
    labels: str | None = None,
    only: Sequence[str] = (),
) -> None:
    """Write a model directory with the requested graphs; graphs of an earlier export are removed.

    Args:
        source: A trained fold, or a model directory.
        out: Model directory to write.
        packed: Store large matrices as int8 rows, as in `export`.
        embeddings: ONNX file of the speaker extractor, as in `export`.
        int8: Also write `model-int8.onnx`.
        fp16: Also write `model-fp16.onnx`.
        fixed: Also write `model-fixed.onnx`.
        corpus: Corpus that the model was trained on, for int8 and fp16, as in `read_corpus`.
        root: Folder of the corpus.
        labels: Label map, as in `read_corpus`.
        only: Filters, as in `read_corpus`.

    Raises:
        ConfigError: int8 or fp16 is combined with packed, lacks a corpus, or the corpus holds only test speakers.
        ModelError: As in `export`, or a graph answers otherwise than `model.onnx`.
    """
    _refuse_other_model(source, out)
    clips: list[NDArray[np.float32]] = []
    if int8 or fp16:
        if packed:
            raise ConfigError("--packed and --int8 or --fp16 exclude each other: each stores weights in its own way")
        if corpus is None:
            raise ConfigError("--int8 and --fp16 need --corpus: speech to calibrate on, and to check on")
        data = read_corpus(corpus, root, labels, only)
        known = training_part(data, load_model_config(source / "config.json"))
        clips = [data.waveform(int(number)) for number in known[:: max(1, len(known) // CLIPS)][:CLIPS]]
    export(source, out, packed, embeddings)
    requested = {PRECISION_FILES["int8"]: int8, PRECISION_FILES["fp16"]: fp16, FIXED: fixed}
    for file in (name for name, wanted in requested.items() if not wanted and (out / name).exists()):
        (out / file).unlink()  # of an earlier export, whose weights may differ
        log_line(f"{out / file}: removed, as it was not asked for again")
    config = load_model_config(out / "config.json")
    agreements: dict[str, Agreement] = {}
    if int8:
        agreements["int8"] = write_int8(out, config, clips)
    if fp16:
        agreements["fp16"] = write_fp16(out, config, clips)
    if fixed:
        write_fixed(out, config)
    for precision, agreement in agreements.items():
        file = PRECISION_FILES[precision]
        log_line(
            f"{file}: {_megabytes(out / file)}; of segments of {len(clips)} clips it answers "
            f"{agreement.same:.1%} as model.onnx does; probabilities differ by {agreement.mean:.2g} on average, "
            f"{agreement.largest:.2g} at most"
        )
    write_card(out, config)
    log_line(f"model directory: {out}")


def write_card(folder: Path, config: ModelConfig) -> None:
    """Write the card of a model directory, with the sizes of the graphs that it holds.

    Args:
        folder: Model directory with `model.onnx`.
        config: Its configuration.
    """
    further = (PRECISION_FILES["int8"], PRECISION_FILES["fp16"], FIXED)
    sizes = {file: _megabytes(folder / file) for file in further if (folder / file).exists()}
    write_text(folder / "README.md", model_card(config, (folder / PRECISION_FILES["fp32"]).stat().st_size, sizes))


def _refuse_other_model(source: Path, out: Path) -> None:
    """Refuse a model directory that holds another model: other weights, corpus, seed, fold, settings or figures.

    Raises:
        ConfigError: It does.
        ModelError: Its weights, or those of the source, cannot be read.
    """
    if source.resolve() == out.resolve() or not (out / "config.json").exists():
        return
    there, wanted = (to_plain(load_model_config(folder / "config.json")) for folder in (out, source))
    if (out / WEIGHTS).exists():
        held = network_tensors(out)
        given = unpack(network_tensors(source))
        packed = len(unpack(held)) < len(held)
        there["weights"], wanted["weights"] = tensors_hash(held), tensors_hash(pack(given) if packed else given)
    refuse_other_work(out, there, wanted)


def training_part(corpus: Corpus, config: ModelConfig) -> NDArray[np.int64]:
    """Positions of the utterances that a model was trained on.

    If its folds cannot be made again, these are all utterances except its test speakers'.

    Raises:
        ConfigError: No utterance is known to be outside of the test part.
    """
    training: dict[str, Any] = config.training
    tested = set(training.get("test_speakers", ()))
    if training.get("corpus") == corpus.name and training.get("protocol") in PROTOCOLS:
        fold = make_folds(corpus, training["protocol"], training.get("folds_seed", training["seed"]))[training["fold"]]
        for part in (fold.train, np.concatenate([fold.train, fold.valid])):  # the second after --refit
            if (len(part), len(fold.test)) == (training["train"], training["test"]):
                return part
    if training and not tested:
        raise ConfigError("this model's folds cannot be dealt again, and it does not name its test speakers")
    others = [number for number, item in enumerate(corpus.utterances) if item.speaker not in tested]
    if not others:
        raise ConfigError(f"{corpus.name} has test speakers of this model alone, on which nothing may be calibrated")
    return np.array(others, np.int64)


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"
