"""Download of one file over HTTP, resumed where an earlier attempt ended."""

import sys
import time
from collections.abc import Iterable, Iterator
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

from emofocus.errors import DownloadError
from emofocus.utils.progress import LINE_EVERY, log_line

TIMEOUT = 60.0
"""Seconds without a byte after which a download fails."""

CHUNK = 1 << 14
"""Bytes written at a time; at most these are lost when a connection breaks off."""


def size(number: int) -> str:
    """Number of bytes with a readable unit."""
    return f"{number / 1e6:.1f} MB" if number >= 1e5 else f"{number} bytes"


def fetch(url: str, part: Path, title: str = "", session: Any = None) -> None:
    """Download a file, resuming where an earlier attempt ended.

    Args:
        url: Address of the file.
        part: File to write; existing content is the beginning from an earlier attempt.
        title: Title of the progress bar; empty for none.
        session: A `requests.Session`, for many files from one server.

    Raises:
        DownloadError: The server does not answer, sends something else, or not everything; ``part`` is kept for the
            next attempt.
    """
    import requests

    have = part.stat().st_size if part.exists() else 0
    # Compressed answers could not be resumed.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with (session or requests).get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            done = _take(answer, part, have, title)
    except requests.RequestException as error:
        raise DownloadError(f"{url}: {_reason(error)}{_kept(part)}") from error
    except OSError as error:
        raise DownloadError(f"{part}: cannot be written ({error.strerror or error})") from error
    if not done:
        part.unlink()
        fetch(url, part, title, session)


def _take(answer: Any, part: Path, have: int, title: str) -> bool:
    """Write the answer of a server; False if it cannot resume, so that the download must start again."""
    total = _total(answer)
    code, begin = answer.status_code, answer.headers.get("Content-Range", "")
    if have and code == 416:  # the part already has all bytes, or too many
        return have == total
    if have and code == 206 and not begin.startswith(f"bytes {have}-"):
        return False
    if code not in (200, 206):
        raise DownloadError(f"{answer.url}: the server answers {code} {answer.reason}{_kept(part)}")
    if have and code == 200:
        log_line(f"{answer.url}: this server cannot go on where it ended; from the beginning")
        have = 0
    with part.open("ab" if have else "wb") as opened:
        for chunk in _shown(answer.iter_content(CHUNK), title, have, total):
            opened.write(chunk)
    written = part.stat().st_size
    if total is not None and written != total:
        raise DownloadError(f"{answer.url}: {size(written)} came of {size(total)}{_kept(part)}")
    return True


def _total(answer: Any) -> int | None:
    """Bytes of the whole file; None if the server does not tell."""
    _, slash, total = answer.headers.get("Content-Range", "").rpartition("/")
    text = total if slash else answer.headers.get("Content-Length", "") if answer.status_code == 200 else ""
    return int(text) if text.isdigit() and "Content-Encoding" not in answer.headers else None


def _reason(error: Exception) -> str:
    """Last of the reasons that requests chains, such as ``Connection refused``."""
    inner = getattr(error.args[0], "reason", error.args[0]) if error.args else error
    if any(isinstance(cause, IncompleteRead) for cause in getattr(inner, "args", ())):  # of a ProtocolError of urllib3
        return "the connection broke off"
    return f"the connection failed ({str(inner).rsplit(': ', 1)[-1]})"


def _kept(part: Path) -> str:
    kept = part.stat().st_size if part.exists() else 0
    return f"; {size(kept)} are kept, and the same command goes on from there" if kept else ""


def _shown(chunks: Iterable[bytes], title: str, have: int, total: int | None) -> Iterator[bytes]:
    """Yield chunks and show the number of bytes so far."""
    if title and sys.stderr.isatty():
        yield from _shown_as_bar(chunks, title, have, total)
        return
    shown = time.monotonic()
    for chunk in chunks:
        yield chunk
        have += len(chunk)
        if title and time.monotonic() - shown > LINE_EVERY:
            log_line(f"{title}: {size(have)}{f' of {size(total)}' if total else ''}")
            shown = time.monotonic()


def _shown_as_bar(chunks: Iterable[bytes], title: str, have: int, total: int | None) -> Iterator[bytes]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total, completed=have)
        for chunk in chunks:
            yield chunk
            progress.advance(task, len(chunk))
