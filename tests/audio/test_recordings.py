"""Recordings that a player plays are read in full, at the times that it shows; cut ones as far as they go."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from emofocus import Recognizer, audio
from emofocus.audio.notices import Notice
from emofocus.cli.main import app
from emofocus.errors import AudioError, AudioWarning
from emofocus.recognition.options import RecognitionOptions
from helpers.containers import (
    CONTAINERS,
    RATE,
    Pause,
    container,
    with_wav_length,
    without_flac_length,
    written,
)

PADDING = 0.06
"""Seconds that codecs add at a track's ends, and that timestamps of whole milliseconds are wrong by."""


def tone(hertz: float = 440, seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def read(content: bytes, track: int | None = None) -> tuple[np.ndarray, list[Notice]]:
    notices: list[Notice] = []
    return audio.load(io.BytesIO(content), track=track, warn=notices.append), notices


def pitch(waveform: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(spectrum.argmax() * audio.SAMPLING_RATE / len(waveform))


def sounding(waveform: np.ndarray) -> list[tuple[float, float]]:
    """Start and end, in seconds, of each stretch that is not silent for 50 ms."""
    loud = np.flatnonzero(np.abs(waveform) > 0.05)
    breaks = np.flatnonzero(np.diff(loud) > 0.05 * audio.SAMPLING_RATE)
    starts, ends = loud[np.concatenate([[0], breaks + 1])], loud[np.concatenate([breaks, [len(loud) - 1]])]
    return [(start / audio.SAMPLING_RATE, end / audio.SAMPLING_RATE) for start, end in zip(starts, ends, strict=True)]


# Times


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(sorted(CONTAINERS)),
    late=st.sampled_from([0.0, 0.2, 1.0, 2.5]),
    pause=st.none() | st.builds(Pause, st.sampled_from([0.5, 1.0]), st.sampled_from([0.3, 1.0, 4.0])),
)
def test_a_late_track_and_a_pause_sound_when_a_player_plays_them(kind: str, late: float, pause: Pause | None) -> None:
    if kind == "mov":
        pause = None  # its muxer writes no pauses into tracks of plain samples
    waveform, notices = read(container(kind, [tone()], late, pause, video=3.0))
    stretches = [(late, late + 2.0)]
    if pause is not None:
        behind = late + pause.start + pause.seconds
        stretches = [(late, late + pause.start), (behind, behind + 2.0 - pause.start)]
    np.testing.assert_allclose(sounding(waveform), stretches, atol=PADDING)
    assert notices == []


def test_an_audio_file_whose_clock_does_not_begin_at_0_has_no_silence_before_it() -> None:
    """It was called cut, too."""
    waveform, notices = read(container("matroska", [tone()], late=5.0))
    assert notices == []
    assert sounding(waveform)[0][0] == pytest.approx(0, abs=PADDING)


def test_a_timestamp_that_jumps_by_days_is_no_pause() -> None:
    waveform, _ = read(container("matroska", [tone()], pause=Pause(1.0, 200_000.0)))
    assert len(waveform) / audio.SAMPLING_RATE == pytest.approx(2.0, abs=PADDING)


# Tracks


@pytest.mark.parametrize("kind", ["matroska", "mp4", "mov"])
@pytest.mark.parametrize("default", [0, 1, 2])
def test_the_default_track_is_read_and_its_number_is_said(kind: str, default: int) -> None:
    tones = [tone(hertz) for hertz in (300, 600, 900)]
    content = container(kind, tones, default=default)
    waveform, notices = read(content)
    assert pitch(waveform) == pytest.approx(300 * (default + 1), abs=2)
    assert [str(notice) for notice in notices] == [
        f"tracks: 3 audio tracks; number {default + 1} was read (option track)"
    ]
    for number in (1, 2, 3):
        waveform, notices = read(content, track=number)
        assert pitch(waveform) == pytest.approx(300 * number, abs=2)
        assert notices == []
    with pytest.raises(AudioError, match=r"the given file: has no audio track 4 \(valid: 1, 2, 3\)"):
        read(content, track=4)


def test_the_commands_read_the_track_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    path.write_bytes(container("matroska", [tone(300), tone(600)], default=0))
    recognizer, second = Recognizer.from_pretrained(), Recognizer.load(None, RecognitionOptions(track=2))
    assert second(path).scores == recognizer(path, track=2).scores != recognizer(path).scores
    assert recognizer(path).warnings[0] == "tracks: 2 audio tracks; number 1 was read (option track)"
    done = CliRunner().invoke(app, ["predict", str(path), "--format", "json", "--track", "2"], catch_exceptions=False)
    answer = json.loads(done.stdout)
    assert list(answer["scores"].values()) == pytest.approx(list(second(path).scores.values()), abs=1e-5)
    assert not any(text.startswith("tracks") for text in answer["warnings"])
    wrong = CliRunner().invoke(app, ["predict", str(path), "--track", "3"], catch_exceptions=False)
    assert "has no audio track 3 (valid: 1, 2)" in wrong.stderr


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
def test_a_file_of_one_track_has_no_second(kind: str) -> None:
    content = written(tone(rate=16_000), kind)
    assert len(read(content, track=1)[0]) == 32_000
    with pytest.raises(AudioError, match=r"has no audio track 2 \(valid: 1\)"):
        read(content, track=2)
    with pytest.raises(AudioError, match=r"has no audio track 2 \(valid: 1\)"):
        audio.load({"array": tone(), "sampling_rate": RATE}, track=2)


# Lengths that were never written, and recordings behind each other


def joined_mp3(between: bytes) -> bytes:
    mp3 = written(tone(rate=16_000), "MP3")
    return mp3 + between + mp3


ID3 = b"ID3\x04\x00\x00\x00\x00\x0f\x00"
NOTES = bytes(np.random.default_rng(0).integers(32, 127, 15 << 7, np.uint8))
LONGER = {
    "FLAC without a length": (lambda: without_flac_length(written(tone(rate=16_000), "FLAC")), 2.0),
    "FLAC behind FLAC": (lambda: 2 * written(tone(rate=16_000), "FLAC"), 4.0),
    "Vorbis behind Vorbis": (lambda: written(tone(rate=16_000), "OGG") + written(tone(rate=16_000), "OGG"), 4.0),
    "one Vorbis twice": (lambda: 2 * written(tone(rate=16_000), "OGG"), 4.0),
    "Vorbis of another rate": (lambda: written(tone(rate=16_000), "OGG") + written(tone(), "OGG", rate=RATE), 4.0),
    "stereo behind mono": (
        lambda: written(tone(rate=16_000), "OGG") + written(np.stack(2 * [tone(rate=16_000)], axis=1), "OGG"),
        4.0,
    ),
    "Opus behind Opus": (lambda: 3 * written(tone(rate=16_000), "OGG", "OPUS"), 6.0),
    "MP3 with empty ID3 between": (lambda: joined_mp3(ID3 + bytes(15 << 7)), 4.0),
    "MP3 with ID3 between": (lambda: joined_mp3(ID3 + NOTES), 4.0),
    "MP3 with ID3v1 between": (lambda: joined_mp3(b"TAG" + NOTES[:125]), 4.0),
    "WAV of length 0": (lambda: with_wav_length(written(tone(rate=16_000), "WAV"), 0), 2.0),
    "WAV of length 0, floats": (lambda: with_wav_length(written(tone(rate=16_000), "WAV", "FLOAT"), 0), 2.0),
    "WAV from a pipe": (lambda: with_wav_length(written(tone(rate=16_000), "WAV"), 0xFFFFFFFF), 2.0),
    "RF64 of length 0": (lambda: without_rf64_length(written(tone(rate=16_000), "RF64"), 0), 2.0),
    "RF64 of unknown length": (lambda: without_rf64_length(written(tone(rate=16_000), "RF64"), 255), 2.0),
    "WAV with FLLR": (lambda: with_filler(with_wav_length(written(tone(rate=16_000), "WAV"), 0)), 2.0),
    "AU from a pipe": (lambda: au_without_length(written(tone(rate=16_000), "AU")), 2.0),
}


def without_rf64_length(rf64: bytes, byte: int) -> bytes:
    at = rf64.index(b"ds64") + 8
    return rf64[:at] + 24 * bytes([byte]) + rf64[at + 24 :]


def with_filler(wav: bytes) -> bytes:
    """A chunk of filler before the samples, as macOS writes it."""
    at = wav.index(b"data")
    return wav[:at] + b"FLLR" + (4_000).to_bytes(4, "little") + bytes(4_000) + wav[at:]


def au_without_length(au: bytes) -> bytes:
    return au[:8] + b"\xff\xff\xff\xff" + au[12:]


@pytest.mark.parametrize("case", LONGER)
def test_a_recording_is_read_to_its_end(case: str) -> None:
    make, seconds = LONGER[case]
    waveform, notices = read(make())
    assert len(waveform) / audio.SAMPLING_RATE == pytest.approx(seconds, abs=0.15)
    assert pitch(waveform) == pytest.approx(440, abs=1)
    assert notices == []


def test_an_empty_wav_with_notes_behind_it_holds_no_samples() -> None:
    content = with_wav_length(written(tone(rate=16_000), "WAV")[:44], 0)
    notes = b"LIST" + (8).to_bytes(4, "little") + b"INFOIART"
    for empty in (content, content + notes):
        with pytest.raises(AudioError, match="holds no samples"):
            read(empty)


# Cut and damaged files

WHOLE = {
    "WAV": lambda: written(tone(seconds=4, rate=16_000), "WAV"),
    "RF64": lambda: written(tone(seconds=4, rate=16_000), "RF64"),
    "AIFF": lambda: written(tone(seconds=4, rate=16_000), "AIFF"),
    "AU": lambda: written(tone(seconds=4, rate=16_000), "AU"),
    "W64": lambda: written(tone(seconds=4, rate=16_000), "W64"),
    "CAF": lambda: written(tone(seconds=4, rate=16_000), "CAF"),
    "FLAC": lambda: written(tone(seconds=4, rate=16_000), "FLAC"),
    "Vorbis": lambda: written(noise(8.0), "OGG"),
    "Opus": lambda: written(noise(8.0), "OGG", "OPUS"),
    "MP3": lambda: written(noise(8.0), "MP3"),
    "WebM": lambda: container("webm", [tone(seconds=4)]),
    "Matroska": lambda: container("matroska", [tone(seconds=4)]),
    "MP4": lambda: container("mp4", [tone(seconds=4)], options={"movflags": "faststart"}),
    "MP4 with video": lambda: container("mp4", [tone(seconds=4)], video=4.0, options={"movflags": "faststart"}),
}
CONTENT: dict[str, bytes] = {}


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)


