"""Cutting work into chunks changes nothing but the order of sums."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efa_zoo.ops.chunks import chunk_size, map_chunks, sum_chunks


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 23), size=st.integers(1, 30))
def test_chunks_cover_every_row_once(rows: int, size: int) -> None:
    x = np.arange(1.0, rows * 3 + 1, dtype=np.float32).reshape(rows, 3)
    mask = np.ones(rows, bool)

    def squares(chunk: tuple[jax.Array, jax.Array]) -> dict[str, jax.Array]:
        return {"square": chunk[0] ** 2, "kept": chunk[1]}

    def total(chunk: tuple[jax.Array, jax.Array]) -> jax.Array:
        return jnp.sum(chunk[0] ** 2, axis=0)

    with jax.disable_jit():
        mapped = map_chunks(squares, (x, mask), size)
        summed = sum_chunks(total, (x, mask), size)
    np.testing.assert_array_equal(mapped["square"], x**2)
    assert mapped["kept"].dtype == bool
    assert mapped["kept"].all()
    assert mapped["kept"].shape == (rows,)
    np.testing.assert_array_equal(summed, np.sum(x**2, axis=0))


@pytest.mark.parametrize("remat", [True, False])
def test_derivatives_go_through_chunks(x64: None, remat: bool) -> None:
    rng = np.random.default_rng(0)
    rows, shared = rng.normal(size=(7, 2)), rng.normal(size=(2,))

    def mapped(rows: jax.Array, shared: jax.Array, size: int) -> jax.Array:
        out = map_chunks(lambda x: jnp.sin(x * shared), rows, size, remat=remat)
        more = sum_chunks(lambda x: jnp.sum(jnp.cos(x @ shared)), rows, size, remat=remat)
        return jnp.sum(out**3) + more

    for function in (jax.grad(mapped, (0, 1)), jax.hessian(mapped, (0, 1))):
        cut, whole = (function(rows, shared, size) for size in (3, 7))
        for a, b in zip(jax.tree.leaves(cut), jax.tree.leaves(whole), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_a_chunk_has_a_row_at_least_and_all_rows_where_their_number_is_open() -> None:
    assert chunk_size(100, 10, 35) == 3
    assert chunk_size(100, 1000, 35) == 1
    assert chunk_size(100, 0, 35) == 35
    (open_size,) = jax.export.symbolic_shape("atoms")
    assert chunk_size(open_size, 10, 35) is open_size
    assert chunk_size(7, open_size, 35) == 7
