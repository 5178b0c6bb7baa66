"""One padded molecule as a pytree, and the one place where graphs are made and stacked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import InputError
from efa_zoo.structures.cells import OPEN, Pbc, same_for_all
from efa_zoo.structures.molecule import Molecule, check_molecule
from efa_zoo.structures.neighbors import Neighbors, neighbor_matrix
from efa_zoo.structures.packing import (
    Shape,
    no_neighbors,
    number_of_waves,
    pad_rows,
    padded_leaves,
)

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Graph", "Shape", "check_graph", "pack", "pack_one", "stack"]


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
        cell: `[3, 3]`, lattice vectors in Å as rows; None without periodicity.
        shifts: `[atoms, neighbors, 3]`, how many cells away each neighbour is along each lattice
            vector; None without periodicity.
        waves: `[waves, 3]`, integers n of the wave vectors 2π n · (cell⁻¹)ᵀ that attention sums
            over, one of every two opposite ones; zeros are padding. None where there is no
            attention, or not all directions are periodic.
        reach: all pairs closer than this (Å, static) are among the neighbours; infinity where all
            pairs are. A network refuses a graph that does not reach as far as its cutoff.
        pbc: which directions are periodic (static).
        wave_reach: all wave vectors shorter than this (1/Å, static) are among the waves. A network
            refuses a graph that does not reach as far as its attention.
    """

    atomic_numbers: Int[Array | np.ndarray, "*batch atoms"]
    positions: Float[Array | np.ndarray, "*batch atoms 3"]
    neighbors: Int[Array | np.ndarray, "*batch atoms neighbors"]
    neighbor_mask: Bool[Array | np.ndarray, "*batch atoms neighbors"]
    total_charge: Int[Array | np.ndarray, "*batch"]
    atomic_dipoles: Float[Array | np.ndarray, "*batch atoms 3"] | None = None
    unpaired_electrons: Int[Array | np.ndarray, "*batch"] | None = None
    cell: Float[Array | np.ndarray, "*batch 3 3"] | None = None
    shifts: Int[Array | np.ndarray, "*batch atoms neighbors 3"] | None = None
    waves: Int[Array | np.ndarray, "*batch waves 3"] | None = None
    reach: float = eqx.field(static=True, default=math.inf)
    pbc: Pbc = eqx.field(static=True, default=OPEN)
    wave_reach: float = eqx.field(static=True, default=0.0)

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

    def displacements(
        self, others: Float[Array, "others 3"] | None = None
    ) -> Float[Array, "atoms neighbors 3"]:
        """Vectors in Å from every atom of one molecule to each of its neighbours.

        Args:
            others: positions that `neighbors` counts, where the molecule holds some of them only;
                None for its own.
        """
        positions = jnp.asarray(self.positions)
        others = positions if others is None else others
        found = others[jnp.asarray(self.neighbors)] - positions[:, None, :]
        if self.cell is None or self.shifts is None:
            return found
        shifts = jnp.asarray(self.shifts).astype(positions.dtype)
        return found + jnp.matmul(shifts, jnp.asarray(self.cell), precision="highest")

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
        cell: Float[np.ndarray, "3 3"] | Sequence[Sequence[float]] | None = None,
        pbc: bool | Sequence[bool] | np.ndarray | None = None,
        wave_reach: float = 0.0,
        num_atoms: int | None = None,
        num_neighbors: int | None = None,
        dtype: np.dtype | type = np.float32,
    ) -> Graph:
        """Build a molecule from atomic numbers and positions.

        Args:
            atomic_numbers: `[atoms]`, each at least 1.
            positions: `[atoms, 3]` in Å.
            cutoff: neighbours are the pairs closer than this (Å); None takes every pair, which a
                periodic structure cannot.
            total_charge: in units of e.
            atomic_dipoles: `[atoms, 3]` in e·Å.
            multiplicity: 2S + 1, for networks that embed the spin.
            cell: lattice vectors in Å as rows.
            pbc: which directions are periodic; without it all of them if there is a cell.
            wave_reach: wave vectors shorter than this (1/Å) are listed, as attention in a cell
                needs them (`EnergyModel.wave_reach`).
            num_atoms: pad to this many atoms; default is no padding.
            num_neighbors: pad to this many neighbours; default is the largest number found.
            dtype: floating-point type of the result.

        Returns:
            The molecule with NumPy leaves.

        Raises:
            InputError: a shape is wrong, a number is not an element, a position is not finite, the
                charge is no integer, the multiplicity does not fit the electrons, the cell is none,
                or the padded size is too small.
        """
        molecule = check_molecule(
            atomic_numbers, positions, total_charge, atomic_dipoles, multiplicity, cell, pbc
        )
        lists = neighbor_matrix(molecule.positions, cutoff, molecule.cell, molecule.pbc)
        graph = pack_one(
            molecule,
            molecule.num_atoms,
            lists.width,
            reach=math.inf if cutoff is None else float(cutoff),
            wave_reach=wave_reach,
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
        wave_reach: float = 0.0,
        num_atoms: int | None = None,
        num_neighbors: int | None = None,
        dtype: np.dtype | type = np.float32,
    ) -> Graph:
        """Build a molecule from ASE atoms.

        The total charge is `total_charge` if given, else `atoms.info["charge"]`, else 0; the
        multiplicity is `multiplicity` if given, else `atoms.info["spin"]` (2S + 1), else unknown.
        Arguments, result and errors are those of `from_arrays`.
        """
        return cls.from_arrays(
            atoms.get_atomic_numbers(),
            atoms.get_positions(),
            cutoff,
            total_charge=atoms.info.get("charge", 0) if total_charge is None else total_charge,
            atomic_dipoles=atoms.arrays.get("atomic_dipoles"),
            multiplicity=atoms.info.get("spin") if multiplicity is None else multiplicity,
            cell=np.asarray(atoms.cell),
            pbc=atoms.pbc,
            wave_reach=wave_reach,
            num_atoms=num_atoms,
            num_neighbors=num_neighbors,
            dtype=dtype,
        )

    def pad(
        self,
        num_atoms: int | None = None,
        num_neighbors: int | None = None,
        num_waves: int | None = None,
    ) -> Graph:
        """Pad one molecule with NumPy leaves to larger static sizes.

        Args:
            num_atoms: new number of atoms, None keeps it.
            num_neighbors: new number of neighbours, None keeps it.
            num_waves: new number of wave vectors, if there are any; None keeps it.

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
        if num_waves is not None and self.waves is not None and num_waves < len(self.waves):
            raise InputError(f"num_waves: got {num_waves}, expected at least {len(self.waves)}")
        neighbors, mask = no_neighbors((), num_atoms, num_neighbors)
        neighbors[:atoms, :width] = self.neighbors
        mask[:atoms, :width] = self.neighbor_mask
        dipoles, shifts, waves = self.atomic_dipoles, self.shifts, self.waves
        if shifts is not None:
            own, shifts = shifts, np.zeros((num_atoms, num_neighbors, 3), np.int32)
            shifts[:atoms, :width] = own
        return dataclasses.replace(
            self,
            atomic_numbers=pad_rows(self.atomic_numbers, num_atoms),
            positions=pad_rows(self.positions, num_atoms),
            neighbors=neighbors,
            neighbor_mask=mask,
            atomic_dipoles=None if dipoles is None else pad_rows(dipoles, num_atoms),
            shifts=shifts,
            waves=None if waves is None else pad_rows(waves, max(num_waves or 0, len(waves))),
        )


def pack(
    molecules: Sequence[Molecule],
    shape: Shape,
    *,
    reach: float,
    wave_reach: float = 0.0,
    lists: Sequence[Neighbors] | None = None,
    dtype: np.dtype | type = np.float32,
    centered: bool = True,
) -> Graph:
    """Pad molecules to one shape and stack them: every graph is made here.

    All pairs are listed where the shape has as many neighbours as atoms and no direction is
    periodic. Padding has number, mask, charge and position zero; padded neighbours point to the
    atom itself.

    Args:
        molecules: at most `shape.molecules`; all of them have dipoles, or none; multiplicities
            likewise.
        shape: padded sizes; where molecules are missing the batch has only padding.
        reach: pairs closer than this (Å) are neighbours.
        wave_reach: wave vectors shorter than this (1/Å) are listed where all directions are
            periodic.
        lists: neighbours of each molecule, where they are known; else they are searched.
        dtype: floating-point type.
        centered: move each centroid to the origin, where float32 resolves positions best; networks
            do not care.

    Returns:
        The batch with NumPy leaves.

    Raises:
        InputError: a molecule does not fit the shape, only some have dipoles or multiplicities,
            some are periodic in other directions, or shifts of given neighbours do not fit.
    """
    options: dict[str, Any] = {"reach": reach, "wave_reach": wave_reach, "lists": lists}
    return Graph(**padded_leaves(molecules, shape, dtype=dtype, centered=centered, **options))


def pack_one(
    molecule: Molecule,
    atoms: int,
    neighbors: int,
    *,
    reach: float,
    waves: int | None = None,
    wave_reach: float = 0.0,
    lists: Neighbors | None = None,
    dtype: np.dtype | type = np.float32,
    centered: bool = True,
) -> Graph:
    """Pad one molecule, as `pack` does, without an axis of molecules.

    Args:
        molecule: the molecule.
        atoms: padded number of atoms.
        neighbors: padded number of neighbours; all pairs are listed where it is that of atoms.
        reach: pairs closer than this (Å) are neighbours.
        waves: padded number of wave vectors; None takes as many as there are.
        wave_reach: wave vectors shorter than this (1/Å) are listed.
        lists: its neighbours, where they are known.
        dtype: floating-point type.
        centered: move the centroid to the origin.

    Returns:
        The molecule with NumPy leaves.
    """
    count = number_of_waves(molecule, wave_reach) if waves is None else waves
    batch = pack(
        [molecule],
        Shape(1, atoms, neighbors, count, molecule.pbc),
        reach=reach,
        wave_reach=wave_reach,
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
        InputError: only some of `cell`, `shifts` and `pbc` say that the structure is periodic.
    """
    for name, given in (("cell", graph.cell), ("shifts", graph.shifts)):
        if (given is not None) != any(graph.pbc):
            came = "None" if given is None else "an array"
            raise InputError(f"{name}: got {came} although pbc is {list(graph.pbc)}")
    leaves = [f.name for f in dataclasses.fields(graph) if not f.metadata.get("static")]
    _check_leaves(**{name: getattr(graph, name) for name in leaves})


