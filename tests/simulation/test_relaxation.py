"""Relaxation: downhill, as far as asked, by every optimiser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixAtoms
from toys import calibrated, read_all

import efa_zoo
from efa_zoo.base.errors import InputError, SimulationError
from efa_zoo.models.inputs.checks import OutOfRangeWarning
from efa_zoo.simulation import relax


@pytest.mark.parametrize("optimizer", ["bfgs", "lbfgs", "fire"])
def test_every_step_is_written_and_the_energy_falls(
    model: efa_zoo.Potential, atoms: Atoms, tmp_path: Path, optimizer: Any
) -> None:
    before = atoms.copy()
    seen: list[tuple[int, float, float]] = []
    path = tmp_path / "steps.extxyz"
    result = relax(
        model,
        atoms,
        optimizer=optimizer,
        fmax=1e-4,
        steps=6,
        trajectory=path,
        on_step=lambda *row: seen.append(row),
    )
    assert atoms == before
    assert (result.steps, result.converged) == (6, False)
    frames = read_all(path)
    assert [frame.info["step"] for frame in frames] == [row[0] for row in seen] == list(range(7))
    energies = [frame.get_potential_energy() for frame in frames]
    assert energies == [row[1] for row in seen]
    assert energies[-1] == result.energy < energies[0]
    assert result.largest_force == pytest.approx(seen[-1][2])
    (expected,) = efa_zoo.predict(model, [result.atoms], dtype="float64")
    assert result.atoms.get_potential_energy() == pytest.approx(expected.energy, abs=1e-8)
    np.testing.assert_allclose(result.atoms.get_forces(), expected.forces, atol=1e-8)


def test_a_relaxed_structure_is_a_stationary_point(model: efa_zoo.Potential, atoms: Atoms) -> None:
    start = efa_zoo.predict(model, atoms, dtype="float64")
    largest = float(np.sqrt((start.forces**2).sum(axis=1).max()))
    result = relax(model, atoms, fmax=0.5 * largest)
    assert result.converged
    assert 0 < result.largest_force <= 0.5 * largest
    again = relax(model, result.atoms, fmax=0.5 * largest)
    assert (again.steps, again.energy) == (0, pytest.approx(result.energy, abs=1e-9))


def test_constraints_are_kept(model: efa_zoo.Potential, atoms: Atoms) -> None:
    atoms.set_constraint(FixAtoms([0, 5]))
    result = relax(model, atoms, fmax=1e-4, steps=4)
    np.testing.assert_array_equal(result.atoms.positions[[0, 5]], atoms.positions[[0, 5]])
    assert not result.atoms.get_forces()[[0, 5]].any()
    assert result.atoms.get_forces(apply_constraint=False)[[0, 5]].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fmax": 0.0}, "fmax: got 0.0, expected a positive number"),
        ({"fmax": float("nan")}, "fmax: got nan"),
        ({"steps": -1}, "steps: got -1"),
        ({"optimizer": "newton"}, "optimizer: got 'newton', expected bfgs, lbfgs, fire"),
        ({"charge": 0}, "odd number"),
        ({"dtype": "int8"}, "dtype: got int8"),
    ],
)
def test_bad_arguments_are_refused(
    model: efa_zoo.Potential, atoms: Atoms, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        relax(model, atoms, **options)


def test_a_trajectory_that_exists_is_not_written_over(
    model: efa_zoo.Potential, atoms: Atoms, tmp_path: Path
) -> None:
    path = tmp_path / "steps.extxyz"
    path.write_text("precious")
    with pytest.raises(InputError, match="exists, expected a new name"):
        relax(model, atoms, trajectory=path)
    assert path.read_text() == "precious"


def test_it_stops_where_atoms_leave_what_the_model_knows(
    model: efa_zoo.Potential, atoms: Atoms
) -> None:
    # At the very edge of the domain, and pushed outwards by a force that is not the model's.
    far = atoms.copy()
    far.positions[5:, 2] += 11.0
    while far.get_all_distances().max() < 14.99:
        far.positions[5:, 2] += 0.005
    assert far.get_all_distances().max() < 15.0
    with pytest.raises(SimulationError, match=r"step \d+: positions: .* distances up to 15 Å"):
        for sign in (1, -1):
            pushed = far.copy()
            pushed.set_constraint(Outwards(sign))
            relax(model, pushed, fmax=1e-6, steps=50)
    over = far.copy()
    over.positions[5:, 2] += 1.0
    with pytest.warns(OutOfRangeWarning, match="up to 15 Å"):
        relax(model, over, steps=1, out_of_range="warn")


class Outwards:
    """A force along z on the second molecule."""

    def __init__(self, sign: int):
        self.sign = sign

    def adjust_positions(self, atoms: Atoms, positions: np.ndarray) -> None:
        """Positions are free."""

    def adjust_forces(self, atoms: Atoms, forces: np.ndarray) -> None:
        forces[5:, 2] += self.sign
        forces[:5, 2] -= self.sign

    def copy(self) -> Outwards:
        return Outwards(self.sign)


def test_unknown_surroundings_stop_it_and_are_never_converged(
    model: efa_zoo.Potential, atoms: Atoms
) -> None:
    knowing = calibrated(model, atoms)
    assert knowing.calibration is not None
    start = efa_zoo.predict(knowing, atoms, dtype="float64")
    assert start.extrapolation is not None
    # The start is just known, and downhill from there nothing is.
    largest = float(start.extrapolation.max())
    narrow = eqx.tree_at(
        lambda m: m.calibration.whitening,
        knowing,
        knowing.calibration.whitening * (0.999 / largest),
    )
    fmax = 0.3 * float(np.sqrt((start.forces**2).sum(axis=1).max()))
    with pytest.raises(SimulationError, match=r"step \d+: surroundings: those of atom"):
        relax(narrow, atoms, fmax=fmax)
    result = relax(narrow, atoms, fmax=fmax, out_of_range="warn", reactions=True)
    assert result.largest_force <= fmax
    assert not result.converged
    assert result.unknown is not None and "extrapolation grade" in result.unknown
    free = relax(model, atoms, fmax=fmax, reactions=True)
    assert free.converged and free.unknown is None
    np.testing.assert_allclose(free.atoms.positions, result.atoms.positions, atol=1e-9)


def test_bonds_that_change_fail_it_unless_they_may(
    model: efa_zoo.Potential, atoms: Atoms, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = efa_zoo.predict(model, atoms, dtype="float64")
    fmax = 1.01 * float(np.sqrt((start.forces**2).sum(axis=1).max()))
    changes = ("N0-H1 broken",)
    monkeypatch.setattr(
        "efa_zoo.simulation.relaxation.changed_bonds", lambda before, after: changes
    )
    failed = relax(model, atoms, fmax=fmax)
    assert (failed.converged, failed.changed_bonds) == (False, changes)
    assert relax(model, atoms, fmax=fmax, reactions=True).converged
