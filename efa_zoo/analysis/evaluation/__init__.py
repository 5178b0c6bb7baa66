"""Errors of a model on the held-back parts of its data or on a file, and at long range."""

from __future__ import annotations

from efa_zoo.analysis.evaluation._evaluate import evaluate
from efa_zoo.analysis.evaluation.long_range import fit_inverse_powers
from efa_zoo.analysis.evaluation.predictions import predict_structures
from efa_zoo.analysis.evaluation.result import Evaluation
from efa_zoo.analysis.evaluation.structures import HELD_BACK_FILE

__all__ = [
    "HELD_BACK_FILE",
    "Evaluation",
    "evaluate",
    "fit_inverse_powers",
    "predict_structures",
]
