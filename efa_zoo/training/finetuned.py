"""What fine-tuning made: errors before and after, and the folder of the model."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

from efa_zoo.analysis.evaluation import HELD_BACK_FILE
from efa_zoo.base.config import TrainingConfig
from efa_zoo.base.contracts import JSON
from efa_zoo.base.errors import ConfigError, TrainingError
from efa_zoo.models.hub.cards import Card, write_card
from efa_zoo.models.hub.records import FineTuning
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.structures.domain import Domain
from efa_zoo.structures.elements import ATOMIC_NUMBERS, symbol
from efa_zoo.training.calibration import calibration_record, fitted_calibration, save_model
from efa_zoo.training.covering import covered_domain, known_environments
from efa_zoo.training.data.finetuning import NewData, OldData
from efa_zoo.training.data.references import References
from efa_zoo.training.loop import Errors
from efa_zoo.training.run import training_cost

__all__ = ["FineTuned", "PartErrors", "check_folder", "model_name", "weights_sha256", "write_model"]


@dataclass(frozen=True, kw_only=True)
class PartErrors:
    """Errors before and after, on structures that were not trained on.

    Attributes:
        part: which structures.
        count: how many.
        before: of the base model as it is: `energy_mae`, `energy_rmse` (eV), `force_mae`,
            `force_rmse` (eV/Å).
        refitted: of the base model with the new reference energies; the same as `before` where
            they were kept.
        after: of the fine-tuned model. For the base model's data, energies are relative to the
            reference energies that belong to their labels.
    """

    part: str
    count: int
    before: Errors
    refitted: Errors
    after: Errors


@dataclass(frozen=True, kw_only=True)
class FineTuned:
    """What fine-tuning made.

    Attributes:
        directory: folder of the model, which `efa_zoo.load` takes.
        name: of the model.
        refitted: reference energies were fitted to the new data.
        parts: errors on the new validation and test structures, and on the validation structures
            of the base model's data if they are there.
    """

    directory: Path
    name: str
    refitted: bool
    parts: tuple[PartErrors, ...]

    def __str__(self) -> str:
        stages = ["before", "refitted", "after"] if self.refitted else ["before", "after"]
        wide = 10 * len(stages)
        lines = [
            self.name,
            f"{'':28}{'structures':>11}  {'energy MAE (meV)':^{wide}}  "
            f"{'force MAE (meV/Å)':^{wide}}".rstrip(),
            f"{'':28}{'':>11}  {''.join(f'{s:>10}' for s in stages)}  "
            f"{''.join(f'{s:>10}' for s in stages)}",
        ]
        for part in self.parts:
            columns = [
                "".join(f"{1e3 * getattr(part, stage)[key]:10.2f}" for stage in stages)
                for key in ("energy_mae", "force_mae")
            ]
            lines.append(f"{part.part:28}{part.count:11}  {'  '.join(columns)}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, JSON]:
        """Plain numbers in nested dictionaries, for JSON."""
        return {
            part.part: {
                "count": part.count,
                "before": part.before,
                "refitted": part.refitted,
                "after": part.after,
            }
            for part in self.parts
        }


def model_name(directory: Path) -> str:
    """Make a name of a model of its folder's."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", directory.resolve().name).lstrip("._-") or "finetuned"


def check_folder(directory: Path, name: str, resume: bool) -> None:
    """Refuse a folder with a run, unless it goes on, and one with another model's zoo file."""
    started = (directory / "checkpoint.json").exists()
    if started and not resume:
        raise TrainingError(
            f"{directory}: holds a run already, expected an empty folder or --resume"
        )
    own = {f"{name}.toml"} if started else set()
    others = sorted({file.name for file in directory.glob("*.toml")} - own)
    if others:
        raise ConfigError(f"{directory}: found {', '.join(others)}, expected no zoo file")


def weights_sha256(card: Card) -> str:
    """Return the hash of a model's weights, empty without weights."""
    return card.weights.sha256 if card.weights is not None else ""


def write_model(
    made: FineTuned,
    network: EnergyModel,
    base: Card,
    config: TrainingConfig,
    new: NewData,
    old: OldData,
    refs: References,
    replay: float,
    devices: int,
) -> None:
    """Write what was held back, the weights, and then the card that makes them valid."""
    if new.sha256:
        from data_pipelines.files.arrays import write_npz

        kept = [(s, split) for split, members in new.held_back.items() for s in members]
        structures, splits = zip(*kept, strict=True)
        write_npz(made.directory / HELD_BACK_FILE, structures, splits)
    weights = made.directory / f"{made.name}.safetensors"
    # Whatever is not replayed may be forgotten, and is not known any more.
    training = [*new.training, *old.training]
    validation = [*new.validation, *(old.validation if replay else ())]
    calibration = fitted_calibration(network, refs.new, training, validation, seed=config.seed)
    level = new.source.level_of_theory
    if not level:
        level = "unknown" if refs.refitted else base.data.level_of_theory
    limits = (
        f"Fine-tuned on {len(new.training)} structures of {new.source.name}"
        f"{'' if replay else ' alone, so that structures of the base model may be forgotten'}."
    )
    errors = {part.part: {"all": {"count": part.count, **part.after}} for part in made.parts}
    before = {part.part: {"all": {"count": part.count, **part.before}} for part in made.parts}
    card = Card(
        name=made.name,
        description=f"{base.name}, fine-tuned on {new.source.name}.",
        model=base.model,
        data=dataclasses.replace(new.source, level_of_theory=level),
        training=config,
        fine_tuning=FineTuning(
            base=base.name,
            base_sha256=weights_sha256(base),
            base_data=base.data.name,
            replay=replay,
            reference_energies="refitted" if refs.refitted else "kept",
            data_sha256=new.sha256,
            replayed=len(old.training),
        ),
        domain=dataclasses.replace(
            _union(base.domain, covered_domain(new.structures, spin=base.model.spin_embedding)),
            environments=known_environments(training, validation),
        ),
        reference_energies={symbol(z): energy for z, energy in refs.new.items()},
        weights=save_model(weights, network, calibration, made.name),
        calibration=(
            None
            if calibration is None
            else calibration_record(new.source.name, training, validation)
        ),
        metrics={**errors, "before fine-tuning": before},
        cost=training_cost(made.directory, devices),
        limits=f"{base.limits.strip()} {limits}".strip(),
    )
    write_card(made.directory / f"{made.name}.toml", card)


def _union(first: Domain | None, second: Domain) -> Domain:
    if first is None:
        return second
    elements = {*first.elements, *second.elements}
    return Domain(
        elements=tuple(sorted(elements, key=ATOMIC_NUMBERS.__getitem__)),
        total_charges=tuple(sorted({*first.total_charges, *second.total_charges})),
        max_distance=max(first.max_distance, second.max_distance),
        min_distance=min(first.min_distance, second.min_distance),
        closed_shell=first.closed_shell and second.closed_shell,
        multiplicities=tuple(sorted({*first.multiplicities, *second.multiplicities})),
        periodic_directions=tuple(
            sorted({*first.periodic_directions, *second.periodic_directions})
        ),
    )
