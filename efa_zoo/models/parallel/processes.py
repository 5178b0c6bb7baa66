"""Several processes as one: they find each other, and follow the first."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import equinox as eqx
import jax
import numpy as np
from jax.experimental import multihost_utils

from efa_zoo.base.errors import ConfigError, TrainingError

__all__ = ["facts_of_first", "is_first", "join_processes", "tree_of_first", "wait_for_all", "watch"]

_Tree = TypeVar("_Tree")

#: Seconds without a sign of life after which a process counts as lost.
_SILENCE = 20

#: Seconds that a process which ends waits for the others to end.
_ENDING = 10


def join_processes(
    coordinator: str | None = None, processes: int | None = None, process: int | None = None
) -> None:
    """Make this process one of several that compute together, before JAX is used for anything.

    Args:
        coordinator: `host:port` of the first process, which the others can reach.
        processes: how many there are.
        process: the number of this one, from 0. Without the three the environment is asked, as
            SLURM, Open MPI, Kubernetes and TPUs set it.

    Raises:
        ConfigError: only some of the three are given, the environment says nothing, a number is out
            of range, or the others cannot be reached.
    """
    given = (coordinator, processes, process)
    if any(value is None for value in given) and given != (None, None, None):
        raise ConfigError(
            f"coordinator, processes, process: got {coordinator}, {processes} and {process}, "
            "expected all three, or none to ask the environment"
        )
    if processes is not None and process is not None and not 0 <= process < processes:
        raise ConfigError(f"process: got {process}, expected 0 to {processes - 1}")
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            cluster_detection_method=None if coordinator is None else "deactivate",
            heartbeat_timeout_seconds=_SILENCE,
            shutdown_timeout_seconds=_ENDING,
        )
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"processes: cannot join the others ({reason})") from error


def is_first() -> bool:
    """Whether this process writes files; one that is alone does."""
    return jax.process_index() == 0


def tree_of_first(tree: _Tree) -> _Tree:
    """Give the arrays that the first process has to all.

    Args:
        tree: of the same shapes and types in every process.

    Returns:
        The first one's, with NumPy leaves; the tree itself where a process is alone.
    """
    if jax.process_count() == 1:
        return tree
    arrays, rest = eqx.partition(tree, lambda leaf: isinstance(leaf, jax.Array | np.ndarray))
    return eqx.combine(multihost_utils.broadcast_one_to_all(arrays), rest)


def facts_of_first(facts: Any) -> Any:
    """Give what the first process has, as JSON takes it, to all."""
    if jax.process_count() == 1:
        return facts
    content = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    if not is_first():
        content = np.zeros(size, np.uint8)
    return json.loads(np.asarray(multihost_utils.broadcast_one_to_all(content)).tobytes())


def wait_for_all(place: str) -> None:
    """Wait until every process is at this place."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(place)


@contextmanager
def watch() -> Generator[None]:
    """Say it when another process was lost.

    Raises:
        TrainingError: a computation of all processes broke off.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        reason = " ".join(str(error).split())[:200]
        raise TrainingError(
            f"process {jax.process_index()} of {jax.process_count()}: another process was lost "
            f"({reason})"
        ) from error
