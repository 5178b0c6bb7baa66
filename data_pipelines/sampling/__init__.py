"""Geometries: molecules, placements, dynamics, and the draws of each data set."""
