"""A vector that describes who speaks, for models that take one: precomputed, or from an extractor as an ONNX file."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import compose, helper, version_converter

from emofocus import audio
from emofocus.audio.fingerprint import AudioFingerprint
from emofocus.config import EmbeddingSettings, Recipe
from emofocus.corpora import Corpus
from emofocus.data.cache import Cache
from emofocus.data.feature_store import COMMIT_EVERY, Speech, SpeechSource, content_keys, hash_of, keep
from emofocus.errors import ConfigError, CorpusError, ModelError
from emofocus.recognition.engine import open_session
from emofocus.utils.progress import track

MANIFEST = "manifest"
"""Name of the source of embeddings whose files a manifest's column ``embedding`` lists."""

Vector = NDArray[np.float32]


class Extractor:
    """Extractor of speaker embeddings from waveforms, an ONNX file.

    Args:
        path: ONNX file whose first input is a waveform (B, T), 16 kHz, and whose first output is (B, D). A second input
            is taken for true lengths in samples (B,), int64.

    Attributes:
        settings: D, and the hash of the file.

    Raises:
        ModelError: The file is missing or damaged, or takes or gives something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._session = open_session(path)
        self.inputs = [item.name for item in self._session.get_inputs()]
        self.output: str = self._session.get_outputs()[0].name
        try:
            vector = self(np.zeros((1, audio.SAMPLING_RATE), np.float32))
        except Exception as error:  # onnxruntime's own exceptions share no base but Exception
            reason = str(error).splitlines()[0]
            raise ModelError(f"{path}: does not take a waveform (B, T) and its lengths (B,): {reason}") from error
        if vector.ndim != 2 or len(vector) != 1:
            raise ModelError(f"{path}: gives {vector.shape} for one waveform (valid: (1, D))")
        digest = hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
        self.settings = EmbeddingSettings(size=vector.shape[1], source=f"onnx {digest}")

    def __reduce__(self) -> tuple[type["Extractor"], tuple[Path]]:
        """Another process opens the same file."""
        return Extractor, (self.path,)

    def __call__(self, waveform: audio.Waveform, lengths: NDArray[np.int64] | None = None) -> Vector:
        """Waveforms (B, T), rows padded with zeros, and true samples (B,) or None when all are T → (B, D)."""
        if lengths is None:
            lengths = np.full(len(waveform), waveform.shape[1], np.int64)
        given = dict(zip(self.inputs, (waveform, lengths), strict=False))
        vector: Vector = self._session.run([self.output], given)[0]
        return vector


class EmbeddedSpeech:
    """Features whose every frame ends with its utterance's embedding: (n, F) → (n, F + D).

    Speech at other speeds has the embedding of the unaltered recording.

    Args:
        source: Source of the features.
        settings: Size and source of the embeddings.
        read: Function that returns all embeddings (U, D).
    """

    def __init__(self, source: SpeechSource, settings: EmbeddingSettings, read: Callable[[], Vector]) -> None:
        self.corpus, self.embedding = source.corpus, settings
        self._source, self._read = source, read

    def content(self) -> str:
        """Hash of recordings and embeddings; an extractor's embeddings enter by the hash of its file."""
        vectors = self._read().tobytes().hex() if self.embedding.source == MANIFEST else self.embedding.source
        return hash_of([self._source.content(), vectors])

    def speech(self, recipe: Recipe, passing: bool = False) -> list[Sequence[Speech]]:
        """Features of all utterances with their embeddings (`SpeechSource.speech`)."""
        vectors = self._read()
        return [_Appended(speech, vectors) for speech in self._source.speech(recipe, passing)]

    def fingerprints(self) -> list[AudioFingerprint]:
        """Fingerprint of each utterance, for the audit."""
        return self._source.fingerprints()

    def file_hashes(self) -> list[str]:
        """Hash of the file of each utterance (`SpeechSource.file_hashes`)."""
        return self._source.file_hashes()


class _Appended(Sequence[Speech]):
    def __init__(self, speech: Sequence[Speech], vectors: Vector) -> None:
        self._speech, self._vectors = speech, vectors

    def __len__(self) -> int:
        return len(self._speech)

    def __getitem__(self, index: int) -> Speech:  # type: ignore[override]
        speech = self._speech[index]
        repeated = np.broadcast_to(self._vectors[index], (len(speech.frames), self._vectors.shape[1]))
        return replace(speech, frames=np.concatenate([speech.frames, repeated], axis=1))


