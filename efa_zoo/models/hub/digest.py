"""One digest of everything that enters a number, so that cards and weights are one thing.

The bytes of the weights have their SHA-256; architecture, domain and reference energies are text
that an editor changes, and with them energies or what is refused. The digest covers all of it:

- values, not text: comments, the order of keys and how a number is written do not matter,
- values that differ from their default, so that a new option leaves the digests there are,
- every entry also by a short mark of its own, by which an altered one is named.

A digest is no signature: whoever alters a card on purpose can write a new one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from efa_zoo.base.errors import WeightsError
from efa_zoo.structures.elements import SYMBOLS

if TYPE_CHECKING:
    from efa_zoo.base.contracts import JSON
    from efa_zoo.models.hub.cards import Card

__all__ = [
    "altered",
    "card_entries",
    "digest_of",
    "marks_of",
    "possible_names",
    "require_digest",
    "sealed",
]

#: Hexadecimal digits that stand for a name and for a value in a mark.
_DIGITS = 4


def digest_of(entries: Mapping[str, JSON]) -> str:
    """Compute the SHA-256 of values by name, as a hexadecimal string."""
    return hashlib.sha256(_canonical(entries)).hexdigest()


def marks_of(entries: Mapping[str, JSON]) -> str:
    """Make a short mark of every entry: digits of its name's hash, then of its value's."""
    return " ".join(sorted(_short(name) + _short(value) for name, value in entries.items()))


def altered(entries: Mapping[str, JSON], marks: str, absent: Collection[str] = ()) -> list[str]:
    """Name the entries that are not those of which marks were made.

    Args:
        entries: values by name, as they are now.
        marks: of the entries as they were.
        absent: further names that entries could have had.

    Returns:
        Names of values that were changed, added or taken away; if none can be told, none.
    """
    before = {mark[:_DIGITS]: mark[_DIGITS:] for mark in marks.split()}
    changed = [name for name, value in entries.items() if before.get(_short(name)) != _short(value)]
    present = {_short(name) for name in entries}
    gone = [n for n in absent if n not in entries and _short(n) in before.keys() - present]
    return changed + gone


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _short(value: object) -> str:
    return hashlib.sha256(_canonical(value)).hexdigest()[:_DIGITS]


def card_entries(card: Card) -> dict[str, JSON]:
    """Everything of a card that enters a number or decides what is refused.

    Args:
        card: of a model with weights or without.

    Returns:
        Values by dotted name: those of `model` and `domain` that are not the default, all
        `reference_energies`, and `weights.sha256`.
    """
    return {
        **dict(_set_options("model", card.model)),
        **({} if card.domain is None else dict(_set_options("domain", card.domain))),
        **{f"reference_energies.{element}": e for element, e in card.reference_energies.items()},
        **({} if card.weights is None else {"weights.sha256": card.weights.sha256}),
    }


def possible_names(card: Card) -> list[str]:
    """Names that entries of a card could have, whatever its values are."""
    names = [name for name, _ in _set_options("model", card.model, every=True)]
    if card.domain is not None:
        names += [name for name, _ in _set_options("domain", card.domain, every=True)]
    return [*names, "model.attention", *(f"reference_energies.{e}" for e in SYMBOLS)]


def _set_options(name: str, options: Any, *, every: bool = False) -> Iterator[tuple[str, JSON]]:
    """Options that are not the default, by dotted name; on request every one."""
    kind = getattr(options, "kind", None)
    if kind is not None:
        yield f"{name}.kind", kind
    for field in dataclasses.fields(options):
        value, dotted = getattr(options, field.name), f"{name}.{field.name}"
        if dataclasses.is_dataclass(value):
            if field.default is None or every:
                yield dotted, True  # that it is there counts, even where all in it is default
            yield from _set_options(dotted, value, every=every)
        elif value != field.default or type(value) is not type(field.default) or every:
            yield dotted, list(value) if isinstance(value, tuple) else value


def sealed(card: Card) -> Card:
    """Give a card the digest of what it says.

    Args:
        card: of a model with weights; another one is returned as it is.

    Returns:
        The card, its `weights` with `digest` and `marks`.
    """
    if card.weights is None:
        return card
    entries = card_entries(card)
    weights = dataclasses.replace(card.weights, digest=digest_of(entries), marks=marks_of(entries))
    return dataclasses.replace(card, weights=weights)


def require_digest(card: Card, where: object) -> None:
    """Refuse a card that does not say what it said when its digest was written.

    Args:
        card: of a model with weights.
        where: its file, for messages.

    Raises:
        WeightsError: it has no digest, or something was altered, which is named.
    """
    assert card.weights is not None
    if not card.weights.digest:
        raise WeightsError(
            f"{where}: [weights] has no digest of what enters the numbers, so nobody knows whether "
            "it was altered (if it was not: efa-zoo card NAME --seal)"
        )
    entries = card_entries(card)
    if digest_of(entries) == card.weights.digest:
        return
    names = altered(entries, card.weights.marks, possible_names(card))
    raise WeightsError(
        f"{where}: {', '.join(names) or 'the digest'} was altered after the weights were written "
        f"(digest {digest_of(entries)}, expected {card.weights.digest}); the numbers would not be "
        "those of the model"
    )
