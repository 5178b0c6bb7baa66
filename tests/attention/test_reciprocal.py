"""Attention in a cell: sums over wave vectors against sums over images and known constants."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from jaxtyping import Array
from scipy.special import erfc

from efa_zoo.attention import exact, reciprocal
from efa_zoo.attention.kernels import CoulombKernel, PeriodicKernel, WindowedWaveKernel
from efa_zoo.attention.reciprocal import lattice_of, wave_reach
from efa_zoo.base.config import Coulomb, FrequencyConfig, KernelConfig, Waves, WindowedWaves
from efa_zoo.base.errors import ConfigError, InputError
from efa_zoo.structures.graph import Graph

pytestmark = pytest.mark.usefixtures("x64")

# Compiled, because one program is made faster than one for every operation.
attend_exact = eqx.filter_jit(exact.attend_exact)
attend_reciprocal = eqx.filter_jit(reciprocal.attend_reciprocal)

CELL = np.array([[5.0, 0.3, -0.2], [0.8, 4.6, 0.4], [-0.5, 0.6, 5.3]])
ATOMS, DEGREE, REACH = 3, 3, 13.0


def graph(positions: np.ndarray, cell: np.ndarray = CELL, reach: float = REACH) -> Graph:
    return Graph.from_arrays(
        [1] * len(positions), positions, 3.0, cell=cell, wave_reach=reach, dtype=np.float64
    )


def features(seed: int = 0, atoms: int = ATOMS) -> list[Array]:
    rng = np.random.default_rng(seed)
    shapes = (atoms, 2, 2, 2), (atoms, 2, 2, 2), (atoms, 3)
    return [jnp.asarray(rng.normal(size=shape)) for shape in shapes]


def positions(seed: int = 1, atoms: int = ATOMS) -> np.ndarray:
    """Within half of the cell, so that images in a sphere about it hold the nearest ones."""
    return np.random.default_rng(seed).uniform(0, 0.5, (atoms, 3)) @ CELL


def images(cell: np.ndarray, radius: float) -> np.ndarray:
    most = int(radius / 4) + 2
    shifts = np.stack(np.meshgrid(*[np.arange(-most, most + 1)] * 3), -1).reshape(-1, 3) @ cell
    return shifts[np.linalg.norm(shifts, axis=1) < radius]


def over_images(kernel: PeriodicKernel, radius: float) -> np.ndarray:
    """The exact form with every image as an atom of its own."""
    query, key, value = map(np.asarray, features())
    places, shifts = positions(), images(CELL, radius)
    moved = (places + shifts[:, None]).reshape(-1, 3)
    parts = (
        np.concatenate([query, np.zeros((len(moved), 2, 2, 2))]),
        np.concatenate([0 * key, np.tile(key, (len(shifts), 1, 1, 1))]),
        np.concatenate([0 * value, np.tile(value, (len(shifts), 1))]),
        np.concatenate([places, moved]),
    )
    found = attend_exact(*map(jnp.asarray, parts), kernel, DEGREE)
    return np.asarray(found[:ATOMS])


def test_wave_vectors_add_up_to_all_images() -> None:
    kernel = WindowedWaveKernel(jnp.array([0.7, 2.0]), jnp.array(1.3))
    found = attend_reciprocal(*features(), lattice_of(graph(positions()), 0.0), kernel, 3, REACH)
    np.testing.assert_allclose(found, over_images(kernel, 14.0), atol=1e-10)


class Difference(PeriodicKernel):
    """A Coulomb kernel less another one of a larger width, which leaves a kernel of short range."""

    near: CoulombKernel
    far: CoulombKernel

    @property
    def parameters(self) -> Array:
        return self.near.parameters

    def factors(self) -> tuple[Array, Array]:
        return jnp.ones(self.size), jnp.ones(self.size)

    def functions(self, squared_distances: Array, degree: int) -> tuple[Array, ...]:
        fields = (kernel.fields(squared_distances, degree) for kernel in (self.near, self.far))
        return tuple(a - b for a, b in zip(*fields, strict=True))

    def transform(self, wave_numbers: Array, degree: int) -> tuple[Array, ...]:
        parts = (kernel.transform(wave_numbers, degree) for kernel in (self.near, self.far))
        lowest, *others = (a - b for a, b in zip(*parts, strict=True))
        # The background, of which a difference has none.
        at_zero = 2 * math.pi * (self.far.widths**2 - self.near.widths**2)
        lowest = jnp.where(wave_numbers == 0, at_zero[:, None], lowest)
        return (lowest, *others)


def test_differences_of_coulomb_kernels_add_up_to_all_images() -> None:
    kernel = Difference(CoulombKernel(jnp.array([0.5, 0.6])), CoulombKernel(jnp.array([0.9, 1.0])))
    lattice = lattice_of(graph(positions(), reach=18.0), 0.0)
    found = attend_reciprocal(*features(), lattice, kernel, DEGREE, 18.0)
    np.testing.assert_allclose(found, over_images(kernel, 13.0), atol=1e-10)


MADELUNG = {
    "NaCl": (np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2, [0.5, 0.5, 0.5], 1.7475645946331822),
    "CsCl": (np.eye(3), [0.5, 0.5, 0.5], 1.7626747730709884),
    "ZnS": (
        np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2,
        [0.25, 0.25, 0.25],
        1.6380550533887892,
    ),
}


@pytest.mark.parametrize("crystal", MADELUNG)
def test_madelung_constants(crystal: str) -> None:
    cell, other, expected = MADELUNG[crystal]
    cell = 4.0 * np.asarray(cell, float)
    if np.linalg.det(cell) < 0:
        cell = cell[[1, 0, 2]]
    places = np.array([[0, 0, 0], 4.0 * np.asarray(other)])
    nearest = float(np.linalg.norm(places[1] + images(cell, 12.0), axis=1).min())
    width = 0.15 * nearest
    charge = jnp.array([1.0, -1.0])
    # Two features, of which the second is zero; products are divided by the root of their number.
    key = jnp.stack([charge, 0 * charge], axis=-1)[:, None, None, :] * 2**0.25
    reach = 8.0 / width
    lattice = lattice_of(graph(places, cell, reach), 0.0)
    kernel = CoulombKernel(jnp.array([width]))
    one = jnp.ones((2, 1))
    found = attend_reciprocal(key, key, one, lattice, kernel, 0, reach)[:, 0, 0]
    own = math.sqrt(2 / math.pi) / width
    np.testing.assert_allclose((own - found) * nearest, expected, atol=1e-9)


def test_the_same_potentials_as_jax_pme() -> None:
    pme = pytest.importorskip("jaxpme")
    places, width = positions(atoms=4), 0.6
    charges = np.array([1.0, -1.0, 0.5, -0.5])
    atoms = Atoms("H4", positions=places, cell=CELL, pbc=True)
    calculator = pme.Ewald()
    inputs = calculator.prepare(atoms, charges, cutoff=9.0, lr_wavelength=0.7, smearing=1.2)
    expected = 2 * np.asarray(calculator.potentials(*inputs))  # jax-pme halves them

    key = jnp.stack([jnp.asarray(charges), jnp.zeros(4)], axis=-1)[:, None, None, :] * 2**0.5
    query = jnp.stack([jnp.ones(4), jnp.zeros(4)], axis=-1)[:, None, None, :]
    kernel, value = CoulombKernel(jnp.array([width])), jnp.ones((4, 1))
    lattice = lattice_of(graph(places, reach=12.0), 0.0)
    found = np.asarray(attend_reciprocal(query, key, value, lattice, kernel, 0, 12.0))[:, 0, 0]
    vectors = places - places[:, None] + images(CELL, 9.0)[:, None, None]
    distances = np.linalg.norm(vectors, axis=-1)
    others = distances > 0
    distances = np.where(others, distances, 1.0)
    pointlike = erfc(distances / (math.sqrt(2) * width)) / distances
    found = found + np.sum(np.where(others, pointlike, 0) * charges, axis=(0, 2))
    found = found - charges * math.sqrt(2 / math.pi) / width
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_a_growing_cell_becomes_the_open_form() -> None:
    kernel = WindowedWaveKernel(jnp.array([0.3, 1.0]), jnp.array(1.5))
    expected = attend_exact(*features(), jnp.asarray(positions()), kernel, 2)
    errors = []
    for edge in (9.0, 12.0, 24.0):
        lattice = lattice_of(graph(positions(), edge * np.eye(3), 7.0), 0.0)
        found = attend_reciprocal(*features(), lattice, kernel, 2, 7.0)
        errors.append(float(jnp.abs(found - expected).max()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-9


KERNELS: list[KernelConfig] = [
    Coulomb(widths=(0.9, 0.9)),
    WindowedWaves(frequencies=FrequencyConfig(max_frequency=3.0, max_length=3.0), width=1.5),
]


@pytest.mark.parametrize("config", KERNELS, ids=lambda config: config.kind)
@pytest.mark.parametrize("tolerance", [1e-4, 1e-8])
def test_the_reach_keeps_the_tolerance(config: KernelConfig, tolerance: float) -> None:
    reach = wave_reach(config, 2, tolerance, 2)
    if isinstance(config, Coulomb):
        kernel: PeriodicKernel = CoulombKernel(jnp.array([0.9, 0.9]))
        largest = math.sqrt(2 / math.pi) / 0.9
    else:
        kernel, largest = WindowedWaveKernel(jnp.array([0.0, 1.0]), jnp.array(1.5)), 1.0
    query, key, value = features()
    results = [
        attend_reciprocal(
            query, key, value, lattice_of(graph(positions(), reach=far), 0.0), kernel, 2, far
        )
        for far in (reach, 14.0)
    ]
    products = np.abs(np.einsum("ipcs,jpcs->ij", np.abs(query), np.abs(key))) / math.sqrt(8)
    scale = float((products @ np.abs(value)).max()) * largest
    assert float(jnp.abs(results[0] - results[1]).max()) < 2 * tolerance * scale


def test_padding_and_vectors_beyond_the_reach_are_inert() -> None:
    kernel = WindowedWaveKernel(jnp.array([0.7, 2.0]), jnp.array(1.3))
    inputs = features(atoms=4)
    places = positions(atoms=4)
    results = []
    for far, padding in ((6.0, 0), (9.0, 0), (6.0, 17)):
        listed = graph(places, reach=far)
        assert listed.waves is not None
        listed = listed.pad(num_waves=len(listed.waves) + padding)
        found = attend_reciprocal(*inputs, lattice_of(listed, 6.0), kernel, 2, 6.0)
        results.append(np.asarray(found))
    np.testing.assert_allclose(results[1], results[0], atol=1e-13)
    np.testing.assert_allclose(results[2], results[0], atol=1e-13)
    mask = jnp.array([True, True, True, False])
    masked = attend_reciprocal(*inputs, lattice_of(graph(places), 0.0), kernel, 2, 6.0, mask)
    alone = attend_reciprocal(
        *(x[:3] for x in inputs), lattice_of(graph(places[:3]), 0.0), kernel, 2, 6.0
    )
    np.testing.assert_allclose(masked[:3], alone, atol=1e-13)


def test_chunks_of_atoms_and_waves_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = WindowedWaveKernel(jnp.array([0.7, 2.0]), jnp.array(1.3))
    lattice = lattice_of(graph(positions(), reach=6.0), 0.0)
    whole = attend_reciprocal(*features(), lattice, kernel, 1, 6.0)
    monkeypatch.setattr(reciprocal, "_CHUNK_OF_FIELDS", 2 * 24)
    monkeypatch.setattr(reciprocal, "_CHUNK_OF_SUMS", 4000)
    cut = eqx.filter_jit(lambda *inputs: reciprocal.attend_reciprocal(*inputs))(
        *features(), lattice, kernel, 1, 6.0
    )
    np.testing.assert_allclose(cut, whole, atol=1e-13)


@pytest.mark.parametrize("widths", [None, [0.9, 0.9], [0.9, 0.8]])
def test_kinds_of_atoms_change_nothing(
    widths: list[float] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel: PeriodicKernel = WindowedWaveKernel(jnp.array([0.7, 2.0]), jnp.array(1.3))
    if widths is not None:
        kernel = CoulombKernel.of(np.array(widths), None)
        assert kernel.alike == (widths[0] == widths[1])
    kinds = jnp.array([1, 0, 1, 3, 0, 1])
    query, key, value = features(atoms=6)
    inputs = query, key[kinds], value[kinds]
    mask = jnp.array([True, True, True, True, False, True])
    lattice = lattice_of(graph(positions(atoms=6), reach=5.0), 0.0)
    whole = attend_reciprocal(*inputs, lattice, kernel, 2, 5.0, mask)
    calls: list[int] = []
    original = reciprocal._attend_to_kinds

    def noted(*arguments: Any) -> Array:
        calls.append(1)
        return original(*arguments)

    monkeypatch.setattr(reciprocal, "_attend_to_kinds", noted)
    for number, size in ((4, 2**21), (6, 400)):
        monkeypatch.setattr(reciprocal, "_CHUNK_OF_PHASES", size)
        found = eqx.filter_jit(lambda *inputs: reciprocal.attend_reciprocal(*inputs))(
            *inputs, lattice.with_kinds(kinds, number), kernel, 2, 5.0, mask
        )
        np.testing.assert_allclose(found, whole, atol=1e-13)
    assert len(calls) >= 2
    # As many kinds as products of features save nothing.
    calls.clear()
    attend_reciprocal(*inputs, lattice.with_kinds(kinds, 64), kernel, 2, 5.0, mask)
    assert not calls


def test_second_derivatives_with_atoms_at_one_place() -> None:
    kernel = CoulombKernel(jnp.array([0.8, 1.1]))
    places = positions()
    places[1] = places[0]
    listed = graph(places, reach=5.0).pad(num_waves=300)

    @jax.jit
    def gradient(moved: Array, cell: Array) -> tuple[Array, Array]:
        def total(moved: Array, cell: Array) -> Array:
            lattice = lattice_of(dataclasses.replace(listed, positions=moved, cell=cell), 0.0)
            return jnp.sum(attend_reciprocal(*features(), lattice, kernel, 1, 5.0) ** 2)

        return jax.grad(total, argnums=(0, 1))(moved, cell)

    point = jnp.asarray(places), jnp.asarray(CELL)
    rng = np.random.default_rng(3)
    along = tuple(jnp.asarray(rng.normal(size=x.shape)) for x in point)
    _, second = jax.jvp(gradient, point, along)
    step = 1e-5
    ahead, behind = (
        gradient(*(x + s * step * a for x, a in zip(point, along, strict=True))) for s in (1, -1)
    )
    for found, a, b in zip(second, ahead, behind, strict=True):
        np.testing.assert_allclose(found, (a - b) / (2 * step), rtol=1e-6, atol=1e-6)


def test_kernels_that_have_no_sum_are_refused() -> None:
    with pytest.raises(ConfigError, match="kernel: got waves, which do not fall off"):
        wave_reach(Waves(), 4, 1e-5, 0)
    for config in (
        Coulomb(trainable=True),
        WindowedWaves(frequencies=FrequencyConfig(trainable=True)),
    ):
        with pytest.raises(ConfigError, match="with trainable parameters"):
            wave_reach(config, 4, 1e-5, 0)


def test_graphs_that_do_not_fit_are_refused() -> None:
    listed = graph(positions(), reach=4.0)
    with pytest.raises(InputError, match="wave vectors up to 4 1/Å, expected at least"):
        lattice_of(listed, 5.0)
    slab = Graph.from_arrays(
        [1], [[0, 0, 0]], 3.0, cell=CELL, pbc=(True, True, False), dtype=np.float64
    )
    with pytest.raises(InputError, match="expected three periodic directions or none"):
        lattice_of(slab, 1.0)
    kernel = CoulombKernel(jnp.ones(3))
    with pytest.raises(InputError, match="kernel: got 3 functions, expected 2"):
        attend_reciprocal(*features(), lattice_of(listed, 0.0), kernel, 0, 4.0)
