"""How structures are stored in TFDS, for all builders alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from data_pipelines.structure import Structure

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

_BASE_FIELDS = ("atomic_numbers", "positions", "energy", "forces", "total_charge")
"""Fields of `Structure` that every data set stores."""

_OPTIONAL = {
    "atomic_dipoles": (0, 3),
    "charges": (0,),
    "dipole": (0,),
    "cell": (0, 3),
    "stress": (0,),
}
"""Shapes that are stored for fields that a structure does not have."""

DIMER_FIELDS = (
    "monomers",
    "fragment",
    "separation",
    "closest_contact",
    "fragment_energies",
    "fragment_charges",
    "formal_charges",
    "curve",
)
"""Further fields of `Structure` that describe two fragments."""

CELL_FIELDS = ("cell", "pbc", "stress")
"""Further fields of `Structure` of data sets that hold periodic ones."""


def structure_features(*extra: str) -> tfds.features.FeaturesDict:
    """Make the TFDS features of structures.

    Args:
        *extra: Fields of `Structure` to store besides numbers, positions, energy, forces and
            charge, for example `*DIMER_FIELDS` or `"atomic_dipoles"`. A field that is not stored
            has its default when it is read.

    Returns:
        Features by field name.
    """
    import tensorflow_datasets as tfds

    def integers(*shape: int | None) -> Any:
        return tfds.features.Tensor(shape=shape, dtype=np.int32)

    def floats(*shape: int | None) -> Any:
        # Without an encoding TFDS stores floating-point numbers in single precision, whatever the
        # dtype says: 0.03 meV at the energy of a small dimer, as much as the interaction at 15 Å.
        return tfds.features.Tensor(
            shape=shape, dtype=np.float64, encoding=tfds.features.Encoding.BYTES
        )

    features = {
        "atomic_numbers": integers(None),
        "positions": floats(None, 3),
        "energy": floats(),
        "forces": floats(None, 3),
        "total_charge": tfds.features.Scalar(np.int32),
        "multiplicity": tfds.features.Scalar(np.int32),
        "atomic_dipoles": floats(None, 3),
        "charges": floats(None),
        "dipole": floats(None),
        "cell": floats(None, 3),
        "pbc": tfds.features.Tensor(shape=(3,), dtype=np.bool_),
        "stress": floats(None),
        "group": tfds.features.Scalar(np.str_),
        "kind": tfds.features.Scalar(np.str_),
        "coordinate": floats(),
        "monomers": tfds.features.Tensor(shape=(2,), dtype=np.str_),
        "fragment": integers(None),
        "separation": floats(),
        "closest_contact": floats(),
        "fragment_energies": floats(2),
        "fragment_charges": floats(2),
        "formal_charges": integers(2),
        "curve": tfds.features.Scalar(np.int32),
    }
    return tfds.features.FeaturesDict({name: features[name] for name in (*_BASE_FIELDS, *extra)})


def to_example(structure: Structure, *extra: str) -> dict[str, Any]:
    """Give a structure as TFDS stores it.

    Args:
        structure: The structure.
        *extra: As of `structure_features`.

    Returns:
        Values by field name.
    """
    example = {name: getattr(structure, name) for name in (*_BASE_FIELDS, *extra)}
    for name, shape in _OPTIONAL.items():
        if name in example and example[name] is None:
            example[name] = np.zeros(shape)
    return {k: list(v) if isinstance(v, tuple) else v for k, v in example.items()}


def from_example(example: Mapping[str, Any]) -> Structure:
    """Make the structure that an example stores; inverse of `to_example`.

    Args:
        example: Values by field name, as a TFDS data source gives them.

    Returns:
        The structure.
    """
    return Structure(**{name: _value(name, value) for name, value in example.items()})


def _value(name: str, value: Any) -> Any:
    if name in _OPTIONAL:
        return value if len(value) else None
    if name == "pbc":
        return tuple(bool(periodic) for periodic in value)
    if name == "monomers":
        return tuple(str(text, "utf-8") for text in value)
    if name in ("group", "kind"):
        return str(value, "utf-8")
    return np.asarray(value).item() if np.ndim(value) == 0 else value
