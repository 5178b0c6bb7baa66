"""The TFDS builder `dimers`: pairs of small closed-shell molecules labelled with GFN2-xTB."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from data_pipelines.dimer_sampling import DimerSettings, LabelledDimers, make_dimers
from data_pipelines.labelling import level_of_theory
from data_pipelines.structures import Structure

_DESCRIPTION = """\
Pairs of small closed-shell molecules and ions over H, C, N, O, F and Cl, from contact to 15 Å
between centres of mass, in random orientations, thermally distorted, and the molecules alone.
Energies in eV and forces in eV/Å from GFN2-xTB. `transfer` holds pairs that are in no other split;
`curves` holds rigid scans of all pairs.
"""


@dataclasses.dataclass(eq=False)
class DimersConfig(tfds.core.BuilderConfig):
    """A named size of the data set.

    Attributes:
        settings: What to build.
    """

    settings: DimerSettings = dataclasses.field(default_factory=DimerSettings)


class Dimers(tfds.core.GeneratorBasedBuilder):
    """Builds the data set `dimers`.

    Args:
        workers: Worker processes for the labels, None for one per available core. Does not change
            the data.
        **kwargs: As of any TFDS builder.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar[list[DimersConfig]] = [
        DimersConfig(name="full", description="All monomers."),
        DimersConfig(
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

    def __init__(self, *, workers: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._workers = workers or _available_cores()

    def _info(self) -> tfds.core.DatasetInfo:
        per_atom = (None,)
        return self.dataset_info_from_configs(
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "atomic_numbers": tfds.features.Tensor(shape=per_atom, dtype=np.int32),
                    "positions": _float64(None, 3),
                    "energy": _float64(),
                    "forces": _float64(None, 3),
                    "total_charge": tfds.features.Scalar(np.int32),
                    "monomers": tfds.features.Tensor(shape=(2,), dtype=np.str_),
                    "fragment": tfds.features.Tensor(shape=per_atom, dtype=np.int32),
                    "separation": _float64(),
                    "closest_contact": _float64(),
                    "fragment_energies": _float64(2),
                    "fragment_charges": _float64(2),
                    "formal_charges": tfds.features.Tensor(shape=(2,), dtype=np.int32),
                    "curve": tfds.features.Scalar(np.int32),
                }
            ),
            metadata=tfds.core.MetadataDict(
                level_of_theory=level_of_theory(),
                units={"length": "Å", "energy": "eV", "forces": "eV/Å", "charge": "e"},
                settings=dataclasses.asdict(self._settings),
            ),
        )

    @property
    def _settings(self) -> DimerSettings:
        assert isinstance(self.builder_config, DimersConfig)
        return self.builder_config.settings

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[str, dict]]]:
        del dl_manager
        made = make_dimers(self._settings, workers=self._workers)
        metadata = self.info.metadata
        assert metadata is not None
        metadata.update(counts=made.counts, curve_counts=made.curve_counts)
        return {split: self._generate_examples(made, split) for split in made.splits}

    def _generate_examples(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, made: LabelledDimers, split: str
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, structure in made.splits[split]:
            yield key, _example(structure)


def _available_cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _example(structure: Structure) -> dict[str, Any]:
    fields = (field.name for field in dataclasses.fields(structure))
    example = {name: getattr(structure, name) for name in fields}
    return {**example, "monomers": list(structure.monomers)}


def _float64(*shape: int | None) -> tfds.features.Tensor:
    # Without an encoding TFDS stores floating-point numbers in single precision, whatever the dtype
    # says: 0.03 meV at the energy of a small dimer, as much as the interaction at 15 Å.
    return tfds.features.Tensor(
        shape=shape, dtype=np.float64, encoding=tfds.features.Encoding.BYTES
    )
