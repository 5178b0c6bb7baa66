"""Conformers by distance geometry (ETKDG) and MMFF94, and distortions of them, all by RDKit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from data_pipelines._workers import Failure
from data_pipelines.labels.units import ENERGY_UNITS

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_ITERATIONS = 2000
# Single bonds outside of rings, none of whose atoms is an end or lies on a line.
_TURNABLE = "[!D1;!$(*#*);!$(*(=*)=*)]-&!@[!D1;!$(*#*);!$(*(=*)=*)]"
_STRETCHABLE = "*~&!@*"
_STRETCHES = (-0.15, 0.35)
_SCALES = (0.95, 1.07)


def embed(smiles: str, rng: np.random.Generator) -> Mol | Failure:
    """Draw a conformer.

    Args:
        smiles: The molecule; stereocentres that are not marked are drawn too.
        rng: Source of randomness; one integer is taken.

    Returns:
        The molecule with hydrogens and one conformer at a minimum of MMFF94, if that has parameters
        for it; a `Failure` with reason `embedding` if there is none.
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    options = rdDistGeom.ETKDGv3()
    options.randomSeed = int(rng.integers(1, 2**31 - 1))
    with rdBase.BlockLogs():  # ETKDG complains about ions
        failed = rdDistGeom.EmbedMolecule(molecule, options) != 0
    if failed:
        return Failure("embedding", smiles)
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
        rdForceFieldHelpers.MMFFOptimizeMolecule(molecule, maxIters=_ITERATIONS)
    return molecule


def positions_of(molecule: Mol) -> Float64[np.ndarray, "atoms 3"]:
    """Positions of the conformer in Å, float64 `[atoms, 3]`."""
    return np.array(molecule.GetConformer().GetPositions(), np.float64)


def place_atoms(molecule: Mol, positions: Float64[np.ndarray, "atoms 3"]) -> None:
    """Move the conformer's atoms to positions in Å."""
    molecule.GetConformer().SetPositions(np.ascontiguousarray(positions))


def turn(
    molecule: Mol, positions: Float64[np.ndarray, "atoms 3"], rng: np.random.Generator
) -> Float64[np.ndarray, "atoms 3"] | None:
    """Turn one half of a molecule about a random bond to a random angle.

    Args:
        molecule: The molecule with a conformer, which is overwritten.
        positions: In Å.
        rng: Source of randomness.

    Returns:
        New positions in Å, None if no bond can be turned about.
    """
    from rdkit.Chem import rdMolTransforms

    bonds = _bonds(molecule, _TURNABLE)
    if not bonds:
        return None
    first, second = bonds[int(rng.integers(len(bonds)))]
    before, after = (
        next(
            atom.GetIdx()
            for atom in molecule.GetAtomWithIdx(here).GetNeighbors()
            if atom.GetIdx() != there
        )
        for here, there in ((first, second), (second, first))
    )
    place_atoms(molecule, positions)
    angle = float(rng.uniform(-180.0, 180.0))
    rdMolTransforms.SetDihedralDeg(molecule.GetConformer(), before, first, second, after, angle)
    return positions_of(molecule)


def stretch(
    molecule: Mol, positions: Float64[np.ndarray, "atoms 3"], rng: np.random.Generator
) -> Float64[np.ndarray, "atoms 3"]:
    """Stretch or compress one bond by -15 to 35%, or every distance by -5 to 7%.

    Args:
        molecule: The molecule with a conformer, which is overwritten.
        positions: In Å.
        rng: Source of randomness.

    Returns:
        New positions in Å.
    """
    from rdkit.Chem import rdMolTransforms

    bonds = _bonds(molecule, _STRETCHABLE)
    if not bonds or rng.random() < 0.5:
        return positions * rng.uniform(*_SCALES)
    first, second = bonds[int(rng.integers(len(bonds)))]
    place_atoms(molecule, positions)
    conformer = molecule.GetConformer()
    length = rdMolTransforms.GetBondLength(conformer, first, second)
    longer = length * (1 + float(rng.uniform(*_STRETCHES)))
    rdMolTransforms.SetBondLength(conformer, first, second, longer)
    return positions_of(molecule)


def _bonds(molecule: Mol, pattern: str) -> Sequence[tuple[int, int]]:
    from rdkit import Chem

    return [(i, j) for i, j in molecule.GetSubstructMatches(Chem.MolFromSmarts(pattern))]


def force_field(
    smiles: Sequence[str],
) -> Callable[[Float64[np.ndarray, "atoms 3"]], Float64[np.ndarray, "atoms 3"]] | None:
    """Make MMFF94 of several molecules together.

    Args:
        smiles: The molecules, in the order of their atoms.

    Returns:
        Forces in eV/Å of positions in Å, None if MMFF94 has no parameters for a molecule.
    """
    from rdkit import Chem
    from rdkit.Chem import rdForceFieldHelpers

    whole = Chem.Mol()
    for one in smiles:
        whole = Chem.CombineMols(whole, Chem.AddHs(Chem.MolFromSmiles(one)))
    Chem.SanitizeMol(whole)
    whole.AddConformer(Chem.Conformer(whole.GetNumAtoms()))
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(whole)
    if properties is None:
        return None
    field = rdForceFieldHelpers.MMFFGetMoleculeForceField(
        whole, properties, ignoreInterfragInteractions=False
    )
    if field is None:
        return None
    field.Initialize()
    unit = ENERGY_UNITS["kcal/mol"]

    def forces(positions: Float64[np.ndarray, "atoms 3"]) -> Float64[np.ndarray, "atoms 3"]:
        flat = positions.ravel().tolist()
        field.CalcEnergy(flat)  # without it the gradient is made of the distances of before
        gradient = np.array(field.CalcGrad(flat))
        return -unit * gradient.reshape(-1, 3)

    return forces
