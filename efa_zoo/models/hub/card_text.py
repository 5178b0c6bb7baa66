"""A card as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from efa_zoo.base.config import to_table

if TYPE_CHECKING:
    from efa_zoo.models.hub.cards import Card
    from efa_zoo.structures.domain import Domain

__all__ = ["card_lines"]


def card_lines(card: Card) -> Iterator[str]:
    """Write a card, line by line.

    Args:
        card: the card.

    Yields:
        Lines without ends.
    """
    yield f"{card.name}: {card.description}"
    yield from _section("Data", to_table(card.data))
    if card.domain is not None:
        domain = card.domain
        shells = "closed shells only" if domain.closed_shell else "any number of electrons"
        yield from _section(
            "Valid for",
            {
                "elements": " ".join(domain.elements),
                "total charges": " ".join(
                    f"{charge:+d}" if charge else "0" for charge in domain.total_charges
                ),
                "distances": f"{domain.min_distance:g} to {domain.max_distance:g} Å",
                "electrons": shells,
                **_periodicity(domain),
            },
        )
    yield from _section("Limits", {"": card.limits} if card.limits else {})
    yield from _section("Architecture", to_table(card.model))
    if card.training is not None:
        yield from _section("Training", to_table(card.training))
    if card.fine_tuning is not None:
        yield from _section("Fine-tuning", to_table(card.fine_tuning))
    yield from _section("Training cost", card.cost)
    yield from _section("Errors", card.metrics)
    yield from _section("Reference energies (eV)", card.reference_energies)
    if card.weights is None:
        yield from _section("Weights", {"": "none yet, the model is not trained"})
    else:
        facts = to_table(card.weights)
        yield from _section("Weights", {name: facts[name] for name in facts if name != "marks"})
        if card.calibration is None:
            text = "none: the weights file has no statistics of the training (efa-zoo calibrate)"
            yield from _section("Uncertainty", {"": text})
        else:
            yield from _section("Uncertainty calibrated on", to_table(card.calibration))


def _periodicity(domain: Domain) -> dict[str, str]:
    """How many directions are periodic, where that is not none."""
    if domain.periodic_directions == (0,):
        return {}
    return {"periodic directions": " or ".join(map(str, domain.periodic_directions))}


def _section(title: str, table: Mapping[str, Any], indent: str = "  ") -> Iterator[str]:
    if not table:
        return
    yield f"{indent[2:]}{title}"
    width = max(len(key) for key in table)
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _section(key, value, indent + "  ")
        elif value != "":
            yield f"{indent}{key.ljust(width)}  {_text(value)}" if key else f"{indent}{value}"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return " ".join(_text(item) for item in value)
    return str(value)
