"""Measure how exact the symmetries are, and store it in docs/symmetry.json.

python docs/measure_symmetry.py && python docs/update_tables.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

import efa_zoo
from efa_zoo import AttentionConfig, EnergyModel, Graph
from efa_zoo.attention import EuclideanFastAttention
from efa_zoo.models.energy import energy_and_forces
from efa_zoo.models.potential import cast
from efa_zoo.nn import Irreps

RESULTS = Path(__file__).parent / "symmetry.json"
MODEL, EXAMPLE = "mpnn_efa_dimers", "ammonium_water"

#: Transformations of each kind that are tried.
TRIES = 8

COLUMNS: tuple[str, ...] = ("", "rotation", "reflection", "translation", "permutation", "padding")

_evaluate = eqx.filter_jit(energy_and_forces)


def transformations(positions: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Names, orthogonal matrices and shifts."""
    rng = np.random.default_rng(0)
    for _ in range(TRIES):
        rotation = Rotation.from_quat(rng.normal(size=4)).as_matrix()
        yield "rotation", rotation, np.zeros(3)
        yield "reflection", -rotation, np.zeros(3)
        yield "translation", np.eye(3), rng.normal(scale=5.0, size=3)


def network_errors(network: EnergyModel, dtype: type) -> tuple[dict[str, float], dict[str, float]]:
    """Largest changes of energy (eV) and of forces (relative to the largest) by transformation."""
    import ase.io

    (atoms,) = ase.io.iread(efa_zoo.example(EXAMPLE))
    numbers, positions = atoms.numbers, atoms.positions - atoms.positions.mean(axis=0)
    size, cutoff = len(numbers) + 4, network.config.message_passing.cutoff

    def evaluate(order: Any, moved: np.ndarray, padded: int = size) -> tuple[float, np.ndarray]:
        graph = Graph.from_arrays(
            numbers[order], moved[order] - moved.mean(axis=0), cutoff,
            num_atoms=padded, num_neighbors=size, dtype=dtype,
        )  # fmt: skip
        outputs = _evaluate(network, jax.tree.map(jnp.asarray, graph))
        energies, forces = (
            np.asarray(x, np.float64) for x in (outputs.atomic_energies, outputs.forces)
        )
        return float(np.sum(energies)), forces

    everything = np.arange(len(numbers))
    energy, forces = evaluate(everything, positions)
    forces = forces[everything]  # without those of padding
    largest = np.abs(forces).max()
    of_energy, of_forces = (dict.fromkeys(COLUMNS[1:], 0.0) for _ in range(2))

    def note(kind: str, found: float, turned_back: np.ndarray) -> None:
        of_energy[kind] = max(of_energy[kind], abs(found - energy))
        error = float(np.abs(turned_back - forces).max() / largest)
        of_forces[kind] = max(of_forces[kind], error)

    for kind, matrix, shift in transformations(positions):
        found, moved = evaluate(everything, positions @ matrix.T + shift)
        note(kind, found, moved[everything] @ matrix)
    rng = np.random.default_rng(1)
    for _ in range(TRIES):
        order = rng.permutation(len(numbers))
        found, moved = evaluate(order, positions)
        note("permutation", found, moved[np.argsort(order)])
    found, moved = evaluate(everything, positions, padded=size + 8)
    note("padding", found, moved[everything])
    return of_energy, of_forces


def layer_error(evaluation: str, tolerance: float, dtype: type) -> float:
    """Largest change of attention under rotation, relative to its largest number."""
    config = AttentionConfig(evaluation=evaluation, tolerance=tolerance)  # pyright: ignore
    irreps = Irreps(0, False)
    key = jax.random.key(0)
    layer = EuclideanFastAttention(irreps, 16, config, key=key, dtype=jnp.dtype(dtype))
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20, 3))
    points *= 5.0 * rng.uniform(size=(20, 1)) ** (1 / 3) / np.linalg.norm(points, axis=1)[:, None]
    features = jnp.asarray(rng.normal(size=(20, 1, 1, 16)), dtype)
    attend = eqx.filter_jit(lambda layer, points: layer(features, points))
    expected = np.asarray(attend(layer, jnp.asarray(points, dtype)))
    errors = [
        np.abs(np.asarray(attend(layer, jnp.asarray(points @ matrix.T, dtype))) - expected).max()
        for kind, matrix, _ in transformations(points)
        if kind == "rotation"
    ]
    return float(max(errors) / np.abs(expected).max())


def measure() -> dict[str, Any]:
    """All rows of the table."""
    rows: list[list[Any]] = []
    for dtype in (np.float32, np.float64):
        name = np.dtype(dtype).name
        with jax.enable_x64(dtype is np.float64):
            potential = cast(efa_zoo.load(MODEL), dtype)
            energy, forces = network_errors(potential.network, dtype)
        rows.append([f"energy, {name} (eV)", *energy.values()])
        rows.append([f"forces, {name} (relative)", *forces.values()])
    for evaluation, tolerance in (("exact", 1e-5), *(("quadrature", 10.0**-k) for k in (3, 5, 8))):
        label = "exact form" if evaluation == "exact" else f"quadrature to {tolerance:.0e}"
        for dtype in (np.float32, np.float64):
            with jax.enable_x64(dtype is np.float64):
                error = layer_error(evaluation, tolerance, dtype)
            rows.append([f"attention, {label}, {np.dtype(dtype).name}", error, *[None] * 4])
    atoms = efa_zoo.example(EXAMPLE).stem.replace("_", " and ")
    conditions = (
        f"*Energy and forces of `{MODEL}` for {atoms}; attention for 20 points in a ball of 5 Å "
        "with the default frequencies. "
        f"jax {jax.__version__}, on a {jax.devices()[0].platform.upper()}.*"
    )
    return {"columns": COLUMNS, "rows": rows, "conditions": conditions}


if __name__ == "__main__":
    RESULTS.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
