"""Measure whether wrong answers are refused: strangers, relaxations from random starts, and costs.

    python docs/measure_trust.py --data-dir DIR [--only NAME...] [--parts PART...]

Structures that a model has not learned from (`strangers.py`) are made and labelled by the method
of its data; none is stored. Writes docs/trust.json, from which `docs/update_tables.py` makes the
tables of docs/numbers.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from strangers import Labelled, compositions, distortions, has_closed_form, molecules, points

import efa_zoo
from data_pipelines import load_split
from data_pipelines._workers import Failure
from data_pipelines.labels.labelling import Geometry, label
from efa_zoo import Potential
from efa_zoo.base.errors import InputError, SimulationError
from efa_zoo.models.inference import PredictionStream
from efa_zoo.models.inputs.checks import OutOfRangeWarning, check_structure
from efa_zoo.simulation import DynamicsConfig, relax
from efa_zoo.simulation.compiled import CompiledEngine
from efa_zoo.simulation.state import Limits
from efa_zoo.simulation.velocities import initial_momenta

RESULTS = Path(__file__).parent / "trust.json"

#: An error of a dimers' model that matters, in eV.
WRONG = 0.5


def strangers(model: Potential, data_dir: str | None) -> dict[str, dict[str, Any]]:
    """How many structures of each kind are wrong, and how many of these are refused."""
    structures = load_split(model.card.data.name, "train", data_dir=data_dir)
    known = {tuple(sorted(s.atomic_numbers.tolist())) for s in structures}
    known |= {
        tuple(sorted(s.atomic_numbers[s.fragment == part].tolist()))
        for s in structures
        for part in (0, 1)
    }
    kinds: dict[str, Callable[[], Iterable[Labelled]]] = {}
    if model.card.data.level_of_theory.startswith("GFN2"):
        kinds["molecules"] = functools.partial(molecules, model, known)
        kinds["compositions"] = functools.partial(compositions, model, known)
    if has_closed_form(model):
        kinds["points"] = functools.partial(points, model, known)
    kinds["distortions"] = functools.partial(distortions, model, data_dir)
    mae = model.card.metrics["test"]["all"]["energy_mae"]
    found = {name: list(make()) for name, make in kinds.items()}
    return {name: judged(model, made, mae) for name, made in found.items() if made}


def judged(model: Potential, found: Sequence[Labelled], mae: float) -> dict[str, Any]:
    """Predict structures with and without the right to refuse."""
    results = list(PredictionStream(model, [atoms for atoms, _ in found], on_error="return"))
    refused = np.asarray([isinstance(result, InputError) for result in results])
    by = [str(r).partition(": ")[2].partition(":")[0] for r in results if isinstance(r, InputError)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutOfRangeWarning)
        told = efa_zoo.predict(model, [a for a, _ in found], out_of_range="warn", on_error="return")
    errors = np.asarray(
        [
            np.inf if isinstance(p, InputError) else abs(p.energy - energy)
            for p, (_, energy) in zip(told, found, strict=True)
        ]
    )
    row: dict[str, Any] = {
        "count": len(found),
        "refused": int(refused.sum()),
        "by": {name: by.count(name) for name in sorted(set(by))},
        "median_error": float(np.median(errors)),
        "limit": 10 * mae,
    }
    for name, limit in (("wrong", WRONG), ("tenfold", 10 * mae)):
        wrong = errors > limit
        row[name] = int(wrong.sum())
        row[f"{name}_refused"] = int((wrong & refused).sum())
    missed = np.flatnonzero((errors > 10 * mae) & ~refused)
    row["missed"] = {
        f"{found[i][0].get_chemical_formula()} ({found[i][0].info['charge']:+d})": round(
            float(errors[i]), 3
        )
        for i in missed[np.argsort(errors[missed])][-10:]  # of one formula the largest stays
    }
    return row


def relaxations(model: Potential, data_dir: str | None, count: int) -> dict[str, int]:
    """Relax pairs from random starts; how many converge, and how many of these into holes."""
    test = [
        s
        for s in load_split(model.card.data.name, "test", data_dir=data_dir)
        if s.monomers[1] and s.separation < 6
    ]
    rng = np.random.default_rng(3)
    outcome = {"starts": 0, "converged": 0, "holes": 0, "stopped": 0, "bonds": 0, "late": 0}
    for i in rng.permutation(len(test))[:count]:
        s = test[i]
        atoms = Atoms(s.atomic_numbers, s.positions, info={"charge": s.total_charge})
        # The second molecule is pushed towards the first one, past where the data end.
        parts = [s.positions[s.fragment == part].mean(axis=0) for part in (0, 1)]
        away = (parts[1] - parts[0]) / np.linalg.norm(parts[1] - parts[0])
        atoms.positions[s.fragment == 1] -= rng.uniform(0, 0.5) * away
        outcome["starts"] += 1
        try:
            result = relax(model, atoms, optimizer="lbfgs", fmax=0.03, steps=150, dtype="float32")
        except (InputError, SimulationError):
            outcome["stopped"] += 1
            continue
        if result.converged:
            outcome["converged"] += 1
            numbers = result.atoms.get_atomic_numbers().astype(np.int32)
            truth = label(Geometry(numbers, result.atoms.get_positions(), s.total_charge))
            wrong = isinstance(truth, Failure) or abs(truth.energy - result.energy) > WRONG
            outcome["holes"] += int(wrong)
        else:
            outcome["bonds" if result.changed_bonds else "late"] += 1
    return outcome


def minima(model: Potential, data_dir: str | None) -> dict[str, float]:
    """Relax from minima of the labels that were held back; how far the model's own are away."""
    found: dict[str, Any] = {}
    for split in ("validation", "test"):
        for s in load_split(model.card.data.name, split, data_dir=data_dir):
            if s.kind == "relaxation" and np.abs(s.forces).max() < 0.05:
                lowest = found.setdefault(" ".join(s.monomers), s)
                found[" ".join(s.monomers)] = min(lowest, s, key=lambda s: s.energy)
    distances, energies, failed = [], [], 0
    for s in found.values():
        atoms = Atoms(s.atomic_numbers, s.positions, info={"charge": s.total_charge})
        try:
            result = relax(model, atoms, optimizer="lbfgs", fmax=0.01, steps=300, dtype="float32")
        except (InputError, SimulationError):
            failed += 1
            continue
        failed += int(not result.converged)
        minimize_rotation_and_translation(atoms, result.atoms)
        moved = np.sum((result.atoms.positions - atoms.positions) ** 2, axis=1)
        distances.append(float(np.sqrt(np.mean(moved))))
        energies.append(abs(result.energy - s.energy))
    near = [d <= 0.05 and e <= 0.005 for d, e in zip(distances, energies, strict=True)]
    return {
        "minima": len(found),
        "failed": failed,
        "near": sum(near),
        "rmsd_median": float(np.median(distances)),
        "rmsd_largest": max(distances),
        "energy_median": float(np.median(energies)),
        "energy_largest": max(energies),
    }


