"""Networks, layers and calls of the reference implementation of Euclidean fast attention.

For users who come from `euclidean_fast_attention` (Flax): its parameters and checkpoints become our
modules, and its flat calling conventions are available under its own keywords.

    params = variables["params"]  # nested dictionary of arrays
    model = energy_model(params, {"num_features": 128, "era_activation_fn": "gelu", ...})
    energy, forces = evaluate_flat(model, atomic_numbers=..., positions=..., dst_idx=..., ...)

Options keep their names there; activations are given by name. Grids are taken as they are, without
a check of what they resolve, so that the numbers agree; `evaluation="exact"` computes the integral
in closed form instead.
"""

from __future__ import annotations

from efa_zoo.attention.flat import attend_flat
from efa_zoo.interop.reference._checkpoints import import_checkpoint, load_checkpoint
from efa_zoo.interop.reference._flat import evaluate_flat, rope_attention_flat
from efa_zoo.interop.reference._networks import (
    DeferredAttention,
    DeferredTensorIntegration,
    attention,
    energy_model,
    tensor_integration,
)

__all__ = [
    "DeferredAttention",
    "DeferredTensorIntegration",
    "attend_flat",
    "attention",
    "energy_model",
    "evaluate_flat",
    "import_checkpoint",
    "load_checkpoint",
    "rope_attention_flat",
    "tensor_integration",
]
