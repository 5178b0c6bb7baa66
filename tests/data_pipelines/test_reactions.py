"""Data sets made by restrained dynamics with GFN2-xTB: `cumulene` and `sn2`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tblite")
pytest.importorskip("tensorflow_datasets")

from builders import load_all, records

from data_pipelines import build, metadata
from data_pipelines._workers import Failure
from data_pipelines.labels.labelling import Geometry, Label, label
from data_pipelines.sampling import cumulene as cumulene
from data_pipelines.sampling import sn2 as sn2
from data_pipelines.sampling.langevin import langevin
from data_pipelines.sampling.monomers import BOLTZMANN

CHLORIDES = (17, 17)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("reactions")
    for name in ("cumulene", "sn2"):
        build(name, data_dir=place, config="tiny", workers=2)
    return place


def rod(seed: int = 0) -> np.ndarray:
    """A distorted cumulene, its ends at an angle."""
    chain = np.array([[0.0, 0.0, 1.28 * i] for i in range(9)])
    ends = [[0, 0.92, -0.6], [0, -0.92, -0.6], [0.8, 0.5, 10.8], [-0.8, -0.5, 10.8]]
    return np.concatenate([chain, ends]) + 0.05 * np.random.default_rng(seed).normal(size=(13, 3))


def complex_(seed: int = 0) -> np.ndarray:
    """A distorted chloride with chloromethane."""
    positions = np.array(
        [[0, 0, 0], [1.0, 0, 0.3], [-0.5, 0.9, 0.3], [-0.5, -0.9, 0.3], [0, 0, -3.0], [0, 0, 1.8]]
    )
    return positions + 0.1 * np.random.default_rng(seed).normal(size=(6, 3))


def minus_gradient(energy: Callable[[np.ndarray], float], x: np.ndarray) -> np.ndarray:
    forces = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        shift = np.zeros_like(x)
        shift[index] = 1e-5
        forces[index] = (energy(x - shift) - energy(x + shift)) / 2e-5
    return forces


def test_dynamics_reach_the_temperature() -> None:
    # A harmonic oscillator: the mean of k x² is k_B T in each direction.
    stiffness, temperature = 2.0, 400.0
    found = np.array(
        list(
            langevin(
                np.zeros((40, 3)),
                np.full(40, 10.0),
                lambda x: -stiffness * x,
                np.random.default_rng(0),
                temperature=temperature,
                time_step=2.0,
                friction=0.05,
                record=range(200, 3000, 10),
            )
        )
    )
    assert found.shape == (280, 40, 3)
    assert stiffness * (found**2).mean() == pytest.approx(BOLTZMANN * temperature, rel=0.03)


def test_turning_an_end_turns_the_dihedral_by_as_much() -> None:
    start = rod()
    for angle in (0.4, -1.3, 2.0):
        turned = cumulene.twist(start, angle)
        change = cumulene.dihedral(turned) - cumulene.dihedral(start) - angle
        assert np.angle(np.exp(1j * change)) == pytest.approx(0, abs=1e-9)
        np.testing.assert_array_equal(turned[:11], start[:11])
        distances = [np.linalg.norm(x[11:] - x[8], axis=1) for x in (turned, start)]
        np.testing.assert_allclose(*distances, rtol=1e-12)


def test_the_dihedral_is_held_by_forces_on_the_hydrogens() -> None:
    positions = rod(1)
    target = cumulene.dihedral(positions) - 0.3

    def energy(x: np.ndarray) -> float:
        return cumulene.STIFFNESS / 2 * (cumulene.dihedral(x) - target) ** 2

    found = cumulene.restraint(positions, target)
    np.testing.assert_allclose(found[9:], minus_gradient(energy, positions)[9:], atol=1e-7)
    assert not found[:9].any()


def test_the_reaction_coordinate_is_held_by_its_gradient() -> None:
    positions = complex_(1)
    target = sn2.reaction_coordinate(positions) + 0.4

    def energy(x: np.ndarray) -> float:
        return sn2.STIFFNESS / 2 * (sn2.reaction_coordinate(x) - target) ** 2

    expected = minus_gradient(energy, positions)
    np.testing.assert_allclose(sn2.restraint(positions, target), expected, atol=1e-8)


def test_charges_are_checked_where_the_ion_is_far() -> None:
    near, far = complex_(), complex_()
    far[4] = [0.0, 0.0, -7.0]
    leaking = np.array([0.1, 0.0, 0.0, 0.0, -0.9, -0.2])
    for positions, expected in ((near, Label), (far, Failure)):
        found = sn2.check_charges(
            positions, CHLORIDES, Label(0.0, np.zeros((6, 3)), leaking, np.zeros(3))
        )
        assert isinstance(found, expected)
    whole = Label(0.0, np.zeros((6, 3)), np.array([0.2, 0.0, 0.0, 0.0, -1.0, -0.2]), np.zeros(3))
    assert sn2.check_charges(far, CHLORIDES, whole) is whole


def test_the_further_halogen_is_the_ion() -> None:
    positions = complex_()
    assert sn2.leaving_ion(positions) == 4
    assert sn2.reaction_coordinate(positions) < 0
    mirrored = positions[[0, 1, 2, 3, 5, 4]]
    assert sn2.leaving_ion(mirrored) == 5
    assert sn2.separation(positions, CHLORIDES) == pytest.approx(
        sn2.separation(mirrored, CHLORIDES)
    )


@pytest.mark.parametrize("name", ["cumulene", "sn2"])
def test_building_twice_gives_the_same_bytes(name: str, place: Path, tmp_path: Path) -> None:
    again = build(name, data_dir=tmp_path, config="tiny", workers=1)
    assert records(again) == records(place / name / "tiny" / again.name)


def test_cumulene_is_labelled_and_split_by_trajectory(place: Path) -> None:
    splits = load_all("cumulene", place)
    assert {split: len(found) for split, found in splits.items()} == {
        "train": 12, "validation": 4, "test": 4, "curves": 7,
    }  # fmt: skip
    groups = [{s.group for s in splits[split]} for split in ("train", "validation", "test")]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 5
    first = splits["train"][0]
    again = label(Geometry(first.atomic_numbers, first.positions, 0))
    assert isinstance(again, Label)
    assert again.energy == pytest.approx(first.energy, abs=1e-8)
    np.testing.assert_allclose(again.forces, first.forces, atol=1e-7)
    assert {s.kind for s in splits["train"]} == {"300 K", "600 K", "1000 K"}


def test_the_profile_of_cumulene_is_symmetric_and_lowest_where_the_ends_cross(place: Path) -> None:
    points = sorted(load_all("cumulene", place)["curves"], key=lambda s: s.coordinate)
    np.testing.assert_allclose([s.coordinate for s in points], np.arange(0, 181, 30), atol=1e-4)
    energies = np.array([s.energy for s in points])
    np.testing.assert_allclose(energies, energies[::-1], atol=1e-4)
    assert energies.argmin() == 3
    assert 0.7 < np.ptp(energies) < 1.0
    chains = np.array([s.positions[:9] for s in points])
    np.testing.assert_array_equal(chains, np.broadcast_to(chains[0], chains.shape))


def test_reactions_keep_their_charge_and_their_order_of_atoms(place: Path) -> None:
    for structures in load_all("sn2", place).values():
        for s in structures:
            assert s.total_charge == -1
            assert s.atomic_numbers.tolist() == [6, 1, 1, 1, 17, 17]
            assert s.fragment_charges.sum() == pytest.approx(-1, abs=1e-7)
            assert s.coordinate == pytest.approx(sn2.reaction_coordinate(s.positions), abs=1e-9)
            assert np.flatnonzero(s.fragment).tolist() == [sn2.leaving_ion(s.positions)]
            assert s.kind == "chloride/chloride"


def test_the_path_of_equal_halides_is_symmetric_with_a_barrier_between_complexes(
    place: Path,
) -> None:
    points = sorted(load_all("sn2", place)["curves"], key=lambda s: s.coordinate)
    coordinates = np.array([s.coordinate for s in points])
    outward = np.concatenate([np.arange(0, 1.95, 0.1), np.arange(2, 10.1, 0.25)])
    expected = np.concatenate([-outward[:0:-1], outward])
    np.testing.assert_allclose(coordinates, expected, atol=1e-9)
    energies = np.array([s.energy for s in points])
    np.testing.assert_allclose(energies, energies[::-1], atol=2e-3)
    middle = len(points) // 2
    complex_energy = energies.min()
    assert 0.2 < energies[middle] - complex_energy < 1.0
    assert 0.2 < energies[0] - complex_energy < 1.0
    # An ion before a dipole: the attraction fades with the distance.
    assert 0 < energies[0] - energies[4] < energies[4] - energies[8]


def test_what_was_dropped_is_counted(place: Path) -> None:
    stored = metadata("sn2", data_dir=place, config="tiny")
    sizes = {split: len(found) for split, found in load_all("sn2", place).items()}
    (counts,) = stored["counts"].values()
    assert counts["kept"] == sum(sizes.values()) - sizes["curves"]
    assert stored["curve_counts"]["chloride/chloride"]["kept"] == sizes["curves"]
