"""The structures that a model knows."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TypeAlias

from efa_zoo.base.config.tables import shown
from efa_zoo.base.errors import ConfigError
from efa_zoo.structures.elements import ATOMIC_NUMBERS, symbol

__all__ = ["Domain", "Environment", "as_environment", "environment_text", "partners_text"]

#: Atomic number of an atom, then those of the atoms that it is bonded to, in ascending order.
Environment: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Domain:
    """The structures a model knows; prediction outside is refused.

    Attributes:
        elements: symbols of the elements.
        total_charges: total charges in units of e.
        max_distance: longest distance between two atoms of a structure, in Å; not looked at where
            it is periodic.
        min_distance: shortest distance between two atoms of a structure, in Å.
        closed_shell: only structures with an even number of electrons.
        multiplicities: 2S + 1, where the model takes the spin as an input; empty means the lowest.
        periodic_directions: in how many directions the structures are periodic, 0 to 3.
        environments: what an atom may be bonded to, such as "C H3O"; empty where bonds are not
            looked at.
    """

    elements: tuple[str, ...]
    total_charges: tuple[int, ...]
    max_distance: float
    min_distance: float = 0.5
    closed_shell: bool = True
    multiplicities: tuple[int, ...] = ()
    periodic_directions: tuple[int, ...] = (0,)
    environments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.elements:
            raise ConfigError("elements: got [], expected at least one symbol")
        for element in self.elements:
            if element not in ATOMIC_NUMBERS:
                raise ConfigError(f"elements: got {shown(element)}, expected symbols of elements")
        if not self.total_charges:
            raise ConfigError("total_charges: got [], expected at least one charge")
        if any(multiplicity < 1 for multiplicity in self.multiplicities):
            raise ConfigError(
                f"multiplicities: got {list(self.multiplicities)}, expected numbers of at least 1"
            )
        if not self.periodic_directions or not set(self.periodic_directions) <= {0, 1, 2, 3}:
            raise ConfigError(
                f"periodic_directions: got {list(self.periodic_directions)}, expected numbers from "
                "0 to 3"
            )
        if not (math.isfinite(self.min_distance) and self.min_distance > 0):
            raise ConfigError(
                f"min_distance: got {self.min_distance}, expected a positive number (Å)"
            )
        if not (math.isfinite(self.max_distance) and self.max_distance > self.min_distance):
            raise ConfigError(
                f"max_distance: got {self.max_distance}, expected a number above min_distance = "
                f"{self.min_distance} (Å)"
            )
        strange = {z for environment in self.known_environments for z in environment}
        strange -= {ATOMIC_NUMBERS[element] for element in self.elements}
        if strange:
            raise ConfigError(
                f"environments: got {', '.join(map(symbol, sorted(strange)))}, expected the "
                "elements of the domain only"
            )

    @functools.cached_property
    def known_environments(self) -> frozenset[Environment]:
        """The `environments` as they are found in structures."""
        return frozenset(map(as_environment, self.environments))


def partners_text(environment: Environment) -> str:
    """Write what an atom is bonded to as a formula, such as "H3O"; empty for an atom alone."""
    counts = Counter(environment[1:])
    return "".join(f"{symbol(z)}{n if n > 1 else ''}" for z, n in sorted(counts.items()))


def environment_text(environment: Environment) -> str:
    """Write an atom and what it is bonded to, such as "C H3O"; "C" for an atom alone."""
    return f"{symbol(environment[0])} {partners_text(environment)}".rstrip()


def as_environment(text: str) -> Environment:
    """Read what `environment_text` wrote.

    Args:
        text: such as "C H3O".

    Returns:
        The environment.

    Raises:
        ConfigError: it is not written as `environment_text` writes it.
    """
    center, _, partners = text.partition(" ")
    counts = re.findall(r"([A-Z][a-z]?)(\d{0,3})", partners)
    if {center, *(element for element, _ in counts)} <= ATOMIC_NUMBERS.keys():
        others = [ATOMIC_NUMBERS[element] for element, n in counts for _ in range(int(n or 1))]
        environment = (ATOMIC_NUMBERS[center], *sorted(others))
        if environment_text(environment) == text:
            return environment
    raise ConfigError(
        f"environments: got {shown(text)}, expected an element and what it is bonded to, by "
        'atomic number, such as "C H3O"'
    )
