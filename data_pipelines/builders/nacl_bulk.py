"""The TFDS builder `nacl_bulk`: crystals and melts of sodium chloride in cells."""

from __future__ import annotations

from dataclasses import dataclass

from data_pipelines._workers import required, run_all
from data_pipelines.builders.builder import StructureBuilder, full_and_tiny
from data_pipelines.files.storage import CELL_FIELDS
from data_pipelines.sampling.drawing import places
from data_pipelines.sampling.salt import LARGE_MELT, CellSample, CellTask
from data_pipelines.structure import LabelledStructures, Structure

_DESCRIPTION = """\
Periodic cells of 8 to 216 Na⁺ and Cl⁻ ions: rock salt (300 to 1200 K), the CsCl structure (300 to
800 K) and melts (1000 to 1500 K), compressed and stretched, strained by 4% at constant volume, half
of them described by lattice vectors far from right angles. Structures come from short Langevin
dynamics, eight from each cell, and a cell is in one split only. Labels are energy, forces and
stress of the potential of Born, Mayer, Huggins, Fumi and Tosi: Coulomb energies of all images by
Ewald sums to rounding errors, repulsion and dispersion that end smoothly from 9 to 11 Å. `kind` is
the phase; the test split also holds melts of 216 ions, which training and validation do not.
"""

_TIME_LIMIT = 900.0


@dataclass(frozen=True)
class SaltSettings:
    """What to build.

    Attributes:
        train: Number of training cells.
        validation: Number of validation cells.
        test: Number of test cells.
        large: Number of test cells of 216 ions.
        structures: Number of structures of each cell; half as many of a large one.
        seed: Of everything random.
    """

    train: int = 180
    validation: int = 20
    test: int = 24
    large: int = 5
    structures: int = 8
    seed: int = 0


class NaclBulk(StructureBuilder):
    """Build the data set `nacl_bulk`."""

    DESCRIPTION = _DESCRIPTION
    CITATION = "F. G. Fumi, M. P. Tosi, J. Phys. Chem. Solids 25, 31 (1964)."
    THEORY = "Born-Mayer-Huggins-Fumi-Tosi, Ewald sums"
    FIELDS = ("group", "kind", *CELL_FIELDS)
    BUILDER_CONFIGS = full_and_tiny(
        _DESCRIPTION, SaltSettings(), SaltSettings(4, 2, 2, 0, structures=2)
    )

    def make(self) -> LabelledStructures:
        """Draw the cells in worker processes."""
        settings: SaltSettings = self.settings
        counts = {split: getattr(settings, split) for split in ("train", "validation", "test")}
        cells = [
            (split, CellTask(settings.structures, None, (settings.seed, number, i)))
            for split, number, i in places(counts)
        ]
        each = max(1, settings.structures // 2)
        cells += [
            ("test", CellTask(each, LARGE_MELT, (settings.seed, len(counts), i)))
            for i in range(settings.large)
        ]
        made = run_all(
            "data_pipelines.sampling.salt:make_cell",
            [task for _, task in cells],
            workers=self.workers,
            time_limit=_TIME_LIMIT,
            title="cells",
        )
        made = required("cells", [split for split, _ in cells], made)
        splits: dict[str, list[tuple[str, Structure]]] = {split: [] for split in counts}
        for number, ((split, _), sample) in enumerate(zip(cells, made, strict=True)):
            for i, structure in enumerate(_structures(sample, f"cell {number}")):
                splits[split].append((f"{split}/{number:05d}/{i}", structure))
        return LabelledStructures(splits)


def _structures(sample: CellSample, group: str) -> list[Structure]:
    return [
        Structure(
            atomic_numbers=sample.numbers,
            positions=positions,
            energy=label.energy,
            forces=label.forces,
            total_charge=0,
            cell=sample.cell,
            pbc=(True, True, True),
            stress=label.stress,
            group=group,
            kind=sample.phase,
        )
        for positions, label in zip(sample.positions, sample.labels, strict=True)
    ]
