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
import shutil
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from data_pipelines._beam import Beam
from data_pipelines._progress import quiet
from data_pipelines._workers import on_beam
from data_pipelines.location import data_directory
from data_pipelines.stored import StoredStructures
from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError
from efa_zoo.base.files import FolderInUse, locked

_logger = logging.getLogger(__name__)

BUILDERS: Mapping[str, str] = {
    "charge_dipole": "data_pipelines.builders.two_body:ChargeDipole",
    "chains": "data_pipelines.builders.chains:Chains",
    "clusters": "data_pipelines.builders.clusters:Clusters",
    "cumulene": "data_pipelines.builders.cumulene:Cumulene",
    "dimers": "data_pipelines.builders.dimers:Dimers",
    "nacl_bulk": "data_pipelines.builders.nacl_bulk:NaclBulk",
    "nacl_spheres": "data_pipelines.builders.nacl_spheres:NaclSpheres",
    "organic": "data_pipelines.builders.organic:Organic",
    "sn2": "data_pipelines.builders.sn2:Sn2",
    "structures": "data_pipelines.builders.structures:Structures",
    "two_atoms": "data_pipelines.builders.two_body:TwoAtoms",
}
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
    beam: Beam | None = None,
    overwrite: bool = False,
) -> Path:
    """Build a data set, or find it already built.

    Args:
        name: A key of `BUILDERS`; `name/config` says the config too, such as `clusters/atoms16`.
        data_dir: Where data sets lie; see `data_pipelines.location.data_directory`.
        config: Name of the configuration, such as `full` or `tiny`, where `name` does not say it.
        seed: Other than the config's; the result is stored as `<config>_seed<seed>`.
        workers: Worker processes, None for one per available core. Does not change the data.
        beam: Where Apache Beam runs what takes long, instead of worker processes on this machine.
            Does not change the data either.
        overwrite: Build again if the data set is there already.

    Returns:
        The directory of the finished data set.

    Raises:
        DataError: If there is no such data set or config, a package is missing, or a molecule that
            the data set is made of could not be optimised.
    """
    name, config = _split(name, config)
    if name == "structures":
        raise DataError(
            "data set structures: is made of files, expected `efa-zoo data add FILE --name NAME`"
        )
    builder_class = _builder_class(name)
    for package in builder_class.PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise DataError(_missing(name, package))
    chosen = {c.name: c for c in builder_class.BUILDER_CONFIGS}.get(config)
    if chosen is None:
        known = [c.name for c in builder_class.BUILDER_CONFIGS]
        raise DataError(f"config of {name}: got {config!r}, expected one of {known}")
    if seed is not None and seed != chosen.settings.seed:
        settings = dataclasses.replace(chosen.settings, seed=seed)
        chosen = dataclasses.replace(chosen, name=f"{config}_seed{seed}", settings=settings)

    with on_beam(beam):
        return prepare(
            builder_class, chosen, data_directory(data_dir), overwrite=overwrite, workers=workers
        )


def prepare(
    builder_class: Any, config: Any, root: Path, *, overwrite: bool, **options: Any
) -> Path:
    """Run a TFDS builder quietly, or find its data set already built.

    Args:
        builder_class: Class of the builder.
        config: Its config.
        root: Where data sets lie.
        overwrite: Build again if the data set is there already.
        **options: Further arguments of the builder.

    Returns:
        The directory of the finished data set.
    """
    import tensorflow_datasets as tfds

    start = time.monotonic()
    mode = tfds.GenerateMode.REUSE_DATASET_IF_EXISTS
    if overwrite:
        mode = tfds.GenerateMode.REUSE_CACHE_IF_EXISTS
    # TFDS has one process-wide bar and prints its own messages; the labels' progress is shown here.
    tfds.disable_progress_bar()
    try:
        with quiet("absl", logging.ERROR), contextlib.redirect_stdout(io.StringIO()):
            builder = builder_class(
                config=config, data_dir=str(root), file_format=_FILE_FORMAT, **options
            )
            with _alone(Path(builder.data_path).parent):
                builder.download_and_prepare(
                    download_config=tfds.download.DownloadConfig(download_mode=mode),
                )
    finally:
        tfds.enable_progress_bar()
    sizes = {split: info.num_examples for split, info in builder.info.splits.items()}
    seconds = time.monotonic() - start
    _logger.info(
        "%s/%s at %s: %s, %.0f s", builder.name, config.name, builder.data_path, sizes, seconds
    )
    return Path(builder.data_path)


