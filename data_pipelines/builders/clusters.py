"""The TFDS builder `clusters`: drops of atoms that all attract one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from data_pipelines._workers import required, run_all
from data_pipelines.builders.builder import SettingsConfig, StructureBuilder
from data_pipelines.labels.potentials import cluster_potential, sum_over_pairs
from data_pipelines.sampling.clusters import SHAKE, ClusterTask
from data_pipelines.sampling.drawing import places
from data_pipelines.structure import LabelledStructures, Structure

_DESCRIPTION = """\
Drops of equal atoms: 16 in a ball of radius 2.5 Å (`atoms16`) or 32 in one of radius 5 Å
(`atoms32`). V = Σ 2 (r⁻⁶ − r⁻¹) over all pairs, in eV for r in Å. H is a placeholder element. The
atoms lie at random in the ball and are then drawn together by a potential of short range, which
leaves one drop of 16 atoms and several smaller ones of 32, and are shaken by 0.06 Å, as the
published structures show. Splits are drawn independently: 1,500 for training, 500 for validation,
500 for testing. The training structures of `atoms16` are more varied than the others: shorter
ranges of the potential leave loose atoms outside of the drop, and 0.075 Å of shaking closer
contacts, both of which the published ones have more often than ours.
"""

_TIME_LIMIT = 600.0


@dataclass(frozen=True)
class ClusterSettings:
    """What to build.

    Attributes:
        atoms: Number of atoms.
        radius: Of the ball in Å.
        attraction: Range in Å of the potential that draws the atoms together; chosen so that
            distances and energies are distributed as in the published data.
        train: Number of training structures.
        validation: Number of validation structures.
        test: Number of test structures.
        train_attraction: Shortest range in Å of the attraction that makes training structures, of
            which each has another from here to `attraction`; None for `attraction` itself.
        train_shake: Standard deviation in Å of the final displacements of training structures;
            that of the others is `SHAKE`.
        seed: Of everything random.
    """

    atoms: int
    radius: float
    attraction: float
    train: int = 1500
    validation: int = 500
    test: int = 500
    train_attraction: float | None = None
    train_shake: float = SHAKE
    seed: int = 0


class Clusters(StructureBuilder):
    """Build the data set `clusters`."""

    DESCRIPTION = _DESCRIPTION
    CITATION = "After the clusters of J. T. Frank et al., arXiv:2412.08541."
    THEORY = "V = sum of 2 (r^-6 - r^-1)"
    BUILDER_CONFIGS: ClassVar[list[SettingsConfig]] = [
        SettingsConfig(
            name="atoms16",
            description="16 atoms.",
            settings=ClusterSettings(16, 2.5, 3.0, train_attraction=2.2, train_shake=0.075),
        ),
        SettingsConfig(
            name="atoms32", description="32 atoms.", settings=ClusterSettings(32, 5.0, 2.39)
        ),
        SettingsConfig(
            name="tiny",
            description="Eight atoms, for tests.",
            settings=ClusterSettings(8, 2.5, 3.0, train=20, validation=6, test=6),
        ),
    ]

    def make(self) -> LabelledStructures:
        """Make the structures in worker processes."""
        settings: ClusterSettings = self.settings
        sizes = {split: getattr(settings, split) for split in ("train", "validation", "test")}
        attractions = {
            split: np.linspace(
                settings.train_attraction or settings.attraction
                if split == "train"
                else settings.attraction,
                settings.attraction,
                count,
            )
            for split, count in sizes.items()
        }
        tasks = [
            ClusterTask(
                settings.atoms,
                settings.radius,
                float(attractions[split][i]),
                settings.train_shake if split == "train" else SHAKE,
                (settings.seed, number, i),
            )
            for split, number, i in places(sizes)
        ]
        made = run_all(
            "data_pipelines.sampling.clusters:make_cluster",
            tasks,
            workers=self.workers,
            time_limit=_TIME_LIMIT,
            title="clusters",
        )
        made = required("clusters", [split for split, *_ in places(sizes)], made)
        splits: dict[str, list[tuple[str, Structure]]] = {split: [] for split in sizes}
        for (split, _, i), positions in zip(places(sizes), made, strict=True):
            splits[split].append((f"{split}/{i:05d}", _structure(positions)))
        return LabelledStructures(splits)


def _structure(positions: np.ndarray) -> Structure:
    energy, forces = sum_over_pairs(cluster_potential, positions)
    return Structure(
        atomic_numbers=np.ones(len(positions), np.int32),
        positions=positions,
        energy=energy,
        forces=forces,
        total_charge=0,
    )
