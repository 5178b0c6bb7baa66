"""Fine-tuning: a trained model goes on learning from other structures.

The base model's labels and the new ones may be on different scales of energy (another level of
theory, another zero). A model has one set of reference energies, so they become those of the new
scale, fitted only as far as the new data determine them; and the base model's data, where it is
replayed or validated by, is moved along: relative to the references its energies stay what they
were. Energy differences between structures of the same atoms, which is what chemistry is about, are
the same on both scales.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from efa_zoo.analysis.evaluation import HELD_BACK_FILE
from efa_zoo.base.config import TrainingConfig
from efa_zoo.base.contracts import JSON
from efa_zoo.base.errors import ConfigError, DataError, TrainingError
from efa_zoo.models.hub.cards import Card, DataSource, FineTuning, WeightsFile, write_card
from efa_zoo.models.hub.registry import load
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.potential import Potential
from efa_zoo.models.weights import named_arrays, save_weights, weights_hash
from efa_zoo.structures.domain import Domain
from efa_zoo.structures.elements import ATOMIC_NUMBERS, symbol
from efa_zoo.training.loop import Errors, Reminder, fit, mean_errors
from efa_zoo.training.parameters import READOUT, trained_parameters
from efa_zoo.training.references import References, choose_references
from efa_zoo.training.run import covered_domain, repeat_isolated, require_places, training_cost

if TYPE_CHECKING:
    from data_pipelines.files.options import FileOptions
    from data_pipelines.splitting import SplitOptions
    from data_pipelines.structure import Structure

__all__ = ["FineTuned", "PartErrors", "finetune", "finetuning_recipe"]

_logger = logging.getLogger(__name__)

#: Shapes that batches are padded to; each costs a compilation, which is most of a short run.
_MAX_BUCKETS = 3

#: By how much more energies count than in the base model's recipe. Few structures have many forces
#: but few energies, and what a model has to learn of far molecules shows in these.
_ENERGY_EMPHASIS = 2

#: Structures of the base model's validation data that each validation of the run looks at.
_REMINDED = 512


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
        steps=steps,
        learning_rate=2e-3,
        warmup_steps=steps // 40,
        final_learning_rate=0.01,
        optimizer="muon",  # after 1,000 steps better than Adam after 4,000
        average_decay=0.995,
        energy_weight=_ENERGY_EMPHASIS * old.energy_weight,
        force_weight=old.force_weight,
        loss=old.loss,
        huber_delta=old.huber_delta,
        isolated_share=old.isolated_share if replay > 0 else 0.0,
        frozen=tuple(frozen),
        validation_interval=steps // 20,
        patience=10,
        seed=0,
    )
    # A network of which only the readout learns has no body to hold back.
    trained = trained_parameters(base.network, recipe)
    return recipe if trained <= set(READOUT) else dataclasses.replace(recipe, body_rate=0.5)


def finetune(
    name_or_path: str | os.PathLike[str],
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    recipe: TrainingConfig | None = None,
    replay: float = 0.5,
    references: Literal["keep", "refit"] | None = None,
    reading: FileOptions | None = None,
    splitting: SplitOptions | None = None,
    name: str | None = None,
    level_of_theory: str | None = None,
    resume: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
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
        replay: share of the structures of each epoch that come from the training data of the base
            model, which must be built; it limits forgetting, and weighs that data in the choice of
            the best weights. 0 trains on the new structures alone.
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

    Returns:
        Errors before and after.

    Raises:
        UnknownModelError, WeightsError: as for `efa_zoo.load`.
        ConfigError: the recipe is not valid, or a part of it has no effect; or the folder holds
            another model.
        DataError: the new data cannot be read or split, the network has no place for one of its
            elements, or the data to replay are missing.
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
    model_name = _model_name(directory) if name is None else name
    dataclasses.replace(base, name=model_name)  # refuses a wrong name
    _check_folder(directory, model_name, resume)

    new = _read_new(data, reading, splitting, level_of_theory, data_dir)
    _check_elements(new, base)
    refs = choose_references(potential, new.training, new.source.level_of_theory, references)
    old = _read_old(base, replay, refs, data_dir)

    # Imported here: reading data needs packages that the library itself does not.
    from data_pipelines.batches.batching import BatchPlan, NumpyBatches
    from data_pipelines.batches.buckets import choose_buckets
    from data_pipelines.batches.neighborhoods import Neighborhoods
    from data_pipelines.batches.replay import Replay

    neighborhoods = Neighborhoods(base.model.message_passing.cutoff)
    everything = [*new.structures, *old.training, *old.validation]
    buckets = choose_buckets(everything, neighborhoods, config.batch_size, _MAX_BUCKETS)

    def held_back(
        chosen: Sequence[Structure], energies: Mapping[int, float] = refs.new
    ) -> NumpyBatches:
        return NumpyBatches(BatchPlan(chosen, buckets, neighborhoods, shuffle=False), energies)

    pool = repeat_isolated(old.training, config.isolated_share)
    draw = Replay.of_share(len(new.training), len(pool), replay, config.seed) if pool else None
    training = BatchPlan(
        [*new.training, *pool], buckets, neighborhoods, seed=config.seed, draw=draw
    )
    reminder = None
    if old.validation:
        some = _some(old.validation, _REMINDED, config.seed)
        reminder = Reminder(held_back(some), weight=replay)
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
        origin={
            "base": _hash(base),
            "data": new.sha256 or new.source.name,
            "splits": new.source.splits,
            "reading": {} if reading is None else dataclasses.asdict(reading),
            "replay": replay,
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
                before=mean_errors(potential.network, as_before(0)),
                refitted=mean_errors(potential.network, batches(0)),
                after=mean_errors(network, batches(0)),
            )
            parts.append(errors)
    made = FineTuned(
        directory=directory, name=model_name, refitted=refs.refitted, parts=tuple(parts)
    )
    _write(made, network, base, config, new, refs, replay)
    return made


# ---------------------------------------------------------------------------------------------
# Data


@dataclass(frozen=True)
class _New:
    """The new structures; `sha256` is that of their file, empty for a data set that is built."""

    source: DataSource
    sha256: str
    training: list[Structure]
    held_back: dict[str, list[Structure]]

    @property
    def validation(self) -> list[Structure]:
        return self.held_back["validation"]

    @property
    def structures(self) -> list[Structure]:
        return [*self.training, *(s for split in self.held_back.values() for s in split)]


@dataclass(frozen=True)
class _Old:
    """What the base model was trained on, as far as it is there and wanted."""

    training: list[Structure]
    validation: list[Structure]


def _read_new(
    data: str | os.PathLike[str],
    reading: FileOptions | None,
    splitting: SplitOptions | None,
    level_of_theory: str | None,
    data_dir: str | os.PathLike[str] | None,
) -> _New:
    from data_pipelines import BUILDERS
    from data_pipelines.files.reading import log_inspection, read_file
    from data_pipelines.splitting import SplitOptions, deal

    if isinstance(data, str) and data.partition("/")[0] in BUILDERS:
        options = {
            "reading": reading,
            "splitting": splitting,
            "level_of_theory": level_of_theory,
        }
        for field, value in options.items():
            if value is not None:
                raise DataError(f"{field}: got {value}, expected none for the data set {data}")
        return _read_built(data, data_dir)
    path, how = Path(data).expanduser(), splitting or SplitOptions()
    contents = read_file(path, reading, split_key=how.split_key)
    members = deal(
        contents.structures,
        how,
        given=contents.splits,
        duplicates=contents.inspection.duplicates,
    )
    log_inspection(path, contents.inspection)
    parts = {split: [contents.structures[i] for i in chosen] for split, chosen in members.items()}
    counts = ", ".join(f"{len(structures)} {split}" for split, structures in parts.items())
    way = "by the file" if how.split_key else f"by seed {how.split_seed}"
    source = DataSource(
        name=path.name, level_of_theory=level_of_theory or "", splits=f"{counts} ({way})"
    )
    return _New(source, weights_hash(path), parts.pop("train"), parts)


def _read_built(name: str, data_dir: str | os.PathLike[str] | None) -> _New:
    from data_pipelines import load_split, metadata

    level = str(metadata(name, data_dir=data_dir).get("level_of_theory", ""))
    training = load_split(name, "train", data_dir=data_dir)
    held_back = {"validation": load_split(name, "validation", data_dir=data_dir)}
    for split in ("test", "transfer"):
        with contextlib.suppress(DataError):
            held_back[split] = load_split(name, split, data_dir=data_dir)
    return _New(DataSource(name=name, level_of_theory=level), "", training, held_back)


def _check_elements(new: _New, base: Card) -> None:
    require_places(new.structures, base)
    present = {int(z) for s in new.structures for z in s.atomic_numbers}
    trained = {int(z) for s in new.training for z in s.atomic_numbers}
    unseen = present - trained - {ATOMIC_NUMBERS[s] for s in base.reference_energies}
    if unseen:
        raise DataError(
            f"elements: {', '.join(map(symbol, sorted(unseen)))} is in no structure to learn from, "
            "expected another split or more structures"
        )


def _read_old(
    base: Card, replay: float, refs: References, data_dir: str | os.PathLike[str] | None
) -> _Old:
    """The base model's data on the new scale of energy."""
    from data_pipelines import load_split
    from data_pipelines.labels.energies import move_to_references

    name = base.data.name
    try:
        validation = load_split(name, "validation", data_dir=data_dir)
        training = load_split(name, "train", data_dir=data_dir) if replay > 0 else []
    except DataError as error:
        if replay > 0:
            raise DataError(
                f"replay: got {replay}, which needs the data of {base.name} (0 does without): "
                f"{error}"
            ) from error
        _logger.info("what is forgotten of the data of %s is not measured: %s", base.name, error)
        return _Old([], [])
    return _Old(*(move_to_references(s, refs.old, refs.new) for s in (training, validation)))


