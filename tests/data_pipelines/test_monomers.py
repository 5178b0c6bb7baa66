"""Monomers are minima, and distortions follow the harmonic ensemble."""

from __future__ import annotations

import numpy as np
import pytest

from data_pipelines.labels.labelling import Geometry, label
from data_pipelines.sampling.monomers import (
    BOLTZMANN,
    MASSES,
    MONOMERS,
    RelaxedMonomer,
    distort,
    relax,
)

pytest.importorskip("tblite")


def relaxed(name: str) -> RelaxedMonomer:
    found = relax(MONOMERS[name])
    assert isinstance(found, RelaxedMonomer)
    return found


def masses(monomer: RelaxedMonomer) -> np.ndarray:
    return np.array([MASSES[int(z)] for z in monomer.atomic_numbers])


def test_at_least_thirteen_closed_shell_monomers() -> None:
    assert len(MONOMERS) >= 13
    assert {z for m in MONOMERS.values() for z in m.atomic_numbers} == {1, 6, 7, 8, 9, 17}
    for monomer in MONOMERS.values():
        assert (sum(monomer.atomic_numbers) - monomer.charge) % 2 == 0
        assert (monomer.charge != 0) == (monomer.kind == "ion")


@pytest.mark.parametrize(
    ("name", "vibrations"),
    [("water", 3), ("carbon_dioxide", 4), ("ammonium", 9), ("hydrogen_fluoride", 1)],
)
def test_relaxed_monomers_are_minima(name: str, vibrations: int) -> None:
    monomer = relaxed(name)
    assert np.abs(monomer.label.forces).max() < 1e-4
    assert len(monomer.force_constants) == vibrations
    np.testing.assert_allclose(masses(monomer) @ monomer.positions, 0.0, atol=1e-10)


def test_an_atom_has_no_vibrations() -> None:
    chloride = relaxed("chloride")
    assert chloride.modes.shape == (0, 1, 3)
    moved = distort(chloride, 500.0, np.random.default_rng(0))
    np.testing.assert_array_equal(moved, np.zeros((1, 3)))


def test_distortions_keep_centre_of_mass_and_orientation() -> None:
    water = relaxed("water")
    moved = distort(water, 500.0, np.random.default_rng(0))
    weights = masses(water)[:, None]
    shift = weights * (moved - water.positions)
    np.testing.assert_allclose(shift.sum(axis=0), 0.0, atol=1e-10)
    np.testing.assert_allclose(np.cross(water.positions, shift).sum(axis=0), 0.0, atol=1e-10)


def test_mean_energy_of_distortions_is_half_kt_for_each_mode() -> None:
    water = relaxed("water")
    rng, temperature = np.random.default_rng(0), 100.0
    energies = []
    for _ in range(200):
        found = label(Geometry(water.atomic_numbers, distort(water, temperature, rng), 0))
        energies.append(getattr(found, "energy") - water.label.energy)  # noqa: B009
    expected = 3 * BOLTZMANN * temperature / 2
    assert np.mean(energies) == pytest.approx(expected, rel=0.2)
