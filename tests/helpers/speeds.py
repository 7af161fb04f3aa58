"""What `make test` leaves to `make test-all`."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest

QUICK_MODELS = ("compact-faca", "mhsa-faca")
"""Networks that stand for all others in ``make test``."""


def slow_but(names: Iterable[str], quick: Collection[str] = QUICK_MODELS) -> list[Any]:
    """Parameters of a test or a fixture; all but the quick ones are marked ``slow``."""
    return [pytest.param(name, marks=[] if name in quick else pytest.mark.slow) for name in names]