def _some(structures: list[Structure], count: int, seed: int) -> list[Structure]:
    if len(structures) <= count:
        return structures
    chosen = np.random.default_rng(seed).choice(len(structures), count, replace=False)
    return [structures[i] for i in np.sort(chosen).tolist()]


# ---------------------------------------------------------------------------------------------
# The folder


def _model_name(directory: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", directory.resolve().name).lstrip("._-") or "finetuned"


def _check_folder(directory: Path, name: str, resume: bool) -> None:
    started = (directory / "checkpoint.json").exists()
    if started and not resume:
        raise TrainingError(
            f"{directory}: holds a run already, expected an empty folder or --resume"
        )
    own = {f"{name}.toml"} if started else set()
    others = sorted({file.name for file in directory.glob("*.toml")} - own)
    if others:
        raise ConfigError(f"{directory}: found {', '.join(others)}, expected no zoo file")


def _hash(card: Card) -> str:
    return card.weights.sha256 if card.weights is not None else ""


def _write(
    made: FineTuned,
    network: EnergyModel,
    base: Card,
    config: TrainingConfig,
    new: _New,
    refs: References,
    replay: float,
) -> None:
    """Write what was held back, the weights, and then the card that makes them valid."""
    if new.sha256:
        from data_pipelines.files.arrays import write_npz

        kept = [(s, split) for split, members in new.held_back.items() for s in members]
        structures, splits = zip(*kept, strict=True)
        write_npz(made.directory / HELD_BACK_FILE, structures, splits)
    weights = made.directory / f"{made.name}.safetensors"
    sha256 = save_weights(weights, network, {"name": made.name})
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
            base_sha256=_hash(base),
            base_data=base.data.name,
            replay=replay,
            reference_energies="refitted" if refs.refitted else "kept",
            data_sha256=new.sha256,
        ),
        domain=_union(base.domain, covered_domain(new.structures)),
        reference_energies={symbol(z): energy for z, energy in refs.new.items()},
        weights=WeightsFile(
            sha256=sha256,
            parameters=sum(array.size for array in named_arrays(network).values()),
            bytes=weights.stat().st_size,
        ),
        metrics={**errors, "before fine-tuning": before},
        cost=training_cost(made.directory),
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
    )
