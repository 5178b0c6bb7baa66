"""The data set `dimers`: which dimers it consists of, and their labels."""

from data_pipelines.sampling.dimers.making import make_dimers, make_pair
from data_pipelines.sampling.dimers.settings import (
    TRANSFER_PAIRS,
    UNLABELLED_PAIRS,
    CloseSettings,
    DimerSettings,
)

__all__ = [
    "TRANSFER_PAIRS",
    "UNLABELLED_PAIRS",
    "CloseSettings",
    "DimerSettings",
    "make_dimers",
    "make_pair",
]
