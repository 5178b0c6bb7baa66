"""Which dimers the data set `dimers` consists of, and their labels.

Every structure has its own random generator, made of the seed, the kind of structure, the pair and
the structure's number, so the data do not depend on the order in which workers finish.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from jaxtyping import Float64, Int32

from data_pipelines._progress import progress
from data_pipelines._workers import Failure, run_tasks
from data_pipelines.labels.labelling import Label, Molecule, charges_hold, label_groups
from data_pipelines.sampling.monomers import MONOMERS, RelaxedMonomer, distort
from data_pipelines.sampling.placement import (
    MAX_SEPARATION,
    closest_contact,
    contact_distances,
    draw_separation,
    random_direction,
    random_rotation,
    separation_at_contact,
)
from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError

_logger = logging.getLogger(__name__)

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

CURVE_SEPARATIONS = tuple(float(r) for r in np.arange(6.0, MAX_SEPARATION + 0.25, 0.5))
"""Separations in Å of a rigid scan beyond the range of a local model."""

_CURVE_CONTACTS = (1.0, 1.15, 1.35, 1.6)
_SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
_TEMPERATURES = (100.0, 600.0)
_RELAX_LIMIT = 300.0

# First words of a structure's random generator.
_DIMER, _ISOLATED, _CURVE, _SPLIT_DIMER, _SPLIT_ISOLATED = range(5)


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
        return tuple(pair for pair in _PAIR_NUMBERS if chosen.issuperset(pair))


@dataclass(frozen=True)
class LabelledDimers:
    """The finished data set.

    Attributes:
        splits: For each split, key and structure, in a reproducible order.
        counts: For each pair or monomer, how many structures were kept and dropped, by reason.
        curve_counts: The same for points of rigid scans.
    """

    splits: Mapping[str, tuple[tuple[str, Structure], ...]]
    counts: Mapping[str, Mapping[str, int]]
    curve_counts: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class _Plan:
    """A structure before it is labelled."""

    key: str
    split: str
    names: Pair
    positions: tuple[np.ndarray, ...]
    formal_charges: Int32[np.ndarray, " 2"]
    separation: float
    contact: float
    curve: int

    @property
    def molecules(self) -> tuple[Molecule, ...]:
        """The whole structure and, if it is a dimer in a random geometry, its two fragments."""
        numbers = [_numbers(name) for name in self.names if name]
        charges = [int(q) for q in self.formal_charges]
        whole = Molecule(np.concatenate(numbers), np.concatenate(self.positions), int(sum(charges)))
        if len(numbers) == 1 or self.curve >= 0:
            return (whole,)
        fragments = zip(numbers, self.positions, charges, strict=True)
        return (whole, *(Molecule(*fragment) for fragment in fragments))


_PAIR_NUMBERS: dict[Pair, int] = {
    pair: number
    for number, pair in enumerate(
        pair for pair in combinations_with_replacement(MONOMERS, 2) if pair not in UNLABELLED_PAIRS
    )
}
_MONOMER_NUMBERS = {name: number for number, name in enumerate(MONOMERS)}


def make_dimers(settings: DimerSettings, *, workers: int) -> LabelledDimers:
    """Draws, labels, checks and splits the data set.

    Args:
        settings: What to build.
        workers: Number of worker processes for the labels.

    Returns:
        The labelled structures with the counts of what was dropped.

    Raises:
        DataError: If a monomer could not be optimised.
    """
    relaxed = _relax(settings.monomers, workers)
    plans = _Plans(settings, relaxed)
    total = plans.total
    planned: list[_Plan] = []

    def groups() -> Iterator[Sequence[Molecule]]:
        for plan in plans:
            planned.append(plan)
            yield plan.molecules

    found: dict[int, Structure | Failure] = {}
    labelled = label_groups(groups(), workers=workers, time_limit=settings.time_limit)
    for number, labels in progress(labelled, total, "labels"):
        found[number] = _finish(planned[number], labels, relaxed)

    splits: dict[str, list[tuple[str, Structure]]] = {
        name: [] for name in (*_SHARES, "transfer", "curves")
    }
    counts: dict[str, Counter[str]] = {}
    curve_counts: dict[str, Counter[str]] = {}
    for number, plan in enumerate(planned):
        outcome = found[number]
        group = "+".join(name for name in plan.names if name)
        counter = (counts if plan.curve < 0 else curve_counts).setdefault(group, Counter())
        if isinstance(outcome, Failure):
            counter[outcome.reason] += 1
        else:
            counter["kept"] += 1
            splits[plan.split].append((plan.key, outcome))
    _log_counts("structures", counts)
    _log_counts("points of scans", curve_counts)
    return LabelledDimers(
        splits={name: tuple(items) for name, items in splits.items()},
        counts={group: dict(counter) for group, counter in counts.items()},
        curve_counts={group: dict(counter) for group, counter in curve_counts.items()},
    )


def make_pair(pair: Pair, count: int, *, seed: int, workers: int) -> list[Structure]:
    """Draws and labels dimers of one pair, as the data set does, until enough of them hold.

    Args:
        pair: Names from `MONOMERS`, in any order.
        count: Number of dimers wanted, at least 1.
        seed: Of everything random; that of the data set gives its dimers again.
        workers: Number of worker processes for the labels.

    Returns:
        The labelled dimers.

    Raises:
        DataError: If a name is unknown, the pair cannot be labelled, a monomer could not be
            optimised, or hardly any label holds.
    """
    if count < 1:
        raise DataError(f"count: got {count}, expected at least 1")
    DimerSettings(monomers=pair, seed=seed)  # refuses unknown names
    pair = pair if pair in _PAIR_NUMBERS else (pair[1], pair[0])
    if pair not in _PAIR_NUMBERS:
        raise DataError(f"pair: got {' and '.join(pair)}, for which GFN2-xTB hardly converges")
    relaxed = _relax(sorted(set(pair)), workers)
    kept: list[Structure] = []
    tried = 0
    while len(kept) < count:
        if tried > 4 * count:
            raise DataError(
                f"pair: {len(kept)} of {tried} dimers of {' and '.join(pair)} could be labelled, "
                f"expected {count}"
            )
        total = tried + count - len(kept)
        settings = DimerSettings(
            monomers=pair, per_pair=total, per_monomer=0, curves_per_pair=0, seed=seed
        )
        planned = list(_Plans(settings, relaxed).dimers(pair))[tried:]
        labelled = label_groups(
            (plan.molecules for plan in planned), workers=workers, time_limit=settings.time_limit
        )
        outcomes = {
            number: _finish(planned[number], labels, relaxed)
            for number, labels in progress(labelled, len(planned), "labels")
        }
        found = [outcomes[number] for number in range(len(planned))]
        kept += [outcome for outcome in found if not isinstance(outcome, Failure)]
        tried = total
    return kept


def _relax(names: Sequence[str], workers: int) -> dict[str, RelaxedMonomer]:
    relaxed: dict[str, RelaxedMonomer] = {}
    tasks = [MONOMERS[name] for name in names]
    outcomes = run_tasks(
        "data_pipelines.sampling.monomers:relax", tasks, workers=workers, time_limit=_RELAX_LIMIT
    )
    for number, outcome in outcomes:
        if isinstance(outcome, Failure):
            name = names[number]
            raise DataError(f"monomer {name}: {outcome.reason}, {outcome.detail}")
        relaxed[names[number]] = outcome
    return relaxed


class _Plans:
    """All structures to label, drawn one at a time so that workers need not wait for the rest."""

    def __init__(self, settings: DimerSettings, relaxed: Mapping[str, RelaxedMonomer]) -> None:
        self.settings = settings
        self.relaxed = relaxed

    @property
    def total(self) -> int:
        isolated = sum(self._isolated_count(name) for name in self.settings.monomers)
        scans = sum(1 for _ in self._scans())
        return isolated + len(self.settings.pairs) * self.settings.per_pair + scans

    def __iter__(self) -> Iterator[_Plan]:
        for name in self.settings.monomers:
            yield from self._isolated(name)
        for pair in self.settings.pairs:
            yield from self.dimers(pair)
        yield from self._scans()

    def _rng(self, *words: int) -> np.random.Generator:
        return np.random.default_rng((self.settings.seed, *words))

    def _isolated_count(self, name: str) -> int:
        several = len(MONOMERS[name].atomic_numbers) > 1
        return self.settings.per_monomer if several else min(1, self.settings.per_monomer)

    def _isolated(self, name: str) -> Iterator[_Plan]:
        number, count = _MONOMER_NUMBERS[name], self._isolated_count(name)
        splits = _assign(self._rng(_SPLIT_ISOLATED, number), count)
        for i in range(count):
            rng = self._rng(_ISOLATED, number, i)
            yield _Plan(
                key=f"{name}/{i:05d}",
                split=splits[i],
                names=(name, ""),
                positions=(self._distorted(name, rng),),
                formal_charges=np.array([MONOMERS[name].charge, 0], np.int32),
                separation=float("nan"),
                contact=float("nan"),
                curve=-1,
            )

    def dimers(self, pair: Pair) -> Iterator[_Plan]:
        """Dimers of one pair; more of them begin with the same ones."""
        number, count = _PAIR_NUMBERS[pair], self.settings.per_pair
        splits = _assign(self._rng(_SPLIT_DIMER, number), count)
        distances = contact_distances(*(_numbers(name) for name in pair))
        # Equal charges only repel: nothing is to be learnt from pressing them together.
        wall = 1.0 if MONOMERS[pair[0]].charge * MONOMERS[pair[1]].charge > 0 else 0.8
        for i in range(count):
            rng = self._rng(_DIMER, number, i)
            first, second = (self._distorted(name, rng) for name in pair)
            direction = random_direction(rng)
            separation = draw_separation(first, second, direction, distances, rng, wall=wall)
            yield _place(
                f"{'+'.join(pair)}/{i:05d}",
                "transfer" if pair in TRANSFER_PAIRS else splits[i],
                pair,
                first,
                second + separation * direction,
                separation,
                curve=-1,
            )

    def _scans(self) -> Iterator[_Plan]:
        for pair in self.settings.pairs:
            number = _PAIR_NUMBERS[pair]
            distances = contact_distances(*(_numbers(name) for name in pair))
            for i in range(self.settings.curves_per_pair):
                rng = self._rng(_CURVE, number, i)
                first, second = (
                    self.relaxed[name].positions @ random_rotation(rng).T for name in pair
                )
                direction = random_direction(rng)
                near = [
                    separation_at_contact(first, second, direction, factor * distances)
                    for factor in _CURVE_CONTACTS
                ]
                inside = [r for r in near if r < CURVE_SEPARATIONS[0] - 0.1]
                curve = number * _CURVES_APART + i
                contact = near[0]
                outside = [r for r in CURVE_SEPARATIONS if r >= contact]
                for j, separation in enumerate((*inside, *outside)):
                    yield _place(
                        f"curve/{'+'.join(pair)}/{i:03d}/{j:03d}",
                        "curves",
                        pair,
                        first,
                        second + separation * direction,
                        separation,
                        curve=curve,
                    )

    def _distorted(self, name: str, rng: np.random.Generator) -> Float64[np.ndarray, "atoms 3"]:
        temperature = rng.uniform(*_TEMPERATURES)
        return distort(self.relaxed[name], temperature, rng) @ random_rotation(rng).T


_CURVES_APART = 1000


def _numbers(name: str) -> Int32[np.ndarray, " atoms"]:
    return np.array(MONOMERS[name].atomic_numbers, np.int32)


def _place(
    key: str,
    split: str,
    pair: Pair,
    first: Float64[np.ndarray, "m 3"],
    second: Float64[np.ndarray, "n 3"],
    separation: float,
    *,
    curve: int,
) -> _Plan:
    return _Plan(
        key=key,
        split=split,
        names=pair,
        positions=(first, second),
        formal_charges=np.array([MONOMERS[name].charge for name in pair], np.int32),
        separation=separation,
        contact=closest_contact(first, second),
        curve=curve,
    )


def _assign(rng: np.random.Generator, count: int) -> list[str]:
    """Splits `count` structures in fixed shares at random; the first split takes the remainder."""
    splits = ["train"] * count
    order = rng.permutation(count)
    start = 0
    for name in ("validation", "test"):
        stop = start + int(_SHARES[name] * count + 0.5)
        for i in order[start:stop]:
            splits[i] = name
        start = stop
    return splits


def _finish(
    plan: _Plan,
    labels: tuple[Label, ...] | Failure,
    relaxed: Mapping[str, RelaxedMonomer],
) -> Structure | Failure:
    """Turns labels into a structure, unless a fragment's charge is wrong."""
    if isinstance(labels, Failure):
        return labels
    whole = plan.molecules[0]
    sizes = [len(positions) for positions in plan.positions]
    fragment = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    charges = np.array([labels[0].charges[fragment == i].sum() for i in range(2)])
    if len(sizes) == 1:
        energies = [labels[0].energy, 0.0]
    elif plan.curve >= 0:
        energies = [relaxed[name].label.energy for name in plan.names]
    else:
        energies = [part.energy for part in labels[1:]]
    if len(sizes) == 2 and not charges_hold(charges, plan.formal_charges, plan.separation):
        return Failure("charge", f"fragment charges {charges}")
    return Structure(
        atomic_numbers=whole.atomic_numbers,
        positions=whole.positions,
        energy=labels[0].energy,
        forces=labels[0].forces,
        total_charge=whole.total_charge,
        monomers=plan.names,
        fragment=fragment,
        separation=plan.separation,
        closest_contact=plan.contact,
        fragment_energies=np.array(energies),
        fragment_charges=charges,
        formal_charges=plan.formal_charges,
        curve=plan.curve,
    )


def _log_counts(title: str, counts: Mapping[str, Counter[str]]) -> None:
    for group, counter in counts.items():
        dropped = {reason: n for reason, n in sorted(counter.items()) if reason != "kept"}
        if dropped:
            reasons = ", ".join(f"{n} {reason}" for reason, n in dropped.items())
            _logger.info("%s of %s: %d kept, dropped %s", title, group, counter["kept"], reasons)
    everything = sum(counts.values(), Counter())
    _logger.info("%s: %d kept of %d tried", title, everything["kept"], sum(everything.values()))
