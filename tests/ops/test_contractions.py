"""Contractions are what plain JAX gives, in values, all derivatives, and under vmap."""

from __future__ import annotations

import functools
import itertools
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
    PathBlock,
    Paths,
    copy_to_rows,
    degreewise_product,
    make_filters,
    matrix_product,
    project_on_angles,
    sum_filtered,
    sum_over_angles,
    sum_pairs,
    sum_paths,
)
from efa_zoo.ops.contractions.messages import _MOST_TERMS

Operation = Callable[..., Any]

_CONSTANTS = np.array([[2.0, 0.0, -1.0], [0.0, 0.5, 0.0], [1.0, 1.0, 0.0], [0.0, 3.0, 0.0]])

#: Path 2 goes to components 1 to 3, paths 0 and 3 to component 0, path 4 is that of products
#: themselves; no path to component 6 and none from the last products of the second channel.
_PATHS = Paths(
    (
        PathBlock(0, (0, 1), (0, 3), _CONSTANTS, ((2, 1, 3), (0, 0, 1))),
        PathBlock(0, (1, 2), (1, 3), None, ((4, 4, 2),)),
        PathBlock(1, (0, 2), (0, 1), np.array([[1.0, -2.0]]), ((3, 0, 1),)),
    ),
    channels=2,
    first=2,
    second=3,
    num_paths=6,
    num_outputs=7,
)


def _plain_sum_paths(products: Any, weights: Any) -> Any:
    table = np.zeros((6, 2, 2, 3, 7))  # path, channel, both components, component of the result
    for block in _PATHS.blocks:
        ranges = range(*block.first), range(*block.second)
        sources = list(itertools.product(*ranges))
        constants = np.eye(len(sources)) if block.constants is None else block.constants
        row = 0
        for path, start, size in block.paths:
            for target in range(start, start + size):
                for (a, b), constant in zip(sources, constants[row], strict=True):
                    table[path, block.channel, a, b, target] += constant
                row += 1
    return jnp.einsum("pkabc,ikabf,pf->icf", table, products, weights)


class _Case(NamedTuple):
    """A contraction, plain JAX that gives the same, and shapes of the operands."""

    ours: Operation
    plain: Operation
    shapes: tuple[tuple[int, ...], ...]


def _filtered(neighbors: int) -> _Case:
    return _Case(
        sum_filtered,
        lambda x, y: jnp.einsum("ijaf,ijpbf->ipabf", x, y),
        ((3, neighbors, 4, 2), (3, neighbors, 2, 3, 2)),
    )


_OF_DEGREES = np.repeat(np.arange(3), [1, 3, 5])
_BELONGS = (np.arange(3)[:, None] == _OF_DEGREES).astype(float)

_CASES = {
    "matrix product": _Case(matrix_product, lambda x, y: x @ y, ((5, 3), (3, 4))),
    "degreewise product": _Case(
        degreewise_product,
        lambda x, y: jnp.einsum("rpci,pcio->rpco", x, y[:, _OF_DEGREES]),
        ((3, 2, 9, 2), (2, 3, 2, 4)),
    ),
    "sum of paths": _Case(
        lambda x, y: sum_paths(x, y, _PATHS),
        _plain_sum_paths,
        ((3, 2, 2, 3, 2), (6, 2)),
    ),
    "filters": _Case(
        make_filters,
        lambda x, y: x[:, :, _OF_DEGREES] * jnp.swapaxes(y, 1, 2)[..., None],
        ((3, 2, 3, 4), (3, 9, 2)),
    ),
    "projection": _Case(
        project_on_angles,
        lambda x, y: jnp.einsum("la,iaj,ijaf->ijlf", _BELONGS, x, y),
        ((3, 9, 2), (3, 2, 9, 4)),
    ),
    "filtered sum": _filtered(3),
    "filtered sum of many": _filtered(_MOST_TERMS + 1),
    "sum over angles": _Case(
        sum_over_angles,
        lambda x, y: jnp.einsum("iaj,ijaf->iaf", x, y[:, :, _OF_DEGREES]),
        ((3, 9, 2), (3, 2, 3, 4)),
    ),
    "sum over pairs": _Case(
        sum_pairs,
        lambda x, y: jnp.einsum("ijlf,ijlf->if", x, y),
        ((3, 2, 3, 4), (3, 2, 3, 4)),
    ),
    "copies": _Case(
        lambda x, y: copy_to_rows(x, 3) * y,
        lambda x, y: jnp.stack([x, x, x]) * y,
        ((2, 5, 4), (2, 5, 4)),
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


def _arrays(name: str) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in 2 * _CASES[name].shapes]


@functools.cache
def _expected(name: str) -> Any:
    """Values and derivatives by plain JAX."""
    return jax.device_get(quick_jit(_derivatives(_CASES[name].plain))(*_arrays(name)))


def _assert_same(ours: Any, plain: Any) -> None:
    for mine, theirs in zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True):
        assert_close(mine, theirs, 1e-12)


