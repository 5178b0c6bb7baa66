"""Molecular dynamics as a whole: engines that agree, exact resumption, stops with a reason."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import equinox as eqx
import numpy as np
import pytest
from ase import Atoms, units
from ase.constraints import FixAtoms, FixBondLength
from toys import calibrated, read_all

import efa_zoo
from efa_zoo.base.errors import InputError, SimulationError
from efa_zoo.models.inputs.checks import OutOfRangeWarning
from efa_zoo.simulation import DynamicsConfig, DynamicsResult, energy_drift, read_log, run_dynamics

NVE = DynamicsConfig(temperature=300.0, steps=25, interval=10)
NVT = DynamicsConfig(ensemble="nvt", temperature=300.0, friction=0.05, steps=25, interval=10)

ENDINGS = (".extxyz", ".csv")


def content(result: DynamicsResult) -> list[bytes]:
    return [result.trajectory.read_bytes(), result.log.read_bytes()]


def test_a_simulation_writes_trajectory_and_log(
    model: efa_zoo.Potential, atoms: Atoms, tmp_path: Path
) -> None:
    before = atoms.copy()
    rows: list[Mapping[str, float]] = []
    out = tmp_path / "new" / "run.extxyz"
    result = run_dynamics(model, atoms, NVE, out, on_row=rows.append)
    assert atoms == before
    assert not atoms.has("momenta")
    assert (result.engine, result.steps) == ("compiled", 25)
    assert result.steps_per_second == pytest.approx(25 / result.seconds)
    frames, log = read_all(out), read_log(result.log)
    assert [frame.info["step"] for frame in frames] == [0, 10, 20, 25]
    assert [row["step"] for row in rows] == log["step"].tolist() == [0, 10, 20, 25]
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "run.csv",
        "run.extxyz",
        "run.restart.json",
    ]
    np.testing.assert_allclose(result.atoms.positions, frames[-1].positions, atol=1e-7)
    np.testing.assert_allclose(result.atoms.get_momenta(), frames[-1].get_momenta(), atol=1e-7)
    assert log["temperature_K"][0] == pytest.approx(300, abs=1e-3)
    assert log["total_momentum_u_A_per_fs"].max() < 1e-12
    for frame, expected in zip(
        frames, efa_zoo.predict(model, frames, dtype="float64"), strict=True
    ):
        assert frame.info["charge"] == 1
        assert frame.get_potential_energy() == pytest.approx(expected.energy, abs=1e-6)
        np.testing.assert_allclose(frame.get_forces(), expected.forces, atol=1e-6)
    assert abs(energy_drift(result.log, len(atoms))) < 0.1


def test_both_engines_go_the_same_way(
    model: efa_zoo.Potential, atoms: Atoms, tmp_path: Path
) -> None:
    results = [
        run_dynamics(model, atoms, replace(NVE, engine=engine), tmp_path / f"{engine}.extxyz")
        for engine in ("compiled", "ase")
    ]
    assert [result.engine for result in results] == ["compiled", "ase"]
    frames = [read_all(result.trajectory) for result in results]
    assert len(frames[0]) == len(frames[1]) == 4
    for one, other in zip(*frames, strict=True):
        np.testing.assert_allclose(one.positions, other.positions, atol=2e-8)
        np.testing.assert_allclose(one.get_momenta(), other.get_momenta(), atol=2e-8)
    logs = [read_log(result.log) for result in results]
    for name, values in logs[0].items():
        np.testing.assert_allclose(values, logs[1][name], atol=2e-6, err_msg=name)


@pytest.mark.parametrize("engine", ["compiled", "ase"])
def test_a_molecule_that_drifts_and_turns_is_as_hot_as_all_its_motions(
    model: efa_zoo.Potential, tmp_path: Path, engine: str
) -> None:
    # A rigid body: with nine degrees of freedom, 9/2 k T are M v^2/2 and the energy of rotation.
    water = Atoms("OH2", [[0, 0, 0.12], [0.76, 0, -0.48], [-0.76, 0, -0.48]], info={"charge": 0})
    masses, height, reach, drift, turn = water.get_masses(), 0.6, 0.76, 0.05, 0.1
    inertia = masses[0] * masses[1:].sum() / masses.sum() * height**2  # about x
    center = water.get_center_of_mass()
    water.set_velocities(np.cross((turn, 0, 0), water.positions - center) + np.array((drift, 0, 0)))
    kinetic = 0.5 * masses.sum() * drift**2 + 0.5 * inertia * turn**2
    config = DynamicsConfig(engine=engine, steps=10)
    log = read_log(run_dynamics(model, water, config, tmp_path / "run.extxyz").log)
    assert log["temperature_K"][0] == pytest.approx(2 * kinetic / (9 * units.kB), rel=1e-6)
    # Turning about z without drift: the hydrogens lie away from the axis, and 3 of 9 are at rest.
    still = water.copy()
    spread = 2 * masses[1] * reach**2
    still.set_velocities(np.cross((0, 0, turn), water.positions - center))
    log = read_log(run_dynamics(model, still, config, tmp_path / "turning.extxyz").log)
    expected = spread * turn**2 / (6 * units.kB)
    assert log["temperature_K"][0] == pytest.approx(expected, rel=1e-6)


class Interrupted(Exception):
    """Stands for anything that ends a program."""


@pytest.mark.parametrize("engine", ["compiled", "ase"])
@pytest.mark.parametrize("config", [NVE, NVT], ids=["nve", "nvt"])
def test_interrupted_and_resumed_is_the_same_as_uninterrupted(
    model: efa_zoo.Potential, atoms: Atoms, tmp_path: Path, config: DynamicsConfig, engine: str
) -> None:
    config = replace(config, engine=engine)
    whole = run_dynamics(model, atoms, config, tmp_path / "whole.extxyz")

    def interrupt(row: Mapping[str, float]) -> None:
        if row["step"] == 20:
            raise Interrupted

    out = tmp_path / "parts.extxyz"
    with pytest.raises(Interrupted):
        run_dynamics(model, atoms, config, out, on_row=interrupt)
    assert len(read_all(out)) == 3  # the checkpoint is of the row before
    resumed = run_dynamics(model, atoms, config, out, resume=True)
    assert resumed.steps == 15
    assert content(resumed) == content(whole)
    np.testing.assert_array_equal(resumed.atoms.positions, whole.atoms.positions)
    np.testing.assert_array_equal(resumed.atoms.get_momenta(), whole.atoms.get_momenta())


def test_large_molecules_resume_exactly_with_their_neighbor_list(
    model: efa_zoo.Potential, tmp_path: Path
) -> None:
    water = [[0, 0, 0.12], [0.76, 0, -0.48], [-0.76, 0, -0.48]]
    corners = [[3.2 * (i % 3), 3.2 * (i // 3 % 2), 3.2 * (i // 6)] for i in range(12)]
    places = np.concatenate([np.asarray(water) + corner for corner in corners])
    atoms = Atoms("OH2" * 12, positions=places, info={"charge": 0})
    config = DynamicsConfig(temperature=300.0, steps=16, interval=4, engine="ase")
    whole = run_dynamics(model, atoms, config, tmp_path / "whole.extxyz")
    out = tmp_path / "parts.extxyz"
    run_dynamics(model, atoms, replace(config, steps=8), out)
    state = json.loads((tmp_path / "parts.restart.json").read_text())["memory"]["neighbors"]
    assert np.abs(np.asarray(state["positions"]) - read_all(out)[-1].positions).max() > 1e-3
    assert content(run_dynamics(model, atoms, config, out, resume=True)) == content(whole)


def test_more_steps_may_be_asked_for_and_none_may_be_left(
    model: efa_zoo.Potential, atoms: Atoms, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "run.extxyz"
    run_dynamics(model, atoms, replace(NVE, steps=10), out)
    with caplog.at_level(logging.INFO, "efa_zoo"):
        result = run_dynamics(model, atoms, NVE, out, resume=True)
    assert "resumed at step 10" in caplog.text
    assert content(result) == content(run_dynamics(model, atoms, NVE, tmp_path / "all.extxyz"))
    again = run_dynamics(model, atoms, NVE, out, resume=True)
    assert (again.steps, again.steps_per_second) == (0, 0)
    assert content(again) == content(result)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "resume: seed is 1, expected 0 as in"),
        ({"timestep": 1.0}, "resume: timestep is 1.0, expected 0.5"),
        ({"engine": "ase"}, "resume: engine is 'ase', expected 'compiled'"),
        ({"temperature": 10.0}, "resume: temperature is 10.0, expected 300.0"),
    ],
)
def test_another_simulation_is_not_resumed(
    model: efa_zoo.Potential, atoms: Atoms, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    out = tmp_path / "run.extxyz"
    before = content(run_dynamics(model, atoms, replace(NVE, steps=0), out))
    with pytest.raises(InputError, match=message):
        run_dynamics(model, atoms, replace(NVE, **change), out, resume=True)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="dtype is 'float32', expected 'float64'"):
        run_dynamics(model, atoms, NVE, out, resume=True, dtype="float32")
    atoms.positions[0] += 0.1
    with pytest.raises(InputError, match="positions are not those in"):
        run_dynamics(model, atoms, NVE, out, resume=True)
    assert [out.with_suffix(ending).read_bytes() for ending in ENDINGS] == before


def test_a_file_that_exists_is_not_written_over(
    model: efa_zoo.Potential, atoms: Atoms, tmp_path: Path
) -> None:
    out = tmp_path / "run.extxyz"
    out.write_text("precious")
    with pytest.raises(InputError, match="exists, expected a new name"):
        run_dynamics(model, atoms, NVE, out)
    with pytest.raises(InputError, match="is missing, expected the checkpoint"):
        run_dynamics(model, atoms, NVE, out, resume=True)
    assert out.read_text() == "precious"


@pytest.mark.parametrize("engine", ["compiled", "ase"])
@pytest.mark.parametrize("limited", ["max_temperature", "max_force"])
def test_it_stops_where_something_blows_up(
    model: efa_zoo.Potential, atoms: Atoms, tmp_path: Path, limited: str, engine: str
) -> None:
    column = {"max_temperature": "temperature_K", "max_force": "largest_force_eV_per_A"}[limited]
    calm = replace(NVE, temperature=2000.0, interval=1, steps=60, engine=engine)
    values = read_log(run_dynamics(model, atoms, calm, tmp_path / "calm.extxyz").log)[column]
    limit = max((values[0] + values.max()) / 2, 2000.1 if limited == "max_temperature" else 0.0)
    first = int(np.flatnonzero(values > limit)[0])
    out = tmp_path / "run.extxyz"
    strict = replace(calm, interval=40, **{limited: float(limit)})
    with pytest.raises(SimulationError, match=rf"step {first} .*expected at most {limited}"):
        run_dynamics(model, atoms, strict, out)
    assert [frame.info["step"] for frame in read_all(out)][-1] == first
    memory = json.loads((tmp_path / "run.restart.json").read_text())["memory"]
    assert memory["step"] in (0, 40)


@pytest.mark.parametrize("engine", ["compiled", "ase"])
def test_it_stops_where_atoms_leave_what_the_model_knows(
    model: efa_zoo.Potential,
    atoms: Atoms,
    tmp_path: Path,
    engine: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # The water flies away.
    velocities = np.zeros((8, 3))
    velocities[5:, 0] = 1.0
    atoms.set_velocities(velocities)
    farthest = atoms.get_all_distances().max()
    assert model.card.domain is not None
    domain = replace(model.card.domain, max_distance=float(farthest + 0.3))
    small = efa_zoo.Potential(network=model.network, card=replace(model.card, domain=domain))
    config = DynamicsConfig(steps=40, engine=engine, max_temperature=1e6)
    with pytest.raises(SimulationError, match=r"step \d+ .* knows distances up to"):
        run_dynamics(small, atoms, config, tmp_path / "run.extxyz")
    with caplog.at_level(logging.WARNING, "efa_zoo"):
        result = run_dynamics(small, atoms, config, tmp_path / "warn.extxyz", out_of_range="warn")
    assert result.steps == 40
    assert caplog.text.count("knows distances up to") == 1


@pytest.mark.parametrize("engine", ["compiled", "ase"])
def test_it_stops_in_surroundings_that_the_model_does_not_know(
    model: efa_zoo.Potential,
    atoms: Atoms,
    tmp_path: Path,
    engine: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    knowing = calibrated(model, atoms)
    velocities = np.zeros((8, 3))
    velocities[1, 0] = 1.0  # a hydrogen is torn away
    atoms.set_velocities(velocities)
    config = DynamicsConfig(steps=40, engine=engine, max_temperature=1e6)
    with pytest.raises(SimulationError, match=r"step (\d+) .* surroundings: .* grade") as stopped:
        run_dynamics(knowing, atoms, config, tmp_path / "run.extxyz")
    last = read_all(tmp_path / "run.extxyz")[-1]
    assert 0 < last.info["step"] < 40
    assert f"step {last.info['step']} " in str(stopped.value)
    with pytest.warns(OutOfRangeWarning, match="surroundings"):
        here = efa_zoo.predict(knowing, last, dtype="float64", out_of_range="warn")
    assert here.extrapolation is not None and here.extrapolation.max() > 1
    with caplog.at_level(logging.WARNING, "efa_zoo"):
        result = run_dynamics(knowing, atoms, config, tmp_path / "warn.extxyz", out_of_range="warn")
    assert result.steps == 40
    assert caplog.text.count("surroundings: ") == 1
    allowed = replace(config, max_extrapolation=1e9)
    assert run_dynamics(knowing, atoms, allowed, tmp_path / "all.extxyz").steps == 40


def test_a_bad_start_leaves_no_files(
    model: efa_zoo.Potential, atoms: Atoms, tmp_path: Path
) -> None:
    out = tmp_path / "run.extxyz"
    broken = eqx.tree_at(lambda m: m.network.readout, model, model.network.readout * np.nan)
    with pytest.raises(SimulationError, match="step 0: forces: atom 0"):
        run_dynamics(broken, atoms, NVE, out)
    with pytest.raises(SimulationError, match=r"step 0: forces: .* expected at most max_force"):
        run_dynamics(model, atoms, replace(NVE, max_force=1e-6), out)
    atoms.pbc = True
    with pytest.raises(InputError, match="pbc: got"):
        run_dynamics(model, atoms, NVE, out)
    assert list(tmp_path.iterdir()) == []


def test_constraints_need_and_choose_the_engine_of_ase(
    model: efa_zoo.Potential, atoms: Atoms, tmp_path: Path
) -> None:
    length = atoms.get_distance(5, 6)
    atoms.set_constraint([FixAtoms([0]), FixBondLength(5, 6)])
    with pytest.raises(InputError, match=r"constraints \(FixAtoms, FixBondLengths\)"):
        run_dynamics(model, atoms, replace(NVE, engine="compiled"), tmp_path / "no.extxyz")
    result = run_dynamics(model, atoms, NVT, tmp_path / "run.extxyz")
    assert result.engine == "ase"
    np.testing.assert_array_equal(result.atoms.positions[0], atoms.positions[0])
    assert result.atoms.get_distance(5, 6) == pytest.approx(length, abs=1e-6)
    assert np.abs(result.atoms.positions[1:] - atoms.positions[1:]).max() > 1e-3
    assert len(result.atoms.constraints) == 2


def test_float32_goes_the_same_way_for_a_while(
    model: efa_zoo.Potential, atoms: Atoms, tmp_path: Path
) -> None:
    results = [
        run_dynamics(model, atoms, NVE, tmp_path / f"{dtype}.extxyz", dtype=dtype)
        for dtype in ("float64", "float32")
    ]
    np.testing.assert_allclose(results[1].atoms.positions, results[0].atoms.positions, atol=1e-5)
    assert not np.array_equal(results[1].atoms.positions, results[0].atoms.positions)
