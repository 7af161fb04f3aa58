"""The same jobs on a Ray cluster: bulk recognition, experiments, and training beyond one machine.

Ray schedules, restarts and scales; here stands what is done, and what makes it repeatable. Everything needs the extra
`[cluster]`, and is imported by the commands alone.
"""

from emofocus.errors import MissingExtraError

try:
    import pyarrow  # noqa: F401 - what is missing is said here, once
except ImportError as error:
    raise MissingExtraError(error.name or "pyarrow", "cluster") from error

from emofocus.cluster.output import read, read_errors

__all__ = ["read", "read_errors"]
