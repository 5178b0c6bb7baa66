"""Kernels of attention: what a pair of atoms at a distance weighs, and the transforms of it."""

from efa_zoo.attention.kernels.coulomb import CoulombKernel, coulomb_waves, coulomb_widths
from efa_zoo.attention.kernels.kernel import Kernel, PeriodicKernel, deviations
from efa_zoo.attention.kernels.waves import WaveKernel, WindowedWaveKernel

__all__ = [
    "CoulombKernel",
    "Kernel",
    "PeriodicKernel",
    "WaveKernel",
    "WindowedWaveKernel",
    "coulomb_waves",
    "coulomb_widths",
    "deviations",
]
