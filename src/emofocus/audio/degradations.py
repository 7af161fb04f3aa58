"""Distortions of speech on its way from a mouth to a model: loudness, rates, coding, noise, rooms."""

import io
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emofocus import audio
from emofocus.audio.containers import decode_container
from emofocus.audio.decoding import BLOCK_SECONDS
from emofocus.audio.loading import SAMPLING_RATE
from emofocus.audio.notices import ignore
from emofocus.audio.samples import Waveform

CODEC_RATES = {"libmp3lame": SAMPLING_RATE, "libopus": 48_000}
"""Codec → rate that it is fed."""


class Scene(NamedTuple):
    """Material for distortions.

    Attributes:
        random: Source of random numbers, seeded for each clip.
        others: Other voices, for babble.
    """

    random: np.random.Generator
    others: Sequence[Waveform]


Distortion = Callable[[Waveform, Scene], Waveform]


def gain(decibels: float) -> Distortion:
    """Change the loudness; samples beyond full scale are clipped."""
    return lambda waveform, _: np.asarray((waveform * 10 ** (decibels / 20)).clip(-1, 1), np.float32)


def through_rate(rate: int, quality: str = "HQ") -> Distortion:
    """Resample to another rate and back, with soxr."""

    def distort(waveform: Waveform, _: Scene) -> Waveform:
        import soxr

        there = soxr.resample(waveform, SAMPLING_RATE, rate, quality=quality)
        return _as_long(soxr.resample(there, rate, SAMPLING_RATE, quality=quality), waveform)

    return distort


def linear(rate: int) -> Distortion:
    """Resample to another rate and back along straight lines between samples, as careless programs do."""

    def distort(waveform: Waveform, _: Scene) -> Waveform:
        times = np.arange(len(waveform)) / SAMPLING_RATE
        other = np.arange(int(len(waveform) * rate / SAMPLING_RATE)) / rate
        return np.interp(times, other, np.interp(other, times, waveform)).astype(np.float32)

    return distort


def coded(codec: str, bits: int, container: str) -> Distortion:
    """Compress with a codec of FFmpeg at a bit rate, and decode again."""

    def distort(waveform: Waveform, _: Scene) -> Waveform:
        import av
        import soxr

        rate = CODEC_RATES[codec]
        samples = waveform if rate == SAMPLING_RATE else soxr.resample(waveform, SAMPLING_RATE, rate)
        stream = io.BytesIO()
        with av.open(stream, "w", format=container) as output:
            track = output.add_stream(codec, rate=rate, layout="mono", bit_rate=bits)
            whole = np.round(samples.clip(-1, 1) * 32_767).astype(np.int16)
            for start in range(0, len(whole), 48_000):
                frame = av.AudioFrame.from_ndarray(whole[None, start : start + 48_000], format="s16", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
                output.mux(track.encode(_converted(frame, track)))
            output.mux(track.encode(None))
        stream.seek(0)
        decoded = decode_container(stream, f"{bits} bit/s.{container}", BLOCK_SECONDS, None, ignore)
        rates, parts = zip(*((rate, channels[0]) for rate, channels in decoded), strict=True)
        return audio.load({"array": np.concatenate(parts), "sampling_rate": rates[0]})

    return distort


def _converted(frame: Any, track: Any) -> Any:
    """Convert a frame to the format of a track's codec."""
    import av

    resampler = av.AudioResampler(format=track.format, layout="mono", rate=track.rate)
    return resampler.resample(frame)[0]


def noise(decibels: float) -> Distortion:
    """Add white noise, so many decibels below the speech's power."""
    return lambda waveform, scene: mixed(waveform, scene.random.standard_normal(len(waveform)), decibels)


def babble(decibels: float, voices: int = 4) -> Distortion:
    """Add other voices, together so many decibels below the speech's power."""

    def distort(waveform: Waveform, scene: Scene) -> Waveform:
        total = np.zeros(len(waveform))
        for number in scene.random.choice(len(scene.others), voices, replace=False):
            other = scene.others[int(number)]
            total += np.roll(np.resize(other, len(waveform)), int(scene.random.integers(len(waveform))))
        return mixed(waveform, total, decibels)

    return distort


def mixed(waveform: Waveform, other: NDArray[np.floating], decibels: float) -> Waveform:
    """Add another sound at a ratio of powers; the speech's power is that of its louder half of frames."""
    size = 400
    frames = waveform[: len(waveform) // size * size].reshape(-1, size)
    power = np.square(frames, dtype=np.float64).mean(axis=1)
    speech = power[power >= np.median(power)].mean()
    scale = np.sqrt(speech / max(np.square(other).mean(), 1e-20) / 10 ** (decibels / 10))
    return np.asarray((waveform + scale * other).clip(-1, 1), np.float32)


def room(seconds: float) -> Distortion:
    """Add reverberation: noise that falls by 60 dB in a time (Moorer 1979), as loud as the direct sound."""

    def distort(waveform: Waveform, scene: Scene) -> Waveform:
        count = int(seconds * SAMPLING_RATE)
        tail = scene.random.standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
        tail[: SAMPLING_RATE // 200] = 0  # the first echo comes 5 ms behind
        tail /= np.sqrt(np.square(tail).sum())
        tail[0] = 1.0
        size = 1 << (len(waveform) + count).bit_length()
        wet = np.fft.irfft(np.fft.rfft(waveform, size) * np.fft.rfft(tail, size), size)[: len(waveform)]
        return np.asarray(wet * (np.abs(waveform).max() / np.abs(wet).max()), np.float32)

    return distort


def _as_long(waveform: Waveform, like: Waveform) -> Waveform:
    return np.resize(np.concatenate([waveform, np.zeros(max(0, len(like) - len(waveform)), np.float32)]), len(like))


DISTORTIONS: dict[str, Distortion] = {
    "as it is": lambda waveform, _: waveform,
    "20 dB softer": gain(-20),
    "40 dB softer": gain(-40),
    "20 dB louder, cut off": gain(20),
    "8 kHz and back": through_rate(8_000),
    "44.1 kHz and back": through_rate(44_100),
    "44.1 kHz and back, soxr's quick way": through_rate(44_100, "QQ"),
    "44.1 kHz and back, straight lines": linear(44_100),
    "8 kHz and back, straight lines": linear(8_000),
    "MP3, 64 kbit/s": coded("libmp3lame", 64_000, "mp3"),
    "MP3, 16 kbit/s": coded("libmp3lame", 16_000, "mp3"),
    "Opus, 24 kbit/s": coded("libopus", 24_000, "ogg"),
    "Opus, 8 kbit/s": coded("libopus", 8_000, "ogg"),
    "white noise, 20 dB below": noise(20),
    "white noise, 10 dB below": noise(10),
    "white noise, 0 dB below": noise(0),
    "four voices, 20 dB below": babble(20),
    "four voices, 10 dB below": babble(10),
    "four voices, 0 dB below": babble(0),
    "room of 0.3 s": room(0.3),
    "room of 0.6 s": room(0.6),
    "room of 1 s": room(1.0),
}
"""Name → distortion."""
