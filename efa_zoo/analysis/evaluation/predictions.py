"""Predictions of structures whether or not a model knows their like."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from efa_zoo.models.inference import predict
from efa_zoo.models.inputs.checks import OutOfRangeWarning
from efa_zoo.models.potential import Potential
from efa_zoo.models.prediction import Prediction
from efa_zoo.structures.molecule import Molecule

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
    molecules = [s.molecule(s.multiplicity or None) for s in structures]
    return predict_molecules(potential, molecules)


def predict_molecules(potential: Potential, molecules: Sequence[Molecule]) -> list[Prediction]:
    """Predict molecules, also those outside of what the model knows.

    Args:
        potential: the model.
        molecules: what to predict.

    Returns:
        Predictions in the order of `molecules`. How many are out of range is logged.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", OutOfRangeWarning)
        predictions = predict(potential, molecules, out_of_range="warn")
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
            len(molecules),
            potential.card.name,
        )
    return predictions
