"""Work in pieces: bounded memory, data that stay in a processor's cache, and all of its cores.

On a CPU, arrays larger than the cache cost more to move (and their memory more to claim) than the
arithmetic on them, and XLA runs the body of a loop on one core. So long axes are cut into a few
lanes, loops that do not depend on each other and run side by side, and each lane into blocks.
On an accelerator one block takes all that fits into memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

__all__ = ["block_size", "lanes", "map_blocks", "on_cpu", "sum_blocks"]

_Tree = TypeVar("_Tree")

#: Every lane is compiled by itself; more of them would cost more time than they save.
_MAX_LANES = 4


def on_cpu() -> bool:
    """Whether computations go to a CPU unless told otherwise."""
    return jax.default_backend() == "cpu"


def lanes() -> int:
    """Number of loops that run side by side: one per core, at most four."""
    if not on_cpu():
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, _MAX_LANES)


#: How many times more elements a block may have where there is an accelerator.
_ON_ACCELERATORS = 512


def block_size(rows: int, elements: int, limit: int) -> int:
    """Rows of a block.

    Args:
        rows: number of all rows; not an integer where `jax.export` leaves it open.
        elements: intermediate numbers of a row.
        limit: intermediate numbers of a block on a CPU; they should stay in a core's cache.

    Returns:
        The number, at least one; all rows where their number is open.
    """
    if not (isinstance(rows, int) and isinstance(elements, int)):
        return rows
    limit = limit if on_cpu() else limit * _ON_ACCELERATORS
    return max(1, limit // max(elements, 1))


def map_blocks(
    function: Callable[[Any], _Tree], rows: Any, size: int, *, lanes: int = 1, remat: bool = True
) -> _Tree:
    """Apply a function to blocks of rows and put the results together again.

    Args:
        function: takes `[size, ...]` arrays to `[size, ...]` arrays, row by row. Rows of zeros,
            which fill the last block, must be fine.
        rows: arrays with a common first axis.
        size: rows of a block.
        lanes: number of loops that run side by side.
        remat: recompute a block in the backward pass instead of storing what it needs.

    Returns:
        What the function gives for all rows at once.
    """
    total = _length(rows)
    if not isinstance(total, int) or size >= total:
        return function(rows)
    if remat:
        function = jax.checkpoint(function)
    results = [
        jax.lax.map(function, lane) if _length(lane) > 1 else _single(function, lane)
        for lane in _cut(rows, size, lanes)
    ]
    merged = [jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), result) for result in results]
    return jax.tree.map(lambda *parts: jnp.concatenate(parts)[:total], *merged)


def sum_blocks(
    function: Callable[[Any], _Tree], rows: Any, size: int, *, lanes: int = 1, remat: bool = True
) -> _Tree:
    """Sum what a function gives for each block of rows.

    Args:
        function: takes `[size, ...]` arrays to arrays that are sums over the rows. Rows of zeros,
            which fill the last block, must contribute nothing.
        rows: arrays with a common first axis.
        size: rows of a block.
        lanes: number of loops that run side by side.
        remat: recompute a block in the backward pass instead of storing what it needs.

    Returns:
        What the function gives for all rows at once.
    """
    total = _length(rows)
    if not isinstance(total, int) or size >= total:
        return function(rows)
    if remat:
        function = jax.checkpoint(function)
    sums = []
    for lane in _cut(rows, size, lanes):
        shapes = jax.eval_shape(function, jax.tree.map(lambda x: x[0], lane))
        start = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        sums.append(
            jax.lax.scan(
                lambda sums, block: (jax.tree.map(jnp.add, sums, function(block)), None),
                start,
                lane,
            )[0]
        )
    return jax.tree.map(lambda *parts: sum(parts[1:], parts[0]), *sums)


def _length(rows: Any) -> int:
    return jax.tree.leaves(rows)[0].shape[0]


def _single(function: Callable[[Any], _Tree], lane: Any) -> _Tree:
    return jax.tree.map(lambda x: x[None], function(jax.tree.map(lambda x: x[0], lane)))


def _cut(rows: Any, size: int, lanes: int) -> list[Any]:
    """Lanes of `[blocks, size, ...]`, filled up with zeros."""
    total = _length(rows)
    blocks = -(-total // size)
    lanes = min(lanes, blocks)
    blocks = -(-blocks // lanes)
    # Blocks of equal size leave the least to fill up.
    size = -(-total // (lanes * blocks))

    def shape(x: jax.Array) -> jax.Array:
        missing = lanes * blocks * size - total
        x = jnp.concatenate([x, jnp.zeros((missing, *x.shape[1:]), x.dtype)]) if missing else x
        return x.reshape(lanes, blocks, size, *x.shape[1:])

    cut = jax.tree.map(shape, rows)
    return [jax.tree.map(lambda x, lane=lane: x[lane], cut) for lane in range(lanes)]
