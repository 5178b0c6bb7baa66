"""Labels against facts known from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from data_pipelines._workers import Failure
from data_pipelines.labels.labelling import (
    Geometry,
    Label,
    charges_hold,
    label,
    label_groups,
    level_of_theory,
)

pytest.importorskip("tblite")

WATER = Geometry(
    np.array([8, 1, 1], np.int32),
    np.array([[0.0, 0.0, 0.05], [0.8, 0.0, 0.59], [-0.76, 0.1, 0.55]]),
    0,
)


def labelled(molecule: Geometry) -> Label:
    found = label(molecule)
    assert isinstance(found, Label)
    return found


def moved(molecule: Geometry, positions: np.ndarray) -> Geometry:
    return Geometry(molecule.atomic_numbers, positions, molecule.total_charge)


def test_forces_are_minus_the_gradient_of_the_energy() -> None:
    step = 1e-3
    forces = np.zeros((3, 3))
    for index in np.ndindex(3, 3):
        shift = np.zeros((3, 3))
        shift[index] = step
        up = labelled(moved(WATER, WATER.positions + shift)).energy
        down = labelled(moved(WATER, WATER.positions - shift)).energy
        forces[index] = (down - up) / (2 * step)
    np.testing.assert_allclose(labelled(WATER).forces, forces, atol=1e-4)


def test_energy_and_forces_turn_with_the_molecule() -> None:
    turn = np.linalg.qr(np.arange(9.0).reshape(3, 3) ** 1.5 + np.eye(3))[0]
    original, turned = labelled(WATER), labelled(moved(WATER, WATER.positions @ turn.T))
    assert turned.energy == pytest.approx(original.energy, abs=1e-7)
    np.testing.assert_allclose(turned.forces, original.forces @ turn.T, atol=1e-5)


def test_charges_add_up_to_the_total_charge() -> None:
    ammonium = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.6
    numbers = np.array([7, 1, 1, 1, 1], np.int32)
    found = labelled(Geometry(numbers, np.concatenate([np.zeros((1, 3)), ammonium]), 1))
    assert found.charges.sum() == pytest.approx(1.0, abs=1e-8)


def test_equal_charges_repel_like_coulomb() -> None:
    # Two chlorides at 30 Å: e²/(4πε₀·30 Å) = 0.479988 eV. GFN2-xTB damps it by 0.15% there.
    ion = labelled(Geometry(np.array([17], np.int32), np.zeros((1, 3)), -1))
    apart = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 30.0]])
    pair = labelled(Geometry(np.array([17, 17], np.int32), apart, -2))
    assert pair.energy - 2 * ion.energy == pytest.approx(0.479988, rel=2e-3)


def test_an_unconverged_field_is_a_failure_not_an_exception() -> None:
    positions = np.concatenate([np.array([[0.0, 0.0, 8.0]]), WATER.positions])
    found = label(Geometry(np.array([11, 8, 1, 1], np.int32), positions, 1))
    assert isinstance(found, Failure)
    assert found.reason == "unconverged"


def test_groups_are_labelled_in_workers_exactly_as_here() -> None:
    groups = [(WATER, moved(WATER, WATER.positions * (1 + 0.01 * i))) for i in range(3)]
    results = label_groups(groups, workers=2)
    for labels, group in zip(results, groups, strict=True):
        assert isinstance(labels, tuple)
        for found, molecule in zip(labels, group, strict=True):
            expected = labelled(molecule)
            assert found.energy == pytest.approx(expected.energy, abs=1e-9)
            np.testing.assert_allclose(found.forces, expected.forces, atol=1e-8)


@pytest.mark.parametrize(
    ("deviation", "separation", "holds"),
    [
        (0.149, 5.9, True),
        (0.151, 5.9, False),
        (0.011, 5.9, True),
        (0.009, 6.0, True),
        (0.011, 6.0, False),
        (-0.011, 14.0, False),
    ],
)
def test_charge_check(deviation: float, separation: float, holds: bool) -> None:
    formal = np.array([1, -1], np.int32)
    charges = formal + np.array([deviation, -deviation])
    assert charges_hold(charges, formal, separation) is holds


def test_dipoles_are_about_the_centroid() -> None:
    """An ion's dipole about the origin would move with it."""
    rotation = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    formate = np.array([[0.0, 0.0, 0.0], [1.13, 0.0, 0.53], [-1.13, 0.0, 0.53], [0.0, 0.0, -1.12]])
    ion = Geometry(np.array([6, 8, 8, 1], np.int32), formate, -1)
    here = labelled(ion).dipole
    np.testing.assert_allclose(labelled(moved(ion, formate + 7.0)).dipole, here, atol=1e-6)
    turned = labelled(moved(ion, formate @ rotation.T)).dipole
    np.testing.assert_allclose(turned, rotation @ here, atol=1e-6)
    assert abs(here[2]) > 0.1
    # Two ions far apart are the dipole of two unit charges.
    pair = Geometry(np.array([11, 17], np.int32), np.array([[0.0, 0, 0], [0, 0, 3.0]]), 0)
    found = labelled(pair)
    assert found.dipole[2] == pytest.approx(-3.0, abs=1.2)
    assert found.dipole[2] < 0


def test_level_of_theory_names_method_and_program() -> None:
    assert level_of_theory().startswith("GFN2-xTB (tblite ")
