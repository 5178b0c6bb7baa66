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
class CloseSettings:
    """What to build besides random dimers: mostly what is bonded, or pressed together.

    Attributes:
        contacts: Dimers of each pair in random orientations whose closest atoms stand at 0.6 to 1.2
            contact distances.
        bonds: Dimers of each pair in which a hydrogen points to N, O, F or Cl at 0.6 to 1.3 contact
            distances.
        transfers: Dimers of each pair with a proton on its way from N, O, F or Cl to N, O, F or Cl.
        far: Dimers of each pair 6 to 15 Å apart.
        explorations: Dimers of each pair that are relaxed and let move; half of them start from a
            hydrogen bond where there can be one, a quarter from a proton on its way.
        points: Geometries of each relaxation.
        stretches: Minima of each relaxation with their molecules pushed together or pulled apart.
        snapshots: Geometries of each trajectory.
        interval: Steps of 1 fs between snapshots.
        temperatures: Lowest and highest of the trajectories in K.
    """

    contacts: int = 40
    bonds: int = 60
    transfers: int = 100
    far: int = 30
    explorations: int = 6
    points: int = 14
    stretches: int = 8
    snapshots: int = 10
    interval: int = 12
    temperatures: tuple[float, float] = (150.0, 600.0)


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
        close: What else to build; None for nothing.
    """

    monomers: tuple[str, ...] = tuple(MONOMERS)
    per_pair: int = 200
    per_monomer: int = 100
    curves_per_pair: int = 2
    seed: int = 0
    time_limit: float = 30.0
    close: CloseSettings | None = None

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
