"""`emofocus stream`: the emotion of live speech, from a microphone, a file at its own speed, or raw samples."""

import json
import queue
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import click
import numpy as np
from numpy.typing import NDArray

from emofocus import audio
from emofocus.cli.options import (
    Names,
    model_option,
    precision_options,
    smoothing_option,
    voice_option,
    window_option,
    with_options,
)
from emofocus.errors import AudioError, ConfigError, MissingExtraError, one_of
from emofocus.recognition.options import RecognitionOptions
from emofocus.recognition.recognizer import Recognizer
from emofocus.recognition.smoothing import Smoothing
from emofocus.recognition.streaming import STREAM_HOP, Event, StreamingRecognizer
from emofocus.utils.progress import log_line

SAMPLES = {"s16le": "<i2", "s32le": "<i4", "f32le": "<f4"}
"""Encodings of raw samples, by the names of ffmpeg, and their numpy types."""

CHUNK_SECONDS = 0.05
"""Seconds of a chunk."""

WAIT_SECONDS = 2.0
"""Seconds without a sample after which a microphone counts as gone."""

Chunks = Iterator["Chunk"]


@dataclass(frozen=True)
class Chunk:
    """Samples (channels, T), and the seconds that were lost before them."""

    samples: NDArray[Any]
    lost: float = 0.0


def run_stream(
    source: str | None,
    model: str | None,
    format: str | None,
    options: RecognitionOptions,
    smoothing_seconds: float = 1.0,
    rate: int = 16_000,
    samples: str = "s16le",
    channels: int = 1,
    fast: bool = False,
    adapt: bool = False,
    save_voice: Path | None = None,
) -> None:
    """Recognize a stream until it ends, or until Ctrl-C.

    Args:
        source: Path of a file, ``-`` for raw samples on standard input, or None for the microphone.
        model: A model directory, ``org/name`` on the Hugging Face Hub, or None for the shipped model.
        format: A key of `VIEWS`; by default a live view on a terminal, otherwise a line for each change.
        options: How the model is loaded; its hop is the time from event to event.
        smoothing_seconds: Time constant of the averaged scores in seconds.
        rate: Sampling rate of raw samples and of the microphone, in hertz.
        samples: Encoding of raw samples, a key of `SAMPLES`.
        channels: Number of channels of raw samples.
        fast: Whether a file is read as fast as possible instead of at its own speed.
        adapt: Whether the stream adapts to the voice as it goes.
        save_voice: File for the profile of the voice at the end, of a stream that adapts.

    Raises:
        AudioError: The source cannot be read, or the microphone is gone.
        ConfigError: The format or the encoding is unknown, the model cannot be adapted, or a profile is to be saved
            that nothing adapts.
        ModelError: The model cannot be loaded, or cannot stream.
        MissingExtraError: A microphone is wanted, and sounddevice is not installed.
    """
    format = format or ("view" if sys.stdout.isatty() else "text")
    for value, valid, name in ((format, VIEWS, "format"), (samples, SAMPLES, "encoding of samples")):
        if value not in valid:
            raise ConfigError(f"unknown {name} {value!r} ({one_of(valid)})")
    if save_voice is not None and not adapt:
        raise ConfigError("--save-voice needs --adapt: a stream that does not adapt learns no profile")
    file = source not in (None, "-")
    rate = audio.SAMPLING_RATE if file else rate
    smoothing = Smoothing(seconds=smoothing_seconds)
    loaded = Recognizer.load(model, options).for_stream(window=options.window)
    recognizer = StreamingRecognizer(loaded, rate, smoothing, adapt=adapt)
    if source is None:
        chunks = microphone(rate)
    elif source == "-":
        chunks = raw(sys.stdin.buffer, np.dtype(SAMPLES[samples]), channels, rate)
    else:
        chunks = played(Path(source), fast)
    warned = 0
    with VIEWS[format]() as show:
        try:
            for chunk in chunks:
                for event in recognizer.skip(chunk.lost) + recognizer.feed(chunk.samples):
                    show(event)
                for text in recognizer.warnings[warned:]:
                    log_line(text)
                warned = len(recognizer.warnings)
        except KeyboardInterrupt:
            log_line("stopped")
        finally:
            for event in recognizer.finish():
                show(event)
            if save_voice is not None:
                _save_profile(recognizer, save_voice)


