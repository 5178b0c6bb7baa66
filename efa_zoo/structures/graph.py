"""One padded molecule as a pytree, and the one place where molecules are padded and stacked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import InputError
from efa_zoo.structures.molecule import Molecule, check_molecule
from efa_zoo.structures.neighbors import all_pairs, neighbor_matrix

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Graph", "Shape", "check_graph", "pack", "pack_one", "stack"]


class Shape(NamedTuple):
    """Padded shape of a batch: molecules, atoms of each and neighbours of each atom."""

    molecules: int
    atoms: int
    neighbors: int


class Graph(eqx.Module):
    """One molecule, padded to a static number of atoms and of neighbours.

    A batch is the same class with one more leading axis on every leaf (see `stack`); modules see
    one molecule, and `jax.vmap` gives them the batch.

    Attributes:
        atomic_numbers: `[atoms]`, 0 marks a padding atom.
        positions: `[atoms, 3]` in Å; padding atoms lie at the origin.
        neighbors: `[atoms, neighbors]`, index of each neighbour; padding entries point to the
            atom itself.
        neighbor_mask: `[atoms, neighbors]`, True for a neighbour, False for padding.
        total_charge: scalar, in units of e.
        atomic_dipoles: `[atoms, 3]` in e·Å, or None.
        unpaired_electrons: scalar, 2S, or None where it is not given.
        reach: all pairs closer than this (Å, static) are among the neighbours; infinity where all
            pairs are. A network refuses a graph that does not reach as far as its cutoff.
    """

    atomic_numbers: Int[Array | np.ndarray, "*batch atoms"]
    positions: Float[Array | np.ndarray, "*batch atoms 3"]
    neighbors: Int[Array | np.ndarray, "*batch atoms neighbors"]
    neighbor_mask: Bool[Array | np.ndarray, "*batch atoms neighbors"]
    total_charge: Int[Array | np.ndarray, "*batch"]
    atomic_dipoles: Float[Array | np.ndarray, "*batch atoms 3"] | None = None
    unpaired_electrons: Int[Array | np.ndarray, "*batch"] | None = None
    reach: float = eqx.field(static=True, default=math.inf)

    @property
    def num_atoms(self) -> int:
        """Padded number of atoms (static)."""
        return self.atomic_numbers.shape[-1]

    @property
    def num_neighbors(self) -> int:
        """Padded number of neighbours of an atom (static)."""
        return self.neighbors.shape[-1]

    @property
    def atom_mask(self) -> Bool[Array, "*batch atoms"]:
        """True for atoms, False for padding."""
        return jnp.asarray(self.atomic_numbers) > 0

    @classmethod
    def from_arrays(
        cls,
        atomic_numbers: Int[np.ndarray, " atoms"] | Sequence[int],
        positions: Float[np.ndarray, "atoms 3"] | Sequence[Sequence[float]],
        cutoff: float | None,
        *,
        total_charge: int = 0,
        atomic_dipoles: Float[np.ndarray, "atoms 3"] | None = None,
        multiplicity: int | None = None,
        num_atoms: int | None = None,
        num_neighbors: int | None = None,
        dtype: np.dtype | type = np.float32,
    ) -> Graph:
        """Build a molecule from atomic numbers and positions.

        Args:
            atomic_numbers: `[atoms]`, each at least 1.
            positions: `[atoms, 3]` in Å.
            cutoff: neighbours are the pairs closer than this (Å); None takes every pair.
            total_charge: in units of e.
            atomic_dipoles: `[atoms, 3]` in e·Å.
            multiplicity: 2S + 1, for networks that embed the spin.
            num_atoms: pad to this many atoms; default is no padding.
            num_neighbors: pad to this many neighbours; default is the largest number found.
            dtype: floating-point type of the result.

        Returns:
            The molecule with NumPy leaves.

        Raises:
            InputError: a shape is wrong, a number is not an element, a position is not finite, the
                charge is no integer, the multiplicity does not fit the electrons, or the padded
                size is too small.
        """
        molecule = check_molecule(
            atomic_numbers, positions, total_charge, atomic_dipoles, multiplicity
        )
        lists = neighbor_matrix(molecule.positions, cutoff)
        graph = pack_one(
            molecule,
            molecule.num_atoms,
            lists[0].shape[1],
            reach=math.inf if cutoff is None else float(cutoff),
            lists=lists,
            dtype=dtype,
            centered=False,
        )
        return graph.pad(num_atoms, num_neighbors)

    @classmethod
    def from_ase(
        cls,
        atoms: Atoms,
        cutoff: float | None,
        *,
        total_charge: int | None = None,
        multiplicity: int | None = None,
        num_atoms: int | None = None,
        num_neighbors: int | None = None,
        dtype: np.dtype | type = np.float32,
    ) -> Graph:
        """Build a molecule from ASE atoms.

        The total charge is `total_charge` if given, else `atoms.info["charge"]`, else 0; the
        multiplicity is `multiplicity` if given, else `atoms.info["spin"]` (2S + 1), else unknown.
        Arguments, result and errors are those of `from_arrays`; periodic atoms are refused.
        """
        if np.any(atoms.pbc):
            raise InputError(
                f"pbc: got {atoms.pbc.tolist()}, expected a molecule without periodicity"
            )
        return cls.from_arrays(
            atoms.get_atomic_numbers(),
            atoms.get_positions(),
            cutoff,
            total_charge=atoms.info.get("charge", 0) if total_charge is None else total_charge,
            atomic_dipoles=atoms.arrays.get("atomic_dipoles"),
            multiplicity=atoms.info.get("spin") if multiplicity is None else multiplicity,
            num_atoms=num_atoms,
            num_neighbors=num_neighbors,
            dtype=dtype,
        )

    def pad(self, num_atoms: int | None = None, num_neighbors: int | None = None) -> Graph:
        """Pad one molecule with NumPy leaves to larger static sizes.

        Args:
            num_atoms: new number of atoms, None keeps it.
            num_neighbors: new number of neighbours, None keeps it.

        Returns:
            The padded molecule.

        Raises:
            InputError: a wanted size is smaller than the present one.
        """
        atoms, width = self.num_atoms, self.num_neighbors
        num_atoms = atoms if num_atoms is None else num_atoms
        num_neighbors = width if num_neighbors is None else num_neighbors
        if num_atoms < atoms:
            raise InputError(f"num_atoms: got {num_atoms}, expected at least {atoms}")
        if num_neighbors < width:
            raise InputError(f"num_neighbors: got {num_neighbors}, expected at least {width}")
        neighbors, mask = _no_neighbors((), num_atoms, num_neighbors)
        neighbors[:atoms, :width] = self.neighbors
        mask[:atoms, :width] = self.neighbor_mask
        dipoles = self.atomic_dipoles
        return Graph(
            atomic_numbers=_pad_rows(self.atomic_numbers, num_atoms),
            positions=_pad_rows(self.positions, num_atoms),
            neighbors=neighbors,
            neighbor_mask=mask,
            total_charge=self.total_charge,
            atomic_dipoles=None if dipoles is None else _pad_rows(dipoles, num_atoms),
            unpaired_electrons=self.unpaired_electrons,
            reach=self.reach,
        )


def _no_neighbors(batch: tuple[int, ...], atoms: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Lists that hold nothing but padding."""
    itself = np.arange(atoms, dtype=np.int32)[:, None]
    shape = (*batch, atoms, width)
    return np.broadcast_to(itself, shape).copy(), np.zeros(shape, bool)


