"""Which pairs of molecules the data set `dimers` consists of, and how many of each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

from data_pipelines.sampling.monomers import MONOMERS
from efa_zoo.base.errors import DataError

Pair = tuple[str, str]

UNLABELLED_PAIRS: frozenset[Pair] = frozenset(
    (name, "fluoride")
    for name in ("carbon_dioxide", "formaldehyde", "ethylene", "benzene", "hydrogen_cyanide")
)
"""Pairs left out: GFN2-xTB converges for fewer than one in five of their structures."""

TRANSFER_PAIRS: frozenset[Pair] = frozenset(
    {
        ("formaldehyde", "ammonium"),
        ("ammonia", "methanol"),
        ("water", "carbon_dioxide"),
        ("chloride", "formate"),
    }
)
"""Pairs that appear in no split but `transfer` and `curves`: charged with polar, polar with polar,
polar with apolar, charged with charged."""

PAIR_NUMBERS: dict[Pair, int] = {
    pair: number
    for number, pair in enumerate(
        pair for pair in combinations_with_replacement(MONOMERS, 2) if pair not in UNLABELLED_PAIRS
    )
}
MONOMER_NUMBERS = {name: number for number, name in enumerate(MONOMERS)}


@dataclass(frozen=True)
class DimerSettings:
    """What to build.

    Attributes:
        monomers: Names from `MONOMERS`.
        per_pair: Random dimers tried for each pair.
        per_monomer: Isolated distorted molecules of each monomer (one for an atom).
        curves_per_pair: Rigid scans of each pair, in random orientations.
        seed: Of everything random.
        time_limit: Seconds for the labels of one structure.
    """

    monomers: tuple[str, ...] = tuple(MONOMERS)
    per_pair: int = 200
    per_monomer: int = 100
    curves_per_pair: int = 2
    seed: int = 0
    time_limit: float = 30.0

    def __post_init__(self) -> None:
        unknown = [name for name in self.monomers if name not in MONOMERS]
        if unknown:
            raise DataError(f"monomers: unknown {unknown}, expected names from {list(MONOMERS)}")
        for field in ("per_pair", "per_monomer", "curves_per_pair", "seed"):
            value = getattr(self, field)
            if value < 0:
                raise DataError(f"{field}: got {value}, expected an integer of at least 0")

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs of these monomers, a monomer with itself included."""
        chosen = set(self.monomers)
        return tuple(pair for pair in PAIR_NUMBERS if chosen.issuperset(pair))
