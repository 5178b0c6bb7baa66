"""TensorFlow, imported late, quiet and without a GPU."""

from __future__ import annotations

import functools
import os
from types import ModuleType


@functools.cache
def import_tensorflow() -> ModuleType:
    """Import TensorFlow so that it takes no GPU and says nothing below an error.

    JAX owns the GPU of the process; TensorFlow would reserve most of its memory.

    Returns:
        The module `tensorflow`.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    import tensorflow

    tensorflow.config.set_visible_devices([], "GPU")
    return tensorflow
