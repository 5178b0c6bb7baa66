"""Training a model from its zoo file: data in, a loadable model out."""

from __future__ import annotations

import csv
import dataclasses
import logging
import os
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import jax
import numpy as np

from efa_zoo.analysis.evaluation import evaluate
from efa_zoo.base.errors import ConfigError, DataError, TrainingError
from efa_zoo.base.files import write_atomically
from efa_zoo.models.hub.cards import Card, WeightsFile, write_results
from efa_zoo.models.hub.registry import find
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.weights import named_arrays, save_weights
from efa_zoo.structures.distances import closest, farthest
from efa_zoo.structures.domain import Domain
from efa_zoo.structures.elements import symbol
from efa_zoo.training.loop import BatchSource, fit

if TYPE_CHECKING:
    from data_pipelines.structure import Structure

__all__ = ["covered_domain", "repeat_isolated", "require_places", "train", "training_cost"]

_logger = logging.getLogger(__name__)

#: Shapes that batches are padded to; each is compiled once.
_MAX_BUCKETS = 4


def train(
    name_or_path: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
    loader: Literal["numpy", "tensorflow"] = "numpy",
    publish: bool = False,
) -> Path:
    """Train a model by the recipe in its zoo file.

    Writes checkpoints and `log.csv` to the folder as it goes, and in the end the trained model,
    `<name>.toml` and `<name>.safetensors`, so that `efa_zoo.load(folder)` takes it.

    Args:
        name_or_path: a model in the zoo or a zoo file.
        out: folder of the run, default `runs/<name>`.
        resume: go on from the folder's last checkpoint.
        data_dir: where data sets lie.
        loader: "tensorflow" streams through tf.data; "numpy" holds the batches in memory. The
            batches are the same.
        publish: also write weights and results beside the zoo file, into the zoo itself.

    Returns:
        The folder.

    Raises:
        ConfigError: the zoo file is not valid or has no recipe.
        DataError: the data set is missing or cannot be read, or has an element that the network
            has no place for.
        TrainingError: the folder holds a run and `resume` is False, or the loss is not finite.
    """
    files = find(name_or_path)
    card = Card.from_toml(files.zoo_file)
    if card.training is None:
        raise ConfigError(f"{files.zoo_file}: no [training], expected a recipe to train by")
    if card.fine_tuning is not None:
        raise ConfigError(
            f"{files.zoo_file}: made by fine-tuning, expected a recipe to train from scratch "
            "(`efa-zoo new --from` makes one)"
        )
    directory = Path("runs") / card.name if out is None else Path(out)
    if not resume and (directory / "checkpoint.json").exists():
        raise TrainingError(
            f"{directory}: holds a run already, expected an empty folder or --resume"
        )

    # Imported here: reading data needs packages that the library itself does not.
    from data_pipelines import load_split
    from data_pipelines.batches.batching import BatchPlan, NumpyBatches
    from data_pipelines.batches.buckets import choose_buckets
    from data_pipelines.batches.neighborhoods import Neighborhoods
    from data_pipelines.batches.streaming import TensorFlowBatches
    from data_pipelines.labels.energies import fit_reference_energies

    config = card.training
    network = EnergyModel(card.model, key=jax.random.key(config.seed))
    neighborhoods = Neighborhoods(card.model.message_passing.cutoff, lambda: network.wave_reach)
    structures = load_split(card.data.name, "train", data_dir=data_dir)
    held_back = load_split(card.data.name, "validation", data_dir=data_dir)
    require_places(structures + held_back, card)
    references = fit_reference_energies(structures)
    buckets = choose_buckets(structures + held_back, neighborhoods, config.batch_size, _MAX_BUCKETS)

    def source(chosen: Sequence[Structure], shuffle: bool) -> BatchSource:
        plan = BatchPlan(
            chosen,
            buckets,
            neighborhoods,
            seed=config.seed,
            shuffle=shuffle,
            spin=card.model.spin_embedding,
        )
        _logger.info("%s", plan.report)
        if loader == "tensorflow":
            return TensorFlowBatches(plan, references)
        return NumpyBatches(plan, references)

    chosen = repeat_isolated(structures, config.isolated_share)
    network, _ = fit(network, config, source(chosen, True), source(held_back, False), directory)

    zoo_file = directory / f"{card.name}.toml"
    weights = directory / f"{card.name}.safetensors"
    shutil.copyfile(files.zoo_file, zoo_file)
    sha256 = save_weights(weights, network, {"name": card.name})
    write_results(
        zoo_file,
        weights=WeightsFile(
            sha256=sha256,
            parameters=sum(array.size for array in named_arrays(network).values()),
            bytes=weights.stat().st_size,
        ),
        domain=covered_domain(structures, spin=card.model.spin_embedding),
        reference_energies={symbol(z): energy for z, energy in references.items()},
        cost=training_cost(directory),
    )
    write_results(zoo_file, metrics=evaluate(directory, data_dir=data_dir).to_dict())
    if publish:
        write_atomically(files.weights, weights.read_bytes())
        write_atomically(files.zoo_file, zoo_file.read_bytes())
    return directory


