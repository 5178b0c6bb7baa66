"""A small fixed set of padded shapes, so that few programs are compiled and little is wasted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from data_pipelines.batches.neighborhoods import Neighborhoods
from data_pipelines.structure import Structure
from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import DataError
from efa_zoo.structures.cells import OPEN, Pbc
from efa_zoo.structures.graph import Shape

_WIDTH_STEP = 4

# Of an atom, and of a pair in attention, in slots of neighbours: rough guesses, not fitted.
_WORK_OF_ATOM = 8.0
_WORK_OF_PAIR = 0.25

_MOST_CANDIDATES = 40

# Share of the work that one more shape has to save, since it is one more program to compile.
_LEAST_GAIN = 0.03


@dataclass(frozen=True)
class BucketUse:
    """What one bucket holds over an epoch.

    Attributes:
        bucket: Its shape.
        batches: Batches of this shape.
        molecules: Molecules in them, padding excluded.
        atoms: Atoms in them, padding excluded.
        neighbors: Pairs of neighbours in them, padding excluded.
    """

    bucket: Shape
    batches: int
    molecules: int
    atoms: int
    neighbors: int

    @property
    def atom_slots(self) -> int:
        """Atoms with padding."""
        return self.batches * self.bucket.molecules * self.bucket.atoms

    @property
    def neighbor_slots(self) -> int:
        """Pairs of neighbours with padding."""
        return self.atom_slots * self.bucket.neighbors


@dataclass(frozen=True)
class PaddingReport:
    """Shapes of an epoch's batches and how well they are filled.

    Attributes:
        uses: One entry for each bucket.
    """

    uses: tuple[BucketUse, ...]

    @property
    def atom_fill(self) -> float:
        """Share of the atom slots that hold an atom."""
        return _share(sum(u.atoms for u in self.uses), sum(u.atom_slots for u in self.uses))

    @property
    def neighbor_fill(self) -> float:
        """Share of the neighbour slots that hold a neighbour."""
        filled = sum(use.neighbors for use in self.uses)
        return _share(filled, sum(use.neighbor_slots for use in self.uses))

    def __str__(self) -> str:
        lines = [
            f"{use.batches} batches of {use.bucket.molecules} molecules x {use.bucket.atoms} atoms "
            f"x {use.bucket.neighbors} neighbours: {use.molecules} molecules, "
            f"{_share(use.atoms, use.atom_slots):.0%} of atoms and "
            f"{_share(use.neighbors, use.neighbor_slots):.0%} of neighbours filled"
            for use in self.uses
        ]
        total = f"in all {self.atom_fill:.0%} of atoms and {self.neighbor_fill:.0%} of neighbours"
        return "\n".join([*lines, f"{total} filled"])


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def choose_buckets(
    structures: Sequence[Structure],
    neighborhoods: Neighborhoods,
    batch_size: int,
    max_buckets: int = 4,
) -> tuple[Shape, ...]:
    """Choose shapes that waste little work on padding.

    Args:
        structures: At least one; every one of them fits a bucket. Other structures of the same
            sizes may not, if they are denser: give all splits that are to share the shapes.
        neighborhoods: Neighbours of the structures.
        batch_size: Molecules in a batch.
        max_buckets: Largest number of shapes, for structures of each kind of periodicity.

    Returns:
        The buckets, open structures first, by ascending work, so that the first one that a
        structure fits in is the best. The neighbour width is a multiple of four or, without
        periodicity, all other atoms.

    Raises:
        DataError: If there are no structures or a number is below 1.
    """
    if not structures:
        raise DataError("structures: got none, expected at least one to choose buckets")
    return buckets_by_periodicity(
        np.array([len(s.atomic_numbers) for s in structures]),
        neighborhoods.widths(structures),
        neighborhoods.waves(structures),
        np.array([s.pbc for s in structures], bool),
        batch_size,
        max_buckets,
    )


@contract
def buckets_by_periodicity(
    atoms: Int[np.ndarray, " structures"],
    widths: Int[np.ndarray, " structures"],
    waves: Int[np.ndarray, " structures"],
    pbc: Bool[np.ndarray, "structures 3"],
    batch_size: int,
    max_buckets: int = 4,
) -> tuple[Shape, ...]:
    """Choose shapes for structures of known sizes, as `choose_buckets` does.

    Args:
        atoms: Numbers of atoms.
        widths: Largest numbers of neighbours.
        waves: Numbers of wave vectors.
        pbc: Periodic directions.
        batch_size: Molecules in a batch.
        max_buckets: Largest number of shapes of each kind of periodicity.

    Returns:
        The buckets.

    Raises:
        DataError: If a number is below 1.
    """
    buckets: list[Shape] = []
    for x, y, z in np.unique(pbc, axis=0).tolist():
        inside = (pbc == (x, y, z)).all(axis=1)
        buckets += buckets_for(
            atoms[inside],
            widths[inside],
            batch_size,
            max_buckets,
            waves=waves[inside],
            pbc=(x, y, z),
        )
    return tuple(buckets)


@contract
def buckets_for(
    atoms: Int[np.ndarray, " structures"],
    widths: Int[np.ndarray, " structures"],
    batch_size: int,
    max_buckets: int = 4,
    *,
    waves: Int[np.ndarray, " structures"] | None = None,
    pbc: Pbc = OPEN,
) -> tuple[Shape, ...]:
    """Choose shapes for structures of known sizes and one periodicity, as `choose_buckets` does.

    Args:
        atoms: Numbers of atoms.
        widths: Largest numbers of neighbours.
        batch_size: Molecules in a batch.
        max_buckets: Largest number of shapes.
        waves: Numbers of wave vectors; None where there are none.
        pbc: Periodic directions.

    Returns:
        The buckets, by ascending work.

    Raises:
        DataError: If a number is below 1.
    """
    for name, value in (("batch_size", batch_size), ("max_buckets", max_buckets)):
        if value < 1:
            raise DataError(f"{name}: got {value}, expected at least 1")
    waves = np.zeros_like(atoms) if waves is None else waves
    rounded = -(-widths // _WIDTH_STEP) * _WIDTH_STEP
    if not any(pbc):
        rounded = np.maximum(1, np.minimum(rounded, atoms - 1))
    buckets: list[Shape] = []
    for size, width in _best_shapes(atoms, rounded, max_buckets):
        count = int(waves[(atoms <= size) & (rounded <= width)].max())
        count = -(-count // _WIDTH_STEP) * _WIDTH_STEP
        buckets.append(Shape(batch_size, size, width, count, pbc))
    return tuple(buckets)


def _work(atoms: Int[np.ndarray, " ..."], widths: Int[np.ndarray, " ..."]) -> np.ndarray:
    """Estimate the work on one molecule of a shape, in slots of neighbours."""
    return atoms * (widths + _WORK_OF_ATOM + _WORK_OF_PAIR * atoms)


def _best_shapes(
    atoms: Int[np.ndarray, " structures"], widths: Int[np.ndarray, " structures"], count: int
) -> list[tuple[int, int]]:
    """Find up to `count` sizes and widths, by ascending work, with little work over structures.

    The largest shape holds everything. Others are added one by one, each where it saves most, and
    then moved in turns until no move of one of them saves anything. One that saves little is left
    out.
    """
    kinds, frequency = np.unique(np.stack([atoms, widths], axis=1), axis=0, return_counts=True)
    sizes, breadths = kinds.T
    candidates = np.stack(
        np.meshgrid(_at_most(sizes), _at_most(breadths), indexing="ij"), axis=-1
    ).reshape(-1, 2)
    work = _work(*candidates.T)
    fits = (sizes <= candidates[:, :1]) & (breadths <= candidates[:, 1:])
    # [candidates, kinds]: the work on each kind in each shape.
    each = np.where(fits, work[:, None], np.inf)
    chosen = [len(candidates) - 1]

    def best_beside(others: list[int]) -> tuple[float, int]:
        sums = np.minimum(each, each[others].min(axis=0)) @ frequency
        place = int(sums.argmin())
        return float(sums[place]), place

    total = float(each[chosen[0]] @ frequency)
    while len(chosen) < count:
        least, place = best_beside(chosen)
        if least > (1 - _LEAST_GAIN) * total:
            break
        total = least
        chosen.append(place)
        moved = True
        while moved:
            moved = False
            for i in range(1, len(chosen)):
                least, place = best_beside(chosen[:i] + chosen[i + 1 :])
                if least < total:
                    total, chosen[i], moved = least, place, True
    used = sorted(set(each[chosen].argmin(axis=0).tolist()) | {0})
    places = sorted((chosen[i] for i in used), key=lambda place: work[place])
    return [(int(candidates[place, 0]), int(candidates[place, 1])) for place in places]


def _at_most(values: Int[np.ndarray, " values"]) -> Int[np.ndarray, " chosen"]:
    """Thin out distinct values evenly, keeping the largest."""
    distinct = np.unique(values)
    places = np.linspace(0, len(distinct) - 1, _MOST_CANDIDATES).round().astype(int)
    return distinct[np.unique(places)]


@contract
def padding_report(
    assignment: Int[np.ndarray, " structures"],
    buckets: Sequence[Shape],
    atoms: Int[np.ndarray, " structures"],
    pairs: Int[np.ndarray, " structures"],
) -> PaddingReport:
    """Tell how well an epoch fills its shapes.

    Args:
        assignment: Bucket of each structure.
        buckets: The buckets.
        atoms: Numbers of atoms.
        pairs: Numbers of pairs of neighbours.

    Returns:
        Shapes and fill ratios.
    """
    uses: list[BucketUse] = []
    for number, bucket in enumerate(buckets):
        inside = assignment == number
        molecules = int(inside.sum())
        uses.append(
            BucketUse(
                bucket=bucket,
                batches=-(-molecules // bucket.molecules),
                molecules=molecules,
                atoms=int(atoms[inside].sum()),
                neighbors=int(pairs[inside].sum()),
            )
        )
    return PaddingReport(tuple(uses))


@contract
def assign_buckets(
    atoms: Int[np.ndarray, " structures"],
    widths: Int[np.ndarray, " structures"],
    buckets: Sequence[Shape],
    waves: Int[np.ndarray, " structures"] | None = None,
    pbc: Bool[np.ndarray, "structures 3"] | None = None,
) -> Int[np.ndarray, " structures"]:
    """Find the first bucket that each structure fits in.

    Args:
        atoms: Numbers of atoms.
        widths: Largest numbers of neighbours.
        buckets: By ascending work.
        waves: Numbers of wave vectors; None where no structure is periodic.
        pbc: Periodic directions, likewise.

    Returns:
        Index into `buckets` for each structure.

    Raises:
        DataError: If a structure fits no bucket.
    """
    waves = np.zeros_like(atoms) if waves is None else waves
    pbc = np.zeros((len(atoms), 3), bool) if pbc is None else pbc
    same = {b.pbc: (pbc == b.pbc).all(axis=1) for b in buckets}
    fits = np.array(
        [
            same[b.pbc] & (atoms <= b.atoms) & (widths <= b.neighbors) & (waves <= b.waves)
            for b in buckets
        ],
        bool,
    )
    homeless = np.flatnonzero(~fits.any(axis=0))
    if homeless.size:
        i = int(homeless[0])
        raise DataError(
            f"structure {i}: {atoms[i]} atoms with up to {widths[i]} neighbours, pbc "
            f"{pbc[i].tolist()}, expected to fit one of {list(buckets)}"
        )
    return fits.argmax(axis=0)
