"""Training: batches, loss, steps, checkpoints and the loop. TensorFlow is not needed."""

from efa_zoo.structures.batch import Batch
from efa_zoo.training.calibration import calibrate
from efa_zoo.training.finetune import finetune, finetuning_recipe
from efa_zoo.training.finetuned import FineTuned
from efa_zoo.training.loop import BatchSource, fit, mean_errors
from efa_zoo.training.loss import batch_errors, batch_loss
from efa_zoo.training.run import train
from efa_zoo.training.step import TrainingState, initial_state, training_step

__all__ = [
    "Batch",
    "BatchSource",
    "FineTuned",
    "TrainingState",
    "batch_errors",
    "batch_loss",
    "calibrate",
    "finetune",
    "finetuning_recipe",
    "fit",
    "initial_state",
    "mean_errors",
    "train",
    "training_step",
]