def _pad_rows(rows: Array | np.ndarray, size: int) -> np.ndarray:
    padded = np.zeros((size, *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    return padded


def pack(
    molecules: Sequence[Molecule],
    shape: Shape,
    *,
    reach: float,
    lists: Sequence[tuple[np.ndarray, np.ndarray]] | None = None,
    dtype: np.dtype | type = np.float32,
    centered: bool = True,
) -> Graph:
    """Pad molecules to one shape and stack them: every graph is made here.

    All pairs are listed where the shape has as many neighbours as atoms. Padding has number, mask,
    charge and position zero; padded neighbours point to the atom itself.

    Args:
        molecules: at most `shape.molecules`; all of them have dipoles, or none; multiplicities
            likewise.
        shape: padded sizes; where molecules are missing the batch has only padding.
        reach: pairs closer than this (Å) are neighbours.
        lists: neighbours and mask of each molecule, where they are known; else they are searched.
        dtype: floating-point type.
        centered: move each centroid to the origin, where float32 resolves positions best; networks
            do not care.

    Returns:
        The batch with NumPy leaves.

    Raises:
        InputError: a molecule does not fit the shape, or only some have dipoles or multiplicities.
    """
    count, atoms, width = shape
    dense = lists is None and width == atoms
    for name in ("dipoles", "multiplicity"):
        if len({getattr(molecule, name) is None for molecule in molecules}) > 1:
            raise InputError(f"{name}: given for some molecules only, expected all or none")
    with_dipoles = bool(molecules) and molecules[0].dipoles is not None
    with_spin = bool(molecules) and molecules[0].multiplicity is not None
    numbers = np.zeros((count, atoms), np.int32)
    positions = np.zeros((count, atoms, 3), dtype)
    charges = np.zeros(count, np.int32)
    unpaired = np.zeros(count, np.int32) if with_spin else None
    dipoles = np.zeros((count, atoms, 3), dtype) if with_dipoles else None
    neighbors, mask = _no_neighbors((count,), atoms, width)
    for row, molecule in enumerate(molecules):
        size = molecule.num_atoms
        if size > atoms:
            raise InputError(f"shape: got {atoms} atoms, expected at least {size}")
        numbers[row, :size] = molecule.numbers
        center = molecule.positions.mean(axis=0) if centered else 0
        positions[row, :size] = molecule.positions - center
        charges[row] = molecule.charge
        if unpaired is not None and molecule.multiplicity is not None:
            unpaired[row] = molecule.multiplicity - 1
        if dipoles is not None:
            dipoles[row, :size] = molecule.dipoles
        if not dense:
            found = neighbor_matrix(molecule.positions, reach) if lists is None else lists[row]
            if found[0].shape[1] > width:
                raise InputError(
                    f"shape: got {width} neighbours, expected at least {found[0].shape[1]}"
                )
            neighbors[row, :size, : found[0].shape[1]] = found[0]
            mask[row, :size, : found[1].shape[1]] = found[1]
    if dense:
        neighbors, mask = all_pairs(numbers > 0)
    return Graph(
        atomic_numbers=numbers,
        positions=positions,
        neighbors=neighbors,
        neighbor_mask=mask,
        total_charge=charges,
        atomic_dipoles=dipoles,
        unpaired_electrons=unpaired,
        reach=math.inf if dense else reach,
    )


def pack_one(
    molecule: Molecule,
    atoms: int,
    neighbors: int,
    *,
    reach: float,
    lists: tuple[np.ndarray, np.ndarray] | None = None,
    dtype: np.dtype | type = np.float32,
    centered: bool = True,
) -> Graph:
    """Pad one molecule, as `pack` does, without an axis of molecules.

    Args:
        molecule: the molecule.
        atoms: padded number of atoms.
        neighbors: padded number of neighbours; all pairs are listed where it is that of atoms.
        reach: pairs closer than this (Å) are neighbours.
        lists: its neighbours and mask, where they are known.
        dtype: floating-point type.
        centered: move the centroid to the origin.

    Returns:
        The molecule with NumPy leaves.
    """
    batch = pack(
        [molecule],
        Shape(1, atoms, neighbors),
        reach=reach,
        lists=None if lists is None else [lists],
        dtype=dtype,
        centered=centered,
    )
    return jax.tree.map(lambda leaf: np.asarray(leaf[0]), batch)


def check_graph(graph: Graph) -> None:
    """Refuse a batch, and leaves of a wrong shape or type, where one molecule is expected.

    A module's fields are not checked when it is made, because transformations such as `jax.vmap`
    change their shapes.

    Args:
        graph: the molecule.

    Raises:
        jaxtyping.TypeCheckError: a leaf does not fit, named with what came and what was expected.
    """
    _check_leaves(
        graph.atomic_numbers,
        graph.positions,
        graph.neighbors,
        graph.neighbor_mask,
        graph.total_charge,
        graph.atomic_dipoles,
        graph.unpaired_electrons,
    )


@contract
def _check_leaves(
    atomic_numbers: Int[Array | np.ndarray, " atoms"],
    positions: Float[Array | np.ndarray, "atoms 3"],
    neighbors: Int[Array | np.ndarray, "atoms neighbors"],
    neighbor_mask: Bool[Array | np.ndarray, "atoms neighbors"],
    total_charge: Int[Array | np.ndarray, ""] | np.integer | int,
    atomic_dipoles: Float[Array | np.ndarray, "atoms 3"] | None,
    unpaired_electrons: Int[Array | np.ndarray, ""] | np.integer | int | None,
) -> None:
    """The contract of one molecule; the body is empty."""


def stack(
    graphs: Sequence[Graph], *, num_atoms: int | None = None, num_neighbors: int | None = None
) -> Graph:
    """Stack molecules into a batch, padding all to one size.

    Args:
        graphs: molecules with NumPy leaves, at least one.
        num_atoms: padded number of atoms, default the largest among `graphs`.
        num_neighbors: padded number of neighbours, default the largest among `graphs`.

    Returns:
        One `Graph` whose leaves have a leading molecules axis.

    Raises:
        InputError: no molecules, a size is too small, or only some have atomic dipoles or unpaired
            electrons.
    """
    if not graphs:
        raise InputError("graphs: got none, expected at least one molecule")
    for name in ("atomic_dipoles", "unpaired_electrons"):
        if len({getattr(graph, name) is None for graph in graphs}) > 1:
            raise InputError(f"{name}: given for some molecules only, expected all or none")
    # Of the batch only what holds for every molecule can be said.
    reach = min(graph.reach for graph in graphs)
    graphs = [dataclasses.replace(graph, reach=reach) for graph in graphs]
    atoms = max(graph.num_atoms for graph in graphs) if num_atoms is None else num_atoms
    width = max(graph.num_neighbors for graph in graphs) if num_neighbors is None else num_neighbors
    padded = [graph.pad(atoms, width) for graph in graphs]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *padded)
