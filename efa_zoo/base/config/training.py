"""Options of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from efa_zoo.base.config.tables import check, check_at_least, check_choice, check_positive

__all__ = ["TrainingConfig"]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a model is trained.

    Attributes:
        batch_size: molecules in a batch, at least 1.
        steps: number of optimiser steps, at least 1.
        learning_rate: peak learning rate, above 0.
        warmup_steps: steps of linear warm-up from zero, fewer than `steps`.
        final_learning_rate: learning rate at the end of the cosine decay, as a fraction of the
            peak, 0 to 1.
        optimizer: "adam", "adamw" or "muon" (maps between features by
            Muon, everything else by AdamW).
        weight_decay: decoupled weight decay (adamw and muon), at least 0.
        clip_norm: largest global norm of a gradient, above 0.
        average_decay: decay of the exponential moving average of the weights, 0 to below 1; 0
            switches it off.
        energy_weight: weight of the energy term, at least 0.
        force_weight: weight of the force term, at least 0; above 0 where `energy_weight` is 0.
        charge_weight: weight of the term of atomic charges, at least 0.
        dipole_weight: weight of the term of dipole moments, at least 0.
        stress_weight: weight of the term of stress in eV/Å³, at least 0. Stress is of the order of
            0.01 eV/Å³, so that it takes a large weight.
        loss: "huber" (of `huber_delta`) or "squared".
        huber_delta: width in units of the residual (eV, eV/Å, e, e·Å, eV/Å³), above 0.
        isolated_share: share of the molecules of an epoch that are isolated ones, every kind
            equally often, by repeating them, 0 to below 1; 0 takes the data as they are.
            Interaction energies are differences to isolated molecules, of which data sets of pairs
            hold few.
        frozen: parameters that keep their values, as patterns of the names in a weights file:
            `"embedding.*"`, `"interactions.0.*"`.
        body_rate: learning rate of everything but the readout (the parameters `readout` and
            `element_bias`), as a fraction of `learning_rate`, above 0 and up to 1.
        validation_interval: steps between validations and checkpoints, at least 1.
        patience: validations in a row without a better one after which training stops early, at
            least 1; None never stops early.
        seed: of initial weights and of the order of the batches, at least 0.
    """

    batch_size: int = 16
    steps: int = 100_000
    learning_rate: float = 1e-3
    warmup_steps: int = 1_000
    final_learning_rate: float = 0.001
    optimizer: Literal["adam", "adamw", "muon"] = "adam"
    weight_decay: float = 0.0
    clip_norm: float = 10.0
    average_decay: float = 0.999
    energy_weight: float = 1.0
    force_weight: float = 1.0
    charge_weight: float = 0.0
    dipole_weight: float = 0.0
    stress_weight: float = 0.0
    loss: Literal["huber", "squared"] = "huber"
    huber_delta: float = 0.05
    isolated_share: float = 0.0
    frozen: tuple[str, ...] = ()
    body_rate: float = 1.0
    validation_interval: int = 2_000
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for field in ("batch_size", "steps", "validation_interval"):
            check_at_least(field, getattr(self, field), 1)
        for field in ("warmup_steps", "seed"):
            check_at_least(field, getattr(self, field), 0)
        check(self.warmup_steps < self.steps, "warmup_steps", self.warmup_steps, "fewer than steps")
        for field in ("learning_rate", "clip_norm", "huber_delta"):
            check_positive(field, getattr(self, field))
        for field in (
            "weight_decay",
            "energy_weight",
            "force_weight",
            "charge_weight",
            "dipole_weight",
            "stress_weight",
        ):
            check_at_least(field, getattr(self, field), 0)
        check(
            self.energy_weight + self.force_weight > 0,
            "force_weight",
            self.force_weight,
            "a positive number where energy_weight is 0",
        )
        check(
            0 <= self.final_learning_rate <= 1,
            "final_learning_rate",
            self.final_learning_rate,
            "0 to 1, a fraction of learning_rate",
        )
        check(0 <= self.isolated_share < 1, "isolated_share", self.isolated_share, "0 to below 1")
        check(all(self.frozen), "frozen", self.frozen, "patterns that are not empty")
        check(0 < self.body_rate <= 1, "body_rate", self.body_rate, "above 0, up to 1")
        if self.patience is not None:
            check_at_least("patience", self.patience, 1)
        check(0 <= self.average_decay < 1, "average_decay", self.average_decay, "0 to below 1")
        check_choice("optimizer", self.optimizer, ("adam", "adamw", "muon"))
        check_choice("loss", self.loss, ("huber", "squared"))
        check(
            self.optimizer != "adam" or self.weight_decay == 0,
            "weight_decay",
            self.weight_decay,
            "0, because the optimizer adam has none",
        )
