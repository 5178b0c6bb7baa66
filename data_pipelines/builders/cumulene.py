"""The TFDS builder `cumulene`: C9H4, whose ends feel each other's orientation over 10 Å."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from data_pipelines._progress import progress
from data_pipelines._workers import Failure, run_tasks
from data_pipelines.builders.builder import LabelledStructures, SettingsConfig, StructureBuilder
from data_pipelines.labels.labelling import CITATION, Label, Molecule, label_groups, level_of_theory
from data_pipelines.sampling.cumulene import NUMBERS, TrajectoryTask, dihedral, twist
from data_pipelines.sampling.monomers import RelaxedMonomer
from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError

_logger = logging.getLogger(__name__)

_DESCRIPTION = """\
Cumulene, C9H4: a straight chain of nine carbon atoms with a CH2 group at either end, labelled with
GFN2-xTB in eV and eV/Å. Langevin dynamics at 300, 600 and 1000 K with the dihedral angle of the two
ends held near angles that are spread evenly over the circle; eight geometries of every trajectory,
8 fs apart. The splits hold whole trajectories: 250 for training, 50 for validation, 80 for
testing. `curves` is the profile: the relaxed molecule with one end turned rigidly from 0 to 180
degrees in steps of 1. `kind` is the temperature, `coordinate` the dihedral angle in degrees.
"""

_TIME_LIMIT = 1800.0


@dataclass(frozen=True)
class CumuleneSettings:
    """What to build.

    Attributes:
        train: Training trajectories.
        validation: Validation trajectories.
        test: Test trajectories.
        temperatures: In K, taken in turn.
        first: Step of the first geometry that is kept.
        interval: Steps between geometries.
        count: Geometries of each trajectory.
        profile_step: Of the profile in degrees.
        seed: Of everything random.
    """

    train: int = 250
    validation: int = 50
    test: int = 80
    temperatures: tuple[float, ...] = (300.0, 600.0, 1000.0)
    first: int = 16
    interval: int = 8
    count: int = 8
    profile_step: float = 1.0
    seed: int = 0


class Cumulene(StructureBuilder):
    """Builds the data set `cumulene`."""

    DESCRIPTION = _DESCRIPTION
    CITATION = CITATION
    FIELDS = ("group", "kind", "coordinate", "curve")
    PACKAGES = ("tblite",)
    BUILDER_CONFIGS: ClassVar[list[SettingsConfig]] = [
        SettingsConfig(name="full", description=_DESCRIPTION, settings=CumuleneSettings()),
        SettingsConfig(
            name="tiny",
            description="Short trajectories, for tests.",
            settings=CumuleneSettings(
                train=3, validation=1, test=1, first=2, interval=1, count=4, profile_step=30.0
            ),
        ),
    ]

    def level_of_theory(self) -> str:
        """Names the method and the program."""
        return level_of_theory()

    def make(self) -> LabelledStructures:
        """Runs the trajectories in worker processes."""
        settings: CumuleneSettings = self.settings
        equilibrium = self._relax()
        record = tuple(
            range(
                settings.first,
                settings.first + settings.count * settings.interval,
                settings.interval,
            )
        )
        sizes = {
            "train": settings.train,
            "validation": settings.validation,
            "test": settings.test,
        }
        splits: dict[str, list[tuple[str, Structure]]] = {split: [] for split in sizes}
        tasks: list[TrajectoryTask] = []
        homes: list[tuple[str, str]] = []
        for number, (split, count) in enumerate(sizes.items()):
            for i in range(count):
                rng = np.random.default_rng((settings.seed, number, i))
                angle = 2 * np.pi * (i + float(rng.random())) / count
                temperature = settings.temperatures[i % len(settings.temperatures)]
                words = (settings.seed, number, i, 1)
                tasks.append(TrajectoryTask(equilibrium, angle, temperature, record, words))
                homes.append((split, f"{split}/{i:05d}"))
        outcomes = run_tasks(
            "data_pipelines.sampling.cumulene:trajectory",
            tasks,
            workers=self.workers,
            time_limit=_TIME_LIMIT,
        )
        found = dict(progress(outcomes, len(tasks), "trajectories"))
        counts: Counter[str] = Counter()
        for number, (split, key) in enumerate(homes):
            outcome = found[number]
            if isinstance(outcome, Failure):
                counts[outcome.reason] += 1
                continue
            counts["kept"] += 1
            temperature = f"{tasks[number].temperature:g} K"
            for i, (positions, labelled) in enumerate(outcome):
                structure = _structure(positions, labelled, group=key, kind=temperature)
                splits[split].append((f"{key}/{i:03d}", structure))
        _logger.info("trajectories: %s", dict(counts))
        return LabelledStructures(
            {**splits, "curves": self._profile(equilibrium)},
            {"counts": {"trajectories": dict(counts)}},
        )

    def _relax(self) -> RelaxedMonomer:
        function = "data_pipelines.sampling.cumulene:relax_cumulene"
        ((_, equilibrium),) = run_tasks(function, [None], workers=1, time_limit=_TIME_LIMIT)
        if isinstance(equilibrium, Failure):
            raise DataError(f"cumulene: {equilibrium.reason}, {equilibrium.detail}")
        return equilibrium

    def _profile(self, equilibrium: RelaxedMonomer) -> list[tuple[str, Structure]]:
        step = self.settings.profile_step
        angles = np.arange(0.0, 180.0 + step / 2, step)
        here = dihedral(equilibrium.positions)
        geometries = [twist(equilibrium.positions, np.radians(a) - here) for a in angles]
        groups = [[Molecule(NUMBERS, positions, 0)] for positions in geometries]
        labels = dict(label_groups(groups, workers=self.workers))
        points: list[tuple[str, Structure]] = []
        for i, (angle, positions) in enumerate(zip(angles, geometries, strict=True)):
            found = labels[i]
            if isinstance(found, Failure):
                raise DataError(f"cumulene at {angle:g} degrees: {found.reason}, {found.detail}")
            point = _structure(positions, found[0], group="profile", kind="profile", curve=0)
            points.append((f"profile/{i:03d}", point))
        return points


def _structure(
    positions: np.ndarray, labelled: Label, *, group: str, kind: str, curve: int = -1
) -> Structure:
    return Structure(
        atomic_numbers=NUMBERS,
        positions=positions,
        energy=labelled.energy,
        forces=labelled.forces,
        total_charge=0,
        group=group,
        kind=kind,
        coordinate=abs(float(np.degrees(dihedral(positions)))),
        curve=curve,
    )
