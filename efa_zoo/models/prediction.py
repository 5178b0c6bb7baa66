"""Predictions in physical units, and what many of them took."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from efa_zoo.base.errors import InputError
from efa_zoo.models.hub.cards import Card
from efa_zoo.models.outputs import Outputs
from efa_zoo.structures.molecule import Molecule

__all__ = ["UNCERTAINTIES", "Prediction", "PredictionSummary"]

#: Fields of a prediction that only calibrated models give.
UNCERTAINTIES = ("energy_uncertainty", "force_uncertainty", "extrapolation")


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """Energy and forces of one structure.

    Attributes:
        energy: total energy in eV, at the level of theory of the model's card.
        forces: `[atoms, 3]` in eV/Å, float64.
        atomic_energies: `[atoms]` in eV, float64; reference energies included, so that they sum
            to `energy`.
        charge: total charge in units of e.
        charges: `[atoms]` in e, float64; None if the model has none.
        dipole: `[3]`, dipole moment in e·Å about the mean of the atoms' positions, float64; None if
            the model has none. It depends on that origin where the charge is not zero.
        stress: `[6]` in eV/Å³, float64, in the order and with the sign of ASE (xx, yy, zz, yz, xz,
            xy; positive where the cell wants to shrink); None unless three directions are periodic.
        energy_uncertainty: standard deviation of the error of `energy` in eV; None, as the next
            two, if the model is not calibrated.
        force_uncertainty: `[atoms]`, standard deviation of the error of each component of the force
            on the atom, in eV/Å, float64.
        extrapolation: `[atoms]`, how far the atom's surroundings are from those in training,
            float64; beyond 1 the model does not know them.
    """

    energy: float
    forces: Float[np.ndarray, "atoms 3"]
    atomic_energies: Float[np.ndarray, " atoms"]
    charge: int
    charges: Float[np.ndarray, " atoms"] | None = None
    dipole: Float[np.ndarray, " 3"] | None = None
    stress: Float[np.ndarray, " 6"] | None = None
    energy_uncertainty: float | None = None
    force_uncertainty: Float[np.ndarray, " atoms"] | None = None
    extrapolation: Float[np.ndarray, " atoms"] | None = None

    def _repr_html_(self) -> str:
        from efa_zoo.models.prediction_html import prediction_html  # only notebooks need it

        return prediction_html(self)

    @classmethod
    def of(cls, outputs: Outputs, molecule: Molecule, card: Card) -> Prediction:
        """Take what a network gave for one molecule out of its padding, in physical units.

        Args:
            outputs: of one padded molecule, with forces.
            molecule: the molecule.
            card: of the model, whose reference energies are added.

        Returns:
            The prediction.

        Raises:
            InputError: a number is not finite; uncertainties and grades may be infinite.
        """
        atoms = molecule.num_atoms
        energies = np.asarray(outputs.atomic_energies[:atoms], np.float64)
        energies = energies + card.energies_of_elements(molecule.numbers)
        forces = np.asarray(outputs.forces, np.float64)[:atoms]
        charges = dipole = stress = None
        energy_uncertainty = force_uncertainty = extrapolation = None
        if outputs.charges is not None:
            charges = np.asarray(outputs.charges, np.float64)[:atoms]
        if outputs.dipole is not None:
            dipole = np.asarray(outputs.dipole, np.float64)
        if outputs.stress is not None and all(molecule.pbc):
            stress = np.asarray(outputs.stress, np.float64)
        numbers = (energies, forces, charges, dipole, stress)
        if not all(np.isfinite(rows).all() for rows in numbers if rows is not None):
            raise InputError("positions: the model gives no finite energy and forces for them")
        if outputs.extrapolation is not None:
            energy_uncertainty = float(np.asarray(outputs.energy_uncertainty))
            force_uncertainty = np.asarray(outputs.force_uncertainty, np.float64)[:atoms]
            extrapolation = np.asarray(outputs.extrapolation, np.float64)[:atoms]
        return cls(
            energy=float(energies.sum()),
            forces=forces,
            atomic_energies=energies,
            charge=molecule.charge,
            charges=charges,
            dipole=dipole,
            stress=stress,
            energy_uncertainty=energy_uncertainty,
            force_uncertainty=force_uncertainty,
            extrapolation=extrapolation,
        )


@dataclass(frozen=True, kw_only=True)
class PredictionSummary:
    """What predicting many structures took.

    Attributes:
        structures: number of structures, bad ones included.
        failures: number of structures without a prediction.
        seconds: time of checks and computation, compilations included.
        compilations: number of programs compiled; shapes met before in the process need none.
        shapes: number of padded shapes.
        atoms: number of atoms computed.
        atom_slots: number of atoms computed, padding included.
    """

    structures: int = 0
    failures: int = 0
    seconds: float = 0.0
    compilations: int = 0
    shapes: int = 0
    atoms: int = 0
    atom_slots: int = 0

    @property
    def fill(self) -> float:
        """Share of the padded atoms that are atoms; 1 where nothing was computed."""
        return self.atoms / self.atom_slots if self.atom_slots else 1.0

    @property
    def throughput(self) -> float:
        """Structures per second."""
        return self.structures / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        failed = f", {self.failures} of them without a prediction" if self.failures else ""
        return (
            f"{self.structures} structures in {self.seconds:.1f} s{failed}: "
            f"{self.throughput:.0f} structures/s, {self.compilations} compilations for "
            f"{self.shapes} shapes, {self.fill:.0%} of the padded atoms filled"
        )
