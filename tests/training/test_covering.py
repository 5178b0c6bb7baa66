"""What structures cover."""

from __future__ import annotations

import dataclasses

import numpy as np

from data_pipelines.structure import Structure
from efa_zoo.training.covering import known_environments


def water(stretch: float = 0.0) -> Structure:
    """A water, of which one bond is longer."""
    positions = np.asarray([[0, 0, 0.12], [0.76 + stretch, 0, -0.48], [-0.76, 0, -0.48]])
    return Structure(
        atomic_numbers=np.asarray([8, 1, 1], np.int32),
        positions=positions,
        energy=0.0,
        forces=np.zeros((3, 3)),
        total_charge=0,
    )


def test_environments_are_those_of_training() -> None:
    assert known_environments([water()] * 2, [water()] * 50) == ("H O", "O H2")
    both = known_environments([water(), water(1.0)] * 2, [water()] * 50)
    assert both == ("H", "H O", "O H", "O H2")


def test_a_list_that_structures_show_to_have_no_end_is_none() -> None:
    many = [water()] * 249
    assert known_environments(many, [*many, water(), water(1.0)]) == ("H O", "O H2")
    assert known_environments(many, [*many, water(1.0)]) == ()
    assert known_environments([*many, water(1.0)], many) == ()
    assert known_environments(many, many[:49]) == ()


def test_images_in_a_cell_count() -> None:
    salt = Structure(
        atomic_numbers=np.asarray([11, 17], np.int32),
        positions=np.asarray([[0.0, 0, 0], [1.7, 1.7, 1.7]]),
        energy=0.0,
        forces=np.zeros((2, 3)),
        total_charge=0,
        cell=3.4 * np.eye(3),
        pbc=(True, True, True),
    )
    (chlorine, sodium) = sorted(known_environments([salt] * 2, [salt] * 50))
    assert (chlorine, sodium) == ("Cl Na8", "Na Na6Cl8")
    open_salt = dataclasses.replace(
        salt, cell=None, pbc=(False, False, False), positions=2 * salt.positions
    )
    assert known_environments([open_salt] * 2, [open_salt] * 50) == ("Na", "Cl")


def test_what_hardly_ever_happens_is_an_accident() -> None:
    often = [water()] * 20_000
    assert known_environments([*often, water(1.0)], [water()] * 50) == ("H O", "O H2")
    some = known_environments([*often, *[water(1.0)] * 3], [water()] * 50)
    assert some == ("H", "H O", "O H", "O H2")
