"""Structures that a model is unsure of: found, told apart, labelled, and found again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from toys import calibrated

import efa_zoo
from data_pipelines.structure import Structure
from efa_zoo.base.errors import InputError
from efa_zoo.simulation import Grown, grow, growing

pytest.importorskip("tblite")


_RADICAL = Atoms("OH", [[0, 0, 0], [0, 0, 1.0]])
_TRIPLET = Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], info={"spin": 3})


@pytest.fixture(scope="module")
def sure(model: efa_zoo.Potential) -> efa_zoo.Potential:
    """A model that knows water molecules near their equilibrium, and says so."""
    known = calibrated(model, molecule("H2O"))
    source = dataclasses.replace(known.card.data, level_of_theory="GFN2-xTB (tblite 0.8)")
    return dataclasses.replace(known, card=dataclasses.replace(known.card, data=source))


@pytest.fixture(scope="module")
def starts() -> list[Atoms]:
    return [molecule("H2O"), molecule("H2O")]


def _grow(sure: efa_zoo.Potential, starts: Sequence[Atoms], **options: int) -> Grown:
    return grow(sure, starts, **{"count": 8, "steps": 60, "rounds": 2, "workers": 1, **options})


@pytest.fixture(scope="module")
def grown(sure: efa_zoo.Potential, starts: list[Atoms]) -> Grown:
    return _grow(sure, starts)


def _sides(structure: Structure) -> np.ndarray:
    """The two O-H distances of a water molecule, sorted, and that of H and H."""
    oxygen, *hydrogens = structure.positions[np.argsort(-structure.atomic_numbers)]
    bonds = sorted(float(np.linalg.norm(h - oxygen)) for h in hydrogens)
    return np.array([*bonds, np.linalg.norm(hydrogens[0] - hydrogens[1])])


def test_what_is_uncertain_is_labelled(
    sure: efa_zoo.Potential, starts: list[Atoms], grown: Grown
) -> None:
    from data_pipelines.labels.labelling import Geometry, Label, label

    assert len(grown.structures) + sum(grown.dropped.values()) == 8
    assert len(grown.structures) >= 4
    assert grown.visited > 2 * 2 * 7  # two rounds, two starts, seven frames of each dynamics
    assert 0 < grown.unknown <= grown.visited
    assert {s.group for s in grown.structures} <= {"start 0", "start 1"}
    for structure in grown.structures:
        found = label(Geometry(structure.atomic_numbers, structure.positions, 0))
        assert isinstance(found, Label)
        assert structure.energy == pytest.approx(found.energy, abs=1e-7)
        np.testing.assert_allclose(structure.forces, found.forces, atol=1e-5)
        np.testing.assert_allclose(structure.charges, found.charges, atol=1e-5)
    sides = [_sides(structure) for structure in grown.structures]
    for number, one in enumerate(sides):
        assert all(np.abs(one - other).max() > 0.1 for other in sides[:number])
    # They are less certain than what the model knows.
    taken = [Atoms(s.atomic_numbers, s.positions) for s in grown.structures]
    with pytest.warns(efa_zoo.OutOfRangeWarning):
        first, *others = efa_zoo.predict(sure, [starts[0], *taken], charge=0, out_of_range="warn")
    assert first.extrapolation is not None
    grades = [one.extrapolation.max() for one in others if one.extrapolation is not None]
    assert np.median(grades) > first.extrapolation.max()


def test_the_seed_decides(sure: efa_zoo.Potential, starts: list[Atoms], grown: Grown) -> None:
    again, other = _grow(sure, starts), _grow(sure, starts, seed=1)
    assert str(again) == str(grown)
    for one, same in zip(grown.structures, again.structures, strict=True):
        np.testing.assert_array_equal(one.positions, same.positions)
        assert one.energy == same.energy
    assert not all(
        np.array_equal(one.positions, changed.positions)
        for one, changed in zip(grown.structures, other.structures, strict=False)
    )


def test_labels_of_no_use_are_counted(
    sure: efa_zoo.Potential, starts: list[Atoms], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing, "_LARGEST_FORCE", 1e-9)
    found = _grow(sure, starts[:1], rounds=1, count=3)
    assert (found.structures, found.dropped) == ([], {"strong force": 3})
    assert str(found).endswith("unknown to the model; 0 labelled, dropped 3 strong force")


def test_the_same_geometry_is_taken_once() -> None:
    atoms = molecule("CH3OH")
    atoms.info["charge"] = 0
    turned = atoms[[4, 0, 1, 5, 3, 2]]
    turned.rotate(70, (1, 2, 3))
    turned.translate((1, 2, 3))
    stretched, ion = atoms.copy(), atoms.copy()
    stretched.set_distance(0, 1, atoms.get_distance(0, 1) + 0.2)
    ion.info["charge"] = 1
    candidates = [
        growing._Judged("start 0", one, 0.0, 0.0, 0.0)
        for one in (atoms, turned, stretched, ion, atoms)
    ]
    taken = [one.atoms for one in growing._Taken().of(candidates)]
    assert [one is expected for one, expected in zip(taken, (atoms, stretched, ion), strict=True)]
    assert len(taken) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count: got 0, expected at least 1"),
        ({"rounds": 0}, "rounds: got 0, expected at least 1"),
        ({"steps": 0}, "steps: got 0, expected at least 1"),
        ({"starts": []}, "starts: got none, expected at least one"),
        ({"starts": [molecule("SiH4")]}, "start 0: .*Si"),
        ({"starts": [molecule("H2O"), _RADICAL]}, "start 1: multiplicity: got 1 for 9 electrons"),
        ({"starts": [_TRIPLET]}, "start 0: multiplicity: got 3 for 16 electrons, expected paired"),
        ({"starts": [molecule("H2O", vacuum=4, pbc=True)]}, "start 0: pbc: got"),
    ],
)
def test_what_cannot_be_grown_is_refused_early(
    sure: efa_zoo.Potential,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, object],
    message: str,
) -> None:
    monkeypatch.setattr(growing, "_visit", None)  # nothing is computed
    arguments = {"starts": [molecule("H2O")], "charge": 0, **options}
    with pytest.raises(InputError, match=message):
        grow(sure, **arguments)


def test_models_that_cannot_judge_themselves_are_refused(
    model: efa_zoo.Potential, starts: list[Atoms]
) -> None:
    with pytest.raises(InputError, match="toy is not calibrated, expected one that knows"):
        grow(model, starts)
    with pytest.raises(InputError, match="toy is of none, expected GFN2-xTB"):
        grow(calibrated(model, molecule("H2O")), starts)
