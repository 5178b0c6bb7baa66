"""Training a model from its zoo file: data in, a loadable model out."""

from __future__ import annotations

import csv
import dataclasses
import logging
import os
import shutil
from pathlib import Path

import jax

from efa_zoo.analysis.evaluation import evaluate
from efa_zoo.base.errors import ConfigError, TrainingError
from efa_zoo.base.files import write_atomically
from efa_zoo.base.progress import ongoing
from efa_zoo.models.hub.cards import Card, write_results
from efa_zoo.models.hub.registry import find
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.parallel.devices import Devices, device_mesh
from efa_zoo.models.parallel.processes import is_first, wait_for_all
from efa_zoo.structures.elements import symbol
from efa_zoo.training.calibration import calibration_record, fitted_calibration, save_model
from efa_zoo.training.covering import covered_domain, known_environments
from efa_zoo.training.data.reading import Loader, read_data
from efa_zoo.training.loop import fit
from efa_zoo.training.reporting import Report

__all__ = ["train", "training_cost"]

_logger = logging.getLogger(__name__)


def train(
    name_or_path: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
    loader: Loader = "numpy",
    devices: Devices = 1,
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
        loader: "numpy" holds the batches in memory, "tensorflow" holds the structures and packs
            them through tf.data, "grain" holds neither: processes read them from disk. The batches
            are the same.
        devices: number of devices of each process to deal the molecules of a batch to, or "all";
            `join_processes` makes several processes one. Batches and their order do not depend on
            it, and a run may go on with another number.
        publish: also write weights and results beside the zoo file, into the zoo itself.

    Returns:
        The folder.

    Raises:
        ConfigError: the zoo file is not valid or has no recipe, or there are not so many devices.
        DataError: the data set is missing or cannot be read, or has an element that the network
            has no place for.
        TrainingError: the folder holds a run and `resume` is False, the loss is not finite,
            or another process was lost.
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

    config, mesh = card.training, device_mesh(devices)
    network = EnergyModel(card.model, key=jax.random.key(config.seed))
    data = read_data(card, config, loader, mesh, data_dir, lambda: network.wave_reach)
    report = Report(data.shapes)
    try:
        network, _ = fit(
            network, config, data.training, data.validation, directory, mesh=mesh, report=report
        )
    finally:
        data.close()
    if not is_first():
        wait_for_all("the model is written")
        return directory

    zoo_file = directory / f"{card.name}.toml"
    weights = directory / f"{card.name}.safetensors"
    shutil.copyfile(files.zoo_file, zoo_file)
    seen, held_back = data.sample(), data.held_back
    with ongoing("calibrating", _logger):
        calibration = fitted_calibration(
            network, data.references, seen, held_back, seed=config.seed
        )
    record = calibration_record(card.data.name, seen, held_back)
    write_results(
        zoo_file,
        weights=save_model(weights, network, calibration, card.name),
        calibration=None if calibration is None else record,
        domain=dataclasses.replace(
            covered_domain(data.witnesses, spin=card.model.spin_embedding),
            environments=known_environments(seen, held_back),
        ),
        reference_energies={symbol(z): energy for z, energy in data.references.items()},
        cost=training_cost(directory, mesh.size),
    )
    with ongoing("evaluating", _logger):
        metrics = evaluate(directory, data_dir=data_dir).to_dict()
    write_results(zoo_file, metrics=metrics)
    if publish:
        write_atomically(files.weights, weights.read_bytes())
        write_atomically(files.zoo_file, zoo_file.read_bytes())
    wait_for_all("the model is written")
    return directory


def training_cost(directory: Path, devices: int = 1) -> dict[str, float | int | str]:
    """What a run took.

    Args:
        directory: of a run with at least one validation.
        devices: how many it took.

    Returns:
        Steps, seconds and device, and the number of devices if there are several.
    """
    with (directory / "log.csv").open(newline="", encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    device = jax.devices()[0]
    return {
        "steps": int(last["step"]),
        "seconds": round(float(last["seconds"])),
        "device": f"{os.cpu_count()} CPU cores" if device.platform == "cpu" else device.device_kind,
        **({"devices": devices} if devices > 1 else {}),
    }
