"""Keep compiled functions for later processes."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
import zlib
from importlib.metadata import version
from pathlib import Path

from efa_zoo.base.files import user_cache

__all__ = ["CACHE_VARIABLE", "reuse_compiled", "use_compilation_cache"]

#: Environment variable that names the folder of compiled functions for the command line, or turns
#: keeping them off.
CACHE_VARIABLE = "EFA_ZOO_COMPILATION_CACHE"

#: Values of the variable that mean no folder.
_OFF = ("off", "0")

#: Most bytes that compiled functions take; one of a network has about 0.2 to 2 MB.
_MOST_BYTES = 500_000_000

#: JAX's options, as environment variables too; a prediction compiles a hundred small functions
#: besides the large one.
_OPTIONS = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}


def use_compilation_cache(
    directory: str | os.PathLike[str] | None = None, *, max_bytes: int = _MOST_BYTES
) -> Path:
    """Store everything that JAX compiles from now on, and take it from there the next time.

    The first prediction of a process then takes a fraction of the time. This sets JAX's own
    options for the whole process (`jax_compilation_cache_dir` and its limits), which importing
    efa_zoo never does; the command line does it by itself. XLA may write long messages about
    processor features when it loads compiled functions; the environment variable
    `TF_CPP_MIN_LOG_LEVEL=3`, set before JAX is imported, silences them.

    Args:
        directory: made if missing; default is a folder of this version of JAX and this processor
            in `efa_zoo/compiled` of the user's cache (`$XDG_CACHE_HOME`, else `~/.cache`;
            `~/Library/Caches` on macOS).
        max_bytes: the functions that were used longest ago are removed, now, until the folder has
            no more; without a directory those of all versions count.

    Returns:
        The folder.
    """
    import jax

    place = _default_place() if directory is None else Path(directory).expanduser()
    place.mkdir(parents=True, exist_ok=True)
    _prune(place, max_bytes, siblings=directory is None)
    jax.config.update("jax_compilation_cache_dir", str(place))
    for option, value in _OPTIONS.items():
        jax.config.update(option, value)
    return place


def reuse_compiled() -> None:
    """Do what `use_compilation_cache` does, before JAX is imported and without importing it.

    For programs of their own, such as the command line: it sets environment variables. The variable
    `EFA_ZOO_COMPILATION_CACHE` names another folder, or turns this off; nothing is done either
    where JAX has a folder already or is imported.

    Raises:
        OSError: the folder that the variable names cannot be made.
    """
    chosen = os.environ.get(CACHE_VARIABLE, "")
    if chosen in _OFF or "jax" in sys.modules or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    if chosen:
        place = Path(chosen).expanduser()
        place.mkdir(parents=True, exist_ok=True)
    else:
        try:
            place = _default_place()
            place.mkdir(parents=True, exist_ok=True)
        except (OSError, RuntimeError):  # no home, or one that cannot be written to
            return
    _prune(place, _MOST_BYTES, siblings=not chosen)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(place)
    for option, value in _OPTIONS.items():
        os.environ.setdefault(option.upper(), str(value))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # XLA's notes on the processor


def _default_place() -> Path:
    """The folder of what belongs to this version of JAX and this processor's features."""
    features = platform.processor()
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
        features = found[1] if found else features
    mark = zlib.crc32(" ".join(sorted(features.split())).encode())
    name = f"jax{version('jaxlib')}-{platform.machine()}-{mark:08x}"
    return user_cache() / "compiled" / name


def _prune(place: Path, max_bytes: int, *, siblings: bool) -> None:
    """Remove the compiled functions that were used longest ago until the rest fits."""
    folders = [path for path in place.parent.iterdir() if path.is_dir()] if siblings else [place]
    found: list[tuple[float, int, Path]] = []
    for path in (path for folder in folders for path in folder.iterdir()):
        if re.fullmatch(r".*-[0-9a-f]{64}-cache", path.name):  # as JAX calls its files
            with contextlib.suppress(OSError):  # another process may be pruning too
                facts = path.stat()
                found.append((max(facts.st_atime, facts.st_mtime), facts.st_size, path))
    excess = sum(size for _, size, _ in found) - max_bytes
    for _, size, path in sorted(found):
        if excess <= 0:
            break
        path.unlink(missing_ok=True)
        excess -= size
