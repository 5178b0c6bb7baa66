"""Fitting a calibration: statistics of features in training, scales from errors in validation."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from efa_zoo.base.errors import DataError
from efa_zoo.models.uncertainty.calibration import Calibration

__all__ = ["FEWEST", "Features", "fit_calibration"]

#: Structures of training, and of validation, below which nothing is calibrated.
FEWEST = 50

#: Share of a Gaussian within one standard deviation.
_ONE_SIGMA = 0.6826894921370859

#: Share of structures like those of validation that may be refused, and the confidence that it is
#: no more; where validation is too small to say so, by how much its farthest atom is exceeded.
_REFUSED, _CONFIDENCE, _MARGIN = 0.005, 0.9, 1.1

#: By this share of an element's distances those of different elements are compared.
_USUAL = 0.995

#: Least eigenvalues, as shares of the largest one, of covariances and of the Gram matrix: single
#: precision resolves no smaller ones.
_COVARIANCE_FLOOR, _GRAM_FLOOR = 1e-6, 1e-8

#: Strength by which slopes are held back, in values of unit variance.
_RIDGE = 30.0

#: Folds of the cross-validation that scales are taken from.
_FOLDS = 5

_Array = np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Features of the atoms of many structures.

    Attributes:
        numbers: `[atoms]`, atomic numbers of all structures' atoms, one structure after the other.
        structure: `[atoms]`, the structure that each atom is of, counted from 0.
        values: `[atoms, features]`.
    """

    numbers: Int[np.ndarray, " atoms"]
    structure: Int[np.ndarray, " atoms"]
    values: Float[np.ndarray, "atoms features"]

    @property
    def count(self) -> int:
        """Number of structures."""
        return int(self.structure[-1]) + 1 if len(self.structure) else 0

    def summed(self, rows: _Array) -> _Array:
        """Sum rows, one for each atom, over the atoms of each structure."""
        sums = np.zeros((self.count, *rows.shape[1:]))
        np.add.at(sums, self.structure, rows)
        return sums


def fit_calibration(
    training: Features,
    validation: Features,
    energy_errors: Float[np.ndarray, " structures"],
    force_errors: Float[np.ndarray, "atoms 3"],
) -> Calibration:
    """Fit a calibration.

    Args:
        training: of training structures, or of a sample of them with all their elements.
        validation: of structures that were not trained on.
        energy_errors: of the validation structures, in eV.
        force_errors: of the forces on their atoms, in eV/Å.

    Returns:
        The calibration, in float32.

    Raises:
        DataError: there are fewer than 50 structures of either.
    """
    for name, found in (("training", training), ("validation", validation)):
        if found.count < FEWEST:
            raise DataError(
                f"{name}: got {found.count} structures, expected at least {FEWEST} to calibrate by"
            )
    elements = np.unique(training.numbers)
    known = np.isin(validation.numbers, elements)
    inside = np.ones(validation.count, bool)
    inside[validation.structure[~known]] = False
    if not inside.all():  # structures with an element that training has not
        validation, energy_errors, force_errors = _those(
            validation, inside, energy_errors, force_errors
        )
    means, whitening = _whiten(training, validation, elements)
    kinds = np.searchsorted(elements, validation.numbers)
    vectors = np.einsum("af,afg->ag", validation.values - means[kinds], whitening[kinds])
    fold = _folds(validation, elements)
    forces = _fit_forces(vectors, kinds, len(elements), force_errors, fold[validation.structure])
    energies = _fit_energies(
        training, validation, elements, energy_errors, forces.uncertainty, fold
    )
    return Calibration(
        elements=jnp.asarray(elements, jnp.int32),
        **{
            name: jnp.asarray(np.asarray(array), jnp.float32)
            for name, array in {
                "means": means,
                "whitening": whitening,
                "force_slopes": forces.slopes,
                "force_offsets": forces.offsets,
                "force_bounds": forces.bounds,
                "force_exponents": forces.exponents,
                **energies,
            }.items()
        },
    )


def _those(
    features: Features, inside: _Array, energies: _Array, forces: _Array
) -> tuple[Features, _Array, _Array]:
    """Keep some structures."""
    atoms = inside[features.structure]
    order = np.cumsum(inside) - 1
    kept = Features(
        numbers=features.numbers[atoms],
        structure=order[features.structure[atoms]],
        values=features.values[atoms],
    )
    return kept, energies[inside], forces[atoms]


