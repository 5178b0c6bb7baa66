"""Kernels of attention: closed forms, symmetry, derivatives, sums of waves, transforms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import e3x
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gamma, gammainc, spherical_jn
from sphere import Inputs
from symmetry import MOTIONS, assert_close, filled, quick_jit

from efa_zoo.attention import EuclideanFastAttention, attend_exact
from efa_zoo.attention.kernels import (
    CoulombKernel,
    PeriodicKernel,
    WaveKernel,
    WindowedWaveKernel,
    coulomb_waves,
    coulomb_widths,
)
from efa_zoo.base.config import (
    AttentionConfig,
    Coulomb,
    IntegrationConfig,
    WindowedWaves,
)
from efa_zoo.base.errors import ConfigError, InputError
from efa_zoo.nn.coupling import Irreps
from efa_zoo.nn.inner_product import InnerProduct

_DEGREE = 3
_FREQUENCIES = np.array([0.0, 0.7, 1.9])
_WIDTHS = np.array([0.6, 1.1, 2.0])
_WINDOW = 1.7


def _kernel(name: str) -> PeriodicKernel | WaveKernel:
    frequencies = jnp.asarray(_FREQUENCIES)
    return {
        "waves": WaveKernel(frequencies),
        "windowed": WindowedWaveKernel(frequencies, jnp.asarray(_WINDOW)),
        "coulomb": CoulombKernel(jnp.asarray(_WIDTHS)),
    }[name]


def _radial(name: str, degree: int, r: np.ndarray) -> np.ndarray:
    """What multiplies i^l Y_lm(r/|r|), `[3, *shape]`, by SciPy."""
    r = np.asarray(r, float)
    expand = (slice(None), *(None for _ in r.shape))
    if name != "coulomb":
        waves = spherical_jn(degree, _FREQUENCIES[expand] * r)
        return waves * np.exp(-(r**2) / (2 * _WINDOW**2)) if name == "windowed" else waves
    a = 1 / (math.sqrt(2) * _WIDTHS[expand])
    t, n = (a * r) ** 2, degree + 0.5
    safe = np.where(t > 0, t, 1)
    boys = np.where(t > 0, gamma(n) * gammainc(n, safe) / (2 * safe**n), 1 / (2 * degree + 1))
    return 2 * a / math.sqrt(math.pi) * (2 * a * a) ** degree * boys * r**degree


def _harmonics(vectors: np.ndarray, degree: int) -> np.ndarray:
    """Y_lm of the directions; those of no direction are zero but for l = 0."""
    with jax.enable_x64(True):
        length = np.linalg.norm(vectors, axis=-1, keepdims=True)
        unit = jnp.asarray(vectors / np.where(length, length, 1))
        return np.array(e3x.so3.spherical_harmonics(unit, degree))


def _direct(name: str, inputs: Inputs, degree: int) -> np.ndarray:
    """Attention as a plain double sum over atoms."""
    query, key = (x[..., 0] + 1j * x[..., 1] for x in (inputs.query, inputs.key))
    displacements = inputs.positions[None] - inputs.positions[:, None]
    distances = np.linalg.norm(displacements, axis=-1)
    harmonics = _harmonics(displacements, degree)
    parts = []
    for l in range(degree + 1):
        kernel = 1j**l * _radial(name, l, distances)
        weights = np.einsum("icp,jcp,pij->ij", query.conj(), key, kernel).real
        y = harmonics[..., l * l : (l + 1) ** 2]
        parts.append(np.einsum("ij,ija,jv->iav", weights, y, inputs.value))
    return np.concatenate(parts, axis=1) / math.sqrt(2 * np.prod(query.shape[1:]))


def _inputs(seed: int, atoms: int = 4) -> Inputs:
    return Inputs.random(seed, atoms=atoms)


def _attend(name: str, degree: int = _DEGREE) -> Callable[..., jax.Array]:
    def attend(query: jax.Array, key: jax.Array, value: jax.Array, positions: jax.Array, *mask):  # type: ignore[no-untyped-def]
        return attend_exact(query, key, value, positions, _kernel(name), degree, *mask)

    return quick_jit(attend)


_NAMES = pytest.mark.parametrize("name", ["waves", "windowed", "coulomb"])


@_NAMES
def test_the_exact_form_is_the_formula(name: str, x64: None) -> None:
    inputs = _inputs(1)
    result = _attend(name)(*inputs.arrays[:4])
    expected = _direct(name, inputs, _DEGREE)
    for l in range(_DEGREE + 1):
        part = slice(l * l, (l + 1) ** 2)
        assert_close(result[:, part], expected[:, part], 1e-12)


@_NAMES
@pytest.mark.parametrize("reflects", [False, True])
def test_equivariant_and_blind_to_translation_and_order(
    name: str, reflects: bool, x64: None
) -> None:
    inputs, motion = _inputs(2), MOTIONS[reflects]
    attend = _attend(name)
    result = np.asarray(attend(*inputs.arrays[:4]))
    moved = inputs._replace(positions=motion.vectors(inputs.positions) + np.array([3, -1, 2]))
    assert_close(attend(*moved.arrays[:4]), motion.features(result[:, None])[:, 0], 1e-12)
    order = np.array([2, 0, 3, 1])
    permuted = (jnp.asarray(x[order]) for x in inputs[:4])
    assert_close(attend(*permuted), result[order], 1e-13)


@_NAMES
def test_smooth_where_atoms_coincide(name: str, x64: None) -> None:
    inputs = _inputs(3, atoms=3)
    inputs.positions[1] = inputs.positions[0]
    query, key, value, positions = inputs.arrays[:4]

    def total(positions: jax.Array) -> jax.Array:
        outputs = attend_exact(query, key, value, positions, _kernel(name), _DEGREE)
        return jnp.sum(jnp.sin(outputs))

    gradient = quick_jit(jax.grad(total))
    hessian = quick_jit(jax.hessian(total))(positions)
    assert np.isfinite(hessian).all()
    step = 1e-5
    for change in (jnp.zeros((3, 3)).at[1, 2].set(step), jnp.zeros((3, 3)).at[0, 0].set(step)):
        slope = (total(positions + change) - total(positions - change)) / (2 * step)
        assert_close(slope, jnp.sum(gradient(positions) * change) / step, 1e-8)
        after, before = gradient(positions + change), gradient(positions - change)
        expected = jnp.einsum("abcd,cd->ab", hessian, change / step)
        assert_close((after - before) / (2 * step), expected, 1e-8)


@_NAMES
def test_padding_is_inert_to_the_second_derivative(name: str, x64: None) -> None:
    inputs = _inputs(4, atoms=4)
    mask = jnp.asarray([True, True, True, False])

    def total(positions: jax.Array, atoms: int) -> jax.Array:
        arrays = (jnp.asarray(x[:atoms]) for x in inputs[:3])
        outputs = attend_exact(*arrays, positions, _kernel(name), 1, mask[:atoms])
        return jnp.sum(jnp.sin(outputs[:3]))

    # Padding lies where atoms do not: at the origin, and on an atom.
    for place in (np.zeros(3), inputs.positions[1]):
        padded = jnp.asarray(np.concatenate([inputs.positions[:3], place[None]]))
        hessian = quick_jit(jax.hessian(lambda x: total(x, 4)))(padded)
        alone = quick_jit(jax.hessian(lambda x: total(x, 3)))(padded[:3])
        assert_close(hessian[:3, :, :3], alone, 1e-13)
        assert not np.asarray(hessian[3]).any()


@pytest.mark.parametrize("name", ["windowed", "coulomb"])
def test_molecules_far_apart_add_up(name: str, x64: None) -> None:
    # In a window exactly, by Coulomb's law as charges do.
    inputs = _inputs(5)
    separation = np.array([1e3, 0.0, 0.0])
    positions = np.concatenate([inputs.positions, inputs.positions + separation])
    twice = [jnp.asarray(np.concatenate([x, x])) for x in inputs[:3]]
    both = np.asarray(_attend(name, 0)(*twice, jnp.asarray(positions)))
    alone = np.asarray(_attend(name, 0)(*inputs.arrays[:4]))
    if name == "windowed":
        assert_close(both[:4], alone, 1e-15)
    else:
        weights = np.einsum("icps,jcps->ij", inputs.query, inputs.key) / math.sqrt(12)
        assert_close((both[:4] - alone)[:, 0] * 1e3, weights @ inputs.value, 0.02)


def test_charges_interact_by_coulombs_law(x64: None) -> None:
    r = np.array([0.0, 1.0, 3.0, 30.0])
    (potential,) = _kernel("coulomb").fields(jnp.asarray(r**2), 0)
    expected = [math.sqrt(2 / math.pi) / 1.1] + [
        math.erf(x / (math.sqrt(2) * 1.1)) / x for x in r[1:]
    ]
    assert_close(potential[1], expected, 1e-14)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5])
def test_waves_in_all_directions_add_up_to_coulombs_law(tolerance: float, x64: None) -> None:
    length, degree = 6.0, 2
    vectors, weights = coulomb_waves(tuple(_WIDTHS), length, tolerance, degree)
    kernel = _kernel("coulomb")
    assert isinstance(kernel, CoulombKernel)
    amplitudes = np.asarray(kernel.amplitudes(jnp.asarray(np.linalg.norm(vectors, axis=1))))
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(6, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    displacements = directions * np.linspace(0.0, length, 6)[:, None]
    waves = np.exp(1j * displacements @ vectors.T)
    summed = np.einsum("rk,ka,kp->pra", waves, weights, amplitudes)
    harmonics = _harmonics(displacements, degree)
    distances = np.linspace(0.0, length, 6)
    for l in range(degree + 1):
        part = slice(l * l, (l + 1) ** 2)
        expected = 1j**l * _radial("coulomb", l, distances)[..., None] * harmonics[:, part]
        # The amplitudes ω^l exp(-σ²ω²/2) of all waves, which bound the kernel.
        moment = 2 ** ((l - 1) / 2) * gamma((l + 1) / 2) * 2 / math.pi
        bound = moment / _WIDTHS[:, None, None] ** (l + 1)
        assert np.abs((summed[..., part] - expected) / bound).max() < tolerance


def _layer(evaluation: str, **options: object) -> EuclideanFastAttention:
    config = AttentionConfig(
        query_key_features=4,
        kernel=Coulomb(widths=(1.0, 1.6), max_length=5.0),
        evaluation=evaluation,  # type: ignore[arg-type]
        tolerance=1e-4,
        **options,  # type: ignore[arg-type]
    )
    return filled(EuclideanFastAttention, Irreps(1, False), 3, config)


def test_both_evaluations_of_a_layer_agree(x64: None) -> None:
    rng = np.random.default_rng(1)
    features = jnp.asarray(rng.normal(size=(4, 1, 4, 3)))
    positions = jnp.asarray(rng.normal(size=(4, 3)))
    mask = jnp.asarray([True, True, True, False])

    def value_and_force(layer: EuclideanFastAttention) -> tuple[jax.Array, jax.Array]:
        def total(positions: jax.Array) -> jax.Array:
            return jnp.sum(jnp.sin(layer(features, positions, mask)[:3]))

        return layer(features, positions, mask)[:3], jax.grad(total)(positions)

    options = {"integration": IntegrationConfig()}
    exact, waves = (
        quick_jit(value_and_force)(_layer(evaluation, **options))
        for evaluation in ("exact", "quadrature")
    )
    for a, b in zip(exact, waves, strict=True):
        assert_close(b, a, 1e-4)
    assert not np.array_equal(exact[0], waves[0])  # they are two


def test_evaluation_auto_is_exact_where_there_is_no_other_or_it_is_cheaper() -> None:
    assert _layer("auto").evaluation_for(50) == "exact"
    assert _layer("auto").evaluation_for(10**7) == "quadrature"
    for kernel in (Coulomb(trainable=True), WindowedWaves()):
        layer = filled(EuclideanFastAttention, Irreps(0, False), 4, AttentionConfig(kernel=kernel))
        assert layer.evaluation_for(10**7) == "exact"
        with pytest.raises(ConfigError, match="kernel: got"):
            layer.grid()
        with pytest.raises(ConfigError, match=r"^evaluation: got 'quadrature', expected"):
            AttentionConfig(kernel=kernel, evaluation="quadrature")
    with pytest.raises(ConfigError, match=r"^grid: got 50, expected none"):
        AttentionConfig(kernel=Coulomb(), grid=50)
    far = AttentionConfig(kernel=Coulomb(max_length=300.0), evaluation="quadrature")
    with pytest.raises(ConfigError, match="no Lebedev rule resolves more"):
        filled(EuclideanFastAttention, Irreps(0, False), 4, far)


def test_widths() -> None:
    np.testing.assert_allclose(coulomb_widths(3, Coulomb(widths=(0.5, 2.0))), [0.5, 1.0, 2.0])
    np.testing.assert_allclose(coulomb_widths(1, Coulomb(widths=(0.5, 2.0))), [0.5])
    np.testing.assert_allclose(coulomb_widths(3, Coulomb(widths=(3.0, 1.0, 2.0))), [3, 1, 2])
    with pytest.raises(ConfigError, match="widths: got 3 numbers, expected 4"):
        coulomb_widths(4, Coulomb(widths=(3.0, 1.0, 2.0)))


def test_trainable_widths_get_gradients_and_stay_positive(x64: None) -> None:
    config = AttentionConfig(kernel=Coulomb(widths=(0.5, 2.0), trainable=True))
    layer = EuclideanFastAttention(Irreps(0, False), 4, config, key=jax.random.key(0))
    assert layer.log_widths is not None
    np.testing.assert_allclose(layer.kernel().parameters, [0.5, 2.0])
    rng = np.random.default_rng(2)
    features, positions = rng.normal(size=(3, 1, 1, 4)), rng.normal(size=(3, 3))

    def total(layer: EuclideanFastAttention) -> jax.Array:
        return jnp.sum(layer(jnp.asarray(features), jnp.asarray(positions)) ** 2)

    gradient = jax.grad(total)(layer)
    assert np.abs(gradient.log_widths).min() > 0


def test_a_kernel_for_another_number_of_features_is_refused() -> None:
    arrays = [jnp.asarray(x, jnp.float32) for x in _inputs(0)[:4]]
    with pytest.raises(InputError, match="kernel: got 2 functions, expected 3"):
        attend_exact(*arrays, CoulombKernel(jnp.ones(2)), 0)


_CELL = np.array([[3.1, 0.2, -0.4], [0.9, 3.6, 0.3], [-0.5, 0.8, 2.9]])


def _image_sum(
    field: Callable[[int, np.ndarray], np.ndarray], point: np.ndarray, reach: int
) -> list[np.ndarray]:
    """Σ_L i^l f_l Y_lm by degree, each `[functions, 2l + 1]`."""
    images = np.array(list(itertools.product(range(-reach, reach + 1), repeat=3))) @ _CELL + point
    distances, harmonics = np.linalg.norm(images, axis=1), _harmonics(images, _DEGREE)
    return [
        np.einsum("pr,ra->pa", 1j**l * field(l, distances), harmonics[:, l * l : (l + 1) ** 2])
        for l in range(_DEGREE + 1)
    ]


def _reciprocal_sum(kernel: PeriodicKernel, point: np.ndarray, reach: int) -> list[np.ndarray]:
    reciprocal = 2 * np.pi * np.linalg.inv(_CELL).T
    vectors = np.array(list(itertools.product(range(-reach, reach + 1), repeat=3))) @ reciprocal
    lengths = np.where(np.all(vectors == 0, axis=1), 0, np.linalg.norm(vectors, axis=1))
    transforms = quick_jit(lambda k: kernel.transform(k, _DEGREE))(jnp.asarray(lengths))
    phases, harmonics = np.exp(1j * vectors @ point), _harmonics(vectors, _DEGREE)
    volume = abs(np.linalg.det(_CELL))
    return [
        np.einsum("pk,k,ka->pa", np.asarray(k), phases, harmonics[:, l * l : (l + 1) ** 2]) / volume
        for l, k in enumerate(transforms)
    ]


def test_windowed_waves_in_a_cell_are_sums_over_reciprocal_vectors(x64: None) -> None:
    point = np.array([0.4, 1.3, -0.8])
    kernel = _kernel("windowed")
    assert isinstance(kernel, WindowedWaveKernel)
    images = _image_sum(lambda l, r: _radial("windowed", l, r), point, 7)
    for direct, reciprocal in zip(images, _reciprocal_sum(kernel, point, 6), strict=True):
        assert_close(reciprocal, direct, 1e-12)
    # Frequencies of either sign are the same wave up to (-1)^l.
    mirrored = WindowedWaveKernel(-kernel.frequencies, kernel.width)
    k = jnp.linspace(0.0, 3.0, 5)
    pairs = zip(kernel.transform(k, 3), mirrored.transform(k, 3), strict=True)
    for l, (a, b) in enumerate(pairs):
        assert_close(b, (-1) ** l * np.asarray(a), 1e-15)


def test_coulomb_in_a_cell_is_a_sum_over_reciprocal_vectors(x64: None) -> None:
    # The difference of two widths falls off fast enough to be summed over images.
    point = np.array([0.4, 1.3, -0.8])
    kernel = CoulombKernel(jnp.asarray([0.6, 0.9]))

    def difference(l: int, r: np.ndarray) -> np.ndarray:
        fields = kernel.fields(jnp.asarray(r**2), l)[l]
        return np.asarray((fields[0] - fields[1]) * r**l)[None]

    images = _image_sum(difference, point, 4)
    volume = abs(np.linalg.det(_CELL))
    for l, (direct, reciprocal) in enumerate(
        zip(images, _reciprocal_sum(kernel, point, 7), strict=True)
    ):
        background = 2 * np.pi * (0.9**2 - 0.6**2) / volume if l == 0 else 0
        assert_close(reciprocal[:1] - reciprocal[1:] + background, direct, 1e-12)


def _fields_of(path: tuple[int, ...], layer: EuclideanFastAttention) -> EuclideanFastAttention:
    """The layer with one coupling path left, of weight 1."""
    integration = layer.integration
    assert integration is not None
    assert integration.weights is not None
    chosen = [p == path for p in integration.coupling.paths]
    assert sum(chosen) == 1
    weights = jnp.asarray(chosen, integration.weights.dtype)[:, None] * jnp.ones_like(
        integration.weights
    )
    return eqx.tree_at(lambda x: x.integration.weights, layer, weights)


@pytest.mark.parametrize(
    ("kind", "path", "power"),
    [
        ("charge-charge", (0, 0, 0, 0, 0, 0), -1),
        ("charge-dipole", (0, 1, 0, 1, 0, 0), -2),
        ("dipole-charge", (0, 1, 0, 0, 0, 1), -2),
        ("dipole-dipole", (0, 2, 0, 1, 0, 1), -3),
    ],
)
def test_multipoles_interact_with_the_right_power_and_angles(
    kind: str, path: tuple[int, ...], power: int, x64: None
) -> None:
    config = AttentionConfig(
        query_key_features=2,
        value_features=3,
        query_key_degree=0,
        kernel=Coulomb(widths=(0.8, 0.8)),
        integration=IntegrationConfig(spherical_degree=2, degree=1, trainable=True),
        evaluation="exact",
    )
    layer = _fields_of(path, filled(EuclideanFastAttention, Irreps(1, False), 3, config))
    product = filled(InnerProduct, Irreps(1, False), 3, Irreps(1, False), 3, 1, seed=3)
    rng = np.random.default_rng(4)
    features = np.zeros((2, 1, 4, 3))
    moments = rng.normal(size=(2, 3))
    charges = [1.0, -0.7]
    features[:, 0, 0, :] = np.asarray(charges)[:, None]
    features[:, 0, 1:, :] = moments[:, :, None]

    @quick_jit
    def energy(direction: jax.Array, distance: jax.Array) -> jax.Array:
        """The first atom's energy, only terms that depend on both atoms."""
        atoms = jnp.asarray(features)
        positions = jnp.stack([jnp.zeros(3), direction * distance])
        both, alone = (
            product(atoms, layer(atoms, positions, mask))[0, 0, 0, 0]
            for mask in (jnp.asarray([True, True]), jnp.asarray([True, False]))
        )
        return both - alone

    scaled = []
    for _ in range(3):
        unit = rng.normal(size=3)
        unit /= np.linalg.norm(unit)
        a, b = moments @ unit
        angles = {
            "charge-charge": 1.0,
            "charge-dipole": b,
            "dipole-charge": a,
            "dipole-dipole": 3 * a * b - moments[0] @ moments[1],
        }[kind]
        for distance in (8.0, 20.0, 50.0):
            value = energy(jnp.asarray(unit), jnp.asarray(distance))
            scaled.append(float(value) * distance**-power / angles)
    assert abs(scaled[0]) > 1e-3
    np.testing.assert_allclose(scaled, scaled[0], rtol=1e-8)
