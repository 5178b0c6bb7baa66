"""Measure what cards do not say of the model of organic molecules, beside GFN2-xTB itself.

    python docs/measure_organic.py --data-dir DIR [--model NAME] [--only PART...]

Complexes of S22 (their geometries come with ASE), conformers and minima of molecules that the model
was not trained on, dynamics of a zwitterion in water, and the time that a structure takes. Writes
docs/organic.json, from which `docs/update_tables.py` makes the table of docs/organic.md.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.data import s22
from measure_trust import minima

import efa_zoo
from data_pipelines import load_split
from data_pipelines._workers import Failure
from data_pipelines.labels.labelling import Geometry, Label, label
from data_pipelines.sampling.organic.conformers import embed, positions_of
from data_pipelines.sampling.organic.molecules import parse
from efa_zoo import Potential
from efa_zoo.base.errors import InputError, SimulationError
from efa_zoo.models.inputs.checks import OutOfRangeWarning
from efa_zoo.simulation import DynamicsConfig, energy_drift, run_dynamics

RESULTS = Path(__file__).parent / "organic.json"

#: Molecules whose conformers are compared, and conformers of each.
MOLECULES, CONFORMERS = 40, 6

#: Dynamics: steps of 0.5 fs.
STEPS = 10_000

#: Minima of unseen molecules from which the model relaxes.
MINIMA = 100

#: Molecules of water whose time is taken, and copies in the batch.
WATERS = ((7, 64), (27, 16), (100, 4), (333, 1))


def labels(structures: Sequence[Atoms]) -> Iterator[tuple[Atoms, Label]]:
    """Structures with their labels, where GFN2-xTB converges."""
    for atoms in structures:
        numbers = atoms.get_atomic_numbers().astype(np.int32)
        found = label(Geometry(numbers, atoms.get_positions(), atoms.info["charge"]))
        if not isinstance(found, Failure):
            yield atoms, found


def energies(model: Potential, structures: Sequence[Atoms]) -> np.ndarray:
    """Energies in eV, NaN where the model refuses."""
    found = efa_zoo.predict(model, structures, on_error="return")
    return np.array([np.nan if isinstance(one, InputError) else one.energy for one in found])


def complexes(model: Potential) -> dict[str, float]:
    """Interaction energies of the complexes of S22 in eV."""
    wanted, found = [], []
    for name in s22.s22:
        atoms = s22.create_s22_system(name)
        first = s22.get_number_of_dimer_atoms(name)[0]
        three = [
            Atoms(a.numbers, a.positions, info={"charge": 0})
            for a in (atoms, atoms[:first], atoms[first:])
        ]
        (whole, *parts) = (one.energy for _, one in labels(three))
        wanted.append(whole - sum(parts))
        whole, *parts = energies(model, three)
        found.append(whole - sum(parts))
    error = np.abs(np.subtract(found, wanted))
    return {
        "count": len(wanted),
        "refused": int(np.isnan(error).sum()),
        "mae": float(np.nanmean(error)),
        "largest": float(np.nanmax(error)),
        "mean_label": float(np.mean(wanted)),
    }


def unseen(data: str, data_dir: str | None) -> list[str]:
    """SMILES of the molecules that are only in `test` and `transfer`, in a fixed random order."""
    found = {
        s.group
        for split in ("test", "transfer")
        for s in load_split(data, split, data_dir=data_dir)
        if "." not in s.group and 10 <= len(s.atomic_numbers) <= 40
    }
    return np.random.default_rng(0).permutation(sorted(found)).tolist()


def conformers(model: Potential, data_dir: str | None) -> dict[str, float]:
    """Energies of conformers of unseen molecules, to their mean over the molecule, in eV."""
    rng = np.random.default_rng(1)
    errors, spreads, refused = [], [], 0
    for smiles in unseen(model.card.data.name, data_dir)[:MOLECULES]:
        species = parse(smiles)
        made = [embed(smiles, rng) for _ in range(CONFORMERS)]
        structures = [
            Atoms(species.numbers, positions_of(one), info={"charge": species.charge})
            for one in made
            if not isinstance(one, Failure)
        ]
        pairs = list(labels(structures))
        wanted = np.array([one.energy for _, one in pairs])
        found = energies(model, [atoms for atoms, _ in pairs])
        refused += int(np.isnan(found).sum())
        kept = ~np.isnan(found)
        if kept.sum() > 1 and np.ptp(wanted[kept]) > 1e-3:
            wanted, found = (x[kept] - x[kept].mean() for x in (wanted, found))
            errors += np.abs(found - wanted).tolist()
            spreads += np.abs(wanted).tolist()
    return {
        "count": len(errors),
        "refused": refused,
        "mae": float(np.mean(errors)),
        "mean_label": float(np.mean(spreads)),
    }


def dynamics(model: Potential, data_dir: str | None) -> dict[str, Any]:
    """Energy of a zwitterion in water over `STEPS` steps, without a thermostat."""
    droplets = [
        s
        for s in load_split(model.card.data.name, "test", data_dir=data_dir)
        if s.kind.startswith("droplets/") and "+]" in s.group and "[O-]" in s.group
    ]
    start = min(droplets, key=lambda s: float(np.abs(s.forces).max()))
    atoms = Atoms(start.atomic_numbers, start.positions, info={"charge": start.total_charge})
    config = DynamicsConfig(temperature=300.0, steps=STEPS, interval=50)
    row: dict[str, Any] = {"group": start.group, "atoms": len(atoms), "steps": STEPS}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "trajectory.xyz")
        try:
            result = run_dynamics(model, atoms, config, out, dtype="float32")
        except SimulationError as error:
            return row | {"stopped": str(error)}
        row["drift"] = energy_drift(result.log, len(atoms))
        row["steps_per_second"] = result.steps_per_second
    return row


def times(model: Potential) -> list[dict[str, float]]:
    """Seconds of energy and forces of water on a grid, by the model in a batch and by GFN2-xTB."""
    rows = []
    rng = np.random.default_rng(0)
    for molecules, copies in WATERS:
        side = round(molecules ** (1 / 3) + 0.5)
        places = 3.1 * np.array(list(np.ndindex(side, side, side)))[:molecules]
        water = molecule("H2O")
        atoms = Atoms(info={"charge": 0})
        for place in places:
            one = water.copy()
            one.rotate(float(rng.uniform(360)), rng.normal(size=3))
            one.translate(place)
            atoms += one
        batch = [atoms.copy() for _ in range(copies)]
        predicted = functools.partial(efa_zoo.predict, model, batch, out_of_range="warn")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OutOfRangeWarning)
            rows.append(
                {
                    "atoms": len(atoms),
                    "model": seconds(predicted, again=True) / copies,
                    "label": seconds(lambda: list(labels([atoms])), again=False),  # noqa: B023
                }
            )
    return rows


def seconds(function: Callable[[], object], *, again: bool) -> float:
    """Wall time of a call, of the second one where the first one compiles."""
    if again:
        function()
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", help="where data sets lie")
    parser.add_argument("--model", default="mpnn_efa_organic", help="a model of the data `organic`")
    parser.add_argument("--only", nargs="+", help="parts; default: all")
    options = parser.parse_args()
    model = efa_zoo.load(options.model)
    folder = options.data_dir
    parts: dict[str, Callable[[], object]] = {
        "complexes": functools.partial(complexes, model),
        "conformers": functools.partial(conformers, model, folder),
        "minima": functools.partial(minima, model, folder, ("test", "transfer"), MINIMA),
        "dynamics": functools.partial(dynamics, model, folder),
        "times": functools.partial(times, model),
    }
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for part in options.only or parts:
        results.setdefault(model.card.name, {})[part] = parts[part]()
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
