"""A step is timed in one shape; what others cost follows from their sizes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.structure import Structure
from efa_zoo.base.config import MessagePassingConfig, ModelConfig, TrainingConfig
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.structures.batch import Batch
from efa_zoo.training.fitted import timing


def _chain(atoms: int) -> Structure:
    positions = np.zeros((atoms, 3))
    positions[:, 0] = np.arange(atoms)
    return Structure(
        atomic_numbers=np.ones(atoms, np.int32),
        positions=positions,
        energy=-1.0 * atoms,
        forces=np.zeros((atoms, 3)),
        total_charge=0,
    )


class Clock:
    """Each look takes as long as the step that came before it."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_times_follow_from_one_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, batches = Clock(), list[Batch]()

    def step(batch: Batch, state: Any, config: TrainingConfig, mesh: None) -> tuple[Any, jax.Array]:
        clock.now += 0.5 if batches else 20.0  # the first one is compiled
        batches.append(batch)
        return state, jnp.zeros(())

    monkeypatch.setattr(timing, "training_step", step)
    monkeypatch.setattr(timing, "time", clock)
    config = ModelConfig(
        features=4,
        iterations=1,
        highest_atomic_number=1,
        message_passing=MessagePassingConfig(cutoff=1.5, degree=0, num_radial=2),
    )
    found = timing.time_steps(
        EnergyModel(config, key=jax.random.key(0)),
        TrainingConfig(batch_size=2),
        [_chain(2)] * 6 + [_chain(8)] * 6,
        [_chain(8)] * 4,
        4,
    )
    # Of the two shapes the larger one is timed: two molecules of eight atoms.
    assert {batch.graph.atomic_numbers.shape for batch in batches} == {(2, 8)}
    assert len(batches) == 1 + 3
    assert found.compiling == 2 * 20.0
    # Work on an atom counts as eight neighbours; chains have one neighbour, or four with padding.
    small, large = 2 * (8 + 1), 8 * (8 + 4)
    assert found.step == pytest.approx(0.5 * (3 * small + 3 * large) / 6 / large)
    assert found.validating == pytest.approx(0.4 * 0.5 * 2)
