"""Statistics of a network's features beside its weights, and what they say about a prediction."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from efa_zoo.base.errors import WeightsError
from efa_zoo.models.outputs import Outputs

__all__ = ["Calibration", "calibration_tensors", "take_calibration"]

#: Begins the names of these tensors in a weights file.
_PREFIX = "calibration."

#: A grade, and a rigidity, below which logarithms are not taken.
_SMALL = 1e-6


class Calibration(eqx.Module):
    """Statistics of the readout's features in training, and of the errors in validation.

    Attributes:
        elements: `[elements]`, atomic numbers that training had.
        means: `[elements, features]`, of the atoms of each element.
        whitening: `[elements, features, features]`, takes a difference to the mean to a vector
            whose length is the extrapolation grade.
        force_slopes: `[elements, features]`, logarithm of the force uncertainty (eV/Å) by that
            vector.
        force_offsets: `[elements]`, the same where that vector is zero and the grade one.
        force_bounds: `[elements, 2]`, least and largest value of slopes times vector plus offset.
        force_exponents: `[elements]`, powers of the grade in the force uncertainty.
        energy_factor: `[columns, columns]`, takes the summed features and the counts of the
            elements to a vector whose length is the rigidity.
        energy_slopes: `[columns]`, logarithm of the energy uncertainty (eV) by the mean features
            and the shares of the elements.
        energy_bounds: `[2]`, least and largest value of slopes times means.
        energy_exponents: `[2]`, powers in the energy uncertainty of the rigidity and of the root of
            the sum of the squared force uncertainties.
    """

    elements: Int[Array, " elements"]
    means: Float[Array, "elements features"]
    whitening: Float[Array, "elements features features"]
    force_slopes: Float[Array, "elements features"]
    force_offsets: Float[Array, " elements"]
    force_bounds: Float[Array, "elements 2"]
    force_exponents: Float[Array, " elements"]
    energy_factor: Float[Array, "columns columns"]
    energy_slopes: Float[Array, " columns"]
    energy_bounds: Float[Array, " 2"]
    energy_exponents: Float[Array, " 2"]

    def __call__(
        self, outputs: Outputs, atomic_numbers: Int[Array | np.ndarray, " atoms"]
    ) -> Outputs:
        """Add uncertainties and grades to what a network gives for one molecule.

        Args:
            outputs: with the features, which are taken off; nothing is differentiated through
                them.
            atomic_numbers: 0 marks padding.

        Returns:
            The outputs with `energy_uncertainty`, `force_uncertainty` and `extrapolation`. An atom
            of an element that training did not have has the grade infinity.
        """
        assert outputs.features is not None
        features = jax.lax.stop_gradient(outputs.features)
        numbers = jnp.asarray(atomic_numbers)
        kinds, vectors = self._whitened(features, numbers)
        grades = jnp.sqrt(jnp.sum(vectors**2, axis=-1))
        with jax.default_matmul_precision("highest"):
            means = jnp.sum(vectors * (kinds @ self.force_slopes), axis=-1)
            means = means + kinds @ self.force_offsets
            bounds = kinds @ self.force_bounds
            powers = kinds @ self.force_exponents
            columns = jnp.sum(jnp.concatenate([features, kinds], axis=-1), axis=0)
            rigidity = jnp.sqrt(jnp.sum((columns @ self.energy_factor) ** 2))
            count = jnp.maximum(jnp.sum(kinds), 1)
            scale = jnp.clip(columns @ self.energy_slopes / count, *self.energy_bounds)
        logarithms = jnp.clip(means, bounds[:, 0], bounds[:, 1])
        forces = jnp.exp(logarithms + powers * jnp.log(jnp.maximum(grades, _SMALL)))
        forces = jnp.where(numbers > 0, forces, 0)
        both = jnp.stack([rigidity, jnp.sqrt(jnp.sum(forces**2))])
        energy = jnp.exp(scale + self.energy_exponents @ jnp.log(jnp.maximum(both, _SMALL)))
        new = _new(kinds, numbers)
        return dataclasses.replace(
            outputs,
            features=None,
            energy_uncertainty=jnp.where(jnp.any(new), jnp.inf, energy),
            force_uncertainty=jnp.where(new, jnp.inf, forces),
            extrapolation=jnp.where(new, jnp.inf, grades),
        )

    def grades(
        self,
        features: Float[Array, "atoms features"],
        atomic_numbers: Int[Array | np.ndarray, " atoms"],
    ) -> Float[Array, " atoms"]:
        """Compute extrapolation grades only.

        Args:
            features: of one molecule's atoms.
            atomic_numbers: 0 marks padding.

        Returns:
            The grades, as `__call__` gives them.
        """
        numbers = jnp.asarray(atomic_numbers)
        kinds, vectors = self._whitened(jax.lax.stop_gradient(features), numbers)
        grades = jnp.sqrt(jnp.sum(vectors**2, axis=-1))
        return jnp.where(_new(kinds, numbers), jnp.inf, grades)

    def _whitened(self, features: Array, numbers: Array) -> tuple[Array, Array]:
        """Which element each atom is of, `[atoms, elements]`, and vectors as long as the grades."""
        kinds = (numbers[:, None] == self.elements).astype(features.dtype)
        # One product with all elements' matrices below each other, the others' rows being zero.
        shifted = kinds[:, :, None] * (features[:, None, :] - self.means)
        rows = self.whitening.reshape(-1, features.shape[-1])
        with jax.default_matmul_precision("highest"):
            return kinds, shifted.reshape(shifted.shape[0], -1) @ rows


def _new(kinds: Array, numbers: Array) -> Array:
    """Atoms of elements that training did not have."""
    return (numbers > 0) & (jnp.sum(kinds, axis=-1) == 0)


def calibration_tensors(calibration: Calibration) -> dict[str, np.ndarray]:
    """Name the arrays of a calibration as they stand in a weights file."""
    return {
        _PREFIX + field.name: np.asarray(jax.device_get(getattr(calibration, field.name)))
        for field in dataclasses.fields(calibration)
    }


def take_calibration(
    tensors: Mapping[str, Any], features: int, where: object
) -> tuple[dict[str, Any], Calibration | None]:
    """Part the tensors of a weights file into those of the network and the calibration.

    Args:
        tensors: of the file, by name.
        features: number of the network's features.
        where: the file, for messages.

    Returns:
        The network's tensors, and the calibration; None if the file has none.

    Raises:
        WeightsError: a tensor of the calibration is missing or has another shape or type.
    """
    rest = {name: array for name, array in tensors.items() if not name.startswith(_PREFIX)}
    found = {n.removeprefix(_PREFIX): a for n, a in tensors.items() if n.startswith(_PREFIX)}
    if not found:
        return rest, None
    elements = int(np.asarray(found.get("elements", ())).size)
    columns = features + elements
    shapes: dict[str, tuple[int, ...]] = {
        "elements": (elements,),
        "means": (elements, features),
        "whitening": (elements, features, features),
        "force_slopes": (elements, features),
        "force_offsets": (elements,),
        "force_bounds": (elements, 2),
        "force_exponents": (elements,),
        "energy_factor": (columns, columns),
        "energy_slopes": (columns,),
        "energy_bounds": (2,),
        "energy_exponents": (2,),
    }
    for name in sorted({*shapes, *found}):
        kind = "int32" if name == "elements" else "float32"
        given = f"{found[name].dtype}{list(found[name].shape)}" if name in found else "nothing"
        expected = f"{kind}{list(shapes[name])}" if name in shapes else "nothing"
        if given != expected:
            raise WeightsError(f"{where}: {_PREFIX}{name}: got {given}, expected {expected}")
    return rest, Calibration(**{name: jnp.asarray(found[name]) for name in shapes})
