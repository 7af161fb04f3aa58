"""Connection to a Ray cluster: errors in one line, and otherwise silence."""

import logging
import os
import platform
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any, NamedTuple

from emofocus.config import recipe_names
from emofocus.corpora import CORPORA, is_folder_of_data
from emofocus.corpora.manifest import is_manifest
from emofocus.data.speaker_embeddings import MANIFEST
from emofocus.errors import ConfigError, MissingExtraError
from emofocus.utils.progress import log_line
from emofocus.version import __version__

CONNECT_SECONDS = 10.0
"""Time within which an address must answer."""

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray reports nothing about the use of speech
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a change that Ray otherwise announces with a warning
    "RAY_worker_niceness": "0",  # as the local command; for clusters that are started here
}
"""Environment variables that Ray reads when it is imported."""

STDERR = 2
"""File descriptor of stderr."""

INSTALL = "install one version of it everywhere"

Ray = Any
"""The module `ray`, which has no complete types and is imported only when it is needed."""


def import_ray() -> Ray:
    """Import Ray without its progress bars, warnings and usage reports.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError(error.name or "ray", "cluster") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.log_internal_stack_trace_to_stdout = False
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return ray


@contextmanager
def connected(address: str, show_output: bool = False) -> Iterator[Ray]:
    """Connect to a cluster, or start one on this machine, until the end of the block.

    Args:
        address: ``local`` starts a cluster with all cores, ``auto`` finds the one that this machine belongs to, and
            ``host:6379`` is an address as Ray spells it.
        show_output: Whether to show what workers print.

    Yields:
        The module `ray`.

    Raises:
        ConfigError: Nothing answers, Ray or Python is of another version there, a node has another emofocus or none,
            or Ray gave up.
        MissingExtraError: Ray is not installed.
    """
    ray = import_ray()
    _check_address(address)
    if show_output:
        yield from _connection(ray, address, show_output)
        return
    with Path(os.devnull).open("w") as devnull, redirect_stdout(devnull):  # Ray prints the output of its nodes there
        yield from _connection(ray, address, show_output)


def _connection(ray: Ray, address: str, show_output: bool) -> Iterator[Ray]:
    options = {"include_dashboard": False} if address == "local" else {}
    with _connection_errors(ray, address):
        ray.init(address=address, log_to_driver=show_output, logging_level=logging.CRITICAL, **options)
    try:
        nodes, cores = sum(node["Alive"] for node in ray.nodes()), int(ray.cluster_resources().get("CPU", 0))
        log_line(f"Ray: {nodes} node{'s' * (nodes != 1)}, {cores} cores")
        if address != "local":
            _check_nodes(ray)
        yield ray
    except ray.exceptions.RayError as error:
        raise ConfigError(f"Ray at {address}: {reason_of(error)}") from error
    finally:
        ray.shutdown()


@contextmanager
def native_stderr_silenced() -> Iterator[None]:
    """Discard what anything in this process, also code that is not Python, writes to stderr; for short calls only."""
    sys.stderr.flush()
    stderr = os.dup(STDERR)
    try:
        with Path(os.devnull).open("w") as devnull:
            os.dup2(devnull.fileno(), STDERR)
        yield
    finally:
        os.dup2(stderr, STDERR)
        os.close(stderr)


def _check_address(address: str) -> None:
    """Check that something listens at an address; Ray itself tries for a minute and may then end the process.

    Raises:
        ConfigError: The address is invalid, or nothing answers.
    """
    if address in ("local", "auto"):
        return
    if address.startswith("ray://"):
        raise ConfigError(
            f"{address}: Ray Data does not work through Ray's client; "
            "run the command on a machine of the cluster (--ray auto), or by ray job submit"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"{address!r} is no address of Ray (valid: local, auto, host:6379)")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise ConfigError(f"no Ray answers at {address} ({error.strerror or error})") from error


@contextmanager
def _connection_errors(ray: Ray, address: str) -> Iterator[None]:
    """Turn errors of connecting into ConfigErrors of one line."""
    try:
        yield
    except Exception as error:  # Ray's own exceptions have no common base class but Exception
        if isinstance(error, RuntimeError) and (versions := _different_versions(ray)):
            raise ConfigError(f"Ray at {address} is of another version than this process: {versions}") from error
        if isinstance(error, ConnectionError) and address == "auto":
            raise ConfigError(
                "no Ray is running here that could be found; start one (ray start), or say local"
            ) from error
        raise ConfigError(f"no connection to Ray at {address}: {reason_of(error)}") from error


def _different_versions(ray: Ray) -> str:
    """Versions of Ray and Python of the cluster and of this process, or an empty text if they are the same.

    The comparison repeats Ray's own, which raises a plain RuntimeError.
    """
    from ray._common.usage.usage_lib import get_cluster_metadata

    node = ray._private.worker._global_node
    metadata = get_cluster_metadata(node.get_gcs_client()) if node else None
    if not metadata:
        return ""
    both = [
        (metadata["ray_version"], metadata["python_version"]),
        (ray.__version__, platform.python_version()),
    ]
    return "" if both[0] == both[1] else ", ".join(f"Ray: {version}, Python: {python}" for version, python in both)


def reason_of(error: BaseException) -> str:
    """The last line of an error's text.

    Ray passes an error on as text, and its last line holds the innermost error. The line is shown; nothing is decided
    on it.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"^[\w.]+Error: ", "", lines[-1]) if lines else type(error).__name__


