"""How far a prediction can be trusted, from the features that a network reads energies out of.

No network is trained anew, and no second pass is made: the features of a prediction are compared
with those of the training structures, whose statistics lie beside the weights. With the features
f of an atom of element z, their mean μ and covariance Σ over the atoms of z in training:

- *Extrapolation grade* of an atom: the Mahalanobis distance √((f - μ)ᵀ Σ⁻¹ (f - μ)) in units of the
  largest one that counts as known. Beyond 1 the model does not know the atom's surroundings.
- *Energy uncertainty*: last-layer prediction rigidity √(φᵀ G⁻¹ φ) (F. Bigi, S. Chong, M. Ceriotti,
  F. Grasselli, Mach. Learn.: Sci. Technol. 5, 045018 (2024)), where φ are the features summed over
  the atoms with the counts of the elements, and G is their Gram matrix over training structures.
- *Force uncertainty* of an atom: from its grade and its features.

Errors of the validation structures set the scale of the uncertainties. It is the exponential of a
linear function of the features, so that it may differ between kinds of atoms and of molecules, and
is kept within what validation has seen. Of the intervals ±σ, 68.27 % hold the label of a validation
structure.
"""

from __future__ import annotations

from efa_zoo.models.uncertainty.calibration import Calibration

__all__ = ["Calibration"]
