"""The structures that a model knows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from efa_zoo.base.config.tables import shown
from efa_zoo.base.errors import ConfigError
from efa_zoo.structures.elements import ATOMIC_NUMBERS

__all__ = ["Domain"]


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
    """

    elements: tuple[str, ...]
    total_charges: tuple[int, ...]
    max_distance: float
    min_distance: float = 0.5
    closed_shell: bool = True
    multiplicities: tuple[int, ...] = ()
    periodic_directions: tuple[int, ...] = (0,)

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
