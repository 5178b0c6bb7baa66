"""Structures survive being stored: fields that are not stored have their defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest

from data_pipelines import Structure
from data_pipelines.files.storage import DIMER_FIELDS, from_example, to_example


def encoded(structure: Structure, *extra: str) -> dict[str, object]:
    """An example as a TFDS data source gives it, with texts as bytes."""
    example = to_example(structure, *extra)
    for name in ("group", "kind"):
        if name in example:
            example[name] = example[name].encode()
    if "monomers" in example:
        example["monomers"] = np.array([text.encode() for text in example["monomers"]], object)
    return example


def check_same(one: Structure, other: Structure) -> None:
    for field in fields(Structure):
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert type(a) is type(b)
        if isinstance(a, np.ndarray | float):
            np.testing.assert_array_equal(a, b)
        else:
            assert a == b


@pytest.mark.parametrize(
    "extra", [DIMER_FIELDS, (*DIMER_FIELDS, "group", "atomic_dipoles", "charges", "dipole")]
)
def test_what_is_stored_comes_back(
    extra: tuple[str, ...], make_structure: Callable[..., Structure]
) -> None:
    structure = make_structure([8, 1, 1])
    if "group" in extra:
        structure = replace(
            structure,
            group="water",
            atomic_dipoles=np.ones((3, 3)),
            charges=np.array([-0.6, 0.3, 0.3]),
            dipole=np.array([0.1, 0.2, 0.3]),
        )
    check_same(from_example(encoded(structure, *extra)), structure)


def test_what_is_not_stored_has_its_default(make_structure: Callable[..., Structure]) -> None:
    structure = make_structure([8, 1, 1])
    found = from_example(encoded(structure))
    plain = Structure(
        atomic_numbers=structure.atomic_numbers,
        positions=structure.positions,
        energy=structure.energy,
        forces=structure.forces,
        total_charge=0,
    )
    check_same(found, plain)
    assert found.pair == ""
    assert found.fragment.tolist() == [0, 0, 0]


@pytest.mark.parametrize("field", ["atomic_dipoles", "charges", "dipole"])
def test_what_a_structure_lacks_comes_back_as_none(
    field: str, make_structure: Callable[..., Structure]
) -> None:
    found = from_example(encoded(make_structure([8, 1]), field))
    assert getattr(found, field) is None