def _whiten(training: Features, validation: Features, elements: _Array) -> tuple[_Array, _Array]:
    """Means, and matrices by which the length of a vector is the extrapolation grade."""
    width = training.values.shape[1]
    values = training.values.astype(np.float64)
    means, covariances, counts = [], [], []
    for element in elements:
        members = values[training.numbers == element]
        means.append(members.mean(axis=0))
        centered = members - means[-1]
        covariances.append(centered.T @ centered / len(members))
        counts.append(len(members))
    pooled = np.average(covariances, axis=0, weights=counts)
    matrices = []
    for covariance, count in zip(covariances, counts, strict=True):
        # Of few atoms a covariance is not known; those of all elements together stand in.
        mixed = (count * covariance + width * pooled) / (count + width)
        floor = _COVARIANCE_FLOOR * max(float(np.linalg.eigvalsh(mixed)[-1]), 1e-12)
        lower = np.linalg.cholesky(mixed + floor * np.eye(width))
        matrices.append(np.linalg.inv(lower).T)
    distances = []
    for features in (training, validation):
        kinds = np.searchsorted(elements, features.numbers)
        found = np.zeros(len(kinds))
        for kind, matrix in enumerate(matrices):
            rows = features.values[kinds == kind] - means[kind]
            found[kinds == kind] = np.linalg.norm(rows @ matrix, axis=1)
        distances.append((kinds, found))
    for kind in range(len(elements)):
        both = np.concatenate([found[kinds == kind] for kinds, found in distances])
        usual = max(float(np.quantile(both, _USUAL)), 1e-6)
        matrices[kind] = matrices[kind] / usual
        for kinds, found in distances:
            found[kinds == kind] /= usual
    largest = np.zeros(validation.count)
    np.maximum.at(largest, validation.structure, distances[1][1])
    return np.asarray(means), np.asarray(matrices) / max(_limit(largest), 1e-6)


def _limit(largest: _Array) -> float:
    """Largest distance that counts as known, of the largest ones of the validation structures."""
    from scipy.stats import binom  # slow to import, and only needed here

    # With so many beyond, more than the share that may be are still as likely as confidence lets.
    beyond = int(binom.ppf(1 - _CONFIDENCE, len(largest), _REFUSED)) - 1
    if beyond < 0:
        return _MARGIN * float(largest.max())
    return float(np.sort(largest)[len(largest) - 1 - beyond])


def _folds(features: Features, elements: _Array) -> _Array:
    """Deal structures to folds, those of one composition together if there are many of these."""
    kinds = features.numbers[:, None] == elements
    _, compositions = np.unique(features.summed(kinds), axis=0, return_inverse=True)
    groups = compositions.ravel()
    if groups.max() < 4 * _FOLDS:
        groups = np.arange(features.count)
    order = np.random.default_rng(0).permutation(int(groups.max()) + 1)
    return order[groups] % _FOLDS


def _regress(rows: _Array, values: _Array) -> tuple[_Array, float]:
    """Slopes, held back, and offset of a linear fit."""
    center, spread = rows.mean(axis=0), rows.std(axis=0)
    scaled = (rows - center) / np.where(spread > 1e-9, spread, np.inf)
    matrix = scaled.T @ scaled + _RIDGE * np.eye(rows.shape[1])
    slopes = np.linalg.solve(matrix, scaled.T @ (values - values.mean()))
    slopes = slopes / np.where(spread > 1e-9, spread, np.inf)
    return slopes, float(values.mean() - center @ slopes)


def _logarithms(errors: _Array) -> _Array:
    """Of absolute errors, of which the smallest are noise of the labels."""
    sizes = np.abs(errors)
    return np.log(sizes + 0.02 * max(float(np.median(sizes)), 1e-12))


def _scale(errors: _Array, uncertainties: _Array) -> float:
    """Logarithm of the factor by which uncertainties become standard deviations."""
    ratio = np.abs(errors) / uncertainties
    return float(np.log(max(float(np.quantile(ratio, _ONE_SIGMA)), 1e-12)))


@dataclass(frozen=True, eq=False)
class _Forces:
    """Fitted arrays by element, and what they give for the validation atoms."""

    slopes: _Array
    offsets: _Array
    bounds: _Array
    exponents: _Array
    uncertainty: _Array


def _fit_forces(
    vectors: _Array, kinds: _Array, elements: int, errors: _Array, fold: _Array
) -> _Forces:
    grades = np.maximum(np.linalg.norm(vectors, axis=1), 1e-6)
    targets = _logarithms(np.sqrt((errors**2).mean(axis=1)))
    everything = np.ones(len(kinds), bool)
    # Fits without a fold judge that fold; the last one is used.
    outside = np.zeros(len(kinds))
    for held in range(_FOLDS):
        fit = _force_fit(vectors, grades, kinds, elements, targets, fold != held)
        outside[fold == held] = _force_logarithms(vectors, grades, kinds, fit)[fold == held]
    fit = _force_fit(vectors, grades, kinds, elements, targets, everything)
    scale = _scale(errors.ravel(), np.exp(outside).repeat(3))
    slopes, offsets, bounds, exponents = fit
    fit = slopes, offsets + scale, bounds + scale, exponents
    return _Forces(*fit, np.exp(_force_logarithms(vectors, grades, kinds, fit)))


