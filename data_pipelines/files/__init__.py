"""Labelled structures in files: formats, checks, storage in data sets."""
