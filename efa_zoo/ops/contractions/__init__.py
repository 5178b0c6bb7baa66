"""Bilinear operations that XLA's CPU compiler turns into fast code, in all their derivatives.

Derivatives of products are products again, but often in a form that is compiled to something many
times as slow. The operations here say themselves what their derivatives are.
"""

from efa_zoo.ops.contractions.featurewise import featurewise_product
from efa_zoo.ops.contractions.matrices import constant_product, matrix_product
from efa_zoo.ops.contractions.paths import PathSegments, sum_paths

__all__ = [
    "PathSegments",
    "constant_product",
    "featurewise_product",
    "matrix_product",
    "sum_paths",
]