def _save_profile(stream: StreamingRecognizer, path: Path) -> None:
    """Write the profile of a stream that has ended, unless it heard no speech."""
    profile = stream.profile
    if profile is None or profile is stream.recognizer.profile:
        log_line(f"{path}: not written, because no speech was heard")
        return
    profile.save(path)
    log_line(f"{path}: {profile.seconds:.0f} s of speech in {profile.clips} recordings")


def played(path: Path, fast: bool = False) -> Chunks:
    """Chunks of a file, at its own speed unless ``fast``."""
    began, samples = time.monotonic(), 0
    for block in audio.stream(path, CHUNK_SECONDS):
        samples += len(block)
        wait = began + samples / audio.SAMPLING_RATE - time.monotonic()
        if wait > 0 and not fast:
            time.sleep(wait)
        yield Chunk(block[None])


def raw(stream: BinaryIO, kind: np.dtype[Any], channels: int, rate: int) -> Chunks:
    """Chunks of interleaved samples from a pipe, as they come; the bytes of a last incomplete sample are left out."""
    frame = kind.itemsize * channels
    rest = b""
    read = getattr(stream, "read1", stream.read)  # read1 does not wait for more
    while piece := read(max(frame, int(CHUNK_SECONDS * rate) * frame)):
        rest += piece
        whole = len(rest) // frame * frame
        if whole:
            yield Chunk(np.frombuffer(rest[:whole], kind).reshape(-1, channels).T)  # (T · channels,) → (channels, T)
            rest = rest[whole:]
    if rest:
        log_line(f"the last {len(rest)} bytes are no whole sample, and were left out")


def microphone(rate: int) -> Chunks:
    """Chunks of the default microphone, until it is gone.

    Raises:
        MissingExtraError: sounddevice is not installed.
        AudioError: There is no microphone, or it has gone, or the library that opens it is missing.
    """
    try:
        import sounddevice
    except ImportError as error:
        raise MissingExtraError("sounddevice", "microphone") from error
    except OSError as error:  # sounddevice is there; the library of the system that it loads is not
        raise AudioError(
            "the microphone needs the library PortAudio, which is not installed (on Debian: apt install libportaudio2)"
        ) from error
    waiting: queue.Queue[Chunk] = queue.Queue()

    def take(samples: NDArray[np.float32], frames: int, _: Any, status: Any) -> None:
        lost = CHUNK_SECONDS if status.input_overflow else 0.0  # PortAudio does not say how much: at least a chunk
        waiting.put(Chunk(samples.T.copy(), lost))

    size = int(CHUNK_SECONDS * rate)
    try:
        with sounddevice.InputStream(samplerate=rate, channels=1, blocksize=size, callback=take, dtype="float32"):
            yield from _until_gone(waiting)
    except sounddevice.PortAudioError as error:
        raise AudioError(f"the microphone cannot be opened ({error})") from error


def _until_gone(waiting: "queue.Queue[Chunk]") -> Chunks:
    chunks = 0
    while True:
        try:
            chunk = waiting.get(timeout=WAIT_SECONDS)
        except queue.Empty:
            raise AudioError(
                f"the microphone has gone: nothing for {WAIT_SECONDS:g} s, after {chunks} chunks"
            ) from None
        chunks += 1
        yield chunk


class _Lines:
    """Prints a line for each event that has one."""

    def __init__(self, line: Callable[[Event], str | None]) -> None:
        self.line = line

    def __enter__(self) -> Callable[[Event], None]:
        return self.show

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()

    def show(self, event: Event) -> None:
        text = self.line(event)
        if text is not None:
            print(text, flush=True)


def _json_line(event: Event) -> str:
    return json.dumps(event.to_dict())


class _ChangeLine:
    """The line of an event whose emotion is another than that of the event before."""

    def __init__(self) -> None:
        self.last: Event | None = None

    def __call__(self, event: Event) -> str | None:
        last, self.last = self.last, event
        return None if last is not None and last.emotion == event.emotion else _emotion_line(event)


