"""Dimers in contact: placed as asked, explored to their minima, kept in bounds, honestly split."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from itertools import chain

import numpy as np
import pytest
from builders import image, load_all
from scipy.spatial.distance import cdist

pytest.importorskip("tblite")
pytest.importorskip("tensorflow_datasets")

from data_pipelines import Structure, build
from data_pipelines.labels.labelling import Failure, charges_hold
from data_pipelines.sampling.dimers import CloseSettings, DimerSettings, make_dimers
from data_pipelines.sampling.dimers.bonded import (
    hydrogen_bonds,
    place_bonded,
    place_transfer,
    shared_charge,
)
from data_pipelines.sampling.dimers.exploring import Exploration, explore
from data_pipelines.sampling.dimers.making import HIGHEST_ENERGY, HIGHEST_FORCE
from data_pipelines.sampling.monomers import MONOMERS, RelaxedMonomer, numbers_of, relax
from data_pipelines.sampling.placement import contact_distances

KINDS = {
    "isolated",
    "random",
    "scan",
    "contact",
    "hydrogen bond",
    "proton transfer",
    "far",
    "relaxation",
    "stretch",
    "dynamics",
}
SMALL = DimerSettings(
    monomers=("water", "fluoride"),
    per_pair=5,
    per_monomer=5,
    curves_per_pair=0,
    close=CloseSettings(2, 2, 2, 2, 1, points=3, stretches=1, snapshots=2, interval=2),
)


@pytest.fixture(scope="module")
def relaxed() -> dict[str, RelaxedMonomer]:
    found: dict[str, RelaxedMonomer] = {}
    for name in ("water", "ammonium", "fluoride", "formate"):
        monomer = relax(MONOMERS[name])
        assert isinstance(monomer, RelaxedMonomer)
        found[name] = monomer
    return found


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Structure]]:
    place = tmp_path_factory.mktemp("data")
    build("dimers/tiny_wide", data_dir=place, workers=2)
    return load_all("dimers", place, "tiny_wide")


def test_hydrogens_are_given_to_atoms_with_lone_pairs(relaxed: dict[str, RelaxedMonomer]) -> None:
    counts = {
        ("water", "water"): 4,  # two hydrogens to either oxygen
        ("water", "ammonium"): 4,  # a cation accepts none
        ("water", "fluoride"): 2,
        ("ammonium", "formate"): 8,  # the hydrogen of formate finds nothing
        ("water", "formate"): 5,  # four of water's and one of formate's
    }
    for pair, count in counts.items():
        assert len(hydrogen_bonds(pair, relaxed)) == count
    acidic = hydrogen_bonds(("water", "formate"), relaxed, acidic=True)
    assert len(acidic) == 4
    assert all(bond.donor == 0 and bond.heavy == 0 for bond in acidic)


@pytest.mark.parametrize("pair", [("water", "water"), ("water", "formate"), ("water", "ammonium")])
def test_bonds_are_as_long_as_asked(
    pair: tuple[str, str], relaxed: dict[str, RelaxedMonomer]
) -> None:
    molecules = relaxed[pair[0]].positions, relaxed[pair[1]].positions + 3.0
    for i, bond in enumerate(hydrogen_bonds(pair, relaxed)):
        placed = place_bonded(pair, molecules, bond, 0.7, np.random.default_rng(i))
        np.testing.assert_array_equal(placed[bond.donor], molecules[bond.donor])
        hydrogen, acceptor = (
            placed[bond.donor][bond.hydrogen],
            placed[1 - bond.donor][bond.acceptor],
        )
        names = pair[bond.donor], pair[1 - bond.donor]
        touching = contact_distances(numbers_of(names[0]), numbers_of(names[1]))
        wanted = 0.7 * touching[bond.hydrogen, bond.acceptor]
        assert np.linalg.norm(hydrogen - acceptor) == pytest.approx(wanted)
        along, across = hydrogen - placed[bond.donor][bond.heavy], acceptor - hydrogen
        cosine = along @ across / np.linalg.norm(along) / np.linalg.norm(across)
        assert cosine > 0.96
        shape = placed[1 - bond.donor] - placed[1 - bond.donor].mean(axis=0)
        before = molecules[1 - bond.donor] - molecules[1 - bond.donor].mean(axis=0)
        np.testing.assert_allclose(shape @ shape.T, before @ before.T, atol=1e-9)


@pytest.mark.parametrize(("progress", "near"), [(0.0, 0), (1.0, 1)])
def test_a_proton_goes_from_one_bond_length_to_the_other(
    progress: float, near: int, relaxed: dict[str, RelaxedMonomer]
) -> None:
    pair = ("water", "ammonium")
    (bond, *_) = hydrogen_bonds(pair, relaxed, acidic=True)
    assert bond.donor == 1
    molecules = relaxed["water"].positions, relaxed["ammonium"].positions
    rng = np.random.default_rng(0)
    water, ammonium = place_transfer(pair, molecules, bond, 0.6, progress, rng)
    oxygen, nitrogen, proton = water[0], ammonium[0], ammonium[bond.hydrogen]
    lengths = [np.linalg.norm(proton - end) for end in (nitrogen, oxygen)]
    assert lengths[near] == pytest.approx(bond.bonds[near])
    assert sum(lengths) == pytest.approx(np.linalg.norm(oxygen - nitrogen))
    assert sum(lengths) == pytest.approx(sum(bond.bonds) + 0.6)
    others = [i for i in range(5) if i != bond.hydrogen]
    np.testing.assert_array_equal(ammonium[others], molecules[1][others])


def test_only_what_is_bonded_may_share_charge() -> None:
    hydrogen, oxygen = np.array([1], np.int32), np.array([8], np.int32)

    def shared(factor: float) -> float:
        places = np.zeros((1, 3)), np.array([[0.0, 0.0, factor * 2.62]])
        return shared_charge((hydrogen, oxygen), places)

    assert shared(0.95) == shared(5.0) == 0.0
    assert shared(0.7) == pytest.approx(0.35)
    assert shared(0.4) == pytest.approx(0.7)
    formal, charges = np.array([1, -1], np.int32), np.array([0.7, -0.7])
    assert not charges_hold(charges, formal, 3.0)
    assert charges_hold(charges, formal, 3.0, shared=0.35)
    assert not charges_hold(charges, formal, 3.0, shared=0.2)


def test_an_exploration_goes_down_to_a_minimum_and_around_it(
    relaxed: dict[str, RelaxedMonomer],
) -> None:
    pair = ("water", "fluoride")
    (bond, _) = hydrogen_bonds(pair, relaxed)
    molecules = relaxed["water"].positions, relaxed["fluoride"].positions
    placed = place_bonded(pair, molecules, bond, 1.0, np.random.default_rng(0))
    task = Exploration(
        numbers=(numbers_of("water"), numbers_of("fluoride")),
        charges=(0, -1),
        start=np.concatenate(placed),
        points=4,
        stretches=3,
        temperature=300.0,
        record=(3, 6),
        words=(0,),
    )
    found = explore(task)
    assert isinstance(found, list)
    assert Counter(kind for kind, *_ in found) == {"relaxation": 4, "stretch": 3, "dynamics": 2}
    np.testing.assert_array_equal(found[0][1], task.start)
    energies, forces = [], []
    for _, _, labels in found:
        assert not isinstance(labels, Failure)
        energies.append(labels[0].energy)
        forces.append(np.abs(labels[0].forces).max())
    assert energies[3] == min(energies)
    assert forces[3] < 0.01 < forces[0]
    # The known minimum: a strong hydrogen bond, far shorter than the sum of the radii.
    bonded = np.linalg.norm(found[3][1][3] - found[3][1][bond.hydrogen])
    assert 1.2 < bonded < 1.6
    distances = [np.linalg.norm(p[3] - p[0]) for _, p, _ in found]
    assert distances[4] < distances[3] < distances[6]


def test_the_random_dimers_of_full_are_among_them(wide: dict[str, list[Structure]]) -> None:
    settings = DimerSettings(
        monomers=("water", "formaldehyde", "ammonium", "fluoride"),
        per_pair=5,
        per_monomer=5,
        curves_per_pair=1,
    )
    for split, structures in make_dimers(settings, workers=2).splits.items():
        images = {image(dataclasses.replace(s, kind="")) for s in wide[split]}
        assert {image(s) for _, s in structures} <= images


def test_all_kinds_are_there_and_within_bounds(
    wide: dict[str, list[Structure]], relaxed: dict[str, RelaxedMonomer]
) -> None:
    structures = list(chain.from_iterable(wide.values()))
    assert {s.kind for s in structures} == KINDS
    for s in structures:
        assert np.abs(s.forces).max() <= HIGHEST_FORCE
        if set(s.monomers) <= set(relaxed):
            apart = sum(relaxed[name].label.energy for name in s.monomers)
            assert s.energy - apart <= HIGHEST_ENERGY + 1e-6
        if s.monomers[1]:
            assert s.separation <= 15.0
            if s.kind == "far":
                assert s.separation >= 6.0
                np.testing.assert_allclose(s.fragment_charges, s.formal_charges, atol=0.15)
    factors: dict[str, list[float]] = {"contact": [], "hydrogen bond": []}
    for s in structures:
        if s.kind in factors:
            touching = contact_distances(*(numbers_of(name) for name in s.monomers))
            places = (s.positions[s.fragment == i] for i in range(2))
            factors[s.kind].append(float(np.min(cdist(*places) / touching)))
    for found in factors.values():
        assert 0.6 - 1e-9 < min(found) < 0.8


def test_charges_and_dipoles_are_stored(wide: dict[str, list[Structure]]) -> None:
    for s in chain.from_iterable(wide.values()):
        assert s.charges is not None
        assert s.dipole is not None
        assert s.charges.sum() == pytest.approx(s.total_charge, abs=1e-8)
        np.testing.assert_allclose(
            [s.charges[s.fragment == i].sum() for i in range(2)], s.fragment_charges, atol=1e-12
        )
        if s.kind == "far":
            # Two ions are a dipole of their charges; what molecules have adds less than 1 e·Å.
            arms = s.positions - s.positions.mean(axis=0)
            whole = sum(
                q * arms[s.fragment == i].mean(axis=0) for i, q in enumerate(s.formal_charges)
            )
            assert np.linalg.norm(s.dipole - whole) < 1.0


def test_ways_and_trajectories_stay_in_one_split(wide: dict[str, list[Structure]]) -> None:
    homes: dict[str, set[str]] = defaultdict(set)
    for split, structures in wide.items():
        for s in structures:
            assert bool(s.group) == (s.kind in ("relaxation", "stretch", "dynamics"))
            homes[s.group].add(split)
    assert len(homes) > 10
    assert all(len(splits) == 1 for group, splits in homes.items() if group)
    assert all(s.pair == "formaldehyde+ammonium" for s in wide["transfer"])
    everything = [image(s) for s in chain.from_iterable(wide.values())]
    assert len(everything) == len(set(everything))


def test_neither_workers_nor_counts_change_a_structure() -> None:
    one = make_dimers(SMALL, workers=1)
    more = dataclasses.replace(SMALL, close=dataclasses.replace(SMALL.close, contacts=4, far=3))
    other = make_dimers(more, workers=2)
    for split, structures in one.splits.items():
        found = {image(s) for _, s in other.splits[split]}
        assert {image(s) for _, s in structures} <= found
    assert sum(map(len, other.splits.values())) > sum(map(len, one.splits.values()))
