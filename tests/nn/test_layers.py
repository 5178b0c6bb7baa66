"""Equivariant layers against e3x's Flax layers with the same parameters, and their symmetry."""

from __future__ import annotations

import re
from typing import Any

import e3x
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError
from symmetry import MOTIONS, assert_close, filled, quick_jit, tensor_kernel

from efa_zoo.attention import TensorIntegration
from efa_zoo.base.config import ACTIVATIONS, MessagePassingConfig
from efa_zoo.base.contracts import CONTRACTS
from efa_zoo.base.errors import ConfigError
from efa_zoo.nn import (
    MLP,
    Dense,
    Embed,
    MessagePass,
    TensorDense,
    activation,
    change_irreps,
)
from efa_zoo.nn import pairs as pairs_module
from efa_zoo.nn.coupling import Irreps
from efa_zoo.nn.pairs import PairBasis, pair_basis
from efa_zoo.structures.graph import Graph

_ATOMS = 4
_FEATURES = 3
_KEY = jax.random.key(0)
needs_contracts = pytest.mark.skipif(not CONTRACTS, reason="contracts are off")


def _features(irreps: Irreps, seed: int = 0, features: int = _FEATURES) -> jax.Array:
    shape = (_ATOMS, irreps.parities, irreps.components, features)
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def _dense_params(weight: Any, bias: Any, pseudotensors: bool) -> dict[str, Any]:
    """Parameters of e3x's dense layer, which names degrees with their parity."""
    params = {}
    for parity, weights in enumerate(np.asarray(weight)):
        for degree, kernel in enumerate(weights):
            sign = "+-"[parity if pseudotensors else degree % 2]
            params[f"{degree}{sign}"] = {"kernel": jnp.asarray(kernel)}
    if bias is not None:
        params["0+"]["bias"] = bias
    return params


def _molecule(seed: int = 0, atoms: int = _ATOMS, cutoff: float | None = 2.5) -> Graph:
    rng = np.random.default_rng(seed)
    positions = 1.5 * rng.normal(size=(atoms, 3))
    return Graph.from_arrays([1] * atoms, positions, cutoff, dtype=np.float64)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("pseudotensors", [False, True])
def test_dense_is_that_of_e3x(x64: None, pseudotensors: bool, bias: bool) -> None:
    for degree in (0, 3):
        irreps = Irreps(degree, pseudotensors)
        layer = filled(Dense, irreps, _FEATURES, 2, use_bias=bias)
        x = _features(irreps)
        params = _dense_params(layer.weight, layer.bias, pseudotensors)
        expected = quick_jit(e3x.nn.Dense(2, use_bias=bias).apply)({"params": params}, x)
        assert_close(quick_jit(layer)(x), expected, 1e-14)


@pytest.mark.parametrize("degree", [None, 1])
def test_tensor_dense_is_that_of_e3x(x64: None, degree: int | None) -> None:
    for irreps in (Irreps(2, False), Irreps(1, True)):
        layer = filled(TensorDense, irreps, _FEATURES, degree=degree, pseudotensors=degree is None)
        params = {
            "dense": _dense_params(layer.dense.weight, layer.dense.bias, irreps.pseudotensors),
            "tensor": {"kernel": tensor_kernel(layer.coupling, np.asarray(layer.weights))},
        }
        theirs = e3x.nn.TensorDense(max_degree=degree, include_pseudotensors=degree is None)
        x = _features(irreps)
        expected = quick_jit(theirs.apply)({"params": params}, x)
        assert_close(quick_jit(layer)(x), expected, 1e-13)
        assert layer.irreps == Irreps.of(expected)


