"""Files written whole, under a temporary name first; records with a digest; folders with a lock."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
import sys
import time
import uuid
import zlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from efa_zoo.base.errors import DataError, EFAZooError

__all__ = [
    "FolderInUse",
    "locked",
    "naming",
    "read_record",
    "replacing",
    "user_cache",
    "write_atomically",
    "write_record",
]

#: Seconds after which a temporary file of another machine is left over from a crash.
_STALE = 24 * 3600.0


@contextmanager
def naming(path: Path) -> Generator[None]:
    """Say which file an error of the operating system is about, such as a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = os.fspath(path)
        raise


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Give a temporary path beside `path`, and rename it to `path` if the block succeeds.

    The temporary name keeps the ending of `path`, so that writers which choose a format by it work.
    What processes that were killed have left of earlier attempts is removed.

    Args:
        path: the file to write; its folder is made when missing.

    Yields:
        The path to write to. When the block raises, it is removed and `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_over(path)
    own = f"{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    temporary = path.with_name(f".{path.stem}.{own}.tmp{path.suffix}")
    try:
        with naming(path):
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _machine() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _remove_left_over(path: Path) -> None:
    """Remove temporary files of `path` whose process is gone."""
    start, end = re.escape(f".{path.stem}."), re.escape(f".tmp{path.suffix}")
    pattern = re.compile(rf"{start}([0-9a-f]{{8}})-(\d+)-[0-9a-f]{{8}}{end}")
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            found = pattern.fullmatch(entry.name)
            if found is None:
                continue
            here = found[1] == _machine()
            if not _runs(int(found[2])) if here else time.time() - entry.stat().st_mtime > _STALE:
                Path(entry.path).unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path`: readers see the old file or the new one, never a part of it."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_record(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object with its digest, atomically.

    Args:
        path: the file.
        content: what JSON takes; without a key "digest".
    """
    record = {**content, "digest": _digest(content)}
    write_atomically(path, json.dumps(record, indent=1).encode())


def read_record(path: Path) -> dict[str, Any]:
    """Read what `write_record` wrote.

    Args:
        path: the file.

    Returns:
        The object, without its digest.

    Raises:
        OSError: the file cannot be read.
        DataError: it is damaged, or was altered.
    """
    try:
        record: Any = json.loads(path.read_bytes())
    except RecursionError:
        raise DataError("nested too deeply") from None
    except ValueError as error:
        raise DataError(str(error)) from error
    digest = record.pop("digest", None) if isinstance(record, dict) else None
    if not isinstance(digest, str):
        raise DataError("has no digest")
    if _digest(record) != digest:
        raise DataError("was altered, it does not have its digest")
    return record


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class FolderInUse(EFAZooError):
    """Another process holds the lock of a folder; the message says which one."""


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Hold the lock of a folder; a process that ends in whatever way gives it back.

    Args:
        folder: must exist. While the lock is held there is a file `.lock` in it.

    Raises:
        FolderInUse: another process holds it.
    """
    import fcntl

    path = folder / ".lock"
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 200).decode(errors="replace")
            os.close(file)
            raise FolderInUse(holder or "a process") from None
        # The holder before may have removed the file between the two calls.
        if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
            break
        os.close(file)
    try:
        os.truncate(file, 0)
        os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def user_cache() -> Path:
    """The folder of efa_zoo in the user's cache."""
    if sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "efa_zoo"
