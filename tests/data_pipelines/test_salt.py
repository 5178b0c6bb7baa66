"""Labels and geometries of sodium chloride in cells."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from data_pipelines.labels.potentials import COULOMB
from data_pipelines.labels.salt import QUICK, Sums, salt_label
from data_pipelines.sampling.salt import (
    CAESIUM_CHLORIDE,
    MELT,
    ROCK_SALT,
    CellTask,
    make_cell,
)
from efa_zoo.base.errors import DataError


def crystal(edge: float = 5.62) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    atoms = bulk("NaCl", "rocksalt", a=edge, cubic=True)
    return atoms.numbers, atoms.get_positions(), np.asarray(atoms.cell)


def shaken() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    numbers, positions, cell = crystal()
    rng = np.random.default_rng(1)
    deformation = np.eye(3) + rng.uniform(-0.05, 0.05, (3, 3))
    moved = (positions + rng.normal(scale=0.2, size=positions.shape)) @ deformation
    return numbers, moved, cell @ deformation


def test_sums_do_not_depend_on_how_they_are_split() -> None:
    expected = salt_label(*shaken())
    other = salt_label(*shaken(), Sums(deviations=6.5))
    assert other.energy == pytest.approx(expected.energy, abs=1e-10)
    np.testing.assert_allclose(other.forces, expected.forces, atol=1e-10)
    np.testing.assert_allclose(other.stress, expected.stress, atol=1e-12)
    quick = salt_label(*shaken(), QUICK)
    np.testing.assert_allclose(quick.forces, expected.forces, atol=0.01)


def test_the_coulomb_energy_is_that_of_the_madelung_constant() -> None:
    numbers, positions, cell = crystal()
    far = 30.0  # where nothing but Coulomb's law is left
    found = salt_label(
        numbers, positions * far / 5.62, cell * far / 5.62, Sums(cutoff=14.9, switch=5.0)
    )
    expected = -4 * COULOMB * 1.7475645946331822 / (far / 2)
    assert found.energy == pytest.approx(expected, rel=1e-9)


def test_forces_and_stress_are_derivatives() -> None:
    numbers, positions, cell = shaken()
    label, step = salt_label(numbers, positions, cell), 1e-5
    moved = np.zeros_like(positions)
    moved[3, 1] = step
    energies = [salt_label(numbers, positions + s * moved, cell).energy for s in (1, -1)]
    assert -(energies[0] - energies[1]) / (2 * step) == pytest.approx(label.forces[3, 1], abs=1e-7)
    np.testing.assert_allclose(label.forces.sum(axis=0), 0, atol=1e-12)
    for number, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        strain = np.zeros((3, 3))
        strain[i, j] += step / 2
        strain[j, i] += step / 2
        up, down = (np.eye(3) + s * strain for s in (1, -1))
        energies = [salt_label(numbers, positions @ d, cell @ d).energy for d in (up, down)]
        slope = (energies[0] - energies[1]) / (2 * step) / np.linalg.det(cell)
        assert slope == pytest.approx(label.stress[number], abs=1e-8)


def test_the_crystal_is_that_of_the_literature() -> None:
    edges = np.linspace(5.5, 5.74, 9)
    energies = [salt_label(*crystal(edge)).energy for edge in edges]
    fit = np.polynomial.Polynomial.fit(edges, energies, 4)
    minimum = next(r.real for r in fit.deriv().roots() if 5.5 < r.real < 5.74)
    assert minimum == pytest.approx(5.62, abs=0.03)  # 5.64 Å at room temperature
    assert fit(minimum) / 4 == pytest.approx(-8.0, abs=0.15)  # -7.92 eV
    modulus = fit.deriv(2)(minimum) / (9 * minimum) * 160.2177
    assert modulus == pytest.approx(27, abs=3)  # 24 to 27 GPa


def test_other_cells_are_refused() -> None:
    numbers, positions, cell = crystal()
    with pytest.raises(DataError, match="expected 11 and 17"):
        salt_label(np.where(numbers == 11, 3, numbers), positions, cell)
    with pytest.raises(DataError, match=r"charge of -1 e"):
        salt_label(numbers[1:], positions[1:], cell)


@pytest.mark.parametrize("phase", [ROCK_SALT, CAESIUM_CHLORIDE, MELT])
def test_cells_are_what_they_say(phase: str) -> None:
    task = CellTask(2, phase, (3, 1))
    sample = make_cell(task)
    again = make_cell(task)
    np.testing.assert_array_equal(sample.positions[1], again.positions[1])
    assert sample.phase == phase
    assert np.linalg.det(sample.cell) / len(sample.numbers) == pytest.approx(26, abs=8)
    assert (sample.numbers == 11).sum() == (sample.numbers == 17).sum()
    assert not np.allclose(sample.positions[0], sample.positions[1], atol=1e-3)
    for positions, label in zip(sample.positions, sample.labels, strict=True):
        inside = positions @ np.linalg.inv(sample.cell)
        assert inside.min() > -1e-9 and inside.max() < 1 + 1e-9
        found = salt_label(sample.numbers, positions, sample.cell)
        np.testing.assert_array_equal(found.forces, label.forces)
        assert np.abs(label.forces).max() < 10