class Requester(NamedTuple):
    """The process that runs a command on the cluster.

    Attributes:
        version: Its version of emofocus.
        host: Its machine.
    """

    version: str
    host: str

    @classmethod
    def current(cls) -> "Requester":
        """This process."""
        return cls(__version__, platform.node())


def check_version(requester: Requester, version: str | None = __version__, node: str | None = None) -> None:
    """Check that a node has the emofocus of the process that requests the work; called on the node by default.

    Args:
        requester: The process that requests the work.
        version: Version of emofocus on the node; None if it has none.
        node: Name of the node; this machine's by default.

    Raises:
        ConfigError: The node has another version, or none.
    """
    name = f"node {node or platform.node()} of the cluster"
    if version is None:
        raise ConfigError(f"{name} has no emofocus; {INSTALL}")
    if version != requester.version:
        raise ConfigError(f"{name} has emofocus {version}, but {requester.version} on {requester.host} asks; {INSTALL}")


def _check_nodes(ray: Ray) -> None:
    """Check the version of emofocus on every node; nodes that die meanwhile are left out.

    Raises:
        ConfigError: A node has another version, or none.
    """

    def installed_version() -> str | None:  # a local function, so that Ray sends its code to nodes without emofocus
        try:
            from emofocus.version import __version__
        except ImportError:
            return None
        return __version__

    affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    answers = {}
    for node in ray.nodes():
        if node["Alive"]:
            task = ray.remote(num_cpus=0, max_retries=0)(installed_version)
            answer = task.options(scheduling_strategy=affinity(node["NodeID"], soft=False)).remote()
            answers[answer] = node["NodeManagerHostname"]
    for answer, name in answers.items():
        with suppress(ray.exceptions.RayError):
            check_version(Requester.current(), ray.get(answer), name)


def absolute_corpus(name: str, folder: Path = Path()) -> str:
    """The absolute path of a manifest or of a folder with a corpus; names of corpora are returned unchanged."""
    path = folder.absolute() / name
    own = is_manifest(str(path)) or is_folder_of_data(str(path))
    return str(path) if name not in CORPORA and own and path.exists() else name


def absolute_if_path(text: str, folder: Path = Path()) -> str:
    """The absolute path of a file in a folder; other texts, and names of corpora and recipes, are returned unchanged.

    A corpus often lies in a folder of its own name, so a known name never counts as a path.
    """
    path = folder.absolute() / text
    return text if text in (*CORPORA, *recipe_names(), MANIFEST) or not path.exists() else str(path)
