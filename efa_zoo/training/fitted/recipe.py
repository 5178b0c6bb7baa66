"""A zoo file that fits the data and a time, and the steps of fine-tuning that fit a time."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax
from jax.sharding import Mesh

from efa_zoo.base.config import TrainingConfig
from efa_zoo.base.errors import ConfigError
from efa_zoo.base.progress import ongoing
from efa_zoo.models.hub.recipes import prepare_recipe, write_recipe
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.training.data.reading import MAX_BUCKETS
from efa_zoo.training.fitted.choices import (
    batch_size_for,
    choose_model,
    choose_training,
    steps_within,
)
from efa_zoo.training.fitted.facts import DataFacts
from efa_zoo.training.fitted.timing import time_steps

if TYPE_CHECKING:
    from data_pipelines.structure import Structure

__all__ = ["finetuning_steps", "fitted_recipe"]

_logger = logging.getLogger(__name__)


def fitted_recipe(
    base: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    data: str,
    seconds: float,
    level_of_theory: str | None = None,
    overwrite: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
) -> Path:
    """Write a zoo file whose training fits a data set and takes about a given time here.

    The size of the network, its optimiser and the learning rate are those of the base. Cutoff,
    frequencies of attention, elements, batch, steps, warm-up, average of the weights and weight of
    the energies follow from the data; the file says why. A step is timed on this machine for it.

    Args:
        base: the model to start from, as `efa_zoo.load` takes it; it need not be trained.
        path: the file to write, `<name>.toml`.
        data: name of a data set that is built, such as `structures/my_data`.
        seconds: that training may take, with compiling and validation.
        level_of_theory: of the labels; None takes what is stored with the data set.
        overwrite: replace the file if there is one.
        data_dir: where data sets lie.

    Returns:
        The file. `efa_zoo.training.train` takes it.

    Raises:
        UnknownModelError: there is no such model.
        ConfigError: its zoo file is not valid; or `path` cannot be the name of one, or there is
            such a file; or the time is too short.
        DataError: the data set is missing or cannot be read.
    """
    path, card = prepare_recipe(
        base,
        path,
        data=data,
        level_of_theory=level_of_theory,
        overwrite=overwrite,
        data_dir=data_dir,
    )
    # Imported here: reading data needs packages that the library itself does not.
    from data_pipelines import load_split

    with ongoing(f"reading {data}", _logger):
        training = load_split(data, "train", data_dir=data_dir)
        validation = load_split(data, "validation", data_dir=data_dir)
        facts = DataFacts.of(training)
    _logger.info("%s", facts)
    model, reasons = choose_model(card.model, DataFacts.of([*training, *validation]))
    recipe = dataclasses.replace(
        card.training or TrainingConfig(), batch_size=batch_size_for(facts), isolated_share=0.0
    )
    network = EnergyModel(model, key=jax.random.key(recipe.seed))
    found = time_steps(network, recipe, training, validation, MAX_BUCKETS)
    fitted, more = choose_training(recipe, facts, found, seconds, recipe.seed)
    _logger.info("%d steps: %s", fitted.steps, more["training.steps"])
    card = dataclasses.replace(card, model=model, training=fitted)
    return write_recipe(path, card, base, {**reasons, **more})


def finetuning_steps(
    network: EnergyModel,
    config: TrainingConfig,
    training: Sequence[Structure],
    validation: Sequence[Structure],
    *,
    epoch: int,
    seconds: float,
    max_buckets: int,
    mesh: Mesh | None = None,
) -> int:
    """Choose the number of steps of a fine-tuning that takes about a given time here.

    Args:
        network: to start from.
        config: the recipe; its batch size counts.
        training: structures to learn from, replayed ones included.
        validation: structures to validate by, those of the base model's data included.
        epoch: number of structures that an epoch takes.
        seconds: that the run may take.
        max_buckets: shapes that batches are padded to.
        mesh: of the devices to deal molecules to; None is one.

    Returns:
        The number.

    Raises:
        ConfigError: the time is too short.
    """
    if seconds <= 0:
        raise ConfigError(f"time: got {seconds:g} s, expected a positive time")
    found = time_steps(network, config, training, validation, max_buckets, mesh)
    steps, why = steps_within(seconds, found, epoch, config.batch_size)
    _logger.info("%d steps: %s", steps, why)
    return steps
