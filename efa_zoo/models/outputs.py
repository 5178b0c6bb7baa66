"""What a network gives for a molecule or a batch, in one record from the network to the user."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["Outputs"]


class Outputs(eqx.Module):
    """Results of one molecule, or of a batch with one more leading axis; what is absent is None.

    Attributes:
        atomic_energies: `[atoms]` in eV, relative to the reference energies of the elements; zero
            for padding.
        forces: `[atoms, 3]` in eV/Å, zero for padding.
        charges: `[atoms]` in e, which add up to the total charge; zero for padding.
        dipole: `[3]`, dipole moment in e·Å about the mean of the atoms' positions; where the total
            charge is not zero it depends on that origin. None for periodic structures.
        stress: `[6]` in eV/Å³, derivative of the energy by strain over the volume of the cell, in
            Voigt's order xx, yy, zz, yz, xz, xy; positive where the cell wants to shrink.
        energy_uncertainty: scalar, standard deviation of the energy's error in eV.
        force_uncertainty: `[atoms]`, standard deviation of the error of each component of the force
            in eV/Å; zero for padding.
        extrapolation: `[atoms]`, how far an atom's surroundings are from those in training; beyond
            1 they are not known. Zero for padding.
        features: `[atoms, features]`, what atomic energies are read out of; zero for padding.
    """

    atomic_energies: Float[Array, "*batch atoms"]
    forces: Float[Array, "*batch atoms 3"] | None = None
    charges: Float[Array, "*batch atoms"] | None = None
    dipole: Float[Array, "*batch 3"] | None = None
    stress: Float[Array, "*batch 6"] | None = None
    energy_uncertainty: Float[Array, "*batch"] | None = None
    force_uncertainty: Float[Array, "*batch atoms"] | None = None
    extrapolation: Float[Array, "*batch atoms"] | None = None
    features: Float[Array, "*batch atoms features"] | None = None

    @property
    def energy(self) -> Float[Array, "*batch"]:
        """Sum of the atomic energies in eV."""
        return jnp.sum(self.atomic_energies, axis=-1)
