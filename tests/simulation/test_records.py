"""Files of a simulation: whole frames, rows that belong together, drift of the energy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from toys import read_all

from efa_zoo.base.errors import InputError
from efa_zoo.simulation import energy_drift, read_log
from efa_zoo.simulation.records import Records
from efa_zoo.simulation.state import State

WATER = Atoms("OH2", positions=[[0, 0, 0.12], [0.76, 0, -0.48], [-0.76, 0, -0.48]])


def state(step: int, energy: float = -5000.25) -> State:
    rng = np.random.default_rng(step)
    return State(
        step=step,
        positions=WATER.positions + 0.01 * rng.normal(size=(3, 3)),
        momenta=rng.normal(size=(3, 3)),
        forces=rng.normal(size=(3, 3)),
        energy=energy,
        masses=WATER.get_masses(),
    )


def started(folder: Path) -> Records:
    records = Records(folder / "sub" / "run.extxyz")
    records.require_new()
    records.start()
    return records


def add(records: Records, here: State) -> dict[str, float]:
    return records.append(here, WATER, timestep=0.5, degrees_of_freedom=3)


def test_frames_and_rows_have_all_numbers(tmp_path: Path) -> None:
    records = started(tmp_path)
    rows = [add(records, state(step)) for step in (0, 10, 20)]
    log = read_log(records.log)
    frames = read_all(records.trajectory)
    assert len(frames) == len(log["step"]) == 3
    for i, (frame, row) in enumerate(zip(frames, rows, strict=True)):
        expected = state(10 * i)
        np.testing.assert_allclose(frame.positions, expected.positions, atol=1e-7)
        np.testing.assert_allclose(frame.get_momenta(), expected.momenta, atol=1e-7)
        np.testing.assert_allclose(frame.get_forces(), expected.forces, atol=1e-7)
        assert frame.get_potential_energy() == expected.energy
        assert (frame.info["step"], frame.info["time_fs"]) == (10 * i, 5.0 * i)
        for name, values in log.items():
            assert values[i] == pytest.approx(row[name], rel=1e-6, abs=1e-9)
        assert row["total_energy_eV"] == expected.energy + expected.kinetic_energy
        assert row["kinetic_energy_eV"] == pytest.approx(frame.get_kinetic_energy(), rel=1e-6)


def test_what_came_after_a_checkpoint_is_cut(tmp_path: Path) -> None:
    records = started(tmp_path)
    add(records, state(0))
    records.save({"lengths": records.lengths(), "memory": {"step": 0}})
    before = {path: path.read_bytes() for path in (records.trajectory, records.log)}
    add(records, state(10))
    with records.trajectory.open("ab") as file:
        file.write(b"3\nProperties=species")  # torn off in the middle
    content = records.read_checkpoint()
    assert content["memory"] == {"step": 0}
    records.cut_back(content["lengths"])
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("ending", [".extxyz", ".csv", ".restart.json"])
def test_files_that_exist_are_not_written_over(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"run{ending}").write_text("precious")
    with pytest.raises(InputError, match=f"run{ending} exists, expected a new name"):
        Records(tmp_path / "run.extxyz").require_new()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


def test_checkpoints_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    records = started(tmp_path)
    with pytest.raises(InputError, match=r"run\.restart\.json is missing"):
        records.read_checkpoint()
    records.checkpoint.write_text("{")
    with pytest.raises(InputError, match=r"run\.restart\.json cannot be read"):
        records.read_checkpoint()
    add(records, state(0))
    lengths = records.lengths()
    size = records.trajectory.stat().st_size
    records.log.write_text("")
    with pytest.raises(InputError, match=r"run\.csv has 0 bytes, expected"):
        records.cut_back(lengths)
    assert records.trajectory.stat().st_size == size


def test_the_drift_is_the_slope_of_the_total_energy(tmp_path: Path) -> None:
    records = started(tmp_path)
    for step in range(0, 1001, 10):
        wave = 1e-4 * np.sin(step)
        here = state(0, energy=-5000 + 3e-5 * step * 0.5 / 1000 + wave)
        add(records, State(**{**vars(here), "step": step}))
    assert energy_drift(records.log, 3) == pytest.approx(1e-5, abs=3e-5)
    times = read_log(records.log)["time_fs"] / 1000
    energies = read_log(records.log)["total_energy_eV"]
    slope = np.polyfit(times, energies + 5000, 1)[0]
    assert energy_drift(records.log, 3) == pytest.approx(slope / 3, rel=1e-4)


def test_other_files_are_no_logs(tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    with pytest.raises(InputError, match="cannot read the log"):
        read_log(other)
    other.write_text("step,loss\n1,2\n")
    with pytest.raises(InputError, match="is no log of a simulation"):
        read_log(other)
    records = started(tmp_path)
    add(records, state(0))
    with pytest.raises(InputError, match="has 1 rows, expected at least two"):
        energy_drift(records.log, 3)
