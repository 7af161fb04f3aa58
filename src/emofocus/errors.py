"""One small tree of exceptions; every message names the bad value and, where there are any, the valid ones."""

from collections.abc import Iterable


class EmofocusError(Exception):
    """Base of every error that a user can cause; the command line prints its message and exits with 1."""


class AudioError(EmofocusError):
    """Audio that cannot be decoded, or holds nothing that can be recognized."""


class SilentAudioError(AudioError):
    """Audio without a sample above the level of silence."""


class ShortAudioError(AudioError):
    """Audio that is shorter than one analysis window, or holds no samples."""


class LateTurnError(AudioError):
    """A turn of a transcript that begins behind the end of the recording."""


class AudioWarning(UserWarning):
    """A recording that is cut, damaged or unusual, and is read all the same."""


class ConfigError(EmofocusError):
    """A setting that does not exist, or has a value that is not valid."""


class CorpusError(EmofocusError):
    """A folder that is not the corpus it is said to be."""


class DownloadError(EmofocusError):
    """A corpus that cannot be had, or not whole, from where its owner offers it."""


class SplitError(EmofocusError):
    """Folds that cannot be made, or that do not fit their corpus."""


class ModelError(EmofocusError):
    """A model that does not exist, or a model directory that is incomplete or damaged."""


class MissingExtraError(EmofocusError):
    """An optional part is not installed; the message gives the command that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this needs {package}, which is not installed: pip install 'emofocus[{extra}]'")


def one_of(valid: Iterable[object]) -> str:
    """Spell the valid values for an error message."""
    return "valid: " + ", ".join(str(value) for value in valid)
