"""A card as text: in a few lines, or with everything in it."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from efa_zoo.base.config import to_table

if TYPE_CHECKING:
    from efa_zoo.models.hub.cards import Card
    from efa_zoo.structures.domain import Domain

__all__ = ["card_facts", "card_lines", "mean_errors", "signed", "summary_lines"]

#: Lines of a card that is not shown in full, and their width.
_LINES, _WIDTH = 15, 100


def summary_lines(card: Card) -> list[str]:
    """Write what one needs to know of a model, in at most 15 lines.

    Args:
        card: the card.

    Returns:
        Lines without ends; limits that are too long end in an ellipsis.
    """
    facts = card_facts(card)
    indent = max(map(len, facts)) + 4
    lines = [f"{card.name}: {card.description}"]
    for title, text in facts.items():
        wrapped = textwrap.wrap(text, _WIDTH - indent) or [""]
        wrapped[0] = f"  {title.ljust(indent - 2)}{wrapped[0]}"
        lines += [wrapped[0], *(" " * indent + line for line in wrapped[1:])]
    if len(lines) >= _LINES:  # what is known last is the limits, the longest by far
        lines[_LINES - 2 :] = [f"{lines[_LINES - 2]} …"]
    return [*lines, f"  everything: efa-zoo card {card.name} --all"]


def card_facts(card: Card) -> dict[str, str]:
    """Say in words what a card holds, with units.

    Args:
        card: the card.

    Returns:
        Texts by title; only of what there is.
    """
    facts: dict[str, str] = {}
    if card.domain is not None:
        domain = card.domain
        shells = ", closed shells only" if domain.closed_shell else ""
        facts["elements"] = " ".join(domain.elements)
        facts["charges"] = f"{signed(domain.total_charges)} e{shells}"
        facts["distances"] = f"{domain.min_distance:g} to {domain.max_distance:g} Å"
        facts |= _periodicity(domain)
    facts["data"] = f"{card.data.name}: {card.data.level_of_theory}"
    errors = [
        f"{split}: {text}" for split, table in card.metrics.items() if (text := _errors(table))
    ]
    if errors:
        facts["mean errors"] = "; ".join(errors)
    model, attention = card.model, card.model.attention
    facts["network"] = (
        f"{model.iterations} x {model.features} features, messages up to "
        f"{model.message_passing.cutoff:g} Å, "
        f"{'no attention' if attention is None else 'attention between all atoms'}"
    )
    if card.weights is None:
        facts["weights"] = "none yet, the model is not trained"
    else:
        facts["weights"] = (
            f"{card.weights.parameters:,} parameters, {card.weights.bytes / 1e6:.2g} MB"
        )
        if card.calibration is None:
            facts["uncertainty"] = "none, efa-zoo calibrate gives it"
        else:
            facts["uncertainty"] = f"calibrated on {card.calibration.data}"
    if card.fine_tuning is not None:
        facts["fine-tuned"] = (
            f"from {card.fine_tuning.base}, {card.fine_tuning.replay:.0%} of each epoch replayed"
        )
    cost = [
        f"{card.cost[key]:,} {unit}" for key, unit in (("steps", "steps"), ("seconds", "s"))
        if key in card.cost
    ]  # fmt: skip
    if cost:
        device = card.cost.get("device")
        facts["training"] = ", ".join(cost) + (f" on {device}" if device else "")
    if card.limits:
        facts["limits"] = " ".join(card.limits.split())
    return facts


def mean_errors(card: Card) -> tuple[float, float]:
    """Look up a card's mean absolute errors on its test split, or on what was held back instead.

    Args:
        card: of a model.

    Returns:
        Of energies in eV and of force components in eV/Å, infinite where the card has none.
    """
    for split in ("test", "new, test", "validation", "new, validation"):
        table = _whole(card.metrics.get(split))
        if "force_mae" in table:
            return table.get("energy_mae", math.inf), table["force_mae"]
    return math.inf, math.inf


def signed(charges: Sequence[int], between: str = " ") -> str:
    """Write charges with their signs, such as `-1 0 +1`."""
    return between.join(f"{charge:+d}" if charge else "0" for charge in charges)


def _whole(table: object) -> dict[str, float]:
    """The numbers of a split as a whole, of which parts may have their own."""
    if isinstance(table, Mapping):
        table = table.get("all", table)
    if not isinstance(table, Mapping):
        return {}
    return {k: v for k, v in table.items() if isinstance(v, int | float)}


def _errors(table: object) -> str:
    found = _whole(table)
    if not {"energy_mae", "force_mae"} <= found.keys():
        return ""
    return f"{1e3 * found['energy_mae']:.3g} meV, {1e3 * found['force_mae']:.3g} meV/Å"


def card_lines(card: Card) -> Iterator[str]:
    """Write everything in a card, line by line.

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
                "total charges": signed(domain.total_charges),
                "distances": f"{domain.min_distance:g} to {domain.max_distance:g} Å",
                "electrons": shells,
                **_periodicity(domain),
                "bonds": _bonds(domain),
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
    if card.replay is not None:
        yield from _section("Structures to replay", to_table(card.replay))


def _periodicity(domain: Domain) -> dict[str, str]:
    """How many directions are periodic, where that is not none."""
    if domain.periodic_directions == (0,):
        return {}
    return {"periodic directions": " or ".join(map(str, domain.periodic_directions))}


def _bonds(domain: Domain) -> str:
    """How many surroundings of an element are known, where these are listed."""
    if not domain.environments:
        return "not looked at"
    counts = Counter(text.partition(" ")[0] for text in domain.environments)
    return ", ".join(f"{n} kinds of {element}" for element, n in counts.items())


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
