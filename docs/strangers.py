"""Structures that a model has not learned from, labelled by the method of its data.

Molecules of the data set `organic` (its SMILES, embedded anew) and random compositions for models
of GFN2-xTB; random points for those of a closed form; and for every model structures of its test
split that were scaled, or of which one atom was moved far, taken away or exchanged for another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from ase import Atoms

from data_pipelines import load_split
from data_pipelines._workers import Failure
from data_pipelines.labels.labelling import Geometry, label
from data_pipelines.labels.potentials import (
    cluster_potential,
    damped_coulomb_potential,
    inverse_potential,
    sum_over_pairs,
    two_atom_potential,
)
from data_pipelines.labels.salt import salt_label
from data_pipelines.sampling.organic.conformers import embed, positions_of
from data_pipelines.sampling.organic.molecules import all_species
from data_pipelines.structure import Structure
from efa_zoo import Potential
from efa_zoo.structures.elements import ATOMIC_NUMBERS

__all__ = ["Labelled", "compositions", "distortions", "has_closed_form", "molecules", "points"]

#: Largest molecules that are made, and how many of each kind.
MOST_ATOMS, MOST_MOLECULES, COMPOSITIONS, DISTORTIONS = 24, 400, 100, 400

Labelled = tuple[Atoms, float]


def elements_of(model: Potential) -> list[str]:
    """Symbols of the elements that a model knows."""
    assert model.card.domain is not None
    return list(model.card.domain.elements)


def labelled(atoms: Atoms, charge: int) -> Iterator[Labelled]:
    """A structure with its energy by GFN2-xTB, if that converges."""
    numbers = atoms.get_atomic_numbers().astype(np.int32)
    found = label(Geometry(numbers, atoms.get_positions(), charge))
    if not isinstance(found, Failure):
        atoms.info["charge"] = charge
        yield atoms, found.energy


def molecules(model: Potential, known: set[tuple[int, ...]]) -> Iterator[Labelled]:
    """Molecules of a model's elements whose compositions are not in its data."""
    elements = {ATOMIC_NUMBERS[element] for element in elements_of(model)}
    assert model.card.domain is not None
    charges = model.card.domain.total_charges
    rng = np.random.default_rng(0)
    chosen = [
        species
        for species in all_species()
        if set(species.atomic_numbers) <= elements
        and species.charge in charges
        and tuple(sorted(species.atomic_numbers)) not in known
        and 2 <= len(species.atomic_numbers) <= MOST_ATOMS
    ]
    for i in rng.permutation(len(chosen))[:MOST_MOLECULES]:
        made = embed(chosen[i].smiles, rng)
        if not isinstance(made, Failure):
            atoms = Atoms(chosen[i].numbers, positions_of(made))
            yield from labelled(atoms, chosen[i].charge)


def random_points(rng: np.random.Generator, count: int, size: float, apart: float) -> np.ndarray:
    """Points in a cube, none closer than a distance."""
    points: list[np.ndarray] = []
    while len(points) < count:
        point = rng.uniform(-size / 2, size / 2, 3)
        if all(np.linalg.norm(point - other) > apart for other in points):
            points.append(point)
        size *= 1.01
    return np.asarray(points)


def compositions(model: Potential, known: set[tuple[int, ...]]) -> Iterator[Labelled]:
    """Random atoms at random places, by GFN2-xTB."""
    rng = np.random.default_rng(1)
    numbers = np.asarray([ATOMIC_NUMBERS[element] for element in elements_of(model)])
    assert model.card.domain is not None
    charge = min(model.card.domain.total_charges, key=abs)
    made = 0
    while made < COMPOSITIONS:
        count = int(rng.integers(2, 13))
        chosen = rng.choice(numbers, count)
        if (chosen.sum() - charge) % 2 or tuple(sorted(chosen.tolist())) in known:
            continue
        made += 1
        points = random_points(rng, count, 1.3 * count ** (1 / 3), 0.95)
        yield from labelled(Atoms(chosen, points), charge)


def has_closed_form(model: Potential) -> bool:
    """Whether random points can be labelled by the formula of a model's data."""
    return model.card.data.name in _PAIRS


#: Pair potentials by data set, and whether the charges of the elements enter.
_PAIRS: dict[str, tuple[Any, bool]] = {
    "clusters/atoms16": (cluster_potential, False),
    "clusters/atoms32": (cluster_potential, False),
    "nacl_spheres": (damped_coulomb_potential, True),
    "chains": (inverse_potential, True),
    "two_atoms": (two_atom_potential, False),
}
_CHARGES = {"Na": 1.0, "Cl": -1.0, "He": 1.0, "Li": -1.0, "H": 0.0}


