"""Atoms in surroundings that a model does not know, which only its features show."""

from __future__ import annotations

import warnings

import numpy as np

from efa_zoo.base.errors import InputError
from efa_zoo.models.hub.cards import Card
from efa_zoo.models.inputs.checks import OutOfRange, OutOfRangeWarning
from efa_zoo.structures.elements import symbol

__all__ = ["judge_surroundings", "unknown_surroundings"]


def unknown_surroundings(
    extrapolation: np.ndarray | None, numbers: np.ndarray, card: Card, limit: float = 1.0
) -> str | None:
    """Tell which atom has surroundings that a model does not know.

    Args:
        extrapolation: `[atoms]`, grades of the atoms; None if the model has none.
        numbers: `[atoms]`, atomic numbers.
        card: of the model.
        limit: the largest grade that is known.

    Returns:
        One sentence about the atom that is farthest from what is known, or None.
    """
    if extrapolation is None or np.all(extrapolation <= limit):
        return None
    atom = int(np.argmax(np.where(np.isnan(extrapolation), np.inf, extrapolation)))
    others = int(np.sum(~(extrapolation <= limit))) - 1
    more = f" (and {others} more)" if others else ""
    return (
        f"surroundings: those of atom {atom} ({symbol(int(numbers[atom]))}){more} are unlike all "
        f"that {card.name} has learned from, extrapolation grade {extrapolation[atom]:.3g}, "
        f"expected at most {limit:g}"
    )


def judge_surroundings(
    extrapolation: np.ndarray | None,
    numbers: np.ndarray,
    card: Card,
    out_of_range: OutOfRange,
    *,
    where: str = "",
    stacklevel: int = 3,
) -> None:
    """Refuse a predicted structure with an atom whose surroundings a model does not know.

    Args:
        extrapolation: as for `unknown_surroundings`.
        numbers: likewise.
        card: likewise.
        out_of_range: whether it raises or only warns.
        where: begins the warning.
        stacklevel: whose line a warning names; 3 is the caller of the caller.

    Raises:
        InputError: there is such an atom.
    """
    problem = unknown_surroundings(extrapolation, numbers, card)
    if problem is None:
        return
    if out_of_range == "error":
        raise InputError(problem)
    warnings.warn(f"{where}{problem}", OutOfRangeWarning, stacklevel=stacklevel)
