"""Which molecules and assemblies the data set `organic` draws, and for which split.

Every conformer and every assembly has its own random generator, made of the seed, the series and
its numbers, so the data do not depend on the order in which workers finish.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from data_pipelines.sampling.organic.drawing import AssemblyTask, MoleculeTask, Sampling
from data_pipelines.sampling.organic.molecules import (
    COMMON_FAMILIES,
    HELD_OUT_FAMILIES,
    SHARES,
    TRANSFER,
    Species,
    all_species,
    divide,
    smiles_by_family,
    split_species,
)
from efa_zoo.base.errors import DataError

SPLITS = (*SHARES, TRANSFER)
"""All splits."""

LARGEST_CHARGE = 2
"""Of an assembly in e, in magnitude."""

_TRANSFER_SHARE = 0.1
_WATER = "O"
_COMMON_CHANCE = 0.15
_ION_CHANCE = 0.6
_TRIES = 1000

# First words of random generators.
_MOLECULE, _COMMON, _ASSEMBLY = range(3)

Pool = Mapping[int, Sequence[Float64[np.ndarray, "atoms 3"]]]
"""Geometries in Å by the number of the molecule."""


@dataclass(frozen=True)
class AssemblySeries:
    """Assemblies of one kind.

    Attributes:
        count: Assemblies tried in training, validation and test together; `transfer` has a tenth as
            many besides.
        members: Least and largest number of molecules.
        most_atoms: Largest number of atoms.
        solvent: Whether all molecules are water, but perhaps the first.
        solute: Whether the first molecule is another one.
        sampling: Geometries of each, None for the one in which they are placed.
    """

    count: int
    members: tuple[int, int]
    most_atoms: int
    solvent: bool = False
    solute: bool = True
    sampling: Sampling | None = None


_MOVING = Sampling(descent=30, relaxed=3, frames=3, first=20, interval=10, turned=0, stretched=0)
_LARGE = Sampling(descent=30, relaxed=2, frames=4, first=20, interval=12, turned=0, stretched=0)


def assembly_series(scale: float) -> dict[str, AssemblySeries]:
    """Give the assemblies of a data set of a size.

    Args:
        scale: 1 for the full size.

    Returns:
        Series by name.
    """

    def count(full: int) -> int:
        return round(scale * full)

    return {
        "dimers": AssemblySeries(count(75000), (2, 2), 44),
        "moving_dimers": AssemblySeries(count(4000), (2, 2), 36, sampling=_MOVING),
        "trimers": AssemblySeries(count(15000), (3, 3), 48),
        "moving_trimers": AssemblySeries(count(600), (3, 3), 40, sampling=_MOVING),
        "solvated": AssemblySeries(count(3000), (2, 9), 40, solvent=True, sampling=_MOVING),
        "droplets": AssemblySeries(count(500), (10, 30), 90, solvent=True, sampling=_LARGE),
        "water_clusters": AssemblySeries(
            count(600), (2, 30), 90, solvent=True, solute=False, sampling=_LARGE
        ),
    }


@dataclass(frozen=True)
class OrganicSettings:
    """What to build.

    Attributes:
        families: Names of families of `molecules.toml`.
        per_family: Only the first so many molecules of each family, None for all.
        held_out: Families for the split `transfer`.
        conformers: Conformers of a molecule with two rotatable bonds; up to twice as many where
            there are more, half as many where there are none.
        sampling: Geometries around each conformer.
        assemblies: Series of assemblies by name.
        seed: Of everything random.
        time_limit: Seconds for the geometries of one start.
    """

    families: tuple[str, ...] = field(default_factory=lambda: tuple(smiles_by_family()))
    per_family: int | None = None
    held_out: tuple[str, ...] = HELD_OUT_FAMILIES
    conformers: float = 7.0
    sampling: Sampling = field(default_factory=Sampling)
    assemblies: dict[str, AssemblySeries] = field(default_factory=lambda: assembly_series(1.0))
    seed: int = 0
    time_limit: float = 900.0

    def __post_init__(self) -> None:
        known = list(smiles_by_family())
        for name in ("families", "held_out"):
            unknown = [family for family in getattr(self, name) if family not in known]
            if unknown:
                raise DataError(f"{name}: unknown {unknown}, expected names from {known}")
        common = [family for family in self.held_out if family in COMMON_FAMILIES]
        if common:
            raise DataError(f"held_out: got {common}, expected families that can be held out")
        if self.conformers <= 0:
            raise DataError(f"conformers: got {self.conformers}, expected more than 0")
        if "water" not in self.families and any(
            series.count for series in self.assemblies.values() if series.solvent
        ):
            raise DataError("families: expected water, of which assemblies with solvent are made")


@dataclass(frozen=True)
class Home:
    """Where the geometries of one start belong.

    Attributes:
        split: The split.
        key: Beginning of their keys.
        family: First part of their kind.
        species: The molecules.
    """

    split: str
    key: str
    family: str
    species: tuple[Species, ...]


class Plan:
    """All that is drawn for some settings.

    Args:
        settings: What to build.
    """

    def __init__(self, settings: OrganicSettings) -> None:
        self.settings = settings
        self.species = all_species(settings.families, settings.per_family)
        self.split_species = split_species(self.species, settings.held_out, settings.seed)
        self.common = tuple(one for one in self.species if one.family in COMMON_FAMILIES)

    def molecules(self) -> Iterator[tuple[Home, MoleculeTask]]:
        """Yield the conformers of all molecules, each a start of its own."""
        homes = {one.number: split for split, of in self.split_species.items() for one in of}
        for one in self.species:
            count = self._conformers(one)
            splits = [homes.get(one.number, "")] * count
            if one in self.common:
                rng = np.random.default_rng((self.settings.seed, _COMMON, one.number))
                splits = list(rng.permutation(divide(count)))
            for i, split in enumerate(splits):
                words = (self.settings.seed, _MOLECULE, one.number, i)
                home = Home(str(split), f"molecule/{one.number:04d}/{i:03d}", one.family, (one,))
                yield home, MoleculeTask(one, self.settings.sampling, words)

    def _conformers(self, one: Species) -> int:
        if len(one.atomic_numbers) == 1:
            return 1
        weight = min(2.0, 0.5 + 0.25 * one.rotors)
        return max(1, round(self.settings.conformers * weight))

    def assemblies(self, pool: Pool) -> Iterator[tuple[Home, AssemblyTask]]:
        """Yield the assemblies.

        Args:
            pool: Geometries that the molecules are taken in; those without any are left out.
        """
        for number, (name, series) in enumerate(self.settings.assemblies.items()):
            for place, split in enumerate(SPLITS):
                share = SHARES.get(split, _TRANSFER_SHARE)
                candidates = [one for one in self.split_species[split] if pool.get(one.number)]
                common = [one for one in self.common if pool.get(one.number)]
                if not (candidates if series.solute else split != TRANSFER):
                    continue
                for i in range(round(share * series.count)):
                    words = (self.settings.seed, _ASSEMBLY, number, place, i)
                    rng = np.random.default_rng((*words, 0))
                    chosen = _choose(series, candidates, common, rng)
                    geometries = tuple(
                        pool[one.number][int(rng.integers(len(pool[one.number])))] for one in chosen
                    )
                    task = AssemblyTask(
                        species=chosen,
                        geometries=geometries,
                        packed=series.solvent,
                        sampling=series.sampling,
                        fragments=not series.solvent,
                        words=(*words, 1),
                    )
                    family = name.removeprefix("moving_")
                    yield Home(split, f"{name}/{split}/{i:06d}", family, chosen), task


def _choose(
    series: AssemblySeries,
    candidates: Sequence[Species],
    common: Sequence[Species],
    rng: np.random.Generator,
) -> tuple[Species, ...]:
    """Choose molecules until their number of atoms and their charge are allowed."""
    water = [one for one in common if one.smiles == _WATER]
    for _ in range(_TRIES):
        count = int(rng.integers(series.members[0], series.members[1] + 1))
        if series.solvent:
            first = [_solute(candidates, common, rng)] if series.solute else water
            chosen = (*first, *(water * (count - 1)))
        else:
            # At least one molecule is the split's own.
            chosen = tuple(
                _one(common if i and common and rng.random() < _COMMON_CHANCE else candidates, rng)
                for i in range(count)
            )
        atoms = sum(len(one.atomic_numbers) for one in chosen)
        if atoms <= series.most_atoms and abs(sum(o.charge for o in chosen)) <= LARGEST_CHARGE:
            return chosen
    raise DataError(
        f"assemblies: {_TRIES} choices of {series.members} molecules have more than "
        f"{series.most_atoms} atoms or charges beyond {LARGEST_CHARGE}, expected one that has not"
    )


def _solute(
    candidates: Sequence[Species], common: Sequence[Species], rng: np.random.Generator
) -> Species:
    charged = [one for one in (*candidates, *common) if one.charge]
    return _one(charged if charged and rng.random() < _ION_CHANCE else candidates, rng)


def _one(species: Sequence[Species], rng: np.random.Generator) -> Species:
    return species[int(rng.integers(len(species)))]
