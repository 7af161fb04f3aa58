"""Bearer tokens of the service's clients; the file of tokens holds only their hashes."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from pathlib import Path

from emofocus.errors import ConfigError
from emofocus.utils.atomic import write_text

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
LINE = re.compile(r"([A-Za-z0-9._-]{1,64}) sha256:([0-9a-f]{64})")

TOKEN_BYTES = 32
"""Random bytes in a token. So many cannot be guessed, so a fast hash protects them as well as a slow one."""


def hash_of(token: str) -> str:
    """SHA-256 of a token in hexadecimal digits, as the file holds it."""
    return hashlib.sha256(token.encode()).hexdigest()


class Tokens:
    """A file of tokens, with one line ``name sha256:…`` for each owner.

    The file is read again whenever it has changed, so removing a line ends its token at once.

    Args:
        path: Path of the file of tokens.
        report: Receives a line whenever the file was read again, and when it cannot be read.

    Raises:
        ConfigError: The file or one of its lines cannot be read.
    """

    def __init__(self, path: Path, report: Callable[[str], None] | None = None) -> None:
        self.path, self._report, self._last_report = path, report, ""
        self._version: tuple[int, int] | None = None  # time and size when it was read
        self._hashes: dict[str, str] = {}
        self.read()

    def read(self) -> dict[str, str]:
        """Owner → hash, as the file is now.

        Raises:
            ConfigError: The file or one of its lines cannot be read.
        """
        try:
            status = self.path.stat()
            version = (status.st_mtime_ns, status.st_size)
            if version == self._version:
                return self._hashes
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.path}: the tokens cannot be read ({error})") from error
        hashes = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.startswith("#"):
                continue
            parts = LINE.fullmatch(line.strip())
            if parts is None:
                raise ConfigError(f"{self.path}, line {number}: not a token's line (valid: name sha256:64 digits)")
            hashes[parts[1]] = parts[2]
        if self._version is not None:
            self._tell(f"{self.path} has changed: valid tokens {len(hashes)}", again=True)
        self._version, self._hashes = version, hashes
        return hashes

    def _tell(self, line: str, again: bool = False) -> None:
        """Report a line; the same one twice in a row only if it is news ``again``."""
        if self._report is not None and (again or line != self._last_report):
            self._report(line)
        self._last_report = line

    def owner(self, token: str) -> str | None:
        """Name of a token's owner, or None; an unreadable file has no owners."""
        try:
            hashes = self.read()
        except ConfigError as error:
            self._tell(f"{error}; nobody is admitted")
            return None
        given = hash_of(token)
        owners = [name for name, known in hashes.items() if hmac.compare_digest(known, given)]  # in constant time
        return owners[0] if owners else None


def add_token(path: Path, name: str) -> str:
    """Make a token and append its hash to a file.

    Args:
        path: The file, which is created if it does not exist.
        name: Name of the token's owner.

    Returns:
        The token; it is stored nowhere else.

    Raises:
        ConfigError: The name is invalid or taken, or the file cannot be read.
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
    """Remove an owner's token from a file.

    Raises:
        ConfigError: The name has no token, or the file cannot be read.
    """
    hashes = dict(Tokens(path).read())
    if name not in hashes:
        raise ConfigError(f"{path}: {name!r} has no token (those who have one: {', '.join(hashes) or 'nobody'})")
    del hashes[name]
    _write(path, hashes)


def _write(path: Path, hashes: dict[str, str]) -> None:
    write_text(path, "".join(f"{name} sha256:{value}\n" for name, value in hashes.items()))
    path.chmod(0o600)
