"""Relaxation: moving atoms downhill until the forces are small, by ASE's optimisers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from ase import units
from numpy.typing import DTypeLike

from efa_zoo.base.errors import InputError, SimulationError
from efa_zoo.models.hub.registry import load
from efa_zoo.models.inputs.checks import OutOfRange, check_structure, ignore_out_of_range
from efa_zoo.models.inputs.surroundings import unknown_surroundings
from efa_zoo.models.potential import Potential
from efa_zoo.simulation.bonds import changed_bonds
from efa_zoo.simulation.records import append_frame

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Optimizer", "Relaxation", "relax"]

#: Optimisers of ASE by name.
Optimizer: TypeAlias = Literal["bfgs", "lbfgs", "fire"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Relaxation:
    """What a relaxation came to.

    Attributes:
        atoms: the last structure; its calculator holds energy (eV) and forces (eV/Å).
        energy: in eV.
        largest_force: on an atom, in eV/Å, without what constraints take up.
        steps: number of steps done.
        converged: whether the largest force is small enough, and with the cell its gradient too, no
            bond changed unless that was asked for, and all atoms are in surroundings that the model
            knows.
        changed_bonds: bonds that were made or broken on the way, such as "N0-H1 broken". A model
            that knows no reactions is wrong about them.
        pressure: in GPa; None unless three directions are periodic.
        unknown: what about the last structure the model does not know, in one sentence; None if
            there is nothing, or if the model is not calibrated.
    """

    atoms: Atoms
    energy: float
    largest_force: float
    steps: int
    converged: bool
    changed_bonds: tuple[str, ...] = ()
    pressure: float | None = None
    unknown: str | None = None


def relax(
    model: Potential | str | PathLike[str],
    atoms: Atoms,
    *,
    optimizer: Optimizer = "bfgs",
    fmax: float = 0.01,
    steps: int = 500,
    cell: bool = False,
    pressure: float = 0.0,
    charge: int | None = None,
    dtype: DTypeLike = "float64",
    out_of_range: OutOfRange = "error",
    reactions: bool = False,
    trajectory: str | PathLike[str] | None = None,
    on_step: Callable[[int, float, float], None] | None = None,
) -> Relaxation:
    """Relax the positions of a structure, and on request its cell; constraints are kept.

    Args:
        model: a loaded model, or what `efa_zoo.load` takes.
        atoms: the structure; it is not changed.
        optimizer: "bfgs", "lbfgs" (many atoms) or "fire" (far from a minimum).
        fmax: the relaxation has converged when no atom feels a larger force (eV/Å).
        steps: largest number of steps.
        cell: relax the cell too, by ASE's `FrechetCellFilter`; `fmax` then also bounds the gradient
            of the enthalpy by its deformation (eV), per atom.
        pressure: that the cell is relaxed at, in GPa.
        charge: total charge in units of e. None takes `atoms.info["charge"]`; without it,
            it is 0, which is logged.
        dtype: floating-point type to compute in.
        out_of_range: whether a structure outside what the model knows, at the start or on the way,
            stops the relaxation; "warn" only warns about the one at the start, and a relaxation
            that ends in surroundings that the model does not know has not converged.
        reactions: whether bonds may change; otherwise a relaxation that changes them has not
            converged.
        trajectory: file to add every step to, in the extended XYZ format; it must not exist.
        on_step: called with the number of each step, the energy (eV) and the largest force (eV/Å).

    Returns:
        The last structure, converged or not.

    Raises:
        InputError: an argument is not as above, or the structure is invalid or outside what the
            model knows.
        SimulationError: atoms leave what the model knows on the way.
        UnknownModelError, ConfigError, WeightsError: as for `efa_zoo.load`.
    """
    from ase.calculators.singlepoint import SinglePointCalculator

    from efa_zoo.calculator import EFACalculator

    if not (math.isfinite(fmax) and fmax > 0):
        raise InputError(f"fmax: got {fmax}, expected a positive number (eV/Å)")
    if cell and not atoms.pbc.all():
        raise InputError(
            f"cell: got True for pbc {atoms.pbc.tolist()}, expected three periodic directions"
        )
    if not math.isfinite(pressure) or (pressure and not cell):
        raise InputError(f"pressure: got {pressure}, expected 0, or a number (GPa) with cell")
    if steps < 0:
        raise InputError(f"steps: got {steps}, expected an integer of at least 0")
    path = None if trajectory is None else Path(trajectory)
    if path is not None and path.exists():
        raise InputError(f"trajectory: {path} exists, expected a new name")
    make = _optimizer(optimizer)
    potential = load(model)
    molecule = check_structure(atoms, potential.card, charge, out_of_range)
    moving = atoms.copy()
    moving.info["charge"] = molecule.charge
    calculator = EFACalculator(
        potential, charge=molecule.charge, dtype=dtype, out_of_range=out_of_range
    )
    moving.calc = calculator

    def observe() -> None:
        energy, forces = float(moving.get_potential_energy()), moving.get_forces()
        if path is not None:
            stress = moving.get_stress() if atoms.pbc.all() else None
            append_frame(path, moving, energy, forces, stress, step=search.nsteps)
        if on_step is not None:
            on_step(search.nsteps, energy, _largest(forces))

    search: Any = make(_with_cell(moving, pressure) if cell else moving, logfile=None)
    search.attach(observe)
    try:
        with ignore_out_of_range():
            converged = bool(search.run(fmax=fmax, steps=steps))
    except InputError as error:
        raise SimulationError(f"step {search.nsteps + 1}: {error}") from error
    energy, forces = float(moving.get_potential_energy()), moving.get_forces()
    stress = moving.get_stress(apply_constraint=False) if moving.pbc.all() else None
    grades: Any = calculator.results.get("extrapolation")
    unknown = unknown_surroundings(grades, molecule.numbers, potential.card)
    changes = changed_bonds(atoms, moving)
    moving.calc = SinglePointCalculator(
        moving, energy=energy, forces=moving.get_forces(apply_constraint=False), stress=stress
    )
    return Relaxation(
        atoms=moving,
        energy=energy,
        largest_force=_largest(forces),
        steps=search.nsteps,
        converged=converged and unknown is None and (reactions or not changes),
        changed_bonds=changes,
        pressure=None if stress is None else float(-stress[:3].mean() / units.GPa),
        unknown=unknown,
    )


def _with_cell(atoms: Atoms, pressure: float) -> Any:
    from ase.filters import FrechetCellFilter

    return FrechetCellFilter(atoms, scalar_pressure=pressure * units.GPa)


def _largest(forces: np.ndarray) -> float:
    return float(np.sqrt(np.max(np.sum(forces**2, axis=1))))


def _optimizer(name: str) -> Callable[..., object]:
    from ase.optimize import BFGS, FIRE, LBFGS

    optimizers: dict[str, Callable[..., object]] = {"bfgs": BFGS, "lbfgs": LBFGS, "fire": FIRE}
    if name not in optimizers:
        raise InputError(f"optimizer: got {name!r}, expected {', '.join(optimizers)}")
    return optimizers[name]
