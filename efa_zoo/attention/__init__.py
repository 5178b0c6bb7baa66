"""Euclidean fast attention: the layer, its evaluations and their parts."""

from efa_zoo.attention.exact import attend_exact
from efa_zoo.attention.integration import TensorIntegration
from efa_zoo.attention.module import EuclideanFastAttention
from efa_zoo.attention.quadrature import attend_along, attend_quadrature, attend_wave_vectors
from efa_zoo.attention.reciprocal import Lattice, attend_reciprocal, lattice_of
from efa_zoo.attention.resolution import FrequencyReport, check_frequencies

__all__ = [
    "EuclideanFastAttention",
    "FrequencyReport",
    "Lattice",
    "TensorIntegration",
    "attend_along",
    "attend_exact",
    "attend_quadrature",
    "attend_reciprocal",
    "attend_wave_vectors",
    "check_frequencies",
    "lattice_of",
]
