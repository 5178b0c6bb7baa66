"""The TFDS builder `dimers`: pairs of small closed-shell molecules labelled with GFN2-xTB."""

from __future__ import annotations

from typing import ClassVar

from data_pipelines.builders.builder import QuantumBuilder, SettingsConfig, full_and_tiny
from data_pipelines.files.storage import DIMER_FIELDS
from data_pipelines.sampling.dimers import CloseSettings, DimerSettings, make_dimers
from data_pipelines.structure import LabelledStructures

_DESCRIPTION = """\
Pairs of small closed-shell molecules and ions over H, C, N, O, F and Cl, from contact to 15 Å
between centres of mass, in random orientations, thermally distorted, and the molecules alone.
Energies in eV and forces in eV/Å from GFN2-xTB. `transfer` holds pairs that are in no other split;
`curves` holds rigid scans of all pairs.
"""


_WIDE = """\
The structures of `full`, and for every pair: contacts down to 0.6 contact distances, hydrogen bonds
of all hydrogens down to the same, protons on their way between N, O, F and Cl, pairs 6 to 15 Å
apart, ways from these down to the minima of GFN2-xTB, the minima pushed together and pulled apart,
and Langevin dynamics from the minima at 150 to 600 K. `kind` says which. Ways and trajectories stay
in one split. Nothing is kept that is over 7 eV above the molecules apart, has a force over 25 eV/Å,
or charges that bonded molecules do not share.
"""


class Dimers(QuantumBuilder):
    """Build the data set `dimers`."""

    DESCRIPTION = _DESCRIPTION
    FIELDS = (*QuantumBuilder.FIELDS, *DIMER_FIELDS, "kind", "group")
    BUILDER_CONFIGS: ClassVar[list[SettingsConfig]] = [
        *full_and_tiny(
            "All monomers.",
            DimerSettings(),
            DimerSettings(
                monomers=("water", "carbon_dioxide", "hydrogen_fluoride", "fluoride"),
                per_pair=10,
                per_monomer=5,
                curves_per_pair=1,
            ),
            tiny_description="Four monomers and few structures, for tests.",
        ),
        SettingsConfig(
            name="wide", description=_WIDE, settings=DimerSettings(close=CloseSettings())
        ),
        SettingsConfig(
            name="tiny_wide",
            description="Four monomers and few structures of `wide`, for tests.",
            settings=DimerSettings(
                monomers=("water", "formaldehyde", "ammonium", "fluoride"),
                per_pair=5,
                per_monomer=5,
                curves_per_pair=1,
                close=CloseSettings(
                    contacts=4,
                    bonds=4,
                    transfers=4,
                    far=2,
                    explorations=2,
                    points=4,
                    stretches=2,
                    snapshots=3,
                    interval=2,
                ),
            ),
        ),
    ]

    def make(self) -> LabelledStructures:
        """Draw, label and split the dimers."""
        return make_dimers(self.settings, workers=self.workers)
