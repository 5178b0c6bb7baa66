"""The TFDS builders `two_atoms` and `charge_dipole`: two bodies and their energy over distance."""

from __future__ import annotations

from data_pipelines.builders.builder import StructureBuilder, full_and_tiny
from data_pipelines.sampling.drawing import Sizes, draw_splits
from data_pipelines.sampling.two_body import draw_charge_and_dipole, draw_two_atoms
from data_pipelines.structure import LabelledStructures

_TWO_ATOMS = """\
Two atoms at distances of 1 to 10 Å, evenly spread, in random directions, the first one at random in
a cube of 1 Å. V(r) = 12/11 (r⁻¹² − r⁻¹), in eV for r in Å. The elements H and He only tell the two
atoms apart. Splits are drawn independently: 2,000 for training, 500 for validation, 2,000 for
testing.
"""

_CHARGE_DIPOLE = """\
A charge and a dipole at distances of 1 to 10 Å, evenly spread, in random directions, the dipole
pointing anywhere. V = r⁻³ − cos θ / r², in eV for r in Å, with θ the angle between the dipole and
the vector from it to the charge. Elements are placeholders: H is the charge, He the dipole, whose
unit vector stands in `atomic_dipoles` (zero for the charge). Splits are drawn independently: 2,000
for training, 500 for validation, 2,000 for testing.
"""

_FULL, _TINY = Sizes(2000, 500, 2000), Sizes(20, 6, 6)


class TwoAtoms(StructureBuilder):
    """Build the data set `two_atoms`."""

    DESCRIPTION = _TWO_ATOMS
    CITATION = "After the two-atom example of J. T. Frank et al., arXiv:2412.08541."
    THEORY = "V = 12/11 (r^-12 - r^-1)"
    FIELDS = ("separation", "coordinate")
    BUILDER_CONFIGS = full_and_tiny(_TWO_ATOMS, _FULL, _TINY)

    def make(self) -> LabelledStructures:
        """Draw the structures."""
        return LabelledStructures(draw_splits(self.settings, draw_two_atoms))


class ChargeDipole(StructureBuilder):
    """Build the data set `charge_dipole`."""

    DESCRIPTION = _CHARGE_DIPOLE
    CITATION = "After the charge-dipole example of J. T. Frank et al., arXiv:2412.08541."
    THEORY = "V = r^-3 - cos(theta)/r^2"
    FIELDS = ("atomic_dipoles", "separation", "coordinate")
    BUILDER_CONFIGS = full_and_tiny(_CHARGE_DIPOLE, _FULL, _TINY)

    def make(self) -> LabelledStructures:
        """Draw the structures."""
        return LabelledStructures(draw_splits(self.settings, draw_charge_and_dipole))