def with_embeddings(source: SpeechSource, cache: Cache, embeddings: str) -> EmbeddedSpeech:
    """Add embeddings to a corpus' features.

    Args:
        source: Source of the features.
        cache: Cache of an extractor's embeddings.
        embeddings: ``manifest``, for the files in the manifest's column ``embedding``, or an extractor's ONNX file.

    Raises:
        ConfigError: Neither of these.
        CorpusError: An utterance without a file, or a file that holds no vector, or one of another length.
        ModelError: No extractor.
    """
    if embeddings == MANIFEST:
        vectors = _read_vectors(source.corpus)
        return EmbeddedSpeech(source, EmbeddingSettings(size=vectors.shape[1], source=MANIFEST), vectors.view)
    if not embeddings.endswith(".onnx"):
        raise ConfigError(f"embeddings {embeddings!r} are unknown (valid: {MANIFEST}, or an extractor's .onnx file)")
    extractor = Extractor(Path(embeddings))
    return EmbeddedSpeech(source, extractor.settings, partial(_extract, source.corpus, cache, extractor))


def _read_vectors(corpus: Corpus) -> Vector:
    """The files that a corpus' table names, NumPy arrays (D,) → (U, D)."""
    vectors: list[Vector] = []
    for key, file in corpus.table.select("key", "embedding").iter_rows():
        if not file:
            raise CorpusError(f"{corpus.name}: {key} has no file in the column 'embedding'")
        path = corpus.path_of(file)
        try:
            vector = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise CorpusError(f"{path}: no embedding, which is a NumPy array in a .npy file ({error})") from error
        if vector.ndim != 1 or vector.dtype.kind != "f" or not np.isfinite(vector).all():
            raise CorpusError(f"{path}: {vector.dtype} {vector.shape} is no embedding (valid: finite floats (D,))")
        if vectors and len(vector) != len(vectors[0]):
            raise CorpusError(f"{path}: an embedding of {len(vector)} numbers, the first one has {len(vectors[0])}")
        vectors.append(vector.astype(np.float32))
    return np.stack(vectors)


def _extract(corpus: Corpus, cache: Cache, extractor: Extractor) -> Vector:
    """Each utterance's embedding (U, D), through the cache."""
    name = extractor.settings.source.removeprefix("onnx ")
    keys = [f"{content}/embedding {name}" for content in content_keys(corpus, cache)]

    vectors = {index: np.frombuffer(value, "<f4") for index, key in enumerate(keys) if (value := cache.read(key))}
    todo = [index for index in range(len(corpus)) if index not in vectors]

    def entries(index: int, waveform: audio.Waveform) -> list[tuple[str, bytes]]:
        vectors[index] = extractor(waveform[None])[0].astype("<f4")
        return [(keys[index], vectors[index].tobytes())]

    for start in track(range(0, len(todo), COMMIT_EVERY), "embeddings", unit="batch"):
        keep(corpus, todo[start : start + COMMIT_EVERY], cache, entries)
    return np.stack([vectors[index] for index in range(len(corpus))])


def join(extractor: Extractor, graph: onnx.ModelProto) -> onnx.ModelProto:
    """Put an extractor in front of a graph whose input `embedding` it makes.

    Raises:
        ModelError: onnx cannot join them.
    """
    opset = next(item.version for item in graph.opset_import if not item.domain)
    try:
        first = version_converter.convert_version(onnx.load(extractor.path), opset)
        first = compose.add_prefix(first, "speaker/")
        first.ir_version = graph.ir_version
        joined = compose.merge_models(first, graph, io_map=[(f"speaker/{extractor.output}", "embedding")])
    except Exception as error:  # onnx's C++ side raises what it likes
        reason = str(error).splitlines()[0]
        raise ModelError(f"{extractor.path}: cannot be joined to a graph of opset {opset}: {reason}") from error
    same = {
        f"speaker/{name}": shared_name
        for name, shared_name in zip(extractor.inputs, ("waveform", "lengths"), strict=False)
    }
    for node in joined.graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]
    operators = {item.domain: item.version for item in joined.opset_import}  # each is named twice: once by each half
    del joined.opset_import[:]
    joined.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in operators.items())
    kept = [item for item in joined.graph.input if item.name not in same]
    del joined.graph.input[:]
    joined.graph.input.extend(kept)
    helper.set_model_props(joined, {item.key: item.value for item in graph.metadata_props})
    return joined
