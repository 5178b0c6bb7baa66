"""The molecules of the data set `organic` and which split each belongs to."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
from jaxtyping import Int32

from efa_zoo.base.errors import DataError

COMMON_FAMILIES = ("water", "ions")
"""Families whose molecules are in all splits, because solutions are made of them: only their
structures are divided."""

HELD_OUT_FAMILIES = ("nitro", "sugars", "ureas")
"""Families that are in the split `transfer` only."""

SHARES: Mapping[str, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}
"""Parts of each other family, by molecules."""

TRANSFER = "transfer"
"""Split of the families that are held out."""


@dataclass(frozen=True)
class Species:
    """A molecule or ion, whose electrons are all paired.

    Attributes:
        number: Its place among all molecules, which numbers its random generators.
        smiles: Canonical SMILES.
        family: The family it stands in.
        atomic_numbers: One per atom: those that the SMILES names in its order, then hydrogens.
        charge: Total charge in e.
        rotors: Number of bonds that conformers turn about.
    """

    number: int
    smiles: str
    family: str
    atomic_numbers: tuple[int, ...]
    charge: int
    rotors: int

    @property
    def numbers(self) -> Int32[np.ndarray, " atoms"]:
        """Int32 `[atoms]`."""
        return np.array(self.atomic_numbers, np.int32)


@functools.cache
def smiles_by_family() -> Mapping[str, tuple[str, ...]]:
    """Read the SMILES of all molecules as they stand in `molecules.toml`."""
    file = resources.files("data_pipelines.sampling.organic").joinpath("molecules.toml")
    families = tomllib.loads(file.read_text(encoding="utf-8"))
    return {family: tuple(text.split()) for family, text in families.items()}


def parse(smiles: str, family: str = "", number: int = -1) -> Species:
    """Read a SMILES.

    Args:
        smiles: Of a molecule of one part.
        family: As of `Species`.
        number: As of `Species`.

    Returns:
        The molecule.

    Raises:
        DataError: If RDKit cannot read it, it has unpaired electrons or several parts.
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdMolDescriptors

    with rdBase.BlockLogs():
        read = Chem.MolFromSmiles(smiles)
    if not read:
        raise DataError(f"SMILES: got {smiles!r}, which RDKit cannot read")
    whole = Chem.AddHs(read)
    atomic_numbers = tuple(atom.GetAtomicNum() for atom in whole.GetAtoms())
    charge = Chem.GetFormalCharge(whole)
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in whole.GetAtoms())
    if unpaired or (sum(atomic_numbers) - charge) % 2:
        raise DataError(f"SMILES: got {smiles!r} with unpaired electrons, expected a closed shell")
    if len(Chem.GetMolFrags(whole)) != 1:
        raise DataError(f"SMILES: got {smiles!r} of several parts, expected one molecule")
    return Species(
        number=number,
        smiles=Chem.MolToSmiles(read),
        family=family,
        atomic_numbers=atomic_numbers,
        charge=charge,
        rotors=rdMolDescriptors.CalcNumRotatableBonds(whole),
    )


def all_species(
    families: Sequence[str] | None = None, per_family: int | None = None
) -> tuple[Species, ...]:
    """Read the molecules of the data set.

    Args:
        families: Which families, None for all.
        per_family: Only the first so many of each family, None for all.

    Returns:
        The molecules, numbered as among all of them.

    Raises:
        DataError: If there is no such family.
    """
    known = smiles_by_family()
    unknown = [family for family in families or () if family not in known]
    if unknown:
        raise DataError(f"families: unknown {unknown}, expected names from {list(known)}")
    found: list[Species] = []
    number = 0
    for family, members in known.items():
        if families is None or family in families:
            chosen = members[:per_family]
            found += [parse(smiles, family, number + i) for i, smiles in enumerate(chosen)]
        number += len(members)
    return tuple(found)


def split_species(
    species: Sequence[Species], held_out: Sequence[str], seed: int
) -> dict[str, tuple[Species, ...]]:
    """Divide molecules among the splits, family by family.

    Args:
        species: The molecules.
        held_out: Families for `transfer`.
        seed: Of the permutation of each family.

    Returns:
        Molecules by split, in their order; those of `COMMON_FAMILIES` are in none.
    """
    homes: dict[int, str] = {}
    for family in sorted({one.family for one in species} - set(COMMON_FAMILIES)):
        members = [one for one in species if one.family == family]
        if family in held_out:
            homes |= {one.number: TRANSFER for one in members}
            continue
        order = np.random.default_rng((seed, members[0].number)).permutation(len(members))
        names = divide(len(members))
        homes |= {members[i].number: name for i, name in zip(order, names, strict=True)}
    return {
        split: tuple(one for one in species if homes.get(one.number) == split)
        for split in (*SHARES, TRANSFER)
    }


def divide(count: int) -> list[str]:
    """Name the split of each of `count` things in shuffled order; training takes the remainder."""
    names: list[str] = []
    for split in ("validation", "test"):
        names += [split] * int(SHARES[split] * count + 0.5)
    return names + ["train"] * (count - len(names))
