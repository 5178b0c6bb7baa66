"""Networks on eight virtual devices give what they give on one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
from regression import small_model

from efa_zoo.models.inputs.batches import plan_batches
from efa_zoo.models.parallel.atoms import AtomSharded, atom_mesh, place_atoms
from efa_zoo.structures.graph import Graph

_PROGRAM = Path(__file__).parents[1] / "sharded_models.py"


def test_batches_predictions_and_large_systems_equal_those_of_one_device() -> None:
    # The programs run once, so that no optimisation pays.
    flags = "--xla_backend_optimization_level=0 --xla_force_host_platform_device_count=8"
    paths = os.pathsep.join(map(str, (_PROGRAM.parents[1], _PROGRAM.parent)))
    result = subprocess.run(
        [sys.executable, str(_PROGRAM)],
        env=os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    differences = json.loads(result.stdout)
    cases = {"finetuning", "predictions", "batch", "exact, float32", "quadrature, float64"}
    assert set(differences) == cases
    for case, quantities in differences.items():
        assert quantities
        for quantity, difference in quantities.items():
            single = 1e-5 if case == "finetuning" else 1e-6
            assert difference < (1e-12 if "float64" in case else single), (case, quantity)


def test_one_device_holds_all_atoms() -> None:
    mesh = atom_mesh(1)
    graph = Graph.from_arrays([8, 1, 1], np.eye(3), 4.0)
    placed = place_atoms(graph, mesh)
    assert placed.num_atoms == 3
    assert isinstance(placed.positions, jax.Array)
    network = small_model()
    sharded = AtomSharded(network, mesh)(placed)
    np.testing.assert_array_equal(sharded.atomic_energies, network(graph).atomic_energies)


def test_every_device_gets_an_equal_part_of_few_molecules() -> None:
    sizes = dict.fromkeys(range(16), (8, 8))
    ((shape, members),) = plan_batches(sizes, devices=8)
    assert shape.molecules == 16
    assert members == list(range(16))
    (shape, _), *_ = plan_batches(sizes)
    assert shape.molecules == 8
