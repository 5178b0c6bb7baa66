"""Store what the shipped models predict, in float64, after new weights.

python tests/store_zoo_predictions.py --data-dir DIR

Models of dimers predict the shipped examples, the others the smallest test structure of their data;
the structures are stored too, so that the tests need no data.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np

import efa_zoo
from data_pipelines import load_split
from data_pipelines.structure import Structure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", help="where data sets lie")
    parser.add_argument("--only", nargs="+", help="models; default: all")
    options = parser.parse_args()
    path = Path(__file__).with_name("zoo_predictions.json")
    stored: dict[str, list[dict[str, Any]]] = json.loads(path.read_text(encoding="utf-8"))
    for name in options.only or efa_zoo.list_models():
        model = efa_zoo.load(name)
        stored[name] = []
        for entry in inputs(model.card.data.name, options.data_dir):
            found = efa_zoo.predict(model, graph(entry), dtype="float64")
            energy, forces = round(found.energy, 9), found.forces.round(9).tolist()
            stored[name].append({**entry, "energy": energy, "forces": forces})
    stored = dict(sorted(stored.items()))
    path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def inputs(data: str, data_dir: str | None) -> list[dict[str, Any]]:
    """Structures to predict, as plain numbers."""
    if data.startswith("dimers"):
        frames: list[Any] = [ase.io.read(efa_zoo.example(name)) for name in efa_zoo.list_examples()]
        return [
            {
                "atomic_numbers": atoms.get_atomic_numbers().tolist(),
                "positions": atoms.positions.tolist(),
                "total_charge": int(atoms.info["charge"]),
            }
            for atoms in frames
        ]
    structures = load_split(data, "test", data_dir=data_dir)
    smallest: Structure = min(structures, key=lambda s: len(s.atomic_numbers))
    entry = {
        "atomic_numbers": smallest.atomic_numbers.tolist(),
        "positions": smallest.positions.tolist(),
        "total_charge": smallest.total_charge,
    }
    if smallest.atomic_dipoles is not None:
        entry["atomic_dipoles"] = smallest.atomic_dipoles.tolist()
    if smallest.cell is not None:
        entry |= {"cell": smallest.cell.tolist(), "pbc": list(smallest.pbc)}
    return [entry]


def graph(entry: dict[str, Any]) -> efa_zoo.Graph:
    """The structure of a stored prediction."""
    dipoles = entry.get("atomic_dipoles")
    return efa_zoo.Graph.from_arrays(
        entry["atomic_numbers"],
        entry["positions"],
        6.0 if "cell" in entry else None,
        total_charge=entry["total_charge"],
        atomic_dipoles=None if dipoles is None else np.asarray(dipoles),
        cell=entry.get("cell"),
        pbc=entry.get("pbc"),
        dtype=np.float64,
    )


if __name__ == "__main__":
    main()
