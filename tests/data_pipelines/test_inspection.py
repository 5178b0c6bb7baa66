"""Duplicates and outliers are found, and only those."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipelines import Structure
from data_pipelines.files.inspection import find_duplicates, inspect

Make = Callable[..., Structure]


def many(make: Make, count: int, numbers: tuple[int, ...] = (8, 1, 1, 6)) -> list[Structure]:
    """Structures of one composition; energies and forces vary as in a simulation."""
    rng = np.random.default_rng(7)
    return [
        dataclasses.replace(
            make(list(numbers), seed=i),
            energy=-100.0 + 0.1 * float(rng.normal()),
            positions=2.0 * np.eye(len(numbers), 3) + 0.1 * rng.normal(size=(len(numbers), 3)),
            forces=rng.normal(size=(len(numbers), 3)),
        )
        for i in range(count)
    ]


def copy(structure: Structure, seed: int, *, shift: float, noise: float = 0.0) -> Structure:
    """The same structure moved, with its atoms in another order."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(structure.atomic_numbers))
    positions = structure.positions[order] + shift
    return dataclasses.replace(
        structure,
        atomic_numbers=structure.atomic_numbers[order],
        positions=positions + noise * rng.uniform(-1, 1, positions.shape),
        forces=structure.forces[order],
    )


@given(seed=st.integers(0, 1000), shift=st.sampled_from([0.0, 2.5, -100.0]))
def test_copies_are_found_however_moved_and_ordered(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    base = [
        Structure(
            atomic_numbers=rng.choice([1, 6, 8], 6).astype(np.int32),
            positions=rng.normal(size=(6, 3)) * 2,
            energy=1.0,
            forces=np.ones((6, 3)),
            total_charge=0,
        )
        for _ in range(8)
    ]
    copies = [copy(base[3], seed, shift=shift, noise=1e-6), copy(base[0], seed, shift=shift)]
    assert find_duplicates(base + copies) == [(3, 8), (0, 9)]


@pytest.mark.parametrize(
    "change",
    [
        lambda s: dataclasses.replace(s, positions=s.positions * [1, 1, 1.01]),
        lambda s: dataclasses.replace(s, total_charge=1),
        lambda s: dataclasses.replace(s, atomic_numbers=s.atomic_numbers[[1, 0, 2, 3]]),
        lambda s: dataclasses.replace(s, positions=s.positions[[1, 0, 2, 3]]),
        lambda s: dataclasses.replace(s, atomic_dipoles=np.ones((4, 3))),
    ],
)
def test_what_differs_is_no_copy(
    change: Callable[[Structure], Structure], make_structure: Make
) -> None:
    original = make_structure([8, 1, 1, 6])
    assert find_duplicates([original, change(original)]) == []


def test_many_exact_copies_are_pairs_with_the_first(make_structure: Make) -> None:
    original = make_structure([8, 1, 1, 6])
    assert find_duplicates([original] * 500) == [(0, i) for i in range(1, 500)]


def test_single_atoms_of_one_element_are_copies(make_structure: Make) -> None:
    atoms = [make_structure([8], seed=0), make_structure([8], seed=1), make_structure([1])]
    assert find_duplicates(atoms) == [(0, 1)]


def test_small_steps_of_a_scan_do_not_add_up(make_structure: Make) -> None:
    original = make_structure([8, 1])
    scan = [
        dataclasses.replace(original, positions=original.positions * [1, 1, 1 + 5e-5 * i])
        for i in range(5)
    ]
    # Each step alone is within the tolerance, two are as well, and more are not.
    found = find_duplicates(scan)
    assert (0, 4) not in found
    assert len(found) < 4


def test_contradicting_copies_are_named(make_structure: Make) -> None:
    structures = many(make_structure, 30)
    twin = copy(structures[4], 0, shift=1.0)
    found = inspect([*structures, twin, dataclasses.replace(twin, energy=twin.energy + 0.1)])
    assert found.duplicates == ((4, 30), (4, 31))
    assert found.conflicts == ((4, 31),)
    assert found.warnings == [
        "2 duplicates (same atoms at the same places): 30 = 4, 31 = 4",
        "1 duplicates whose energies differ by over 0.001 eV: 31 = 4",
    ]


def test_energies_far_from_their_composition_are_named(make_structure: Make) -> None:
    structures = many(make_structure, 40) + many(make_structure, 40, (1, 1, 1))
    structures[50] = dataclasses.replace(structures[50], energy=structures[50].energy + 3.0)
    found = inspect(structures)
    assert found.energy_outliers == (50,)
    assert found.warnings == ["1 energies far from the others of their composition: 50"]


def test_energies_of_rare_compositions_are_judged_together(make_structure: Make) -> None:
    rng = np.random.default_rng(0)
    structures: list[Structure] = []
    for i in range(60):
        numbers = rng.choice([1, 6, 8], int(rng.integers(3, 12))).tolist()
        energy = sum({1: -13.0, 6: -1030.0, 8: -2040.0}[z] for z in numbers)
        structures.append(
            dataclasses.replace(
                make_structure(numbers, seed=i), energy=energy + 0.05 * float(rng.normal())
            )
        )
    assert inspect(structures).energy_outliers == ()
    structures[7] = dataclasses.replace(structures[7], energy=structures[7].energy / 27.2)
    assert 7 in inspect(structures).energy_outliers


def test_large_forces_are_named_and_small_ones_are_not(make_structure: Make) -> None:
    structures = many(make_structure, 50)
    structures[3] = dataclasses.replace(structures[3], forces=structures[3].forces * 500)
    structures[4] = dataclasses.replace(structures[4], forces=structures[4].forces * 0)
    found = inspect(structures)
    assert found.force_outliers == (3,)


def test_overlapping_atoms_are_named(make_structure: Make) -> None:
    structure = make_structure([1, 1])
    close = dataclasses.replace(structure, positions=np.array([[0, 0, 0], [0, 0, 0.4]]))
    fine = dataclasses.replace(structure, positions=np.array([[0, 0, 0], [0, 0, 0.74]]))
    assert inspect([fine, close]).overlaps == (1,)


def test_long_lists_are_cut(make_structure: Make) -> None:
    (line,) = inspect([make_structure([8, 1, 1, 6])] * 10).warnings
    assert line.endswith("1 = 0, 2 = 0, 3 = 0, 4 = 0, 5 = 0, …")


def test_good_structures_give_no_warnings(make_structure: Make) -> None:
    assert inspect(many(make_structure, 200)).warnings == []
