"""Bonds made and broken between two structures."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import molecule
from hypothesis import given
from hypothesis import strategies as st
from toys import read_all

import efa_zoo
from efa_zoo.simulation.bonds import changed_bonds


def test_a_proton_that_moves_over_is_noticed() -> None:
    (before,) = read_all(efa_zoo.example("ammonium_water"))
    after = before.copy()
    oxygen, proton = 5, 1
    direction = before.positions[proton] - before.positions[oxygen]
    after.positions[proton] = before.positions[oxygen] + 0.99 * direction / np.linalg.norm(
        direction
    )
    assert changed_bonds(before, after) == ("N0-H1 broken", "H1-O5 made")
    assert changed_bonds(after, before) == ("N0-H1 made", "H1-O5 broken")


@given(st.floats(0.9, 1.15))
def test_bonds_may_be_stretched(factor: float) -> None:
    before = molecule("CH3CH2OH")
    after = before.copy()
    after.positions *= factor
    after.rotate(40, "x")
    assert changed_bonds(before, after) == ()


def test_single_atoms_and_distant_ones_have_no_bonds() -> None:
    assert changed_bonds(Atoms("O"), Atoms("O")) == ()
    apart = Atoms("O2", positions=[[0, 0, 0], [0, 0, 5]])
    assert changed_bonds(apart, Atoms("O2", positions=[[0, 0, 0], [0, 0, 6]])) == ()
