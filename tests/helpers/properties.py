"""How often a property is tried: in few cases by ``make test``, in many by ``make test-all``."""

import os
from typing import Any

from hypothesis import settings

THOROUGH = "thorough"
"""Name of Hypothesis' profile in ``make test-all``; `conftest` registers it."""


def count(few: int, many: int = 1000) -> int:
    """Number of cases under the profile that is loaded."""
    return many if settings.get_current_profile_name() == THOROUGH else few


def cases(few: int, many: int = 1000, **options: Any) -> settings:
    """Settings of a property.

    Args:
        few: Cases in ``make test``, the same in each run.
        many: Cases in ``make test-all``; less than a thousand where one takes long. They are others in each run, but in
            continuous integration, where the same sources must get the same verdict.
        **options: More of `hypothesis.settings`.
    """
    thorough = settings.get_current_profile_name() == THOROUGH
    return settings(
        **{"max_examples": count(few, many), "deadline": None, "derandomize": not thorough or "CI" in os.environ}
        | options
    )
