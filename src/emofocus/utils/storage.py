"""Files on this machine and behind URIs, through pyarrow's file systems and, for other schemes, fsspec's."""

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
"""Root of files on this machine."""

ARROW_SCHEMES = ("file", "mock", "s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs")
"""Schemes of pyarrow's own file systems; every other scheme goes to fsspec."""

OBJECT_STORES = ("s3", "gcs", "abfs")
"""File systems that show a file only when it is whole."""

REASONS = {
    "NO_SUCH_BUCKET": "there is no such bucket",
    "NO_SUCH_KEY": "there is no such object",
    "RESOURCE_NOT_FOUND": "there is no such bucket or object",
    "ACCESS_DENIED": "access is denied: wrong credentials, or none",
    "INVALID_ACCESS_KEY_ID": "the access key is not known there",
    "SIGNATURE_DOES_NOT_MATCH": "the secret key is wrong",
    "NETWORK_CONNECTION": "nothing answers there",
}
"""Error code of AWS → words for a message."""


class Location(NamedTuple):
    """A file or folder.

    Attributes:
        root: Root of its file system: `LOCAL`, or ``scheme://authority?options``.
        path: Path below the root.
    """

    root: str
    path: str

    @property
    def name(self) -> str:
        """Name for messages, without the options, which may hold secrets."""
        if self.root == LOCAL:
            return self.path
        parts = urlsplit(self.root)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" + f"/{self.path}" * bool(self.path)

    def sibling(self, name: str) -> "Location":
        """Location of a path relative to the folder of this file, or of a URI."""
        if is_uri(name):
            return parse_location(name)
        if self.root == LOCAL:
            return Location(LOCAL, os.path.join(os.path.dirname(self.path), name))  # noqa: PTH118, PTH120 - not Path's //
        folder, _, _ = self.path.rpartition("/")
        return Location(self.root, f"{folder}/{name}".lstrip("/"))

    def child(self, name: str) -> "Location":
        """Location of a file in this folder."""
        if self.root == LOCAL:
            return Location(LOCAL, f"{self.path}/{name}")
        return Location(self.root, f"{self.path.rstrip('/')}/{name}".lstrip("/"))

    @property
    def suffix(self) -> str:
        """Suffix of the name, in lower case."""
        return Path(self.path).suffix.lower()

    def open(self) -> tuple[FileSystem, str]:
        """File system, and the path in it.

        Raises:
            ConfigError: No such file system exists, or it does not answer.
        """
        system, base = file_system(self.root)
        return system, f"{base}{self.path}"


def is_uri(text: str) -> bool:
    """Whether a text is a URI such as ``s3://bucket/folder``."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def parse_location(text: str) -> Location:
    """Location of a path or URI as users write it; ``?`` begins the options of a URI.

    Raises:
        ConfigError: The secret key of an S3 URI holds a slash, which ends the authority.
    """
    if not is_uri(text):
        return Location(LOCAL, str(Path(text).absolute()))
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    rest, _, options = rest.partition("?")
    authority, _, path = rest.partition("/")
    if scheme == "s3" and ":" in authority.rpartition("@")[2]:  # in no bucket's name
        raise ConfigError("s3:// with a secret key: write the slashes in it as %2F")
    return Location(f"{scheme}://{authority}?{_with_endpoint(scheme, options)}".rstrip("?"), path)


def _with_endpoint(scheme: str, options: str) -> str:
    """Options with ``$AWS_ENDPOINT_URL`` for S3, unless they name an endpoint; other nodes then know it too."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if scheme != "s3" or not endpoint or "endpoint_override" in options:
        return options
    parts = urlsplit(endpoint)
    return urlencode([*parse_qsl(options), ("scheme", parts.scheme), ("endpoint_override", parts.netloc)])


@lru_cache(maxsize=64)
def file_system(root: str) -> tuple[FileSystem, str]:
    """File system of a root, and the prefix of all paths in it; opened once a process.

    Raises:
        ConfigError: No such file system exists, or it does not answer.
    """
    if root == LOCAL:
        return LocalFileSystem(), ""
    scheme, _, rest = root.partition("://")
    authority, _, options = rest.partition("?")
    if scheme not in ARROW_SCHEMES:
        return _fsspec(scheme, authority)
    try:
        system, base = FileSystem.from_uri(f"{scheme}://{authority}/{'?' * bool(options)}{options}")
    except ArrowNotImplementedError:  # left out of this build of pyarrow
        return _fsspec(scheme, authority)
    except (ArrowInvalid, OSError) as error:
        raise ConfigError(f"{scheme}://{authority.rpartition('@')[2]}: {reason_of(error)}") from error
    return system, f"{base.rstrip('/')}/"


