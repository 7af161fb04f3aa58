"""Bulk recognition on a real Ray cluster: the local command's rows, each once, whatever dies."""

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import soundfile
from click.testing import CliRunner

from emofocus import audio
from emofocus.cli.main import app, main
from emofocus.cli.predict import predict_files
from emofocus.errors import ConfigError, MissingExtraError
from emofocus.recognition.bulk import items_of
from emofocus.recognition.options import RecognitionOptions

pytest.importorskip("ray", reason="Ray, the extra [cluster], is not installed")
pytest.importorskip("moto", reason="moto, which plays an object store, is not installed")

from emofocus.cluster import read, read_errors
from emofocus.cluster.bulk import BulkOptions, _remaining, predict_on_ray
from emofocus.cluster.connection import Requester, check_version, import_ray
from emofocus.cluster.inputs import PartitionedInput, clips_of, partition
from emofocus.cluster.output import ERRORS, Output
from emofocus.utils.provenance import file_state
from emofocus.utils.storage import list_files, parse_location

RATE = audio.SAMPLING_RATE
PART = 16
"""Clips of a part: two batches."""

DEADLY = """
import os, pathlib
whole = pathlib.Path.open
def opened(self, *arguments, **options):
    if "deadly" in self.name:
        os.kill(os.getpid(), 9)
    return whole(self, *arguments, **options)
pathlib.Path.open = opened
"""
"""Makes any file whose name has the word kill the process that opens it, as a bug in a decoder would."""

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning:ray.*"),
    pytest.mark.xdist_group("ray"),
]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty clips of unequal lengths; one of them is damaged and one is empty."""
    root = tmp_path_factory.mktemp("clips")
    for number in range(40):
        samples = 0.1 * np.random.default_rng(number).standard_normal(round((0.3 + 0.13 * (number % 17)) * RATE))
        soundfile.write(root / f"clip{number:02d}.wav", samples.astype(np.float32), RATE)
    (root / "clip20.wav").write_bytes(b"RIFF nonsense")
    (root / "clip31.wav").write_bytes(b"")
    return root


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """An object store with one bucket; the address of its server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    patch = pytest.MonkeyPatch()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():
        patch.setenv(name, value)
    import boto3

    boto3.client("s3").create_bucket(Bucket="speech")
    yield f"http://{host}:{port}"
    patch.undo()
    server.stop()


