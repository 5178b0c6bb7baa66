"""The TFDS builder `two_atoms`: the energy of two atoms over their distance."""

from __future__ import annotations

from typing import ClassVar

from data_pipelines.builders.builder import LabelledStructures, SettingsConfig, StructureBuilder
from data_pipelines.sampling.drawing import Sizes, draw_splits
from data_pipelines.sampling.two_body import draw_two_atoms

_DESCRIPTION = """\
Two atoms at distances of 1 to 10 Å, evenly spread, in random directions, the first one at random in
a cube of 1 Å. V(r) = 12/11 (r⁻¹² − r⁻¹), in eV for r in Å. The elements H and He only tell the two
atoms apart. Splits are drawn independently: 2,000 for training, 500 for validation, 2,000 for
testing.
"""


class TwoAtoms(StructureBuilder):
    """Builds the data set `two_atoms`."""

    DESCRIPTION = _DESCRIPTION
    CITATION = "After the two-atom example of J. T. Frank et al., arXiv:2412.08541."
    FIELDS = ("separation", "coordinate")
    BUILDER_CONFIGS: ClassVar[list[SettingsConfig]] = [
        SettingsConfig(name="full", description=_DESCRIPTION, settings=Sizes(2000, 500, 2000)),
        SettingsConfig(name="tiny", description="For tests.", settings=Sizes(20, 6, 6)),
    ]

    def level_of_theory(self) -> str:
        """Names the formula."""
        return "V = 12/11 (r^-12 - r^-1)"

    def make(self) -> LabelledStructures:
        """Draws the structures."""
        return LabelledStructures(draw_splits(self.settings, draw_two_atoms))
