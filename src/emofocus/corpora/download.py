"""Download of corpora that their owners offer freely: fetched with resuming, checked, extracted and counted."""

import csv
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from emofocus.corpora.corpus import Reader, differences
from emofocus.corpora.http import fetch, size
from emofocus.errors import DownloadError
from emofocus.utils.progress import track


@dataclass(frozen=True)
class Archive:
    """An archive that holds a whole corpus.

    Attributes:
        url: Address of the archive.
        name: Name of its file; without the suffix, the folder to extract to.
        checksum: ``md5:...`` or ``sha256:...`` as its owner publishes it; None if none is published.
    """

    url: str
    name: str
    checksum: str | None = None

    @property
    def folder(self) -> str:
        """Folder of the files, below the folder of the corpus."""
        return Path(self.name).stem


@dataclass(frozen=True)
class Files:
    """A corpus of which every file has its own address.

    Attributes:
        listing: Address of a CSV file with the names of the files.
        column: Column of the names.
        url: Address of a file, with ``{name}`` for its name.
        folder: Folder of the files, below the folder of the corpus.
        metadata: Addresses of other files that the reader uses.
    """

    listing: str
    column: str
    url: str
    folder: str
    metadata: tuple[str, ...] = ()


_ZENODO = "https://zenodo.org/records/1188976/files"
_CREMA_D = "https://raw.githubusercontent.com/CheyneyComputerScience/CREMA-D/master"
_CREMA_D_AUDIO = "https://media.githubusercontent.com/media/CheyneyComputerScience/CREMA-D/master/AudioWAV"

OFFERS: dict[str, Archive | Files] = {
    "ravdess": Archive(
        url=f"{_ZENODO}/Audio_Speech_Actors_01-24.zip",
        name="Audio_Speech_Actors_01-24.zip",
        checksum="md5:bc696df654c87fed845eb13823edef8a",
    ),
    "ravdess-song": Archive(f"{_ZENODO}/Audio_Song_Actors_01-24.zip", "Audio_Song_Actors_01-24.zip"),
    "emodb": Archive("http://emodb.bilderbar.info/download/download.zip", "emodb.zip"),
    "tess": Archive(
        "https://borealisdata.ca/api/access/dataset/:persistentId/?persistentId=doi:10.5683/SP2/E8H2MF", "tess.zip"
    ),
    "crema-d": Files(
        listing=f"{_CREMA_D}/processedResults/summaryTable.csv",
        column="FileName",
        url=f"{_CREMA_D_AUDIO}/{{name}}.wav",
        folder="AudioWAV",
        metadata=(f"{_CREMA_D}/VideoDemographics.csv",),
    ),
}
"""Addresses of downloads; any other corpus must be requested from its owner."""

TERMS: Mapping[str, str] = {
    "CC-BY-NC-SA-4.0": "name the authors, no commercial use, pass on only under the same terms",
    "CC-BY-NC-ND-4.0": "name the authors, no commercial use, pass nothing on that is changed",
    "ODbL-1.0": "name the source, pass on a changed database only under the same terms",
}
"""License → its terms in short."""

PARALLEL = 8
"""Number of parallel downloads of single files."""

_NAME = re.compile(r"\w+", re.ASCII)


@dataclass(frozen=True)
class Downloaded:
    """Result of a download.

    Attributes:
        utterances: Number of utterances that were read.
        differences: Differences from the complete corpus; empty if there are none.
        unverified: SHA-256 of an archive that was just downloaded and whose owner publishes no checksum.
    """

    utterances: int
    differences: list[str]
    unverified: str = ""


def offer_of(name: str, reader: Reader) -> Archive | Files:
    """Download that a corpus is offered as.

    Raises:
        DownloadError: The corpus must be requested from its owner; the message says where.
    """
    if name not in OFFERS:
        raise DownloadError(
            f"{reader.title} cannot be downloaded freely ({reader.license}); ask its owner for it: {reader.obtain}. "
            f"Downloads: {', '.join(OFFERS)}"
        )
    return OFFERS[name]


def license_of(reader: Reader) -> str:
    """License and its terms in one line."""
    terms = TERMS.get(reader.license)
    return f"{reader.title}: {reader.license}{f' ({terms})' if terms else ''}; cite {reader.citation}"


def download(name: str, reader: Reader, out: Path) -> Downloaded:
    """Download a whole corpus; files that exist are not fetched again.

    Args:
        name: Name in `OFFERS`.
        reader: Reader of the corpus.
        out: Folder of the corpus, its later ``--root``.

    Raises:
        DownloadError: The corpus must be requested, a server does not answer, or sends damaged files.
        CorpusError: The files are not this corpus.
    """
    offer = offer_of(name, reader)
    sha = ""
    if isinstance(offer, Files):
        _download_files(offer, out)
    elif not (out / offer.folder).is_dir():
        sha = _download_archive(offer, out)
    table = reader.read(out)
    return Downloaded(len(table), differences(table, reader), sha)


