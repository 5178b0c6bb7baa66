"""Structures and predictions as interactive pictures in a notebook (extra `notebook`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from efa_zoo.base.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

    from efa_zoo.models.prediction import Prediction

__all__ = ["view"]

#: Length of the arrow of a force of 1 eV/Å, in Å.
_SCALE = 1.0


def view(
    structures: Atoms | Sequence[Atoms],
    predictions: Prediction | Iterable[Prediction] | None = None,
) -> Any:
    """Show structures that can be turned, with predicted forces as arrows.

    Several structures get a map of energy over the largest force, each point of which opens one.
    The picture is chemiscope's; its `save` writes a file for others to open.

    Args:
        structures: ASE atoms (positions in Å), one or several.
        predictions: as `efa_zoo.predict` gives them for the same structures (eV, eV/Å); None shows
            structures alone.

    Returns:
        A widget, which a notebook shows.

    Raises:
        InputError: there are no structures, or not as many predictions.
        ModuleNotFoundError: chemiscope is not installed (extra `notebook`).
    """
    # Imported here: only notebooks need it.
    import chemiscope
    from ase import Atoms

    from efa_zoo.models.prediction import Prediction

    frames = [structures] if isinstance(structures, Atoms) else list(structures)
    if not frames:
        raise InputError("structures: got none, expected at least one")
    if predictions is None:
        return chemiscope.show(frames, mode="structure")
    found = [predictions] if isinstance(predictions, Prediction) else list(predictions)
    sizes = [len(prediction.forces) for prediction in found]
    if sizes != [len(atoms) for atoms in frames]:
        raise InputError(
            f"predictions: got {len(found)} with {sizes[:5]} atoms, expected one of each structure"
        )
    drawn = [atoms.copy() for atoms in frames]
    for atoms, prediction in zip(drawn, found, strict=True):
        atoms.calc = None
        atoms.arrays["predicted_forces"] = prediction.forces
    forces = chemiscope.ase_vectors_to_arrows(drawn, "predicted_forces", scale=_SCALE)
    properties = {
        "energy": _property([p.energy for p in found], "eV"),
        "largest force": _property(
            [float(np.linalg.norm(p.forces, axis=1).max()) for p in found], "eV/Å"
        ),
    }
    return chemiscope.show(
        drawn,
        properties=properties,
        shapes={"forces": forces},
        settings={"structure": [{"shape": ["forces"]}]},
        mode="structure" if len(frames) == 1 else "default",
    )


def _property(values: list[float], units: str) -> dict[str, Any]:
    return {"target": "structure", "values": values, "units": units}
