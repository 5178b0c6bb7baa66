"""Structures for a data set where a model is unsure: it moves them, another method labels them.

Active learning in one step: structures are relaxed and heated with the model, which also takes them
where it is wrong, and those it is least sure of are labelled by GFN2-xTB.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from ase import Atoms
from ase.io import iread
from jaxtyping import Float

from efa_zoo.base.errors import InputError, SimulationError
from efa_zoo.models.hub.registry import load
from efa_zoo.models.inference import predict
from efa_zoo.models.inputs.checks import check_structure, ignore_out_of_range
from efa_zoo.models.potential import Potential
from efa_zoo.models.prediction import Prediction
from efa_zoo.simulation.config import DynamicsConfig
from efa_zoo.simulation.dynamics import run_dynamics
from efa_zoo.simulation.relaxation import relax

if TYPE_CHECKING:
    from data_pipelines.labels.tally import Tally
    from data_pipelines.structure import Structure

__all__ = ["Grown", "grow"]

#: Largest number of steps of a relaxation.
_RELAXING = 200

#: Geometries of the same atoms are alike if no distance of theirs, sorted, differs by more (Å).
_ALIKE = 0.1

#: A label with a larger force (eV/Å) on an atom is of no use: nothing gets there.
_LARGEST_FORCE = 30.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Grown:
    """What was found for a data set.

    Attributes:
        structures: labelled, the most uncertain ones of each round first; the group of each is the
            start it came from.
        visited: number of geometries that relaxations and dynamics went through.
        unknown: how many of them have an atom in surroundings that the model does not know.
        dropped: numbers of chosen geometries without a label, by reason: "unconverged", "crash" or
            "timeout" of the method, or "strong force".
    """

    structures: Sequence[Structure]
    visited: int
    unknown: int
    dropped: Mapping[str, int]

    def __str__(self) -> str:
        lost = "".join(f", dropped {n} {reason}" for reason, n in sorted(self.dropped.items()))
        return (
            f"{self.visited} geometries visited, {self.unknown} of them unknown to the model; "
            f"{len(self.structures)} labelled{lost}"
        )


def grow(
    model: Potential | str | PathLike[str],
    starts: Sequence[Atoms],
    *,
    count: int = 200,
    temperature: float = 500.0,
    steps: int = 1000,
    rounds: int = 1,
    seed: int = 0,
    charge: int | None = None,
    workers: int | None = None,
) -> Grown:
    """Find structures that a model is least sure of, and label them by GFN2-xTB.

    From each start there is a relaxation, of 200 steps at most, and Langevin dynamics with a frame
    every 10 steps of 0.5 fs. They go on where the model knows nothing any more, until temperature
    or forces blow up. Of all frames those are taken that stand first by the uncertainty of the
    energy, the largest one of a force, or the largest extrapolation grade, unless one like it was
    taken before.

    Args:
        model: a loaded model, or what `efa_zoo.load` takes; calibrated, and of GFN2-xTB.
        starts: structures without a cell and with paired electrons.
        count: number of structures to label, in all rounds together.
        temperature: of the dynamics, in K.
        steps: of the dynamics from each start.
        rounds: how often; each one but the first starts from what the one before has labelled, as
            many as there are starts.
        seed: of velocities and thermostats.
        charge: total charge in units of e of every start. None takes `atoms.info["charge"]`;
            without it, it is 0, which is logged.
        workers: worker processes for the labels, None for one per available core.

    Returns:
        The structures, and what became of the others. The same arguments give the same ones.

    Raises:
        InputError: an argument is not as above, a start is invalid or has an element that the model
            does not know, or the model is not calibrated or of another level of theory.
        UnknownModelError, ConfigError, WeightsError: as for `efa_zoo.load`.
    """
    # Imported here: labels need packages that the library itself does not.
    from data_pipelines.labels.tally import Tally

    for name, value in (("count", count), ("rounds", rounds), ("steps", steps)):
        if value < 1:
            raise InputError(f"{name}: got {value}, expected at least 1")
    if not starts:
        raise InputError("starts: got none, expected at least one structure")
    config = DynamicsConfig(ensemble="nvt", temperature=temperature, steps=steps, seed=seed)
    potential = load(model)
    _require_known(potential)
    origins = [
        _Frame(f"start {i}", _start(atoms, potential, charge, i)) for i, atoms in enumerate(starts)
    ]
    first, tally, taken = origins, Tally("structures"), _Taken()
    kept: list[Structure] = []
    visited = unknown = chosen = 0
    for number in range(rounds):
        frames = _visit(potential, origins, config, number)
        judged = _judge(potential, frames)
        visited += len(frames)
        unknown += len(frames) - sum(one.grade <= 1 for one in judged)
        share = -(-(count - chosen) // (rounds - number))
        new = list(itertools.islice(taken.of(judged), share))
        chosen += len(new)
        labelled = _label(new, tally, workers)
        kept += labelled
        origins = [_Frame(s.group, _atoms(s)) for s in labelled[: len(first)]] or first
    tally.log()
    dropped: Counter[str] = sum((Counter(c) for c in tally.counts.values()), Counter())
    del dropped["kept"]
    return Grown(structures=kept, visited=visited, unknown=unknown, dropped=dropped)


class _Frame(NamedTuple):
    """A geometry, and the start it came from."""

    start: str
    atoms: Atoms


class _Judged(NamedTuple):
    """A geometry, and what the model says of itself about it."""

    start: str
    atoms: Atoms
    energy: float
    force: float
    grade: float


def _require_known(potential: Potential) -> None:
    """Refuse a model that does not know what it does not know, or is of another method."""
    from data_pipelines.labels.labelling import METHOD

    card = potential.card
    if potential.calibration is None:
        raise InputError(
            f"model: {card.name} is not calibrated, expected one that knows its uncertainty "
            f"(`efa-zoo calibrate {card.name}`)"
        )
    if not card.data.level_of_theory.startswith(METHOD):
        raise InputError(
            f"model: {card.name} is of {card.data.level_of_theory}, expected {METHOD}, which "
            "labels the structures"
        )


def _start(atoms: Atoms, potential: Potential, charge: int | None, index: int) -> Atoms:
    """Take a structure to start from, without whatever else it has."""
    where = f"start {index}: "
    try:
        with ignore_out_of_range():
            molecule = check_structure(atoms, potential.card, charge, "warn")
    except InputError as error:
        raise InputError(f"{where}{error}") from error
    if molecule.cell is not None:
        raise InputError(f"{where}pbc: got {list(molecule.pbc)}, expected no periodic directions")
    spin = atoms.info.get("spin", 1)
    if spin != 1 or (int(molecule.numbers.sum()) - molecule.charge) % 2:
        raise InputError(
            f"{where}multiplicity: got {spin} for {molecule.numbers.sum() - molecule.charge} "
            "electrons, expected paired ones"
        )
    info = {"charge": molecule.charge}
    return Atoms(numbers=molecule.numbers, positions=molecule.positions, info=info)


def _visit(
    potential: Potential, origins: Sequence[_Frame], config: DynamicsConfig, number: int
) -> list[_Frame]:
    """Relax and heat structures, wherever that leads; the frames on the way."""
    from data_pipelines._progress import progress

    frames: list[_Frame] = []
    with tempfile.TemporaryDirectory() as folder, ignore_out_of_range():
        for index, (start, atoms) in enumerate(progress(origins, len(origins), "starts")):
            relaxed, moved = (
                Path(folder) / f"{kind}{index}.extxyz" for kind in ("relaxed", "moved")
            )
            state = np.random.SeedSequence((config.seed, number, index)).generate_state(1)
            own = replace(config, seed=int(state[0] >> 1))
            # What blows up has left its frames.
            with contextlib.suppress(SimulationError):
                relax(
                    potential,
                    atoms,
                    fmax=0.02,
                    steps=_RELAXING,
                    out_of_range="warn",
                    trajectory=relaxed,
                )
            with contextlib.suppress(SimulationError):
                run_dynamics(potential, atoms, own, moved, out_of_range="warn")
            for file in (relaxed, moved):
                if file.exists():
                    frames += [_Frame(start, found) for found in iread(file, format="extxyz")]
    return frames


def _judge(potential: Potential, frames: Sequence[_Frame]) -> list[_Judged]:
    """Ask the model about geometries, the ones that it is least sure of first.

    Those that it gives no numbers for are left out.
    """
    with ignore_out_of_range():
        found = predict(
            potential, [frame.atoms for frame in frames], out_of_range="warn", on_error="return"
        )
    judged = [
        _Judged(
            frame.start,
            frame.atoms,
            float(one.energy_uncertainty),
            float(one.force_uncertainty.max()),
            float(one.extrapolation.max()),
        )
        for frame, one in zip(frames, found, strict=True)
        if isinstance(one, Prediction)
        and one.energy_uncertainty is not None
        and one.force_uncertainty is not None
        and one.extrapolation is not None
    ]
    measures = np.array([one[2:] for one in judged]).reshape(-1, 3)
    places = np.argsort(np.argsort(-measures, axis=0, kind="stable"), axis=0, kind="stable")
    order = np.lexsort((places.sum(axis=1), places.min(axis=1)))
    return [judged[place] for place in order.tolist()]


class _Taken:
    """Geometries that are unlike each other."""

    def __init__(self) -> None:
        self._distances: dict[bytes, list[np.ndarray]] = {}

    def of(self, candidates: Iterable[_Judged]) -> Iterator[_Judged]:
        """Take those that are unlike all that were taken before."""
        for one in candidates:
            atoms = one.atoms
            key = np.sort(atoms.numbers).tobytes() + str(atoms.info["charge"]).encode()
            alike, distances = self._distances.setdefault(key, []), _distances(atoms)
            if all(np.max(np.abs(distances - x), initial=0.0) > _ALIKE for x in alike):
                alike.append(distances)
                yield one


def _distances(atoms: Atoms) -> Float[np.ndarray, " pairs"]:
    """All distances (Å), sorted among those of the same two elements."""
    first, second = np.triu_indices(len(atoms), 1)
    distances = np.linalg.norm(atoms.positions[first] - atoms.positions[second], axis=1)
    elements = np.sort(np.stack([atoms.numbers[first], atoms.numbers[second]]), axis=0)
    return distances[np.lexsort((distances, *elements))]


def _label(chosen: Sequence[_Judged], tally: Tally, workers: int | None) -> list[Structure]:
    """Label geometries, and count those that there is no good label for."""
    from data_pipelines._workers import Failure, available_cores
    from data_pipelines.labels.labelling import Geometry, label_groups
    from data_pipelines.structure import Structure

    geometries = [
        Geometry(
            atomic_numbers=one.atoms.numbers.astype(np.int32),
            positions=np.array(one.atoms.positions, np.float64),
            total_charge=int(one.atoms.info["charge"]),
        )
        for one in chosen
    ]
    groups = [(geometry,) for geometry in geometries]
    outcomes = label_groups(groups, workers=workers or available_cores(), title="labels")
    kept: list[Structure] = []
    for one, geometry, outcome in zip(chosen, geometries, outcomes, strict=True):
        if not isinstance(outcome, Failure):
            (label,) = outcome
            largest = float(np.max(np.linalg.norm(label.forces, axis=1)))
            if largest <= _LARGEST_FORCE:
                structure = Structure(
                    atomic_numbers=geometry.atomic_numbers,
                    positions=geometry.positions,
                    energy=label.energy,
                    forces=label.forces,
                    total_charge=geometry.total_charge,
                    charges=label.charges,
                    dipole=label.dipole,
                    group=one.start,
                )
                kept.append(structure)
            else:
                outcome = Failure("strong force", f"{largest:.3g} eV/Å")
        tally.count(one.start, outcome)
    return kept


def _atoms(structure: Structure) -> Atoms:
    return Atoms(
        numbers=structure.atomic_numbers,
        positions=structure.positions,
        info={"charge": structure.total_charge},
    )
