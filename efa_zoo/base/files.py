"""Files written whole, under a temporary name first; and the cache folder."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing", "user_cache", "write_atomically"]


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Give a temporary path beside `path`, and rename it to `path` if the block succeeds.

    The temporary name keeps the ending of `path`, so that writers which choose a format by it work.

    Args:
        path: the file to write; its folder is made when missing.

    Yields:
        The path to write to. When the block raises, it is removed and `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.tmp{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path`: readers see the old file or the new one, never a part of it."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def user_cache() -> Path:
    """The folder of efa_zoo in the user's cache."""
    if sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "efa_zoo"
