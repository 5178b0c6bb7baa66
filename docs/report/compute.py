"""Compute the gallery: data, errors, pictures."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from efa_zoo.analysis.evaluation import evaluate
from efa_zoo.analysis.scan import draw_scans, scan
from efa_zoo.base.errors import DataError
from efa_zoo.models.hub import registry
from report.experiments import EXPERIMENTS, Experiment
from report.results import ModelErrors, Profile, Results

_logger = logging.getLogger(__name__)

#: Data sets that a formula labels: they are built on the spot.
_FORMULAS = ("chains", "charge_dipole", "clusters", "nacl_bulk", "nacl_spheres", "two_atoms")


def compute(
    images: Path,
    *,
    only: Sequence[str] = (),
    data_dir: str | os.PathLike[str] | None = None,
    published: str | os.PathLike[str] | None = None,
) -> Results:
    """Compute all numbers of the gallery, and draw its pictures, `<experiment>.png`.

    Args:
        images: folder of the pictures.
        only: keys of experiments; none takes all.
        data_dir: where data sets lie; those that a formula labels are built there where missing.
        published: folder of the published npz files; None leaves out what they are needed for.

    Returns:
        The numbers. Models that are not trained are left out.

    Raises:
        DataError: data with computed labels are missing.
        ConfigError, WeightsError: as for `efa_zoo.load`.
    """
    chosen = [experiment for key, experiment in EXPERIMENTS.items() if not only or key in only]
    trained = {experiment.key: _trained(experiment) for experiment in chosen}
    _provide_data([name for names in trained.values() for name in names], data_dir)
    models: dict[str, ModelErrors] = {}
    profiles: dict[str, list[Profile]] = {}
    for experiment in chosen:
        names = trained[experiment.key]
        missing = [name for name in experiment.models if name not in names]
        if missing:
            _logger.info("%s: not trained yet: %s", experiment.key, ", ".join(missing))
        if names:
            _logger.info("%s: %s", experiment.key, ", ".join(names))
            models |= {name: _errors(name, experiment, data_dir, published) for name in names}
            picture = images / f"{experiment.key}.png"
            profiles[experiment.key] = _draw(experiment, names, picture, data_dir)
    return Results(
        experiments=tuple(experiment.key for experiment in chosen),
        models=dict(sorted(models.items())),
        profiles=profiles,
    )


def _trained(experiment: Experiment) -> list[str]:
    known = registry.list_models()
    return [name for name in experiment.models if name in known]


def _provide_data(models: Sequence[str], data_dir: str | os.PathLike[str] | None) -> None:
    """Build data that formulas label; refuse to go on without the others."""
    # Imported here: the page alone needs no TensorFlow.
    from data_pipelines import build, metadata
    from data_pipelines.datasets import DEFAULT_CONFIG

    absent = []
    for name in dict.fromkeys(registry.card(model).data.name for model in models):
        try:
            metadata(name, data_dir=data_dir)
        except DataError as error:
            builder, _, config = name.partition("/")
            if builder in _FORMULAS:
                _logger.info("building data set %s", name)
                build(builder, config=config or DEFAULT_CONFIG, data_dir=data_dir)
            else:
                absent.append(error)
    if absent:
        raise DataError("; ".join(str(error) for error in absent))


def _errors(
    name: str,
    experiment: Experiment,
    data_dir: str | os.PathLike[str] | None,
    published: str | os.PathLike[str] | None,
) -> ModelErrors:
    from data_pipelines.files.options import FileOptions
    from data_pipelines.splitting import SplitOptions

    weights = registry.card(name).weights
    assert weights is not None
    errors = evaluate(name, data_dir=data_dir).to_dict()
    on_theirs = None
    if published is not None and experiment.file is not None:
        file, counts = experiment.file
        found = evaluate(
            name,
            data=Path(published) / file,
            splits=["test"],
            reading=FileOptions(charge=0),
            splitting=SplitOptions(counts=counts),
        )
        on_theirs = found.splits["test"]["all"]
    return ModelErrors(sha256=weights.sha256, errors=errors, published=on_theirs)


def _draw(
    experiment: Experiment,
    names: Sequence[str],
    picture: Path,
    data_dir: str | os.PathLike[str] | None,
) -> list[Profile]:
    scans = [scan(names, data_dir=data_dir, **panel) for panel in experiment.panels]
    if experiment.derived is not None:
        scans += experiment.derived(scans[0])
    draw_scans(scans, picture)
    return [Profile.of(found) for found in scans]
