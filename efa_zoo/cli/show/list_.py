"""`efa-zoo list`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from efa_zoo.base.errors import ConfigError
from efa_zoo.cli._common import Json, dump, flag, print_
from efa_zoo.models.hub.card_text import mean_errors, signed
from efa_zoo.models.hub.records import PURPOSES

if TYPE_CHECKING:
    from efa_zoo.models.hub.cards import Card


def run(
    pattern: Annotated[Positional[str], arg(metavar="[PATTERN]", help="such as '*efa*'")] = "*",
    /,
    *,
    all: Annotated[bool, flag("also recipes that are not trained yet")] = False,
    json: Json = False,
) -> None:
    """List the models of the zoo by what they are for, with what they know and how well.

    Broken zoo files say so. Errors are means over the test split, of energies (meV) and force
    components (meV/Å). Which models know a structure of yours says `efa-zoo which FILE`.

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
    cards = [card for card in found.values() if not isinstance(card, ConfigError)]
    for purpose, title in PURPOSES.items():
        chosen = [card for card in cards if card.purpose == purpose]
        chosen.sort(key=lambda card: card.model.attention is None)  # siblings come last
        if chosen:
            print_(f"{title}:")
        for card in chosen:
            trained = "" if card.weights is not None else "  (not trained yet)"
            print_(f"  {card.name}{trained}\n    {card.description}\n    {_facts(card)}")
    for name, error in found.items():
        if isinstance(error, ConfigError):
            print_(f"  {name}\n    (broken: {' '.join(str(error).split())})")


def _facts(card: Card) -> str:
    facts: list[str] = []
    if card.domain is not None:
        facts += [" ".join(card.domain.elements), f"charges {signed(card.domain.total_charges)}"]
    facts.append(card.data.level_of_theory)
    energy, force = mean_errors(card)
    if math.isfinite(force):
        facts.append(f"{1e3 * energy:.3g} meV, {1e3 * force:.3g} meV/Å")
    if card.weights is not None:
        facts.append(f"{card.weights.parameters:,} parameters")
    return "; ".join(facts)


def _entry(name: str, card: Card | ConfigError) -> dict[str, Any]:
    if isinstance(card, ConfigError):
        return {"name": name, "broken": str(card)}
    energy, force = mean_errors(card)
    return {
        "name": name,
        "description": card.description,
        "purpose": card.purpose,
        "trained": card.weights is not None,
        "elements": [] if card.domain is None else list(card.domain.elements),
        "total_charges": [] if card.domain is None else list(card.domain.total_charges),
        "level_of_theory": card.data.level_of_theory,
        "energy_mae": energy,
        "force_mae": force,
        "parameters": None if card.weights is None else card.weights.parameters,
    }
