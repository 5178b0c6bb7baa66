"""The TFDS builder `charge_dipole`: a charge and a dipole, whose direction is an input."""

from __future__ import annotations

from typing import ClassVar

from data_pipelines.builders.builder import LabelledStructures, SettingsConfig, StructureBuilder
from data_pipelines.sampling.drawing import Sizes, draw_splits
from data_pipelines.sampling.two_body import draw_charge_and_dipole

_DESCRIPTION = """\
A charge and a dipole at distances of 1 to 10 Å, evenly spread, in random directions, the dipole
pointing anywhere. V = r⁻³ − cos θ / r², in eV for r in Å, with θ the angle between the dipole and
the vector from it to the charge. Elements are placeholders: H is the charge, He the dipole, whose
unit vector stands in `atomic_dipoles` (zero for the charge). Splits are drawn independently: 2,000
for training, 500 for validation, 2,000 for testing.
"""


class ChargeDipole(StructureBuilder):
    """Builds the data set `charge_dipole`."""

    DESCRIPTION = _DESCRIPTION
    CITATION = "After the charge-dipole example of J. T. Frank et al., arXiv:2412.08541."
    FIELDS = ("atomic_dipoles", "separation", "coordinate")
    BUILDER_CONFIGS: ClassVar[list[SettingsConfig]] = [
        SettingsConfig(name="full", description=_DESCRIPTION, settings=Sizes(2000, 500, 2000)),
        SettingsConfig(name="tiny", description="For tests.", settings=Sizes(20, 6, 6)),
    ]

    def level_of_theory(self) -> str:
        """Names the formula."""
        return "V = r^-3 - cos(theta)/r^2"

    def make(self) -> LabelledStructures:
        """Draws the structures."""
        return LabelledStructures(draw_splits(self.settings, draw_charge_and_dipole))
