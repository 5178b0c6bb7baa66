"""A prediction in a notebook."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from efa_zoo.models.prediction import Prediction

__all__ = ["prediction_html"]

#: Atoms in the table.
_ATOMS = 20

#: Units by field; a field that is not here is shown without one.
_UNITS: Mapping[str, str] = {
    "energy": "eV",
    "forces": "eV/Å",
    "atomic_energies": "eV",
    "charge": "e",
    "charges": "e",
    "dipole": "e·Å",
}


def prediction_html(prediction: Prediction) -> str:
    """Write a prediction as tables of HTML, with nothing in it that is loaded from elsewhere.

    Args:
        prediction: whatever it holds is shown; of the atoms the first 20.

    Returns:
        The fragment.
    """
    fields: dict[str, Any] = {
        field.name: getattr(prediction, field.name) for field in dataclasses.fields(prediction)
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    atoms = len(prediction.forces)
    of_atoms = {n: v for n, v in fields.items() if np.ndim(v) and len(v) == atoms and n != "dipole"}
    whole = [
        f"<tr><th>{_title(name)}</th><td>{_numbers(value)}</td></tr>"
        for name, value in fields.items()
        if name not in of_atoms
    ]
    header = "".join(f"<th>{_title(name)}</th>" for name in of_atoms)
    rows = [
        f"<tr><td>{atom}</td>"
        + "".join(f"<td>{_numbers(values[atom])}</td>" for values in of_atoms.values())
        + "</tr>"
        for atom in range(min(atoms, _ATOMS))
    ]
    more = f"<p>and {atoms - _ATOMS} more atoms</p>" if atoms > _ATOMS else ""
    return (
        f"<div><table>{''.join(whole)}</table>"
        f"<table><tr><th>atom</th>{header}</tr>{''.join(rows)}</table>{more}</div>"
    )


def _title(name: str) -> str:
    unit = f" ({_UNITS[name]})" if name in _UNITS else ""
    return escape(f"{name.replace('_', ' ')}{unit}")


def _numbers(value: Any) -> str:
    if np.asarray(value).dtype.kind == "f":
        return escape(", ".join(f"{number:.5f}" for number in np.ravel(value)))
    return escape(str(value))
