"""Multilinear operations that compilers turn into fast code, in all their derivatives.

Derivatives of products are products again, but often in a form that is compiled to something many
times as slow. The operations here say themselves what their derivatives are, and each platform gets
them in its own form: XLA's CPU compiler written out term by term, others as few large operations.
"""

from efa_zoo.ops.contractions.matrices import degreewise_product, matrix_product
from efa_zoo.ops.contractions.messages import (
    copy_to_rows,
    make_filters,
    project_on_angles,
    sum_filtered,
    sum_over_angles,
    sum_pairs,
)
from efa_zoo.ops.contractions.paths import PathBlock, Paths, sum_paths

__all__ = [
    "PathBlock",
    "Paths",
    "copy_to_rows",
    "degreewise_product",
    "make_filters",
    "matrix_product",
    "project_on_angles",
    "sum_filtered",
    "sum_over_angles",
    "sum_pairs",
    "sum_paths",
]
