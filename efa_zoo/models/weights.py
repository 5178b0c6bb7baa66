"""Arrays of a pytree as named tensors in a safetensors file, checked by name, shape, dtype, hash.

A tensor is named by its path in the tree, such as `interactions.0.attention.query.weight`, so a
file never fits another architecture by accident. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from efa_zoo.base.errors import WeightsError
from efa_zoo.base.files import write_atomically

__all__ = [
    "fill_weights",
    "load_weights",
    "named_arrays",
    "read_tensors",
    "save_weights",
    "tensor_name",
    "weights_hash",
]

_Tree = TypeVar("_Tree")


def _is_tensor(leaf: object) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, np.ndarray | jax.ShapeDtypeStruct)


def tensor_name(path: tuple[Hashable, ...]) -> str:
    """Name of the leaf at a path of a pytree, such as `"interactions.0.mix.weight"`."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def named_arrays(tree: object) -> dict[str, jax.Array]:
    """Arrays of a pytree by their path.

    Args:
        tree: any pytree, usually an `equinox.Module`; leaves that are no arrays are left out.

    Returns:
        The arrays (or `jax.ShapeDtypeStruct`) by names such as `"interactions.0.mix.weight"`.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {tensor_name(path): leaf for path, leaf in leaves if _is_tensor(leaf)}


def weights_hash(path: Path | str) -> str:
    """SHA-256 of a file as a hexadecimal string."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_weights(
    path: Path | str,
    tree: object,
    metadata: Mapping[str, object] | None = None,
    *,
    more: Mapping[str, np.ndarray] | None = None,
) -> str:
    """Write the arrays of a pytree to a safetensors file, atomically.

    The same arrays and metadata always give the same bytes.

    Args:
        path: the file to write.
        tree: the pytree, usually a network.
        metadata: JSON-serialisable facts stored in the header.
        more: further tensors by name.

    Returns:
        The file's SHA-256 as a hexadecimal string.
    """
    tensors = {
        name: np.asarray(jax.device_get(leaf), order="C")
        for name, leaf in named_arrays(tree).items()
    } | dict(more or {})
    # One entry only: safetensors writes several in a random order, which would change the hash.
    facts = {"efa_zoo": json.dumps(dict(metadata or {}), sort_keys=True)}
    content = safetensors.numpy.save(tensors, metadata=facts)
    write_atomically(Path(path), content)
    return hashlib.sha256(content).hexdigest()


def load_weights(path: Path | str, like: _Tree, sha256: str | None = None) -> _Tree:
    """Read arrays written by `save_weights` into a pytree of the same structure.

    Args:
        path: the safetensors file.
        like: as for `fill_weights`.
        sha256: as for `read_tensors`.

    Returns:
        `like` with its arrays replaced by those of the file.

    Raises:
        WeightsError: as for `read_tensors` and `fill_weights`.
    """
    return fill_weights(like, read_tensors(path, sha256), path)


def read_tensors(path: Path | str, sha256: str | None = None) -> dict[str, np.ndarray]:
    """Read the tensors of a safetensors file.

    Args:
        path: the file.
        sha256: the file's expected SHA-256, checked before anything is read from it.

    Returns:
        The tensors by name.

    Raises:
        WeightsError: the file is missing, is not whole, or has another hash.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the weights file ({error.strerror})") from error
    if sha256 is not None:
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise WeightsError(
                f"{path}: the file ({len(content)} bytes) has SHA-256 {found}, expected {sha256}; "
                "it was altered, truncated or belongs to another model"
            )
    try:
        return safetensors.numpy.load(content)
    except safetensors.SafetensorError as error:
        raise WeightsError(f"{path}: not a whole safetensors file ({error})") from error


def fill_weights(like: _Tree, tensors: Mapping[str, np.ndarray], path: Path | str) -> _Tree:
    """Put tensors into a pytree.

    Args:
        like: a pytree whose array leaves (or `jax.ShapeDtypeStruct`) give the wanted names, shapes
            and dtypes; the other leaves are kept.
        tensors: by name, no more and no fewer than `like` has.
        path: where they are from, for messages.

    Returns:
        `like` with its arrays replaced by the tensors.

    Raises:
        WeightsError: the tensors differ from `like` in name, shape or dtype (every differing leaf
            is named).
    """
    wanted = named_arrays(like)
    differences = [
        *(f"{name} is missing" for name in wanted if name not in tensors),
        *(f"{name} is not part of the network" for name in tensors if name not in wanted),
        *(
            f"{name} is {_describe(tensors[name])}, expected {_describe(leaf)}"
            for name, leaf in wanted.items()
            if name in tensors and _describe(tensors[name]) != _describe(leaf)
        ),
    ]
    if differences:
        raise WeightsError(f"{path}: the weights do not fit the network: {'; '.join(differences)}")
    return jax.tree_util.tree_map_with_path(
        lambda key, leaf: jnp.asarray(tensors[tensor_name(key)]) if _is_tensor(leaf) else leaf, like
    )


def _describe(leaf: jax.Array | np.ndarray) -> str:
    return f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"
