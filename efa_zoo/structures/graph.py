"""One padded molecule as a pytree, and how to build, pad and stack it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Graph", "check_molecule", "neighbor_matrix", "stack"]


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
    """

    atomic_numbers: Int[Array | np.ndarray, "*batch atoms"]
    positions: Float[Array | np.ndarray, "*batch atoms 3"]
    neighbors: Int[Array | np.ndarray, "*batch atoms neighbors"]
    neighbor_mask: Bool[Array | np.ndarray, "*batch atoms neighbors"]
    total_charge: Int[Array | np.ndarray, "*batch"]
    atomic_dipoles: Float[Array | np.ndarray, "*batch atoms 3"] | None = None

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
            num_atoms: pad to this many atoms; default is no padding.
            num_neighbors: pad to this many neighbours; default is the largest number found.
            dtype: floating-point type of the result.

        Returns:
            The molecule with NumPy leaves.

        Raises:
            InputError: a shape is wrong, a number is not an element, a position is not finite, or
                the padded size is too small.
        """
        numbers = np.asarray(atomic_numbers)
        coordinates = np.asarray(positions, dtype=np.float64)
        if numbers.ndim != 1 or numbers.size == 0:
            raise InputError(
                f"atomic_numbers: got shape {numbers.shape}, expected (atoms,) with atoms >= 1"
            )
        if not np.issubdtype(numbers.dtype, np.integer) or numbers.min() < 1:
            raise InputError(
                f"atomic_numbers: got {numbers.tolist()}, expected integers of at least 1"
            )
        if coordinates.shape != (numbers.size, 3):
            raise InputError(
                f"positions: got shape {coordinates.shape}, expected ({numbers.size}, 3)"
            )
        if not np.isfinite(coordinates).all():
            atom = int(np.flatnonzero(~np.isfinite(coordinates).all(axis=1))[0])
            raise InputError(
                f"positions: atom {atom} has {coordinates[atom].tolist()}, expected finite numbers"
            )
        neighbors, mask = neighbor_matrix(coordinates, cutoff)
        dipoles = None
        if atomic_dipoles is not None:
            dipoles = np.asarray(atomic_dipoles, dtype=np.float64)
            if dipoles.shape != coordinates.shape:
                raise InputError(
                    f"atomic_dipoles: got shape {dipoles.shape}, expected {coordinates.shape}"
                )
        graph = cls(
            atomic_numbers=numbers.astype(np.int32),
            positions=coordinates.astype(dtype),
            neighbors=neighbors,
            neighbor_mask=mask,
            total_charge=np.asarray(total_charge, dtype=np.int32),
            atomic_dipoles=None if dipoles is None else dipoles.astype(dtype),
        )
        return graph.pad(num_atoms, num_neighbors)

    @classmethod
    def from_ase(
        cls,
        atoms: Atoms,
        cutoff: float | None,
        *,
        total_charge: int | None = None,
        num_atoms: int | None = None,
        num_neighbors: int | None = None,
        dtype: np.dtype | type = np.float32,
    ) -> Graph:
        """Build a molecule from ASE atoms.

        The total charge is `total_charge` if given, else `atoms.info["charge"]`, else 0.
        Arguments, result and errors are those of `from_arrays`; periodic atoms are refused.
        """
        if np.any(atoms.pbc):
            raise InputError(
                f"pbc: got {atoms.pbc.tolist()}, expected a molecule without periodicity"
            )
        charge = atoms.info.get("charge", 0) if total_charge is None else total_charge
        return cls.from_arrays(
            atoms.get_atomic_numbers(),
            atoms.get_positions(),
            cutoff,
            total_charge=int(charge),
            atomic_dipoles=atoms.arrays.get("atomic_dipoles"),
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
        itself = np.arange(num_atoms, dtype=np.int32)[:, None]
        neighbors = np.broadcast_to(itself, (num_atoms, num_neighbors)).copy()
        neighbors[:atoms, :width] = self.neighbors
        mask = np.zeros((num_atoms, num_neighbors), bool)
        mask[:atoms, :width] = self.neighbor_mask
        dipoles = self.atomic_dipoles
        return Graph(
            atomic_numbers=_pad_rows(self.atomic_numbers, num_atoms),
            positions=_pad_rows(self.positions, num_atoms),
            neighbors=neighbors,
            neighbor_mask=mask,
            total_charge=self.total_charge,
            atomic_dipoles=None if dipoles is None else _pad_rows(dipoles, num_atoms),
        )


def _pad_rows(rows: Array | np.ndarray, size: int) -> np.ndarray:
    padded = np.zeros((size, *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    return padded


def check_molecule(graph: Graph) -> None:
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
    )


@contract
def _check_leaves(
    atomic_numbers: Int[Array | np.ndarray, " atoms"],
    positions: Float[Array | np.ndarray, "atoms 3"],
    neighbors: Int[Array | np.ndarray, "atoms neighbors"],
    neighbor_mask: Bool[Array | np.ndarray, "atoms neighbors"],
    total_charge: Int[Array | np.ndarray, ""] | np.integer | int,
    atomic_dipoles: Float[Array | np.ndarray, "atoms 3"] | None,
) -> None:
    """The contract of one molecule; the body is empty."""


def neighbor_matrix(
    positions: Float[np.ndarray, "atoms 3"], cutoff: float | None
) -> tuple[Int[np.ndarray, "atoms neighbors"], Bool[np.ndarray, "atoms neighbors"]]:
    """Neighbours of every atom as a dense index matrix, in ascending order.

    Args:
        positions: `[atoms, 3]` in Å, not periodic.
        cutoff: pairs closer than this (Å) are neighbours; None takes every other atom.

    Returns:
        `neighbors` (int32; padding points to the atom itself) and `mask`, both
        `[atoms, largest number of neighbours, at least 1]`.
    """
    atoms = len(positions)
    if cutoff is None:
        centers, others = np.nonzero(~np.eye(atoms, dtype=bool))
    else:
        # Imported here: vesin loads a compiled library, which `import efa_zoo` need not.
        from vesin import NeighborList

        centers, others = NeighborList(cutoff=float(cutoff), full_list=True).compute(
            points=np.ascontiguousarray(positions, dtype=np.float64),
            box=np.zeros((3, 3)),
            periodic=False,
            quantities="ij",
        )
        order = np.lexsort((others, centers))
        centers, others = centers[order], others[order]
    counts = np.bincount(centers.astype(np.int64), minlength=atoms)
    width = max(1, int(counts.max()))
    neighbors = np.broadcast_to(np.arange(atoms, dtype=np.int32)[:, None], (atoms, width)).copy()
    slots = np.arange(len(centers)) - np.repeat(np.cumsum(counts) - counts, counts)
    neighbors[centers, slots] = others
    return neighbors, np.arange(width) < counts[:, None]


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
        InputError: no molecules, a size is too small, or only some have atomic dipoles.
    """
    if not graphs:
        raise InputError("graphs: got none, expected at least one molecule")
    if len({graph.atomic_dipoles is None for graph in graphs}) > 1:
        raise InputError("atomic_dipoles: given for some molecules only, expected all or none")
    atoms = max(graph.num_atoms for graph in graphs) if num_atoms is None else num_atoms
    width = max(graph.num_neighbors for graph in graphs) if num_neighbors is None else num_neighbors
    padded = [graph.pad(atoms, width) for graph in graphs]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *padded)
