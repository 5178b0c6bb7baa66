"""Keep compiled functions for later processes."""

from __future__ import annotations

import os
from pathlib import Path

from efa_zoo.base.files import user_cache

__all__ = ["CACHE_VARIABLE", "use_compilation_cache"]

#: Environment variable that names the folder of compiled functions for the command line.
CACHE_VARIABLE = "EFA_ZOO_COMPILATION_CACHE"


def use_compilation_cache(directory: str | os.PathLike[str] | None = None) -> Path:
    """Store everything that JAX compiles from now on, and take it from there the next time.

    The first prediction of a process then takes a fraction of the time. This sets JAX's own
    options for the whole process (`jax_compilation_cache_dir` and its limits), which importing
    efa_zoo never does. Compiled functions belong to the machine and to the versions of JAX and
    efa_zoo; others are not found and compiled anew. XLA may write long messages about processor
    features when it loads them; the environment variable `TF_CPP_MIN_LOG_LEVEL=3`, set before JAX
    is imported, silences them.

    Args:
        directory: made if missing; default is `efa_zoo/compiled` in the user's cache folder
            (`$XDG_CACHE_HOME`, else `~/.cache`; `~/Library/Caches` on macOS).

    Returns:
        The folder.
    """
    import jax

    place = user_cache() / "compiled" if directory is None else Path(directory).expanduser()
    place.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(place))
    # A prediction compiles a hundred small functions besides the large one.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return place