def energy_by(data: str) -> Callable[[Atoms], float | None]:
    """Label structures as a data set does; None where its method does not converge."""
    if data in _PAIRS:
        potential, charged = _PAIRS[data]

        def by_pairs(atoms: Atoms) -> float:
            signs = np.asarray([_CHARGES[s] for s in atoms.get_chemical_symbols()])
            return sum_over_pairs(potential, atoms.get_positions(), signs if charged else None)[0]

        return by_pairs
    if data == "nacl_bulk":

        def in_cell(atoms: Atoms) -> float:
            numbers = atoms.get_atomic_numbers().astype(np.int32)
            return salt_label(numbers, atoms.get_positions(), atoms.cell.array).energy

        return in_cell
    if data == "charge_dipole":

        def by_dipole(atoms: Atoms) -> float:
            # The charge comes first. Linear in the dipole, so that its length may be any.
            vector = atoms.positions[0] - atoms.positions[1]
            along = float(np.sum(atoms.arrays["atomic_dipoles"][1] * vector))
            return float((1 - along) / np.linalg.norm(vector) ** 3)

        return by_dipole

    def by_xtb(atoms: Atoms) -> float | None:
        numbers = atoms.get_atomic_numbers().astype(np.int32)
        found = label(Geometry(numbers, atoms.get_positions(), atoms.info["charge"]))
        return None if isinstance(found, Failure) else found.energy

    return by_xtb


def points(model: Potential, known: set[tuple[int, ...]]) -> Iterator[Labelled]:
    """Random atoms at random places, by a closed form."""
    energy = energy_by(model.card.data.name)
    assert model.card.domain is not None
    rng = np.random.default_rng(2)
    domain = model.card.domain
    sizes = sorted({len(composition) for composition in known})
    for _ in range(4 * COMPOSITIONS):
        count = int(rng.integers(2, max(3, sizes[-1] + 1)))
        chosen = rng.choice(elements_of(model), count)
        size = float(rng.uniform(0.3, 1.0)) * domain.max_distance / 3**0.5
        places = random_points(rng, count, size, domain.min_distance)
        atoms = Atoms(chosen, places, info={"charge": 0})
        label_ = energy(atoms)
        assert label_ is not None
        yield atoms, label_


def distortions(model: Potential, data_dir: str | None) -> Iterator[Labelled]:
    """Structures of the test split, each changed in one way."""
    rng = np.random.default_rng(4)
    name = model.card.data.name
    energy = energy_by(name)
    structures = load_split(name, "test", data_dir=data_dir)
    ways: list[Callable[[Atoms, np.random.Generator], object]] = [_scale, _move]
    if name == "charge_dipole":
        ways.append(_lengthen)
    elif name == "nacl_bulk":
        ways.append(_swap)
    else:
        ways += [_remove, _swap]
    for number, i in enumerate(rng.permutation(len(structures))[:DISTORTIONS]):
        atoms = _atoms(structures[i])
        ways[number % len(ways)](atoms, rng)
        pairs = np.linalg.norm(atoms.positions[:, None] - atoms.positions, axis=-1)
        if atoms.pbc.any():
            pairs = atoms.get_all_distances(mic=True)
        apart = pairs[np.triu_indices(len(atoms), 1)].min(initial=np.inf)
        electrons = int(atoms.numbers.sum()) - atoms.info["charge"]
        closed = model.card.domain is not None and model.card.domain.closed_shell
        if apart < 0.3 or len(atoms) < 2 or (closed and electrons % 2):
            continue  # which is refused before anything is computed
        label_ = energy(atoms)
        if label_ is not None:
            yield atoms, label_


def _atoms(structure: Structure) -> Atoms:
    atoms = Atoms(structure.atomic_numbers, structure.positions)
    atoms.info["charge"] = structure.total_charge
    if structure.cell is not None:
        atoms.cell, atoms.pbc = structure.cell, structure.pbc
    if structure.atomic_dipoles is not None:
        atoms.arrays["atomic_dipoles"] = structure.atomic_dipoles
    return atoms


def _scale(atoms: Atoms, rng: np.random.Generator) -> None:
    """Stretch or compress everything."""
    factor = float(np.exp(rng.uniform(-0.35, 0.35)))
    atoms.set_cell(factor * atoms.cell.array)
    atoms.positions *= factor


def _move(atoms: Atoms, rng: np.random.Generator) -> None:
    """Move an atom by some 1 Å."""
    atoms.positions[rng.integers(len(atoms))] += rng.normal(scale=0.6, size=3)


def _remove(atoms: Atoms, rng: np.random.Generator) -> None:
    """Take an atom away, and in a molecule another one, so that shells stay closed."""
    for _ in range(2 if len(atoms) > 3 else 1):
        del atoms[int(rng.integers(len(atoms)))]


def _swap(atoms: Atoms, rng: np.random.Generator) -> None:
    """Exchange two atoms, of different elements if there are several."""
    first, second = rng.choice(len(atoms), 2, replace=False)
    others = np.flatnonzero(atoms.numbers != atoms.numbers[first])
    if len(others):
        second = rng.choice(others)
    atoms.positions[[first, second]] = atoms.positions[[second, first]]


def _lengthen(atoms: Atoms, rng: np.random.Generator) -> None:
    """Give dipoles another length."""
    atoms.arrays["atomic_dipoles"] = atoms.arrays["atomic_dipoles"] * rng.uniform(0, 3)
