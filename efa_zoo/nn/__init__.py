"""Equivariant layers of one molecule: irreps and couplings, dense maps, messages of neighbours.

Imports `base`, `structures` and `ops`.
"""

from efa_zoo.nn.coupling import Coupling, Irreps, clebsch_gordan, repeat_degrees
from efa_zoo.nn.dense import MLP, Dense, activation, change_irreps
from efa_zoo.nn.electronic import ElectronicEmbedding, distribute
from efa_zoo.nn.embed import Embed
from efa_zoo.nn.inner_product import InnerProduct
from efa_zoo.nn.message_passing import MessagePass
from efa_zoo.nn.pairs import PairBasis, pair_basis
from efa_zoo.nn.radial import radial_functions
from efa_zoo.nn.repulsion import screened_repulsion
from efa_zoo.nn.tensor_dense import TensorDense

__all__ = [
    "MLP",
    "Coupling",
    "Dense",
    "ElectronicEmbedding",
    "Embed",
    "InnerProduct",
    "Irreps",
    "MessagePass",
    "PairBasis",
    "TensorDense",
    "activation",
    "change_irreps",
    "clebsch_gordan",
    "distribute",
    "pair_basis",
    "radial_functions",
    "repeat_degrees",
    "screened_repulsion",
]
