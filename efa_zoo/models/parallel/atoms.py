"""One large system over many devices, each of which holds some of its atoms."""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from efa_zoo.base.errors import InputError
from efa_zoo.models.energy import Network
from efa_zoo.models.outputs import Outputs
from efa_zoo.models.parallel.devices import Devices, device_mesh
from efa_zoo.ops.sharding import ATOMS
from efa_zoo.structures.graph import Graph

__all__ = ["AtomSharded", "atom_mesh", "place_atoms"]

_OF_ATOMS, _SHARED = PartitionSpec(ATOMS), PartitionSpec()

#: What of a molecule, and of what a network gives, has one row for each atom.
_ROWS = (
    "atomic_numbers",
    "positions",
    "neighbors",
    "neighbor_mask",
    "shifts",
    "atomic_dipoles",
    "atomic_energies",
    "forces",
    "charges",
    "features",
)


def atom_mesh(devices: Devices = "all") -> Mesh:
    """Choose devices to deal the atoms of one system to.

    Args:
        devices: as of `device_mesh`.

    Returns:
        A mesh of one axis.

    Raises:
        ConfigError: there are not so many devices.
    """
    mesh = device_mesh(devices)
    return Mesh(mesh.devices, (ATOMS,), axis_types=mesh.axis_types)


def place_atoms(graph: Graph, mesh: Mesh) -> Graph:
    """Deal the atoms of a molecule to devices by their order, each the same number.

    Args:
        graph: with NumPy leaves; it is padded as far as needed.
        mesh: of the devices, as `atom_mesh` makes it.

    Returns:
        The molecule as global arrays.
    """
    graph = graph.pad(-(-graph.num_atoms // mesh.size) * mesh.size)

    def deal(value: Any, spec: PartitionSpec) -> Any:
        local = np.asarray(value)
        return jax.make_array_from_callback(
            local.shape, NamedSharding(mesh, spec), lambda index: local[index]
        )

    return jax.tree.map(deal, graph, _specs(graph))


class AtomSharded(eqx.Module):
    """A network that takes one molecule whose atoms are dealt to devices.

    Gives what the network gives for the whole molecule. Of attention by quadrature only the sums of
    keys times values cross from device to device, whose size does not depend on the molecule;
    messages and exact attention gather rows of all atoms on every device. It is a network like any
    other, of which energy, forces and derivatives with respect to weights may be asked.

    Attributes:
        network: of one molecule.
        mesh: of the devices, as `atom_mesh` makes it.
    """

    network: Network
    mesh: Mesh = eqx.field(static=True)

    def __call__(self, graph: Graph) -> Outputs:
        """Compute what the network gives.

        Args:
            graph: one molecule, as `place_atoms` makes it.

        Returns:
            The outputs, those of atoms dealt like the atoms.

        Raises:
            InputError: the number of atoms is no multiple of the number of devices.
        """
        if graph.num_atoms % self.mesh.size:
            raise InputError(
                f"graph: got {graph.num_atoms} atoms, expected a multiple of {self.mesh.size}, the "
                "number of devices"
            )
        arrays, rest = eqx.partition(self.network, eqx.is_array)

        def own(arrays: Any, graph: Graph) -> tuple[dict[str, Any], dict[str, Any]]:
            outputs = eqx.combine(arrays, rest)(graph)
            given = {
                field.name: getattr(outputs, field.name)
                for field in dataclasses.fields(outputs)
                if getattr(outputs, field.name) is not None
            }
            of_atoms = {name: given.pop(name) for name in _ROWS if name in given}
            return of_atoms, given

        of_atoms, shared = jax.shard_map(
            own,
            mesh=self.mesh,
            in_specs=(_SHARED, _specs(graph)),
            out_specs=(_OF_ATOMS, _SHARED),
            # Loops start from zeros, which are the same everywhere, and end in what is not.
            check_vma=False,
        )(arrays, graph)
        return Outputs(**of_atoms, **shared)


def _specs(graph: Graph) -> Any:
    """How the leaves of a molecule are dealt."""
    specs = {
        field.name: _OF_ATOMS if field.name in _ROWS else _SHARED
        for field in dataclasses.fields(graph)
        if not field.metadata.get("static") and getattr(graph, field.name) is not None
    }
    return dataclasses.replace(graph, **specs)
