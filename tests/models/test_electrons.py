"""Which structures are known not to be closed shells."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

import efa_zoo
from efa_zoo.base.errors import InputError
from efa_zoo.models.inputs.checks import OutOfRangeWarning
from efa_zoo.models.inputs.electrons import open_shell


def named(atoms: Atoms, charge: int = 0) -> str | None:
    return open_shell(atoms.get_atomic_numbers(), atoms.get_positions(), charge)


@pytest.mark.parametrize(
    ("atoms", "charge", "formula"),
    [
        (molecule("O2"), 0, "O2"),
        (molecule("O2"), -2, None),  # peroxide
        (molecule("S2"), 0, "S2"),
        (molecule("SO"), 0, "OS"),
        (molecule("NH"), 0, "HN"),
        (molecule("NH"), -2, None),
        (molecule("CH2_s3B1d"), 0, "CH2"),
        (Atoms("B2", [[0, 0, 0], [0, 0, 1.59]]), 0, "B2"),
        (molecule("OH"), 1, "HO"),
        (molecule("OH"), -1, None),
        (molecule("H2O"), 0, None),
        (molecule("N2"), 0, None),
        (molecule("C2H4"), 0, None),
        (Atoms("O"), 0, "O"),
        (Atoms("C"), 0, "C"),
        (Atoms("F"), 1, "F"),
        (Atoms("F"), -1, None),
        (Atoms("Ne"), 0, None),
        (Atoms("Mg"), 0, None),
        (Atoms("H"), 1, None),
    ],
)
def test_ground_states(atoms: Atoms, charge: int, formula: str | None) -> None:
    assert named(atoms, charge) == formula


def test_parts_of_a_structure_are_not_looked_at() -> None:
    water, oxygen = molecule("H2O"), molecule("O2")
    oxygen.positions += [0, 0, 4.0]
    assert named(water + oxygen) is None
    assert named(Atoms("O2", [[0, 0, 0], [0, 0, 4.0]])) is None


def test_a_multiplicity_settles_it(zoo: object) -> None:
    oxygen = Atoms("O2", [[0, 0, 0], [0, 0, 1.21]])
    match = "multiplicity: none was given, which means 1, but the ground state of O2"
    with pytest.raises(InputError, match=match):
        efa_zoo.predict("toy", oxygen, charge=0)
    with pytest.warns(OutOfRangeWarning, match=match):
        efa_zoo.predict("toy", oxygen, charge=0, out_of_range="warn")
    singlet = efa_zoo.predict("toy", oxygen, charge=0, multiplicity=1)
    assert np.isfinite(singlet.energy)
    with pytest.raises(InputError, match="multiplicity: got 3, but toy knows only"):
        efa_zoo.predict("toy", oxygen, charge=0, multiplicity=3)
