"""Downloads from a real server on this machine: whole, broken off, corrupted, refused, and dangerous archives."""

import hashlib
import io
import stat
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from emofocus.corpora import CORPORA, download
from emofocus.corpora.download import Archive, Downloaded, Files, offer_of
from emofocus.corpora.http import fetch
from emofocus.errors import CorpusError, DownloadError
from helpers.trees import TREES

BODY = bytes(range(256)) * 4096  # 1 MiB
HALF = len(BODY) // 2


@dataclass
class Server:
    """What a test's server serves, how it misbehaves, and what it was asked."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    breaks_after: int | None = None
    knows_ranges: bool = True
    tells_length: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    @property
    def ranges(self) -> list[str | None]:
        return [wanted for _, wanted in self.asked]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.asked.append((handler.path, wanted))
        status = self.statuses.pop(0) if self.statuses else 200 if handler.path in self.files else 404
        body, begin = self.files.get(handler.path, b""), 0
        if status == 200 and wanted and self.knows_ranges:
            begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
            status = 206 if begin < len(body) else 416
        handler.send_response(status)
        if status in (206, 416):
            place = f"{begin}-{len(body) - 1}" if status == 206 else "*"
            handler.send_header("Content-Range", f"bytes {place}/{len(body)}")
        body = body[begin:] if status in (200, 206) else b""
        if self.tells_length:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: self.breaks_after])
        handler.close_connection = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        state.url = f"http://127.0.0.1:{httpd.server_port}"
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        httpd.shutdown()
        thread.join()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def emodb_zip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """All files of EmoDB, without sound, in one archive."""
    root = TREES["emodb"](tmp_path_factory.mktemp("emodb"))
    return zipped({path.relative_to(root).as_posix(): b"" for path in sorted(root.rglob("*.wav"))})


Offer = Callable[..., Callable[[], Downloaded]]


@pytest.fixture
def offer(server: Server, emodb_zip: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Offer an archive as EmoDB's: ``offer(content=None, checksum=None)`` → function that downloads it."""

    def give(content: bytes = emodb_zip, checksum: str | None = None) -> Callable[[], Downloaded]:
        server.files["/emodb.zip"] = content
        monkeypatch.setitem(download.OFFERS, "emodb", Archive(f"{server.url}/emodb.zip", "emodb.zip", checksum))
        return lambda: download.download("emodb", CORPORA["emodb"], tmp_path / "out")

    return give


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# One file


