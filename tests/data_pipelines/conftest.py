"""A tiny data set built once for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.structure import Structure

# Labels in the test process, like those in workers: threads only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that holds `dimers` in the config `tiny`."""
    pytest.importorskip("tblite")
    pytest.importorskip("tensorflow_datasets")
    from data_pipelines import build

    place = tmp_path_factory.mktemp("data")
    build("dimers", data_dir=place, config="tiny", workers=2)
    return place


@pytest.fixture(scope="session")
def make_structure() -> Callable[..., Structure]:
    """Makes up a structure of given atomic numbers."""
    return _structure


@pytest.fixture(scope="session")
def structures() -> list[Structure]:
    """Made-up structures of 1 to 12 atoms over H, C and O, each with its own energy."""
    return _structures(101)


def _structure(numbers: list[int], seed: int = 0, *, charge: int = 0) -> Structure:
    """A structure with random positions, energy and forces."""
    rng = np.random.default_rng((seed, *numbers))
    size = len(numbers)
    return Structure(
        atomic_numbers=np.array(numbers, np.int32),
        positions=rng.uniform(-2.0, 2.0, (size, 3)) * size ** (1 / 3),
        energy=float(rng.normal()),
        forces=rng.normal(size=(size, 3)),
        total_charge=charge,
        monomers=("water", ""),
        fragment=np.zeros(size, np.int32),
        separation=float("nan"),
        closest_contact=float("nan"),
        fragment_energies=np.zeros(2),
        fragment_charges=np.zeros(2),
        formal_charges=np.array([charge, 0], np.int32),
        curve=-1,
    )


def _structures(count: int, seed: int = 0) -> list[Structure]:
    """Structures of 1 to 12 atoms, each with its own energy."""
    rng = np.random.default_rng(seed)
    return [
        _structure(
            rng.choice([1, 6, 8], int(rng.integers(1, 13))).tolist(), seed=i, charge=i % 3 - 1
        )
        for i in range(count)
    ]
