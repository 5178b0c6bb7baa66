"""Energies and forces of geometries, units, and reference energies of elements."""
