"""Where a simulation stands, what is measured of it, and where it must stop."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from ase import units
from jaxtyping import Float

from efa_zoo.models.hub.cards import Card
from efa_zoo.models.inputs.checks import OutOfRange, problems_out_of_range
from efa_zoo.models.inputs.surroundings import unknown_surroundings
from efa_zoo.structures.elements import symbol
from efa_zoo.structures.molecule import Molecule

__all__ = ["Limits", "State", "temperature"]


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """Where a simulation stands.

    Attributes:
        step: number of steps done.
        positions: `[atoms, 3]` in Å, float64.
        momenta: `[atoms, 3]` in ASE's unit √(u eV), float64.
        forces: `[atoms, 3]` in eV/Å at the positions.
        energy: potential energy in eV, reference energies included.
        masses: `[atoms]` in u.
        cell: `[3, 3]`, lattice vectors in Å as rows; None without periodicity.
        stress: `[6]` in eV/Å³ in ASE's order; None unless three directions are periodic.
        extrapolation: `[atoms]`, grades of the atoms' surroundings; None if the model has none.
    """

    step: int
    positions: Float[np.ndarray, "atoms 3"]
    momenta: Float[np.ndarray, "atoms 3"]
    forces: Float[np.ndarray, "atoms 3"]
    energy: float
    masses: Float[np.ndarray, " atoms"]
    cell: Float[np.ndarray, "3 3"] | None = None
    stress: Float[np.ndarray, " 6"] | None = None
    extrapolation: Float[np.ndarray, " atoms"] | None = None

    @property
    def volume(self) -> float | None:
        """Of the cell in Å³; None without stress."""
        if self.cell is None or self.stress is None:
            return None
        return float(np.linalg.det(self.cell))

    @property
    def pressure(self) -> float | None:
        """In GPa, that of the moving atoms included; None without stress."""
        if self.volume is None or self.stress is None:
            return None
        ideal = 2 * self.kinetic_energy / (3 * self.volume)
        return float(ideal - self.stress[:3].mean()) / units.GPa

    @property
    def kinetic_energy(self) -> float:
        """In eV."""
        return float(0.5 * np.sum(self.momenta**2 / self.masses[:, None]))

    @property
    def largest_force(self) -> float:
        """Of an atom, in eV/Å."""
        return float(np.sqrt(np.max(np.sum(self.forces**2, axis=1))))

    @property
    def total_momentum(self) -> float:
        """Length of the sum of all momenta, in u Å/fs."""
        return float(np.linalg.norm(self.momenta.sum(axis=0)) * units.fs)


def temperature(kinetic_energy: float, degrees_of_freedom: int) -> float:
    """Temperature in K of a kinetic energy in eV; 0 where nothing can move."""
    return 2 * kinetic_energy / (max(1, degrees_of_freedom) * units.kB)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Where a simulation must stop.

    Attributes:
        max_temperature: in K.
        max_force: in eV/Å, on an atom.
        degrees_of_freedom: that share the kinetic energy.
        card: of the model, which says what distances it knows.
        out_of_range: whether atoms outside of those distances or in unknown surroundings stop the
            simulation.
        max_known: extrapolation grade of an atom beyond which its surroundings are not known.
    """

    max_temperature: float
    max_force: float
    degrees_of_freedom: int
    card: Card
    out_of_range: OutOfRange
    max_known: float = 1.0

    @property
    def max_kinetic_energy(self) -> float:
        """The kinetic energy in eV that `max_temperature` means."""
        return 0.5 * max(1, self.degrees_of_freedom) * units.kB * self.max_temperature

    @property
    def distances(self) -> tuple[float, float]:
        """Shortest and longest distance in Å between two atoms that do not stop the simulation."""
        if self.out_of_range == "warn" or self.card.domain is None:
            return 0.0, float("inf")
        return self.card.domain.min_distance, self.card.domain.max_distance

    @property
    def max_extrapolation(self) -> float:
        """Largest grade of an atom that does not stop the simulation."""
        return float("inf") if self.out_of_range == "warn" else self.max_known

    def problem(self, state: State, molecule: Molecule) -> str | None:
        """Tell why a simulation cannot go on.

        Args:
            state: where it stands.
            molecule: what moves, its positions not looked at.

        Returns:
            One sentence, or None if it can.
        """
        numbers = molecule.numbers
        for name, rows, unit in (
            ("positions", state.positions, "Å"),
            ("forces", state.forces, "eV/Å"),
            ("momenta", state.momenta, "√(u eV)"),
        ):
            broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
            if broken.size:
                atom = int(broken[0])
                return (
                    f"{name}: atom {atom} ({symbol(int(numbers[atom]))}) has "
                    f"{rows[atom].tolist()}, expected finite numbers ({unit})"
                )
        if not np.isfinite(state.energy):
            return f"energy: got {state.energy}, expected a finite number (eV)"
        if state.largest_force > self.max_force:
            atom = int(np.argmax(np.sum(state.forces**2, axis=1)))
            return (
                f"forces: {state.largest_force:.4g} eV/Å on atom {atom} "
                f"({symbol(int(numbers[atom]))}), expected at most max_force = {self.max_force:g}"
            )
        if state.kinetic_energy > self.max_kinetic_energy:
            hot = temperature(state.kinetic_energy, self.degrees_of_freedom)
            return (
                f"temperature: got {hot:.4g} K, expected at most max_temperature = "
                f"{self.max_temperature:g}"
            )
        if self.out_of_range == "error":
            moved = replace(molecule, positions=state.positions, cell=state.cell)
            problems = problems_out_of_range(moved, self.card)
            return problems[0] if problems else self.unknown(state, molecule)
        return None

    def unknown(self, state: State, molecule: Molecule) -> str | None:
        """Tell which atom is in surroundings that the model does not know, if one is."""
        return unknown_surroundings(
            state.extrapolation, molecule.numbers, self.card, self.max_known
        )
