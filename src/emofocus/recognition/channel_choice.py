"""The channels of recordings that are heard apart, each with a name: `--channels`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from emofocus import audio
from emofocus.errors import AudioError, ConfigError, one_of
from emofocus.recognition.bulk import STANDARD_INPUT, Channel, Item
from emofocus.recognition.turns.turn import Turn

EACH = "each"
"""The choice of all channels that a recording has."""

VALID = f"{EACH}, numbers from 1, or names: agent=1,customer=2"


class ChannelChoice(NamedTuple):
    """Channels that are heard apart.

    Attributes:
        channels: Those that were chosen; None for all that a recording has, which are named after their numbers.
    """

    channels: tuple[Channel, ...] | None = None

    @classmethod
    def parse(cls, text: str) -> "ChannelChoice":
        """A choice as `VALID` spells it.

        Raises:
            ConfigError: It is none of those, or names a channel twice.
        """
        if text.strip().lower() == EACH:
            return cls()
        channels = tuple(_channel(part, text) for part in text.split(","))
        for names in ([channel.name for channel in channels], [channel.number for channel in channels]):
            if len({*names}) < len(names):
                raise ConfigError(f"--channels {text!r} names a channel twice (valid: {VALID})")
        return cls(channels)

    def to_plain(self) -> str | list[list[Any]]:
        """The choice as JSON has it, for records of settings."""
        return EACH if self.channels is None else [list(channel) for channel in self.channels]

    def of(self, source: audio.AudioInput, track: int | None) -> tuple[Channel, ...]:
        """Channels of a recording that are heard; whether a chosen one is there shows when it is read.

        Raises:
            AudioError: The recording cannot be read.
        """
        if self.channels is not None:
            return self.channels
        return tuple(Channel(number, str(number)) for number in range(1, 1 + audio.channel_count(source, track)))

    def items(self, items: Iterable[Item], track: int | None) -> Iterator[Item]:
        """Each clip once for each of its channels. A clip that cannot be read stays, and fails when it is recognized.

        Raises:
            ConfigError: A clip is the standard input, which can be read once.
        """
        for item in items:
            if item.name == str(STANDARD_INPUT):
                raise ConfigError(
                    "the standard input can be read once, and --channels reads it once a channel: name a file"
                )
            try:
                channels = self.of(str(item.path), track)
            except AudioError:
                channels = ()
            yield from (replace(item, channel=channel) for channel in channels) if channels else (item,)

    def of_turns(self, turns: Sequence[Turn], name: str) -> list[int]:
        """Number of the channel of each turn: the one that its file names, the only one, or the one of its speaker.

        Args:
            turns: Turns of a recording.
            name: Name of their file in errors.

        Raises:
            ConfigError: A turn has none of these.
        """
        if self.channels is not None and len(self.channels) == 1 and not self.channels[0].named:
            return [self.channels[0].number] * len(turns)
        numbers = {channel.name: channel.number for channel in self.channels or ()}
        return [_channel_of(turn, numbers, f"{name}: turn {place}") for place, turn in enumerate(turns, start=1)]


def _channel_of(turn: Turn, numbers: Mapping[str, int], place: str) -> int:
    """Channel of a turn, by the names of speakers where there are any; ``place`` names the turn in errors."""
    if not numbers:
        if turn.channel is None:
            raise ConfigError(f"{place} names no channel (--channels {EACH} needs a field channel, from 1)")
        return turn.channel
    speaker = turn.speaker or "nobody"
    if speaker not in numbers:
        raise ConfigError(f"{place} is {speaker}'s, who has no channel ({one_of(numbers)})")
    return numbers[speaker]


def _channel(part: str, text: str) -> Channel:
    name, equals, number = part.rpartition("=")
    if not number.strip().isdecimal() or int(number) < 1 or (equals and not name.strip()):
        raise ConfigError(f"--channels {text!r} is not valid (valid: {VALID})")
    return Channel(int(number), name.strip() if equals else number.strip())
