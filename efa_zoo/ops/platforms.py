"""What is computed in another way on a CPU, chosen where a program is lowered.

JAX knows the platform of a program only when it lowers it. What depends on it is traced for the
platform that is likely, that of the default device, and once more if it turns out to be another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Any, TypeVar

import equinox as eqx
import jax
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir, partial_eval

__all__ = ["by_platform", "on_cpu"]

_Tree = TypeVar("_Tree")

#: Whether what is being traced is for a CPU; None where that is not decided.
_decided: ContextVar[bool | None] = ContextVar("decided", default=None)


def on_cpu() -> bool:
    """Whether computations go to a CPU.

    Within `by_platform` this is decided, elsewhere it is JAX's default device if one is chosen, or
    its backend.
    """
    decided = _decided.get()
    if decided is not None:
        return decided
    config: Any = jax.config  # its types leave the options out
    device = config.jax_default_device
    if device is None:
        return jax.default_backend() == "cpu"
    return (device if isinstance(device, str) else device.platform) == "cpu"


def by_platform(function: Callable[..., _Tree], *arguments: Any) -> _Tree:
    """Evaluate a function that asks `on_cpu`, for the platform that the program is lowered for.

    Derivatives and batches of the result are for the platform that is likely: take them within the
    function.

    Args:
        function: of pytrees to a pytree; no array that is being traced may come to it otherwise.
        arguments: its arguments.

    Returns:
        Its result.
    """
    arrays, rest = eqx.partition(arguments, eqx.is_array)
    leaves, structure = jax.tree.flatten(arrays)
    traced = [leaf for leaf in leaves if isinstance(leaf, Tracer)]
    staged = traced and all(isinstance(leaf, partial_eval.DynamicJaxprTracer) for leaf in traced)
    if _decided.get() is not None or not staged:
        return function(*arguments)
    kept: list[Any] = []

    def flat(cpu: bool, *leaves: jax.Array) -> list[jax.Array]:
        given = eqx.combine(jax.tree.unflatten(structure, leaves), rest)
        with _deciding(cpu):
            result, static = eqx.partition(function(*given), eqx.is_array)
        flattened, tree = jax.tree.flatten(result)
        kept[:] = [tree, static]
        return flattened

    cpu, precise = on_cpu(), bool(jax.config.read("jax_enable_x64"))
    likely = jax.make_jaxpr(lambda *leaves: flat(cpu, *leaves))(*leaves)
    if any(isinstance(constant, Tracer) for constant in likely.consts):
        results = jaxpr_as_fun(likely)(*leaves)  # what it holds is known here only
    else:

        def unlikely(*leaves: jax.Array) -> list[jax.Array]:
            with jax.enable_x64(precise):
                return flat(not cpu, *leaves)

        results = _choice.bind(*leaves, likely=likely, unlikely=unlikely, cpu=cpu)
    return eqx.combine(jax.tree.unflatten(kept[0], results), kept[1])


@contextlib.contextmanager
def _deciding(cpu: bool) -> Generator[None]:
    token = _decided.set(cpu)
    try:
        yield
    finally:
        _decided.reset(token)


_choice = Primitive("by_platform")
_choice.multiple_results = True


@_choice.def_impl
def _evaluate(*leaves: Any, **static: Any) -> Any:
    return jax.jit(lambda *leaves: _choice.bind(*leaves, **static))(*leaves)


@_choice.def_abstract_eval
def _abstract(*_: Any, likely: ClosedJaxpr, **__: Any) -> Any:
    return likely.out_avals


def _tangents(primals: Any, tangents: Any, *, likely: ClosedJaxpr, **_: Any) -> Any:
    tangents = [ad.instantiate_zeros(tangent) for tangent in tangents]
    return jax.jvp(jaxpr_as_fun(likely), tuple(primals), tuple(tangents))


def _batched(leaves: Any, axes: Any, *, likely: ClosedJaxpr, **_: Any) -> Any:
    results = jax.vmap(jaxpr_as_fun(likely), tuple(axes))(*leaves)
    return results, [0] * len(results)


def _lowered(for_cpu: bool) -> Any:
    def lower(context: Any, *leaves: Any, likely: ClosedJaxpr, unlikely: Any, cpu: bool) -> Any:
        function = jaxpr_as_fun(likely) if cpu == for_cpu else unlikely
        return mlir.lower_fun(function, multiple_results=True)(context, *leaves)

    return lower


ad.primitive_jvps[_choice] = _tangents
batching.primitive_batchers[_choice] = _batched
mlir.register_lowering(_choice, _lowered(False))
mlir.register_lowering(_choice, _lowered(True), "cpu")
