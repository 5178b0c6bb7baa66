"""Splits of built data sets where they lie: read by number, never all at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from data_pipelines._progress import quiet
from data_pipelines.files.storage import from_example
from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError

__all__ = ["StoredStructures"]


@dataclass(eq=False)
class StoredStructures(Sequence[Structure]):
    """The structures of a split, each read from its file when it is asked for.

    It is pickled as the name of the files, so that every process opens them for itself. TensorFlow
    is not imported.

    Attributes:
        directory: Of a finished data set.
        split: Such as `train`.
    """

    directory: str
    split: str
    _source: Any = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"directory": self.directory, "split": self.split, "_source": None}

    @property
    def source(self) -> Any:
        """The examples as TFDS gives them.

        Raises:
            DataError: If there is no such split.
        """
        if self._source is None:
            import tensorflow_datasets as tfds

            with quiet("absl", logging.ERROR):
                builder: Any = tfds.builder_from_directory(self.directory)
                if self.split not in builder.info.splits:
                    known = list(builder.info.splits)
                    raise DataError(f"split: got {self.split!r}, expected one of {known}")
                self._source = builder.as_data_source(self.split)
        return self._source

    def __len__(self) -> int:
        return len(self.source)

    @overload
    def __getitem__(self, index: int) -> Structure: ...

    @overload
    def __getitem__(self, index: slice) -> list[Structure]: ...

    def __getitem__(self, index: int | slice) -> Structure | list[Structure]:
        if isinstance(index, slice):
            return self.read(range(len(self))[index])
        return self.read([range(len(self))[index]])[0]

    def read(self, numbers: Sequence[int]) -> list[Structure]:
        """Read several structures in one go.

        Args:
            numbers: Which, from 0, in any order.

        Returns:
            The structures in that order.
        """
        if not numbers:
            return []
        return [from_example(example) for example in self.source.__getitems__(list(numbers))]
