"""What all TFDS builders of labelled structures share."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_pipelines._workers import available_cores
from data_pipelines.files.storage import structure_features, to_example
from data_pipelines.labels import labelling
from data_pipelines.structure import LabelledStructures, Structure

UNITS = {
    "length": "Å",
    "energy": "eV",
    "forces": "eV/Å",
    "charge": "e",
    "dipole": "e·Å",
    "stress": "eV/Å³",
}
"""Units of whatever is stored."""


@dataclass(eq=False)
class SettingsConfig(tfds.core.BuilderConfig):
    """A named configuration of a data set.

    Attributes:
        settings: What to build, a frozen dataclass with a field `seed`.
    """

    settings: Any = None


def full_and_tiny(
    description: str, full: Any, tiny: Any, *, tiny_description: str = "For tests."
) -> list[SettingsConfig]:
    """Name the two configurations that most data sets have.

    Args:
        description: Of the configuration `full`.
        full: Its settings.
        tiny: Settings of the configuration `tiny`.
        tiny_description: Of `tiny`.

    Returns:
        The configurations.
    """
    return [
        SettingsConfig(name="full", description=description, settings=full),
        SettingsConfig(name="tiny", description=tiny_description, settings=tiny),
    ]


class StructureBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A builder whose structures are all made at once.

    Args:
        workers: Worker processes for whatever takes long, None for one per available core. Does
            not change the data.
        **kwargs: As of any TFDS builder.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    DESCRIPTION: ClassVar[str] = ""
    """What the structures are, with the formula of their energies where there is one."""
    CITATION: ClassVar[str] = ""
    """Where the data set, or the method of its labels, comes from."""
    FIELDS: ClassVar[tuple[str, ...]] = ()
    """Fields of `Structure` that are stored besides the usual ones."""
    PACKAGES: ClassVar[tuple[str, ...]] = ()
    """Packages besides TFDS that building needs."""
    THEORY: ClassVar[str] = ""
    """Where the labels come from: a formula, or a method."""

    def __init__(self, *, workers: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workers = workers or available_cores()

    def level_of_theory(self) -> str:
        """Say where the labels come from, as stored beside the data."""
        return self.THEORY

    @abstractmethod
    def make(self) -> LabelledStructures:
        """Make the whole data set that `settings` describes, with up to `workers` processes."""

    @property
    def settings(self) -> Any:
        """The settings of the chosen configuration."""
        assert isinstance(self.builder_config, SettingsConfig)
        return self.builder_config.settings

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=self.DESCRIPTION,
            citation=self.CITATION or None,
            features=structure_features(*self.FIELDS),
            metadata=tfds.core.MetadataDict(
                level_of_theory=self.level_of_theory(),
                units=UNITS,
                settings=dataclasses.asdict(self.settings),
            ),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        del dl_manager
        made = self.make()
        metadata = self.info.metadata
        assert metadata is not None
        metadata.update(made.notes)
        return {split: self._generate_examples(items) for split, items in made.splits.items()}

    def _generate_examples(
        self, items: Sequence[tuple[str, Structure]]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, structure in items:
            yield key, to_example(structure, *self.FIELDS)


class QuantumBuilder(StructureBuilder, skip_registration=True):
    """A builder whose labels are those of GFN2-xTB."""

    CITATION = labelling.CITATION
    PACKAGES = ("tblite",)
    FIELDS = ("charges", "dipole")
    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {
        **StructureBuilder.RELEASE_NOTES,
        "1.1.0": "Atomic charges and dipole moments.",
    }

    def level_of_theory(self) -> str:
        """Name the method and the program."""
        return labelling.level_of_theory()
