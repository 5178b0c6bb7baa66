"""Simulations of periodic structures: constant energy, temperature and pressure; relaxed cells."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.constraints import FixAtoms
from ase.filters import FrechetCellFilter
from ase.io import read
from ase.md.nose_hoover_chain import IsotropicMTKNPT
from toys import read_all, salt, salt_potential

from efa_zoo.base.errors import InputError
from efa_zoo.calculator import EFACalculator
from efa_zoo.models.inference import predict
from efa_zoo.models.inputs.checks import OutOfRangeWarning
from efa_zoo.models.potential import Potential
from efa_zoo.simulation import DynamicsConfig, energy_drift, read_log, relax, run_dynamics


@pytest.fixture(scope="module")
def model() -> Potential:
    return salt_potential()


def test_the_calculator_gives_what_predict_gives(model: Potential) -> None:
    atoms = salt()
    atoms.calc = EFACalculator(model)
    (expected,) = predict(model, [salt()], dtype="float64")
    assert atoms.get_potential_energy() == pytest.approx(expected.energy, abs=1e-10)
    np.testing.assert_allclose(atoms.get_forces(), expected.forces, atol=1e-10)
    assert expected.stress is not None
    np.testing.assert_allclose(atoms.get_stress(), expected.stress, atol=1e-11)
    # ASE's own filter sees the gradient of the energy by the cell.
    filtered, step = FrechetCellFilter(atoms), 1e-4
    gradient = filtered.get_forces()[len(atoms) :]
    places = filtered.get_positions()
    energies = []
    for sign in (1, -1):
        moved = places.copy()
        moved[len(atoms), 1] += sign * step
        filtered.set_positions(moved)
        energies.append(atoms.get_potential_energy())
    slope = (energies[0] - energies[1]) / (2 * step)
    assert -slope == pytest.approx(gradient[0, 1], abs=1e-5)


def test_energy_is_kept_and_neighbours_are_searched_on_the_way(
    model: Potential, tmp_path: Path
) -> None:
    config = DynamicsConfig(temperature=900.0, timestep=1.0, steps=300, interval=10, seed=4)
    result = run_dynamics(model, salt(), config, tmp_path / "nve.extxyz")
    assert result.engine == "compiled"
    log = read_log(result.log)
    moved = np.abs(np.asarray(result.atoms.positions) - salt().positions).max()
    assert moved > 0.5  # farther than half the skin
    assert abs(energy_drift(result.log, 8)) < 1e-4
    assert np.ptp(log["total_energy_eV"]) < 0.02 * np.ptp(log["potential_energy_eV"])
    assert np.ptp(log["volume_A3"]) == 0
    frame = read(result.trajectory, index=-1)
    np.testing.assert_allclose(frame.cell, salt().cell, atol=1e-7)  # type: ignore[union-attr]
    assert frame.get_stress().shape == (6,)  # type: ignore[union-attr]


def test_the_shipped_model_keeps_the_energy_of_a_crystal(tmp_path: Path) -> None:
    crystal = bulk("NaCl", "rocksalt", a=5.62, cubic=True).repeat(2)
    config = DynamicsConfig(temperature=600.0, timestep=1.0, steps=500, interval=10)
    out = tmp_path / "nve.extxyz"
    result = run_dynamics("mpnn_efa_nacl_bulk", crystal, config, out, dtype="float32")
    assert abs(energy_drift(result.log, len(crystal))) <= 1e-5  # eV/atom/ps
    assert np.std(read_log(result.log)["total_energy_eV"]) / len(crystal) < 1e-5


@pytest.mark.parametrize("ensemble", ["nvt", "npt"])
def test_resumed_simulations_are_the_same(model: Potential, tmp_path: Path, ensemble: str) -> None:
    config = DynamicsConfig(ensemble=ensemble, timestep=1.0, steps=12, interval=4)  # type: ignore[arg-type]
    whole = run_dynamics(model, salt(), config, tmp_path / "whole.extxyz")
    assert whole.engine == ("compiled" if ensemble == "nvt" else "ase")
    part = tmp_path / "part.extxyz"
    run_dynamics(model, salt(), dataclasses.replace(config, steps=8), part)
    run_dynamics(model, salt(), config, part, resume=True)
    assert part.read_bytes() == whole.trajectory.read_bytes()
    assert part.with_suffix(".csv").read_bytes() == whole.log.read_bytes()
    volumes = read_log(whole.log)["volume_A3"]
    assert (np.ptp(volumes) > 0) == (ensemble == "npt")


def test_constant_pressure_keeps_what_it_should(model: Potential) -> None:
    atoms = salt()
    atoms.calc = EFACalculator(model, out_of_range="warn")
    thermal = np.sqrt(atoms.get_masses() * units.kB * 300)[:, None]
    atoms.set_momenta(thermal * np.random.default_rng(0).standard_normal((len(atoms), 3)))
    dynamics = IsotropicMTKNPT(
        atoms,
        0.5 * units.fs,
        temperature_K=300,
        pressure_au=1 * units.GPa,
        tdamp=50 * units.fs,
        pdamp=100 * units.fs,
    )
    volume, kept = atoms.get_volume(), dynamics.get_conserved_energy()
    dynamics.run(40)
    assert abs(atoms.get_volume() / volume - 1) > 1e-5
    assert dynamics.get_conserved_energy() == pytest.approx(kept, abs=2e-3)


def test_cells_relax_downhill(model: Potential, tmp_path: Path) -> None:
    found = relax(
        model,
        salt(),
        cell=True,
        pressure=0.5,
        fmax=1e-4,
        steps=4,
        out_of_range="warn",
        trajectory=tmp_path / "steps.extxyz",
    )
    assert not found.converged and found.steps == 4
    frames = read_all(tmp_path / "steps.extxyz")
    enthalpies = [f.get_potential_energy() + 0.5 * units.GPa * f.get_volume() for f in frames]
    assert enthalpies[-1] < enthalpies[0]
    assert not np.allclose(found.atoms.cell, salt().cell, atol=1e-4)
    stress = found.atoms.get_stress()
    assert found.pressure == pytest.approx(-stress[:3].mean() / units.GPa)
    np.testing.assert_allclose(frames[-1].get_stress(), stress, atol=1e-8)


def test_what_does_not_fit_is_refused(model: Potential, tmp_path: Path) -> None:
    open_ = salt()
    open_.pbc = False
    with pytest.raises(InputError, match="cell: got True for pbc"):
        relax(model, open_, cell=True, out_of_range="warn")
    with pytest.raises(InputError, match=r"pressure: got 2\.0, expected 0"):
        relax(model, salt(), pressure=2.0)
    held = salt()
    held.set_constraint(FixAtoms([0]))
    npt = DynamicsConfig(ensemble="npt")
    with pytest.raises(InputError, match="expected a structure without constraints"):
        run_dynamics(model, held, npt, tmp_path / "a.extxyz")
    with (
        pytest.warns(OutOfRangeWarning, match="knows only 3"),
        pytest.raises(InputError, match="expected three periodic directions"),
    ):
        run_dynamics(model, open_, npt, tmp_path / "a.extxyz", out_of_range="warn")
    for options, message in (
        ({"ensemble": "npt", "engine": "compiled"}, "engine: got 'compiled'"),
        ({"ensemble": "npt", "temperature": 0.0}, "temperature: got 0"),
        ({"ensemble": "npt", "barostat_time": 0.0}, "barostat_time: got 0"),
        ({"ensemble": "npt", "pressure": float("nan")}, "pressure: got nan"),
        ({"ensemble": "npt", "friction": 0.1}, "which has one of its own"),
        ({"ensemble": "nvt", "pressure": 1.0}, "pressure: got 1, expected none"),
    ):
        with pytest.raises(InputError, match=message):
            DynamicsConfig(**options)  # type: ignore[arg-type]
