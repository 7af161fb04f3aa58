"""Sounds that are made here, and the corpora that lie beside the repository."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
import soundfile
from hypothesis import settings

from helpers.damage import SUFFIXES
from helpers.paths import DATA
from helpers.properties import THOROUGH

if TYPE_CHECKING:  # neither is needed by most tests
    from emofocus import Recognizer
    from helpers.serving import Service


settings.register_profile(THOROUGH, print_blob=True)

SENTENCE = "Kids are talking by the door. Dogs are sitting by the door."

FORMATS = {".m4a": "mp4", ".webm": "webm", ".mp3": "mp3"}
AV_CODECS = {".m4a": "aac", ".webm": "libopus"}

Tone = Callable[..., np.ndarray]
Encode = Callable[..., Path]


@pytest.fixture(scope="module")
def adaptable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Directory of a model that can be adapted to voices."""
    from helpers.adaptable import adaptable_model  # which needs torch

    with adaptable_model(tmp_path_factory) as folder:
        yield folder


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder with the corpora."""
    if not DATA.is_dir():
        pytest.skip(f"the folder {DATA} is not here")
    return DATA


@pytest.fixture(scope="session")
def ravdess(data: Path) -> Path:
    """RAVDESS in its owner's layout."""
    if not (data / "ravdess").is_dir():
        pytest.skip(f"RAVDESS is not in {data}")
    return data / "ravdess"


@pytest.fixture(scope="session")
def tone() -> Tone:
    """Make a sine: ``tone(hertz=440, seconds=1, rate=16_000, level=0.5)`` → float32 (T,)."""

    def sine(hertz: float = 440, seconds: float = 1, rate: int = 16_000, level: float = 0.5) -> np.ndarray:
        times = np.arange(round(seconds * rate)) / rate
        return (level * np.sin(2 * np.pi * hertz * times)).astype(np.float32)

    return sine


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WAV of a synthetic voice, a few seconds long."""
    program = shutil.which("espeak-ng")
    if program is None:
        pytest.skip("espeak-ng, which speaks the test sentence, is not installed")
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    subprocess.run([program, "-w", str(path), SENTENCE], check=True, capture_output=True)
    return path


@pytest.fixture
def small_corpus(tmp_path: Path) -> Path:
    """Three speakers, two clips of every emotion each: noisy tones whose pitch tells the emotion."""
    return _small_corpus(tmp_path)


@pytest.fixture(scope="module")
def shared_small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`small_corpus`, once for all tests of a file; they only read it."""
    return _small_corpus(tmp_path_factory.mktemp("small-corpus"))


def _small_corpus(folder: Path) -> Path:
    from emofocus.corpora.readers.emodb import EMOTIONS

    for speaker in ("03", "08", "09"):
        for text in ("a01", "b02"):
            for number, letter in enumerate(EMOTIONS):
                file = folder / "audio" / "wav" / f"{speaker}{text}{letter}a.wav"
                file.parent.mkdir(parents=True, exist_ok=True)
                time = np.arange(12_000) / 16_000
                noise = np.random.default_rng(len(list(file.parent.iterdir()))).normal(0, 0.01, 12_000)
                soundfile.write(file, 0.3 * np.sin(2 * np.pi * (200 + 150 * number) * time) + noise, 16_000)
    return folder / "audio"


@pytest.fixture
def small_shards(small_corpus: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Shards of a corpus with audio, by the command, and their recipe."""
    from click.testing import CliRunner

    from emofocus.cli.main import app

    recipe = tmp_path / "tiny.yaml"
    recipe.write_text("epochs: 2\nbatch_size: 8\nspeeds: [1.1]\nsegment: {hop: 25}\n")
    arguments = ["shards", "--corpus", "emodb", "--root", small_corpus, "--protocol", "random", "--recipe", recipe]
    arguments += ["--out", tmp_path / "shards", "--cache", tmp_path / "cache", "--utterances", 10, "--half"]
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0
    assert "train, 24 utterances" in done.stderr
    return tmp_path / "shards", recipe


@pytest.fixture(scope="session")
def encode() -> Encode:
    """Write samples (T,) or (channels, T) as the suffix says: ``encode(path, samples, rate=16_000)`` → path.

    With ``codec``, or for what soundfile cannot write, PyAV does it, and takes more options of the container.
    """
    return _encode


def _encode(path: Path, samples: np.ndarray, rate: int = 16_000, codec: str = "", **options: str) -> Path:
    codec = codec or AV_CODECS.get(path.suffix, "")
    if codec:
        _encode_with_av(path, np.atleast_2d(samples), rate, codec, options)
    elif path.suffix == ".opus":
        soundfile.write(path, samples.T, rate, format="OGG", subtype="OPUS")
    else:
        soundfile.write(path, samples.T, rate, **options)
    return path


def _encode_with_av(path: Path, samples: np.ndarray, rate: int, codec: str, options: dict[str, str]) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV cannot encode {codec}")
    layout = {1: "mono", 2: "stereo"}[len(samples)]
    with (
        path.open("wb") as opened,
        av.open(opened, "w", FORMATS.get(path.suffix), options=options) as container,
    ):
        track = container.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32), "fltp", layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for packet in (*track.encode(frame), *track.encode(None)):
            container.mux(packet)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, encode) -> dict[str, bytes]:
    """A third of a second in every format."""
    folder = tmp_path_factory.mktemp("whole")
    time = np.arange(8_000) / 16_000
    samples = (0.3 * np.sin(2 * np.pi * 300 * time * (1 + time))).astype(np.float32)
    return {suffix: encode(folder / f"clip{suffix}", samples).read_bytes() for suffix in SUFFIXES}


@pytest.fixture(scope="module")
def recognizer() -> "Recognizer":
    """The shipped model on one thread."""
    from emofocus import Recognizer

    return Recognizer.from_pretrained(threads=1)


@pytest.fixture(scope="module")
def service(recognizer: "Recognizer") -> "Iterator[Service]":
    """A service of it on loopback."""
    from helpers.serving import running

    with running(recognizer) as found:
        yield found