# Archives


def _download_archive(offer: Archive, out: Path) -> str:
    """Fetch, check and extract an archive; its SHA-256 if its owner publishes no checksum, else empty."""
    import pooch

    archive = _retrieve(offer.url, out / offer.name, offer.checksum)
    sha = "" if offer.checksum else str(pooch.file_hash(str(archive), alg="sha256"))
    extract(archive, out / offer.folder, offer.url)
    archive.unlink()
    return sha


def _retrieve(url: str, path: Path, checksum: str | None) -> Path:
    """Fetch a file unless it exists."""
    import pooch

    pooch.get_logger().setLevel("WARNING")

    def resuming(url: str, output_file: str, _: object) -> None:
        part = path.with_name(f"{path.name}.part")
        fetch(url, part, path.name)
        part.replace(output_file)

    try:
        return Path(pooch.retrieve(url, checksum, path.name, path.parent, downloader=resuming))
    except ValueError as error:  # a wrong checksum: pooch names both and has removed the file
        raise DownloadError(f"{url}: {error}") from error
    except OSError as error:
        raise DownloadError(f"{path}: cannot be written ({error.strerror or error})") from error


def extract(archive: Path, folder: Path, url: str) -> None:
    """Extract an archive into a new folder, which appears only when it is complete.

    Raises:
        DownloadError: The archive is damaged or reaches outside of the folder, or the disk is too small.
    """
    temporary = folder.with_name(f".{folder.name}.extracting")
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            _refuse_dangerous(members)
            _refuse_large(members, folder.parent)
            for member in track(members, f"Extracting {archive.name}", "files"):
                opened.extract(member, temporary)
        temporary.rename(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        archive.unlink()
        raise DownloadError(
            f"{url}: what came from there is no sound zip archive ({error}); it was refused and removed"
        ) from error
    except OSError as error:
        raise DownloadError(f"{folder}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _refuse_dangerous(members: Iterable[zipfile.ZipInfo]) -> None:
    for member in members:
        path = PureWindowsPath(member.filename)  # which knows both slashes, and drives
        if path.anchor or ".." in path.parts:
            raise zipfile.BadZipFile(f"{member.filename!r} points outside of its folder")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise zipfile.BadZipFile(f"{member.filename!r} is a link")


def _refuse_large(members: Iterable[zipfile.ZipInfo], folder: Path) -> None:
    needed, free = sum(member.file_size for member in members), shutil.disk_usage(folder).free
    if needed > free:
        raise DownloadError(f"{folder}: the archive needs {size(needed)} and {size(free)} are free")


# Single files


def _download_files(offer: Files, out: Path) -> None:
    """Fetch all files that do not exist."""
    import requests

    for url in offer.metadata:
        _retrieve(url, out / url.rsplit("/", 1)[-1], None)
    folder = out / offer.folder
    wanted = [name for name in _listed(offer, out) if not (folder / f"{name}.wav").is_file()]
    folder.mkdir(parents=True, exist_ok=True)
    with requests.Session() as session:
        pool = ThreadPoolExecutor(PARALLEL)
        try:
            futures = [pool.submit(_fetch_wav, offer, name, folder, session) for name in wanted]
            for future in track(futures, "Downloading", "files"):
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _listed(offer: Files, out: Path) -> list[str]:
    listing = _retrieve(offer.listing, out / offer.listing.rsplit("/", 1)[-1], None)
    with listing.open(encoding="utf-8-sig", newline="", errors="replace") as opened:
        names = [row.get(offer.column) or "" for row in csv.DictReader(opened)]
    strange = [name for name in names if not _NAME.fullmatch(name)]
    if strange or not names:
        listing.unlink()
        reason = f"{strange[0]!r} is no name of a file" if any(strange) else f"it has no column {offer.column}"
        raise DownloadError(f"{offer.listing}: not the list of files that was expected: {reason}; it was removed")
    return names


def _fetch_wav(offer: Files, name: str, folder: Path, session: Any) -> None:
    url = offer.url.format(name=name)
    part = folder / f"{name}.wav.part"
    fetch(url, part, session=session)
    with part.open("rb") as opened:
        head = opened.read(4)
    if head != b"RIFF":
        part.unlink()
        raise DownloadError(f"{url}: what came from there is no WAV file; it begins with {head!r}")
    part.replace(part.with_suffix(""))
