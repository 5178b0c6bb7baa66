"""Where data sets lie on disk."""

from __future__ import annotations

import os
from pathlib import Path

from efa_zoo.base.files import user_cache

ENVIRONMENT_VARIABLE = "EFA_ZOO_DATA"


def data_directory(given: str | os.PathLike[str] | None = None) -> Path:
    """Resolve the directory that data sets are written to and read from.

    Args:
        given: An explicit choice, or None.

    Returns:
        `given` if there is one, else `$EFA_ZOO_DATA` if set and not empty, else `efa_zoo/data` in
        the user's cache directory (`$XDG_CACHE_HOME` or `~/.cache`; `~/Library/Caches` on macOS).
    """
    if given is not None:
        return Path(given).expanduser()
    if chosen := os.environ.get(ENVIRONMENT_VARIABLE):
        return Path(chosen).expanduser()
    return user_cache() / "data"
