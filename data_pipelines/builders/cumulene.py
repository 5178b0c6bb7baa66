"""The TFDS builder `cumulene`: C9H4, whose ends feel each other's orientation over 10 Å."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_pipelines._workers import Failure, required, run_all
from data_pipelines.builders.builder import QuantumBuilder, full_and_tiny
from data_pipelines.labels.labelling import Geometry, Label, label_groups
from data_pipelines.labels.tally import Tally
from data_pipelines.sampling.cumulene import NUMBERS, TrajectoryTask, dihedral, twist
from data_pipelines.sampling.drawing import places
from data_pipelines.sampling.monomers import RelaxedMonomer
from data_pipelines.structure import LabelledStructures, Structure

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


class Cumulene(QuantumBuilder):
    """Build the data set `cumulene`."""

    DESCRIPTION = _DESCRIPTION
    FIELDS = (*QuantumBuilder.FIELDS, "group", "kind", "coordinate", "curve")
    BUILDER_CONFIGS = full_and_tiny(
        _DESCRIPTION,
        CumuleneSettings(),
        CumuleneSettings(
            train=3, validation=1, test=1, first=2, interval=1, count=4, profile_step=30.0
        ),
        tiny_description="Short trajectories, for tests.",
    )

    def make(self) -> LabelledStructures:
        """Run the trajectories in worker processes."""
        settings: CumuleneSettings = self.settings
        equilibrium = self._relax()
        stop = settings.first + settings.count * settings.interval
        record = tuple(range(settings.first, stop, settings.interval))
        sizes = {s: getattr(settings, s) for s in ("train", "validation", "test")}
        tasks: list[TrajectoryTask] = []
        for split, number, i in places(sizes):
            rng = np.random.default_rng((settings.seed, number, i))
            angle = 2 * np.pi * (i + float(rng.random())) / sizes[split]
            temperature = settings.temperatures[i % len(settings.temperatures)]
            words = (settings.seed, number, i, 1)
            tasks.append(TrajectoryTask(equilibrium, angle, temperature, record, words))
        splits: dict[str, list[tuple[str, Structure]]] = {split: [] for split in sizes}
        tally = Tally("trajectories")
        outcomes = self._run("trajectory", tasks, "trajectories")
        for (split, _, i), task, outcome in zip(places(sizes), tasks, outcomes, strict=True):
            tally.count("trajectories", outcome)
            if isinstance(outcome, Failure):
                continue
            key, temperature = f"{split}/{i:05d}", f"{task.temperature:g} K"
            for k, (positions, labelled) in enumerate(outcome):
                structure = _structure(positions, labelled, group=key, kind=temperature)
                splits[split].append((f"{key}/{k:03d}", structure))
        tally.log()
        return LabelledStructures(
            {**splits, "curves": self._profile(equilibrium)}, {"counts": tally.counts}
        )

    def _run(self, function: str, tasks: Sequence[Any], title: str | None) -> list[Any]:
        return run_all(
            f"data_pipelines.sampling.cumulene:{function}",
            tasks,
            workers=self.workers,
            time_limit=_TIME_LIMIT,
            title=title,
        )

    def _relax(self) -> RelaxedMonomer:
        (equilibrium,) = required(
            "cumulene", ["minimum"], self._run("relax_cumulene", [None], None)
        )
        return equilibrium

    def _profile(self, equilibrium: RelaxedMonomer) -> list[tuple[str, Structure]]:
        step = self.settings.profile_step
        angles = np.arange(0.0, 180.0 + step / 2, step)
        here = dihedral(equilibrium.positions)
        geometries = [twist(equilibrium.positions, np.radians(a) - here) for a in angles]
        groups = [[Geometry(NUMBERS, positions, 0)] for positions in geometries]
        found = label_groups(groups, workers=self.workers, title="profile")
        labels = required("cumulene", [f"{angle:g} degrees" for angle in angles], found)
        return [
            (
                f"profile/{i:03d}",
                _structure(positions, label, group="profile", kind="profile", curve=0),
            )
            for i, (positions, (label,)) in enumerate(zip(geometries, labels, strict=True))
        ]


def _structure(
    positions: np.ndarray, labelled: Label, *, group: str, kind: str, curve: int = -1
) -> Structure:
    return Structure(
        atomic_numbers=NUMBERS,
        positions=positions,
        energy=labelled.energy,
        forces=labelled.forces,
        charges=labelled.charges,
        dipole=labelled.dipole,
        total_charge=0,
        group=group,
        kind=kind,
        coordinate=abs(float(np.degrees(dihedral(positions)))),
        curve=curve,
    )
