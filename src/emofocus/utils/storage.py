"""Files on this machine and behind URIs, through pyarrow's file systems, and fsspec's for what those do not know."""

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from pyarrow import ArrowInvalid, ArrowNotImplementedError, Buffer, NativeFile
from pyarrow.fs import FileSelector, FileSystem, FileType, FSSpecHandler, LocalFileSystem, PyFileSystem

from emofocus.errors import ConfigError
from emofocus.utils.atomic import replacing

LOCAL = ""
"""The root of files on this machine."""

OBJECT_STORES = ("s3", "gcs", "abfs")
"""File systems whose files are there when they are whole, and not before."""

REASONS = {
    "NO_SUCH_BUCKET": "there is no such bucket",
    "NO_SUCH_KEY": "there is no such object",
    "RESOURCE_NOT_FOUND": "there is no such bucket or object",
    "ACCESS_DENIED": "access is denied: wrong credentials, or none",
    "INVALID_ACCESS_KEY_ID": "the access key is not known there",
    "SIGNATURE_DOES_NOT_MATCH": "the secret key is wrong",
    "NETWORK_CONNECTION": "nothing answers there",
}
"""What AWS calls it → what it is."""


class Place(NamedTuple):
    """A file or folder: a file system's root, `LOCAL` or ``scheme://authority?options``, and a path below it."""

    root: str
    path: str

    @property
    def name(self) -> str:
        """How people call it: without options, which may hold secrets."""
        if self.root == LOCAL:
            return self.path
        parts = urlsplit(self.root)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" + f"/{self.path}" * bool(self.path)

    def beside(self, name: str) -> "Place":
        """A file that is named by a list here: relative to the list's folder, or a URI."""
        if is_uri(name):
            return place_of(name)
        if self.root == LOCAL:
            return Place(LOCAL, os.path.join(os.path.dirname(self.path), name))  # noqa: PTH118, PTH120 - not Path's //
        folder, _, _ = self.path.rpartition("/")
        return Place(self.root, f"{folder}/{name}".lstrip("/"))

    def below(self, name: str) -> "Place":
        """A file in this folder."""
        return Place(self.root, f"{self.path.rstrip('/')}/{name}".lstrip("/") if self.root else f"{self.path}/{name}")

    @property
    def suffix(self) -> str:
        """Ending of the name, in small letters."""
        return Path(self.path).suffix.lower()

    def open(self) -> tuple[FileSystem, str]:
        """The file system, and this place's name in it.

        Raises:
            ConfigError: There is no such file system, or it does not answer.
        """
        system, base = file_system(self.root)
        return system, f"{base}{self.path}"


def is_uri(text: str) -> bool:
    """Whether it names a file system, as in ``s3://bucket/folder``."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def place_of(text: str) -> Place:
    """A path or URI as users write it. ``?`` begins the options of a URI; whatever else is as it is written.

    Raises:
        ConfigError: A slash in a secret key, which ends what comes before the path.
    """
    if not is_uri(text):
        return Place(LOCAL, str(Path(text).absolute()))
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    rest, _, options = rest.partition("?")
    authority, _, path = rest.partition("/")
    if scheme == "s3" and ":" in authority.rpartition("@")[2]:  # in no bucket's name
        raise ConfigError("s3:// with a secret key: write the slashes in it as %2F")
    return Place(f"{scheme}://{authority}?{_with_endpoint(scheme, options)}".rstrip("?"), path)


def _with_endpoint(scheme: str, options: str) -> str:
    """``$AWS_ENDPOINT_URL`` holds for S3, unless a URI says otherwise: nodes then know it too."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if scheme != "s3" or not endpoint or "endpoint_override" in options:
        return options
    parts = urlsplit(endpoint)
    return urlencode([*parse_qsl(options), ("scheme", parts.scheme), ("endpoint_override", parts.netloc)])


