"""Store what the shipped models predict for the shipped examples, after new weights.

python tests/store_zoo_predictions.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ase.io

import efa_zoo


def main() -> None:
    stored: dict[str, Any] = {}
    for name in efa_zoo.list_models():
        model, stored[name] = efa_zoo.load(name), {}
        for example in efa_zoo.list_examples():
            atoms: Any = ase.io.read(efa_zoo.example(example))
            found = efa_zoo.predict(model, atoms, dtype="float64")
            stored[name][example] = {
                "energy": round(found.energy, 9),
                "forces": found.forces.round(9).tolist(),
            }
    path = Path(__file__).with_name("zoo_predictions.json")
    path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
