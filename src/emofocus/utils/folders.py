"""Folders for files that are kept between runs."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$EMOFOCUS_CACHE``, or ``emofocus`` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("EMOFOCUS_CACHE") or Path(home) / "emofocus")
