"""The TFDS builder `dimers`: pairs of small closed-shell molecules labelled with GFN2-xTB."""

from __future__ import annotations

from data_pipelines.builders.builder import QuantumBuilder, full_and_tiny
from data_pipelines.files.storage import DIMER_FIELDS
from data_pipelines.sampling.dimers import DimerSettings, make_dimers
from data_pipelines.structure import LabelledStructures

_DESCRIPTION = """\
Pairs of small closed-shell molecules and ions over H, C, N, O, F and Cl, from contact to 15 Å
between centres of mass, in random orientations, thermally distorted, and the molecules alone.
Energies in eV and forces in eV/Å from GFN2-xTB. `transfer` holds pairs that are in no other split;
`curves` holds rigid scans of all pairs.
"""


class Dimers(QuantumBuilder):
    """Build the data set `dimers`."""

    DESCRIPTION = _DESCRIPTION
    FIELDS = DIMER_FIELDS
    BUILDER_CONFIGS = full_and_tiny(
        "All monomers.",
        DimerSettings(),
        DimerSettings(
            monomers=("water", "carbon_dioxide", "hydrogen_fluoride", "fluoride"),
            per_pair=10,
            per_monomer=5,
            curves_per_pair=1,
        ),
        tiny_description="Four monomers and few structures, for tests.",
    )

    def make(self) -> LabelledStructures:
        """Draw, label and split the dimers."""
        return make_dimers(self.settings, workers=self.workers)
