"""Fine-tuning: a trained model goes on learning from other structures.

The base model's labels and the new ones may be on different scales of energy (another level of
theory, another zero). A model has one set of reference energies, so they become those of the new
scale, fitted only as far as the new data determine them; and the base model's data, where it is
replayed or validated by, is moved along: relative to the references its energies stay what they
were. Energy differences between structures of the same atoms, which is what chemistry is about, are
the same on both scales.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from efa_zoo.base.config import TrainingConfig
from efa_zoo.base.errors import ConfigError
from efa_zoo.models.hub.registry import find, load
from efa_zoo.models.parallel.devices import Devices, device_mesh
from efa_zoo.models.potential import Potential
from efa_zoo.training.checkpoints import steps_of_run
from efa_zoo.training.data.choosing import repeat_isolated
from efa_zoo.training.data.finetuning import check_elements, read_new, read_old, sample
from efa_zoo.training.data.references import choose_references
from efa_zoo.training.finetuned import (
    FineTuned,
    PartErrors,
    check_folder,
    model_name,
    weights_sha256,
    write_model,
)
from efa_zoo.training.fitted import finetuning_steps
from efa_zoo.training.loop import Reminder, fit, mean_errors
from efa_zoo.training.parameters import READOUT, trained_parameters
from efa_zoo.training.reporting import Report

if TYPE_CHECKING:
    from data_pipelines.files.options import FileOptions
    from data_pipelines.splitting import SplitOptions
    from data_pipelines.structure import Structure

__all__ = ["finetune", "finetuning_recipe"]

_logger = logging.getLogger(__name__)

#: Shapes that batches are padded to; each costs a compilation, which is most of a short run.
_MAX_BUCKETS = 3

#: By how much more energies count than in the base model's recipe. Few structures have many forces
#: but few energies, and what a model has to learn of far molecules shows in these.
_ENERGY_EMPHASIS = 2

#: Structures of the base model's validation data that each validation of the run looks at.
_REMINDED = 512


def finetuning_recipe(
    base: Potential, *, replay: float = 0.5, steps: int = 6_000, frozen: Sequence[str] = ()
) -> TrainingConfig:
    """The recipe that fine-tuning takes unless it is given another one.

    Args:
        base: the model to start from; the loss is that of its own recipe, but energies count
            twice as much beside forces.
        replay: share of the base model's training data.
        steps: number of steps, at least 20; warm-up and validations follow.
        frozen: patterns of parameters that keep their values.

    Returns:
        A recipe for a few hundred to a few thousand structures.

    Raises:
        ConfigError: a value is out of range, or a pattern matches no parameter or every one.
    """
    if steps < 20:
        raise ConfigError(f"steps: got {steps}, expected at least 20")
    old = base.card.training or TrainingConfig()
    recipe = TrainingConfig(
        batch_size=16,
        learning_rate=2e-3,
        final_learning_rate=0.01,
        optimizer="muon",  # after 1,000 steps better than Adam after 4,000
        average_decay=0.995,
        energy_weight=_ENERGY_EMPHASIS * old.energy_weight,
        force_weight=old.force_weight,
        loss=old.loss,
        huber_delta=old.huber_delta,
        isolated_share=old.isolated_share if replay > 0 else 0.0,
        frozen=tuple(frozen),
        patience=10,
        seed=0,
    )
    recipe = _of_length(recipe, steps)
    # A network of which only the readout learns has no body to hold back.
    trained = trained_parameters(base.network, recipe)
    return recipe if trained <= set(READOUT) else dataclasses.replace(recipe, body_rate=0.5)


def _of_length(recipe: TrainingConfig, steps: int) -> TrainingConfig:
    """Give a recipe a number of steps, at least 20, and warm-up and validations that belong to it.

    Args:
        recipe: of any length.
        steps: of the new one.
    """
    return dataclasses.replace(
        recipe, steps=steps, warmup_steps=steps // 40, validation_interval=steps // 20
    )


def finetune(
    name_or_path: str | os.PathLike[str],
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    recipe: TrainingConfig | None = None,
    seconds: float | None = None,
    replay: float = 0.5,
    references: Literal["keep", "refit"] | None = None,
    reading: FileOptions | None = None,
    splitting: SplitOptions | None = None,
    name: str | None = None,
    level_of_theory: str | None = None,
    resume: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
    devices: Devices = 1,
) -> FineTuned:
    """Let a trained model go on learning from other structures.

    Writes checkpoints and `log.csv` to the folder as it goes, and in the end the model,
    `<name>.toml` and `<name>.safetensors`, so that `efa_zoo.load(folder)` takes it. Its card says
    what it was made of, and its domain covers old and new structures. What was held back of a file
    lies beside it, so that `efa_zoo.analysis.evaluation.evaluate(folder)` needs no other.

    Args:
        name_or_path: the model to start from, as `efa_zoo.load` takes it.
        data: file of labelled structures, or name of a data set as training takes it.
        out: folder of the run and of the model.
        recipe: how to train; None takes `finetuning_recipe`. `frozen` and `body_rate` hold the
            body of the network back; `patience` ends the run early; `isolated_share` is that of
            the replayed structures.
        seconds: that training may take on this machine; sets steps, warm-up and validations, other
            than the recipe's. None takes the recipe's.
        replay: share of the structures of each epoch that come from the training data of the base
            model, or from its replay set where these are not built; it limits forgetting, and
            weighs that data in the choice of the best weights. 0 trains on the new structures
            alone.
        references: "keep" takes the energies of the elements from the base model: the new labels
            are on its scale. "refit" fits them to the new data. None decides by
            `level_of_theory` if that is given, else by the base model's error: above 0.1 eV per
            atom on average the scales differ.
        reading: key names and units of a file; None takes the defaults.
        splitting: how the structures of a file are dealt to training, validation and test; None
            takes the defaults.
        name: of the new model, None takes the name of the folder.
        level_of_theory: of the new labels, for the card; None takes the base model's where the
            reference energies are kept.
        resume: go on from the folder's last checkpoint; everything else must be as it was.
        data_dir: where data sets lie.
        devices: number of devices of this process to deal the molecules of a batch to, or "all", as
            of `train`.

    Returns:
        Errors before and after.

    Raises:
        UnknownModelError, WeightsError: as for `efa_zoo.load`.
        ConfigError: the recipe is not valid, or a part of it has no effect; or the folder holds
            another model; or there are not so many devices.
        DataError: the new data cannot be read or split, the network has no place for one of its
            elements, or the data to replay are missing and the base model has no replay set.
        TrainingError: the folder holds a run and `resume` is False, or a run with other data or
            options; or the loss is not finite.
    """
    potential = load(name_or_path)
    base, directory = potential.card, Path(out).expanduser()
    if not 0 <= replay < 1:
        raise ConfigError(f"replay: got {replay}, expected 0 to below 1")
    config = recipe or finetuning_recipe(potential, replay=replay)
    if config.isolated_share > 0 and replay == 0:
        raise ConfigError(
            f"isolated_share: got {config.isolated_share}, expected 0, because no data with "
            "isolated molecules are replayed"
        )
    trained_parameters(potential.network, config)
    new_name = model_name(directory) if name is None else name
    dataclasses.replace(base, name=new_name)  # refuses a wrong name
    check_folder(directory, new_name, resume)
    mesh = device_mesh(devices)

    new = read_new(data, reading, splitting, level_of_theory, data_dir)
    check_elements(new, base)
    refs = choose_references(potential, new.training, new.source.level_of_theory, references)
    old = read_old(base, find(name_or_path), replay, refs, data_dir)

    # Imported here: reading data needs packages that the library itself does not.
    from data_pipelines.batches.batching import BatchPlan, NumpyBatches
    from data_pipelines.batches.buckets import choose_buckets
    from data_pipelines.batches.neighborhoods import Neighborhoods
    from data_pipelines.batches.replay import Replay

    spin = base.model.spin_embedding
    cutoff = base.model.message_passing.cutoff
    neighborhoods = Neighborhoods(cutoff, lambda: potential.network.wave_reach)
    everything = [*new.structures, *old.training, *old.validation]
    buckets = choose_buckets(everything, neighborhoods, config.batch_size, _MAX_BUCKETS)

    def held_back(
        chosen: Sequence[Structure], energies: Mapping[int, float] = refs.new
    ) -> NumpyBatches:
        return NumpyBatches(
            BatchPlan(chosen, buckets, neighborhoods, shuffle=False, spin=spin), energies
        )

    pool = repeat_isolated(old.training, config.isolated_share)
    draw = Replay.of_share(len(new.training), len(pool), replay, config.seed) if pool else None
    training = BatchPlan(
        [*new.training, *pool], buckets, neighborhoods, seed=config.seed, draw=draw, spin=spin
    )
    reminded = sample(old.validation, _REMINDED, config.seed)
    if seconds is not None:
        steps = steps_of_run(directory) or finetuning_steps(
            potential.network,
            config,
            [*new.training, *pool],
            [*new.validation, *reminded],
            epoch=len(new.training) + (draw.drawn if draw else 0),
            seconds=seconds,
            max_buckets=_MAX_BUCKETS,
            mesh=mesh,
        )
        config = _of_length(config, steps)
    reminder = None
    if old.validation:
        reminder = Reminder(held_back(reminded), weight=replay)
    _logger.info(
        "%d structures to learn from%s",
        len(new.training),
        f", and with them in each epoch {draw.drawn} of {base.data.name}" if draw else "",
    )
    network, _ = fit(
        potential.network,
        config,
        NumpyBatches(training, refs.new),
        held_back(new.validation),
        directory,
        reminder=reminder,
        mesh=mesh,
        report=Report([use.bucket for use in training.report.uses if use.batches]),
        origin={
            "base": weights_sha256(base),
            "data": new.sha256 or new.source.name,
            "splits": new.source.splits,
            "reading": {} if reading is None else dataclasses.asdict(reading),
            "replay": replay,
            "replayed": len(old.training),
            "references": "refitted" if refs.refitted else "kept",
        },
    )

    parts = []
    for part, structures, before in (
        *((f"new, {split}", structures, refs.old) for split, structures in new.held_back.items()),
        (f"{base.data.name}, validation", old.validation, refs.new),
    ):
        if structures:
            as_before, batches = held_back(structures, before), held_back(structures)
            errors = PartErrors(
                part=part,
                count=len(structures),
                before=mean_errors(potential.network, as_before(0), mesh),
                refitted=mean_errors(potential.network, batches(0), mesh),
                after=mean_errors(network, batches(0), mesh),
            )
            parts.append(errors)
    made = FineTuned(directory=directory, name=new_name, refitted=refs.refitted, parts=tuple(parts))
    write_model(made, network, base, config, new, old, refs, replay, mesh.size)
    return made