def _emotion_line(event: Event) -> str:
    if event.emotion is None or event.smoothed is None:
        return f"{event.end:8.1f} s  ·"
    mark = "" if event.confident else "?"
    share = event.smoothed[event.labels.index(event.emotion)]
    return f"{event.end:8.1f} s  {event.emotion}{mark} {share:.0%}"


class _View:
    """A live view on a terminal: the emotion, a bar for each, and the level."""

    def __enter__(self) -> Callable[[Event], None]:
        from rich.live import Live

        self._live = Live(auto_refresh=False)
        self._live.__enter__()
        return self.show

    def __exit__(self, *details: Any) -> None:
        self._live.__exit__(*details)

    def show(self, event: Event) -> None:
        self._live.update(view(event), refresh=True)


def view(event: Event) -> Any:
    """A table of rich that shows an event."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1))
    name = "no speech" if event.emotion is None else event.emotion + ("" if event.confident else "?")
    grid.add_row(Text(f"{event.end:.1f} s"), Text(name, style="bold"))
    scores = event.scores if event.smoothed is None else event.smoothed
    for label, score in zip(event.labels, scores, strict=True):
        style = "dim" if event.emotion is None else "bold" if label == event.emotion else ""
        grid.add_row(
            Text(label, style=style), Text(f"{'█' * round(30 * float(score)):<30} {float(score):4.0%}", style=style)
        )
    loud = max(0.0, min(1.0, (event.level + 60) / 60))
    words = f"{'▮' * round(30 * loud):<30} {event.level:.0f} dB" + ("  samples lost" if event.damaged else "")
    grid.add_row(Text("level"), Text(words))
    return grid


VIEWS: dict[str, Callable[[], Any]] = {
    "view": _View,
    "text": lambda: _Lines(_ChangeLine()),
    "jsonl": lambda: _Lines(_json_line),
}
"""Format → context that gives a function, which shows an event."""


@click.command()
@click.argument("source", required=False)
@model_option()
@with_options(precision_options())
@click.option(
    "-f",
    "--format",
    type=Names("view", "text", "jsonl"),
    show_default="view on a terminal, else text",
    help="How events are written.",
)
@click.option("--hop", default=STREAM_HOP, metavar="SECONDS", help="Time from event to event.")
@window_option("at most 3.2")
@voice_option()
@click.option("--adapt", is_flag=True, help="Adapt to the voice as it speaks, beginning with --voice if it is given.")
@click.option(
    "--save-voice",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --adapt: write the profile of the voice at the end, which is personal data.",
)
@smoothing_option("Time over which scores are averaged.")
@click.option("--threshold", type=float, metavar="P", show_default="the model's", help="Answers below it are unsure.")
@click.option("--rate", default=16_000, metavar="HERTZ", help="Sampling rate of raw samples, or of the microphone.")
@click.option("--samples", default="s16le", type=Names("s16le", "s32le", "f32le"), help="Encoding of raw samples.")
@click.option("--channels", default=1, type=click.IntRange(min=1), help="Number of channels of raw samples.")
@click.option("--fast", is_flag=True, help="Read a file as fast as possible.")
def stream(
    source: str | None,
    model: str | None,
    precision: str,
    device: str,
    format: str | None,
    hop: float,
    window: float | None,
    voice: str | None,
    adapt: bool,
    save_voice: Path | None,
    smoothing_seconds: float,
    threshold: float | None,
    rate: int,
    samples: str,
    channels: int,
    fast: bool,
) -> None:
    """Recognize live speech, until it ends or Ctrl-C.

    SOURCE is an audio file, played at its own speed, or - for raw samples on standard input, such as
    `ffmpeg … -f s16le -ar 16000 -ac 1 - | emofocus stream -`. Without SOURCE, the microphone is used.
    """
    options = RecognitionOptions(
        threads=1,
        threshold=threshold,
        hop=hop,
        window=window,
        precision=precision,
        device=device,
        voice=voice,
    )
    run_stream(source, model, format, options, smoothing_seconds, rate, samples, channels, fast, adapt, save_voice)
