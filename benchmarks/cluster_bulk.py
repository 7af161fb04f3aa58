"""Bulk recognition on a Ray cluster of three nodes: what is killed, is it there once, and how fast is it?

Run: ``python benchmarks/cluster_bulk.py kills|damaged|speed FOLDER... [--utterances 50000] [--rounds 10]``.

The clips of the folders, as many as fill batches, are named again and again by a manifest, through a link for each
copy. Nodes are processes of this machine that share its cores.

kills    In each round a worker, then a whole node, then the command itself is killed at random moments. Then the
         command is left to finish, and every row is compared with that of the local command.
damaged  One file in a hundred is cut off, empty or no audio; compared with the local command on the same manifest.
speed    The local command, on one core and on all, and clusters of one node and of one for each core take turns on
         the same cores.
"""

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from emofocus import audio
from emofocus.cluster import read, read_errors
from emofocus.cluster.connection import import_ray
from emofocus.recognition.bulk import BATCH

CODE = "from emofocus.cli.main import main; main()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(PARTS))
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--utterances", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all-cores", action="store_true", help="leave out the local command on one core")
    arguments = parser.parse_args()
    files = [path.resolve() for path in audio.find(arguments.folders)]
    with tempfile.TemporaryDirectory() as folder:
        PARTS[arguments.what](Path(folder), files[: len(files) // BATCH * BATCH], arguments)


def manifest_of(folder: Path, files: list[Path], count: int) -> Path:
    """A list of ``count`` clips; names are ``copy0001/0003.flac``, through links."""
    originals = folder / "originals"
    originals.mkdir()
    for number, file in enumerate(files):
        (originals / f"{number:04d}{file.suffix}").symlink_to(file)
    names = sorted(path.name for path in originals.iterdir())
    copies = -(-count // len(files))
    for copy in range(copies):
        (folder / f"copy{copy:04d}").symlink_to(originals)
    lines = islice((f"copy{copy:04d}/{name}" for copy in range(copies) for name in names), count)
    (folder / "clips.csv").write_text("file\n" + "\n".join(lines) + "\n")
    return folder / "clips.csv"


def local_rows(manifest: Path, out: Path) -> dict[str, dict[str, str]]:
    """The local command's rows, by file."""
    subprocess.run(command(manifest, "--format", "csv", "--out", out), stderr=subprocess.DEVNULL)
    with out.open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def command(*arguments: object) -> list[str]:
    """`emofocus predict`, as a process of its own."""
    return [sys.executable, "-c", CODE, "predict", *map(str, arguments)]


def cluster_rows(out: Path) -> list[dict[str, str]]:
    """Rows as the local command spells them."""
    rows = read(str(out)).drop_columns(["position"]).to_pylist()
    return [{name: text_of(value) for name, value in row.items()} for row in rows]


def text_of(value: Any) -> str:
    """As the local command's CSV spells it."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def start_cluster(cores: int = 1) -> Any:
    """A head, which has no cores, and three nodes; the head is the command's, and dies with nobody."""
    import_ray()
    from ray.cluster_utils import Cluster

    memory = 300 << 20
    cluster = Cluster(head_node_args={"num_cpus": 0, "object_store_memory": memory}, initialize_head=True)
    for _ in range(3):
        cluster.add_node(num_cpus=cores, object_store_memory=memory)
    return cluster


def kills(folder: Path, files: list[Path], arguments: argparse.Namespace) -> None:
    """Kill, resume, compare."""
    distinct = local_rows(manifest_of_originals(folder, files), folder / "distinct.csv")
    manifest = manifest_of(folder, files, arguments.utterances)
    out = folder / "out"
    cluster, generator = start_cluster(), random.Random(arguments.seed)
    run = command(manifest, "--ray", cluster.address, "--out", out)
    began = time.perf_counter()
    for number in range(arguments.rounds):
        process = subprocess.Popen(run, stderr=(folder / "said").open("wb"))
        for kill in (kill_worker, kill_node):
            if wait_for_progress(process, out, generator):
                kill(cluster, generator)
        if wait_for_progress(process, out, generator):
            process.send_signal(signal.SIGKILL)
            process.wait()
            print(f"round {number + 1}: killed a worker, a node and the command; {parts(out)} parts", flush=True)
        elif (out / "log" / "complete.json").exists():
            print(f"was through in round {number + 1}", flush=True)
            break
        else:
            said = (folder / "said").read_text().splitlines()[-1]
            print(f"round {number + 1}: ended by itself; {parts(out)} parts; {said}", flush=True)
    done = subprocess.run(run, stderr=subprocess.DEVNULL)
    print(f"finished with exit code {done.returncode} after {time.perf_counter() - began:.0f} s in all")
    cluster.shutdown()
    rows = cluster_rows(out)
    names = {row["file"] for row in rows}
    print(f"rows: {len(rows)}; files: {len(names)}; errors: {len(read_errors(str(out)))}")
    once = {file: row | {"file": "", "start": "", "end": ""} for file, row in distinct.items()}
    same = sum(row | {"file": ""} == once[Path(row["file"]).name] for row in rows)
    print(f"rows equal to the local command's: {same} of {arguments.utterances}")


def manifest_of_originals(folder: Path, files: list[Path]) -> Path:
    """A list of each clip once, by the names that copies have."""
    (folder / "once").mkdir()
    for number, file in enumerate(files):
        (folder / "once" / f"{number:04d}{file.suffix}").symlink_to(file)
    names = sorted(path.name for path in (folder / "once").iterdir())
    (folder / "once" / "clips.csv").write_text("file\n" + "\n".join(names) + "\n")
    return folder / "once" / "clips.csv"


def parts(out: Path) -> int:
    """How many are written."""
    return len(list((out / "rows").glob("*.parquet"))) if (out / "rows").is_dir() else 0


def wait_for_progress(process: subprocess.Popen[bytes], out: Path, generator: random.Random) -> bool:
    """Until something more has been written, and a while; False when the command has ended."""
    before = parts(out)
    while process.poll() is None and parts(out) <= before:
        time.sleep(0.02)
    time.sleep(generator.uniform(0, 4))
    return process.poll() is None


def kill_worker(cluster: Any, generator: random.Random) -> None:
    """One process that recognizes, of this cluster."""
    raylets = [raylet.process.pid for node in cluster.worker_nodes for raylet in node.all_processes["raylet"]]
    listed = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", ",".join(map(str, raylets))], capture_output=True)
    found = [line.split()[0] for line in listed.stdout.decode().splitlines() if "MapWorker" in line]
    if found:
        os.kill(int(generator.choice(found)), signal.SIGKILL)


def kill_node(cluster: Any, generator: random.Random) -> None:
    """All processes of a node; another one takes its place."""
    cluster.remove_node(generator.choice(sorted(cluster.worker_nodes, key=str)), allow_graceful=False)
    cluster.add_node(num_cpus=1, object_store_memory=300 << 20)


def damaged(folder: Path, files: list[Path], arguments: argparse.Namespace) -> None:
    """One file in a hundred is spoilt."""
    names = manifest_of(folder, files, arguments.utterances).read_text().splitlines()[1:]
    generator = random.Random(arguments.seed)
    spoilt = dict.fromkeys(sorted(generator.sample(range(len(names)), len(names) // 100)))
    (folder / "spoilt").mkdir()
    for number in spoilt:
        content = (folder / names[number]).read_bytes()
        kind = generator.choice((b"", content[: len(content) // 3], b"no audio" * 100))
        name = f"spoilt/{number}{Path(names[number]).suffix}"
        (folder / name).write_bytes(kind)
        names[number] = name
    manifest, out = folder / "spoilt.csv", folder / "out"
    manifest.write_text("file\n" + "\n".join(names) + "\n")
    local = local_rows(manifest, folder / "local.csv")
    cluster = start_cluster()
    done = subprocess.run(command(manifest, "--ray", cluster.address, "--out", out), stderr=subprocess.DEVNULL)
    cluster.shutdown()
    rows, errors = cluster_rows(out), read_errors(str(out)).to_pylist()
    print(f"exit code {done.returncode}; rows {len(rows)}, errors {len(errors)} of {len(spoilt)} damaged")
    print(f"all with a reason: {all(row['reason'] and row['file'].startswith('spoilt/') for row in errors)}")
    same = sum(row == local.get(row["file"], {}) | {"start": "", "end": ""} for row in rows)
    print(f"rows equal to the local command's: {same} of {len(local)}")
    for row in errors[:5]:
        print(f"  {row['file']}: {row['reason']}")


def speed(folder: Path, files: list[Path], arguments: argparse.Namespace) -> None:
    """Turn by turn; also without what it takes to start, from the first part that was written to the last."""
    manifest, count = manifest_of(folder, files, arguments.utterances), arguments.utterances
    cores = os.cpu_count() or 1
    for number in range(arguments.rounds):
        for workers in (cores,) if arguments.all_cores else (1, cores):
            here = folder / f"local{number}-{workers}.csv"
            taken = timed(command(manifest, "--format", "csv", "--out", here, "--workers", workers))
            print(f"local, {workers} of {cores} cores: {count / taken:.1f} clips a second", flush=True)
        for nodes in (1, cores):
            there = folder / f"out{number}-{nodes}"
            with cluster_of(nodes, cores // nodes) as address:
                taken = timed(command(manifest, "--ray", address, "--out", there))
            written = sorted(path.stat().st_mtime for path in (there / "rows").glob("*.parquet"))
            steady = (len(written) - 1) * count / len(written) / (written[-1] - written[0])
            print(f"Ray, {nodes} nodes of {cores // nodes}: {count / taken:.1f}, once started {steady:.1f}", flush=True)


@contextmanager
def cluster_of(nodes: int, cores: int) -> Iterator[str]:
    """Its address; all of it has that many cores a node."""
    import_ray()
    from ray.cluster_utils import Cluster

    cluster = Cluster(head_node_args={"num_cpus": cores}, initialize_head=True)
    for _ in range(nodes - 1):
        cluster.add_node(num_cpus=cores)
    yield cluster.address
    cluster.shutdown()


def timed(arguments: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(arguments, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


PARTS: dict[str, Callable[[Path, list[Path], argparse.Namespace], None]] = {
    "kills": kills,
    "damaged": damaged,
    "speed": speed,
}

if __name__ == "__main__":
    main()
