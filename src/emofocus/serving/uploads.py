"""The audio file in a request's body, read into memory within the limits."""

import asyncio
from collections.abc import AsyncGenerator

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from emofocus.serving.limits import Limits, Refusal

FIELD = "file"
"""Field of a form that holds the audio."""

FORM = "multipart/form-data"
AUDIO = ("audio/", "video/", "application/octet-stream", "application/ogg")
"""Prefixes of the other accepted content types. The decoder decides what the bytes are."""

OVERHEAD = 4096
"""Bytes of a form in addition to its file."""


async def read_file(request: Request, limits: Limits) -> bytes:
    """Read the audio file of a request: its body, or the field `FIELD` of a form.

    Raises:
        Refusal: No file (400), another content type (415), or a body that is too large (413) or too slow (408).
    """
    kind = request.headers.get("content-type", AUDIO[2]).partition(";")[0].strip().lower()
    if kind != FORM and not kind.startswith(AUDIO):
        raise Refusal(415, "not_audio", f"a body of {kind[:80]!r}; send audio/…, application/octet-stream or {FORM}")
    try:
        async with asyncio.timeout(limits.body_seconds):
            body = await _read_body(request, int(1e6 * limits.megabytes) + (OVERHEAD if kind == FORM else 0))
    except TimeoutError:
        raise Refusal(408, "too_slow", f"the body took longer than {limits.body_seconds:g} s to come") from None
    except ClientDisconnect:
        raise Refusal(400, "gone", "the client has gone") from None
    if kind == FORM:
        body = await _file_field(body, request)
    if not body:
        raise Refusal(400, "no_file", "the body is empty; send an audio file")
    return body


async def _read_body(request: Request, limit: int) -> bytes:
    """Read a body of at most ``limit`` bytes.

    Raises:
        Refusal: The body is larger, or its head says so (413).
    """
    too_large = Refusal(413, "too_large", f"larger than the {limit / 1e6:g} MB that are allowed")
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > limit:
        raise too_large
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


async def _file_field(form: bytes, request: Request) -> bytes:
    """Bytes of the field `FIELD` of a form."""

    async def chunks() -> AsyncGenerator[bytes, None]:
        yield form

    parser = MultiPartParser(request.headers, chunks(), max_files=1, max_fields=8, max_part_size=1024)
    parser.spool_max_size = len(form) + 1  # uploads are never written to a disk
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
