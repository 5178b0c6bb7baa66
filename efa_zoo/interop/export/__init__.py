"""Models as one file that runs without their network: StableHLO by `jax.export`, and the card.

    from efa_zoo.interop.export import export_model, load_exported

    export_model("mpnn_efa_dimers", "dimers.zip", platforms=("cpu", "cuda"))
    model = load_exported("dimers.zip")
    model(atoms).forces  # as efa_zoo.predict gives them

The file is a ZIP archive, not compressed, of two members:

- `manifest.json`: kind and version of the file, dtype, platforms, cutoff, the program's inputs and
  outputs with shapes and units, its SHA-256, the card, and a digest of all that enters a number.
- `program.bin`: what `jax.export.Exported.serialize` gives. Any number of molecules, atoms and
  neighbours fits; the weights are in it. `jax.export.deserialize(...).call(...)` runs it where
  only JAX is installed. It gives atomic energies relative to the card's reference energies.

JAX runs such programs for at least six months after they were written, in newer versions of it.
Nothing in the file is ever unpickled.
"""

from __future__ import annotations

from efa_zoo.interop.export.loading import ExportedModel, load_exported
from efa_zoo.interop.export.writing import ExportReport, export_model

__all__ = ["ExportReport", "ExportedModel", "export_model", "load_exported"]
