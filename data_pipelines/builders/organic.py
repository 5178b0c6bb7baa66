"""The TFDS builder `organic`: organic molecules, ions and solutions labelled with GFN2-xTB."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from data_pipelines._progress import progress
from data_pipelines._workers import Failure, run_tasks
from data_pipelines.builders.builder import LabelledStructures, SettingsConfig, StructureBuilder
from data_pipelines.files.storage import DIMER_FIELDS
from data_pipelines.labels.labelling import CITATION, level_of_theory
from data_pipelines.sampling.organic.assemblies import centered, distances_between
from data_pipelines.sampling.organic.drawing import Sample, Sampling
from data_pipelines.sampling.organic.planning import (
    SPLITS,
    Home,
    OrganicSettings,
    Plan,
    Pool,
    assembly_series,
)
from data_pipelines.structure import Structure

_logger = logging.getLogger(__name__)

_DESCRIPTION = """\
A thousand molecules and ions of 37 families over H, C, N, O, F, P, S, Cl, Br and I, with Li⁺, Na⁺
and K⁺, with closed shells and charges from -2 to 2, labelled with GFN2-xTB in eV and eV/Å. Of each
molecule: conformers by distance geometry, their relaxation, Langevin dynamics at 300 to 1000 K,
bonds turned about, bonds stretched and compressed. Pairs and triples at all distances to 15 Å and
in motion, solutes among 1 to 8 water molecules, clusters of up to 30 water molecules, droplets of
up to 90 atoms.
Splits are by molecule: 80, 10 and 10% of each family, and pairs and droplets hold molecules of one
split only. Water and the ions of the family `ions`, of which solutions are made, are in all splits:
only their structures are divided. `transfer` holds whole families that are in no other split.
`kind` is the family (or `dimers`, `trimers`, `solvated`, `droplets`, `water_clusters`) and how the
geometry was found, `group` the SMILES of all molecules. Of pairs and triples `fragment` tells the
first molecule from the others, whose energies alone are there too.
Structures are dropped where the field does not converge, a force is above 20 eV/Å, or molecules
that stand apart do not carry their charges.
"""


class Organic(StructureBuilder):
    """Builds the data set `organic`."""

    DESCRIPTION = _DESCRIPTION
    CITATION = CITATION
    FIELDS = ("group", "kind", *DIMER_FIELDS)
    PACKAGES = ("tblite", "rdkit")
    BUILDER_CONFIGS: ClassVar[list[SettingsConfig]] = [
        SettingsConfig(name="full", description="All molecules.", settings=OrganicSettings()),
        SettingsConfig(
            name="small",
            description="All molecules, a tenth of the structures.",
            settings=OrganicSettings(
                conformers=1.0,
                sampling=Sampling(relaxed=2, frames=5, turned=2, stretched=2),
                assemblies=assembly_series(0.1),
            ),
        ),
        SettingsConfig(
            name="tiny",
            description="Few molecules of four families, for tests.",
            settings=OrganicSettings(
                families=("water", "ions", "anions", "alcohols", "ureas"),
                per_family=5,
                held_out=("ureas",),
                conformers=0.5,
                sampling=Sampling(20, 2, 2, first=4, interval=4, turned=1, stretched=1),
                assemblies=assembly_series(0.0005),
            ),
        ),
    ]

    def level_of_theory(self) -> str:
        """Names the method and the program."""
        return level_of_theory()

    def make(self) -> LabelledStructures:
        """Draws and labels molecules, and then assemblies of their geometries."""
        plan = Plan(self.settings)
        splits: dict[str, list[tuple[str, Structure]]] = {split: [] for split in SPLITS}
        counts: dict[str, Counter[str]] = {}
        pool: dict[int, list[np.ndarray]] = {}
        homes, tasks = _columns(plan.molecules())
        for home, sample in self._run("sample_molecule", homes, tasks, splits, counts):
            if sample.way in ("relaxation", "langevin") or len(sample.positions) == 1:
                pool.setdefault(home.species[0].number, []).append(sample.positions)
        homes, tasks = _columns(plan.assemblies(pool))
        for _ in self._run("sample_assembly", homes, tasks, splits, counts):
            pass
        return LabelledStructures(
            splits, {"counts": {family: dict(counter) for family, counter in counts.items()}}
        )
