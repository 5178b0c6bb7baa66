"""Energy and forces of any model of atomic energies."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError
from symmetry import assert_close

from efa_zoo.base.config import ModelConfig
from efa_zoo.base.contracts import CONTRACTS
from efa_zoo.models.energy import (
    batch_energy_and_forces,
    energy,
    energy_and_forces,
    molecules_at_once,
)
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.outputs import Outputs
from efa_zoo.structures.graph import Graph, stack


def _springs(graph: Graph) -> Outputs:
    """Atoms on springs to the origin, stiffer for heavier ones."""
    stiffness = jnp.asarray(graph.atomic_numbers).astype(jnp.asarray(graph.positions).dtype)
    squared = jnp.sum(jnp.asarray(graph.positions) ** 2, axis=-1)
    return Outputs(atomic_energies=0.5 * stiffness * squared)


def _molecule() -> Graph:
    positions = [[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]
    return Graph.from_arrays([2, 3], positions, None, num_atoms=3, dtype=np.float64)


def test_forces_are_the_negative_gradient(x64: None) -> None:
    graph = _molecule()
    outputs = energy_and_forces(_springs, graph)
    np.testing.assert_allclose(outputs.atomic_energies, [1, 6, 0])
    np.testing.assert_allclose(outputs.energy, 7)
    np.testing.assert_allclose(outputs.forces, [[-2, 0, 0], [0, -6, 0], [0, 0, 0]])
    np.testing.assert_allclose(energy(_springs, graph), 7)


def test_a_batch_is_vmapped(x64: None) -> None:
    graph = _molecule()
    moved = eqx.tree_at(lambda g: g.positions, graph, 2 * graph.positions)
    batch = stack([graph, moved])
    outputs = jax.jit(jax.vmap(lambda g: energy_and_forces(_springs, g)))(batch)
    for row, single in enumerate((graph, moved)):
        alone = energy_and_forces(_springs, single)
        assert_close(outputs.atomic_energies[row], alone.atomic_energies, 1e-15)
        assert_close(outputs.forces[row], alone.forces, 1e-15)


@pytest.mark.skipif(not CONTRACTS, reason="contracts are off")
@pytest.mark.parametrize("function", [energy, energy_and_forces])
@pytest.mark.parametrize("jit", [False, True])
def test_wrong_arguments_are_refused_by_name(function: object, jit: bool) -> None:
    graph = _molecule()
    cases = [
        (stack([graph, graph]), "atomic_numbers"),
        (eqx.tree_at(lambda g: g.positions, graph, np.zeros((3, 2))), "positions"),
        (eqx.tree_at(lambda g: g.positions, graph, np.zeros((3, 3), int)), "positions"),
        (3.0, "graph"),
    ]
    for wrong, name in cases:
        call = lambda g: function(_springs, g)  # type: ignore[operator]  # noqa: E731
        with pytest.raises(TypeCheckError, match=name):
            (jax.jit(call) if jit else call)(wrong)
    with pytest.raises(TypeCheckError, match="model"):
        function(3, graph)  # type: ignore[operator]
    with pytest.raises(TypeCheckError):
        function(lambda g: Outputs(atomic_energies=g.positions), graph)  # type: ignore[operator]


def test_a_batch_that_is_cut_gives_what_vmap_gives(x64: None) -> None:
    config = ModelConfig(features=4, iterations=1, highest_atomic_number=8)
    model = EnergyModel(config, key=jax.random.key(0))
    rng = np.random.default_rng(0)
    graphs = stack(
        [
            Graph.from_arrays(
                rng.integers(1, 9, atoms),
                2 * rng.permutation(27)[:atoms, None] // [9, 3, 1] % 3 + rng.random((atoms, 3)),
                5.0,
                num_atoms=8,
                dtype=np.float64,
            )
            for atoms in rng.integers(2, 9, 19)
        ]
    )
    assert molecules_at_once(graphs) < 19
    cut = batch_energy_and_forces(model, graphs)
    whole = jax.vmap(lambda graph: energy_and_forces(model, graph))(graphs)
    for a, b in zip(jax.tree.leaves(cut), jax.tree.leaves(whole), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
