"""Whatever users hold audio in is read, or refused in a line."""

import io
import os
from pathlib import Path, PurePath

import numpy as np
import pytest
import soundfile
import torch

from emofocus import Recognizer, audio
from emofocus.errors import AudioError

RATE = audio.SAMPLING_RATE


def noise(samples: int = 8_000) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)


def given_array(array: object) -> dict[str, object]:
    return {"array": array, "sampling_rate": RATE}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inputs") / "noise.wav"
    soundfile.write(path, noise(), RATE, subtype="FLOAT")
    return path


class Body:
    """An answer of HTTP: it has ``read`` and nothing else."""

    def __init__(self, content: object) -> None:
        self.content = content

    def read(self, size: int = -1) -> object:
        return self.content


class Entry(os.PathLike):
    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


class Decoder:
    """Audio of Hugging Face datasets 4: entries by name, and no mapping."""

    def __getitem__(self, key: str) -> object:
        return given_array(noise())[key]


FORMS = {
    "str": str,
    "Path": lambda file: file,
    "PurePath": PurePath,
    "PathLike": Entry,
    "bytes": lambda file: file.read_bytes(),
    "bytearray": lambda file: bytearray(file.read_bytes()),
    "memoryview": lambda file: memoryview(file.read_bytes()),
    "BytesIO": lambda file: io.BytesIO(file.read_bytes()),
    "anything with read": lambda file: Body(file.read_bytes()),
    "a dictionary of bytes": lambda file: {"bytes": file.read_bytes(), "path": "elsewhere.wav"},
    "a dictionary of a path": lambda file: {"bytes": None, "path": str(file)},
    "entries by name": lambda _: Decoder(),
    "a tensor": lambda _: given_array(torch.tensor(noise())),
    "a tensor with a gradient": lambda _: given_array(torch.tensor(noise(), requires_grad=True)),
    "a list": lambda _: given_array(noise().tolist()),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_audio_is_read(form: str, file: Path) -> None:
    np.testing.assert_array_equal(audio.load(FORMS[form](file)), noise())


def test_a_pipe_is_read(file: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, file.read_bytes())
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        np.testing.assert_array_equal(audio.load(pipe), noise())


def test_half_precision_of_torch_is_read() -> None:
    for kind in (torch.bfloat16, torch.float16):
        tensor = torch.tensor(noise()).to(kind)
        np.testing.assert_array_equal(audio.load(given_array(tensor)), tensor.float().numpy())


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"no audio", "the given file: not audio that can be decoded"),
        (b"", "the given file: is an empty file"),
        (io.StringIO("text"), "the given file: gives text, not bytes; open it with mode 'rb'"),
        (Body("text"), "the given file: gives str, not bytes; open it with mode 'rb'"),
        (Body(None), "the given file: gives NoneType, not bytes"),
        ({"bytes": None, "path": None}, "an array needs its rate"),
        (given_array(torch.zeros(3, 3, 3)), "shape"),
        (given_array(torch.ones(500, dtype=torch.complex64)), "complex"),
        (given_array(object()), "numbers"),
    ],
)
def test_other_things_are_refused_in_a_line(source: object, reason: str) -> None:
    with pytest.raises(AudioError, match=reason) as error:
        audio.load(source)
    assert "\n" not in str(error.value)


def test_a_closed_file_is_refused(file: Path) -> None:
    with file.open("rb") as opened:
        pass
    with pytest.raises(AudioError, match="the given file: cannot be read"):
        audio.load(opened)


@pytest.mark.parametrize("kind", ["int64", "uint64", "int32", "list"])
def test_samples_of_16_bits_in_wide_integers_are_told_so(kind: str) -> None:
    samples = np.round(noise() * 32_767).astype(np.int16)
    samples = np.abs(samples) if kind == "uint64" else samples
    wide = samples.tolist() if kind == "list" else samples.astype(kind)
    with pytest.raises(AudioError, match=r"array holds integers up to \d+ as .*samples of 16 bits.*numpy\.int16\)"):
        audio.load(given_array(wide))
    np.testing.assert_array_equal(audio.load(given_array(np.asarray(wide, np.int16))), samples / np.float32(32_768))


def test_samples_of_24_or_32_bits_in_64_are_told_so() -> None:
    with pytest.raises(AudioError, match=r"samples of 32 bits, pass numpy\.asarray\(array, numpy\.int32\)"):
        audio.load(given_array((noise() * 2**31).astype(np.int64)))


def test_zeros_in_wide_integers_are_silent() -> None:
    with pytest.raises(AudioError, match="is silent"):
        audio.load(given_array([0] * 8_000))


def test_samples_and_their_rate_are_two_arguments(recognizer: Recognizer) -> None:
    named = recognizer(given_array(noise()))
    assert recognizer(noise(), sampling_rate=RATE).scores == named.scores
    assert recognizer(noise().tolist(), sampling_rate=RATE).scores == named.scores
    assert recognizer(torch.tensor(noise())[None], sampling_rate=RATE).scores == named.scores
    assert recognizer(given_array(noise()), sampling_rate=RATE).scores == named.scores
    with pytest.raises(AudioError, match=r"sampling_rate is 8000 Hz, but the given array's own is 16000 Hz"):
        recognizer(given_array(noise()), sampling_rate=8_000)
    with pytest.raises(AudioError, match="sampling_rate must be a positive whole number of hertz, not -1"):
        recognizer(noise(), sampling_rate=-1)


def test_a_file_needs_no_rate(recognizer: Recognizer, file: Path) -> None:
    with pytest.raises(AudioError, match=r"noise\.wav: has a rate of its own; sampling_rate is for samples"):
        recognizer(file, sampling_rate=RATE)
    with pytest.raises(AudioError, match="an array needs its rate"):
        recognizer(noise())


def test_a_list_of_clips_gives_a_list_of_predictions(recognizer: Recognizer, file: Path) -> None:
    clips = [file, file.read_bytes(), given_array(noise()), io.BytesIO(file.read_bytes())]
    assert [prediction.scores for prediction in recognizer(clips)] == 4 * [recognizer(file).scores]
    pair = recognizer([noise(), noise(6_000)], sampling_rate=RATE)
    assert [prediction.duration for prediction in pair] == [0.5, 0.375]
    assert recognizer([]) == []


def test_a_memoryview_of_samples_is_samples(recognizer: Recognizer) -> None:
    """It was called a file, with a rate of its own."""
    assert recognizer(memoryview(noise()), sampling_rate=RATE).scores == recognizer(given_array(noise())).scores


def test_masked_samples_are_refused() -> None:
    """Their masks were left out in silence."""
    samples = np.ma.masked_array(noise(), noise() > 10)
    np.testing.assert_array_equal(audio.load(given_array(samples)), noise())
    samples[100:200] = np.ma.masked
    with pytest.raises(AudioError, match="array holds masked samples; fill them, or leave them out"):
        audio.load(given_array(samples))


@pytest.mark.parametrize("address", ["https://example.org/a.wav", "file:///a.wav"])
def test_an_address_is_no_file(address: str) -> None:
    """It was called `https:/example.org/a.wav`, and missing."""
    with pytest.raises(AudioError, match=f"^{address}: is an address, not a file; download it first, or pass its"):
        audio.load(address)


def test_an_empty_text_is_no_file() -> None:
    """It was called a folder."""
    with pytest.raises(AudioError, match="an empty text names no file"):
        audio.load("")