@pytest.mark.parametrize(
    ("irreps", "outputs"),
    [
        (Irreps(0, False), [(None, True)]),
        (Irreps(3, False), [(None, True), (0, False)]),
        (Irreps(2, True), [(1, False), (0, False)]),
    ],
)
def test_message_pass_is_that_of_e3x_in_both_layouts(
    x64: None,
    monkeypatch: pytest.MonkeyPatch,
    irreps: Irreps,
    outputs: list[tuple[int | None, bool]],
) -> None:
    config = MessagePassingConfig(cutoff=2.5, degree=2, num_radial=4, radial_basis="sinc")
    graph = _molecule().pad(None, 3)
    dst, slot = np.nonzero(graph.neighbor_mask)
    src = np.asarray(graph.neighbors)[dst, slot]
    layers = [
        filled(
            MessagePass,
            irreps,
            _FEATURES,
            basis_degree=2,
            num_radial=4,
            degree=degree,
            pseudotensors=pseudotensors,
        )
        for degree, pseudotensors in outputs
    ]

    def theirs(layer: MessagePass, x: jax.Array, basis: jax.Array) -> Any:
        params = {
            "filter": _dense_params(np.asarray(layer.filter)[None], None, False),
            "tensor": {"kernel": tensor_kernel(layer.coupling, np.asarray(layer.weights))},
        }
        irreps = layer.coupling.output
        return e3x.nn.MessagePass(
            max_degree=irreps.degree, include_pseudotensors=irreps.pseudotensors
        ).apply({"params": params}, x, basis, dst_idx=dst, src_idx=src)

    @quick_jit
    def apply(x: jax.Array) -> Any:
        basis = e3x.nn.basis(
            jnp.asarray(graph.positions[src] - graph.positions[dst]),
            max_degree=2,
            num=4,
            radial_fn=lambda r, num: e3x.nn.sinc(r, num, limit=2.5),
            cutoff_fn=lambda r: e3x.nn.smooth_cutoff(r, cutoff=2.5),
        )
        results = [[theirs(layer, x, basis) for layer in layers]]
        for all_pairs in (True, False):
            monkeypatch.setattr(
                pairs_module, "_all_pairs_are_cheaper", lambda *_, value=all_pairs: value
            )
            pairs = pair_basis(graph, config)
            assert (pairs.neighbors is None) == all_pairs
            results.append([layer(x, pairs) for layer in layers])
        return results

    expected, all_pairs, matrix = apply(_features(irreps))
    for layer, *results in zip(layers, expected, all_pairs, matrix, strict=True):
        assert_close(results[1], results[0], 1e-13)
        assert_close(results[2], results[0], 1e-13)
        assert layer.irreps == Irreps.of(results[0])


def test_mlp_is_two_dense_layers_with_silu(x64: None) -> None:
    irreps = Irreps(2, True)
    mlp = filled(MLP, irreps, _FEATURES, zero_output=False)
    x = _features(irreps)
    both = quick_jit(lambda x: (mlp(x), mlp.second(e3x.nn.silu(mlp.first(x)))))
    assert_close(*both(x), 1e-15)


def test_embedding_knows_its_elements_and_no_other() -> None:
    embed = Embed(9, _FEATURES, key=_KEY)
    expected = e3x.nn.Embed(10, _FEATURES).apply(
        {"params": {"embedding": embed.weight[:, None, None]}}, jnp.asarray([1, 9])
    )
    np.testing.assert_array_equal(embed(jnp.asarray([1, 9])), expected)
    assert np.isnan(embed(jnp.asarray([10, 9]))[0]).all()


@pytest.mark.parametrize("reflects", [False, True])
def test_layers_are_equivariant(x64: None, reflects: bool) -> None:
    motion = MOTIONS[reflects]
    config = MessagePassingConfig(cutoff=3.0, degree=2, num_radial=3)
    for irreps in (Irreps(3, False), Irreps(2, True)):
        dense = filled(Dense, irreps, _FEATURES, 2)
        product = filled(TensorDense, irreps, _FEATURES)
        mlp = filled(MLP, irreps, _FEATURES, zero_output=False)
        passing = filled(MessagePass, irreps, _FEATURES, basis_degree=2, num_radial=3)
        graph = _molecule(cutoff=3.0)

        @quick_jit
        def apply(x: jax.Array, positions: jax.Array, layers: Any, graph: Graph = graph) -> Any:
            dense, product, mlp, passing = layers
            moved = eqx.tree_at(lambda g: g.positions, graph, positions)
            return dense(x), product(x), mlp(x), passing(x, pair_basis(moved, config))

        layers = (dense, product, mlp, passing)
        x = _features(irreps)
        results = apply(x, graph.positions, layers)
        moved = apply(motion.features(x), motion.vectors(graph.positions), layers)
        for before, after in zip(results, moved, strict=True):
            assert_close(after, motion.features(before), 1e-12)


def test_every_activation_of_e3x_is_listed_and_equivariant(x64: None) -> None:
    names = {
        name
        for name in dir(e3x.nn)
        if getattr(getattr(e3x.nn, name), "__module__", "") == "e3x.nn.activations"
    }
    assert set(ACTIVATIONS) == names | {"identity"}
    irreps = Irreps(2, True)
    x = _features(irreps)
    apply = quick_jit(lambda x: jnp.stack([activation(name)(x) for name in ACTIVATIONS]))
    results = np.asarray(apply(x))
    for motion in MOTIONS:
        assert_close(apply(motion.features(x)), motion.features(results), 1e-12)
    np.testing.assert_array_equal(results[ACTIVATIONS.index("identity")], x)
    np.testing.assert_allclose(results[ACTIVATIONS.index("mish")], e3x.nn.mish(x), rtol=1e-12)


def test_unknown_activation_is_refused() -> None:
    with pytest.raises(ConfigError, match="activation: got 'tanh', expected one of identity"):
        activation("tanh")


def test_change_irreps_cuts_and_pads() -> None:
    x = _features(Irreps(1, True))
    cut = change_irreps(x, Irreps(0, True))
    np.testing.assert_array_equal(cut, x[:, :, :1])
    padded = change_irreps(cut, Irreps(1, True))
    np.testing.assert_array_equal(padded[:, :, 1:], 0)
    assert change_irreps(x, Irreps(1, True)) is x


