"""Errors of a model, on its own data or on others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from efa_zoo.analysis.evaluation.long_range import LongRange, long_range_errors
from efa_zoo.analysis.evaluation.predictions import predict_structures
from efa_zoo.analysis.evaluation.result import Evaluation
from efa_zoo.analysis.evaluation.statistics import element_errors, part_errors
from efa_zoo.analysis.evaluation.structures import find_structures
from efa_zoo.analysis.evaluation.uncertainty import uncertainty_quality
from efa_zoo.models.hub.registry import load

if TYPE_CHECKING:
    from data_pipelines.files.options import FileOptions
    from data_pipelines.splitting import SplitOptions


def evaluate(
    model: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    splits: Sequence[str] | None = None,
    reading: FileOptions | None = None,
    splitting: SplitOptions | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> Evaluation:
    """Evaluate a model on the splits of its data set that it was not trained on, or on other data.

    Args:
        model: what `efa_zoo.load` takes.
        data: another data set, or a file of labelled structures; None takes the model's data set,
            or what fine-tuning held back of its file.
        splits: splits to evaluate, None takes those that are held back from training.
        reading: names and units in the file.
        splitting: how the file is dealt to splits; None takes it as one.
        data_dir: where data sets lie.

    Returns:
        Errors by split, and within each by distance, kind of structure and element; long-range
        errors where the data set has scans of two molecules.

    Raises:
        DataError: the data set or file is missing or cannot be read, or has no such split.
        InputError: the model does not know an element of the structures.
        UnknownModelError, ConfigError, WeightsError: as for `efa_zoo.load`.
    """
    potential = load(model)
    found = find_structures(
        model,
        potential.card,
        data,
        splits=splits,
        reading=reading,
        splitting=splitting,
        data_dir=data_dir,
    )
    scans = found.get("curves", [])
    test = found.get("test", [])
    found_far = LongRange({}, {}, {})
    # Scans of two molecules are judged by their interaction energies.
    if scans and scans[0].pair and test:
        found_far = long_range_errors(potential, test, scans)
        del found["curves"]
    by_part, by_element, uncertainty = {}, {}, {}
    for split, structures in found.items():
        predictions = predict_structures(potential, structures)
        by_part[split] = part_errors(structures, predictions)
        by_element[split] = element_errors(structures, predictions)
        if quality := uncertainty_quality(structures, predictions, potential.card):
            uncertainty[split] = quality
    return Evaluation(
        potential.card.name,
        by_part,
        elements=by_element,
        uncertainty=uncertainty,
        **found_far._asdict(),
    )
