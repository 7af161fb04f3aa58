"""Several channels → one: their mean, or one of them where they cancel each other.

A microphone cable or a program that inverts one of two channels is heard on loudspeakers as a slight oddness; the mean
of the channels is silence.
"""

from collections.abc import Iterator
from copy import copy
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from emofocus.audio.notices import Notice, Warn
from emofocus.errors import AudioError, one_of

Channels: TypeAlias = NDArray[np.float32]
"""Samples of shape (channels, T)."""

Mono: TypeAlias = NDArray[np.float32]
"""Samples of shape (T,)."""

CANCELLED = 0.1
"""Power of the mean over the power that independent channels would have, below which channels cancel: of two that are
equally loud, those with a correlation below -0.9."""

WINDOW_SECONDS = 10.0
"""Seconds that are compared at a time. They stand at fixed places, so that the answer does not depend on blocks."""


class _Power:
    """Sums of a stretch of channels, from which their powers follow."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self._middles: list[np.float32] = []  # taken off before squaring, or a large offset would hide a soft sound
        self.sums, self.squares = np.zeros(channels + 1), np.zeros(channels + 1)  # the mean's are the last ones

    def add(self, block: Channels, mean: Mono) -> None:
        """Take samples of the channels, and their mean."""
        with np.errstate(invalid="ignore", over="ignore"):  # samples that are not finite are refused later
            if not self.count:
                self._middles = [row.mean() for row in (*block, mean)]
            rows = [row - middle for row, middle in zip((*block, mean), self._middles, strict=True)]
            self.sums = self.sums + [float(row.sum()) for row in rows]
            self.squares = self.squares + [float(np.dot(row, row)) for row in rows]
        self.count += block.shape[1]

    def loudest_of_cancelling(self) -> int | None:
        """Number of the loudest channel, if the channels cancel each other."""
        if not self.count:
            return None
        with np.errstate(invalid="ignore", over="ignore"):
            power = self.squares / self.count - (self.sums / self.count) ** 2
            independent = power[:-1].sum() / (len(power) - 1) ** 2
            return int(power[:-1].argmax()) if power[-1] < CANCELLED * independent else None


class ChannelMixer:
    """Mixes the channels of a live stream, chunk by chunk; all samples so far decide.

    Attributes:
        chosen: Position of the channel that alone is used at present; None while channels are averaged.
    """

    def __init__(self) -> None:
        self._power: _Power | None = None
        self.chosen: int | None = None

    def __call__(self, block: Channels) -> Mono:
        """(channels, T) → (T,)."""
        if len(block) == 1:
            self.chosen = None
            return np.asarray(block[0], np.float32)
        mean = _mean(block)
        if self._power is None or len(self._power.sums) != len(block) + 1:
            self._power = _Power(len(block))
        self._power.add(block, mean)
        self.chosen = self._power.loudest_of_cancelling()
        return mean if self.chosen is None else np.ascontiguousarray(block[self.chosen])

    def copy(self) -> "ChannelMixer":
        """Another mixer that goes on from here."""
        other = copy(self)
        other._power = copy(self._power)  # its arrays are replaced, never changed
        return other


def inverted(channel: int, since: float) -> Notice:
    """The notice that channels cancel each other.

    Args:
        channel: Position of the channel that is used.
        since: Seconds from the beginning at which they were first found to.
    """
    when = f" from {since:g} s on" if since else ""
    return Notice("inverted", f"the channels cancel each other; channel {channel + 1} alone is used{when}")


def chosen(blocks: Iterator[tuple[int, Channels]], channel: int, name: str) -> Iterator[tuple[int, Mono]]:
    """Blocks (channels, T_k) with their rates → one of their channels (T_k,).

    Args:
        blocks: Consecutive ones.
        channel: Number of the channel, from 1.
        name: Name of the recording in errors.

    Raises:
        AudioError: The recording has no such channel.
    """
    for rate, block in blocks:
        if not 1 <= channel <= len(block):
            raise AudioError(f"{name}: has no channel {channel} ({one_of(range(1, len(block) + 1))})")
        yield rate, np.ascontiguousarray(block[channel - 1])


def mixed(blocks: Iterator[tuple[int, Channels]], warn: Warn) -> Iterator[tuple[int, Mono]]:
    """Blocks (channels, T_k) with their rates → (T_k,).

    Channels are compared in windows of `WINDOW_SECONDS`. From the first window on in which they cancel each other, the
    channel that is the loudest there is used alone.

    Args:
        blocks: Consecutive ones, which may be longer than a window.
        warn: Takes a notice if channels cancel each other.
    """
    window: _Window | None = None
    for rate, block in blocks:
        if window is not None and (rate, len(block)) != (window.rate, window.channels):
            yield from window.finish()
            window = None
        if len(block) == 1:
            yield rate, block[0]
            continue
        window = window or _Window(rate, len(block), warn)
        yield from window.feed(block)
    if window is not None:
        yield from window.finish()


class _Window:
    """Blocks of one rate and one number of channels, held until their window is full."""

    def __init__(self, rate: int, channels: int, warn: Warn) -> None:
        self.rate, self.channels, self._warn = rate, channels, warn
        self._size = round(WINDOW_SECONDS * rate)
        self._power = _Power(channels)
        self._held: list[tuple[Channels, Mono]] = []
        self._chosen: int | None = None
        self._windows = 0

    def feed(self, block: Channels) -> Iterator[tuple[int, Mono]]:
        """Take a block, and give the windows that are full."""
        while block.shape[1]:
            part = block[:, : self._size - self._power.count]
            block = block[:, part.shape[1] :]
            mean = _mean(part)
            self._held.append((part, mean))
            self._power.add(part, mean)
            if self._power.count == self._size:
                yield from self._decided()

    def finish(self) -> Iterator[tuple[int, Mono]]:
        """Give the rest; a rest behind a full window is mixed as that window was."""
        if self._windows:
            yield from self._given()
        else:
            yield from self._decided()

    def _decided(self) -> Iterator[tuple[int, Mono]]:
        if self._chosen is None:
            self._chosen = self._power.loudest_of_cancelling()
            if self._chosen is not None:
                self._warn(inverted(self._chosen, WINDOW_SECONDS * self._windows))
        self._windows += 1
        yield from self._given()

    def _given(self) -> Iterator[tuple[int, Mono]]:
        for part, mean in self._held:
            yield self.rate, mean if self._chosen is None else np.ascontiguousarray(part[self._chosen])
        self._held, self._power = [], _Power(self.channels)


def _mean(block: Channels) -> Mono:
    """(channels, T) → (T,): the mean, so that equal channels change nothing."""
    with np.errstate(invalid="ignore", over="ignore"):  # samples that are not finite are refused later
        mean: Mono = block.mean(axis=0, dtype=np.float32)
        return mean
