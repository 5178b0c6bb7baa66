"""Radial and angular functions of pairs against e3x, and the two layouts of pairs."""

from __future__ import annotations

import inspect

import e3x
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError
from symmetry import assert_close, filled, quick_jit

from efa_zoo.base.config import CUTOFF_FUNCTIONS, RADIAL_BASES, MessagePassingConfig
from efa_zoo.base.contracts import CONTRACTS
from efa_zoo.nn import MessagePass
from efa_zoo.nn import pairs as pairs_module
from efa_zoo.nn.coupling import Irreps
from efa_zoo.nn.pairs import PairBasis, pair_basis
from efa_zoo.structures.graph import Graph

_CUTOFF = 3.0

#: All radial functions, less those that are more accurate here than in e3x.
_OF_E3X = [
    name for name in RADIAL_BASES if name.startswith("e3x_") or f"e3x_{name}" not in RADIAL_BASES
]


@pytest.fixture(params=[True, False], ids=["all_pairs", "neighbor_matrix"])
def layout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(pairs_module, "_all_pairs_are_cheaper", lambda *_: request.param)
    return request.param


def _molecule(atoms: int = 4, seed: int = 0) -> Graph:
    positions = 1.2 * np.random.default_rng(seed).normal(size=(atoms, 3))
    return Graph.from_arrays([1] * atoms, positions, _CUTOFF, dtype=np.float64)


def _by_pair(pairs: PairBasis, graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    """Radial and angular functions of every true pair, in the order of the neighbour matrix."""
    atom, slot = np.nonzero(graph.neighbor_mask)
    if pairs.neighbors is None:
        slot = np.asarray(graph.neighbors)[atom, slot]
    return np.asarray(pairs.radial)[atom, slot], np.asarray(pairs.angular)[atom, :, slot]


def test_functions_are_those_of_e3x(x64: None) -> None:
    graph = _molecule().pad(6, 5)
    atom, slot = np.nonzero(graph.neighbor_mask)
    vectors = graph.positions[np.asarray(graph.neighbors)[atom, slot]] - graph.positions[atom]
    configs = [
        MessagePassingConfig(
            cutoff=_CUTOFF,
            degree=1,
            num_radial=3,
            radial_basis=basis,
            radial_scale=scale,
            cutoff_function=CUTOFF_FUNCTIONS[i % 3],
        )
        for i, basis in enumerate(_OF_E3X)
        for scale in ([None] if "reciprocal" in basis else [None, 0.7])
    ]

    def theirs(vectors: jax.Array, config: MessagePassingConfig) -> jax.Array:
        name, options = config.radial_basis.removeprefix("e3x_"), {}
        if "exponential" in name:
            options = {"gamma": config.radial_scale or 1.0}
        elif "reciprocal" not in name:
            options = {"limit": config.radial_scale or _CUTOFF}
        cutoff = None
        if config.cutoff_function != "none":
            cutoff = lambda r: getattr(e3x.nn, config.cutoff_function)(r, cutoff=_CUTOFF)  # noqa: E731
        return e3x.nn.basis(
            vectors,
            max_degree=1,
            num=3,
            radial_fn=lambda r, num: getattr(e3x.nn, name)(r, num, **options),
            cutoff_fn=cutoff,
        )

    ours = quick_jit(lambda g: [pair_basis(g, config) for config in configs])(graph)
    expected = quick_jit(lambda v: [theirs(v, config) for config in configs])(vectors)
    for config, pairs, basis in zip(configs, ours, expected, strict=True):
        radial, angular = _by_pair(pairs, graph)
        product = angular[:, None, :, None] * radial[:, None, None, :]
        assert_close(product, basis, 1e-12)
        assert np.all(np.isfinite(pairs.radial)), config
    values = [np.asarray(pairs.radial).tobytes() for pairs in ours]
    assert len(set(values)) == len(values)


def test_every_radial_basis_and_cutoff_of_e3x_is_listed() -> None:
    names = {
        name
        for name, function in inspect.getmembers(e3x.nn, inspect.isfunction)
        if "num" in inspect.signature(function).parameters and name != "basis"
    }
    assert {name.removeprefix("e3x_") for name in RADIAL_BASES} == names
    assert {f"e3x_{name}" for name in names if "bernstein" in name} < set(RADIAL_BASES)
    cutoffs = {name for name in dir(e3x.nn) if name.endswith("_cutoff")}
    assert set(CUTOFF_FUNCTIONS) == cutoffs | {"none"}


def test_one_radial_function_is_finite() -> None:
    graph = _molecule(3)
    configs = [
        MessagePassingConfig(cutoff=_CUTOFF, degree=0, num_radial=1, radial_basis=basis)
        for basis in RADIAL_BASES
    ]
    pairs = quick_jit(lambda g: [pair_basis(g, config) for config in configs])(graph)
    for basis, pair in zip(RADIAL_BASES, pairs, strict=True):
        assert np.all(np.isfinite(pair.radial)), basis


def test_padding_pairs_vanish(layout: bool) -> None:
    graph = _molecule().pad(5, 6)
    config = MessagePassingConfig(cutoff=_CUTOFF, degree=1, num_radial=2)
    pairs = quick_jit(lambda g: pair_basis(g, config))(graph)
    assert (pairs.neighbors is None) == layout
    true_pairs = int(np.sum(graph.neighbor_mask))
    assert np.sum(np.any(np.asarray(pairs.radial) != 0, axis=-1)) == true_pairs
    assert np.all(np.isfinite(pairs.angular))


def test_layouts_give_the_same_messages_and_gradients(
    x64: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With repeated padding and neighbours in any order.
    graph = _molecule(5, seed=2).pad(7, 6)
    order = np.random.default_rng(0).permutation(6)
    graph = eqx.tree_at(
        lambda g: (g.neighbors, g.neighbor_mask),
        graph,
        (graph.neighbors[:, order], graph.neighbor_mask[:, order]),
    )
    config = MessagePassingConfig(cutoff=_CUTOFF, degree=1, num_radial=3)
    irreps = Irreps(1, True)
    layer = filled(MessagePass, irreps, 2, basis_degree=1, num_radial=3)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(7, 2, 4, 2)))

    def energy(positions: jax.Array, x: jax.Array, layer: MessagePass) -> jax.Array:
        moved = eqx.tree_at(lambda g: g.positions, graph, positions)
        return jnp.sum(jnp.sin(layer(x, pair_basis(moved, config))))

    results = []
    for dense in (True, False):
        monkeypatch.setattr(pairs_module, "_all_pairs_are_cheaper", lambda *_, d=dense: d)
        function = quick_jit(jax.value_and_grad(energy, argnums=(0, 1, 2)))
        results.append(jax.tree.leaves(function(graph.positions, x, layer)))
    for all_pairs, matrix in zip(*results, strict=True):
        assert_close(all_pairs, matrix, 1e-12)


@pytest.mark.skipif(not CONTRACTS, reason="contracts are off")
def test_a_batch_is_refused() -> None:
    config = MessagePassingConfig(cutoff=_CUTOFF)
    with pytest.raises(TypeCheckError, match="graph"):
        pair_basis(jnp.zeros(3), config)  # type: ignore[arg-type]
