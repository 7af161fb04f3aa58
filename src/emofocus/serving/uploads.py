"""The file in a request's body: in memory, and of it no more than is allowed."""

import asyncio
from collections.abc import AsyncGenerator

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from emofocus.serving.limits import Limits, Refusal

FIELD = "file"
"""Of a form, which holds the audio."""

FORM = "multipart/form-data"
AUDIO = ("audio/", "video/", "application/octet-stream", "application/ogg")
"""Beginnings of other types of content that are looked at. What the bytes are is seen in the bytes."""

OVERHEAD = 4096
"""Bytes of a form around its file."""


async def read_file(request: Request, limits: Limits) -> bytes:
    """The audio file of a request: its body, or a form's field `FIELD`.

    Raises:
        Refusal: None is there (400), or another type of content (415), it is too large (413) or too slow (408).
    """
    kind = request.headers.get("content-type", AUDIO[2]).partition(";")[0].strip().lower()
    if kind != FORM and not kind.startswith(AUDIO):
        raise Refusal(415, "not_audio", f"a body of {kind[:80]!r}; send audio/…, application/octet-stream or {FORM}")
    try:
        async with asyncio.timeout(limits.body_seconds):
            body = await _whole(request, int(1e6 * limits.megabytes) + (OVERHEAD if kind == FORM else 0))
    except TimeoutError:
        raise Refusal(408, "too_slow", f"the body took longer than {limits.body_seconds:g} s to come") from None
    except ClientDisconnect:
        raise Refusal(400, "gone", "the client has gone") from None
    if kind == FORM:
        body = await _file_of(body, request)
    if not body:
        raise Refusal(400, "no_file", "the body is empty; send an audio file")
    return body


async def _whole(request: Request, most: int) -> bytes:
    """The body.

    Raises:
        Refusal: It is larger than it may be, or says so (413).
    """
    too_large = Refusal(413, "too_large", f"larger than the {most / 1e6:g} MB that are allowed")
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > most:
        raise too_large
    chunks, seen = [], 0
    async for chunk in request.stream():
        seen += len(chunk)
        if seen > most:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


async def _file_of(form: bytes, request: Request) -> bytes:
    """The bytes of a form's field `FIELD`."""

    async def at_once() -> AsyncGenerator[bytes, None]:
        yield form

    parser = MultiPartParser(request.headers, at_once(), max_files=1, max_fields=8, max_part_size=1024)
    parser.spool_max_size = len(form) + 1  # never on a disk
    try:
        fields = await parser.parse()
    except (MultiPartException, KeyError) as error:
        raise Refusal(400, "not_a_form", f"a form that cannot be read ({getattr(error, 'message', error)})") from error
    try:
        file = fields.get(FIELD)
        if not isinstance(file, UploadFile):
            raise Refusal(400, "no_file", f"the form has no file in its field {FIELD!r}")
        return await file.read()
    finally:
        await fields.close()
