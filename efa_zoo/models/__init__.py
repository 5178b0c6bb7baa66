"""Networks, what they give, their weights, and predictions in physical units.

Imports `base`, `structures`, `ops`, `nn` and `attention`.
"""
