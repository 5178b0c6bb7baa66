"""What a model does: errors, scans, attention between atoms, pictures.

Imports `models` and what that imports; data sets and matplotlib when they are used.
"""
