"""A connection to Ray that says plainly what is wrong, and keeps quiet otherwise."""

import logging
import os
import platform
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from emofocus.config import recipe_names
from emofocus.corpora import CORPORA
from emofocus.data.speaker_embeddings import MANIFEST
from emofocus.errors import ConfigError, MissingExtraError
from emofocus.utils.progress import log_line
from emofocus.version import __version__

PATIENCE = 10.0
"""Seconds in which an address must answer."""

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # what runs on speech keeps to itself
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",  # as the local command; of clusters that are started here
}
"""What Ray reads when it is imported."""

INSTALL = "install one version of it everywhere"

Ray = Any
"""The module `ray`: it is imported when it is needed."""


def import_ray() -> Ray:
    """Ray, told to be quiet and to report to nobody.

    Raises:
        MissingExtraError: It is not installed.
    """
    for name, value in QUIET.items():
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
def connected(address: str, speaking: bool = False) -> Iterator[Ray]:
    """Connect to a cluster, or start one on this machine, for as long as the block lasts.

    Args:
        address: ``local`` starts one with all cores, ``auto`` finds the one that this machine belongs to; otherwise
            as Ray spells it, ``host:6379``.
        speaking: Whether what workers print is shown.

    Yields:
        Ray.

    Raises:
        ConfigError: Nothing answers, it is another Ray or Python, a node has another emofocus, or Ray gave up.
        MissingExtraError: Ray is not installed.
    """
    ray = import_ray()
    _refuse_deaf(address)
    if speaking:
        yield from _connection(ray, address, speaking)
        return
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):  # where Ray prints what its nodes say
        yield from _connection(ray, address, speaking)


def _connection(ray: Ray, address: str, speaking: bool) -> Iterator[Ray]:
    with _plainly(address):
        ray.init(address=address, log_to_driver=speaking, logging_level=logging.CRITICAL, **_local_options(address))
    try:
        nodes, cores = sum(node["Alive"] for node in ray.nodes()), int(ray.cluster_resources().get("CPU", 0))
        log_line(f"Ray: {nodes} node{'s' * (nodes != 1)}, {cores} cores")
        yield ray
    except ray.exceptions.RayError as error:
        raise ConfigError(f"Ray at {address}: {reason_of(error)}") from error
    finally:
        ray.shutdown()


def _local_options(address: str) -> dict[str, Any]:
    return {"include_dashboard": False} if address == "local" else {}


def _refuse_deaf(address: str) -> None:
    """Knock first: Ray itself tries for a minute, and may end the process when nobody answers."""
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
        socket.create_connection((host, int(port)), PATIENCE).close()
    except OSError as error:
        raise ConfigError(f"no Ray answers at {address} ({error.strerror or error})") from error


@contextmanager
def _plainly(address: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Ray's own exceptions share no base but Exception
        text = str(error)
        if "ersion mismatch" in text:
            raise ConfigError(f"Ray at {address} is of another version than this process: {_versions(text)}") from error
        if isinstance(error, ConnectionError) and address == "auto":
            raise ConfigError(
                "no Ray is running here that could be found; start one (ray start), or say local"
            ) from error
        raise ConfigError(f"no connection to Ray at {address}: {reason_of(error)}") from error


def _versions(text: str) -> str:
    """The lines of Ray's message that name versions, as one."""
    lines = [line.strip() for line in text.splitlines()]
    return ", ".join(line for line in lines if line.startswith(("Ray:", "Python:"))) or " ".join(lines)


def reason_of(error: BaseException) -> str:
    """The last line that says something: that of the innermost error."""
    if "No module named 'emofocus" in str(error):
        return f"a node of the cluster has no emofocus; {INSTALL}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"^[\w.]+Error: ", "", lines[-1]) if lines else type(error).__name__


def version_and_host() -> tuple[str, str]:
    """Of emofocus here, for `refuse_another_version` there."""
    return __version__, platform.node()


def refuse_another_version(asked: tuple[str, str]) -> None:
    """To be called on a node, with what `version_and_host` said where the work was asked for.

    Raises:
        ConfigError: This node's emofocus is another one.
    """
    version, host = asked
    if version != __version__:
        raise ConfigError(
            f"node {platform.node()} of the cluster has emofocus {__version__}, but {version} on {host} asks; {INSTALL}"
        )


def absolute_if_path(text: str, folder: Path = Path()) -> str:
    """The whole path of what a text names in a folder; a name of ours, or of nothing that is there, stays as it is.

    A corpus mostly lies in a folder of its own name, which is no reason to take the name for a path.
    """
    path = folder.absolute() / text
    return text if text in (*CORPORA, *recipe_names(), MANIFEST) or not path.exists() else str(path)
