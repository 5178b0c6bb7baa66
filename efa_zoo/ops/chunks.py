"""Work in pieces: bounded memory, and data that stay in a processor's cache.

On a CPU, arrays larger than the cache cost more to move (and their memory more to claim) than the
arithmetic on them, so long axes are cut into chunks that a loop takes one after the other. On an
accelerator a chunk takes all that fits into memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from efa_zoo.ops.platforms import on_cpu

__all__ = ["chunk_size", "map_chunks", "sum_chunks"]

_Tree = TypeVar("_Tree")
_Rows = TypeVar("_Rows")


#: How many times more elements a chunk may have where there is an accelerator.
_ON_ACCELERATORS = 512


def chunk_size(rows: int, elements: int, limit: int) -> int:
    """Rows of a chunk.

    Args:
        rows: number of all rows; not an integer where `jax.export` leaves it open.
        elements: intermediate numbers of a row.
        limit: intermediate numbers of a chunk on a CPU; they should stay in a core's cache.

    Returns:
        The number, at least one; all rows where their number is open.
    """
    if not (isinstance(rows, int) and isinstance(elements, int)):
        return rows
    limit = limit if on_cpu() else limit * _ON_ACCELERATORS
    return max(1, limit // max(elements, 1))


def map_chunks(
    function: Callable[[_Rows], _Tree], rows: _Rows, size: int, *, remat: bool = True
) -> _Tree:
    """Apply a function to chunks of rows and put the results together again.

    Args:
        function: takes `[size, ...]` arrays to `[size, ...]` arrays, row by row. Rows of zeros,
            which fill the last chunk, must be fine.
        rows: arrays with a common first axis.
        size: rows of a chunk.
        remat: recompute a chunk in the backward pass instead of storing what it needs.

    Returns:
        What the function gives for all rows at once.
    """
    total = _length(rows)
    if not isinstance(total, int) or size >= total:
        return function(rows)
    if remat:
        function = jax.checkpoint(function)
    results = jax.lax.map(function, _cut(rows, size))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:total], results)


def sum_chunks(
    function: Callable[[_Rows], _Tree],
    rows: _Rows,
    size: int,
    *,
    remat: bool = True,
    like: _Tree | None = None,
) -> _Tree:
    """Sum what a function gives for each chunk of rows.

    Args:
        function: takes `[size, ...]` arrays to arrays that are sums over the rows. Rows of zeros,
            which fill the last chunk, must contribute nothing.
        rows: arrays with a common first axis.
        size: rows of a chunk.
        remat: recompute a chunk in the backward pass instead of storing what it needs.
        like: arrays of the shapes and types of the result. Without them the function is traced
            once more to find these.

    Returns:
        What the function gives for all rows at once.
    """
    total = _length(rows)
    if not isinstance(total, int) or size >= total:
        return function(rows)
    if remat:
        function = jax.checkpoint(function)
    chunks = _cut(rows, size)
    if like is None:
        like = jax.eval_shape(function, jax.tree.map(lambda x: x[0], chunks))
    start = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)

    def add(sums: _Tree, chunk: Any) -> tuple[_Tree, None]:
        return jax.tree.map(jnp.add, sums, function(chunk)), None

    return jax.lax.scan(add, start, chunks)[0]


def _length(rows: Any) -> int:
    return jax.tree.leaves(rows)[0].shape[0]


def _cut(rows: Any, size: int) -> Any:
    """Chunks `[chunks, size, ...]`, filled up with zeros."""
    total = _length(rows)
    chunks = -(-total // size)
    size = -(-total // chunks)  # chunks of equal size leave the least to fill up

    def cut(x: jax.Array) -> jax.Array:
        missing = chunks * size - total
        x = jnp.concatenate([x, jnp.zeros((missing, *x.shape[1:]), x.dtype)]) if missing else x
        return x.reshape(chunks, size, *x.shape[1:])

    return jax.tree.map(cut, rows)
