"""Couplings: allowed paths, constants and products, against e3x's `Tensor` layer."""

from __future__ import annotations

import itertools
import math
import re

import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError
from symmetry import MOTIONS, assert_close, quick_jit, tensor_kernel

from efa_zoo.base.contracts import CONTRACTS
from efa_zoo.base.errors import ConfigError
from efa_zoo.nn.coupling import Coupling, Irreps, clebsch_gordan, repeat_degrees

_PARITIES = list(itertools.product([False, True], repeat=3))
_FEATURES = 2


def e3x_tensor(coupling: Coupling, weights: np.ndarray, x: jax.Array, y: jax.Array) -> jax.Array:
    layer = e3x.nn.Tensor(
        max_degree=coupling.output.degree, include_pseudotensors=coupling.output.pseudotensors
    )
    kernel = jnp.asarray(tensor_kernel(coupling, weights))
    return layer.apply({"params": {"kernel": kernel}}, x, y)  # type: ignore[return-value]


def _factors(coupling: Coupling, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x, y = (
        rng.normal(size=(3, irreps.parities, irreps.components, _FEATURES))
        for irreps in coupling[:2]
    )
    return x, y


def _couple(coupling: Coupling, x: jax.Array, y: jax.Array, weights: jax.Array) -> jax.Array:
    first = x.reshape(*x.shape[:-3], -1, x.shape[-1])
    product = first[..., :, None, None, :] * y[..., None, :, :, :]
    return coupling.couple(product, weights)


def test_product_is_that_of_e3x_for_every_parity(x64: None) -> None:
    rng = np.random.default_rng(0)
    degrees = [
        (0, 0, 0),
        (1, 1, 2),
        (2, 1, 3),
        (2, 2, 2),
        (1, 2, 1),
        (0, 2, 2),
        (1, 1, 0),
        (2, 1, 1),
    ]
    cases = []
    for (l1, l2, l3), (p1, p2, p3) in zip(degrees, _PARITIES, strict=True):
        coupling = Coupling.of(Irreps(l1, p1), Irreps(l2, p2), l3, p3)
        cases.append((coupling, rng.normal(size=(len(coupling.paths), _FEATURES))))
    factors = [_factors(coupling, rng) for coupling, _ in cases]

    @quick_jit
    def both(factors: list[tuple[jax.Array, jax.Array]]) -> list[tuple[jax.Array, jax.Array]]:
        return [
            (_couple(coupling, x, y, jnp.asarray(weights)), e3x_tensor(coupling, weights, x, y))
            for (coupling, weights), (x, y) in zip(cases, factors, strict=True)
        ]

    for ours, theirs in both(factors):
        assert_close(ours, theirs, 1e-13)


@pytest.mark.parametrize("parities", _PARITIES)
def test_every_product_couples_by_constants_times_weights_of_allowed_paths(
    x64: None, parities: tuple[bool, bool, bool]
) -> None:
    # By e3x's convention: parity channel, or the degree where there is one channel.
    first, second = Irreps(2, parities[0]), Irreps(3, parities[1])
    coupling = Coupling.of(first, second, 3, parities[2])
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(len(coupling.paths), _FEATURES))
    expected = np.zeros(
        (first.parities, 9, second.parities, 16, coupling.output.parities, 16, _FEATURES)
    )
    constants = clebsch_gordan(2, 3, 3, np.dtype("float64"))
    number = 0
    for p1, l1, p2, l2, p3, l3 in itertools.product(
        range(first.parities),
        range(3),
        range(second.parities),
        range(4),
        range(coupling.output.parities),
        range(4),
    ):
        signs = [
            p if irreps.pseudotensors else l % 2
            for p, l, irreps in zip((p1, p2, p3), (l1, l2, l3), coupling, strict=True)
        ]
        if sum(signs) % 2 == 0 and abs(l1 - l2) <= l3 <= l1 + l2:
            a, b, c = (slice(l * l, (l + 1) ** 2) for l in (l1, l2, l3))
            path = constants[a, b, c, None] * weights[number]
            expected[p1, a, p2, b, p3, c] = path
            number += 1
    assert number == len(coupling.paths)
    shape = (first.parities * 9, second.parities, 16)
    single = np.eye(math.prod(shape)).reshape(-1, *shape, 1) * np.ones(_FEATURES)
    coupled = quick_jit(coupling.couple)(jnp.asarray(single), jnp.asarray(weights))
    assert_close(coupled, expected.reshape(coupled.shape), 1e-15)


def test_constant_weights_are_ones(x64: None) -> None:
    rng = np.random.default_rng(1)
    coupling = Coupling.of(Irreps(2, False), Irreps(1, True), 2)
    x, y = _factors(coupling, rng)
    product = jnp.asarray(x[:, 0, :, None, None] * y[:, None])
    ones = jnp.ones((len(coupling.paths), _FEATURES))
    constant = coupling.couple(product)
    assert_close(constant, coupling.couple(product, ones), 1e-14)


