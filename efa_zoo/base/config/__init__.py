"""Frozen options of networks and of training, nested so that invalid ones cannot be written.

A zoo file's tables are read by `from_table`; `to_table` is its inverse.
"""

from efa_zoo.base.config.kernels import (
    Coulomb,
    FrequencyConfig,
    KernelConfig,
    Waves,
    WindowedWaves,
)
from efa_zoo.base.config.network import (
    ACTIVATIONS,
    CUTOFF_FUNCTIONS,
    RADIAL_BASES,
    AttentionConfig,
    Evaluation,
    IntegrationConfig,
    MessagePassingConfig,
    ModelConfig,
)
from efa_zoo.base.config.tables import from_table, to_table
from efa_zoo.base.config.training import TrainingConfig

__all__ = [
    "ACTIVATIONS",
    "CUTOFF_FUNCTIONS",
    "RADIAL_BASES",
    "AttentionConfig",
    "Coulomb",
    "Evaluation",
    "FrequencyConfig",
    "IntegrationConfig",
    "KernelConfig",
    "MessagePassingConfig",
    "ModelConfig",
    "TrainingConfig",
    "Waves",
    "WindowedWaves",
    "from_table",
    "to_table",
]
