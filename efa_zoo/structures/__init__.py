"""Structures: elements, the padded `Graph`, neighbours, checks, batches. Imports `base`."""
