"""Tensor integration against e3x's tensor product at every grid point."""

from __future__ import annotations

import itertools

import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError
from symmetry import MOTIONS, assert_close, filled, quick_jit, tensor_kernel

from efa_zoo.attention import TensorIntegration
from efa_zoo.base.contracts import CONTRACTS
from efa_zoo.base.errors import ConfigError, InputError
from efa_zoo.nn.coupling import Irreps

_GRID, _FEATURES = 5, 2
_WEIGHTS = np.linspace(0.1, 0.3, _GRID)


def _functions(
    layer: TensorIntegration, *batch: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    first, second = (
        rng.normal(size=(*batch, _GRID, irreps.parities, irreps.components, _FEATURES))
        for irreps in layer.coupling[:2]
    )
    return first, second


@pytest.mark.parametrize("trainable", [False, True])
def test_is_the_weighted_sum_of_e3x_products_for_every_parity(x64: None, trainable: bool) -> None:
    cases = []
    degrees = [
        (1, 1, 1),
        (2, 0, 2),
        (0, 2, 1),
        (2, 1, 2),
        (1, 2, 3),
        (1, 1, 0),
        (2, 2, 1),
        (3, 1, 1),
    ]
    parities = itertools.product([False, True], repeat=3)
    for (l1, l2, l3), (p1, p2, p3) in zip(degrees, parities, strict=True):
        layer = filled(
            TensorIntegration,
            Irreps(l1, p1),
            Irreps(l2, p2),
            _FEATURES,
            degree=l3,
            pseudotensors=p3,
            trainable=trainable,
        )
        weights = np.ones((len(layer.coupling.paths), _FEATURES))
        weights = weights if layer.weights is None else np.asarray(layer.weights)
        theirs = e3x.nn.Tensor(max_degree=l3, include_pseudotensors=p3)
        cases.append((layer, theirs, tensor_kernel(layer.coupling, weights)))

    @quick_jit
    def both(functions: list[tuple[jax.Array, jax.Array]]) -> list[tuple[jax.Array, jax.Array]]:
        results = []
        for (layer, theirs, kernel), (first, second) in zip(cases, functions, strict=True):
            params = {"params": {"kernel": jnp.asarray(kernel)}}
            products = theirs.apply(params, first, second)
            expected = jnp.einsum("g,gpmf->pmf", jnp.asarray(_WEIGHTS), products)
            results.append((layer(first, second, jnp.asarray(_WEIGHTS)), expected))
        return results

    for (layer, _, _), (ours, expected) in zip(
        cases, both([_functions(case[0]) for case in cases]), strict=True
    ):
        assert_close(ours, expected, 1e-13)
        assert layer.irreps == Irreps.of(ours)


def test_defaults_are_the_larger_degree_and_pseudotensors() -> None:
    layer = TensorIntegration(Irreps(1, False), Irreps(2, False), _FEATURES)
    assert layer.irreps == Irreps(2, True)
    assert layer.weights is None


def test_equivariant(x64: None) -> None:
    layer = filled(TensorIntegration, Irreps(2, False), Irreps(1, True), _FEATURES, trainable=True)
    first, second = _functions(layer)
    integrate = quick_jit(lambda first, second: layer(first, second, jnp.asarray(_WEIGHTS)))
    before = integrate(first, second)
    for motion in MOTIONS:
        after = integrate(motion.features(first), motion.features(second))
        assert_close(after, motion.features(before), 1e-12)


def test_any_leading_axes_and_numpy_inputs() -> None:
    layer = filled(TensorIntegration, Irreps(1, False), Irreps(1, False), _FEATURES, degree=1)
    first, second = (x.astype(np.float32) for x in _functions(layer, 2, 3))
    weights = _WEIGHTS.astype(np.float32)
    whole = layer(first, second, weights)
    assert whole.shape == (2, 3, 2, 4, _FEATURES)
    for i, j in itertools.product(range(2), range(3)):
        assert_close(whole[i, j], layer(first[i, j], second[i, j], weights), 1e-6)
    # One function for all atoms, as spherical harmonics are.
    shared = layer(first[:1, :1], second, weights)
    assert_close(shared[1, 2], layer(first[0, 0], second[1, 2], weights), 1e-6)


def test_dtype_and_precision_are_those_of_the_computation(x64: None) -> None:
    irreps = Irreps(1, False)
    layer = filled(
        TensorIntegration,
        irreps,
        irreps,
        _FEATURES,
        trainable=True,
        dtype=jnp.float32,
        precision="highest",
    )
    assert layer.weights is not None
    assert layer.weights.dtype == jnp.float64
    first, second = _functions(layer)
    result = layer(first, second, _WEIGHTS)
    assert result.dtype == jnp.float32
    text = str(jax.make_jaxpr(layer)(first, second, _WEIGHTS))
    assert "HIGHEST" in text
    plain = filled(TensorIntegration, irreps, irreps, _FEATURES, trainable=True)
    assert plain(first, second, _WEIGHTS).dtype == jnp.float64
    assert "HIGHEST" in str(jax.make_jaxpr(plain)(first, second, _WEIGHTS))
    rounded = filled(TensorIntegration, irreps, irreps, _FEATURES, trainable=True, precision=None)
    assert "HIGHEST" not in str(jax.make_jaxpr(rounded)(first, second, _WEIGHTS))
    half = filled(TensorIntegration, irreps, irreps, 2, trainable=True, weights_dtype=jnp.float32)
    assert half.weights is not None
    assert half.weights.dtype == jnp.float32


def test_trainable_weights_need_a_key_and_are_random() -> None:
    with pytest.raises(InputError, match="key: got None"):
        TensorIntegration(Irreps(1, False), Irreps(1, False), 2, trainable=True)
    layer = TensorIntegration(
        Irreps(1, False), Irreps(1, False), 2, trainable=True, key=jax.random.key(0)
    )
    assert layer.weights is not None
    assert layer.weights.shape == (len(layer.coupling.paths), 2)
    assert np.std(layer.weights) > 0.1


def test_wrong_inputs_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="degree: got 3, expected 0 to 2"):
        TensorIntegration(Irreps(1, False), Irreps(1, False), 2, degree=3)
    if not CONTRACTS:
        return
    layer = TensorIntegration(Irreps(1, False), Irreps(1, False), _FEATURES, degree=1)
    right, weights = jnp.zeros((_GRID, 1, 4, _FEATURES)), jnp.zeros(_GRID)
    cases = [
        ((jnp.zeros((_GRID, 1, 9, _FEATURES)), right, weights), "first"),
        ((right, jnp.zeros((_GRID, 2, 4, _FEATURES)), weights), "second"),
        ((right, jnp.zeros((_GRID, 1, 4, 3)), weights), "second"),
        ((right, jnp.zeros((4, 1, 4, _FEATURES)), weights), "second"),
        ((right, right, jnp.zeros(4)), "grid_weights"),
        ((right, right, jnp.zeros(_GRID, int)), "grid_weights"),
    ]
    for arguments, name in cases:
        for call in (layer, quick_jit(layer)):
            with pytest.raises(TypeCheckError, match=name):
                call(*arguments)
