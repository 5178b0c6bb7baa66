"""Building and reading data sets by name, without importing TensorFlow to read them."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import io
import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_pipelines.location import data_directory
from data_pipelines.structures import Structure
from efa_zoo.errors import DataError

logger = logging.getLogger(__name__)

BUILDERS: Mapping[str, str] = {"dimers": "data_pipelines.dimers:Dimers"}
"""Data sets by name, as `module:class`."""

DEFAULT_CONFIG = "full"
_FILE_FORMAT = "array_record"


def build(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    config: str = DEFAULT_CONFIG,
    seed: int | None = None,
    workers: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Builds a data set, or finds it already built.

    Args:
        name: A key of `BUILDERS`.
        data_dir: Where data sets lie; see `data_pipelines.location.data_directory`.
        config: Name of the size, `full` or `tiny`.
        seed: Other than the config's; the result is stored as `<config>_seed<seed>`.
        workers: Worker processes, None for one per available core. Does not change the data.
        overwrite: Build again if the data set is there already.

    Returns:
        The directory of the finished data set.

    Raises:
        DataError: If there is no such data set or config, a package is missing, or a monomer could
            not be optimised.
    """
    if importlib.util.find_spec("tblite") is None:
        raise DataError(_missing(name, "tblite"))
    builder_class = _builder_class(name)
    chosen = {c.name: c for c in builder_class.BUILDER_CONFIGS}.get(config)
    if chosen is None:
        known = [c.name for c in builder_class.BUILDER_CONFIGS]
        raise DataError(f"config of {name}: got {config!r}, expected one of {known}")
    if seed is not None and seed != chosen.settings.seed:
        settings = dataclasses.replace(chosen.settings, seed=seed)
        chosen = dataclasses.replace(chosen, name=f"{config}_seed{seed}", settings=settings)

    import tensorflow_datasets as tfds

    root = data_directory(data_dir)
    builder = builder_class(
        config=chosen, data_dir=str(root), file_format=_FILE_FORMAT, workers=workers
    )
    start = time.monotonic()
    mode = tfds.GenerateMode.REUSE_DATASET_IF_EXISTS
    if overwrite:
        mode = tfds.GenerateMode.REUSE_CACHE_IF_EXISTS
    # TFDS has one process-wide bar and prints its own messages; the labels' progress is shown here.
    tfds.disable_progress_bar()
    absl_logger = logging.getLogger("absl")
    level = absl_logger.level
    absl_logger.setLevel(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(download_mode=mode),
            )
    finally:
        absl_logger.setLevel(level)
        tfds.enable_progress_bar()
    sizes = {split: info.num_examples for split, info in builder.info.splits.items()}
    seconds = time.monotonic() - start
    logger.info("%s/%s at %s: %s, %.0f s", name, chosen.name, builder.data_path, sizes, seconds)
    return Path(builder.data_path)


def _builder_class(name: str) -> Any:
    if name not in BUILDERS:
        raise DataError(f"data set: got {name!r}, expected one of {sorted(BUILDERS)}")
    module, _, attribute = BUILDERS[name].partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise DataError(_missing(name, error.name)) from error


def _missing(name: str, package: str | None) -> str:
    return f"data set {name}: package {package!r} is missing, expected the extra efa-zoo[data]"


def load_split(
    name: str,
    split: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    config: str = DEFAULT_CONFIG,
) -> list[Structure]:
    """Reads one split of a built data set into memory.

    TensorFlow is not imported.

    Args:
        name: A key of `BUILDERS`.
        split: `train`, `validation`, `test`, `transfer` or `curves`.
        data_dir: Where data sets lie; see `data_pipelines.location.data_directory`.
        config: Name of the size it was built with.

    Returns:
        The structures, in the order they are stored.

    Raises:
        DataError: If the data set was not built, has no such split or cannot be read.
    """
    directory = _find(name, data_dir, config)
    try:
        import tensorflow_datasets as tfds
    except ModuleNotFoundError as error:
        raise DataError(_missing(name, error.name)) from error
    builder: Any = tfds.builder_from_directory(str(directory))
    if split not in builder.info.splits:
        known = list(builder.info.splits)
        raise DataError(f"split of {name}: got {split!r}, expected one of {known}")
    return [_structure(example) for example in builder.as_data_source(split)]


def metadata(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    config: str = DEFAULT_CONFIG,
) -> dict[str, Any]:
    """Reads what is stored beside a built data set.

    Args:
        name: A key of `BUILDERS`.
        data_dir: Where data sets lie; see `data_pipelines.location.data_directory`.
        config: Name of the size it was built with.

    Returns:
        `level_of_theory`, `units`, `settings`, and for each pair the `counts` of kept and dropped
        structures (`curve_counts` for points of scans).

    Raises:
        DataError: If the data set was not built.
    """
    file = _find(name, data_dir, config) / "metadata.json"
    return json.loads(file.read_text(encoding="utf-8"))


def _find(name: str, data_dir: str | os.PathLike[str] | None, config: str) -> Path:
    """Finds the newest version of a built data set."""
    if name not in BUILDERS:
        raise DataError(f"data set: got {name!r}, expected one of {sorted(BUILDERS)}")
    place = data_directory(data_dir) / name / config
    versions = sorted(
        (file.parent for file in place.glob("*/dataset_info.json")),
        key=lambda folder: [int(n) if n.isdigit() else -1 for n in folder.name.split(".")],
    )
    if not versions:
        raise DataError(
            f"data set {name}: nothing at {place}, expected a data set built by "
            f"`python -m data_pipelines build {name}`"
        )
    return versions[-1]


def _structure(example: Mapping[str, Any]) -> Structure:
    scalars = ("energy", "separation", "closest_contact")
    first, second = (str(text, "utf-8") for text in example["monomers"])
    return Structure(
        **{
            **example,
            **{name: float(example[name]) for name in scalars},
            "monomers": (first, second),
        }
    )
