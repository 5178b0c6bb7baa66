"""What of a recipe follows from the data and from the time that there is, and why."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from efa_zoo.base.config import Coulomb, KernelConfig, ModelConfig, TrainingConfig
from efa_zoo.base.errors import ConfigError
from efa_zoo.base.progress import duration
from efa_zoo.structures.elements import symbol

if TYPE_CHECKING:
    from efa_zoo.training.fitted.facts import DataFacts
    from efa_zoo.training.fitted.timing import StepTime

__all__ = ["Choices", "batch_size_for", "choose_model", "choose_training", "steps_within"]

#: Cutoffs in Å that are chosen from, and how many distances of nearest neighbours they hold.
_SMALLEST_CUTOFF, _LARGEST_CUTOFF, _SHELLS = 4.0, 7.0, 2.8

#: Atoms in a batch, and structures in a batch by the number of structures there are.
_ATOMS_IN_BATCH = 2048
_BATCHES = ((200, 4), (2_000, 8))
_LARGEST_BATCH = 16

#: Passes over the data after which more steps gain little, and the most steps of a recipe.
_MOST_EPOCHS, _MOST_STEPS = 4_000, 200_000

#: Fewest steps that a schedule makes sense for.
_FEWEST_STEPS = 200

_VALIDATIONS = 25

#: Smallest weight of the energies beside forces of weight 1.
_LEAST_ENERGY = 0.05

#: Part of a run in which the learning rate rises, and that the average of the weights covers.
_WARM_UP, _AVERAGED = 1 / 40, 1 / 50

#: Compilations of a run in those of one training step: validation and evaluation compile less.
_COMPILATIONS = 2.0

#: What is left of the time for reading data and for a machine that is busy.
_USED = 0.9


@dataclass(frozen=True)
class Choices:
    """Options that were chosen.

    Attributes:
        model: architecture.
        training: recipe.
        reasons: why, by the option's dotted name in a zoo file.
    """

    model: ModelConfig
    training: TrainingConfig
    reasons: dict[str, str] = field(default_factory=dict)


def choose_model(base: ModelConfig, facts: DataFacts) -> tuple[ModelConfig, dict[str, str]]:
    """Fit an architecture to data; its size stays that of the base.

    Args:
        base: architecture to start from.
        facts: of all structures that the network is to know.

    Returns:
        The architecture, and the reasons by dotted name.
    """
    reasons: dict[str, str] = {}
    cutoff = min(max(_SHELLS * facts.spacing, _SMALLEST_CUTOFF), _LARGEST_CUTOFF)
    cutoff = math.ceil(2 * cutoff) / 2
    reasons["model.message_passing.cutoff"] = (
        f"{_SHELLS:g} times the distance to the nearest neighbour ({facts.spacing:.2f} Å for 90% "
        f"of the atoms), {_SMALLEST_CUTOFF:g} to {_LARGEST_CUTOFF:g} Å"
    )
    highest = max(facts.elements)
    reasons["model.highest_atomic_number"] = f"{symbol(highest)} is the heaviest element"
    changes: dict[str, object] = {"highest_atomic_number": highest}
    if len(facts.charges) > 1 and not base.charge_embedding:
        changes["charge_embedding"] = True
        reasons["model.charge_embedding"] = (
            f"charges from {min(facts.charges):+d} to {max(facts.charges):+d} occur"
        )
    if facts.excited and not base.spin_embedding:
        changes["spin_embedding"] = True
        reasons["model.spin_embedding"] = "multiplicities above the lowest occur"
    if base.zero_output:
        changes["zero_output"] = False
        reasons["model.zero_output"] = (
            "from zero, forces are learned late where energies hardly tell the structures apart"
        )
    if base.attention is not None:
        length = math.ceil(2 * 1.1 * max(facts.longest, cutoff)) / 2
        kernel = _kernel(base.attention.kernel, length, cutoff)
        why = f"the longest distance in the data is {facts.longest:.1f} Å; a tenth is added"
        if isinstance(kernel, Coulomb):
            reasons["model.attention.kernel.max_length"] = why
        else:
            reasons["model.attention.kernel.frequencies.max_length"] = why
            reasons["model.attention.kernel.frequencies.max_frequency"] = (
                "half of the shortest wave is as long as the cutoff: messages see what is closer"
            )
        changes["attention"] = dataclasses.replace(base.attention, kernel=kernel)
    message_passing = dataclasses.replace(base.message_passing, cutoff=cutoff)
    return dataclasses.replace(base, message_passing=message_passing, **changes), reasons


def _kernel(kernel: KernelConfig, length: float, cutoff: float) -> KernelConfig:
    if isinstance(kernel, Coulomb):
        return dataclasses.replace(kernel, max_length=length)
    frequencies = dataclasses.replace(
        kernel.frequencies,
        max_length=length,
        max_frequency=float(f"{math.pi * length / cutoff:.4g}"),
    )
    return dataclasses.replace(kernel, frequencies=frequencies)


def batch_size_for(facts: DataFacts) -> int:
    """Choose a number of structures in a batch: few where there are few, or where they are large.

    Args:
        facts: of the training structures.

    Returns:
        A power of two, at least 1.
    """
    size = next((batch for most, batch in _BATCHES if facts.count < most), _LARGEST_BATCH)
    while size > 1 and size * facts.most_atoms > _ATOMS_IN_BATCH:
        size //= 2
    return size


def choose_training(
    base: TrainingConfig, facts: DataFacts, time: StepTime, seconds: float, seed: int = 0
) -> tuple[TrainingConfig, dict[str, str]]:
    """Fit a training recipe to data and a time.

    Args:
        base: recipe to start from; optimiser, learning rate and kind of loss stay its own.
        facts: of the training structures.
        time: of a step of `batch_size_for(facts)` structures.
        seconds: that training may take on the machine that was timed.
        seed: of weights and order.

    Returns:
        The recipe, and the reasons by dotted name.

    Raises:
        ConfigError: the time is too short for any training.
    """
    batch, reasons = batch_size_for(facts), dict[str, str]()
    steps, why = steps_within(seconds, time, facts.count, batch)
    reasons["training.batch_size"] = (
        f"for {facts.count} structures of up to {facts.most_atoms} atoms"
    )
    reasons["training.steps"] = why
    warm_up = max(1, round(_WARM_UP * steps))
    reasons["training.warmup_steps"] = f"{_WARM_UP:.1%} of the steps"
    decay = min(0.999, float(f"{1 - 1 / (_AVERAGED * steps):.4f}"))
    reasons["training.average_decay"] = f"an average over about {_AVERAGED:.0%} of the steps"
    energies = 1.0
    if facts.energy_spread > 0 and facts.force_spread > 0:
        energies = min(max(facts.energy_spread / facts.force_spread, _LEAST_ENERGY), 1.0)
        energies = float(f"{energies:.2g}")
    reasons["training.energy_weight"] = (
        f"energies spread by {facts.energy_spread:.3g} eV and forces by "
        f"{facts.force_spread:.3g} eV/Å; a larger weight would drown the forces at first"
    )
    reasons["training.validation_interval"] = f"{_VALIDATIONS} validations"
    training = dataclasses.replace(
        base,
        batch_size=batch,
        steps=steps,
        warmup_steps=warm_up,
        average_decay=decay,
        energy_weight=energies,
        force_weight=1.0,
        isolated_share=0.0,
        validation_interval=max(1, steps // _VALIDATIONS),
        patience=None,
        seed=seed,
    )
    return training, reasons


def steps_within(
    seconds: float, time: StepTime, structures: int, batch_size: int
) -> tuple[int, str]:
    """Choose the number of steps that fits a time.

    Args:
        seconds: that training may take.
        time: of a step.
        structures: number of structures of an epoch.
        batch_size: structures in a batch.

    Returns:
        The number and the reason.

    Raises:
        ConfigError: the time is too short.
    """
    lost = _COMPILATIONS * time.compiling + _VALIDATIONS * time.validating
    possible = int((_USED * seconds - lost) / time.step)
    if possible < _FEWEST_STEPS:
        needed = (lost + _FEWEST_STEPS * time.step) / _USED
        raise ConfigError(
            f"time: got {duration(seconds)}, expected at least {duration(math.ceil(needed))}: "
            f"compiling and validating take {duration(lost)}, and a step {time.step:.2g} s"
        )
    enough = min(_MOST_STEPS, -(-_MOST_EPOCHS * structures // batch_size))
    steps = min(possible, max(enough, _FEWEST_STEPS))
    # Two digits say all that is known.
    digits = 10 ** max(0, len(str(steps)) - 2)
    steps = max(_FEWEST_STEPS, steps // digits * digits)
    spent = duration(lost + steps * time.step)
    if possible > enough:
        return steps, f"about {spent}; more passes over {structures} structures would gain little"
    return steps, (
        f"about {spent} of {duration(seconds)}: a step takes {time.step:.2g} s here, compiling and "
        f"validating {duration(lost)}"
    )
