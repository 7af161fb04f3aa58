"""Who may ask: bearer tokens, of which the file holds hashes alone."""

import hashlib
import hmac
import re
import secrets
from pathlib import Path

from emofocus.errors import ConfigError
from emofocus.utils.atomic import write_text

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
LINE = re.compile(r"([A-Za-z0-9._-]{1,64}) sha256:([0-9a-f]{64})")

TOKEN_BYTES = 32
"""Of chance in a token. That many cannot be guessed, so a fast hash keeps them as well as a slow one would."""


def hash_of(token: str) -> str:
    """What the file holds of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


class Tokens:
    """Tokens by the names of those who have them: a file of lines ``name sha256:…``.

    The file is read again when it has changed, so that a token ends at once when its line goes.

    Args:
        path: The file.

    Raises:
        ConfigError: It cannot be read, or a line of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int] | None = None
        self._hashes: dict[str, str] = {}
        self.read()

    def read(self) -> dict[str, str]:
        """Name → hash, as the file says now.

        Raises:
            ConfigError: As above.
        """
        try:
            status = self.path.stat()
            state = (status.st_mtime_ns, status.st_size)
            if state == self._seen:
                return self._hashes
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.path}: the tokens cannot be read ({error})") from error
        found = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.startswith("#"):
                continue
            parts = LINE.fullmatch(line.strip())
            if parts is None:
                raise ConfigError(f"{self.path}, line {number}: not a token's line (valid: name sha256:64 digits)")
            found[parts[1]] = parts[2]
        self._seen, self._hashes = state, found
        return found

    def owner(self, token: str) -> str | None:
        """Who has a token; None if nobody does. A file that cannot be read any more lets nobody in."""
        try:
            hashes = self.read()
        except ConfigError:
            return None
        given = hash_of(token)
        found = [name for name, known in hashes.items() if hmac.compare_digest(known, given)]
        return found[0] if found else None


def add_token(path: Path, name: str) -> str:
    """Make a token for somebody, and write its hash down.

    Returns:
        The token, which is nowhere else.

    Raises:
        ConfigError: A name that is taken, or is none; or the file cannot be read.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is no name for a token (valid: up to 64 letters, digits, '.', '_' and '-')")
    hashes = Tokens(path).read() if path.exists() else {}
    if name in hashes:
        raise ConfigError(f"{path}: {name} has a token; revoke it before you make another one")
    token = f"emofocus_{secrets.token_urlsafe(TOKEN_BYTES)}"
    _write(path, hashes | {name: hash_of(token)})
    return token


def revoke_token(path: Path, name: str) -> None:
    """End somebody's token.

    Raises:
        ConfigError: There is none, or the file cannot be read.
    """
    hashes = dict(Tokens(path).read())
    if name not in hashes:
        raise ConfigError(f"{path}: {name!r} has no token (those who have one: {', '.join(hashes) or 'nobody'})")
    del hashes[name]
    _write(path, hashes)


def _write(path: Path, hashes: dict[str, str]) -> None:
    write_text(path, "".join(f"{name} sha256:{value}\n" for name, value in hashes.items()))
    path.chmod(0o600)
