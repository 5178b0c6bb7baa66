"""A model so small that training it costs nothing, and batches to train it on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from efa_zoo.base.config import ModelConfig
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.outputs import Outputs
from efa_zoo.structures.graph import Graph, stack
from efa_zoo.training import Batch

_CONFIG = ModelConfig(features=2, iterations=1)


class SmallModel(eqx.Module):
    """Atomic energies that depend on the element and the distance from the origin."""

    matrix: jax.Array
    bias: jax.Array
    config: ModelConfig = eqx.field(static=True)

    def __call__(self, graph: Graph) -> Outputs:
        numbers, positions = jnp.asarray(graph.atomic_numbers), jnp.asarray(graph.positions)
        squares = jnp.sum(positions**2, axis=-1)
        inputs = jnp.stack([squares, numbers.astype(squares.dtype)], axis=-1)
        energies = jnp.sum(jnp.tanh(inputs @ self.matrix[0] + self.bias), axis=-1)
        return Outputs(atomic_energies=jnp.where(graph.atom_mask, energies, 0))


def small_model(seed: int = 0) -> EnergyModel:
    """A `SmallModel`, under the type that the training loop is written for."""
    matrix = 0.3 * np.random.default_rng(seed).normal(size=(1, 2, 2))
    model = SmallModel(jnp.asarray(matrix, float), jnp.zeros(2), _CONFIG)
    return cast("EnergyModel", model)


def make_batch(seed: int, molecules: int = 2, empty: int = 1) -> Batch:
    """Random molecules of one to three atoms with random labels, and padding molecules."""
    rng = np.random.default_rng(seed)
    graphs, forces = [], np.zeros((molecules + empty, 4, 3))
    for row in range(molecules):
        atoms = int(rng.integers(1, 4))
        positions = rng.normal(size=(atoms, 3)) + 2 * np.arange(atoms)[:, None]
        graph = Graph.from_arrays(rng.integers(1, 9, atoms), positions, 4.0, dtype=float)
        graphs.append(graph.pad(4, 3))
        forces[row, :atoms] = rng.normal(size=(atoms, 3))
    graphs += [jax.tree.map(np.zeros_like, graphs[0])] * empty
    batch = Batch(
        graph=stack(graphs),
        energy=np.append(rng.normal(size=molecules), np.zeros(empty)),
        forces=forces,
        molecule_mask=np.arange(molecules + empty) < molecules,
    )

    def single(leaf: np.ndarray) -> np.ndarray:
        return leaf.astype(np.float32) if leaf.dtype == np.float64 else leaf

    return batch if jax.config.jax_enable_x64 else jax.tree.map(single, batch)


class Source:
    """A few batches in an order that depends on the epoch; may raise, as a broken disk would.

    Attributes:
        given: number of batches given out so far.
    """

    def __init__(self, batches: list[Batch], *, fails_after: int | None = None):
        self.batches, self.fails_after, self.given = batches, fails_after, 0

    def __call__(self, epoch: int) -> Iterator[Batch]:
        for index in np.random.default_rng(epoch).permutation(len(self.batches)):
            if self.given == self.fails_after:
                raise InterruptedError
            self.given += 1
            yield self.batches[index]