@pytest.mark.parametrize("kind", WHOLE)
@settings(max_examples=6, deadline=None)
@given(share=st.floats(0.5, 0.93))
def test_a_cut_recording_is_read_as_far_as_it_goes_with_a_warning(kind: str, share: float) -> None:
    content = CONTENT.setdefault(kind, WHOLE[kind]())
    whole, notices = read(content)
    assert notices == []
    part, notices = read(content[: int(share * len(content))])
    assert [notice.kind for notice in notices] == ["cut"]
    seconds = len(part) / audio.SAMPLING_RATE
    (said,) = re.findall(r"(\d+\.\d+) (?:of|s$)", notices[0].text)
    assert float(said) == pytest.approx(seconds, abs=0.01)
    assert 0.05 * len(whole) < len(part) < len(whole)
    compared = len(part) - 2_000  # the last frame of a codec may end in anything
    np.testing.assert_allclose(part[:compared], whole[:compared], atol=1e-3)


def test_a_scratched_mp3_is_read_with_a_warning(tmp_path: Path, encode: Callable[..., Path]) -> None:
    path = encode(tmp_path / "scratched.mp3", noise(5.0))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3_000] = bytes(3_000)
    path.write_bytes(content)
    with pytest.warns(AudioWarning, match=r"scratched\.mp3: (cut|damaged): "):
        assert 3 < len(audio.load(path)) / audio.SAMPLING_RATE < 5.1


def test_a_scratched_flac_is_silent_where_it_is_damaged_and_goes_on_in_time() -> None:
    samples = noise(8.0)
    content = bytearray(written(samples, "FLAC"))
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    waveform, notices = read(bytes(content))
    assert notices[0].kind in ("cut", "damaged")
    np.testing.assert_allclose(waveform[-8_000:], samples[-8_000:], atol=1e-3)
