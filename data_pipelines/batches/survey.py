"""What a plan of batches must know of every structure, found in one pass by worker processes."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int

from data_pipelines._workers import available_cores, required, run_all
from data_pipelines.labels.energies import compositions_of, fit_to_compositions
from data_pipelines.stored import StoredStructures
from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError
from efa_zoo.structures.distances import closest, farthest
from efa_zoo.structures.neighbors import neighbor_matrix
from efa_zoo.structures.packing import number_of_waves

__all__ = ["Survey", "survey"]

#: Structures of a task of a worker, and the seconds it may take.
_CHUNK, _TIME_LIMIT = 2000, 600.0


@dataclass(frozen=True, eq=False)
class Survey:
    """Sizes and labels of all structures of a split.

    Attributes:
        atoms: Numbers of atoms.
        widths: Largest numbers of neighbours of an atom.
        pairs: Numbers of pairs of neighbours.
        waves: Numbers of wave vectors.
        pbc: Which directions are periodic.
        energies: Total energies in eV.
        elements: Atomic numbers in ascending order.
        compositions: Number of atoms of each element.
        isolated: Of each isolated molecule its name, None for every other structure.
        labels: Which of `charges`, `dipole` and `stress` all structures have.
        with_dipoles: How many structures have atomic dipoles.
        witnesses: A few structures that show what there is: each element, charge, multiplicity and
            periodicity, and the shortest and the longest distance and lattice vector.
    """

    atoms: Int[np.ndarray, " structures"]
    widths: Int[np.ndarray, " structures"]
    pairs: Int[np.ndarray, " structures"]
    waves: Int[np.ndarray, " structures"]
    pbc: Bool[np.ndarray, "structures 3"]
    energies: Float64[np.ndarray, " structures"]
    elements: tuple[int, ...]
    compositions: Int[np.ndarray, "structures elements"]
    isolated: Sequence[str | None]
    labels: frozenset[str]
    with_dipoles: int
    witnesses: Sequence[Structure]

    def reference_energies(self) -> dict[int, float]:
        """Fit one energy per element, as `fit_reference_energies` does."""
        return fit_to_compositions(
            self.elements, self.compositions.astype(np.float64), self.energies
        )


def survey(
    structures: StoredStructures,
    cutoff: float | None,
    wave_reach: float = 0.0,
    *,
    workers: int | None = None,
) -> Survey:
    """Look at every structure of a split once.

    Args:
        structures: Where they lie.
        cutoff: Neighbours are the pairs closer than this in Å; None takes every pair.
        wave_reach: How far wave vectors of structures reach in 1/Å that are periodic in three
            directions.
        workers: Worker processes, None for one per available core.

    Returns:
        What was found, some 50 bytes a structure.

    Raises:
        DataError: If there are no structures, or only some have atomic dipoles, or a part of them
            cannot be read.
    """
    total = len(structures)
    if not total:
        raise DataError(f"split of {structures.directory}: got no structures, expected some")
    starts = range(0, total, _CHUNK)
    tasks = [
        _Part(
            structures.directory,
            structures.split,
            start,
            min(start + _CHUNK, total),
            cutoff,
            wave_reach,
        )
        for start in starts
    ]
    outcomes = run_all(
        f"{__name__}:survey_part",
        tasks,
        workers=min(workers or available_cores(), len(tasks)),
        time_limit=_TIME_LIMIT,
        title="structures looked at",
    )
    parts: list[Survey] = required("structures from", [*starts], outcomes)
    with_dipoles = sum(part.with_dipoles for part in parts)
    if with_dipoles not in (0, total):
        raise DataError(
            f"atomic_dipoles: got them for {with_dipoles} of {total} structures, expected all or "
            "none"
        )
    elements = tuple(sorted({z for part in parts for z in part.elements}))
    compositions = np.zeros((total, len(elements)), np.int32)
    for start, part in zip(starts, parts, strict=True):
        columns = np.searchsorted(elements, part.elements)
        compositions[start : start + len(part.atoms), columns] = part.compositions
    return Survey(
        atoms=np.concatenate([part.atoms for part in parts]),
        widths=np.concatenate([part.widths for part in parts]),
        pairs=np.concatenate([part.pairs for part in parts]),
        waves=np.concatenate([part.waves for part in parts]),
        pbc=np.concatenate([part.pbc for part in parts]),
        energies=np.concatenate([part.energies for part in parts]),
        elements=elements,
        compositions=compositions,
        isolated=[name for part in parts for name in part.isolated],
        labels=frozenset.intersection(*(part.labels for part in parts)),
        with_dipoles=with_dipoles,
        witnesses=_witnesses(s for part in parts for s in part.witnesses),
    )


@functools.cache
def _opened(directory: str, split: str) -> StoredStructures:
    return StoredStructures(directory, split)


class _Part(NamedTuple):
    """Structures of a split, from `start` up to `stop`."""

    directory: str
    split: str
    start: int
    stop: int
    cutoff: float | None
    wave_reach: float


def survey_part(task: _Part) -> Survey:
    """Look at some structures; runs in a worker.

    Args:
        task: Which, and what to look for.

    Returns:
        What was found.
    """
    structures = _opened(task.directory, task.split)[task.start : task.stop]
    lists = [neighbor_matrix(s.positions, task.cutoff, s.cell, s.pbc) for s in structures]
    elements = tuple(sorted({int(z) for s in structures for z in s.atomic_numbers}))
    return Survey(
        atoms=np.array([len(s.atomic_numbers) for s in structures], np.int32),
        widths=np.array([found.width for found in lists], np.int32),
        pairs=np.array([found.mask.sum() for found in lists], np.int32),
        waves=np.array(
            [number_of_waves(s.molecule(), task.wave_reach) for s in structures], np.int32
        ),
        pbc=np.array([s.pbc for s in structures], bool),
        energies=np.array([s.energy for s in structures]),
        elements=elements,
        compositions=compositions_of(structures, elements).astype(np.int32),
        isolated=[s.pair if s.pair and np.isnan(s.separation) else None for s in structures],
        labels=frozenset(
            name
            for name in ("charges", "dipole", "stress")
            if all(getattr(s, name) is not None for s in structures)
        ),
        with_dipoles=sum(s.atomic_dipoles is not None for s in structures),
        witnesses=_witnesses(structures),
    )


def _witnesses(structures: Iterable[Structure]) -> list[Structure]:
    """Structures each of which shows something that none before it does, and the extreme ones."""
    seen: set[tuple[str, int]] = set()
    kept: list[Structure] = []
    extremes: dict[str, tuple[float, Structure]] = {}
    for structure in structures:
        own = {("element", int(z)) for z in np.unique(structure.atomic_numbers)}
        own |= {
            ("charge", structure.total_charge),
            ("odd", (int(structure.atomic_numbers.sum()) - structure.total_charge) % 2),
            ("multiplicity", structure.multiplicity),
            ("spin multiplicity", structure.spin_multiplicity),
            ("periodic directions", sum(structure.pbc)),
        }
        if not own <= seen:
            kept.append(structure)
            seen |= own
        cell = structure.cell
        reach = {"short": closest(structure.positions, cell, structure.pbc)[0]}
        if cell is None:
            reach["long"] = -farthest(structure.positions)[0]
        else:
            reach["vector"] = -float(np.linalg.norm(cell, axis=1).max())
        for name, value in reach.items():
            if name not in extremes or value < extremes[name][0]:
                extremes[name] = value, structure
    return [*kept, *(structure for _, structure in extremes.values())]
