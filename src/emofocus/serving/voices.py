"""Profiles of voices that come with a request: used for its answer, and kept by nothing."""

from emofocus.errors import ConfigError
from emofocus.recognition.recognizer import Recognizer
from emofocus.recognition.voice import VoiceProfile
from emofocus.serving.limits import Refusal

PROFILE_BYTES = 1 << 16
"""Size of a profile at most; they have some 6 kB."""


def adapted(recognizer: Recognizer, content: bytes | None) -> Recognizer:
    """The model for the voice of one request; the model itself where the request has no profile.

    Args:
        recognizer: The model, which stays as it is.
        content: JSON of the profile, as `VoiceProfile.to_json` writes it.

    Raises:
        Refusal: It is too large (413), no profile, or the profile of another model (422).
    """
    return recognizer if content is None else recognizer.with_voice(checked_profile(recognizer, content))


def checked_profile(recognizer: Recognizer, content: bytes) -> VoiceProfile:
    """The profile in a request.

    Raises:
        Refusal: As `adapted`.
    """
    if len(content) > PROFILE_BYTES:
        raise Refusal(413, "too_large", f"a profile of {len(content)} bytes; they have {PROFILE_BYTES} at most")
    try:
        profile = VoiceProfile.parse(content)
    except ConfigError as error:
        raise Refusal(422, "not_a_voice", str(error)) from error
    try:
        recognizer.with_voice(profile)
    except ConfigError as error:
        raise Refusal(422, "wrong_voice", str(error)) from error
    return profile
