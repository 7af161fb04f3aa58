"""Bulk recognition, experiments and training on a Ray cluster.

Ray schedules the work, restarts it and scales it; this package holds the work itself and makes it repeatable. It needs
the extra `[cluster]`, and only commands import it.
"""

from emofocus.errors import MissingExtraError

try:
    import pyarrow  # noqa: F401  (a missing extra is reported here, once)
except ImportError as error:
    raise MissingExtraError(error.name or "pyarrow", "cluster") from error

from emofocus.cluster.output import read, read_errors

__all__ = ["read", "read_errors"]
