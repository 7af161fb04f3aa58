"""How often a property is tried: in few cases by ``make test``, in many by ``make test-all``."""

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
        many: Cases in ``make test-all``, others in each run; less than a thousand where one takes long.
        **options: More of `hypothesis.settings`.
    """
    thorough = settings.get_current_profile_name() == THOROUGH
    return settings(**{"max_examples": count(few, many), "deadline": None, "derandomize": not thorough} | options)
