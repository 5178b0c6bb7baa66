"""`efa-zoo list`."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg

import efa_zoo
from efa_zoo.cli._common import Json, dump, flag, print_


def run(
    pattern: Annotated[Positional[str], arg(metavar="[PATTERN]", help="such as '*efa*'")] = "*",
    /,
    *,
    all: Annotated[bool, flag("also recipes that are not trained yet")] = False,
    json: Json = False,
) -> None:
    """List the models of the zoo.

    Examples:
      efa-zoo list
      efa-zoo list '*efa*' --json
    """
    cards = [efa_zoo.card(name) for name in efa_zoo.list_models(pattern, trained=not all)]
    if json:
        print_(
            dump(
                [
                    {
                        "name": card.name,
                        "description": card.description,
                        "trained": card.weights is not None,
                    }
                    for card in cards
                ]
            )
        )
        return
    width = max((len(card.name) for card in cards), default=0)
    for card in cards:
        state = "" if card.weights is not None else "  (not trained yet)"
        print_(f"{card.name.ljust(width)}  {card.description}{state}")