@lru_cache(maxsize=64)
def file_system(root: str) -> tuple[FileSystem, str]:
    """A file system, and what paths below its root begin with in it; opened once a process.

    Raises:
        ConfigError: There is no such file system, or it does not answer.
    """
    if root == LOCAL:
        return LocalFileSystem(), ""
    scheme, _, rest = root.partition("://")
    authority, _, options = rest.partition("?")
    try:
        system, base = FileSystem.from_uri(f"{scheme}://{authority}/{'?' * bool(options)}{options}")
    except ArrowNotImplementedError:  # pyarrow knows it, but this build of it does not
        return _fsspec(scheme, authority)
    except ArrowInvalid as error:
        if "nrecognized" not in str(error):
            raise ConfigError(f"{scheme}://{authority.rpartition('@')[2]}: {reason_of(error)}") from error
        return _fsspec(scheme, authority)
    except OSError as error:
        raise ConfigError(f"{scheme}://{authority.rpartition('@')[2]}: {reason_of(error)}") from error
    return system, f"{base.rstrip('/')}/"


def _fsspec(scheme: str, authority: str) -> tuple[FileSystem, str]:
    try:
        import fsspec  # seldom needed

        system, base = fsspec.core.url_to_fs(f"{scheme}://{authority}/")
    except (ValueError, ImportError, OSError) as error:
        raise ConfigError(f"{scheme}:// is no file system that is known here ({error})") from error
    return PyFileSystem(FSSpecHandler(system)), f"{base.rstrip('/')}/"


def reason_of(error: BaseException) -> str:
    """Why a file system refuses, in a few words."""
    if isinstance(error, OSError) and error.errno and error.strerror:
        return os.strerror(error.errno)
    text = str(error)
    if "Cannot parse URI" in text:  # and the URI in full, with its secrets
        return "this is no URI; write special characters as %20 and the like"
    found = re.search(r"AWS Error ([A-Z_]+)", text)
    if found and found[1] in REASONS:
        return REASONS[found[1]]
    return text.splitlines()[0][:200] if text else type(error).__name__


def write_file(place: Place, content: bytes | Buffer) -> None:
    """Write a file that is either whole or not there.

    Raises:
        ConfigError: It cannot be written; the message says why.
    """
    try:
        if place.root == LOCAL:
            _write_local(Path(place.path), content)
            return
        system, path = place.open()
        if system.type_name in OBJECT_STORES:
            _write(system, path, content)
            return
        folder, _, name = path.rpartition("/")
        system.create_dir(folder, recursive=True)
        _write(system, f"{folder}/.{name}.part", content)
        system.move(f"{folder}/.{name}.part", path)
    except OSError as error:
        raise ConfigError(f"{place.name}: cannot be written ({reason_of(error)})") from error


def _write_local(path: Path, content: bytes | Buffer) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _write(system: FileSystem, path: str, content: bytes | Buffer) -> None:
    with system.open_output_stream(path) as stream:
        stream.write(content)


def read_file(place: Place) -> bytes:
    """A whole file.

    Raises:
        FileNotFoundError: There is none.
        ConfigError: It cannot be read; the message says why.
    """
    try:
        system, path = place.open()
        with system.open_input_stream(path) as stream:
            return bytes(stream.read())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(f"{place.name}: cannot be read ({reason_of(error)})") from error


def open_file(place: Place) -> NativeFile:
    """A file to read here and there in.

    Raises:
        OSError: There is none, or it cannot be read.
        ConfigError: There is no such file system, or it does not answer.
    """
    system, path = place.open()
    return system.open_input_file(path)


def delete_file(place: Place) -> None:
    """Remove a file."""
    system, path = place.open()
    system.delete_file(path)


def files_below(place: Place, deep: bool = True) -> list[Place]:
    """Files of a folder, and of those in it unless not ``deep``, by name; none if there is no such folder.

    Raises:
        ConfigError: It cannot be looked into, or has no bucket; the message says why.
    """
    system, path = place.open()
    try:
        found = system.get_file_info(FileSelector(path.rstrip("/"), recursive=deep))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"{place.name}: cannot be read ({reason_of(error)})") from error
    base = path.removesuffix(place.path)
    names = sorted(info.path for info in found if info.type == FileType.File)
    return [Place(place.root, name.removeprefix(base)) for name in names]
