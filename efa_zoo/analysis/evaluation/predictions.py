"""Predictions of structures whether or not a model knows their like."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from efa_zoo.models.potential import Potential
from efa_zoo.models.prediction import OutOfRangeWarning, Prediction, predict
from efa_zoo.structures.graph import Graph

if TYPE_CHECKING:
    from data_pipelines.structure import Structure

_logger = logging.getLogger(__name__)


def predict_structures(potential: Potential, structures: Sequence[Structure]) -> list[Prediction]:
    """Predict labelled structures, also those outside of what the model knows.

    Args:
        potential: the model.
        structures: what to predict.

    Returns:
        Predictions in the order of `structures`. How many are out of range is logged.

    Raises:
        InputError: the model does not know an element of the structures.
    """
    return predict_graphs(potential, [_graph(s) for s in structures])


def _graph(structure: Structure) -> Graph:
    return Graph.from_arrays(
        structure.atomic_numbers,
        structure.positions,
        None,
        total_charge=structure.total_charge,
        atomic_dipoles=structure.atomic_dipoles,
        dtype=np.float64,
    )


def predict_graphs(potential: Potential, graphs: Sequence[Graph]) -> list[Prediction]:
    """Predict graphs, also those outside of what the model knows.

    Args:
        potential: the model.
        graphs: what to predict.

    Returns:
        Predictions in the order of `graphs`. How many are out of range is logged.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", OutOfRangeWarning)
        predictions = predict(potential, graphs, out_of_range="warn")
    outside = set()
    for warning in caught:
        if issubclass(warning.category, OutOfRangeWarning):
            outside.add(str(warning.message).partition(":")[0])
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    if outside:
        _logger.info(
            "%d of %d structures lie outside of what %s knows",
            len(outside),
            len(graphs),
            potential.card.name,
        )
    return predictions
