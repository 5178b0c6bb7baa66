"""Program that compares contractions on eight devices with one; run by `test_sharding.py`.

It prints the largest difference of each contraction, of values and gradients, in each setting.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxprs_in_params
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from efa_zoo.ops.contractions import (
    PathBlock,
    Paths,
    degreewise_product,
    make_filters,
    matrix_product,
    project_on_angles,
    sum_filtered,
    sum_over_angles,
    sum_pairs,
    sum_paths,
)

_DEVICES = 8
_PATHS = Paths(
    (PathBlock(0, (0, 1), (0, 3), np.ones((4, 3)), ((2, 1, 3), (0, 0, 1))),),
    channels=1,
    first=1,
    second=4,
    num_paths=3,
    num_outputs=6,
)


class _Case(NamedTuple):
    """A contraction, the shapes of its operands, and which of them have an axis of rows."""

    operation: Callable[[Any, Any], Any]
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    rows: tuple[bool, bool]


_CASES = {
    "matrix_product": _Case(matrix_product, ((16, 3), (3, 4)), (True, False)),
    "degreewise_product": _Case(degreewise_product, ((16, 2, 4, 3), (2, 2, 3, 5)), (True, False)),
    "paths": _Case(
        functools.partial(sum_paths, paths=_PATHS), ((16, 1, 1, 4, 2), (3, 2)), (True, False)
    ),
    "filters": _Case(make_filters, ((16, 3, 2, 5), (16, 4, 3)), (True, True)),
    "projection": _Case(project_on_angles, ((16, 4, 3), (16, 3, 4, 5)), (True, True)),
    "filtered": _Case(sum_filtered, ((16, 3, 2, 4), (16, 3, 1, 5, 4)), (True, True)),
    "angular_sums": _Case(sum_over_angles, ((16, 4, 3), (16, 3, 2, 5)), (True, True)),
    "pair_sums": _Case(sum_pairs, ((16, 3, 2, 5), (16, 3, 2, 5)), (True, True)),
}


def _results(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Value and gradient."""

    def scalar(x: Any, y: Any) -> Any:
        return jnp.sum(jnp.sin(operation(x, y)))

    gradient = jax.grad(scalar, argnums=(0, 1))

    def results(x: Any, y: Any) -> Any:
        return scalar(x, y), gradient(x, y)

    return results


def _equations(program: Any) -> Iterator[Any]:
    """All equations of a traced program."""
    for eqn in program.eqns:
        yield eqn
        for inner in jaxprs_in_params(eqn.params):
            yield from _equations(inner)


def _settings(case: _Case, arrays: list[Any]) -> Iterator[tuple[str, Callable[[Any, Any], Any]]]:
    specs = tuple(P("batch") if rows else P() for rows in case.rows)

    def sharded(x: Any, y: Any) -> Any:
        """Sum over devices where rows are divided, `shard_map` having checked what varies."""

        def scalar(x: Any, y: Any) -> Any:
            return jax.lax.psum(jnp.sum(jnp.sin(case.operation(x, y))), "batch")

        gradient = jax.grad(scalar, argnums=(0, 1))
        return scalar(x, y), gradient(x, y)

    automatic = jax.make_mesh((_DEVICES,), ("batch",), axis_types=(AxisType.Auto,))
    inside = jax.shard_map(
        sharded, mesh=automatic, in_specs=specs, out_specs=(P(), specs), check_vma=True
    )
    # The primitive itself takes part, not a detour.
    names = {eqn.primitive.name for eqn in _equations(jax.make_jaxpr(inside)(*arrays))}
    assert any(name.startswith(tuple(_CASES)) for name in names)
    yield "shard_map", lambda: jax.jit(inside)(*arrays)
    yield "shard_map without jit", lambda: inside(*arrays)

    explicit = jax.make_mesh((_DEVICES,), ("batch",), axis_types=(AxisType.Explicit,))
    for name, mesh in (("automatic", automatic), ("explicit", explicit)):

        def spread(mesh: Any = mesh) -> Any:
            with jax.set_mesh(mesh):
                placed = [
                    jax.device_put(x, NamedSharding(mesh, spec))
                    for x, spec in zip(arrays, specs, strict=True)
                ]
                if mesh is explicit:
                    value = jax.jit(case.operation)(*placed)
                    assert jax.typeof(value).sharding.spec[0] == "batch"
                return jax.jit(_results(case.operation))(*placed)

        yield name, spread


def main() -> None:
    """Print the differences."""
    jax.config.update("jax_enable_x64", True)
    assert jax.device_count() == _DEVICES
    rng = np.random.default_rng(0)
    found: dict[str, dict[str, float]] = {}
    for name, case in _CASES.items():
        arrays = [rng.normal(size=shape) for shape in case.shapes]
        expected = jax.tree.leaves(jax.jit(_results(case.operation))(*arrays))
        for setting, compute in _settings(case, arrays):
            got = jax.tree.leaves(compute())
            found.setdefault(setting, {})[name] = max(
                float(np.max(np.abs(np.asarray(a) - np.asarray(b))))
                for a, b in zip(got, expected, strict=True)
            )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
