"""The audio file in a request's body, and what comes beside it, read into memory within the limits."""

import asyncio
from collections.abc import AsyncGenerator
from typing import NamedTuple

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from emofocus.serving.limits import Limits, Refusal
from emofocus.serving.turns import TURNS_BYTES, Transcript
from emofocus.serving.voices import PROFILE_BYTES

FIELD, VOICE_FIELD, TURNS_FIELD = "file", "voice", "segments"
"""Fields of a form that hold the audio, the profile of the voice that speaks, and who speaks when."""

FORM = "multipart/form-data"
AUDIO = ("audio/", "video/", "application/octet-stream", "application/ogg")
"""Prefixes of the other accepted content types. The decoder decides what the bytes are."""

OVERHEAD = 4096
"""Bytes of a form in addition to its files."""


class Upload(NamedTuple):
    """Content of a request.

    Attributes:
        file: The audio file.
        voice: JSON of the profile of the voice that speaks; None if there is none.
        transcript: Turns of the recording; None if there are none.
    """

    file: bytes
    voice: bytes | None = None
    transcript: Transcript | None = None


async def read_upload(request: Request, limits: Limits) -> Upload:
    """Read the content of a request: the audio file as its body, or the fields of a form.

    Raises:
        Refusal: No file (400), another content type (415), or a body that is too large (413) or too slow (408).
    """
    kind = request.headers.get("content-type", AUDIO[2]).partition(";")[0].strip().lower()
    if kind != FORM and not kind.startswith(AUDIO):
        raise Refusal(415, "not_audio", f"a body of {kind[:80]!r}; send audio/…, application/octet-stream or {FORM}")
    most = int(1e6 * limits.megabytes)
    try:
        async with asyncio.timeout(limits.body_seconds):
            body = await _read_body(request, most + (OVERHEAD + PROFILE_BYTES + TURNS_BYTES if kind == FORM else 0))
    except TimeoutError:
        raise Refusal(408, "too_slow", f"the body took longer than {limits.body_seconds:g} s to come") from None
    except ClientDisconnect:
        raise Refusal(400, "gone", "the client has gone") from None
    upload = await _form_fields(body, request) if kind == FORM else Upload(body)
    if len(upload.file) > most:  # a form's other fields may be smaller than they may be
        raise _too_large(most)
    if not upload.file:
        raise Refusal(400, "no_file", "the body is empty; send an audio file")
    return upload


async def _read_body(request: Request, limit: int) -> bytes:
    """Read a body of at most ``limit`` bytes.

    Raises:
        Refusal: The body is larger, or its head says so (413).
    """
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(limit: int) -> Refusal:
    return Refusal(413, "too_large", f"larger than the {limit / 1e6:g} MB that are allowed")


async def _form_fields(form: bytes, request: Request) -> Upload:
    """The fields of a form: `FIELD`, a file, and `VOICE_FIELD` and `TURNS_FIELD`, files or texts."""

    async def chunks() -> AsyncGenerator[bytes, None]:
        yield form

    parser = MultiPartParser(request.headers, chunks(), max_files=3, max_fields=8, max_part_size=TURNS_BYTES)
    parser.spool_max_size = len(form) + 1  # uploads are never written to a disk
    try:
        fields = await parser.parse()
    except (MultiPartException, KeyError) as error:
        raise Refusal(400, "not_a_form", f"a form that cannot be read ({getattr(error, 'message', error)})") from error
    try:
        file = fields.get(FIELD)
        if not isinstance(file, UploadFile):
            raise Refusal(400, "no_file", f"the form has no file in its field {FIELD!r}")
        voice, turns = await _content(fields.get(VOICE_FIELD)), await _content(fields.get(TURNS_FIELD))
        named = fields.get(TURNS_FIELD)
        name = named.filename or "" if isinstance(named, UploadFile) else ""
        return Upload(await file.read(), voice, None if turns is None else Transcript(turns, name))
    finally:
        await fields.close()


async def _content(field: UploadFile | str | None) -> bytes | None:
    """Bytes of a field that may be a file or text; None if it is not there or empty."""
    if isinstance(field, UploadFile):
        return await field.read()
    return field.encode() if field else None
