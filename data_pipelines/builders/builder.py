"""What all TFDS builders of labelled structures share."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_pipelines._workers import available_cores
from data_pipelines.files.storage import structure_features, to_example
from data_pipelines.structure import Structure


@dataclass(frozen=True)
class LabelledStructures:
    """A finished data set.

    Attributes:
        splits: For each split, key and structure, in a reproducible order.
        notes: What else is to be stored beside the data, such as counts of dropped structures.
    """

    splits: Mapping[str, Sequence[tuple[str, Structure]]]
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class SettingsConfig(tfds.core.BuilderConfig):
    """A named configuration of a data set.

    Attributes:
        settings: What to build, a frozen dataclass with a field `seed`.
    """

    settings: Any = None


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

    def __init__(self, *, workers: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workers = workers or available_cores()

    @abstractmethod
    def level_of_theory(self) -> str:
        """Says where the labels come from."""

    @abstractmethod
    def make(self) -> LabelledStructures:
        """Makes the whole data set that `settings` describes, with up to `workers` processes."""

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
                units={"length": "Å", "energy": "eV", "forces": "eV/Å", "charge": "e"},
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