@pytest.mark.parametrize("name", _CASES)
def test_derivatives_of_every_mode_are_those_of_plain_jax(x64: None, name: str) -> None:
    _assert_same(quick_jit(_derivatives(_CASES[name].ours))(*_arrays(name)), _expected(name))


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


@pytest.mark.parametrize("inner", [(0, 0), (0, None)])
@pytest.mark.parametrize("name", _CASES)
def test_vmap_of_one_array_over_vmap(x64: None, name: str, inner: tuple[int | None, ...]) -> None:
    case = _CASES[name]
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, *case.shapes[0]))
    y = rng.normal(size=(3, *(() if inner[1] is None else (2,)), *case.shapes[1]))

    def nested(operation: Operation) -> Operation:
        return jax.vmap(jax.vmap(operation, inner), (None, 0))

    ours, plain = (jax.jit(nested(f))(x, y) for f in (case.ours, case.plain))
    assert_close(ours, plain, 1e-12)


def test_a_batch_that_shares_weights_stays_one_product() -> None:
    program = jax.make_jaxpr(jax.vmap(matrix_product, (0, None)))(
        jnp.ones((7, 5, 3)), jnp.ones((3, 4))
    )
    (product,) = (eqn for eqn in program.eqns if eqn.primitive.name == "matrix_product_result")
    assert [x.aval.shape for x in product.invars] == [(7, 5, 3), (3, 4)]


@pytest.mark.parametrize("name", _CASES)
def test_programs_for_a_gpu_compute_the_same(x64: None, name: str) -> None:
    arrays = _arrays(name)
    export = jax.export.export(
        jax.jit(_derivatives(_CASES[name].ours)),
        platforms=("cuda",),
        disabled_checks=(jax.export.DisabledSafetyCheck.platform(),),  # it runs on any
    )
    program = export(*arrays)
    assert "optimization_barrier" not in program.mlir_module()
    _assert_same(program.call(*arrays), _expected(name))


def test_contractions_work_outside_of_jit() -> None:
    assert_close(matrix_product(jnp.ones((2, 3)), jnp.ones((3, 4))), np.full((2, 4), 3.0), 1e-7)


@pytest.mark.parametrize("name", [name for name in _CASES if name != "copies"])
def test_mixed_dtypes_are_refused_by_name(x64: None, name: str) -> None:
    case = _CASES[name]
    dtypes = (np.float32, np.float64)
    first, second = (jnp.zeros(*one) for one in zip(case.shapes, dtypes, strict=True))
    expected = r"got \w+ of float32 and \w+ of float64, expected one dtype"
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
        assert len(by_contraction) == 8
        assert max(by_contraction.values()) < 1e-11, setting


@pytest.mark.skipif(not CONTRACTS, reason="contracts are off")
def test_wrong_shapes_are_refused_by_name() -> None:
    with pytest.raises(TypeCheckError, match="second"):
        matrix_product(jnp.ones((2, 3)), jnp.ones((2, 3)))
    with pytest.raises(TypeCheckError, match="weights"):
        sum_paths(jnp.ones((2, 2, 2, 3, 3)), jnp.ones((4, 3)), _PATHS)
