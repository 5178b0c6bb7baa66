"""The attention layer: every option, its symmetry, its evaluations, and what it refuses."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from typing import Any

import e3x
import equinox as eqx
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from sphere import Inputs, attention_along, harmonics, sphere_rule
from symmetry import MOTIONS, assert_close, filled, quick_jit, tensor_kernel

from efa_zoo.attention import EuclideanFastAttention, check_frequencies
from efa_zoo.attention import module as attention_module
from efa_zoo.attention.cost import AttentionCost
from efa_zoo.attention.grids import grid_for, max_phase
from efa_zoo.attention.rotary import linear_frequencies
from efa_zoo.base.config import (
    ACTIVATIONS,
    AttentionConfig,
    Coulomb,
    FrequencyConfig,
    IntegrationConfig,
    Waves,
    WindowedWaves,
)
from efa_zoo.base.contracts import CONTRACTS
from efa_zoo.base.errors import ConfigError
from efa_zoo.nn.coupling import Irreps

_ATOMS, _FEATURES = 3, 4
_FREQUENCIES = FrequencyConfig(max_frequency=3.0, max_length=4.0)
_EXACT = AttentionConfig(kernel=Waves(frequencies=_FREQUENCIES), evaluation="exact")


def _layer(irreps: Irreps, config: AttentionConfig, **options: Any) -> EuclideanFastAttention:
    """A layer with random weights, and the frequencies that it starts with."""
    layer = filled(EuclideanFastAttention, irreps, _FEATURES, config, **options)
    if layer.frequencies is None:
        return layer
    assert isinstance(config.kernel, Waves)
    values = linear_frequencies(len(layer.frequencies), config.kernel.frequencies)
    return _with_frequencies(layer, values)


def _with_frequencies(layer: EuclideanFastAttention, values: Any) -> EuclideanFastAttention:
    assert layer.frequencies is not None
    dtype = layer.frequencies.dtype
    return eqx.tree_at(lambda l: l.frequencies, layer, jnp.asarray(values, dtype))


def _inputs(irreps: Irreps, atoms: int = _ATOMS) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = (atoms, irreps.parities, irreps.components, _FEATURES)
    return rng.normal(size=shape), rng.normal(size=(atoms, 3))


def _independent(
    layer: EuclideanFastAttention, features: np.ndarray, positions: np.ndarray, points: int = 20
) -> np.ndarray:
    """The layer by its definition, integrated by a dense product rule."""

    def project(dense: Any) -> np.ndarray:
        return features if dense is None else np.asarray(dense(jnp.asarray(features)))

    def restrict(x: Any, irreps: Irreps) -> np.ndarray:
        return np.asarray(
            e3x.nn.change_max_degree_or_type(
                jnp.asarray(x),
                max_degree=irreps.degree,
                include_pseudotensors=irreps.pseudotensors,
            )
        )

    name = layer.config.activation
    gate = (lambda x: x) if name == "identity" else getattr(e3x.nn, name)
    query, key = (
        restrict(gate(jnp.asarray(project(dense))), layer.query_key_irreps)
        for dense in (layer.query, layer.key)
    )
    value = restrict(project(layer.value), layer.value_irreps)
    atoms = len(features)
    number = query.shape[-1] // 2
    # max_frequency / max_length of these tests, also where the frequencies are trainable.
    frequencies = np.linspace(0, 0.75, number) if number > 1 else np.array([0.75])
    inputs = Inputs(
        query.reshape(atoms, -1, number, 2),
        key.reshape(atoms, -1, number, 2),
        value.reshape(atoms, -1),
        positions,
        frequencies,
    )
    directions, weights = sphere_rule(points)
    along = attention_along(inputs, directions)
    if layer.integration is None:
        return np.einsum("g,igv->iv", weights, along).reshape(value.shape)
    degree = layer.spherical_degree
    options = layer.config.integration
    assert options is not None
    harmonic = harmonics(points, degree)
    if options.degree_constants is not None:
        harmonic = harmonic * np.repeat(options.degree_constants, 2 * np.arange(degree + 1) + 1)
    # The tensor product is linear, so the product with each harmonic is integrated before it.
    integrated = np.einsum("g,ga,igv->iav", weights, harmonic, along)
    integrated = integrated.reshape(*integrated.shape[:2], *value.shape[1:])
    coupling = layer.integration.coupling
    paths = np.ones((len(coupling.paths), value.shape[-1]))
    if layer.integration.weights is not None:
        paths = np.asarray(layer.integration.weights)
    tensor = e3x.nn.Tensor(
        max_degree=coupling.output.degree, include_pseudotensors=coupling.output.pseudotensors
    )
    kernel = {"params": {"kernel": jnp.asarray(tensor_kernel(coupling, paths))}}

    rows = np.eye((degree + 1) ** 2)[:, None, None, :, None] * np.ones(value.shape[-1])
    products = quick_jit(tensor.apply)(kernel, rows, np.moveaxis(integrated, 1, 0))
    return np.sum(products, axis=0)


_OPTIONS: dict[str, tuple[Irreps, dict[str, Any]]] = {
    "plain": (Irreps(1, False), {}),
    "features": (Irreps(1, True), {"query_key_features": 2, "value_features": 3}),
    "degrees": (Irreps(2, True), {"query_key_degree": 1, "value_degree": 0}),
    "drop_pseudotensors": (
        Irreps(1, True),
        {"query_key_pseudotensors": False, "value_pseudotensors": False},
    ),
    "keep_pseudotensors": (
        Irreps(1, False),
        {"query_key_pseudotensors": True, "value_pseudotensors": True},
    ),
    "no_projections": (Irreps(1, True), {"project": False, "query_key_pseudotensors": False}),
    "activation": (Irreps(1, True), {"activation": "silu"}),
    "trainable_frequencies": (
        Irreps(1, False),
        {"kernel": Waves(frequencies=dataclasses.replace(_FREQUENCIES, trainable=True))},
    ),
    "integration": (Irreps(1, False), {"integration": IntegrationConfig()}),
    "integration_options": (
        Irreps(1, True),
        {
            "value_degree": 0,
            "integration": IntegrationConfig(
                spherical_degree=2,
                degree=2,
                pseudotensors=False,
                trainable=True,
                degree_constants=(1.0, 0.5, -2.0),
            ),
        },
    ),
}


@pytest.mark.parametrize("name", _OPTIONS)
def test_options_by_definition_and_in_both_evaluations(x64: None, name: str) -> None:
    irreps, options = _OPTIONS[name]
    config = AttentionConfig(**({"kernel": Waves(frequencies=_FREQUENCIES)} | options))
    features, positions = _inputs(irreps)
    expected = _independent(_layer(irreps, config), features, positions)
    for evaluation, tolerance in (("exact", 1e-12), ("quadrature", 1e-7)):
        layer = _layer(irreps, dataclasses.replace(config, evaluation=evaluation, tolerance=1e-8))
        result = quick_jit(layer)(features, positions)
        assert_close(result, expected, tolerance)
        assert layer.irreps == Irreps.of(result)


def _configs() -> st.SearchStrategy[tuple[Irreps, AttentionConfig]]:
    @st.composite
    def draw_config(draw: st.DrawFn) -> tuple[Irreps, AttentionConfig]:
        irreps = Irreps(draw(st.integers(0, 2)), draw(st.booleans()))
        project = draw(st.booleans())
        parities = st.sampled_from([None, True, False])
        degree = st.none() | st.integers(0, irreps.degree)
        value_degree = draw(degree)
        integration = None
        if draw(st.booleans()):
            spherical = draw(st.integers(0, 2))
            top = spherical + (irreps.degree if value_degree is None else value_degree)
            integration = IntegrationConfig(
                spherical_degree=spherical,
                degree=draw(st.integers(0, min(2, top))),
                pseudotensors=draw(parities),
                trainable=draw(st.booleans()),
                degree_constants=draw(st.none() | st.just((1.0, 0.5, 2.0)[: spherical + 1])),
            )
        return irreps, AttentionConfig(
            query_key_features=draw(st.sampled_from([None, 2])) if project else None,
            value_features=draw(st.sampled_from([None, 3])) if project else None,
            query_key_degree=draw(degree),
            value_degree=value_degree,
            query_key_pseudotensors=draw(parities),
            value_pseudotensors=draw(parities),
            project=project,
            activation=draw(st.sampled_from(ACTIVATIONS)),
            kernel=Waves(
                frequencies=dataclasses.replace(_FREQUENCIES, trainable=draw(st.booleans()))
            ),
            integration=integration,
            evaluation="exact",
        )

    return draw_config()


@hypothesis.settings(max_examples=6, derandomize=True, deadline=None, database=None)
@hypothesis.given(_configs())
def test_any_layer_is_equivariant_and_ignores_padding(case: tuple[Irreps, AttentionConfig]) -> None:
    irreps, config = case
    with jax.enable_x64(True):
        layer = _layer(irreps, config)
        features, positions = _inputs(irreps)
        padded = np.concatenate([features, np.ones_like(features[:1])])
        placed = np.concatenate([positions, np.zeros((1, 3))])
        mask = jnp.asarray([True] * _ATOMS + [False])
        order = np.array([2, 0, 1, 3])
        # All variants in one batch are compiled once.
        batch = [
            (padded, placed),
            *((motion.features(padded), motion.vectors(placed)) for motion in MOTIONS),
            (padded, placed + np.array([3.0, 2.0, -1.0])),
            (padded[order], placed[order]),
            (np.concatenate([features, 100 * features[:1]]), placed + 9 * np.eye(4, 3, -3)),
        ]
        assert not np.array_equal(batch[-1][1], placed)
        attend = quick_jit(jax.vmap(lambda x, r: layer(x, r, mask)))
        x, r = (np.stack(arrays) for arrays in zip(*batch, strict=True))
        results = np.asarray(attend(x, r))[:, :_ATOMS]
        for motion, moved in zip(MOTIONS, results[1:3], strict=True):
            assert_close(moved, motion.features(results[0]), 1e-12)
        assert_close(results[3], results[0], 1e-12)
        assert_close(results[4], results[0][order[:_ATOMS]], 1e-12)
        np.testing.assert_array_equal(results[5], results[0])


@functools.cache
def _with_fixed_weights(config: AttentionConfig) -> np.ndarray:
    """Result of a layer whose parameters depend on their shapes only."""
    irreps = Irreps(1, True)
    features, positions = _inputs(irreps)
    layer = jax.tree.map(
        lambda leaf: jnp.cos(jnp.arange(1.0, leaf.size + 1)).reshape(leaf.shape),
        filled(EuclideanFastAttention, irreps, _FEATURES, config),
    )
    return np.asarray(quick_jit(layer)(features, positions))


def _changed(option: dict[str, Any], base: AttentionConfig = _EXACT) -> bool:
    """Whether options change the shape or the values of the result."""
    before, after = map(_with_fixed_weights, (base, dataclasses.replace(base, **option)))
    return before.shape != after.shape or not np.allclose(before, after, rtol=1e-9)


@pytest.mark.parametrize(
    "option",
    [
        {"query_key_features": 2},
        {"value_features": 2},
        {"query_key_degree": 0},
        {"value_degree": 0},
        {"query_key_pseudotensors": False},
        {"value_pseudotensors": False},
        {"project": False},
        {"activation": "gelu"},
        {"kernel": Waves(frequencies=dataclasses.replace(_FREQUENCIES, max_frequency=2.0))},
        {"kernel": WindowedWaves(frequencies=_FREQUENCIES)},
        {"kernel": Coulomb()},
        {"kernel": Waves(frequencies=dataclasses.replace(_FREQUENCIES, max_length=2.0))},
        {"kernel": Waves(frequencies=dataclasses.replace(_FREQUENCIES, trainable=True))},
        {"integration": IntegrationConfig()},
        {"evaluation": "quadrature", "grid": 6, "tolerance": math.inf},
    ],
    ids=str,
)
def test_every_option_has_an_effect(x64: None, option: dict[str, Any]) -> None:
    assert _changed(option)


@pytest.mark.parametrize(
    "option",
    [
        {"spherical_degree": 2},
        {"degree": 0},
        {"pseudotensors": False},
        {"trainable": True},
        {"degree_constants": (2.0, 1.0)},
    ],
    ids=str,
)
def test_every_option_of_the_integration_has_an_effect(x64: None, option: dict[str, Any]) -> None:
    base = dataclasses.replace(_EXACT, integration=IntegrationConfig())
    assert _changed({"integration": IntegrationConfig(**option)}, base)


def test_a_users_frequency_function(x64: None) -> None:
    irreps = Irreps(0, False)

    def quadratic(number: int, config: FrequencyConfig) -> np.ndarray:
        return (np.arange(number) / number) ** 2 * config.max_frequency / config.max_length

    features, positions = _inputs(irreps)
    for trainable in (False, True):
        config = dataclasses.replace(
            _EXACT,
            project=False,
            kernel=Waves(frequencies=dataclasses.replace(_FREQUENCIES, trainable=trainable)),
        )
        key = jax.random.key(0)
        layer = EuclideanFastAttention(
            irreps, _FEATURES, config, frequency_function=quadratic, key=key
        )
        np.testing.assert_allclose(layer.current_frequencies(), [0, 0.75 / 4])
        assert (layer.frequencies is not None) == trainable
        usual = EuclideanFastAttention(irreps, _FEATURES, config, key=key)
        results = [quick_jit(x)(features, positions) for x in (layer, usual)]
        assert not np.allclose(*results)
    # A function of JAX is evaluated at once, also where shapes only are wanted.
    shapes = filled(
        EuclideanFastAttention,
        irreps,
        _FEATURES,
        _EXACT,
        frequency_function=lambda number, _: jnp.zeros(number),
    )
    np.testing.assert_array_equal(shapes.current_frequencies(), 0)


def test_a_frequency_function_that_does_not_fit_is_refused() -> None:
    make = functools.partial(filled, EuclideanFastAttention, Irreps(0, False), _FEATURES)
    with pytest.raises(ConfigError, match=r"frequency_function: got shape \(3,\), expected \(2,\)"):
        make(_EXACT, frequency_function=lambda *_: np.zeros(3))
    with pytest.raises(ConfigError, match=r"frequency_function: .* expected finite numbers"):
        make(_EXACT, frequency_function=lambda *_: np.array([0, np.nan]))
    high = functools.partial(make, frequency_function=lambda *_: np.array([0.0, 0.8]))
    with pytest.raises(ConfigError, match=r"frequency of 0\.8 1/Å, .* max_length = 0\.75"):
        high(dataclasses.replace(_EXACT, evaluation="auto"))
    high(_EXACT)  # no grid, no limit


def test_trainable_frequencies_get_gradients(x64: None) -> None:
    irreps = Irreps(0, False)
    config = dataclasses.replace(
        _EXACT, kernel=Waves(frequencies=dataclasses.replace(_FREQUENCIES, trainable=True))
    )
    layer = _layer(irreps, config)
    features, positions = map(jnp.asarray, _inputs(irreps))
    gradient = quick_jit(jax.grad(lambda layer: jnp.sum(layer(features, positions))))(layer)
    assert np.all(np.isfinite(gradient.frequencies))
    assert np.any(gradient.frequencies != 0)


def test_an_evaluation_can_be_chosen_whatever_the_padding(x64: None) -> None:
    """What decides by the number of atoms would change with padding."""
    irreps = Irreps(0, False)
    config = AttentionConfig(kernel=Waves(frequencies=_FREQUENCIES), evaluation="auto", grid=50)
    layer = _layer(irreps, config)
    features, positions = map(jnp.asarray, _inputs(irreps))
    assert layer.evaluation_for(len(positions)) == "exact"

    @quick_jit
    def attend(features: Any, positions: Any, mask: Any) -> list[Any]:
        choices = ("exact", "quadrature", None)
        return [layer(features, positions, mask, evaluation=name) for name in choices]

    exact, quadrature, usual = attend(features, positions, jnp.ones(len(positions), bool))
    np.testing.assert_array_equal(usual, exact)
    assert 1e-12 < np.abs(quadrature - exact).max() < 1e-4 * np.abs(exact).max()


def test_evaluation_follows_the_static_number_of_atoms(monkeypatch: pytest.MonkeyPatch) -> None:
    irreps = Irreps(0, False)
    config = AttentionConfig(kernel=Waves(frequencies=_FREQUENCIES), evaluation="auto")
    layer = _layer(irreps, config)
    assert layer.evaluation_for(2) == "exact"
    assert layer.evaluation_for(100_000) == "quadrature"
    monkeypatch.setattr(AttentionCost, "exact_up_to", 2)
    used = []
    for name in ("attend_exact", "attend_quadrature"):
        function = getattr(attention_module, name)

        def spy(*arguments: Any, name: str = name, function: Any = function) -> Any:
            used.append(name)
            return function(*arguments)

        monkeypatch.setattr(attention_module, name, spy)
    for atoms in (2, 3):
        jax.eval_shape(layer, *(jnp.asarray(x, jnp.float32) for x in _inputs(irreps, atoms)))
    for evaluation in ("exact", "quadrature"):
        forced = _layer(irreps, dataclasses.replace(config, evaluation=evaluation))
        jax.eval_shape(forced, *(jnp.asarray(x, jnp.float32) for x in _inputs(irreps)))
    assert used == ["attend_exact", "attend_quadrature", "attend_exact", "attend_quadrature"]


def test_the_grid_is_the_smallest_within_the_tolerance() -> None:
    for tolerance in (1e-3, 1e-8):
        config = AttentionConfig(
            kernel=Waves(frequencies=_FREQUENCIES),
            integration=IntegrationConfig(spherical_degree=2),
            tolerance=tolerance,
        )
        directions, weights = _layer(Irreps(1, False), config).grid()
        assert len(directions) == len(weights) == grid_for(3.0, 4.0, tolerance, 2)
    given = AttentionConfig(kernel=Waves(frequencies=_FREQUENCIES), grid=302)
    assert len(_layer(Irreps(0, False), given).grid()[0]) == 302


def test_a_grid_that_does_not_resolve_is_refused_by_the_smallest_that_does() -> None:
    frequencies = FrequencyConfig(max_frequency=4 * math.pi, max_length=10.0)
    with pytest.raises(ConfigError, match=r"grid is 50, .* expected a grid of at least 194 points"):
        _layer(Irreps(0, False), AttentionConfig(kernel=Waves(frequencies=frequencies), grid=50))
    # The tensor integration needs more.
    needed = grid_for(4 * math.pi, 10.0, 1e-5, 4)
    config = AttentionConfig(
        kernel=Waves(frequencies=frequencies),
        grid=194,
        integration=IntegrationConfig(spherical_degree=4),
    )
    with pytest.raises(ConfigError, match=f"grid is 194, .* at least {needed} points"):
        _layer(Irreps(0, False), config)
    _layer(Irreps(0, False), AttentionConfig(kernel=Waves(frequencies=frequencies), grid=194))
    # Taken as it is.
    _layer(
        Irreps(0, False),
        AttentionConfig(kernel=Waves(frequencies=frequencies), grid=50, tolerance=math.inf),
    )
    too_high = FrequencyConfig(max_frequency=1000.0, max_length=10.0)
    with pytest.raises(ConfigError, match=r"phase is 1000 .* no Lebedev rule resolves more"):
        _layer(
            Irreps(0, False),
            AttentionConfig(kernel=Waves(frequencies=too_high), evaluation="quadrature"),
        )


def test_trained_frequencies_are_compared_with_the_grid() -> None:
    frequencies = dataclasses.replace(_FREQUENCIES, trainable=True)
    config = AttentionConfig(kernel=Waves(frequencies=frequencies), grid=50)
    layer = _layer(Irreps(0, False), config)

    def with_frequencies(*values: float) -> EuclideanFastAttention:
        return _with_frequencies(layer, values)

    (fine,) = check_frequencies({"a": [with_frequencies(0.1, -0.9)]})
    assert fine.resolved
    assert fine.layer == "a.0"
    assert math.isclose(fine.frequency, 0.9, rel_tol=1e-6)
    assert math.isclose(fine.phase, 3.6, rel_tol=1e-6)
    assert (fine.grid, fine.limit, fine.sufficient_grid) == (50, max_phase(50), 50)
    (coarse,) = check_frequencies(with_frequencies(0.1, -1.8))
    assert not coarse.resolved
    assert coarse.sufficient_grid == grid_for(7.2, 4.0)
    assert str(coarse) == (
        "attention: phases reach 7.2, more than the 4.002 that the grid of 50 points resolves; "
        f"a grid of {coarse.sufficient_grid} points does"
    )
    (farther,) = check_frequencies(with_frequencies(0.1, -0.9), distance=5.0)
    assert not farther.resolved
    (stricter,) = check_frequencies(with_frequencies(0.1, -0.9), tolerance=1e-8)
    assert not stricter.resolved
    (hopeless,) = check_frequencies(with_frequencies(0.1, 1e3))
    assert hopeless.sufficient_grid is None
    assert str(hopeless).endswith("no Lebedev rule does; use exact evaluation")
    exact = _layer(
        Irreps(0, False), dataclasses.replace(_EXACT, kernel=Waves(frequencies=frequencies))
    )
    assert check_frequencies([exact, None, 1.0]) == []
    with pytest.raises(ConfigError, match=r"distance: got 0\.0 Å"):
        check_frequencies(layer, distance=0.0)


def test_frequencies_at_the_limit_of_the_grid_are_resolved() -> None:
    frequencies = FrequencyConfig(max_frequency=max_phase(50), max_length=7.0, trainable=True)
    for grid in (None, 50):
        config = AttentionConfig(kernel=Waves(frequencies=frequencies), grid=grid)
        (report,) = check_frequencies(_layer(Irreps(0, False), config))
        assert report.resolved
        assert report.grid == 50
        assert "resolves 4.002" in str(report)


@pytest.mark.parametrize(
    ("irreps", "config", "message"),
    [
        (Irreps(1, False), {"query_key_degree": 2}, "query_key_degree: got 2, expected at most 1"),
        (Irreps(1, False), {"value_degree": 2}, "value_degree: got 2, expected at most 1"),
        (
            Irreps(1, False),
            {"integration": IntegrationConfig(degree_constants=(1.0,))},
            "degree_constants: got 1 numbers, expected spherical_degree + 1 = 2",
        ),
        (
            Irreps(1, False),
            {"integration": IntegrationConfig(degree=3)},
            "degree: got 3, expected 0 to 2",
        ),
        (Irreps(0, False), {"grid": 51}, "grid is 51, expected the size of a Lebedev rule"),
    ],
)
def test_options_that_do_not_fit_the_input_are_refused(
    irreps: Irreps, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        _layer(irreps, AttentionConfig(**config))


def test_an_odd_number_of_features_is_refused() -> None:
    with pytest.raises(ConfigError, match="query_key_features: got 3, expected an even number"):
        EuclideanFastAttention(Irreps(0, False), 3, AttentionConfig(), key=jax.random.key(0))


def test_weights_take_the_wanted_dtype(x64: None) -> None:
    config = AttentionConfig(
        kernel=Waves(frequencies=dataclasses.replace(_FREQUENCIES, trainable=True)),
        integration=IntegrationConfig(trainable=True),
    )
    layer = _layer(Irreps(1, False), config, dtype=jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(layer)} == {np.dtype("float32")}


@pytest.mark.skipif(not CONTRACTS, reason="contracts are off")
@pytest.mark.parametrize("jit", [False, True])
def test_wrong_inputs_are_refused_by_name(jit: bool) -> None:
    layer = _layer(Irreps(1, False), _EXACT)
    features, positions, mask = jnp.zeros((3, 1, 4, 4)), jnp.zeros((3, 3)), jnp.ones(3, bool)
    cases = [
        ((jnp.zeros((3, 1, 9, 4)), positions, mask), "features"),
        ((jnp.zeros((3, 2, 4, 4)), positions, mask), "features"),
        ((jnp.zeros((3, 1, 4, 6)), positions, mask), "features"),
        ((jnp.zeros((3, 1, 4, 4), int), positions, mask), "features"),
        ((features[None], positions, mask), "features"),
        ((features, jnp.zeros((4, 3)), mask), "positions"),
        ((features, jnp.zeros((3, 2)), mask), "positions"),
        ((features, positions, jnp.ones(4, bool)), "atom_mask"),
        ((features, positions, jnp.ones(3)), "atom_mask"),
    ]
    for arguments, name in cases:
        with pytest.raises(TypeCheckError, match=name):
            (quick_jit(layer) if jit else layer)(*arguments)
