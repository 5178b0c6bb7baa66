"""Flat batches, in which the atoms of all molecules stand in one row, and the dense layout."""

from __future__ import annotations

from types import ModuleType

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Int, Shaped

from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import InputError

__all__ = ["FlatLayout"]


class FlatLayout(eqx.Module):
    """Where each atom of a flat batch lies in the dense layout `[molecules, max_atoms]`.

    Within a molecule atoms keep their order; the molecules' atoms may stand in any order.

    Attributes:
        places: `[atoms]`, index of each atom into `[molecules · max_atoms]`. A NumPy array where
            the segments are known, a JAX array where they are traced.
        num_molecules: number of molecules (static).
        max_atoms: padded number of atoms of a molecule (static).
    """

    places: Int[Array | np.ndarray, " atoms"]
    num_molecules: int = eqx.field(static=True)
    max_atoms: int = eqx.field(static=True)

    @classmethod
    @contract
    def of(
        cls,
        batch_segments: Int[Array | np.ndarray, " atoms"],
        num_molecules: int,
        max_atoms: int | None = None,
    ) -> FlatLayout:
        """Lay out a flat batch.

        Args:
            batch_segments: molecule of each atom, 0 to `num_molecules - 1`.
            num_molecules: number of molecules.
            max_atoms: static number of atoms to pad to. None takes that of the largest molecule;
                inside `jax.jit`, where `batch_segments` is traced, only a single molecule's
                number of atoms is known.

        Returns:
            The layout.

        Raises:
            InputError: a segment is out of range, or `max_atoms` is too small, or missing where
                it cannot be derived. If `batch_segments` is traced, the former two raise when the
                compiled function runs (see `equinox.error_if`).
        """
        if num_molecules < 1:
            raise InputError(f"num_molecules: got {num_molecules}, expected at least 1")
        if max_atoms is not None and max_atoms < 1:
            raise InputError(f"max_atoms: got {max_atoms}, expected at least 1")
        if isinstance(batch_segments, Tracer):
            if max_atoms is None:
                if num_molecules > 1:
                    raise InputError(
                        "max_atoms: got None, expected a static number of atoms to pad every "
                        "molecule to, because batch_segments is traced (inside jax.jit)"
                    )
                max_atoms = max(1, batch_segments.shape[0])
            places = _traced_places(batch_segments, num_molecules, max_atoms)
            return cls(places, num_molecules, max_atoms)
        segments = np.asarray(batch_segments)
        if segments.size and not (segments.min() >= 0 and segments.max() < num_molecules):
            found = segments.min() if segments.min() < 0 else segments.max()
            raise InputError(f"batch_segments: got {found}, expected 0 to {num_molecules - 1}")
        numbers = _number_within_molecule(segments, num_molecules, np)
        largest = int(numbers.max(initial=0)) + 1
        if max_atoms is None:
            max_atoms = largest
        if max_atoms < largest:
            raise InputError(
                f"max_atoms: got {max_atoms}, expected at least {largest}, the number of atoms of "
                "the largest molecule in batch_segments"
            )
        return cls(segments * max_atoms + numbers, num_molecules, max_atoms)

    @property
    def mask(self) -> Bool[Array, "{self.num_molecules} {self.max_atoms}"]:
        """True where there is an atom, False for padding."""
        return self.to_dense(jnp.ones(self.places.shape, bool))

    @contract
    def to_dense(
        self, values: Shaped[Array | np.ndarray, "atoms *rest"]
    ) -> Shaped[Array, "{self.num_molecules} {self.max_atoms} *rest"]:
        """Gather values of the atoms to the dense layout, zero (False) at padding."""
        values = jnp.asarray(values)
        rest = values.shape[1:]
        empty = jnp.zeros((self.num_molecules * self.max_atoms, *rest), values.dtype)
        dense = empty.at[self.places].set(values, mode="drop")
        return dense.reshape(self.num_molecules, self.max_atoms, *rest)

    @contract
    def to_flat(
        self, values: Shaped[Array, "{self.num_molecules} {self.max_atoms} *rest"]
    ) -> Shaped[Array, "atoms *rest"]:
        """Take values of the atoms back from the dense layout, in the order of the flat batch."""
        return values.reshape(-1, *values.shape[2:])[self.places]


def _number_within_molecule(
    segments: Array | np.ndarray, num_molecules: int, xp: ModuleType
) -> Array | np.ndarray:
    """How many atoms of the same molecule come before each atom."""
    order = xp.argsort(segments, stable=True)
    ordered = segments[order]
    starts = xp.searchsorted(ordered, xp.arange(num_molecules))
    numbers = xp.arange(segments.shape[0]) - starts[ordered]
    return numbers[xp.argsort(order)]


def _traced_places(segments: Array, num_molecules: int, max_atoms: int) -> Array:
    segments = eqx.error_if(
        segments,
        jnp.any((segments < 0) | (segments >= num_molecules)),
        f"batch_segments: got a value out of range, expected 0 to {num_molecules - 1}",
    )
    numbers = _number_within_molecule(segments, num_molecules, jnp)
    numbers = eqx.error_if(
        numbers,
        jnp.any(numbers >= max_atoms),
        f"max_atoms: got {max_atoms}, expected at least the number of atoms of the largest "
        "molecule in batch_segments",
    )
    return segments * max_atoms + numbers
