"""What becomes of work that is interrupted, and of work in a forked process."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from efa_zoo.base.errors import EFAZooError

__all__ = ["forbid_fork", "require_no_fork", "resumable"]


@contextmanager
def resumable(checkpoint: Path) -> Generator[None]:
    """Add to an interrupt that comes inside whether there is something to go on from.

    Args:
        checkpoint: the file that is there as soon as there is.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(
            "the same command with --resume goes on"
            if checkpoint.exists()
            else "before the first checkpoint, so there is nothing to go on from"
        )
        raise


class _Process:
    """Whether networks were computed in this process, and in one that it was forked from."""

    computes = False
    forked = False


def _after_fork() -> None:
    _Process.forked = _Process.forked or _Process.computes


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def forbid_fork() -> None:
    """Remember that JAX is in use, whose threads a forked process would wait for in vain."""
    _Process.computes = True


def require_no_fork() -> None:
    """Refuse to compute in a process that was forked after JAX was used.

    Raises:
        EFAZooError: it was; JAX would hang.
    """
    if _Process.forked:
        raise EFAZooError(
            "this process was forked after a model was loaded, where JAX hangs; start processes by "
            "multiprocessing.get_context('spawn'), or load models in them only"
        )