def test_product_is_equivariant(x64: None) -> None:
    rng = np.random.default_rng(2)
    for first, second in [
        (Irreps(3, False), Irreps(2, True)),
        (Irreps(2, True), Irreps(3, True)),
        (Irreps(2, False), Irreps(2, False)),
    ]:
        coupling = Coupling.of(first, second, 3)
        x, y = _factors(coupling, rng)
        weights = jnp.asarray(rng.normal(size=(len(coupling.paths), _FEATURES)))
        function = quick_jit(lambda x, y, c=coupling, w=weights: _couple(c, x, y, w))
        product = function(x, y)
        for motion in MOTIONS:
            moved = function(motion.features(x), motion.features(y))
            assert_close(moved, motion.features(product), 1e-12)


def test_paths_keep_parity_and_the_triangle_rule() -> None:
    coupling = Coupling.of(Irreps(2, True), Irreps(1, False), 3)
    assert len(set(coupling.paths)) == len(coupling.paths)
    for p1, l1, _, l2, p3, l3 in coupling.paths:
        assert abs(l1 - l2) <= l3 <= l1 + l2
        assert (p1 + l2 + p3) % 2 == 0  # with one parity channel degree 1 has odd parity
    forbidden = np.prod(coupling.path_index.shape) - len(coupling.paths)
    assert np.sum(coupling.path_index == len(coupling.paths)) == forbidden


def test_defaults_of_a_coupling() -> None:
    scalar, vector, all_parities = Irreps(0, False), Irreps(1, False), Irreps(2, True)
    assert Coupling.of(vector, Irreps(2, False)).output == Irreps(2, True)
    assert Coupling.of(vector, all_parities, 1, False).output == Irreps(1, False)
    # Proper factors make no pseudotensors where one of the three is scalar.
    assert Coupling.of(scalar, vector).output == Irreps(1, False)
    assert Coupling.of(vector, vector, 0).output == Irreps(0, False)
    assert Coupling.of(vector, all_parities, 0).output == Irreps(0, True)


@pytest.mark.parametrize("degree", [-1, 4])
def test_degree_out_of_reach_is_refused(degree: int) -> None:
    with pytest.raises(ConfigError, match=f"degree: got {degree}, expected 0 to 3"):
        Coupling.of(Irreps(1, False), Irreps(2, False), degree)


def test_irreps_are_read_off_shapes() -> None:
    assert Irreps.of(jnp.zeros((5, 2, 9, 4))) == Irreps(2, True)
    assert Irreps.of(jnp.zeros((1, 1, 3))) == Irreps(0, False)
    assert Irreps(1, True).union(Irreps(3, False)) == Irreps(3, True)
    assert (Irreps(3, True).parities, Irreps(3, True).components) == (2, 16)
    for shape in [(9, 4), (3, 9, 4)]:
        with pytest.raises(ConfigError, match=re.escape(f"features: got shape {shape}")):
            Irreps.of(jnp.zeros(shape))
    with pytest.raises(ConfigError, match=r"features: got 5 components"):
        Irreps.of(jnp.zeros((1, 5, 4)))


def test_constants_may_be_read_first_inside_jit() -> None:
    clebsch_gordan.cache_clear()
    jax.jit(lambda x: x * jnp.asarray(clebsch_gordan(1, 1, 1, np.dtype("float32"))))(1.0)
    table = clebsch_gordan(1, 1, 1, np.dtype("float32"))
    assert isinstance(table, np.ndarray)
    assert table.dtype == np.float32
    assert not table.flags.writeable


def test_initial_weights_give_every_component_the_same_variance() -> None:
    coupling = Coupling.of(Irreps(2, True), Irreps(2, False), 2)
    features = 4000
    weights = np.asarray(coupling.init(features, jax.random.key(0)))
    assert weights.shape == (len(coupling.paths), features)
    for output in {path[4:] for path in coupling.paths}:
        rows = [i for i, path in enumerate(coupling.paths) if path[4:] == output]
        assert math.isclose(np.sum(weights[rows] ** 2) / features, 1, rel_tol=0.06)


def test_products_with_constants_have_the_highest_precision() -> None:
    coupling = Coupling.of(Irreps(1, False), Irreps(1, False), 1)
    text = jax.jit(coupling.couple).lower(jnp.ones((3, 4, 1, 4, _FEATURES))).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert products
    assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)


def test_repeat_degrees() -> None:
    repeated = repeat_degrees(jnp.asarray([[1, 2, 3]]), 2, axis=1)
    np.testing.assert_array_equal(repeated, [[1, 2, 2, 2, 3, 3, 3, 3, 3]])


@pytest.mark.skipif(not CONTRACTS, reason="contracts are off")
def test_wrong_products_are_refused_by_name() -> None:
    coupling = Coupling.of(Irreps(1, False), Irreps(1, False), 1)
    with pytest.raises(TypeCheckError, match="product"):
        coupling.couple(jnp.zeros((4, 1, 4)))
    with pytest.raises(TypeCheckError, match="weights"):
        coupling.couple(jnp.zeros((4, 1, 4, 2)), jnp.zeros((3,)))
    with pytest.raises(TypeCheckError, match="weights"):
        coupling.couple(jnp.zeros((4, 1, 4, 2)), jnp.zeros((3, 2)))
