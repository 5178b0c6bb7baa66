"""Contractions are what plain JAX gives, in values, all derivatives, and under vmap."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError
from symmetry import assert_close, quick_jit

from efa_zoo.base.contracts import CONTRACTS
from efa_zoo.base.errors import InputError
from efa_zoo.ops.contractions import (
    PathSegments,
    constant_product,
    featurewise_product,
    matrix_product,
    sum_paths,
)
from efa_zoo.ops.contractions.featurewise import _MOST_TERMS

Operation = Callable[[Any, Any], Any]

#: Path 2 goes to components 1 to 3, paths 0 and 3 to component 0; no path to components 4 and 5.
_SEGMENTS = PathSegments(((2, 1, 3), (0, 0, 1), (3, 0, 1)), num_paths=5, num_outputs=6)


def _plain_sum_paths(components: Any, weights: Any) -> Any:
    table = np.zeros((5, 5, 6))  # path, component of the paths, component of the result
    at = 0
    for path, start, size in _SEGMENTS.paths:
        for m in range(size):
            table[path, at + m, start + m] = 1
        at += size
    return jnp.einsum("pkc,ikf,pf->icf", table, components, weights)


class _Case(NamedTuple):
    ours: Operation
    plain: Operation
    shapes: tuple[tuple[int, ...], tuple[int, ...]]


def _featurewise(inner: int) -> _Case:
    return _Case(
        featurewise_product,
        lambda x, y: jnp.einsum("ikaf,ikbf->iabf", x, y),
        ((3, inner, 2, 4), (3, inner, 5, 4)),
    )


_CASES = {
    "matrix product": _Case(matrix_product, lambda x, y: x @ y, ((5, 3), (3, 4))),
    "constant product": _Case(
        constant_product, lambda x, y: jnp.einsum("oi,sif->sof", x, y), ((4, 3), (2, 3, 5))
    ),
    "featurewise product": _featurewise(3),
    "featurewise product of long sums": _featurewise(_MOST_TERMS + 1),
    "sum of paths": _Case(
        lambda x, y: sum_paths(x, y, _SEGMENTS), _plain_sum_paths, ((3, 5, 2), (5, 2))
    ),
}


def _derivatives(operation: Operation) -> Callable[..., Any]:
    """Value, both modes of the first derivative, and a derivative of every derivative."""

    def scalar(x: Any, y: Any) -> Any:
        return jnp.sum(jnp.sin(operation(x, y)))

    def slope(x: Any, y: Any, dx: Any, dy: Any) -> Any:
        return jax.jvp(scalar, (x, y), (dx, dy))[1]

    def curvature(x: Any, y: Any, dx: Any, dy: Any) -> Any:
        gradient = jax.grad(scalar, argnums=(0, 1))(x, y)
        return jnp.vdot(gradient[0], dx) + jnp.vdot(gradient[1], dy)

    def all_of_them(x: Any, y: Any, dx: Any, dy: Any) -> Any:
        forward_over_reverse = jax.jvp(jax.grad(scalar, argnums=(0, 1)), (x, y), (dx, dy))
        reverse_over_forward = jax.grad(slope, argnums=(0, 1))(x, y, dx, dy)
        reverse_over_reverse = jax.grad(curvature, argnums=(0, 1))(x, y, dx, dy)
        return operation(x, y), forward_over_reverse, reverse_over_forward, reverse_over_reverse

    return all_of_them


def _assert_same(ours: Any, plain: Any) -> None:
    for mine, theirs in zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True):
        assert_close(mine, theirs, 1e-12)


@pytest.mark.parametrize("name", _CASES)
def test_derivatives_of_every_mode_are_those_of_plain_jax(x64: None, name: str) -> None:
    case = _CASES[name]
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape) for shape in 2 * case.shapes]
    ours, plain = (quick_jit(_derivatives(f))(*arrays) for f in (case.ours, case.plain))
    _assert_same(ours, plain)


@pytest.mark.parametrize("axes", [(0, 0), (1, None), (None, 1)])
@pytest.mark.parametrize("name", _CASES)
def test_vmap_of_either_or_both_arrays(
    x64: None, name: str, axes: tuple[int | None, int | None]
) -> None:
    case = _CASES[name]
    rng = np.random.default_rng(1)
    arrays = [
        rng.normal(size=shape if axis is None else (*shape[:axis], 2, *shape[axis:]))
        for shape, axis in zip(case.shapes, axes, strict=True)
    ]

    def gradient(operation: Operation) -> Callable[..., Any]:
        def total(x: Any, y: Any) -> Any:
            return jnp.sum(jnp.sin(jax.vmap(operation, axes)(x, y)))

        def each(x: Any, y: Any) -> Any:
            return jnp.sum(jnp.sin(operation(x, y)))

        return lambda x, y: (
            jax.grad(total, argnums=(0, 1))(x, y),
            jax.vmap(jax.grad(each, argnums=(0, 1)), axes)(x, y),
        )

    ours, plain = (quick_jit(gradient(f))(*arrays) for f in (case.ours, case.plain))
    _assert_same(ours, plain)


def test_a_batch_that_shares_weights_stays_one_product() -> None:
    program = jax.make_jaxpr(jax.vmap(matrix_product, (0, None)))(
        jnp.ones((7, 5, 3)), jnp.ones((3, 4))
    )
    (product,) = (eqn for eqn in program.eqns if eqn.primitive.name == "matrix_product")
    assert [x.aval.shape for x in product.invars] == [(35, 3), (3, 4)]


def test_contractions_work_outside_of_jit() -> None:
    assert_close(matrix_product(jnp.ones((2, 3)), jnp.ones((3, 4))), np.full((2, 4), 3.0), 1e-7)


@pytest.mark.parametrize("name", _CASES)
def test_mixed_dtypes_are_refused_by_name(x64: None, name: str) -> None:
    case = _CASES[name]
    dtypes = (np.float32, np.float64)
    first, second = (jnp.zeros(*one) for one in zip(case.shapes, dtypes, strict=True))
    operands = {
        "constant product": ("constants", "stack"),
        "sum of paths": ("components", "weights"),
    }.get(name, ("first", "second"))
    expected = f"got {operands[0]} of float32 and {operands[1]} of float64, expected one dtype"
    with pytest.raises(InputError, match=expected):
        jax.eval_shape(case.ours, first, second)


def test_contractions_over_several_devices_equal_those_on_one() -> None:
    """`shard_map` that checks what varies, and meshes of automatic and of explicit axes."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8"
    result = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("sharded_contractions.py"))],
        env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    differences = json.loads(result.stdout)
    assert set(differences) == {"shard_map", "shard_map without jit", "automatic", "explicit"}
    for setting, by_contraction in differences.items():
        assert len(by_contraction) == 4
        assert max(by_contraction.values()) < 1e-11, setting


@pytest.mark.skipif(not CONTRACTS, reason="contracts are off")
def test_wrong_shapes_are_refused_by_name() -> None:
    with pytest.raises(TypeCheckError, match="second"):
        matrix_product(jnp.ones((2, 3)), jnp.ones((2, 3)))
    with pytest.raises(TypeCheckError, match="weights"):
        sum_paths(jnp.ones((2, 5, 3)), jnp.ones((4, 3)), _SEGMENTS)