@contract
def _check_leaves(
    atomic_numbers: Int[Array | np.ndarray, " atoms"],
    positions: Float[Array | np.ndarray, "atoms 3"],
    neighbors: Int[Array | np.ndarray, "atoms neighbors"],
    neighbor_mask: Bool[Array | np.ndarray, "atoms neighbors"],
    total_charge: Int[Array | np.ndarray, ""] | np.integer | int,
    atomic_dipoles: Float[Array | np.ndarray, "atoms 3"] | None,
    unpaired_electrons: Int[Array | np.ndarray, ""] | np.integer | int | None,
    cell: Float[Array | np.ndarray, "3 3"] | None,
    shifts: Int[Array | np.ndarray, "atoms neighbors 3"] | None,
    waves: Int[Array | np.ndarray, "waves 3"] | None,
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
        InputError: no molecules, a size is too small, only some have atomic dipoles, unpaired
            electrons or wave vectors, or some are periodic in other directions.
    """
    if not graphs:
        raise InputError("graphs: got none, expected at least one molecule")
    same_for_all("pbc", [graph.pbc for graph in graphs])
    for name in ("atomic_dipoles", "unpaired_electrons", "waves"):
        if len({getattr(graph, name) is None for graph in graphs}) > 1:
            raise InputError(f"{name}: given for some molecules only, expected all or none")
    # Of the batch only what holds for every molecule can be said.
    reach = min(graph.reach for graph in graphs)
    wave_reach = min(graph.wave_reach for graph in graphs)
    graphs = [dataclasses.replace(graph, reach=reach, wave_reach=wave_reach) for graph in graphs]
    atoms = max(graph.num_atoms for graph in graphs) if num_atoms is None else num_atoms
    width = max(graph.num_neighbors for graph in graphs) if num_neighbors is None else num_neighbors
    waves = max(0 if graph.waves is None else len(graph.waves) for graph in graphs)
    padded = [graph.pad(atoms, width, waves) for graph in graphs]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *padded)
