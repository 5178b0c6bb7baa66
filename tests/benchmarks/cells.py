"""Ions in a cell: the shipped network, or the Coulomb energy alone by jax-pme's plain Ewald sum."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from benchmarks.problems import Work, split
from benchmarks.structures import Structures

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["CELL_MODEL", "CellProblem"]

#: The network; what its attention leaves to message passing, and how far its sums go, are the
#: Ewald sum's splitting and cutoffs too.
CELL_MODEL = "mpnn_efa_nacl_bulk"

#: Lattice constant in Å, and standard deviation in Å of how far ions are off their sites.
_CONSTANT, _OFF = 5.62, 0.2

#: Coulomb's constant in eV Å/e².
_COULOMB = 14.399645


@dataclass(frozen=True, kw_only=True)
class CellProblem:
    """Energy, forces and stress of rock salt in one cell, ions off their sites.

    Attributes:
        structures: of the kind "crystal".
        method: "network" is the whole of `CELL_MODEL`, "ewald" the Coulomb energy of its ions with
            the same Gaussians, cutoff of pairs and tolerance, by jax-pme.
    """

    structures: Structures
    method: Literal["network", "ewald"]
    task: Literal["energy, forces and stress"] = "energy, forces and stress"

    def quick(self) -> CellProblem:
        """The same on few ions."""
        atoms = min(self.structures.atoms, 64)
        return dataclasses.replace(
            self, structures=dataclasses.replace(self.structures, atoms=atoms)
        )

    def atoms(self) -> Atoms:
        """The cell."""
        from ase.build import bulk

        cells = self.structures.atoms // 8
        repeat = [1, 1, 1]
        while math.prod(repeat) < cells:
            repeat[int(np.argmin(repeat))] *= 2
        found = bulk("NaCl", "rocksalt", a=_CONSTANT, cubic=True).repeat(repeat)
        assert len(found) == self.structures.atoms
        found.rattle(_OFF, seed=0)
        return found

    def ours(self) -> Work:
        """The work of the chosen method."""
        return self._network() if self.method == "network" else self._ewald()

    def reference(self) -> Work:
        """Refuse: the reference implementation has no cells."""
        raise NotImplementedError("the reference implementation has no cells")

    def _network(self) -> Work:
        import efa_zoo
        from efa_zoo.models.energy import energy_and_forces
        from efa_zoo.structures.graph import Graph

        network = efa_zoo.load(CELL_MODEL).network
        graph = Graph.from_ase(
            self.atoms(), network.config.message_passing.cutoff, wave_reach=network.wave_reach
        )
        arrays, whole = split(network)

        def evaluate(arrays: Any, graph: Graph) -> Any:
            outputs = energy_and_forces(whole(arrays), graph)
            return outputs.atomic_energies.sum(), outputs.forces, outputs.stress

        return Work(evaluate, (arrays, graph), _parts)

    def _ewald(self) -> Work:
        import jaxpme
        from scipy.special import erfcinv

        import efa_zoo

        config = efa_zoo.card(CELL_MODEL).model
        assert config.attention is not None
        width = config.attention.kernel.widths[0]  # type: ignore[union-attr]
        # All but the tolerance of the kernel's Gaussian, as `wave_reach` has it; jax-pme takes the
        # wave vectors of a box whose edges are twice π over this.
        longest = math.sqrt(2) * float(erfcinv(config.attention.tolerance)) / width
        atoms = self.atoms()
        charges = np.where(atoms.numbers == 11, 1.0, -1.0)
        calculator = jaxpme.Ewald(prefactor=_COULOMB)
        inputs = calculator.prepare(
            atoms,
            charges,
            config.message_passing.cutoff,
            lr_wavelength=math.pi / longest,
            smearing=width,
        )
        *arrays, grid, smearing, pbc = inputs
        arrays = [x.astype(np.float32) if x.dtype == np.float64 else x for x in arrays]

        def evaluate(*arrays: Any) -> Any:
            return calculator.energy_forces_stress(*arrays, grid, smearing, pbc)

        return Work(evaluate, tuple(arrays), _parts)


def _parts(found: Any) -> dict[str, np.ndarray]:
    energy, forces, stress = (np.asarray(x) for x in found)
    return {"energy": energy, "forces": forces, "stress": stress}
