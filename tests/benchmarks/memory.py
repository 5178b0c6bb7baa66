"""Resident memory of this process."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from pathlib import Path

__all__ = ["PeakMemory", "available_bytes", "resident_bytes"]

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def _read(path: Path, field: str) -> int | None:
    """A size of one of Linux's tables, in bytes."""
    if not path.exists():
        return None
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    return None


def _highest() -> int:
    """Highest resident memory since the process began, or since it was forgotten."""
    found = _read(_STATUS, "VmHWM")
    if found is not None:
        return found
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def resident_bytes() -> int:
    """Resident memory now, unused pages returned; its highest where the system does not tell."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    found = _read(_STATUS, "VmRSS")
    return _highest() if found is None else found


def available_bytes() -> int | None:
    """Memory that the machine can still give, None where the system does not tell."""
    return _read(Path("/proc/meminfo"), "MemAvailable")


class PeakMemory:
    """Highest resident memory above what there was when this was made.

    Where the system cannot forget an earlier peak (anywhere but on Linux), work that stays below
    that peak is not seen, and `reliable` is False.
    """

    def __init__(self) -> None:
        self.start = resident_bytes()
        self.reliable = True
        try:
            _CLEAR.write_text("5", encoding="ascii")  # forgets the highest size
        except OSError:
            self.reliable = False

    def bytes(self) -> int:
        """What came on top, at the highest."""
        return max(0, _highest() - self.start)
