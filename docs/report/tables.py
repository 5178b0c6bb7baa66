"""Tables as rows of text, the first one their heading."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from efa_zoo.models.hub.cards import Card

#: Rows of cells, the first one the heading.
Rows = Sequence[Sequence[str]]


def markdown(rows: Rows) -> str:
    """A table in Markdown."""
    first, *rest = rows
    lines = [first, ["---"] * len(first), *rest]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def milli(value: float | None, unit: str = "") -> str:
    """A number in thousandths of its unit, to three digits.

    Args:
        value: in eV or eV/Å; None gives a dash.
        unit: what to put behind the number, such as meV.

    Returns:
        For example "15.4 meV".
    """
    if value is None:
        return "–"
    value = 1e3 * value
    digits = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{digits} {unit}".rstrip()


def model_table(models: Iterable[tuple[Card, Mapping[str, float]]]) -> Rows:
    """What the models are and how well they do.

    Args:
        models: cards of trained models, and their errors on the test split.

    Returns:
        One row for each model.
    """
    rows = [
        (
            "model",
            "data",
            "level",
            "elements",
            "parameters",
            "energy MAE, test",
            "force MAE, test",
        )
    ]
    for card, test in models:
        assert card.domain is not None
        assert card.weights is not None
        rows.append(
            (
                f"`{card.name}`",
                card.data.name,
                # The program and its version are in the card.
                re.sub(r" \(tblite .*\)", "", card.data.level_of_theory),
                " ".join(card.domain.elements),
                f"{card.weights.parameters:,}",
                milli(test["energy_mae"], "meV"),
                milli(test["force_mae"], "meV/Å"),
            )
        )
    return rows