_ForceFit = tuple[_Array, _Array, _Array, _Array]


def _force_fit(
    vectors: _Array,
    grades: _Array,
    kinds: _Array,
    elements: int,
    targets: _Array,
    chosen: _Array,
) -> _ForceFit:
    slopes, offsets = np.zeros((elements, vectors.shape[1])), np.zeros(elements)
    bounds, exponents = np.zeros((elements, 2)), np.zeros(elements)
    for kind in range(elements):
        members = chosen & (kinds == kind)
        if not members.any():
            members = chosen
        rows = np.concatenate([vectors[members], np.log(grades[members])[:, None]], axis=1)
        fitted, offset = _regress(rows, targets[members])
        if fitted[-1] < 0:  # farther from what is known is never better
            fitted[:-1], offset = _regress(rows[:, :-1], targets[members])
            fitted[-1] = 0
        slopes[kind], exponents[kind], offsets[kind] = fitted[:-1], fitted[-1], offset
        linear = rows[:, :-1] @ slopes[kind] + offset
        bounds[kind] = np.quantile(linear, [0.005, 0.995])
    return slopes, offsets, bounds, exponents


def _force_logarithms(vectors: _Array, grades: _Array, kinds: _Array, fit: _ForceFit) -> _Array:
    slopes, offsets, bounds, exponents = fit
    linear = np.sum(vectors * slopes[kinds], axis=1) + offsets[kinds]
    linear = np.clip(linear, bounds[kinds, 0], bounds[kinds, 1])
    return linear + exponents[kinds] * np.log(grades)


def _columns(features: Features, elements: _Array) -> _Array:
    """Features and counts of the elements, summed over the atoms of each structure."""
    counts = (features.numbers[:, None] == elements).astype(np.float64)
    return features.summed(np.concatenate([features.values.astype(np.float64), counts], axis=1))


def _fit_energies(
    training: Features,
    validation: Features,
    elements: _Array,
    errors: _Array,
    force_uncertainty: _Array,
    fold: _Array,
) -> dict[str, _Array]:
    gram = _columns(training, elements)
    gram = gram.T @ gram
    gram += _GRAM_FLOOR * np.linalg.eigvalsh(gram)[-1] * np.eye(len(gram))
    factor = np.linalg.inv(np.linalg.cholesky(gram)).T
    sums = _columns(validation, elements)
    means = sums / validation.summed(np.ones(len(validation.numbers)))[:, None]
    rigidity = np.linalg.norm(sums @ factor, axis=1)
    local = np.sqrt(validation.summed(force_uncertainty**2))
    both = np.log(np.maximum(np.stack([rigidity, local], axis=1), 1e-6))
    targets = _logarithms(errors)

    outside = np.zeros(len(errors))
    for held in range(_FOLDS):
        fit = _energy_fit(both, means, targets, fold != held)
        outside[fold == held] = _energy_logarithms(both, means, fit)[fold == held]
    slopes, offset, bounds, exponents = _energy_fit(both, means, targets, np.ones(len(fold), bool))
    offset += _scale(errors, np.exp(outside))
    width = training.values.shape[1]
    slopes[width:] += offset  # shares of the elements add up to one
    return {
        "energy_factor": factor,
        "energy_slopes": slopes,
        "energy_bounds": bounds + offset,
        "energy_exponents": exponents,
    }


_EnergyFit = tuple[_Array, float, _Array, _Array]


def _energy_fit(both: _Array, means: _Array, targets: _Array, chosen: _Array) -> _EnergyFit:
    rows = np.concatenate([both, means], axis=1)[chosen]
    used = [0, 1]
    slopes, offset = _regress(rows, targets[chosen])
    while (slopes[: len(used)] < 0).any():  # less rigid is never better
        worst = int(np.argmin(slopes[: len(used)]))
        rows = np.delete(rows, worst, axis=1)
        del used[worst]
        slopes, offset = _regress(rows, targets[chosen])
    exponents = np.zeros(2)
    exponents[used] = slopes[: len(used)]
    slopes = slopes[len(used) :]
    bounds = np.quantile(means[chosen] @ slopes, [0.005, 0.995])
    return slopes, offset, bounds, exponents


def _energy_logarithms(both: _Array, means: _Array, fit: _EnergyFit) -> _Array:
    slopes, offset, bounds, exponents = fit
    return np.clip(means @ slopes, *bounds) + offset + both @ exponents
