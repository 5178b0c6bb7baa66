"""Rock salt: pressure against energies, vibrations against the field of a plane of charges."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from ase.data import atomic_masses
from toys import salt_potential

from data_pipelines.labels.potentials import COULOMB
from data_pipelines.labels.salt import salt_label
from efa_zoo.analysis.scan import crystals
from efa_zoo.models.potential import Potential
from efa_zoo.models.prediction import Prediction
from efa_zoo.structures.molecule import Molecule

CONSTANT = 5.6191  # Å, of the formula


@pytest.fixture
def knows_the_formula(monkeypatch: pytest.MonkeyPatch) -> Potential:
    """A model whose forces are those of the formula, and whose stress is 0.001 eV/Å³ off."""

    def predict(
        model: Potential, structures: Sequence[Molecule], dtype: str, out_of_range: str
    ) -> list[Prediction]:
        assert (dtype, out_of_range) == ("float64", "warn")
        labels = [
            salt_label(s.numbers, s.positions, s.cell)  # type: ignore[arg-type]
            for s in structures
        ]
        return [
            Prediction(
                energy=label.energy,
                forces=label.forces,
                atomic_energies=np.zeros(len(label.forces)),
                charge=0,
                stress=label.stress + 0.001 * np.array([1, 1, 1, 0, 0, 0]),
            )
            for label in labels
        ]

    monkeypatch.setattr(crystals, "predict", predict)
    return salt_potential()


def test_the_row_is_rock_salt() -> None:
    for cells in (1, 3):
        row = crystals._row(CONSTANT, cells)
        cubic = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) * CONSTANT / 2
        whole = np.concatenate([cubic, cubic + np.array([CONSTANT / 2, 0, 0])])
        numbers = np.repeat([11, 17], 4)
        expected = salt_label(numbers, whole, CONSTANT * np.eye(3))
        assert row.cell is not None
        found = salt_label(row.numbers, row.positions, row.cell)
        assert found.energy / row.num_atoms == pytest.approx(expected.energy / 8, abs=1e-9)
        assert np.abs(found.forces).max() < 1e-9


def test_pressure_is_the_slope_of_the_energy(knows_the_formula: Potential) -> None:
    found = crystals.scan_pressure([knows_the_formula])
    assert found.truth is not None
    # In a cubic cell dE/dV, here by differences.
    constant, step = float(found.coordinates[3]), 1e-3
    energies = [
        salt_label(row.numbers, row.positions, row.cell).energy  # type: ignore[arg-type]
        for row in (crystals._row(constant + sign * step, 1) for sign in (1, -1))
    ]
    volumes = [(constant + sign * step) ** 3 / 2 for sign in (1, -1)]
    slope = (energies[0] - energies[1]) / (volumes[0] - volumes[1])
    assert -slope * 160.21766 == pytest.approx(found.truth[3], abs=1e-3)
    np.testing.assert_allclose(found.models["salt"] - found.truth, -0.16021766, atol=1e-7)


def test_longitudinal_waves_stay_above_transverse_ones(knows_the_formula: Potential) -> None:
    longitudinal, transverse = (
        scan([]).truth for scan in (crystals.scan_longitudinal, crystals.scan_transverse)
    )
    assert longitudinal is not None and transverse is not None
    # Ions that cannot be polarised: the difference of squares is that of the field of a plane of
    # charges, q²/(ε₀ V μ), for waves long against the lattice.
    sodium, chlorine = atomic_masses[[11, 17]]
    reduced = sodium * chlorine / (sodium + chlorine)
    field = 4 * math.pi * COULOMB / (CONSTANT**3 / 4) / reduced
    expected = math.sqrt(field) * crystals._TERAHERTZ
    found = np.sqrt(longitudinal**2 - transverse**2)
    assert found[0] == pytest.approx(expected, rel=3e-3)
    assert abs(found[0] / expected - 1) < abs(found[3] / expected - 1)
    unit = crystals._TERAHERTZ
    assert unit == pytest.approx(15.633302, rel=1e-6)  # phonopy's VaspToTHz
    # A model is taken at its own lattice constant: this one's is smaller.
    model = crystals.scan_transverse([knows_the_formula]).models["salt"]
    assert 1.0 < model[0] / transverse[0] < 1.1
