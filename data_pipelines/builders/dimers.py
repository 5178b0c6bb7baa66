"""The TFDS builder `dimers`: pairs of small closed-shell molecules labelled with GFN2-xTB."""

from __future__ import annotations

from typing import ClassVar

from data_pipelines.builders.builder import LabelledStructures, SettingsConfig, StructureBuilder
from data_pipelines.files.storage import DIMER_FIELDS
from data_pipelines.labels.labelling import CITATION, level_of_theory
from data_pipelines.sampling.dimers import DimerSettings, make_dimers

_DESCRIPTION = """\
Pairs of small closed-shell molecules and ions over H, C, N, O, F and Cl, from contact to 15 Å
between centres of mass, in random orientations, thermally distorted, and the molecules alone.
Energies in eV and forces in eV/Å from GFN2-xTB. `transfer` holds pairs that are in no other split;
`curves` holds rigid scans of all pairs.
"""


class Dimers(StructureBuilder):
    """Builds the data set `dimers`."""

    DESCRIPTION = _DESCRIPTION
    CITATION = CITATION
    FIELDS = DIMER_FIELDS
    PACKAGES = ("tblite",)
    BUILDER_CONFIGS: ClassVar[list[SettingsConfig]] = [
        SettingsConfig(name="full", description="All monomers.", settings=DimerSettings()),
        SettingsConfig(
            name="tiny",
            description="Four monomers and few structures, for tests.",
            settings=DimerSettings(
                monomers=("water", "carbon_dioxide", "hydrogen_fluoride", "fluoride"),
                per_pair=10,
                per_monomer=5,
                curves_per_pair=1,
            ),
        ),
    ]

    def level_of_theory(self) -> str:
        """Names the method and the program."""
        return level_of_theory()

    def make(self) -> LabelledStructures:
        """Draws, labels and splits the dimers."""
        made = make_dimers(self.settings, workers=self.workers)
        notes = {"counts": made.counts, "curve_counts": made.curve_counts}
        return LabelledStructures(made.splits, notes)
