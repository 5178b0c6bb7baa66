"""The TFDS builder `organic`: organic molecules, ions and solutions labelled with GFN2-xTB."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from data_pipelines._workers import Failure
from data_pipelines.builders.builder import QuantumBuilder, SettingsConfig, StructureBuilder
from data_pipelines.files.storage import DIMER_FIELDS
from data_pipelines.labels.tally import Tally
from data_pipelines.sampling.organic.assemblies import center_of_mass, distances_between
from data_pipelines.sampling.organic.drawing import Sample, Sampling
from data_pipelines.sampling.organic.keeping import identity, run_kept
from data_pipelines.sampling.organic.molecules import Species
from data_pipelines.sampling.organic.planning import (
    SPLITS,
    AssemblySeries,
    Home,
    OrganicSettings,
    Plan,
    assembly_series,
)
from data_pipelines.structure import LabelledStructures, Structure

_DESCRIPTION = """\
A thousand molecules and ions of 37 families over H, C, N, O, F, P, S, Cl, Br and I, with Li⁺, Na⁺
and K⁺; closed shells, charges from -2 to 2; GFN2-xTB in eV and eV/Å. Of each molecule: conformers
by distance geometry, their relaxation, Langevin dynamics at 300 to 1000 K, bonds turned about, and
bonds stretched and compressed. Pairs and triples at all distances to 15 Å between centres of mass
and in motion, solutes among 1 to 8 water molecules, clusters of 2 to 30 water molecules, droplets
of up to 90 atoms.
Splits are by molecule: 80, 10 and 10% of each family, and pairs and droplets hold molecules of one
split only. Water and the ions of the family `ions`, of which solutions are made, are in all splits:
only their structures are divided. `transfer` holds families that are in no other split.
`kind` is the family (or `dimers`, `trimers`, `solvated`, `droplets`, `water_clusters`) and how the
geometry was found; `group` is the SMILES of all molecules. Of pairs and triples `fragment` tells
the first molecule from the others; energies of these two alone are there too.
Structures are dropped where the field does not converge, a force is above 20 eV/Å, or molecules
that stand apart do not carry their charges.
"""

_SMALL = Sampling(relaxed=2, frames=6, turned=2, stretched=2)
_TINY = Sampling(descent=20, relaxed=1, frames=2, first=4, interval=4, turned=1, stretched=1)
_TINY_MOVING = Sampling(10, 1, 1, first=4, interval=4, turned=0, stretched=0)
_TINY_ASSEMBLIES = {
    "dimers": AssemblySeries(15, (2, 2), 44),
    "moving_dimers": AssemblySeries(3, (2, 2), 20, sampling=_TINY_MOVING),
    "trimers": AssemblySeries(5, (3, 3), 48),
    "solvated": AssemblySeries(5, (2, 3), 20, solvent=True, sampling=_TINY_MOVING),
    "droplets": AssemblySeries(1, (6, 8), 40, solvent=True, sampling=_TINY_MOVING),
    "water_clusters": AssemblySeries(
        5, (2, 4), 12, solvent=True, solute=False, sampling=_TINY_MOVING
    ),
}


class Organic(QuantumBuilder):
    """Build the data set `organic`."""

    DESCRIPTION = _DESCRIPTION
    VERSION = StructureBuilder.VERSION
    RELEASE_NOTES = StructureBuilder.RELEASE_NOTES
    FIELDS = (*QuantumBuilder.FIELDS, "group", "kind", *DIMER_FIELDS)
    PACKAGES = (*QuantumBuilder.PACKAGES, "rdkit")
    BUILDER_CONFIGS: ClassVar[list[SettingsConfig]] = [
        SettingsConfig(name="full", description="All molecules.", settings=OrganicSettings()),
        SettingsConfig(
            name="small",
            description="All molecules, a tenth of the structures of each.",
            settings=OrganicSettings(
                conformers=1.0, sampling=_SMALL, assemblies=assembly_series(0.06)
            ),
        ),
        SettingsConfig(
            name="tiny",
            description="Five families of few molecules, for tests.",
            settings=OrganicSettings(
                families=("water", "ions", "anions", "alcohols", "ureas"),
                per_family=5,
                held_out=("ureas",),
                conformers=0.5,
                sampling=_TINY,
                assemblies=_TINY_ASSEMBLIES,
            ),
        ),
    ]

    def make(self) -> LabelledStructures:
        """Draw and label molecules, and then assemblies of them in geometries of before."""
        plan = Plan(self.settings)
        splits: dict[str, list[tuple[str, Structure]]] = {split: [] for split in SPLITS}
        tally = Tally("structures")
        pool: dict[int, list[np.ndarray]] = {}
        for home, sample in self._draw("sample_molecule", list(plan.molecules()), splits, tally):
            if sample.way in ("relaxation", "langevin") or len(sample.positions) == 1:
                pool.setdefault(home.species[0].number, []).append(sample.positions)
        self._draw("sample_assembly", list(plan.assemblies(pool)), splits, tally)
        tally.log()
        conformers = f"RDKit {version('rdkit')}"
        return LabelledStructures(splits, {"counts": tally.counts, "conformers": conformers})

    def download_and_prepare(  # pyright: ignore[reportIncompatibleVariableOverride] # TFDS wraps it
        self, **kwargs: Any
    ) -> None:
        """Build as any TFDS builder does, and only then forget what a cut-off build had done."""
        super().download_and_prepare(**kwargs)
        shutil.rmtree(self._kept, ignore_errors=True)

    @property
    def _kept(self) -> Path:
        return Path(self.data_path).parent / "unfinished"

    def _draw(
        self,
        function: str,
        planned: Sequence[tuple[Home, Any]],
        splits: dict[str, list[tuple[str, Structure]]],
        tally: Tally,
    ) -> list[tuple[Home, Sample]]:
        """Run a function of workers, and sort into splits what holds."""
        outcomes = run_kept(
            f"data_pipelines.sampling.organic.drawing:{function}",
            [task for _, task in planned],
            self._kept / f"{function}.jsonl",
            made_of=identity(self.settings),
            workers=self.workers,
            time_limit=self.settings.time_limit,
            title=function.replace("sample_", "starts of "),
        )
        kept: list[tuple[Home, Sample]] = []
        for (home, _), outcome in zip(planned, outcomes, strict=True):
            for i, sample in enumerate([outcome] if isinstance(outcome, Failure) else outcome):
                tally.count(home.family, sample)
                if isinstance(sample, Failure):
                    continue
                kept.append((home, sample))
                splits[home.split].append((f"{home.key}/{i:02d}", _structure(home, sample)))
        return kept


def _structure(home: Home, sample: Sample) -> Structure:
    numbers = np.concatenate([one.numbers for one in home.species])
    whole = sample.labels[0]
    parts: tuple[tuple[Species, ...], ...] = (home.species,)
    if len(sample.labels) > 1:
        parts = (home.species[:1], home.species[1:])
    sizes = [sum(len(one.atomic_numbers) for one in part) for part in parts]
    fragment = np.repeat(np.arange(len(parts), dtype=np.int32), sizes)
    energies, formal = np.zeros(2), np.zeros(2, np.int32)
    for i, (part, alone) in enumerate(zip(parts, sample.labels[-len(parts) :], strict=True)):
        energies[i] = alone.energy
        formal[i] = sum(one.charge for one in part)
    separation = contact = float("nan")
    if len(parts) == 2:
        centers = [
            center_of_mass(numbers[fragment == i], sample.positions[fragment == i])
            for i in range(2)
        ]
        separation = float(np.linalg.norm(centers[1] - centers[0]))
        contact = float(distances_between(sample.positions, fragment)[0, 1])
    names = [".".join(one.smiles for one in part) for part in parts]
    return Structure(
        atomic_numbers=numbers,
        positions=sample.positions,
        energy=whole.energy,
        forces=whole.forces,
        charges=whole.charges,
        dipole=whole.dipole,
        total_charge=int(formal.sum()),
        group=".".join(one.smiles for one in home.species),
        kind=f"{home.family}/{sample.way}",
        monomers=(names[0], names[1] if len(parts) == 2 else ""),
        fragment=fragment,
        separation=separation,
        closest_contact=contact,
        fragment_energies=energies,
        fragment_charges=np.bincount(fragment, whole.charges, 2),
        formal_charges=formal,
    )
