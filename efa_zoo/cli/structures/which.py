"""`efa-zoo which`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from efa_zoo.base.errors import InputError
from efa_zoo.cli._common import Charge, Json, Multiplicity, dump, flag, print_, read_structures
from efa_zoo.models.hub.card_text import mean_errors

if TYPE_CHECKING:
    from efa_zoo.models.hub.choosing import Acquaintance


def run(
    file: Annotated[
        Positional[str], arg(metavar="FILE", help="structures that ASE reads, or example:NAME")
    ],
    /,
    *,
    charge: Charge = None,
    multiplicity: Multiplicity = None,
    all: Annotated[bool, flag("also models that know none of them, and why not")] = False,
    json: Json = False,
) -> None:
    """Tell which models know the structures of a file, best first, by their cards.

    A card tells elements, charges and distances; a model may still be asked about molecules unlike
    all that it was trained on. Models that know some of the structures only say how many, and what
    is wrong with the first one that they do not know.

    Examples:
      efa-zoo which example:ammonium_water
      efa-zoo which dimers.extxyz --charge 1
    """
    structures = read_structures(file)
    from efa_zoo.models.hub.choosing import acquaintances

    try:
        found = acquaintances(
            [structure.atoms for structure in structures], charge=charge, multiplicity=multiplicity
        )
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    shown = found if all else [one for one in found if one.known]
    if json:
        print_(dump([_entry(one) for one in shown]))
        return
    if not shown:
        raise InputError(f"{file}: no model of the zoo knows any of it (see --all for the reasons)")
    width = max(len(one.card.name) for one in shown)
    for one in shown:
        print_(f"{one.card.name.ljust(width)}  {_text(one, len(structures))}")


def _text(one: Acquaintance, count: int) -> str:
    if one.known < count:
        share = f"{one.known} of {count}: " if count > 1 else ""
        return f"{share}{one.problem}"
    energy, force = mean_errors(one.card)
    errors = f", {1e3 * energy:.3g} meV, {1e3 * force:.3g} meV/Å" if math.isfinite(force) else ""
    return f"{one.card.data.name}, {one.card.data.level_of_theory}{errors}"


def _entry(one: Acquaintance) -> dict[str, object]:
    energy, force = mean_errors(one.card)
    return {
        "name": one.card.name,
        "known": one.known,
        "problem": one.problem,
        "level_of_theory": one.card.data.level_of_theory,
        "energy_mae": energy,
        "force_mae": force,
    }