def test_a_whole_file(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = BODY
    fetch(f"{server.url}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == BODY
    assert server.ranges == [None]


def test_a_file_of_unknown_length(server: Server, tmp_path: Path) -> None:
    server.files["/a"], server.tells_length = BODY, False
    fetch(f"{server.url}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == BODY


def test_a_broken_download_goes_on_where_it_ended(server: Server, tmp_path: Path) -> None:
    server.files["/a"], server.breaks_after = BODY, HALF
    broken = f"{server.url}/a: the connection broke off; 0.5 MB are kept, and the same command goes on"
    with pytest.raises(DownloadError, match=broken):
        fetch(f"{server.url}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == BODY[:HALF]
    server.breaks_after = None
    fetch(f"{server.url}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == BODY
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_a_server_without_ranges_starts_again(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files["/a"], server.knows_ranges = BODY, False
    (tmp_path / "a").write_bytes(BODY[:HALF])
    fetch(f"{server.url}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == BODY
    assert server.ranges == [f"bytes={HALF}-"]
    assert "from the beginning" in capsys.readouterr().err


@pytest.mark.parametrize(("have", "asked"), [(BODY, 1), (BODY + b"more", 2)])
def test_what_is_all_there_already(server: Server, tmp_path: Path, have: bytes, asked: int) -> None:
    server.files["/a"] = BODY
    (tmp_path / "a").write_bytes(have)
    fetch(f"{server.url}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == BODY
    assert len(server.asked) == asked


@pytest.mark.parametrize("status", [403, 404, 416, 500, 503])
def test_refusals_name_the_address_and_the_answer(server: Server, tmp_path: Path, status: int) -> None:
    server.statuses = [status]
    with pytest.raises(DownloadError, match=f"{server.url}/a: the server answers {status} "):
        fetch(f"{server.url}/a", tmp_path / "a")
    assert names(tmp_path) == []


def test_nobody_answers(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"http://127\.0\.0\.1:9/a: the connection failed \(.*Connection refused"):
        fetch("http://127.0.0.1:9/a", tmp_path / "a")


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = BODY
    with pytest.raises(DownloadError, match=r"nowhere/a: cannot be written \(No such file or directory\)"):
        fetch(f"{server.url}/a", tmp_path / "nowhere" / "a")


# Archives


def test_a_corpus_is_downloaded_extracted_and_counted(
    server: Server, offer: Offer, emodb_zip: bytes, tmp_path: Path
) -> None:
    get = offer(checksum=md5(emodb_zip))
    assert get() == Downloaded(535, [])
    assert names(tmp_path / "out") == ["emodb"]
    assert get() == Downloaded(535, [])
    assert len(server.asked) == 1  # the second time asked for nothing


def test_without_a_checksum_the_sha_is_told(offer: Offer, emodb_zip: bytes) -> None:
    assert offer()().unverified == hashlib.sha256(emodb_zip).hexdigest()


def test_an_archive_is_resumed_and_still_checked(
    server: Server, offer: Offer, emodb_zip: bytes, tmp_path: Path
) -> None:
    get, server.breaks_after = offer(checksum=md5(emodb_zip)), 40_000
    with pytest.raises(DownloadError, match="the connection broke off; 32768 bytes are kept"):
        get()
    assert names(tmp_path / "out") == ["emodb.zip.part"]
    server.breaks_after = None
    assert get().differences == []
    assert server.ranges == [None, "bytes=32768-"]


def test_a_wrong_checksum_names_both_and_starts_afresh(
    server: Server, offer: Offer, emodb_zip: bytes, tmp_path: Path
) -> None:
    bad = emodb_zip[:-1] + b"?"
    get = offer(bad, md5(emodb_zip))
    with pytest.raises(DownloadError) as error:
        get()
    assert all(text in str(error.value) for text in (md5(emodb_zip), md5(bad)[4:], f"{server.url}/emodb.zip"))
    assert names(tmp_path / "out") == []
    server.files["/emodb.zip"] = emodb_zip
    assert get().differences == []
    assert server.ranges == [None, None]


def test_what_is_missing_in_the_archive_is_told(offer: Offer) -> None:
    done = offer(zipped({"wav/03a01Fa.wav": b""}))()
    assert done.differences[0] == "1 of 535 utterances"


def test_an_archive_of_something_else(offer: Offer) -> None:
    with pytest.raises(CorpusError, match="not a EmoDB folder"):
        offer(zipped({"cats.txt": b"meow"}))()


@pytest.mark.parametrize(
    "name", ["../evil.wav", "a/../../evil.wav", "/evil.wav", "C:/evil.wav", "..\\evil.wav", "\\\\host\\share\\evil.wav"]
)
def test_archives_that_reach_outside_are_refused(offer: Offer, tmp_path: Path, name: str) -> None:
    with pytest.raises(DownloadError, match=r"points outside of its folder.*refused and removed"):
        offer(zipped({"wav/03a01Fa.wav": b"", name: b"evil"}))()
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == []


def test_archives_with_links_are_refused(offer: Offer, tmp_path: Path) -> None:
    link = zipfile.ZipInfo("wav/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "/etc")
    with pytest.raises(DownloadError, match="'wav/link' is a link"):
        offer(buffer.getvalue())()
    assert names(tmp_path / "out") == []


def test_what_is_no_archive(offer: Offer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="no sound zip archive"):
        offer(b"<html>Please log in</html>")()
    assert names(tmp_path / "out") == []


def test_an_archive_damaged_inside(offer: Offer, tmp_path: Path) -> None:
    content = zipped({"wav/03a01Fa.wav": b"sound" * 100})
    with pytest.raises(DownloadError, match="Bad CRC-32"):
        offer(content.replace(b"sound", b"SOUND", 1))()
    assert names(tmp_path / "out") == []


def test_a_full_disk_is_noticed_before(offer: Offer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(DownloadError, match="needs 500 bytes and 10 bytes are free"):
        offer(zipped({"wav/03a01Fa.wav": b"sound" * 100}))()
    assert names(tmp_path / "out") == ["emodb.zip"]


def test_an_interruption_leaves_no_half_extracted_folder(
    server: Server, offer: Offer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(members: list[zipfile.ZipInfo], *_: str) -> Iterator[zipfile.ZipInfo]:
        yield from members[:100]
        raise KeyboardInterrupt

    get = offer()
    with monkeypatch.context() as patch:
        patch.setattr(download, "track", interrupted)
        with pytest.raises(KeyboardInterrupt):
            get()
    assert names(tmp_path / "out") == ["emodb.zip"]
    (tmp_path / "out" / ".emodb.extracting" / "wav").mkdir(parents=True)  # as after a kill
    (tmp_path / "out" / ".emodb.extracting" / "wav" / "03a01Fa.wav").touch()
    assert get().differences == []
    assert names(tmp_path / "out") == ["emodb"]
    assert len(server.asked) == 1


# Single files

CREMA_D = ["1001_DFA_ANG_XX", "1001_DFA_SAD_XX", "1040_ITH_SAD_X"]


@pytest.fixture
def crema_d(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Downloaded]:
    """Three files of CREMA-D and their listing."""
    server.files = {f"/AudioWAV/{name}.wav": b"RIFF" + name.encode() for name in CREMA_D}
    server.files["/summaryTable.csv"] = "\n".join(['"","FileName"', *(f'"1","{name}"' for name in CREMA_D)]).encode()
    files = Files(f"{server.url}/summaryTable.csv", "FileName", f"{server.url}/AudioWAV/{{name}}.wav", "AudioWAV")
    monkeypatch.setitem(download.OFFERS, "crema-d", files)
    return lambda: download.download("crema-d", CORPORA["crema-d"], tmp_path)


def test_files_are_fetched_one_by_one_and_kept(
    server: Server, crema_d: Callable[[], Downloaded], tmp_path: Path
) -> None:
    server.statuses = [200, 500, 500, 500]
    with pytest.raises(DownloadError, match="the server answers 500"):
        crema_d()
    server.statuses = []
    (tmp_path / "AudioWAV" / f"{CREMA_D[0]}.wav").unlink(missing_ok=True)
    (tmp_path / "AudioWAV" / f"{CREMA_D[0]}.wav.part").write_bytes(b"RI")
    done = crema_d()
    assert (done.utterances, done.differences[0]) == (3, "3 of 7442 utterances")
    assert (tmp_path / "AudioWAV" / f"{CREMA_D[0]}.wav").read_bytes() == b"RIFF" + CREMA_D[0].encode()
    assert names(tmp_path / "AudioWAV") == [f"{name}.wav" for name in CREMA_D]
    asked = len(server.asked)
    crema_d()
    assert len(server.asked) == asked


def test_files_beside_the_audio_are_fetched(
    server: Server, crema_d: Callable[[], Downloaded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = download.OFFERS["crema-d"]
    assert isinstance(offered, Files)
    monkeypatch.setitem(download.OFFERS, "crema-d", replace(offered, metadata=(f"{server.url}/VideoDemographics.csv",)))
    server.files["/VideoDemographics.csv"] = b"ActorID,Age,Sex\n1001,51,Male\n1040,20,Female\n"
    crema_d()
    assert (tmp_path / "VideoDemographics.csv").is_file()


def test_what_is_no_wav_is_refused(server: Server, crema_d: Callable[[], Downloaded], tmp_path: Path) -> None:
    server.files[f"/AudioWAV/{CREMA_D[0]}.wav"] = b"<html>Quota exceeded</html>"
    with pytest.raises(DownloadError, match=rf"{CREMA_D[0]}\.wav: .*no WAV file; it begins with b'<htm'"):
        crema_d()
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("listing", "problem"),
    [
        (b"Name\n1001_DFA_ANG_XX\n", "it has no column FileName"),
        (b"FileName\n../../evil\n", r"'\.\./\.\./evil' is no name of a file"),
        (b"", "it has no column FileName"),
    ],
)
def test_a_strange_listing_is_refused(
    server: Server, crema_d: Callable[[], Downloaded], tmp_path: Path, listing: bytes, problem: str
) -> None:
    server.files["/summaryTable.csv"] = listing
    with pytest.raises(DownloadError, match=problem):
        crema_d()
    assert names(tmp_path) == []


# Offers


def test_every_offer_is_of_a_corpus_that_can_be_read() -> None:
    assert set(download.OFFERS) < set(CORPORA)
    for name in CORPORA.keys() - download.OFFERS.keys():
        with pytest.raises(DownloadError, match="ask its owner") as error:
            offer_of(name, CORPORA[name])
        assert CORPORA[name].obtain in str(error.value)


def test_addresses_are_as_their_owners_publish_them() -> None:
    ravdess = download.OFFERS["ravdess"]
    assert ravdess == Archive(
        "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip",
        "Audio_Speech_Actors_01-24.zip",
        "md5:bc696df654c87fed845eb13823edef8a",
    )
