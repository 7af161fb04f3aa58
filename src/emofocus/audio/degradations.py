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

TELEPHONE_RATE = 8_000

CODEC_RATES = {"libmp3lame": SAMPLING_RATE, "libopus": 48_000, "libopencore_amrnb": TELEPHONE_RATE}
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


def offset(percent: float) -> Distortion:
    """Add a constant, in percent of full scale; samples beyond full scale are clipped."""
    return lambda waveform, _: np.asarray((waveform + percent / 100).clip(-1, 1), np.float32)


def through_rate(rate: int, quality: str = "HQ") -> Distortion:
    """Resample to another rate and back, with soxr."""

    def distort(waveform: Waveform, _: Scene) -> Waveform:
        import soxr

        there = soxr.resample(waveform, SAMPLING_RATE, rate, quality=quality)
        return _as_long(soxr.resample(there, rate, SAMPLING_RATE, quality=quality), waveform)

    return distort


def chain(*distortions: Distortion) -> Distortion:
    """Several distortions, one after the other."""

    def distort(waveform: Waveform, scene: Scene) -> Waveform:
        for distortion in distortions:
            waveform = distortion(waveform, scene)
        return waveform

    return distort


def telephone(codec: str) -> Distortion:
    """A telephone line of 8 kHz, its speech as loud as a line carries it.

    Args:
        codec: ``ULAW`` (G.711), ``GSM610`` (GSM full rate), or ``AMR`` (narrowband, 12.2 kbit/s).
    """
    through = amr if codec == "AMR" else stored(codec)

    def distort(waveform: Waveform, scene: Scene) -> Waveform:
        import soxr

        peak = max(float(np.abs(waveform).max()), 1e-9)
        there = soxr.resample(waveform * (0.5 / peak), SAMPLING_RATE, TELEPHONE_RATE)
        back = soxr.resample(through(there.clip(-1, 1)), TELEPHONE_RATE, SAMPLING_RATE)
        return np.asarray(_as_long(back, waveform) * (peak / 0.5), np.float32)

    return distort


def stored(subtype: str) -> Callable[[Waveform], Waveform]:
    """Write samples at 8 kHz to a WAV file of a subtype of libsndfile, and read them again."""

    def store(samples: Waveform) -> Waveform:
        import soundfile

        stream = io.BytesIO()
        soundfile.write(stream, samples, TELEPHONE_RATE, format="WAV", subtype=subtype)
        stream.seek(0)
        return np.asarray(soundfile.read(stream, dtype="float32")[0])

    return store


def amr(samples: Waveform) -> Waveform:
    """Code samples at 8 kHz with AMR, and decode them at that rate."""
    rates, parts = _coded(samples, "libopencore_amrnb", 12_200, "amr")
    assert set(rates) == {TELEPHONE_RATE}
    return np.concatenate(parts)


def microphone(steps: NDArray[np.floating]) -> Distortion:
    """Change gains by frequency, as another microphone does; the peak stays.

    Args:
        steps: Differences of gain, in decibels, from one to the next of eight frequencies: 0, 125, 250, … 8000 Hz.
    """
    frequencies = np.array([0.0, *(125.0 * 2.0 ** np.arange(7))])
    decibels = np.cumsum(steps)

    def distort(waveform: Waveform, _: Scene) -> Waveform:
        bins = np.fft.rfftfreq(len(waveform), 1 / SAMPLING_RATE)
        gains = np.interp(np.log2(bins + 60), np.log2(frequencies + 60), decibels - decibels.mean())
        filtered = np.fft.irfft(np.fft.rfft(waveform) * 10 ** (gains / 20), len(waveform))
        peak = np.abs(waveform).max() / max(np.abs(filtered).max(), 1e-9)
        return np.asarray(filtered * peak, np.float32)

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
        import soxr

        rate = CODEC_RATES[codec]
        samples = waveform if rate == SAMPLING_RATE else soxr.resample(waveform, SAMPLING_RATE, rate)
        rates, parts = _coded(samples, codec, bits, container)
        decoded = audio.load({"array": np.concatenate(parts), "sampling_rate": rates[0]})
        return _as_long(decoded, waveform)  # some codecs end a few samples earlier or later

    return distort


def _coded(samples: Waveform, codec: str, bits: int, container: str) -> tuple[tuple[int, ...], tuple[Waveform, ...]]:
    """Encode samples at the codec's rate, and decode them: rates and samples of the blocks."""
    import av

    rate = CODEC_RATES[codec]
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
    return rates, parts


def _converted(frame: Any, track: Any) -> Any:
    """Convert a frame to the format of a track's codec."""
    import av

    resampler = av.AudioResampler(format=track.format, layout="mono", rate=track.rate)
    return resampler.resample(frame)[0]


def noise(decibels: float, color: float = 0.0) -> Distortion:
    """Add noise, so many decibels below the speech's power.

    Args:
        decibels: How far below.
        color: Its amplitude falls with frequency to this power: 0 is white, 0.5 pink, 1 brown.
    """

    def distort(waveform: Waveform, scene: Scene) -> Waveform:
        added = scene.random.standard_normal(len(waveform))
        if color:
            spectrum = np.fft.rfft(added)
            added = np.fft.irfft(spectrum * np.arange(1.0, len(spectrum) + 1) ** -color, len(waveform))
        return mixed(waveform, added, decibels)

    return distort


def babble(
    decibels: float, voices: int = 4, speeds: tuple[float, float] | None = None, backwards: bool = False
) -> Distortion:
    """Add other voices, together so many decibels below the speech's power; noise, where there are none.

    Args:
        decibels: How far below.
        voices: Number of voices, or as many as there are.
        speeds: Range of random speeds at which they are played, if not as they are.
        backwards: Whether they are played backwards.
    """

    def distort(waveform: Waveform, scene: Scene) -> Waveform:
        if not scene.others:
            return noise(decibels)(waveform, scene)
        total = np.zeros(len(waveform))
        for number in scene.random.choice(len(scene.others), min(voices, len(scene.others)), replace=False):
            other = scene.others[int(number)][:: -1 if backwards else 1]
            if speeds:
                import soxr

                other = soxr.resample(other, scene.random.uniform(*speeds) * SAMPLING_RATE, SAMPLING_RATE)
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
    "offset of 0.03 %": offset(0.03),
    "offset of 0.3 %": offset(0.3),
    "offset of 1 %": offset(1),
    "offset of 5 %": offset(5),
    "offset of 20 %": offset(20),
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
