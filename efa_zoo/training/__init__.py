"""Training: batches, loss, steps, checkpoints and the loop. TensorFlow is not needed."""

from efa_zoo.training.batch import Batch

__all__ = ["Batch"]
