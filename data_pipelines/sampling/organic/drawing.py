"""What workers do for the data set `organic`: draw geometries and label them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from data_pipelines._workers import Failure
from data_pipelines.labels.labelling import Geometry, Label, label
from data_pipelines.sampling.langevin import langevin
from data_pipelines.sampling.monomers import MASSES
from data_pipelines.sampling.organic import conformers
from data_pipelines.sampling.organic.assemblies import Assembly, charges_keep, pack, scatter
from data_pipelines.sampling.organic.molecules import Species
from data_pipelines.sampling.organic.surface import FRICTION, TIME_STEP, Surface
from data_pipelines.sampling.placement import random_rotation

LARGEST_FORCE = 20.0
"""Structures with a larger force on an atom are dropped, in eV/Å."""

_TEMPERATURES = (300.0, 1000.0)
_COOL = (200.0, 500.0)
_CHANGED = 0.5
_STIRRED = 6
_STIRRING = (300.0, 1000)  # K, steps


@dataclass(frozen=True)
class Sampling:
    """How many geometries are taken of one start.

    Attributes:
        descent: Iterations of the relaxation at most.
        relaxed: Geometries on the way down, the last one among them.
        frames: Geometries of the Langevin dynamics that follows.
        first: Step of the first of them.
        interval: Steps between them.
        turned: Geometries with a bond turned about.
        stretched: Geometries with bonds stretched or compressed.
    """

    descent: int = 60
    relaxed: int = 3
    frames: int = 8
    first: int = 25
    interval: int = 10
    turned: int = 4
    stretched: int = 4

    @property
    def record(self) -> tuple[int, ...]:
        """Steps of the dynamics whose geometries are taken."""
        return tuple(self.first + self.interval * i for i in range(self.frames))


@dataclass(frozen=True)
class MoleculeTask:
    """Geometries around one conformer.

    Attributes:
        species: The molecule.
        sampling: How many geometries.
        words: Of the random generator.
    """

    species: Species
    sampling: Sampling
    words: tuple[int, ...]


@dataclass(frozen=True)
class AssemblyTask:
    """Geometries of several molecules together.

    Attributes:
        species: The molecules.
        geometries: Positions in Å of each.
        packed: Whether they form a droplet, else they are at any distance.
        sampling: How many geometries, None for the one in which they are placed.
        fragments: Whether the first molecule, and all others together, are labelled alone too.
        words: Of the random generator.
    """

    species: tuple[Species, ...]
    geometries: tuple[np.ndarray, ...]
    packed: bool
    sampling: Sampling | None
    fragments: bool
    words: tuple[int, ...]


@dataclass(frozen=True)
class Sample:
    """A geometry with its labels.

    Attributes:
        way: How it was found: `conformer`, `relaxation`, `langevin`, `turn`, `stretch` or `placed`.
        positions: Float64 `[atoms, 3]` in Å.
        labels: Of the whole, and of the first molecule and of all others where they were asked for,
            unless a proton or the like has gone over to another molecule.
    """

    way: str
    positions: Float64[np.ndarray, "atoms 3"]
    labels: tuple[Label, ...]


_Geometry = tuple[str, np.ndarray | Failure]
"""A way and where it led: positions in Å."""


def sample_molecule(task: MoleculeTask) -> tuple[Sample | Failure, ...]:
    """Draw a conformer and geometries around it, and label them.

    Args:
        task: What to draw.

    Returns:
        The geometries, or why one of them was dropped.
    """
    rng = np.random.default_rng(task.words)
    molecule = conformers.embed(task.species.smiles, rng)
    if isinstance(molecule, Failure):
        return (molecule,)
    start = conformers.positions_of(molecule)

    def geometries() -> Iterator[_Geometry]:
        yield "conformer", start
        if len(start) == 1:
            return
        walk = _walk(whole, task.sampling, _TEMPERATURES, rng)
        yield from walk
        moving = [found for _, found in walk if not isinstance(found, Failure)]
        relaxed = [found for way, found in walk if way == "relaxation"][-1]
        if isinstance(relaxed, Failure):
            return
        for _ in range(task.sampling.turned):
            turned = conformers.turn(molecule, relaxed, rng)
            if turned is not None:
                yield "turn", turned
        for _ in range(task.sampling.stretched):
            chosen = moving[int(rng.integers(len(moving)))]
            yield "stretch", conformers.stretch(molecule, chosen, rng)

    whole = Assembly((task.species,), (start,))
    return tuple(_labelled(whole, geometries(), rng, fragments=False))


def sample_assembly(task: AssemblyTask) -> tuple[Sample | Failure, ...]:
    """Put molecules together, let them move and label their geometries.

    Args:
        task: What to draw.

    Returns:
        The geometries, or why one of them was dropped.
    """
    rng = np.random.default_rng(task.words)
    build = pack if task.packed else scatter
    start = build(task.species, task.geometries, rng)
    if task.sampling is None:
        drawn: list[_Geometry] = [("placed", start.positions)]
    else:
        if len(task.species) >= _STIRRED:
            start = _stirred(start, rng)
        drawn = _walk(start, task.sampling, _COOL, rng)
    return tuple(_labelled(start, drawn, rng, fragments=task.fragments))


def _walk(
    start: Assembly,
    sampling: Sampling,
    temperatures: tuple[float, float],
    rng: np.random.Generator,
) -> list[_Geometry]:
    """Relax and then heat."""
    surface = Surface(Geometry(start.atomic_numbers, start.positions, start.charge))
    descent = surface.descend(sampling.descent)
    if descent.failure is not None:
        return [("relaxation", descent.failure)]
    path = descent.positions
    between = rng.permutation(len(path) - 1)[: sampling.relaxed - 1]
    found: list[_Geometry] = [("relaxation", path[i]) for i in (*sorted(between), -1)]
    if sampling.frames:
        temperature = float(rng.uniform(*temperatures))
        frames = surface.wander(path[-1], rng, temperature=temperature, record=sampling.record)
        found += [("langevin", positions) for positions in frames.positions]
        found += [("langevin", frames.failure)] if frames.failure is not None else []
    return found


def _stirred(start: Assembly, rng: np.random.Generator) -> Assembly:
    """Let MMFF94 find hydrogen bonds, if it has parameters for all molecules."""
    forces = conformers.force_field([one.smiles for one in start.species])
    if forces is None:
        return start
    masses = np.array([MASSES[int(z)] for z in start.atomic_numbers])
    temperature, steps = _STIRRING
    (positions,) = langevin(
        start.positions,
        masses,
        forces,
        rng,
        temperature=temperature,
        time_step=TIME_STEP,
        friction=FRICTION,
        record=[steps],
    )
    sizes = [len(one.atomic_numbers) for one in start.species]
    return Assembly(start.species, tuple(np.split(positions, np.cumsum(sizes)[:-1])))


def _labelled(
    whole: Assembly, geometries: Iterable[_Geometry], rng: np.random.Generator, *, fragments: bool
) -> Iterator[Sample | Failure]:
    for way, found in geometries:
        if isinstance(found, Failure):
            yield found
            continue
        turned = (found - found.mean(axis=0)) @ random_rotation(rng).T
        yield _checked(whole, way, turned, fragments=fragments)


def _checked(
    whole: Assembly, way: str, positions: np.ndarray, *, fragments: bool
) -> Sample | Failure:
    """Label a geometry, unless the label cannot be trusted."""
    numbers, membership = whole.atomic_numbers, whole.membership
    found = label(Geometry(numbers, positions, whole.charge))
    if isinstance(found, Failure):
        return found
    largest = float(np.abs(found.forces).max())
    if largest > LARGEST_FORCE:
        return Failure("force", f"{largest:.1f} eV/Å")
    formal = np.array([one.charge for one in whole.species], np.int32)
    if not charges_keep(found.charges, formal, positions, membership):
        return Failure("charge", f"{np.bincount(membership, found.charges)}, formally {formal}")
    excess = np.bincount(membership, found.charges) - formal
    if not fragments or np.abs(excess).max() > _CHANGED:
        return Sample(way, positions, (found,))
    labels = [found]
    for part in (slice(None, 1), slice(1, None)):
        inside = np.isin(membership, np.arange(len(formal))[part])
        alone = label(Geometry(numbers[inside], positions[inside], int(formal[part].sum())))
        if isinstance(alone, Failure):
            return alone
        members = membership[inside] - membership[inside][0]
        if not charges_keep(alone.charges, formal[part], positions[inside], members):
            return Failure("charge", f"{np.bincount(members, alone.charges)} without the others")
        labels.append(alone)
    return Sample(way, positions, tuple(labels))
