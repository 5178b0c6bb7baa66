"""Measure what simulations of the model of cells keep, and store it in docs/dynamics.json.

python docs/measure_dynamics.py --data-dir DIR && python docs/update_tables.py
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.md.nose_hoover_chain import IsotropicMTKNPT

import efa_zoo
from efa_zoo.calculator import EFACalculator
from efa_zoo.models.inputs.checks import OutOfRangeWarning
from efa_zoo.simulation import DynamicsConfig, energy_drift, read_log, run_dynamics
from efa_zoo.simulation.velocities import initial_momenta

RESULTS = Path(__file__).parent / "dynamics.json"
MODEL = "mpnn_efa_nacl_bulk"

#: Length in fs, of a step and of all.
TIMESTEP, LENGTH = 1.0, 5000.0

#: Temperatures in K of crystal and melt.
CRYSTAL, MELT = 300.0, 1200.0


def crystal() -> Atoms:
    """Rock salt of 64 ions."""
    return bulk("NaCl", "rocksalt", a=5.62, cubic=True).repeat(2)


def melt(data_dir: str | None) -> Atoms:
    """The first melt of 64 ions of the test split."""
    from data_pipelines import load_split

    found = load_split("nacl_bulk", "test", data_dir=data_dir)
    first = next(s for s in found if s.kind == "melt" and len(s.atomic_numbers) == 64)
    return Atoms(first.atomic_numbers, first.positions, cell=first.cell, pbc=True)


def constant_energy(atoms: Atoms, temperature: float, dtype: str) -> dict[str, Any]:
    """Drift of the total energy in eV per atom and ps, and its standard deviation in eV per atom.

    Args:
        atoms: where it starts.
        temperature: of the velocities at the start, in K.
        dtype: of the compiled engine.
    """
    config = DynamicsConfig(
        temperature=temperature,
        timestep=TIMESTEP,
        steps=round(LENGTH / TIMESTEP),
        interval=10,
        engine="compiled",
    )
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # Now and then a melt is a little outside of what the model knows.
        warnings.simplefilter("ignore", OutOfRangeWarning)
        path = Path(folder) / "nve.extxyz"
        result = run_dynamics(MODEL, atoms, config, path, dtype=dtype, out_of_range="warn")
        log = read_log(result.log)
        return {
            "ensemble": "nve",
            "dtype": dtype,
            "drift": energy_drift(result.log, len(atoms)),
            "spread": float(np.std(log["total_energy_eV"])) / len(atoms),
            "temperature": float(np.mean(log["temperature_K"])),
            "steps_per_second": result.steps_per_second,
        }


def constant_pressure(atoms: Atoms, temperature: float) -> dict[str, Any]:
    """The same of what thermostats and barostat keep; means of temperature, volume and pressure."""
    atoms.calc = EFACalculator(MODEL, dtype="float64", out_of_range="warn")
    atoms.set_momenta(initial_momenta(atoms, DynamicsConfig(temperature=temperature)))
    dynamics = IsotropicMTKNPT(
        atoms,
        TIMESTEP * units.fs,
        temperature_K=temperature,
        pressure_au=0.0,
        tdamp=100 * units.fs,
        pdamp=1000 * units.fs,
    )
    rows: list[tuple[float, ...]] = []

    def note() -> None:
        pressure = -atoms.get_stress(include_ideal_gas=True)[:3].mean() / units.GPa
        kept = float(dynamics.get_conserved_energy())
        temperature = float(atoms.get_temperature())
        rows.append((kept, temperature, float(atoms.get_volume()), float(pressure)))

    dynamics.attach(note, interval=10)
    dynamics.run(round(LENGTH / TIMESTEP))
    kept, temperatures, volumes, pressures = np.asarray(rows).T
    time = np.arange(len(kept)) * 10 * TIMESTEP / 1000
    second = slice(len(kept) // 2, None)
    return {
        "ensemble": "npt",
        "dtype": "float64",
        "drift": float(np.polyfit(time, kept, 1)[0]) / len(atoms),
        "spread": float(np.std(kept)) / len(atoms),
        "temperature": float(temperatures[second].mean()),
        "volume": float(volumes[second].mean()) / len(atoms),
        "pressure": float(pressures[second].mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", help="where data sets lie")
    options = parser.parse_args()
    weights = efa_zoo.card(MODEL).weights
    assert weights is not None
    rows = []
    # A crystal at rest shares its kinetic energy with its bonds.
    for name, atoms, temperature, dtypes in (
        ("crystal", crystal(), 2 * CRYSTAL, ("float64", "float32")),
        ("melt", melt(options.data_dir), MELT, ("float64", "float32")),
    ):
        for dtype in dtypes:
            rows.append({"phase": name, **constant_energy(atoms, temperature, dtype)})
            print(rows[-1], flush=True)
    rows.append({"phase": "crystal", **constant_pressure(crystal(), CRYSTAL)})
    print(rows[-1])
    found = {
        "model": MODEL,
        "sha256": weights.sha256,
        "picoseconds": LENGTH / 1000,
        "timestep": TIMESTEP,
        "rows": rows,
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
