"""Reference energies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from data_pipelines.labels.energies import (
    extend_reference_energies,
    fit_reference_energies,
    move_to_references,
    refit_reference_energies,
    relative_energies,
)
from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError

TRUE = {1: -13.25, 6: -58.5, 8: -112.125}


Molecules = Callable[..., list[Structure]]


@pytest.fixture
def molecules(make_structure: Callable[..., Structure]) -> Molecules:
    """Makes structures of given compositions whose energies are sums over atoms."""

    def make(*compositions: list[int]) -> list[Structure]:
        return [
            dataclasses.replace(make_structure(numbers), energy=sum(TRUE[z] for z in numbers))
            for numbers in compositions
        ]

    return make


def test_additive_energies_are_recovered(molecules: Molecules) -> None:
    found = fit_reference_energies(molecules([8, 1, 1], [6, 1, 1, 1, 1], [6, 8, 8], [1, 1]))
    assert list(found) == [1, 6, 8]
    assert found == pytest.approx(TRUE, abs=1e-9)


def test_undetermined_elements_share_what_their_sum_says(molecules: Molecules) -> None:
    water = molecules([8, 1, 1], [8, 1, 1, 8, 1, 1])
    found = fit_reference_energies(water)
    assert found[8] + 2 * found[1] == pytest.approx(TRUE[8] + 2 * TRUE[1], abs=1e-9)
    assert all(abs(energy) < 100 for energy in found.values())
    np.testing.assert_allclose(relative_energies(water, found), 0.0, atol=1e-9)


def test_subtraction_keeps_small_differences(molecules: Molecules) -> None:
    small = 1e-9
    [one] = molecules([6] * 20)
    other = dataclasses.replace(one, energy=one.energy + small)
    difference = np.diff(relative_energies([one, other], TRUE))
    assert difference[0] == pytest.approx(small, rel=1e-3)


def test_a_missing_element_is_named(molecules: Molecules) -> None:
    with pytest.raises(DataError, match=r"none for \[8\]"):
        relative_energies(molecules([8, 1, 1]), {1: -13.0})


def test_nothing_to_fit() -> None:
    with pytest.raises(DataError, match="structures: got none"):
        fit_reference_energies([])


OLD = {1: -10.0, 6: -50.0, 7: -70.0, 8: -100.0}


def noisy(
    molecules: Molecules, compositions: list[list[int]], scatter: float, seed: int = 0
) -> tuple[list[Structure], np.ndarray]:
    """Structures whose energies are off by random numbers, and what a network says about them."""
    rng = np.random.default_rng(seed)
    network = rng.normal(size=len(compositions))
    errors = scatter * rng.normal(size=len(compositions))
    structures = [
        dataclasses.replace(s, energy=s.energy + float(said + error))
        for s, said, error in zip(molecules(*compositions), network, errors, strict=True)
    ]
    return structures, network


def test_a_refit_finds_another_scale_whatever_the_network_says(molecules: Molecules) -> None:
    kinds = [[8, 1, 1], [6, 1, 1, 1, 1], [6, 8, 8], [1, 1]] * 5
    structures, network = noisy(molecules, kinds, 1e-3)
    found = refit_reference_energies(structures, network, OLD)
    assert list(found) == [1, 6, 7, 8]
    assert {z: found[z] for z in TRUE} == pytest.approx(TRUE, abs=3e-3)
    assert found[7] == OLD[7]


def test_one_composition_moves_its_sum_and_nothing_else(molecules: Molecules) -> None:
    pair = [6, 8, 1, 1, 7, 1, 1, 1, 1]
    structures, network = noisy(molecules, [[z for z in pair if z != 7]] * 50, 1e-3)
    found = refit_reference_energies(structures, network, OLD)
    shift = {z: found[z] - OLD[z] for z in found}
    counts = {1: 6, 6: 1, 8: 1}
    moved = sum(counts[z] * shift[z] for z in counts)
    assert moved == pytest.approx(sum(n * (TRUE[z] - OLD[z]) for z, n in counts.items()), abs=1e-3)
    assert shift[7] == 0
    # Any change that keeps the sum would be larger: the shifts are in proportion to the atoms.
    assert shift[6] == pytest.approx(shift[8]) == pytest.approx(shift[1] / 6)


def test_what_the_data_hardly_determine_stays(molecules: Molecules) -> None:
    # A single methanol among waters alone says how O differs from H, and it is off by chance.
    scale = {z: OLD[z] for z in (1, 6, 8)}
    kinds = [[8, 1, 1]] * 40 + [[8, 6, 1, 1, 1, 1]]
    structures, network = noisy(molecules, kinds, 0.05, seed=1)
    structures = move_to_references(structures, TRUE, scale)
    found = refit_reference_energies(structures, network, scale)
    plain, *_ = np.linalg.lstsq(
        np.array([[np.count_nonzero(s.atomic_numbers == z) for z in scale] for s in structures]),
        relative_energies(structures, scale) - network,
        rcond=None,
    )
    assert np.abs(plain).max() > 0.01
    assert found == scale


def test_a_refit_needs_structures(molecules: Molecules) -> None:
    with pytest.raises(DataError, match="structures: got none"):
        refit_reference_energies([], np.zeros(0), OLD)


def test_new_elements_get_what_the_others_leave_over(molecules: Molecules) -> None:
    structures, network = noisy(molecules, [[8, 1, 1], [6, 8, 8], [6, 8], [6, 1, 1]], 0.0)
    known = {1: TRUE[1], 8: TRUE[8], 7: -70.0}
    found = extend_reference_energies(structures, network, known)
    assert list(found) == [1, 6, 7, 8]
    assert found == pytest.approx({**TRUE, 7: -70.0}, abs=1e-9)
    assert {z: found[z] for z in known} == known
    waters, network = noisy(molecules, [[8, 1, 1]], 0.5)
    assert extend_reference_energies(waters, network, OLD) == OLD


def test_moving_labels_to_another_scale_keeps_relative_energies(molecules: Molecules) -> None:
    structures, _ = noisy(molecules, [[8, 1, 1], [6, 8, 8], [1, 1]], 0.5)
    moved = move_to_references(structures, TRUE, OLD)
    np.testing.assert_allclose(
        relative_energies(moved, OLD), relative_energies(structures, TRUE), atol=1e-9
    )
    for one, other in zip(structures, moved, strict=True):
        assert other.forces is one.forces
    back = move_to_references(moved, OLD, TRUE)
    assert [s.energy for s in back] == pytest.approx([s.energy for s in structures], abs=1e-9)