def test_initial_weights() -> None:
    dense = Dense(Irreps(1, True), 100, 200, key=_KEY)
    assert dense.weight.shape == (2, 2, 100, 200)
    np.testing.assert_allclose(np.var(dense.weight, axis=(2, 3)) * 100, 1, atol=0.04)
    np.testing.assert_array_equal(dense.bias, 0)
    embed = Embed(50, 400, key=_KEY)
    np.testing.assert_allclose(np.var(embed.weight) * 400, 1, atol=0.05)
    passing = MessagePass(Irreps(0, False), 400, basis_degree=1, num_radial=32, key=_KEY)
    np.testing.assert_allclose(np.var(passing.filter, axis=(1, 2)) * 32, 1, atol=0.06)


def test_weights_take_the_wanted_dtype(x64: None) -> None:
    single: dict[str, Any] = {"dtype": jnp.float32}
    layers = [
        filled(Dense, Irreps(0, False), 2, 2, **single),
        filled(TensorDense, Irreps(1, False), 2, **single),
        filled(MessagePass, Irreps(0, False), 2, basis_degree=1, num_radial=2, **single),
        filled(Embed, 2, 2, **single),
    ]
    assert {leaf.dtype for leaf in jax.tree.leaves(layers)} == {np.dtype("float32")}


def test_a_layer_by_itself_keeps_all_bits_of_its_products() -> None:
    """Accelerators round factors of float32 unless they are told not to."""
    proper, scalars = Irreps(1, False), Irreps(0, False)
    radial, angular = jnp.ones((4, 4, 2)), jnp.ones((4, 4, 4))
    pairs = PairBasis(radial, angular, None)
    options = {"basis_degree": 1, "num_radial": 2}
    of = {irreps: jnp.ones((4, 1, irreps.components, 2)) for irreps in (proper, scalars)}
    grid = jnp.ones((6, 1, 4, 2))
    cases: list[tuple[Any, tuple[Any, ...]]] = [
        *((filled(Dense, irreps, 2, 2), (x,)) for irreps, x in of.items()),
        *((filled(MLP, irreps, 2, zero_output=False), (x,)) for irreps, x in of.items()),
        (filled(TensorDense, proper, 2), (of[proper],)),
        *((filled(MessagePass, irreps, 2, **options), (x, pairs)) for irreps, x in of.items()),
        (TensorIntegration(proper, proper, 2), (grid, grid, jnp.ones(6))),
    ]
    for layer, inputs in cases:

        def scalar(layer: Any, *inputs: Any) -> Any:
            return jnp.sum(layer(*inputs))

        gradient = eqx.filter_value_and_grad(scalar)
        program = eqx.filter_jit(gradient).lower(layer, *inputs)
        products = re.findall(r"stablehlo.dot_general.*", program.as_text())
        assert products, layer
        for product in products:
            assert "precision = [HIGHEST, HIGHEST]" in product, (layer, product)


@needs_contracts
@pytest.mark.parametrize("jit", [False, True])
def test_wrong_inputs_are_refused_by_name(jit: bool) -> None:
    irreps = Irreps(1, False)
    pairs = PairBasis(jnp.zeros((4, 4, 2)), jnp.zeros((4, 4, 4)), None)
    dense = filled(Dense, irreps, 2, 2)
    passing = filled(MessagePass, irreps, 2, basis_degree=1, num_radial=2)
    product = filled(TensorDense, irreps, 2)
    embed = filled(Embed, 3, 2)
    mlp = filled(MLP, irreps, 2, zero_output=False)
    wrong_degree, wrong_parity = jnp.zeros((4, 1, 9, 2)), jnp.zeros((4, 2, 4, 2))
    wrong_rank, wrong_width = jnp.zeros((4, 2)), jnp.zeros((4, 1, 4, 3))
    integers = jnp.zeros((4, 1, 4, 2), int)
    cases: list[tuple[Any, tuple[Any, ...], str]] = [
        *(
            (layer, (x,), "features")
            for layer in (dense, product, mlp)
            for x in (wrong_degree, wrong_parity, wrong_rank, wrong_width, integers)
        ),
        *(
            (passing, (x, pairs), "features")
            for x in (wrong_degree, wrong_parity, wrong_rank, wrong_width, integers)
        ),
        (passing, (jnp.zeros((4, 1, 4, 2)), None), "pairs"),
        (embed, (jnp.zeros(3),), "atomic_numbers"),
        (embed, (jnp.zeros((3, 1), int),), "atomic_numbers"),
    ]
    for layer, arguments, name in cases:
        call = quick_jit(layer) if jit else layer
        with pytest.raises((TypeCheckError, ConfigError), match=name):
            call(*arguments)
