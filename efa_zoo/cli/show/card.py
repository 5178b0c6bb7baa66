"""`efa-zoo card`."""

from __future__ import annotations

from typing import Annotated

import efa_zoo
from efa_zoo.base.config import to_table
from efa_zoo.base.errors import InputError
from efa_zoo.cli._common import Json, Name, dump, flag, print_


def run(
    name: Name,
    /,
    *,
    seal: Annotated[
        bool, flag("write the digest of what enters a number, after a change that was meant")
    ] = False,
    all: Annotated[
        bool, flag("also architecture, recipe, errors of all parts and reference energies")
    ] = False,
    json: Json = False,
) -> None:
    """Show what a model is, what it was trained on, where it is valid, and how well it does.

    Errors are means of the absolute errors of energies (meV) and force components (meV/Å).

    Examples:
      efa-zoo card mpnn_efa_dimers
      efa-zoo card mpnn_efa_dimers --all
      efa-zoo card mpnn_efa_dimers --json
      efa-zoo card my_model.toml --seal
    """
    card = efa_zoo.card(name)
    if seal:
        from efa_zoo.models.hub import cards, registry

        if card.weights is None:
            raise InputError(f"seal: {card.name} has no weights yet, expected a trained model")
        card = cards.write_results(
            registry.find(name).zoo_file, weights=card.weights, calibration=card.calibration
        )
    print_(dump(to_table(card)) if json else card.in_full() if all else str(card))