def costs(model: Potential, data_dir: str | None, repeats: int = 5) -> dict[str, float]:
    """Ratio of CPU seconds with calibration and bonds to those without, paired, medians."""
    assert model.card.domain is not None
    domain = dataclasses.replace(model.card.domain, environments=())
    plain = Potential(model.network, dataclasses.replace(model.card, domain=domain))
    structures = load_split(model.card.data.name, "test", data_dir=data_dir)[:512]
    inputs = [
        Atoms(s.atomic_numbers, s.positions, info={"charge": s.total_charge}) for s in structures
    ]

    def batch(chosen: Potential) -> Callable[[], object]:
        return lambda: list(PredictionStream(chosen, inputs, on_error="return"))

    atoms = ase.io.read(efa_zoo.example("water_dimer"))
    assert isinstance(atoms, Atoms)
    config = DynamicsConfig(temperature=100.0)
    molecule = check_structure(atoms, model.card, None, "error")

    def dynamics(chosen: Potential) -> Callable[[], object]:
        limits = Limits(
            max_temperature=1e5,
            max_force=1e3,
            degrees_of_freedom=3 * len(atoms),
            max_known=1e3,
            card=model.card,
            out_of_range="error",
        )
        engine = CompiledEngine(
            chosen,
            molecule,
            initial_momenta(atoms, config),
            atoms.get_masses(),
            config,
            limits,
            np.dtype("float32"),
        )

        def run() -> object:
            engine.advance(1000)
            return engine.state

        return run

    return {
        "batch": ratio(batch(model), batch(plain), repeats),
        "dynamics": ratio(dynamics(model), dynamics(plain), repeats),
    }


def ratio(first: Callable[[], object], second: Callable[[], object], repeats: int) -> float:
    """Median of the ratios of the CPU seconds of two functions, called in turn."""
    for function in (first, second):
        function()
    found = []
    for _ in range(repeats):
        seconds = []
        for function in (first, second):
            start = time.process_time()
            function()
            seconds.append(time.process_time() - start)
        found.append(seconds[0] / seconds[1])
    return float(np.median(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", help="where data sets lie")
    parser.add_argument("--only", nargs="+", help="models, default: all that are calibrated")
    parser.add_argument("--parts", nargs="+", help="what to measure, default: all")
    parser.add_argument("--starts", type=int, default=100, help="relaxations of a dimers' model")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in options.only or efa_zoo.list_models():
        model = efa_zoo.load(name)
        if model.calibration is None:
            continue
        parts: dict[str, Callable[[], object]] = {
            "strangers": functools.partial(strangers, model, options.data_dir)
        }
        if model.card.data.name.startswith("dimers"):
            parts["costs"] = functools.partial(costs, model, options.data_dir)
            parts["minima"] = functools.partial(minima, model, options.data_dir)
            parts["relaxations"] = functools.partial(
                relaxations, model, options.data_dir, options.starts
            )
        for part, measure in parts.items():
            if options.parts and part not in options.parts:
                continue
            results.setdefault(name, {})[part] = measure()
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
