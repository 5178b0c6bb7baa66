"""Calibrating a trained model: what its uncertainties and its known surroundings are told by."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import numpy as np

from efa_zoo.analysis.evaluation import evaluate
from efa_zoo.base.errors import DataError
from efa_zoo.models.energy import batch_energy_and_forces
from efa_zoo.models.hub.cards import Card, write_results
from efa_zoo.models.hub.records import CalibrationRecord, WeightsFile
from efa_zoo.models.hub.registry import find, load
from efa_zoo.models.inputs.batches import plan_batches
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.outputs import Outputs
from efa_zoo.models.uncertainty.calibration import Calibration, calibration_tensors
from efa_zoo.models.uncertainty.fitting import FEWEST, Features, fit_calibration
from efa_zoo.models.weights import named_arrays, save_weights
from efa_zoo.structures.elements import ATOMIC_NUMBERS
from efa_zoo.structures.graph import Graph, pack
from efa_zoo.structures.packing import padded_shape
from efa_zoo.training.covering import known_environments

if TYPE_CHECKING:
    from pathlib import Path

    from data_pipelines.files.options import FileOptions
    from data_pipelines.splitting import SplitOptions
    from data_pipelines.structure import Structure

__all__ = ["calibrate", "calibration_record", "fitted_calibration", "save_model"]

_logger = logging.getLogger(__name__)

#: Structures of training, and of validation, that are looked at.
_SAMPLE = 8_000

#: Structures with an element that a sample has, if there are as many.
_WITH_ELEMENT = 200


def fitted_calibration(
    network: EnergyModel,
    references: Mapping[int, float],
    training: Sequence[Structure],
    validation: Sequence[Structure],
    *,
    seed: int = 0,
) -> Calibration | None:
    """Fit a calibration to a network, by one pass over at most 8,000 structures of either kind.

    Args:
        network: the trained network.
        references: energies of the elements in eV by atomic number, which labels are relative to.
        training: what it was trained on.
        validation: what it was not trained on.
        seed: of the samples.

    Returns:
        The calibration; None where there are too few structures, which is logged.
    """
    if min(len(training), len(validation)) < FEWEST:
        _logger.info(
            "no uncertainty: got %d structures of training and %d of validation, expected at "
            "least %d of each to calibrate by",
            len(training),
            len(validation),
            FEWEST,
        )
        return None
    seen, _, _ = _look(network, _sample(training, seed))
    judged = _sample(validation, seed)
    features, energies, forces = _look(network, judged)
    from data_pipelines.labels.energies import relative_energies

    labels = relative_energies(judged, references)
    calibration = fit_calibration(
        seen,
        features,
        energies - labels,
        forces - np.concatenate([s.forces for s in judged]),
    )
    _logger.info("calibrated on %d structures of training", seen.count)
    return calibration


def _sample(structures: Sequence[Structure], seed: int) -> list[Structure]:
    """Draw structures, more where an element would be rare."""
    if len(structures) <= _SAMPLE:
        return list(structures)
    order = np.random.default_rng(seed).permutation(len(structures)).tolist()
    chosen = set(order[:_SAMPLE])
    present = [{int(z) for z in np.unique(s.atomic_numbers)} for s in structures]
    for element in sorted(set[int]().union(*present)):
        holding = [i for i in order if element in present[i]]
        chosen.update(holding[:_WITH_ELEMENT])
    return [structures[i] for i in sorted(chosen)]


def _look(
    network: EnergyModel, structures: Sequence[Structure]
) -> tuple[Features, np.ndarray, np.ndarray]:
    """Features, energies relative to the elements, and forces of all atoms."""
    cutoff, spin = network.config.message_passing.cutoff, network.config.spin_embedding
    molecules = [s.molecule(s.spin_multiplicity if spin else None) for s in structures]
    if not network.config.dipole_embedding:
        molecules = [dataclasses.replace(m, dipoles=None) for m in molecules]
    cells = any(m.cell is not None for m in molecules)
    reach = network.wave_reach if cells else 0.0
    sizes = {i: padded_shape(m, cutoff, reach)[1:] for i, m in enumerate(molecules)}
    values = [np.zeros(0)] * len(molecules)
    forces = [np.zeros(0)] * len(molecules)
    energies = np.zeros(len(molecules))
    for shape, members in plan_batches(sizes, (), network.evaluation_for):
        chosen = [molecules[i] for i in members]
        batch = pack(chosen, shape, reach=cutoff, wave_reach=reach)
        outputs = jax.device_get(_evaluate(network, batch))
        for row, i in enumerate(members):
            atoms = molecules[i].num_atoms
            values[i] = np.asarray(outputs.features[row, :atoms], np.float64)
            forces[i] = np.asarray(outputs.forces[row, :atoms], np.float64)
            energies[i] = np.sum(outputs.atomic_energies[row, :atoms], dtype=np.float64)
    counts = [molecule.num_atoms for molecule in molecules]
    features = Features(
        numbers=np.concatenate([molecule.numbers for molecule in molecules]),
        structure=np.repeat(np.arange(len(molecules)), counts),
        values=np.concatenate(values),
    )
    return features, energies, np.concatenate(forces)


@eqx.filter_jit
def _evaluate(network: EnergyModel, graphs: Graph) -> Outputs:
    return batch_energy_and_forces(network, graphs, features=True)


def save_model(
    path: Path, network: EnergyModel, calibration: Calibration | None, name: str
) -> WeightsFile:
    """Write a network and its calibration to one weights file.

    Args:
        path: the file.
        network: the network.
        calibration: its calibration, or None.
        name: of the model.

    Returns:
        What the card says of the file.
    """
    more = None if calibration is None else calibration_tensors(calibration)
    sha256 = save_weights(path, network, {"name": name}, more=more)
    return WeightsFile(
        sha256=sha256,
        parameters=sum(array.size for array in named_arrays(network).values()),
        bytes=path.stat().st_size,
    )


def calibration_record(
    data: str, training: Sequence[Structure], validation: Sequence[Structure]
) -> CalibrationRecord:
    """Tell on a card what a model was calibrated on.

    Args:
        data: name of the data.
        training: structures that it was trained on.
        validation: structures that it was not trained on.

    Returns:
        The record.
    """
    return CalibrationRecord(
        data=data,
        training=min(len(training), _SAMPLE),
        validation=min(len(validation), _SAMPLE),
    )


def calibrate(
    model: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    reading: FileOptions | None = None,
    splitting: SplitOptions | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> Card:
    """Calibrate a trained model anew; its weights file and card are written again.

    Training and fine-tuning do the same at their end. The network stays as it is.

    Args:
        model: what `efa_zoo.load` takes.
        data: file of labelled structures, or name of a data set; None takes the model's own. Its
            training part must be what the model was trained on.
        reading: names and units in a file.
        splitting: how a file is dealt to training and validation.
        data_dir: where data sets lie.

    Returns:
        The new card. Where the data are the model's own, its errors were measured anew too.

    Raises:
        DataError: the data are missing or too few, or the model was fine-tuned and no data are
            given.
        UnknownModelError, ConfigError, WeightsError: as for `efa_zoo.load`.
    """
    # Imported here: fine-tuning imports this module.
    from efa_zoo.training.data.finetuning import read_new

    potential, files = load(model), find(model)
    card = potential.card
    if data is None and card.fine_tuning is not None:
        raise DataError(
            f"data: got none, expected a file or a data set, because {card.name} was fine-tuned "
            "and does not store what it was trained on"
        )
    found = read_new(card.data.name if data is None else data, reading, splitting, None, data_dir)
    calibration = fitted_calibration(
        potential.network, _references(card), found.training, found.validation
    )
    if calibration is None:
        raise DataError(
            f"data: got {len(found.training)} structures of training and {len(found.validation)} "
            f"of validation, expected at least {FEWEST} of each"
        )
    weights = save_model(files.weights, potential.network, calibration, card.name)
    record = calibration_record(found.source.name, found.training, found.validation)
    assert card.domain is not None  # which a model with weights has
    known = known_environments(found.training, found.validation)
    card = write_results(
        files.zoo_file,
        weights=weights,
        calibration=record,
        domain=dataclasses.replace(card.domain, environments=known),
    )
    if data is None:
        metrics = evaluate(model, data_dir=data_dir).to_dict()
        card = write_results(files.zoo_file, metrics=metrics)
    return card


def _references(card: Card) -> dict[int, float]:
    return {ATOMIC_NUMBERS[element]: e for element, e in card.reference_energies.items()}
