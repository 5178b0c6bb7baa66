"""Tools of the tests of the numerical core: random arrays, motions of space, fast compilation."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import e3x
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from efa_zoo.nn.coupling import Coupling

_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])


def quick_jit(function: _F) -> _F:
    """`jax.jit` that compiles as fast as it can: what a test compiles it runs once or twice."""
    # A function of its own: modules cannot be hashed, and what was compiled before is not reused.
    return jax.jit(  # type: ignore[return-value]
        lambda *xs, **kws: function(*xs, **kws), compiler_options=_quick_options()
    )


@functools.cache
def _quick_options() -> dict[str, int | bool]:
    """Options that make XLA compile a third of the time, where it knows them."""
    options = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
    try:
        jax.jit(lambda x: x, compiler_options=options)(1.0)
    except Exception:
        return {}
    return options


def filled(make: Callable[..., _T], *args: Any, seed: int = 0, **options: Any) -> _T:
    """A module with normal random numbers in every array, without compiling its initialisers."""
    rng = np.random.default_rng(seed)

    def fill(leaf: Any) -> Any:
        if not isinstance(leaf, jax.ShapeDtypeStruct):
            return leaf
        scale = 1 if len(leaf.shape) < 2 else leaf.shape[-2] ** -0.5
        values = scale * rng.normal(size=leaf.shape)
        return jnp.asarray(values, leaf.dtype)

    return jax.tree.map(fill, eqx.filter_eval_shape(make, *args, key=jax.random.key(0), **options))


def partitioned(module: _T) -> tuple[Any, Callable[[Any], _T]]:
    """The arrays of a module, and what makes the module of such arrays."""
    arrays, static = eqx.partition(module, eqx.is_array)
    return arrays, lambda values: eqx.combine(values, static)


class Motion(NamedTuple):
    """A rotation of space, or a rotation and the point reflection.

    Attributes:
        rotation: of row vectors, `vectors @ rotation`, determinant 1.
        reflects: also r -> -r.
    """

    rotation: np.ndarray
    reflects: bool

    @classmethod
    def random(cls, seed: int, reflects: bool) -> Motion:
        q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
        q = q * np.sign(np.diag(r))
        return cls(q * np.linalg.det(q), reflects)

    def vectors(self, vectors: np.ndarray) -> np.ndarray:
        """Move vectors `[..., 3]`."""
        return (-1 if self.reflects else 1) * np.asarray(vectors) @ self.rotation

    def features(self, features: Any) -> np.ndarray:
        """Move equivariant features `[..., parity, (degree + 1)², features]`."""
        features = np.asarray(features)
        degree = round(features.shape[-2] ** 0.5) - 1
        wigner = _wigner(self.rotation.tobytes(), 3)[: (degree + 1) ** 2, : (degree + 1) ** 2]
        moved = np.einsum("...lf,lm->...mf", features, wigner)
        if self.reflects:
            degrees = np.repeat(np.arange(degree + 1), 2 * np.arange(degree + 1) + 1)
            if features.shape[-3] == 2:
                signs = np.array([1, -1])[:, None, None]
            else:
                signs = np.where(degrees % 2, -1, 1)[:, None]
            moved = moved * signs
        return moved


@functools.cache
def _wigner(rotation: bytes, degree: int) -> np.ndarray:
    with jax.enable_x64(True):
        matrix = jnp.asarray(np.frombuffer(rotation).reshape(3, 3))
        return np.asarray(quick_jit(lambda x: e3x.so3.wigner_d(x, degree))(matrix))


MOTIONS = [Motion.random(1, False), Motion.random(2, True)]


def assert_close(actual: Any, expected: Any, tolerance: float) -> None:
    """Compare by the largest difference, relative to the largest expected value."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    scale = max(1e-30, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(actual / scale, expected / scale, rtol=0, atol=tolerance)


def tensor_kernel(coupling: Coupling, weights: np.ndarray) -> np.ndarray:
    """Weights of paths as the kernel of e3x's layer; what e3x must mask out is filled with 7."""
    shape = [size for irreps in coupling for size in (irreps.parities, irreps.degree + 1)]
    kernel = np.full((*shape, weights.shape[-1]), 7.0)
    for path, weight in zip(coupling.paths, weights, strict=True):
        kernel[path] = weight
    return kernel
