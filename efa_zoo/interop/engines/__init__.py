"""Models in other programs for molecular dynamics.

JAX-MD and TorchSim have interfaces of their own, for which there is a function each. i-PI, OpenMM
(through OpenMM-ML) and whatever else takes a calculator of ASE needs none: `EFACalculator` does.
"""

from __future__ import annotations

from efa_zoo.interop.engines.jax_md import energy_function
from efa_zoo.interop.engines.torch_sim import torch_sim_model

__all__ = ["energy_function", "torch_sim_model"]
