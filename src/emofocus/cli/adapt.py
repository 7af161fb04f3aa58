"""`emofocus adapt`: the profile of a voice, from unlabelled speech."""

from collections.abc import Sequence
from pathlib import Path

import click

from emofocus.cli.options import model_option
from emofocus.errors import AudioError, ConfigError
from emofocus.recognition.bulk import is_list, items_of
from emofocus.recognition.options import RecognitionOptions
from emofocus.recognition.recognizer import Recognizer
from emofocus.utils.progress import log_line


@click.command()
@click.argument("clips", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="CLIPS…")
@model_option()
@click.option("--voice", type=click.Path(dir_okay=False, path_type=Path), help="A profile that these clips add to.")
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The profile, such as voice.json.",
)
def adapt(clips: tuple[Path, ...], model: str | None, voice: Path | None, out: Path) -> None:
    """Learn how somebody sounds, from speech without labels.

    CLIPS are recordings of one person with one microphone, or folders of them. A quarter of a minute helps; two minutes
    help most. Several moods are better than one. Other commands take the profile with --voice.

    The profile holds no audio and no words, but it says how somebody sounds: it is personal data.
    """
    write_profile(clips, model, voice, out)


def write_profile(clips: Sequence[Path], model: str | None, voice: Path | None, out: Path) -> None:
    """Write the profile of the voice in some recordings.

    A recording that cannot be read is named and left out.

    Args:
        clips: Recordings, and folders that are walked.
        model: A model directory, ``org/name`` on the Hugging Face Hub, or None for the shipped model.
        voice: Profile that the recordings add to; None to begin one.
        out: File to write.

    Raises:
        ConfigError: The model cannot be adapted, a list was given, or nothing could be read.
        ModelError: The model cannot be loaded.
    """
    lists = [path for path in clips if is_list(path)]
    if lists:
        raise ConfigError(f"{lists[0]}: a list may hold several voices; name the recordings of one, or their folder")
    options = RecognitionOptions(voice=None if voice is None else str(voice))
    recognizer = Recognizer.load(model, options)
    before = recognizer.profile
    for item in items_of(clips, lambda error: log_line(str(error))):
        try:
            recognizer = recognizer.adapt(item.path)
        except AudioError as error:
            log_line(str(error))
    profile = recognizer.profile
    if profile is None or profile is before:
        raise ConfigError("none of the recordings could be heard, so there is no profile")
    profile.save(out)
    click.echo(f"{out}: {profile.seconds:.0f} s of speech in {profile.clips} recordings")
