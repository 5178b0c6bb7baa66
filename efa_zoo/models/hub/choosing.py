"""Which models of the zoo know a structure: by cards alone, without weights and without JAX."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from efa_zoo.base.errors import ConfigError, InputError
from efa_zoo.models.hub import registry
from efa_zoo.models.hub.card_text import mean_errors
from efa_zoo.models.hub.cards import Card
from efa_zoo.models.inputs.checks import check_against
from efa_zoo.models.inputs.reading import is_structure, read_structure

if TYPE_CHECKING:
    from efa_zoo.models.inputs.reading import AnyStructure

__all__ = ["Acquaintance", "acquaintances", "others_that_know", "suggest"]

#: Models that a refusal names.
_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Acquaintance:
    """How well a model knows some structures, as far as its card says.

    Attributes:
        card: of the model.
        known: number of structures that it knows.
        problem: what is wrong with the first one that it does not know; empty if it knows all.
    """

    card: Card
    known: int
    problem: str


def suggest(
    structures: AnyStructure | Iterable[AnyStructure],
    *,
    charge: int | None = None,
    multiplicity: int | None = None,
) -> list[str]:
    """Name the models of the zoo that know a structure, best first.

    A model knows a structure if its card says so: elements, total charge, electrons and distances
    between atoms. It may still be asked about molecules unlike all that it was trained on.

    Models of a quantum-chemical method come before those of a formula, which are made to show
    something; among them the one with the lowest mean error of forces on its test split comes
    first. Models of a user's own, in `$EFA_ZOO_HOME`, are among them.

    Args:
        structures: ASE atoms or a `Graph` (positions in Å), or several, all of which must be known.
        charge: total charge in units of e; None takes the structure's, without one 0.
        multiplicity: 2S + 1; None takes the structure's, without one the lowest.

    Returns:
        Names, as `efa_zoo.load` takes them; none if there is no such model.

    Raises:
        InputError: there is no structure, or one is no structure at all.
    """
    several = [structures] if is_structure(structures) else list(_iterable(structures))
    found = acquaintances(several, charge=charge, multiplicity=multiplicity)
    return [one.card.name for one in found if one.known == len(several)]


def _iterable(structures: object) -> Iterable[object]:
    if isinstance(structures, str | Path) or not isinstance(structures, Iterable):
        raise InputError(
            f"structures: got {structures!r}, expected ASE atoms or a Graph (read files with "
            "ase.io.read)"
        )
    return structures


def acquaintances(
    structures: Iterable[object], *, charge: int | None = None, multiplicity: int | None = None
) -> list[Acquaintance]:
    """Tell of every trained model of the zoo how many of the structures it knows.

    Args:
        structures: as for `suggest`.
        charge: as for `suggest`.
        multiplicity: as for `suggest`.

    Returns:
        Those that know most first, in the order of `suggest` among equals.

    Raises:
        InputError: as for `suggest`.
    """
    cards = [card for card in _cards().values() if card.weights is not None]
    known, problems = dict.fromkeys(cards, 0), dict.fromkeys(cards, "")
    count = 0
    for structure in structures:
        count += 1
        given = read_structure(structure, charge)  # refuses what is no structure
        for card in cards:
            try:
                # A charge that is not given is 0, which need not be said of every model.
                check_against(structure, card, given.charge or 0, multiplicity=multiplicity)
            except InputError as error:
                problems[card] = problems[card] or str(error)
            else:
                known[card] += 1
    if not count:
        raise InputError("structures: got none, expected at least one")
    found = [Acquaintance(card=c, known=known[c], problem=problems[c]) for c in cards]
    return sorted(found, key=lambda one: (-one.known, *_rank(one.card)))


def others_that_know(
    structure: object, card: Card, charge: int | None, multiplicity: int | None
) -> str:
    """Say which other models know a structure that one does not.

    Args:
        structure: as for `suggest`.
        card: of the model that does not.
        charge: as for `suggest`.
        multiplicity: as for `suggest`.

    Returns:
        The end of a sentence; empty if there is none.
    """
    try:
        names = suggest([structure], charge=charge, multiplicity=multiplicity)  # type: ignore[list-item]
    except (InputError, ConfigError):
        return ""
    names = [name for name in names if name != card.name][:_NAMED]
    if not names:
        return ""
    return f" (known to {', '.join(names)}; see efa-zoo list)"


def _rank(card: Card) -> tuple[bool, float, str]:
    formula = any(mark in card.data.level_of_theory for mark in ("=", "q q'"))
    return formula, mean_errors(card)[1], card.name


def _cards() -> dict[str, Card]:
    """All valid cards of the zoo."""
    found: dict[str, Card] = {}
    for name, files in registry.zoo_files().items():
        facts = files.zoo_file.stat()
        card = _read(files.zoo_file, facts.st_mtime_ns, facts.st_size)
        if card is not None:
            found[name] = card
    return found


@functools.lru_cache(maxsize=256)
def _read(path: Path, changed: int, size: int) -> Card | None:
    """Read a card once as long as its file is the same: many structures may be refused."""
    try:
        return Card.from_toml(path)
    except ConfigError:
        return None