def repeat_isolated(structures: Sequence[Structure], share: float) -> list[Structure]:
    """Repeat isolated molecules until they make up a share, every kind equally often.

    Args:
        structures: pairs and isolated molecules.
        share: of the result, 0 to below 1; 0 takes the structures as they are.

    Returns:
        Pairs first.

    Raises:
        ConfigError: a share is wanted, but there are no isolated molecules, or nothing else.
    """
    if share == 0:
        return list(structures)
    kinds: dict[str, list[Structure]] = defaultdict(list)
    pairs = []
    for structure in structures:
        if np.isnan(structure.separation) and structure.pair:
            kinds[structure.pair].append(structure)
        else:
            pairs.append(structure)
    if not kinds or not pairs:
        raise ConfigError(
            f"isolated_share: got {share}, expected 0, because the data do not hold both pairs and "
            "isolated molecules marked as such"
        )
    each = round(share / (1 - share) * len(pairs) / len(kinds))
    isolated = [kind[i % len(kind)] for kind in kinds.values() for i in range(each)]
    return pairs + isolated


def require_places(structures: Sequence[Structure], card: Card) -> None:
    """Refuse structures with elements, spins or distances that a network is not made for.

    Args:
        structures: labelled structures.
        card: of the network.

    Raises:
        DataError: an element is beyond `model.highest_atomic_number`, or a multiplicity is not the
            lowest and the network does not embed the spin.
        ConfigError: a distance is beyond what attention resolves.
    """
    highest = card.model.highest_atomic_number
    beyond = sorted({int(z) for s in structures for z in s.atomic_numbers if z > highest})
    if beyond:
        raise DataError(
            f"elements: got {', '.join(map(symbol, beyond))}, but the network of {card.name} has "
            f"places up to {symbol(highest)} only (model.highest_atomic_number = {highest})"
        )
    if not card.model.spin_embedding:
        lowest = (dataclasses.replace(s, multiplicity=0).spin_multiplicity for s in structures)
        excited = [
            s for s, low in zip(structures, lowest, strict=True) if s.multiplicity not in (0, low)
        ]
        if excited:
            raise DataError(
                f"multiplicity: got {excited[0].multiplicity}, expected the lowest of each "
                f"structure, because {card.name} does not take the spin (model.spin_embedding)"
            )
    lengths = [farthest(s.positions)[0] for s in structures if s.cell is None]
    card.check_reach(max(lengths, default=0.0))


def covered_domain(structures: Sequence[Structure], *, spin: bool = False) -> Domain:
    """Tell what structures cover; distances are rounded outwards to 0.1 Å.

    Args:
        structures: at least one.
        spin: whether the network embeds the spin.

    Returns:
        Their elements, charges, distances between atoms (the longest one is that of structures
        without a cell, and if there are none the longest lattice vector), periodic directions, and
        multiplicities with `spin`.
    """
    shortest, longest, vector = np.inf, 0.0, 0.0
    for structure in structures:
        if structure.cell is not None:
            found, *_ = closest(structure.positions, structure.cell, structure.pbc)
            shortest = min(shortest, found)
            vector = max(vector, float(np.linalg.norm(structure.cell, axis=1).max()))
        elif len(structure.positions) > 1:
            vectors = structure.positions[:, None] - structure.positions[None]
            distances = np.linalg.norm(vectors, axis=-1)[np.triu_indices(len(vectors), 1)]
            shortest = min(shortest, float(distances.min()))
            longest = max(longest, float(distances.max()))
    electrons = [int(s.atomic_numbers.sum()) - s.total_charge for s in structures]
    elements = sorted({int(z) for s in structures for z in s.atomic_numbers})
    return Domain(
        elements=tuple(symbol(z) for z in elements),
        total_charges=tuple(sorted({s.total_charge for s in structures})),
        max_distance=float(np.ceil((longest or vector) * 10) / 10),
        min_distance=float(np.floor(shortest * 10) / 10),
        closed_shell=all(count % 2 == 0 for count in electrons),
        multiplicities=tuple(sorted({s.spin_multiplicity for s in structures})) if spin else (),
        periodic_directions=tuple(sorted({sum(s.pbc) for s in structures})),
    )


def training_cost(directory: Path) -> dict[str, float | int | str]:
    """What a run took.

    Args:
        directory: of a run with at least one validation.

    Returns:
        Steps, seconds and device.
    """
    with (directory / "log.csv").open(newline="", encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    device = jax.devices()[0]
    return {
        "steps": int(last["step"]),
        "seconds": round(float(last["seconds"])),
        "device": f"{os.cpu_count()} CPU cores" if device.platform == "cpu" else device.device_kind,
    }
