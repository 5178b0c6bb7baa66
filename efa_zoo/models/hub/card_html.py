"""A card in a notebook."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from efa_zoo.models.hub.card_text import card_facts

if TYPE_CHECKING:
    from efa_zoo.models.hub.cards import Card

__all__ = ["card_html"]


def card_html(card: Card) -> str:
    """Write a card as a table of HTML, with nothing in it that is loaded from elsewhere.

    Args:
        card: the card.

    Returns:
        The fragment.
    """
    rows = "".join(
        f'<tr><th style="text-align:left;vertical-align:top">{escape(title)}</th>'
        f'<td style="text-align:left">{escape(text)}</td></tr>'
        for title, text in card_facts(card).items()
    )
    title = f"<b>{escape(card.name)}</b>: {escape(card.description)}"
    return f'<div style="max-width:60em"><p>{title}</p><table>{rows}</table></div>'
