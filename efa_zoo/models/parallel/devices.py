"""Batches over several devices: each takes an equal number of molecules, all hold the weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypeVar

import equinox as eqx
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from efa_zoo.base.errors import ConfigError

__all__ = ["Devices", "by_device", "device_mesh", "place", "replicate", "share_of_rows"]

#: How many devices of each process: a number, or all that JAX finds.
Devices: TypeAlias = int | Literal["all"]

_Tree = TypeVar("_Tree")

_MOLECULES = "molecules"


def device_mesh(devices: Devices = "all", *, local: bool = False) -> Mesh:
    """Choose devices to deal molecules to.

    Args:
        devices: the first so many of each process, or all.
        local: those of this process alone, whatever others there are.

    Returns:
        A mesh of one axis, by process.

    Raises:
        ConfigError: a process has fewer devices.
    """
    found: dict[int, list[Any]] = {}
    for device in jax.local_devices() if local else jax.devices():
        found.setdefault(device.process_index, []).append(device)
    fewest = min(map(len, found.values()))
    if devices != "all" and not 1 <= devices <= fewest:
        raise ConfigError(f"devices: got {devices}, expected 1 to {fewest}, or all")
    chosen = [
        device
        for _, those in sorted(found.items())
        for device in those[: None if devices == "all" else devices]
    ]
    return Mesh(np.array(chosen), (_MOLECULES,), axis_types=(AxisType.Auto,))


def share_of_rows(rows: int, mesh: Mesh | None) -> tuple[int, slice]:
    """Say which rows of a batch this process holds.

    Args:
        rows: molecules of the batch, padding included.
        mesh: of the devices; None is one.

    Returns:
        The number of rows, filled up so that each device has as many, and this process's part.
    """
    if mesh is None:
        return rows, slice(0, rows)
    each = -(-rows // mesh.size)
    places = [
        place
        for place, device in enumerate(mesh.devices.flat)
        if device.process_index == jax.process_index()
    ]
    return each * mesh.size, slice(each * places[0], each * (places[-1] + 1))


def place(batch: _Tree, mesh: Mesh | None) -> _Tree:
    """Deal the molecules of a batch to devices, each the same number.

    Args:
        batch: NumPy leaves with a common first axis, the same in every process. Rows of zeros,
            which fill it up to a multiple of the number of devices, must be padding.
        mesh: of the devices; None is one.

    Returns:
        The batch as global arrays; as it is for one device, or if it is dealt already.
    """
    if mesh is None or mesh.size == 1:
        return batch
    sharding = NamedSharding(mesh, PartitionSpec(_MOLECULES))

    def deal(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array) and leaf.sharding == sharding:
            return leaf
        leaf = np.asarray(leaf)
        total, own = share_of_rows(len(leaf), mesh)
        missing = np.zeros((total - len(leaf), *leaf.shape[1:]), leaf.dtype)
        rows = np.concatenate([leaf, missing])[own]
        return place_share(rows, total, mesh)

    return jax.tree.map(deal, batch)


def place_share(rows: Any, total: int, mesh: Mesh) -> Any:
    """Make global arrays of the rows that each process has.

    Args:
        rows: NumPy leaves whose first axis is this process's part by `share_of_rows`.
        total: rows of all processes.
        mesh: of the devices.

    Returns:
        Global arrays.
    """
    sharding = NamedSharding(mesh, PartitionSpec(_MOLECULES))
    return jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(
            sharding, leaf, (total, *leaf.shape[1:])
        ),
        rows,
    )


def replicate(tree: _Tree, mesh: Mesh | None) -> _Tree:
    """Copy the arrays of a pytree to every device.

    Args:
        tree: the same in every process.
        mesh: of the devices; None is one.

    Returns:
        The tree; as it is for one device.
    """
    if mesh is None or mesh.size == 1:
        return tree
    sharding = NamedSharding(mesh, PartitionSpec())

    def copy(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array | np.ndarray):
            return leaf
        local = np.asarray(leaf)
        return jax.make_array_from_callback(local.shape, sharding, lambda index: local[index])

    return jax.tree.map(copy, tree)


def by_device(
    function: Callable[[Any, Any], _Tree], mesh: Mesh | None, *, total: bool
) -> Callable[[Any, Any], _Tree]:
    """Let every device work on its own rows.

    Args:
        function: takes what all devices share, and rows, which may be those of one device only.
        mesh: of the devices; None is one.
        total: the results are sums over the rows, which are added up over the devices; else they
            have rows of their own.

    Returns:
        The same function of all rows; the function itself for one device.
    """
    if mesh is None or mesh.size == 1:
        return function

    def run(shared: Any, rows: Any) -> Any:
        arrays, rest = eqx.partition(shared, eqx.is_array)

        def own(arrays: Any, rows: Any) -> Any:
            result = function(eqx.combine(arrays, rest), rows)
            return jax.lax.psum(result, _MOLECULES) if total else result

        return jax.shard_map(
            own,
            mesh=mesh,
            in_specs=(PartitionSpec(), PartitionSpec(_MOLECULES)),
            out_specs=PartitionSpec() if total else PartitionSpec(_MOLECULES),
            # Loops start from zeros, which are the same everywhere, and end in what is not.
            check_vma=False,
        )(arrays, rows)

    return run
