"""What depends on the platform is chosen where a program is lowered."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from symmetry import assert_close

from efa_zoo.ops.chunks import chunk_size, map_chunks
from efa_zoo.ops.platforms import by_platform, on_cpu


def test_chunks_are_for_the_default_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_cpu()
    # A machine with an accelerator, of which this one knows nothing but the name.
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not on_cpu()
    assert chunk_size(10**6, 10, 35) == 3 * 512 + 256
    for device in ("cpu", jax.local_devices(backend="cpu")[0]):
        with jax.default_device(device):
            assert on_cpu()
            assert chunk_size(10**6, 10, 35) == 3
    with jax.default_device("gpu"):
        assert not on_cpu()
    assert not on_cpu()


def _chosen(x: jax.Array, y: np.ndarray | float) -> dict[str, Any]:
    """The sum on a CPU in chunks, elsewhere at once, and what is no array."""

    def sines(x: jax.Array, y: Any) -> dict[str, Any]:
        assert on_cpu() in (True, False)
        size = 2 if on_cpu() else len(x)
        return {"sum": jnp.sum(map_chunks(jnp.sin, x, size)) * y, "kind": "sines", "none": None}

    return by_platform(sines, x, y)


def test_the_platform_is_that_of_the_lowered_program() -> None:
    x = jnp.arange(6.0)
    expected = 2 * float(jnp.sum(jnp.sin(x)))
    traced = jax.jit(lambda x: _chosen(x, 2.0)["sum"]).trace(x)
    assert "while" in traced.lower().as_text()
    assert "while" not in traced.lower(lowering_platforms=("cuda",)).as_text()
    assert_close(traced.lower().compile()(x), expected, 1e-6)
    both = jax.export.export(jax.jit(lambda x: _chosen(x, 2.0)["sum"]), platforms=("cpu", "cuda"))
    assert_close(both(x).call(x), expected, 1e-6)
    assert _chosen(x, 2.0)["kind"] == "sines"


def test_an_accelerator_where_a_program_is_traced_does_not_decide(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = jnp.arange(6.0)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    traced = jax.jit(lambda x: _chosen(x, 2.0)["sum"]).trace(x)
    assert "while" in traced.lower(lowering_platforms=("cpu",)).as_text()
    assert "while" not in traced.lower(lowering_platforms=("cuda",)).as_text()


def test_choices_within_choices_are_made_once() -> None:
    def outer(x: jax.Array) -> jax.Array:
        return by_platform(lambda x: jax.vmap(lambda row: _chosen(row, 1.0)["sum"])(x), x)

    x = jnp.arange(12.0).reshape(2, 6)
    program = jax.make_jaxpr(outer)(x)
    assert [eqn.primitive.name for eqn in program.eqns] == ["by_platform"]
    assert_close(jax.jit(outer)(x), jnp.sum(jnp.sin(x), axis=1), 1e-6)


def test_transformations_of_a_choice() -> None:
    x = jnp.arange(6.0)
    total = jax.jit(lambda x, y: _chosen(x, y)["sum"])
    assert_close(jax.grad(total)(x, jnp.float32(2)), 2 * jnp.cos(x), 1e-6)
    assert_close(jax.jit(jax.hessian(total))(x, jnp.float32(2)), jnp.diag(-2 * jnp.sin(x)), 1e-6)
    rows = jnp.stack([x, 2 * x])
    mapped = jax.vmap(total, (0, None))(rows, jnp.float32(1))
    assert_close(mapped, jnp.sum(jnp.sin(rows), axis=1), 1e-6)


def test_what_a_function_holds_may_be_traced() -> None:
    x = jnp.arange(3.0)

    def total(y: jax.Array) -> jax.Array:
        return by_platform(lambda x: jnp.sum(x * y), x + y)

    assert_close(jax.jit(jax.grad(total))(jnp.float32(2)), 3.0 + 12.0, 1e-6)
