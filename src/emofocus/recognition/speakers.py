"""Voices of many speakers: clips are divided by who speaks, and each voice gets a profile from all of its clips."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from emofocus import audio
from emofocus.errors import AudioError, ConfigError
from emofocus.recognition.bulk import STANDARD_INPUT, Item, is_list, items_of
from emofocus.recognition.recognizer import Recognizer
from emofocus.recognition.voice import VoiceProfile, measure, strength_of
from emofocus.utils.folder_tree import is_file
from emofocus.utils.lookahead import map_ahead
from emofocus.utils.progress import log_progress


@dataclass(frozen=True)
class VoiceGroups:
    """The way in which clips are divided by voice.

    Attributes:
        column: Column, or key, of lists that names the speaker of each clip; None where each folder is one voice.
    """

    column: str | None = None

    def items(self, paths: Sequence[Path], report: Callable[[AudioError], None]) -> Iterator[Item]:
        """Clips with the names of their voices; a clip whose cell is empty has none.

        Args:
            paths: Files, folders and lists, as `items_of` takes them.
            report: Called with each error that costs a clip.

        Raises:
            ConfigError: A path is no list that could name speakers, a list lacks the column, or the standard input is
                to be read, which cannot be read twice.
        """
        if STANDARD_INPUT in paths:
            raise ConfigError("the standard input can be read once; voices need their clips twice, so name files")
        if self.column is not None:
            others = [path for path in paths if not is_list(path)]
            if others:
                raise ConfigError(
                    f"{others[0]}: no list (.csv or .jsonl) whose column {self.column!r} could name the speaker"
                )
            return items_of(paths, report, self.column)
        return (replace(item, voice=str(item.path.parent.absolute())) for item in items_of(paths, report))

    def recognizers(
        self, recognizer: Recognizer, paths: Sequence[Path], workers: int | None = None
    ) -> dict[str, Recognizer]:
        """The recognizer of each voice, adapted to all of its clips. Memory grows by one profile a voice.

        Clips that cannot be heard are left out; their errors are reported when they are recognized.

        Args:
            recognizer: The model, for nobody's voice.
            paths: As in `items`.
            workers: Number of threads; by default as many as there are cores.

        Raises:
            ConfigError: The model cannot be adapted, or as in `items`.
        """
        strength_of(recognizer.engine, recognizer.config)
        items = (item for item in self.items(paths, lambda _: None) if item.voice is not None)
        return {name: recognizer.with_voice(profile) for name, profile in _profiles(recognizer, items, workers).items()}


def _profiles(recognizer: Recognizer, items: Iterable[Item], workers: int | None) -> dict[str, VoiceProfile]:
    """Profile of each voice. The order of the clips decides its last bits, and the number of threads does not."""
    profiles: dict[str, VoiceProfile] = {}
    count = workers or os.cpu_count() or 1
    heard = map_ahead(partial(_measured, recognizer), items, count, ahead=2 * count)
    clips = 0

    def line(_: object, spent: float) -> str:
        return f"voices: {clips} clips heard, {clips / spent:.1f} a second, {len(profiles)} voices"

    for name, profile in log_progress(heard, line):
        clips += 1
        if profile is not None:
            profiles[name] = profiles[name] + profile if name in profiles else profile
    return profiles


def _measured(recognizer: Recognizer, item: Item) -> tuple[str, VoiceProfile | None]:
    """The voice of a clip, and the profile of the clip alone; None for one that cannot be heard, or is a pipe."""
    assert item.voice is not None
    if not is_file(item.path):
        return item.voice, None
    try:
        blocks = audio.stream(str(item.path), track=recognizer.track, channel=item.channel_number)
        part = audio.part(blocks, item.name, item.start, item.end)
        return item.voice, measure(recognizer.engine, recognizer.config, part, item.name)
    except AudioError:
        return item.voice, None


def digest_of(voices: Mapping[str, Recognizer]) -> str | None:
    """Hash of the profiles of voices and their names; None if there are no voices."""
    import hashlib  # here: OpenSSL takes longer to load than a clip to be recognized

    profiles = sorted((name, adapted.profile) for name, adapted in voices.items() if adapted.profile is not None)
    content = repr([(name, profile.digest) for name, profile in profiles])
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest() if profiles else None