@contextlib.contextmanager
def _alone(place: Path) -> Generator[None]:
    """Let one process at a time build a data set, and remove what killed ones have left."""
    made = [folder for folder in (place, *place.parents) if not folder.exists()]
    place.mkdir(parents=True, exist_ok=True)
    try:
        with locked(place):
            for left_over in place.glob("incomplete.*"):
                shutil.rmtree(left_over, ignore_errors=True)
            yield
    except FolderInUse as error:
        raise DataError(f"{place}: {error} builds this data set, expected to be alone") from None
    finally:
        with contextlib.suppress(OSError):  # folders that hold something stay
            for folder in made:
                folder.rmdir()


def _split(name: str, config: str) -> tuple[str, str]:
    """Take a name that may say the configuration too apart."""
    builder, slash, inline = name.partition("/")
    if builder not in BUILDERS:
        raise DataError(f"data set: got {name!r}, expected one of {sorted(BUILDERS)}")
    return builder, inline if slash else config


def _builder_class(name: str) -> Any:
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
    """Read one split of a built data set into memory.

    TensorFlow is not imported.

    Args:
        name: A key of `BUILDERS`; `name/config` says the config too, such as `structures/my_data`.
        split: `train`, `validation` or `test`; of some data sets also `transfer` or `curves`.
        data_dir: Where data sets lie; see `data_pipelines.location.data_directory`.
        config: Name of the configuration it was built with, where `name` does not say it.

    Returns:
        The structures, in the order they are stored.

    Raises:
        DataError: If the data set was not built, has no such split or cannot be read.
    """
    return list(open_split(name, split, data_dir=data_dir, config=config))


def open_split(
    name: str,
    split: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    config: str = DEFAULT_CONFIG,
) -> StoredStructures:
    """Find one split of a built data set, to read its structures one by one.

    Args:
        name: As of `load_split`.
        split: As of `load_split`.
        data_dir: As of `load_split`.
        config: As of `load_split`.

    Returns:
        The structures, in the order they are stored.

    Raises:
        DataError: If the data set was not built or has no such split.
    """
    stored = StoredStructures(str(_find(name, data_dir, config)), split)
    try:
        len(stored)
    except ModuleNotFoundError as error:
        raise DataError(_missing(name, error.name)) from error
    except DataError as error:
        raise DataError(str(error).replace("split:", f"split of {name}:", 1)) from None
    return stored


def metadata(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    config: str = DEFAULT_CONFIG,
) -> dict[str, Any]:
    """Read what is stored beside a built data set.

    Args:
        name: As of `load_split`.
        data_dir: Where data sets lie; see `data_pipelines.location.data_directory`.
        config: As of `load_split`.

    Returns:
        `level_of_theory`, `units` and `settings`; where structures may be dropped, the `counts` of
        kept and dropped ones by group and reason (`curve_counts` for points of scans).

    Raises:
        DataError: If the data set was not built.
    """
    file = _find(name, data_dir, config) / "metadata.json"
    return json.loads(file.read_text(encoding="utf-8"))


def _find(name: str, data_dir: str | os.PathLike[str] | None, config: str) -> Path:
    """Find the newest version of a built data set."""
    builder, chosen = _split(name, config)
    place = data_directory(data_dir) / builder / chosen
    versions = finished_versions(place)
    if not versions:
        if builder == "structures" and "/" not in name:
            added = sorted(f"structures/{folder.name}" for folder in place.parent.glob("*/"))
            raise DataError(
                f"data set: got {name!r}, expected structures/NAME, one of {added or 'none so far'}"
            )
        if builder == "structures":
            command = f"add FILE --name {chosen}"
        else:
            command = f"build {builder}" + (f"/{chosen}" if chosen != DEFAULT_CONFIG else "")
        raise DataError(
            f"data set {name}: nothing at {place}, expected a data set built by "
            f"`efa-zoo data {command}`"
        )
    return versions[-1]


def finished_versions(place: Path) -> list[Path]:
    """Find what was built in the directory of a data set's configuration.

    Args:
        place: The directory, which need not exist.

    Returns:
        The directory of each version, oldest first.
    """
    return sorted(
        (file.parent for file in place.glob("*/dataset_info.json")),
        key=lambda folder: [int(n) if n.isdigit() else -1 for n in folder.name.split(".")],
    )
