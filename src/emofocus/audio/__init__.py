"""Audio files and arrays → 16 kHz mono samples."""

from emofocus.audio.decoding import BLOCK_SECONDS, EXTENSIONS, TOLERATED_SECONDS, decode
from emofocus.audio.loading import (
    LARGEST,
    MINIMUM_SAMPLES,
    SAMPLING_RATE,
    SILENCE_DB,
    AudioArray,
    AudioInput,
    channel_count,
    check,
    check_length,
    check_level,
    find,
    holds_numbers,
    load,
    name_of,
    part,
    stream,
    with_rate,
)
from emofocus.audio.notices import Notice, Warn
from emofocus.audio.samples import Waveform, channels_of, checked_rate

__all__ = [
    "BLOCK_SECONDS",
    "EXTENSIONS",
    "LARGEST",
    "MINIMUM_SAMPLES",
    "SAMPLING_RATE",
    "SILENCE_DB",
    "TOLERATED_SECONDS",
    "AudioArray",
    "AudioInput",
    "Notice",
    "Warn",
    "Waveform",
    "channel_count",
    "channels_of",
    "check",
    "check_length",
    "check_level",
    "checked_rate",
    "decode",
    "find",
    "holds_numbers",
    "load",
    "name_of",
    "part",
    "stream",
    "with_rate",
]
