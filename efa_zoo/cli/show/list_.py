"""`efa-zoo list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from efa_zoo.base.errors import ConfigError
from efa_zoo.cli._common import Json, dump, flag, print_

if TYPE_CHECKING:
    from efa_zoo.models.hub.cards import Card


def run(
    pattern: Annotated[Positional[str], arg(metavar="[PATTERN]", help="such as '*efa*'")] = "*",
    /,
    *,
    all: Annotated[bool, flag("also recipes that are not trained yet")] = False,
    json: Json = False,
) -> None:
    """List the models of the zoo; one whose zoo file is not valid is listed as broken.

    Examples:
      efa-zoo list
      efa-zoo list '*efa*' --json
    """
    from efa_zoo.models.hub import registry

    found = {
        name: card
        for name, card in registry.list_cards(pattern).items()
        if all or isinstance(card, ConfigError) or card.weights is not None
    }
    if json:
        print_(dump([_entry(name, card) for name, card in found.items()]))
        return
    width = max(map(len, found), default=0)
    for name, card in found.items():
        if isinstance(card, ConfigError):
            text = f"(broken: {' '.join(str(card).split())})"
        else:
            text = card.description + ("" if card.weights is not None else "  (not trained yet)")
        print_(f"{name.ljust(width)}  {text}")


def _entry(name: str, card: Card | ConfigError) -> dict[str, Any]:
    if isinstance(card, ConfigError):
        return {"name": name, "broken": str(card)}
    return {
        "name": name,
        "description": card.description,
        "trained": card.weights is not None,
    }
