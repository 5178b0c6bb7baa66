"""Molecules, conformers, dynamics and assemblies that the data set `organic` is made of."""
