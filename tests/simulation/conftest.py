"""A toy model, and a molecule that it knows."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase import Atoms
from toys import read_all

import efa_zoo


@pytest.fixture(scope="session")
def model(toy_home: Path) -> efa_zoo.Potential:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFA_ZOO_HOME", str(toy_home))
        return efa_zoo.load("toy")


@pytest.fixture
def atoms() -> Atoms:
    """Ammonium and water."""
    (found,) = read_all(efa_zoo.example("ammonium_water"))
    return found
