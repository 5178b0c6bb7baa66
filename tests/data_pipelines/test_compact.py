"""Structures in few bytes: what comes back, how far it is off, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from data_pipelines.files.compact import FORCE_STEP, POSITION_STEP, from_compact, to_compact
from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError


def splits(count: int) -> list[str]:
    return ["validation" if i % 4 == 0 else "train" for i in range(count)]


def test_structures_come_back_within_half_a_step(structures: list[Structure]) -> None:
    names = splits(len(structures))
    content = to_compact(structures, names)
    assert to_compact(structures, names) == content
    found = from_compact(content, "file")
    assert sorted(found) == ["train", "validation"]
    for split, members in found.items():
        expected = [s for s, name in zip(structures, names, strict=True) if name == split]
        for one, other in zip(members, expected, strict=True):
            np.testing.assert_array_equal(one.atomic_numbers, other.atomic_numbers)
            assert one.atomic_numbers.dtype == np.int32
            assert np.abs(one.positions - other.positions).max() <= POSITION_STEP / 2 + 1e-12
            assert np.abs(one.forces - other.forces).max() <= FORCE_STEP / 2 + 1e-12
            assert (one.energy, one.total_charge) == (other.energy, other.total_charge)
            assert (one.multiplicity, one.pair) == (other.multiplicity, other.pair)
            np.testing.assert_allclose(one.separation, other.separation, rtol=1e-6)
    assert len(content) < 0.7 * sum(s.positions.nbytes + s.forces.nbytes for s in structures)


def test_inputs_besides_the_positions_are_exact(make_structure: Callable[..., Structure]) -> None:
    plain = make_structure([8, 1, 1])
    rng = np.random.default_rng(0)
    polar = replace(plain, atomic_dipoles=rng.normal(size=(3, 3)), multiplicity=3)
    (found,) = from_compact(to_compact([polar], ["train"]), "file")["train"]
    np.testing.assert_array_equal(found.atomic_dipoles, polar.atomic_dipoles)
    assert (found.multiplicity, found.cell) == (3, None)
    crystal = replace(plain, cell=7 * np.eye(3), pbc=(True, True, False))
    (found,) = from_compact(to_compact([crystal], ["train"]), "file")["train"]
    np.testing.assert_array_equal(found.cell, crystal.cell)
    assert found.pbc == (True, True, False)
    assert found.atomic_dipoles is None
    with pytest.raises(DataError, match="cell: 1 of 2 structures have it"):
        to_compact([crystal, plain], ["train", "train"])


def test_other_files_are_refused(make_structure: Callable[..., Structure]) -> None:
    with pytest.raises(DataError, match="structures: got none"):
        to_compact([], [])
    content = to_compact([make_structure([8, 1, 1])], ["train"])
    for wrong in (b"", b"nothing", content[:-40]):
        with pytest.raises(DataError, match=r"set\.npz: cannot read structures from it") as caught:
            from_compact(wrong, "set.npz")
        assert "\n" not in str(caught.value)
