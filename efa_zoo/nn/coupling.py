"""Coupling of two equivariant features: the paths, the constants and the weighted product.

Features follow e3x: `[..., parity, (degree + 1)², features]`. With one parity channel every
component of degree l has parity (-1)^l; with two, channel 0 holds even and channel 1 odd parity.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import e3x
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import ConfigError
from efa_zoo.ops.contractions import PathBlock, Paths, sum_paths

__all__ = ["Coupling", "Irreps", "clebsch_gordan", "repeat_degrees"]


class Irreps(NamedTuple):
    """Static shape of equivariant features.

    Attributes:
        degree: largest degree.
        pseudotensors: two parity channels instead of one.
    """

    degree: int
    pseudotensors: bool

    @property
    def parities(self) -> int:
        """Number of parity channels, 1 or 2."""
        return 2 if self.pseudotensors else 1

    @property
    def components(self) -> int:
        """Number of components of a parity channel, (degree + 1)²."""
        return (self.degree + 1) ** 2

    @classmethod
    def of(cls, features: Array | np.ndarray) -> Irreps:
        """Read the static shape off features `[..., parity, (degree + 1)², features]`."""
        if features.ndim < 3 or features.shape[-3] not in (1, 2):
            raise ConfigError(
                f"features: got shape {features.shape}, expected (..., 1 or 2, (degree + 1)², "
                "features)"
            )
        degree = math.isqrt(features.shape[-2]) - 1
        if (degree + 1) ** 2 != features.shape[-2]:
            raise ConfigError(
                f"features: got {features.shape[-2]} components, expected (degree + 1)²"
            )
        return cls(degree, features.shape[-3] == 2)

    def union(self, other: Irreps) -> Irreps:
        """Shape of the sum of features of both shapes."""
        return Irreps(max(self.degree, other.degree), self.pseudotensors or other.pseudotensors)

    def override(self, degree: int | None, pseudotensors: bool | None) -> Irreps:
        """The shape with another degree or set of parities, where one is given."""
        return Irreps(
            self.degree if degree is None else degree,
            self.pseudotensors if pseudotensors is None else pseudotensors,
        )

    def parity(self, channel: int, degree: int) -> int:
        """Parity of the irreps of a channel and degree: 0 is even, 1 is odd."""
        return channel if self.pseudotensors else degree % 2


class Coupling(NamedTuple):
    """Which irreps of two factors couple to which irreps of a product.

    Attributes:
        first: shape of the first factor.
        second: shape of the second factor.
        output: shape of the product.
    """

    first: Irreps
    second: Irreps
    output: Irreps

    @classmethod
    def of(
        cls,
        first: Irreps,
        second: Irreps,
        degree: int | None = None,
        pseudotensors: bool = True,
    ) -> Coupling:
        """The coupling that e3x's `Tensor` layer makes.

        Args:
            first: shape of the first factor.
            second: shape of the second factor.
            degree: largest degree of the product, default the larger one of the factors.
            pseudotensors: keep pseudotensors in the product. Two proper factors produce none
                when a factor or the product is scalar, and then they are left out in any case.

        Raises:
            ConfigError: `degree` is negative or larger than the sum of the factors' degrees.
        """
        degree = max(first.degree, second.degree) if degree is None else degree
        if not 0 <= degree <= first.degree + second.degree:
            raise ConfigError(
                f"degree: got {degree}, expected 0 to {first.degree + second.degree}, the sum of "
                "the factors' degrees"
            )
        proper = not (first.pseudotensors or second.pseudotensors)
        if proper and 0 in (first.degree, second.degree, degree):
            pseudotensors = False
        return cls(first, second, Irreps(degree, pseudotensors))

    @property
    def paths(self) -> tuple[tuple[int, int, int, int, int, int], ...]:
        """Allowed paths as (parity, degree) of first factor, second factor and product."""
        return _paths(self)

    @property
    def path_index(self) -> np.ndarray:
        """`[p1, l1, p2, l2, p3, l3]`, number of the path, or the number of paths if forbidden."""
        return _path_index(self)

    def init(
        self, features: int, key: Array, dtype: jnp.dtype | None = None
    ) -> Float[Array, "paths features"]:
        """Random weights of unit variance per component of the product."""
        incoming = dict.fromkeys(self.paths, 0)
        for path in self.paths:
            incoming[path] = sum(other[4:] == path[4:] for other in self.paths)
        scale = np.asarray([1 / math.sqrt(incoming[path]) for path in self.paths])
        weights = jax.random.truncated_normal(key, -2, 2, (len(self.paths), features), dtype)
        return weights * jnp.asarray(scale[:, None] / 0.8796256610342398, weights.dtype)

    @contract
    def couple(
        self,
        product: Float[
            Array,
            "*batch {self.first.parities*self.first.components} {self.second.parities} "
            "{self.second.components} features",
        ],
        weights: Float[Array, "{len(self.paths)} features"] | None = None,
    ) -> Float[Array, "*batch parities3 components3 features"]:
        """Couple an outer product of the two factors, feature by feature.

        Args:
            product: outer product of the factors' components, or any sum of such products: the
                coupling is linear, so sums over neighbours or grid points are taken before it.
                The parity channels of the first factor are merged into its components.
            weights: one weight per path and feature, None for the constant 1.

        Returns:
            The coupled features.
        """
        batch = product.shape[:-4]
        rows = product.reshape(math.prod(batch), *product.shape[-4:])
        coupled = self.couple_channels(jnp.moveaxis(rows, 2, 1), weights)
        return coupled.reshape(*batch, *coupled.shape[1:])

    def couple_channels(
        self,
        products: Float[
            Array,
            "rows {self.second.parities} {self.first.parities*self.first.components} "
            "{self.second.components} features",
        ],
        weights: Float[Array, "{len(self.paths)} features"] | None = None,
    ) -> Float[Array, "rows parities3 components3 features"]:
        """Couple products that have the parity channels of the second factor first.

        Args:
            products: products of the factors' components, the parity channels of the first factor
                merged into its components.
            weights: one weight per path and feature, None for the constant 1.

        Returns:
            The coupled features.
        """
        rows, features = products.shape[0], products.shape[-1]
        if weights is None:
            weights = jnp.ones((len(self.paths), features), products.dtype)
        coupled = sum_paths(products, weights, _coupling_paths(self))
        return coupled.reshape(rows, self.output.parities, self.output.components, features)


def _all_degrees_at_once(second: Irreps) -> bool:
    # One matrix of constants for all degrees of the second factor, many of which are zero, is
    # quicker on a CPU than one for each, as long as they are few.
    return second.degree <= 2


@functools.cache
def _coupling_paths(coupling: Coupling) -> Paths:
    """What each degree of the first factor and one or all of the second couple to."""
    first, second, output = coupling
    table = clebsch_gordan(first.degree, second.degree, output.degree, np.dtype(np.float64))
    groups: dict[tuple[tuple[int, int, int], int | None], list[int]] = {}
    together = _all_degrees_at_once(second)
    for number, (p1, l1, p2, l2, _, _) in enumerate(coupling.paths):
        groups.setdefault(((p1, l1, p2), None if together else l2), []).append(number)
    blocks = []
    for ((p1, l1, p2), degree2), numbers in groups.items():
        rows, targets = [], []
        for number in numbers:
            *_, l2, p3, l3 = coupling.paths[number]
            constants = np.zeros((2 * l3 + 1, 2 * l1 + 1, second.components))
            own2 = slice(l2**2, (l2 + 1) ** 2)
            coefficients = table[l1**2 : (l1 + 1) ** 2, own2, l3**2 : (l3 + 1) ** 2]
            constants[:, :, own2] = np.moveaxis(coefficients, -1, 0)
            rows.append(constants if together else constants[:, :, own2])
            targets.append((number, p3 * output.components + l3**2, 2 * l3 + 1))
        matrix = np.concatenate(rows).reshape(sum(map(len, rows)), -1)
        start = p1 * first.components + l1**2
        blocks.append(
            PathBlock(
                channel=p2,
                first=(start, start + 2 * l1 + 1),
                second=(0, second.components)
                if degree2 is None
                else (degree2**2, (degree2 + 1) ** 2),
                constants=None if np.array_equal(matrix, np.eye(len(matrix))) else matrix,
                paths=tuple(targets),
            )
        )
    return Paths(
        tuple(blocks),
        channels=second.parities,
        first=first.parities * first.components,
        second=second.components,
        num_paths=len(coupling.paths),
        num_outputs=output.parities * output.components,
    )


@functools.cache
def _paths(coupling: Coupling) -> tuple[tuple[int, int, int, int, int, int], ...]:
    first, second, output = coupling
    return tuple(
        (p1, l1, p2, l2, p3, l3)
        for p1 in range(first.parities)
        for l1 in range(first.degree + 1)
        for p2 in range(second.parities)
        for l2 in range(second.degree + 1)
        for p3 in range(output.parities)
        for l3 in range(abs(l1 - l2), min(l1 + l2, output.degree) + 1)
        if (first.parity(p1, l1) + second.parity(p2, l2) + output.parity(p3, l3)) % 2 == 0
    )


@functools.cache
def _path_index(coupling: Coupling) -> np.ndarray:
    shape = [size for irreps in coupling for size in (irreps.parities, irreps.degree + 1)]
    index = np.full(shape, len(coupling.paths), dtype=np.int32)
    for number, path in enumerate(coupling.paths):
        index[path] = number
    index.setflags(write=False)
    return index


@functools.cache
def _degree_of_component(degree: int) -> np.ndarray:
    # int32: JAX 0.10 confuses 64-bit indices when both precisions are used in one process.
    degrees = np.arange(degree + 1, dtype=np.int32)
    return np.repeat(degrees, 2 * degrees + 1)


def repeat_degrees(values: Array | Sequence[Array], degree: int, axis: int) -> Array:
    """Repeat values `[..., degree + 1, ...]` of degrees to `[..., (degree + 1)², ...]`."""
    return jnp.take(jnp.asarray(values), _degree_of_component(degree), axis=axis)


@functools.cache
def clebsch_gordan(degree1: int, degree2: int, degree3: int, dtype: np.dtype) -> np.ndarray:
    """Clebsch–Gordan coefficients of e3x, `[components1, components2, components3]`."""
    sizes = [(degree + 1) ** 2 for degree in (degree1, degree2, degree3)]
    table = _all_coefficients(max(degree1, degree2, degree3))
    table = table[: sizes[0], : sizes[1], : sizes[2]].astype(dtype)
    table.setflags(write=False)
    return table


@functools.cache
def _all_coefficients(degree: int) -> np.ndarray:
    # Reordered here, because e3x does it with JAX, which compiles every step of it.
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        table = np.asarray(e3x.so3.clebsch_gordan(degree, degree, degree, cartesian_order=False))
    order = [l * l + l + m for l in range(degree + 1) for m in _orders(l)]
    return table[np.ix_(order, order, order)]


def _orders(degree: int) -> list[int]:
    """Orders m of the components of a degree, as e3x sorts them: those of degree 1 are x, y, z."""
    return [sign * m for m in range(degree, 0, -1) for sign in (1, -1)] + [0]