@pytest.fixture(scope="module")
def cluster(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two nodes of one core, as processes of their own."""
    import_ray()
    from ray.cluster_utils import Cluster

    faults = tmp_path_factory.mktemp("faults")
    (faults / "sitecustomize.py").write_text(DEADLY)
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", os.pathsep.join([str(faults), *filter(None, [os.environ.get("PYTHONPATH")])]))
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()
    patch.undo()


@pytest.fixture(scope="module")
def local(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """Rows of the local command."""
    out = tmp_path_factory.mktemp("local") / "out.csv"
    assert predict_files([clips], None, "csv", out, workers=2) == 2
    with out.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(cluster: Any, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run of all clips wrote."""
    out = tmp_path_factory.mktemp("finished") / "out"
    assert recognize(cluster, clips, out=out) == 2
    return out


def as_text(out: str) -> list[dict[str, str]]:
    """Rows as the local command's CSV spells them."""
    rows = read(out).drop_columns(["position", "start", "end"]).to_pylist()
    return [
        {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in row.items()}
        for row in rows
    ]


def recognize(cluster: Any, *sources: object, out: object, **options: Any) -> int:
    work = BulkOptions(address=cluster.address, part=PART)
    return predict_on_ray([str(source) for source in sources], str(out), cluster=work, **options)


def named(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """With files' names alone, whatever the folder is called."""
    return [row | {"file": Path(row["file"]).name} for row in rows]


@pytest.mark.slow
def test_rows_are_the_local_commands_and_damaged_files_stand_beside(
    finished: Path, local: list[dict[str, str]]
) -> None:
    assert as_text(str(finished)) == local
    errors = {Path(row["file"]).name: row["reason"] for row in read_errors(str(finished)).to_pylist()}
    assert errors["clip31.wav"] == "is an empty file"
    assert "not audio that can be decoded" in errors["clip20.wav"]
    assert [path.name for path in sorted((finished / "rows").iterdir())] == [f"part-{n:08d}.parquet" for n in range(3)]
    assert json.loads((finished / "log" / "complete.json").read_text()) == {"recognized": 38, "errors": 2}


@pytest.mark.slow
def test_a_run_that_succeeds_writes_its_own_two_lines_and_none_of_ray(
    cluster: Any, clips: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-W", "ignore", "-m", "emofocus", "predict", clips / "clip00.wav", "--out", out]
    done = subprocess.run([*command, "--ray", cluster.address], capture_output=True, text=True, check=True)
    lines = [line for line in done.stderr.splitlines() if "of at most" not in line]  # progress of a slow machine
    assert lines == ["Ray: 2 nodes, 2 cores", f"{out}: 1 recognized"]
    assert done.stdout == ""


def test_a_node_without_emofocus_or_with_another_version_is_named() -> None:
    requester = Requester("1.0", "here")
    check_version(requester, "1.0", "there")
    with pytest.raises(ConfigError, match=r"^node there of the cluster has no emofocus; install one version"):
        check_version(requester, None, "there")
    with pytest.raises(ConfigError, match=r"^node there of the cluster has emofocus 0\.9, but 1\.0 on here asks"):
        check_version(requester, "0.9", "there")


@pytest.mark.slow
def test_after_an_interruption_each_clip_is_there_once_with_the_same_bits(
    cluster: Any, clips: Path, finished: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(finished, tmp_path / "out")
    rows = {path.name: path.read_bytes() for path in (out / "rows").iterdir()}
    (out / "rows" / "part-00000000.parquet").unlink()
    before = (out / "rows" / "part-00000001.parquet").read_bytes()
    shutil.copy(out / "rows" / "part-00000002.parquet", tmp_path / "kept.parquet")
    assert recognize(cluster, clips, out=out) == 2  # what failed is tried again
    assert {path.name: path.read_bytes() for path in (out / "rows").iterdir()} == rows
    assert (out / "rows" / "part-00000001.parquet").read_bytes() == before
    assert "2 of 3 parts are there, 1 of them with errors" in capfd.readouterr().err


@pytest.mark.slow
def test_what_failed_is_tried_again_and_takes_its_place(
    cluster: Any, clips: Path, local: list[dict[str, str]], tmp_path: Path
) -> None:
    mended, out = tmp_path / "clips", tmp_path / "out"
    shutil.copytree(clips, mended)
    for number in (*range(16), *range(32, 40)):
        (mended / f"clip{number:02d}.wav").unlink()
    recognize(cluster, mended, out=out)
    soundfile.write(mended / "clip20.wav", np.random.default_rng(1).standard_normal(RATE).astype(np.float32) / 10, RATE)
    assert recognize(cluster, mended, out=out) == 1
    found = named(as_text(str(out)))
    assert [row["file"] for row in found] == [f"clip{number:02d}.wav" for number in range(16, 31)]
    kept = [row for row in named(local) if "clip16" <= row["file"] < "clip31"]
    assert [row for row in found if row["file"] != "clip20.wav"] == kept
    assert [Path(row["file"]).name for row in read_errors(str(out)).to_pylist()] == ["clip31.wav"]


@pytest.mark.slow
def test_a_recording_that_was_replaced_under_its_name_is_recognized_again(
    cluster: Any, clips: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own, out = tmp_path / "clips", tmp_path / "out"
    shutil.copytree(clips, own)
    for number in (*range(8), *range(26, 40)):
        (own / f"clip{number:02d}.wav").unlink()
    recognize(cluster, own, out=out)
    first = as_text(str(out))
    soundfile.write(own / "clip10.wav", np.random.default_rng(9).standard_normal(2 * RATE).astype(np.float32) / 9, RATE)
    (own / "clip11.wav").write_bytes(b"RIFF nonsense")
    assert recognize(cluster, own, out=out) == 2
    assert "2 recordings were replaced since; they are recognized again" in capfd.readouterr().err
    again = as_text(str(out))
    assert [row for row in again if "clip10" not in row["file"]] == [
        row for row in first if not any(name in row["file"] for name in ("clip10", "clip11"))
    ]
    assert [row["duration"] for row in again if "clip10" in row["file"]] == ["2.0"]
    assert sorted(Path(row["file"]).name for row in read_errors(str(out)).to_pylist()) == ["clip11.wav", "clip20.wav"]
    before = {path: path.read_bytes() for path in (out / "rows").iterdir()}
    assert recognize(cluster, own, out=out) == 2
    assert "were replaced" not in capfd.readouterr().err
    assert {path: path.read_bytes() for path in (out / "rows").iterdir()} == before


def test_states_of_recordings_select_the_clips_of_a_part_that_is_done(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number:02d}.wav").write_bytes(b"x" * number)
    output = Output(str(tmp_path / "out"))
    rows = pa.table({"position": pa.array(range(16)), "label": ["sad"] * 16})

    def listed() -> PartitionedInput:
        return partition(clips_of([str(tmp_path)], pytest.fail), PART, lambda table: table)

    def commit(number: int, table: pa.Table) -> None:
        output.commit(number, table, ERRORS.empty_table(), listed().states[PART * number :][:PART].tolist())

    commit(0, rows)
    assert _remaining(listed(), output, PART)[1] == [1]
    (tmp_path / "03.wav").write_bytes(b"other")
    (tmp_path / "18.wav").write_bytes(b"other")  # of a part that has no rows yet
    selection, parts = _remaining(listed(), output, PART)
    assert parts == [0, 1]
    assert [position for position in range(20) if position in selection] == [3, 16, 17, 18, 19]
    commit(0, pa.table({"position": [3], "label": ["happy"]}))
    (part,) = (tmp_path / "out" / "rows").iterdir()
    assert pyarrow.parquet.read_table(part)["label"].to_pylist() == ["sad"] * 3 + ["happy"] + ["sad"] * 12
    assert _remaining(listed(), output, PART)[1] == [1]
    (tmp_path / "out" / "log" / "recordings" / "part-00000000.json").unlink()  # as older versions have it
    assert _remaining(listed(), output, PART)[1] == [1]


def test_a_listed_folder_of_a_file_system_tells_states_and_single_files_of_it_do_not(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    (tmp_path / "list.csv").write_text(f"file\na.wav\nfile://{tmp_path}/a.wav\n")
    (clip,) = clips_of([f"file://{tmp_path}"], pytest.fail)
    assert clip.state == file_state(tmp_path / "a.wav")
    local, remote = clips_of([str(tmp_path / "list.csv")], pytest.fail)
    assert (local.state, remote.state) == (file_state(tmp_path / "a.wav"), None)


def test_files_of_a_list_on_this_machine_are_found_as_the_local_command_finds_them(tmp_path: Path) -> None:
    (tmp_path / "wav").mkdir()
    for name in ("wav/a.wav", "b\\c.wav", " d.wav", "grün.wav"):
        (tmp_path / name).touch()
    rows = ["file", "wav\\a.wav", "b\\c.wav", " d.wav", "grün.wav"]
    (tmp_path / "list.csv").write_bytes("\n".join(rows).encode("cp1252"))
    here = [item.path for item in items_of([tmp_path / "list.csv"], pytest.fail)]
    assert [Path(clip.location.path) for clip in clips_of([str(tmp_path / "list.csv")], pytest.fail)] == here
    assert all(path.is_file() for path in here)


@pytest.mark.slow
def test_a_manifest_in_an_object_store_names_parts_beside_it_and_a_clip_twice_has_one_row(
    cluster: Any, clips: Path, local: list[dict[str, str]], tmp_path: Path
) -> None:
    import boto3

    client = boto3.client("s3")
    for number in (0, 16):
        client.upload_file(str(clips / f"clip{number:02d}.wav"), "speech", f"in/audio/clip {number:02d}.wav")
    lines = ["file,start,end", "audio/clip 16.wav,,", "audio/clip 16.wav,0.5,1.25", "audio/clip 16.wav,,"]
    lines += ["s3://speech/in/audio/clip 00.wav,,", "audio/missing.wav,,"]
    client.put_object(Bucket="speech", Key="in/list.csv", Body="\n".join(lines).encode())
    assert recognize(cluster, "s3://speech/in/list.csv", out="s3://speech/out") == 1
    rows = read("s3://speech/out").to_pylist()
    assert [(row["file"], row["start"], row["end"]) for row in rows] == [
        ("audio/clip 16.wav", None, None),
        ("audio/clip 16.wav", 0.5, 1.25),
        ("s3://speech/in/audio/clip 00.wav", None, None),
    ]
    parts = tmp_path / "parts.csv"
    for number in (0, 16):
        shutil.copy(clips / f"clip{number:02d}.wav", tmp_path)
    parts.write_text("file,start,end\nclip16.wav,,\nclip16.wav,0.5,1.25\nclip16.wav,,\nclip00.wav,,\n")
    predict_files([parts], None, "csv", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        here = list(csv.DictReader(file))
    assert [str(row["p_angry"]) for row in rows] == [row["p_angry"] for row in here]
    (error,) = read_errors("s3://speech/out").to_pylist()
    assert error["file"] == "audio/missing.wav"
    assert read_errors("s3://speech/out")["reason"].to_pylist() == [error["reason"]]


@pytest.mark.slow
def test_a_folder_of_an_object_store_with_its_address_in_the_uri(
    cluster: Any, store: str, clips: Path, local: list[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    for path in sorted(clips.iterdir()):
        boto3.client("s3").upload_file(str(path), "speech", f"folder/{path.name}")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    where = f"s3://testing:testing@speech/folder?scheme=http&endpoint_override={store.removeprefix('http://')}"
    assert recognize(cluster, where, out=tmp_path / "out") == 2
    found = as_text(str(tmp_path / "out"))
    assert found[0]["file"] == "s3://speech/folder/clip00.wav"  # no secrets
    assert named(found) == named(local)
    assert b"testing" not in (tmp_path / "out" / "log" / "settings.json").read_bytes()


@pytest.mark.slow
def test_a_clip_that_kills_its_worker_ends_among_the_errors(
    cluster: Any, clips: Path, local: list[dict[str, str]], tmp_path: Path
) -> None:
    folder = tmp_path / "clips"
    shutil.copytree(clips, folder)
    (folder / "clip20.wav").rename(folder / "clip20-deadly.wav")
    assert recognize(cluster, folder, out=tmp_path / "out") == 2
    assert named(as_text(str(tmp_path / "out"))) == named(local)
    errors = {Path(row["file"]).name: row["reason"] for row in read_errors(str(tmp_path / "out")).to_pylist()}
    assert errors["clip20-deadly.wav"] == "kills the process that recognizes it, or needs too much memory"


@pytest.mark.slow
def test_a_run_of_other_settings_or_of_another_input_is_refused(
    cluster: Any, clips: Path, finished: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(finished, tmp_path / "out")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=r"holds another run \(threshold is 0\.\d+, not 0.5\); name another --out"):
        recognize(cluster, clips, out=out, options=RecognitionOptions(threshold=0.5))
    with pytest.raises(ConfigError, match=r"holds another run \(clips is 40, not 1, input is "):
        recognize(cluster, clips / "clip01.wav", out=out)
    assert all(path.read_bytes() == content for path, content in before.items())
    (out / "log" / "settings.json").unlink()
    with pytest.raises(ConfigError, match="holds rows, and nobody knows how they were made"):
        recognize(cluster, clips, out=out)


@pytest.mark.slow
def test_where_nothing_can_be_written_or_read_is_said_in_a_line(cluster: Any, clips: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^s3://nowhere/out/rows: cannot be read \(there is no such bucket\)$"):
        recognize(cluster, clips / "clip00.wav", out="s3://nowhere/out")
    with pytest.raises(ConfigError, match=r"^s3://speech/none.csv: cannot be read \("):
        recognize(cluster, "s3://speech/none.csv", out=tmp_path / "a")
    with pytest.raises(ConfigError, match=r"^gopher:// is no file system"):
        recognize(cluster, "gopher://x/y.wav", out=tmp_path / "b")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file/log/settings.json: cannot be read \(Not a directory\)"):
        recognize(cluster, clips / "clip00.wav", out=tmp_path / "file")


@pytest.fixture
def guarded(store: str) -> Iterator[dict[str, str]]:
    """The object store, which now knows two users and no others: the credentials of both, as a URI has them."""
    import boto3
    import requests

    users, iam = {}, boto3.client("iam")
    anything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    for name in ("writer", "visitor"):
        iam.create_user(UserName=name)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        users[name] = f"{key['AccessKeyId']}:{quote(key['SecretAccessKey'], safe='')}"
    iam.put_user_policy(UserName="writer", PolicyName="anything", PolicyDocument=json.dumps(anything))
    requests.post(f"{store}/moto-api/reset-auth", data="0").raise_for_status()
    yield users
    requests.post(f"{store}/moto-api/reset-auth", data="inf").raise_for_status()


def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object) -> str:
    """What the command says of an error that a user can cause."""
    monkeypatch.setattr(sys, "argv", ["emofocus", *map(str, arguments)])
    with pytest.raises(SystemExit) as exited:
        main()
    assert exited.value.code == 1
    return "\n".join(line for line in capsys.readouterr().err.splitlines() if not line.startswith("Ray: "))


@pytest.mark.slow
def test_wrong_credentials_are_said_in_a_line_that_does_not_repeat_them_and_nothing_is_written(
    cluster: Any,
    store: str,
    guarded: dict[str, str],
    clips: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def predict(source: object, out: object) -> str:
        return said(capsys, monkeypatch, "predict", source, "--ray", cluster.address, "--out", out)

    def uri(credentials: str, bucket: str, path: str, server: str = store) -> str:
        return f"s3://{credentials}@{bucket}/{path}?scheme=http&endpoint_override={server.removeprefix('http://')}"

    key, _ = guarded["writer"].split(":")
    unknown, wrong, visitor = "AKIASTRANGER:strangersecret", f"{key}:mistypedsecret", guarded["visitor"]
    denied = "access is denied: wrong credentials, or none"  # S3 tells no more to who asks for one file
    for credentials in (unknown, wrong, visitor):
        told = predict(clips / "clip00.wav", uri(credentials, "speech", "guarded"))
        assert told == f"emofocus: s3://speech/guarded/log/settings.json: cannot be read ({denied})"
        told = predict(uri(credentials, "speech", "guarded/list.csv"), tmp_path / "out")
        assert told == f"emofocus: s3://speech/guarded/list.csv: cannot be read ({denied})"
    for credentials, reason in {
        unknown: "the access key is not known there",
        wrong: "the secret key is wrong",
        visitor: denied,
    }.items():
        told = predict(uri(credentials, "speech", "guarded"), tmp_path / "out")
        assert told == f"emofocus: s3://speech/guarded: cannot be read ({reason})"

    nowhere = "cannot be read (there is no such bucket)"
    told = predict(clips / "clip00.wav", uri(guarded["writer"], "nowhere", "out"))
    assert told == f"emofocus: s3://nowhere/out/rows: {nowhere}"
    assert predict(uri(guarded["writer"], "nowhere", "in"), tmp_path / "out") == f"emofocus: s3://nowhere/in: {nowhere}"
    told = predict(clips / "clip00.wav", uri(guarded["writer"], "speech", "guarded", server="http://127.0.0.1:1"))
    assert told == "emofocus: s3://speech/guarded/log/settings.json: cannot be read (nothing answers there)"
    assert list_files(parse_location(uri(guarded["writer"], "speech", "guarded"))) == []  # who may look finds nothing
    assert not (tmp_path / "out").exists()


def test_a_uri_whose_secret_cannot_be_told_from_its_path_is_refused_without_it(clips: Path, tmp_path: Path) -> None:
    for text in ("s3://KEY:half/otherhalf@speech/out", "s3://KEY:half otherhalf@speech/out"):
        with pytest.raises(ConfigError, match=r"write .* as %2") as refused:
            parse_location(text).open()
        assert "half" not in str(refused.value)
        assert "KEY" not in str(refused.value)
    with pytest.raises(ConfigError, match=r"^s3://speech/in: a URI is read and written with --ray"):
        CliRunner().invoke(app, ["predict", "s3://KEY:secret@speech/in"], catch_exceptions=False)


@pytest.mark.slow
def test_a_full_disk_is_said_in_a_line_and_loses_nothing(
    cluster: Any, clips: Path, finished: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(finished, tmp_path / "out")
    (out / "rows" / "part-00000001.parquet").unlink()
    before = {path: path.read_bytes() for path in (out / "rows").iterdir()}
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # files of this process cannot grow beyond
    try:
        with pytest.raises(ConfigError, match=r"part-0000000\d.parquet: cannot be written \(File too large\)"):
            recognize(cluster, clips, out=out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert {path: path.read_bytes() for path in (out / "rows").iterdir()} == before


@pytest.mark.slow
def test_an_address_where_nothing_answers_and_another_ray_are_said_in_a_line(
    cluster: Any, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    def at(address: str) -> int:
        return predict_on_ray([str(clips)], str(tmp_path / "out"), cluster=BulkOptions(address=address))

    with pytest.raises(ConfigError, match=r"no Ray answers at 127.0.0.1:1 \(Connection refused\)"):
        at("127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"'somewhere' is no address of Ray \(valid: local, auto, host:6379\)"):
        at("somewhere")
    with pytest.raises(ConfigError, match="run the command on a machine of the cluster"):
        at("ray://127.0.0.1:10001")
    with monkeypatch.context() as patch:
        patch.setattr(ray, "__version__", "1.0.0")
        with pytest.raises(ConfigError, match=r"is of another version than this process: Ray: .*, Ray: 1\.0\.0"):
            at(cluster.address)
    with monkeypatch.context() as patch:
        patch.setattr("emofocus.cluster.connection.__version__", "9.9")
        with pytest.raises(
            ConfigError, match=r"node .* of the cluster has emofocus .*, but 9\.9 on .* asks; install one"
        ):
            at(cluster.address)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ray", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'emofocus\[cluster\]'"):
            at(cluster.address)


def test_a_part_of_odd_size_or_a_device_of_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a part of 12 clips: it must be a multiple of 8"):
        predict_on_ray(["x.wav"], str(tmp_path), cluster=BulkOptions(part=12))
    with pytest.raises(ConfigError, match=r"no device 'coreml' \(valid: auto, cpu, cuda\)"):
        predict_on_ray(["x.wav"], str(tmp_path), options=RecognitionOptions(device="coreml"))
