"""Atoms with bonds that a model has never seen."""

from __future__ import annotations

from efa_zoo.models.hub.cards import Card
from efa_zoo.structures.bonding import unknown_environments
from efa_zoo.structures.domain import partners_text
from efa_zoo.structures.elements import symbol
from efa_zoo.structures.molecule import Molecule

__all__ = ["unknown_bonds"]

#: Most kinds of bonds of an element that a sentence lists.
_NAMED = 8


def unknown_bonds(molecule: Molecule, card: Card) -> str | None:
    """Tell which atom is bonded to atoms that no atom of its element was in training.

    Args:
        molecule: a structure.
        card: of the model.

    Returns:
        One sentence about the first such atom, or None, also where bonds are not looked at.
    """
    known = frozenset() if card.domain is None else card.domain.known_environments
    if not known:
        return None
    found = unknown_environments(
        known, molecule.numbers, molecule.positions, molecule.cell, molecule.pbc
    )
    if not found:
        return None
    atom, environment = next(iter(found.items()))
    element = environment[0]
    others = sorted(e for e in known if e[0] == element)
    texts = [partners_text(other) or "none" for other in others[:_NAMED]]
    more = f" and {len(others) - len(texts)} more" if len(others) > len(texts) else ""
    return (
        f"bonds: atom {atom} ({symbol(element)}) is bonded to "
        f"{partners_text(environment) or 'none'}"
        f"{f' (and {len(found) - 1} more)' if len(found) > 1 else ''}, but {card.name} knows "
        f"{symbol(element)} bonded to {', '.join(texts) or 'nothing'}{more} only"
    )
