"""Reference energies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from data_pipelines.energies import fit_reference_energies, relative_energies
from data_pipelines.structures import Structure
from efa_zoo.errors import DataError

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
