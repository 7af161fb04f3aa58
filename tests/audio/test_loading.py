"""Whatever comes in leaves as 16 kHz mono float32, or is refused by name."""

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st

from emofocus import audio
from emofocus.errors import AudioError
from helpers.properties import cases

RATE = audio.SAMPLING_RATE
CODEC_RATES = {".opus": 48_000, ".webm": 48_000}
"""Opus knows few rates; the other formats are written at 44.1 kHz."""

AAC_FRAME = 1_024
"""AAC pads its last frame, and MP4 does not say by how much in a way that decoders heed."""


def noise(samples: int, seed: int = 0, level: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, samples).astype(np.float32)


def given_array(samples: object, rate: object = RATE) -> audio.AudioArray:
    return {"array": samples, "sampling_rate": rate}


def whole(blocks: object) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *blocks])


def pitch(waveform: np.ndarray) -> float:
    """Frequency (Hz) of the strongest component."""
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(spectrum.argmax() * RATE / len(waveform))


def level_of(waveform: np.ndarray) -> float:
    """Root mean square of the middle, where no codec fades."""
    middle = waveform[len(waveform) // 4 : -len(waveform) // 4]
    return float(np.sqrt(np.mean(middle**2)))


# Formats


@pytest.mark.parametrize("suffix", audio.EXTENSIONS)
def test_every_format_becomes_16_khz_mono_float32(suffix: str, tmp_path: Path, tone, encode) -> None:
    rate = CODEC_RATES.get(suffix, 44_100)
    waveform = audio.load(encode(tmp_path / f"tone{suffix}", tone(440, 2, rate), rate))
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    tolerance = AAC_FRAME / rate if suffix == ".m4a" else 1 / RATE
    assert len(waveform) / RATE == pytest.approx(2.0, abs=tolerance)
    assert pitch(waveform) == pytest.approx(440, abs=1)
    assert level_of(waveform) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("suffix", audio.EXTENSIONS)
def test_stereo_of_every_format_is_averaged(suffix: str, tmp_path: Path, tone, encode) -> None:
    rate = CODEC_RATES.get(suffix, 44_100)
    one_sided = np.stack([tone(440, 1, rate), np.zeros(rate, np.float32)])
    waveform = audio.load(encode(tmp_path / f"left{suffix}", one_sided, rate))
    assert level_of(waveform) == pytest.approx(0.25 / np.sqrt(2), rel=0.1)


@pytest.mark.parametrize("suffix", [".WAV", ".Flac"])
def test_case_of_the_suffix_does_not_matter(suffix: str, tmp_path: Path, tone, encode) -> None:
    path = encode(tmp_path / f"tone{suffix.lower()}", tone()).rename(tmp_path / f"tone{suffix}")
    assert audio.find([tmp_path]) == [path]
    assert len(audio.load(path)) == RATE


def test_the_suffix_may_lie(tmp_path: Path, tone, encode) -> None:
    path = encode(tmp_path / "tone.m4a", tone(rate=48_000), 48_000).rename(tmp_path / "tone.wav")
    assert pitch(audio.load(path)) == pytest.approx(440, abs=1)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_every_encoding_of_wav(subtype: str, tmp_path: Path, tone, encode) -> None:
    waveform = audio.load(encode(tmp_path / "tone.wav", tone(), subtype=subtype))
    np.testing.assert_allclose(waveform, tone(), atol=0.02)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_every_rate_keeps_pitch_and_duration(rate: int, tmp_path: Path, tone, encode) -> None:
    waveform = audio.load(encode(tmp_path / "tone.wav", tone(440, 1, rate), rate))
    assert len(waveform) == RATE
    assert pitch(waveform) == pytest.approx(440, abs=1)


def test_resampling_lets_no_tone_fold_back(tone) -> None:
    above_nyquist = audio.load(given_array(tone(11_000, 1, 48_000) + tone(440, 1, 48_000, level=1e-3), 48_000))
    assert pitch(above_nyquist) == pytest.approx(440, abs=1)
    assert level_of(above_nyquist) < 1e-3


def test_16_khz_is_passed_on_bit_by_bit(tmp_path: Path, encode) -> None:
    samples = noise(5_000)
    path = encode(tmp_path / "noise.wav", samples, subtype="FLOAT")
    np.testing.assert_array_equal(audio.load(path), samples)
    np.testing.assert_array_equal(audio.load(given_array(samples)), samples)


def test_six_channels_become_their_mean(tmp_path: Path, encode) -> None:
    channels = np.stack([noise(2_000, seed) for seed in range(6)])
    path = encode(tmp_path / "surround.wav", channels, subtype="FLOAT")
    np.testing.assert_allclose(audio.load(path), channels.mean(axis=0), atol=1e-7)
    np.testing.assert_allclose(audio.load(given_array(channels)), channels.mean(axis=0), atol=1e-7)


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_mp3_without_a_xing_header_keeps_its_length(rate: int, tmp_path: Path, tone, encode) -> None:
    """soundfile 0.14 guesses its length, and gave 0.4 s of 3.3 s, or samples from unset memory."""
    samples = tone(440, 3.3, rate)
    path = encode(tmp_path / "recorder.mp3", samples, rate, codec="libmp3lame", write_xing="0")
    waveform = audio.load(path)
    padding = 3 * 1_152 / rate  # what only the missing header could tell
    assert 3.3 <= len(waveform) / RATE <= 3.3 + padding
    assert pitch(waveform) == pytest.approx(440, abs=1)
    assert np.abs(waveform).max() < 0.6


def test_mp3_may_have_junk_behind_it(tmp_path: Path, tone, encode) -> None:
    path = encode(tmp_path / "tagged.mp3", tone(rate=44_100), 44_100)
    path.write_bytes(path.read_bytes() + b"LYRICSBEGIN" * 300)
    assert len(audio.load(path)) >= RATE


@pytest.mark.parametrize("length", [0xFFFF_FFFF, 0x7FFF_F000])
def test_wav_from_a_pipe_promises_gigabytes_and_is_no_truncated_one(length: int, tmp_path: Path, tone, encode) -> None:
    path = encode(tmp_path / "piped.wav", tone())
    path.write_bytes(with_data_length(path.read_bytes(), length))
    assert len(audio.load(path)) == RATE


def test_wav_whose_header_is_wrong_by_a_few_bytes_is_accepted(tmp_path: Path, tone, encode) -> None:
    path = encode(tmp_path / "careless.wav", tone())
    path.write_bytes(with_data_length(path.read_bytes(), 2 * RATE + 44))
    assert len(audio.load(path)) == RATE


def with_data_length(wav: bytes, length: int) -> bytes:
    at = wav.index(b"data") + 4
    return wav[:at] + length.to_bytes(4, "little") + wav[at + 4 :]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows allows no colon in a file's name")
@pytest.mark.parametrize("suffix", [".wav", ".m4a"])
def test_name_with_a_colon(suffix: str, tmp_path: Path, tone, encode, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg took what stands before the colon for a protocol."""
    monkeypatch.chdir(tmp_path)
    encode(Path(f"12:30{suffix}"), tone())
    assert pitch(audio.load(f"12:30{suffix}")) == pytest.approx(440, abs=1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps names that are not UTF-8")
def test_name_that_is_not_utf_8(tmp_path: Path, tone, encode) -> None:
    path = encode(tmp_path / "tone.wav", tone()).rename(tmp_path / os.fsdecode(b"gr\xfc\xdfe.wav"))
    assert len(audio.load(path)) == RATE


def test_raw_suffix_is_no_traceback(tmp_path: Path) -> None:
    """soundfile asks for the rate of such a file with a TypeError."""
    (tmp_path / "tone.raw").write_bytes(bytes(range(256)) * 40)
    with pytest.raises(AudioError, match=r"tone\.raw"):
        audio.load(tmp_path / "tone.raw")


# Arrays


@pytest.mark.parametrize("suffix", audio.EXTENSIONS)
def test_an_open_file_is_read_from_its_start_like_its_path(suffix: str, tmp_path: Path, tone, encode) -> None:
    path = encode(tmp_path / f"tone{suffix}", tone(440.0, 0.5, 48_000), 48_000)
    with path.open("rb") as opened:
        opened.read(10)
        for source in (opened, io.BytesIO(path.read_bytes())):
            np.testing.assert_array_equal(audio.load(source), audio.load(path))


def test_an_open_file_without_audio_is_refused() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe, pytest.raises(AudioError, match="the given file: is an empty file"):
        audio.load(pipe)
    with pytest.raises(AudioError, match="the given file: is an empty file"):
        audio.load(io.BytesIO())
    with pytest.raises(AudioError, match="the given file: not audio that can be decoded"):
        audio.load(io.BytesIO(b"no audio at all"))


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"])
def test_integers_of_every_width_fill_minus_one_to_one(dtype: str) -> None:
    limits = np.iinfo(dtype)
    middle = (int(limits.max) + int(limits.min) + 1) // 2
    samples = np.array([limits.min, middle, limits.max] * 200, dtype)
    low, zero, high = audio.load(given_array(samples))[:3]
    assert low == -1
    assert zero == 0
    assert 0.99 < high <= 1


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_stay_as_they_are(dtype: str) -> None:
    samples = np.array([0.5, -0.25, 2.0] * 200, dtype)
    np.testing.assert_array_equal(audio.load(given_array(samples)), samples.astype(np.float32))


def test_list_and_numpy_rate_are_welcome() -> None:
    assert len(audio.load(given_array([0.1, -0.1] * 400, np.int64(8_000)))) == 1_600


def test_array_is_resampled_like_a_file(tmp_path: Path, encode) -> None:
    samples = noise(30_000)
    path = encode(tmp_path / "noise.wav", samples, 44_100, subtype="FLOAT")
    np.testing.assert_array_equal(audio.load(given_array(samples, 44_100)), audio.load(path))


@pytest.mark.parametrize("rate", [0, -1, "16000", None, True, 16_000.0, np.float64(16_000), np.nan])
def test_bad_sampling_rate_is_named(rate: object) -> None:
    with pytest.raises(AudioError, match="sampling_rate must be a positive whole number") as error:
        audio.load(given_array(noise(1_000), rate))
    assert repr(rate) in str(error.value)


@pytest.mark.parametrize(
    "without_rate",
    [noise(1_000), [0.1] * 1_000, {"array": noise(1_000)}, {"sampling_rate": RATE}, {}, None, 3],
    ids=lambda value: type(value).__name__,
)
def test_array_without_its_rate_is_refused(without_rate: object) -> None:
    with pytest.raises(AudioError, match="an array needs its rate"):
        audio.load(without_rate)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((500, 2)), "looks like"),
        (np.zeros((2, 2, 500)), "shape"),
        (np.zeros((0, 500)), "shape"),
        (np.float32(0.5), "shape"),
        ([[0.1, 0.2], [0.3]], "shape"),
        (np.ones(500, bool), "bool"),
        (np.ones(500, complex), "complex"),
        ("clip.wav", "numbers"),
        (None, "numbers"),
        ([None] * 500, "numbers"),
        ([], "no samples"),
        (np.zeros((2, 0)), "no samples"),
        (noise(399), "24.9 ms; at least 25 ms"),
        (np.full(500, np.nan), "NaN or infinite"),
        (np.full(500, 1e300), "NaN or infinite"),
        (np.array([[np.inf] * 500, [-np.inf] * 500]), "NaN or infinite"),
        (np.zeros(500), "silent"),
        (np.full(500, 0.9e-4), "silent"),
        (np.full(500, 0.5), "silent"),
    ],
)
def test_array_that_cannot_be_recognized_is_refused(array: object, reason: str) -> None:
    with pytest.raises(AudioError, match=reason):
        audio.load(given_array(array))


def test_the_quietest_and_shortest_that_is_accepted() -> None:
    samples = 1.1e-4 * np.cos(np.pi * np.arange(audio.MINIMUM_SAMPLES))
    assert len(audio.load(given_array(samples))) == audio.MINIMUM_SAMPLES


# Block by block


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory, encode) -> Callable[[int, str], Path]:
    """A second of noise at any rate, in any format."""
    folder = tmp_path_factory.mktemp("recordings")

    def at(rate: int, suffix: str) -> Path:
        path = folder / f"{rate}{suffix}"
        return path if path.exists() else encode(path, noise(rate, seed=rate), rate)

    return at


@given(
    rate=st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 192_000]),
    suffix=st.sampled_from([".wav", ".flac"]),
    block_seconds=st.floats(0.01, 2.0),
)
@cases(20)
def test_blocks_join_without_a_seam(recording, rate: int, suffix: str, block_seconds: float) -> None:
    path = recording(rate, suffix)
    samples, _ = soundfile.read(path, dtype="float32")
    in_one = samples if rate == RATE else soxr.resample(samples, rate, RATE, quality="HQ")
    for source in (path, given_array(samples, rate)):
        blocks = list(audio.stream(source, block_seconds))
        np.testing.assert_allclose(whole(blocks), in_one, atol=1e-6)
        assert max(map(len, blocks)) <= (block_seconds + 0.2) * RATE  # what the resampler holds back comes last


@pytest.mark.parametrize("suffix", [".ogg", ".opus", ".mp3", ".m4a", ".webm"])
@pytest.mark.parametrize("block_seconds", [0.013, 0.4])
def test_blocks_of_every_codec_join_without_a_seam(suffix: str, block_seconds: float, recording) -> None:
    path = recording(CODEC_RATES.get(suffix, 44_100), suffix)
    np.testing.assert_allclose(whole(audio.stream(path, block_seconds)), audio.load(path), atol=1e-6)


def test_a_long_recording_is_streamed_in_blocks_of_seconds(tmp_path: Path) -> None:
    seconds = 20 * 60
    path = tmp_path / "lecture.flac"
    with soundfile.SoundFile(path, "w", 8_000, 1) as file:
        for _ in range(seconds // 60):
            file.write(np.tile(np.float32([0.5, 0.5, -0.5, -0.5]), 60 * 2_000))
    lengths = [len(block) for block in audio.stream(path)]
    assert sum(lengths) == seconds * RATE
    assert max(lengths) <= 31 * RATE


# Files that are refused


def empty(path: Path) -> None:
    path.touch()


def text(path: Path) -> None:
    path.write_text("This is a transcript, not a recording.\n" * 100)


def folder(path: Path) -> None:
    path.mkdir()


def half_of(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def written(samples: np.ndarray) -> Callable[[Path], None]:
    return lambda path: _encoded(path, samples)


def _encoded(path: Path, samples: np.ndarray) -> None:
    soundfile.write(path, samples, RATE, subtype="FLOAT" if path.suffix == ".wav" else None)


def mixed_with(value: float) -> np.ndarray:
    samples = noise(2_000)
    samples[1_234] = value
    return samples


BAD_FILES = {
    "missing": ("gone.wav", lambda path: None, "no such file"),
    "empty": ("empty.wav", empty, "empty file"),
    "text": ("text.wav", text, "not audio that can be decoded .*valid: .wav, .flac"),
    "folder": ("folder.wav", folder, "folder, not an audio file"),
    "header only": ("header.wav", lambda path: path.write_bytes(b"RIFF"), "not audio that can be decoded"),
    "no samples": ("none.wav", written(noise(0)), "no samples"),
    "10 ms": ("short.wav", written(noise(160)), "lasts 10.0 ms; at least 25 ms"),
    "NaN": ("nan.wav", written(mixed_with(np.nan)), "NaN or infinite"),
    "infinite": ("infinite.wav", written(mixed_with(-np.inf)), "NaN or infinite"),
    "silence": ("silence.wav", written(np.zeros(8_000)), "silent"),
    "dither": ("dither.flac", written(noise(8_000, level=1e-5)), "silent"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_file_is_named_with_its_fault(case: str, tmp_path: Path) -> None:
    name, make, reason = BAD_FILES[case]
    path = tmp_path / name
    make(path)
    with pytest.raises(AudioError, match=reason) as error:
        audio.load(path)
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize("share", [0.001, 0.01])
def test_flac_that_is_cut_in_its_header_is_refused(share: float, tmp_path: Path, encode) -> None:
    path = encode(tmp_path / "cut.flac", noise(3 * RATE))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(AudioError, match=r"cut\.flac: "):
        audio.load(path)


def test_m4a_that_lost_its_index_is_refused(tmp_path: Path, tone, encode) -> None:
    path = encode(tmp_path / "cut.m4a", tone(seconds=5))
    half_of(path)
    with pytest.raises(AudioError, match=r"cut\.m4a: not audio that can be decoded"):
        audio.load(path)


def test_video_without_sound_is_refused(tmp_path: Path) -> None:
    import av

    path = tmp_path / "silent-film.mp4"
    with av.open(str(path), "w") as container:
        track = container.add_stream("mpeg4", rate=10)
        track.width = track.height = 64
        track.pix_fmt = "yuv420p"
        for _ in range(5):
            container.mux(track.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")))
        container.mux(track.encode(None))
    with pytest.raises(AudioError, match=r"silent-film\.mp4: holds no audio track"):
        audio.load(path)


# Folders


def test_folders_are_walked_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b/2.flac", "b/1.WAV", "a.mp3", "notes.txt", "c/d/e.webm"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "z.wav").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in audio.find([tmp_path])]
    assert found == ["a.mp3", "b/1.WAV", "b/2.flac", "c/d/e.webm"]


def test_files_are_listed_as_they_are_given(tmp_path: Path) -> None:
    assert audio.find([tmp_path / "2.txt", str(tmp_path / "1.wav")]) == [
        tmp_path / "2.txt",
        tmp_path / "1.wav",
    ]


def test_folder_without_audio_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(AudioError, match=r"this folder holds no audio \(valid: \.wav") as error:
        audio.find([tmp_path])
    assert str(tmp_path) in str(error.value)


# Speech


def test_spoken_sentence_survives_every_format(tmp_path: Path, speech: Path, encode) -> None:
    reference = audio.load(speech)
    for suffix in audio.EXTENSIONS:
        decoded = audio.load(encode(tmp_path / f"speech{suffix}", reference, RATE))
        likeness = np.corrcoef(reference, decoded[: len(reference)])[0, 1]
        assert likeness > 0.98, suffix


def test_originals_of_ravdess(data: Path) -> None:
    folder = data / "ravdess-original"
    if not folder.is_dir():
        pytest.skip(f"original RAVDESS files are not in {data}")
    files = audio.find([folder])
    channels = set()
    for file in files:
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
        channels.add(samples.shape[1])
        assert rate == 48_000
        waveform = audio.load(file)
        np.testing.assert_allclose(waveform, soxr.resample(samples.mean(axis=1), rate, RATE), atol=1e-5)
    assert channels == {1, 2}


def test_samples_that_are_no_sound_are_refused() -> None:
    """Found by feeding a stream with 1e30: squares overflowed, and every score was NaN."""
    with pytest.raises(AudioError, match=r"holds samples of 1e\+30, which is no sound \(full scale is 1\)"):
        audio.load({"array": np.full(8_000, 1e30), "sampling_rate": 16_000})