def _fsspec(scheme: str, authority: str) -> tuple[FileSystem, str]:
    """File system of fsspec, in pyarrow's interface, and the prefix of all paths in it."""
    try:
        import fsspec  # rarely needed

        system, base = fsspec.core.url_to_fs(f"{scheme}://{authority}/")
    except (ValueError, ImportError, OSError) as error:
        raise ConfigError(f"{scheme}:// is no file system that is known here ({error})") from error
    return PyFileSystem(FSSpecHandler(system)), f"{base.rstrip('/')}/"


def reason_of(error: BaseException) -> str:
    """Reason in a few words why a file system refuses."""
    if isinstance(error, OSError) and error.errno and error.strerror:
        return os.strerror(error.errno)
    text = str(error)  # pyarrow tells these errors apart by their text alone: all are ArrowInvalid or OSError
    if "Cannot parse URI" in text:  # the text holds the whole URI with its secrets
        return "this is no URI; write special characters as %20 and the like"
    code = re.search(r"AWS Error ([A-Z_]+)", text)
    if code and code[1] in REASONS:
        return REASONS[code[1]]
    return text.splitlines()[0][:200] if text else type(error).__name__


def write_file(location: Location, content: bytes | Buffer) -> None:
    """Write a file atomically.

    Raises:
        ConfigError: The file cannot be written; the message says why.
    """
    try:
        if location.root == LOCAL:
            _write_local(Path(location.path), content)
            return
        system, path = location.open()
        if system.type_name in OBJECT_STORES:
            _write(system, path, content)
            return
        folder, _, name = path.rpartition("/")
        system.create_dir(folder, recursive=True)
        _write(system, f"{folder}/.{name}.part", content)
        system.move(f"{folder}/.{name}.part", path)
    except OSError as error:
        raise ConfigError(f"{location.name}: cannot be written ({reason_of(error)})") from error


def _write_local(path: Path, content: bytes | Buffer) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _write(system: FileSystem, path: str, content: bytes | Buffer) -> None:
    with system.open_output_stream(path) as stream:
        stream.write(content)


def read_file(location: Location) -> bytes:
    """Content of a file.

    Raises:
        FileNotFoundError: The file does not exist.
        ConfigError: The file cannot be read; the message says why.
    """
    try:
        system, path = location.open()
        with system.open_input_stream(path) as stream:
            return bytes(stream.read())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(f"{location.name}: cannot be read ({reason_of(error)})") from error


def open_file(location: Location) -> NativeFile:
    """Open a file for random access.

    Raises:
        OSError: The file does not exist or cannot be read.
        ConfigError: No such file system exists, or it does not answer.
    """
    system, path = location.open()
    return system.open_input_file(path)


def delete_file(location: Location) -> None:
    """Delete a file."""
    system, path = location.open()
    system.delete_file(path)


def list_files(location: Location, deep: bool = True) -> list[Location]:
    """Files of a folder, sorted by name; empty if the folder does not exist.

    Args:
        location: The folder.
        deep: Also list the files of its subfolders.

    Raises:
        ConfigError: The folder cannot be listed, or the bucket does not exist; the message says why.
    """
    return list(list_states(location, deep))


def list_states(location: Location, deep: bool = True) -> dict[Location, list[int]]:
    """Files of a folder, sorted by name, with size in bytes and time of the last change in nanoseconds.

    Args:
        location: The folder.
        deep: Also list the files of its subfolders.

    Raises:
        ConfigError: As `list_files`.
    """
    system, path = location.open()
    try:
        infos = system.get_file_info(FileSelector(path.rstrip("/"), recursive=deep))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{location.name}: cannot be read ({reason_of(error)})") from error
    base = path.removesuffix(location.path)
    files = sorted((info for info in infos if info.type == FileType.File), key=lambda info: str(info.path))
    return {
        Location(location.root, info.path.removeprefix(base)): [info.size or 0, info.mtime_ns or 0] for info in files
    }
