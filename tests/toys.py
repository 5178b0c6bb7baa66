"""Toy models for tests: homes with tiny networks that need no training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import read

from efa_zoo.base.config import AttentionConfig, Coulomb, MessagePassingConfig, ModelConfig
from efa_zoo.models.hub.cards import Card, write_results
from efa_zoo.models.hub.records import DataSource, WeightsFile
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.potential import Potential
from efa_zoo.models.uncertainty.fitting import Features, fit_calibration
from efa_zoo.models.weights import named_arrays, save_weights
from efa_zoo.structures.domain import Domain
from efa_zoo.structures.graph import Graph, stack

TOY_ZOO_FILE = """\
# A network too small to be right about anything.
name = "{name}"
description = "A toy, never trained."

[model]
features = 4
iterations = 1
highest_atomic_number = 9
zero_output = false

[model.message_passing]
cutoff = 4.0  # Å
degree = 1
num_radial = 4

[model.attention]
evaluation = "exact"

[model.attention.kernel]
kind = "waves"

[model.attention.kernel.frequencies]
max_length = 20.0

[data]
name = "dimers"
level_of_theory = "none"

[training]
steps = 10
warmup_steps = 2
"""

TOY_DOMAIN = Domain(
    elements=("H", "C", "N", "O"), total_charges=(-1, 0, 1), max_distance=15.0, min_distance=0.6
)

TOY_REFERENCES = {"H": -10.7, "C": -50.25, "N": -70.5, "O": -100.125}


def make_recipe(home: Path, name: str, text: str = TOY_ZOO_FILE) -> Path:
    """Write the zoo file of an untrained toy into a home; returns the file."""
    zoo_file = home / "zoo" / f"{name}.toml"
    zoo_file.parent.mkdir(parents=True, exist_ok=True)
    zoo_file.write_text(text.format(name=name), encoding="utf-8")
    return zoo_file


def make_model(
    home: Path,
    name: str,
    *,
    domain: Domain = TOY_DOMAIN,
    references: Mapping[str, float] = TOY_REFERENCES,
    text: str = TOY_ZOO_FILE,
    seed: int = 0,
) -> Card:
    """Write a toy with random weights into a home."""
    zoo_file = make_recipe(home, name, text)
    network = EnergyModel(Card.from_toml(zoo_file).model, key=jax.random.key(seed))
    path = home / "pretrained" / f"{name}.safetensors"
    sha256 = save_weights(path, network, {"name": name})
    parameters = sum(array.size for array in named_arrays(network).values())
    return write_results(
        zoo_file,
        weights=WeightsFile(sha256=sha256, parameters=parameters, bytes=path.stat().st_size),
        domain=domain,
        reference_energies=references,
        metrics={"test": {"energy_mae": 0.001}},
        cost={"seconds": 1.5},
    )


def potential(model: ModelConfig) -> Potential:
    """A model with random weights that is in no home."""
    card = Card(
        name="small",
        description="Small.",
        model=model,
        data=DataSource(name="none", level_of_theory="none"),
        domain=dataclasses.replace(TOY_DOMAIN, max_distance=10.0),
        reference_energies=TOY_REFERENCES,
    )
    return Potential(network=EnergyModel(model, key=jax.random.key(0)), card=card)


def calibrated(model: Potential, atoms: Atoms, *, spread: float = 0.05) -> Potential:
    """A model that knows one molecule, distorted at random, and errs by random numbers."""
    random = np.random.default_rng(0)
    config = model.card.model
    graphs = stack(
        [
            Graph.from_arrays(
                atoms.numbers,
                atoms.positions + random.normal(scale=spread, size=(len(atoms), 3)),
                config.message_passing.cutoff,
            )
            for _ in range(160)
        ]
    )
    outputs = eqx.filter_jit(jax.vmap(lambda graph: model.network(graph)))(graphs)
    parts = []
    for rows in (slice(0, 80), slice(80, 160)):
        values = np.asarray(outputs.features[rows], np.float64)
        parts.append(
            Features(
                numbers=np.tile(atoms.numbers, len(values)),
                structure=np.arange(len(values)).repeat(len(atoms)),
                values=values.reshape(-1, config.features),
            )
        )
    training, validation = parts
    calibration = fit_calibration(
        training,
        validation,
        random.normal(scale=0.1, size=validation.count),
        random.normal(scale=0.2, size=(len(validation.numbers), 3)),
    )
    return dataclasses.replace(model, calibration=calibration)


def read_all(file: Path | str) -> list[Atoms]:
    """All structures of a file in the extended XYZ format."""
    frames = read(file, index=":", format="extxyz")
    assert isinstance(frames, list)
    return frames


def salt_potential(**options: Any) -> Potential:
    """A model of Na and Cl in cells, with random weights, that is in no home."""
    model = ModelConfig(
        features=4,
        iterations=1,
        highest_atomic_number=17,
        zero_output=False,
        repulsion=True,
        message_passing=MessagePassingConfig(cutoff=4.0, degree=0, num_radial=4),
        attention=AttentionConfig(
            kernel=Coulomb(widths=(1.5, 1.5)),
            tolerance=1e-3,
            query_key_features=2,
            value_features=2,
        ),
    )
    card = Card(
        name="salt",
        description="Small.",
        model=dataclasses.replace(model, **options),
        data=DataSource(name="none", level_of_theory="none"),
        domain=Domain(
            elements=("Na", "Cl"),
            total_charges=(0,),
            max_distance=20.0,
            min_distance=1.0,
            periodic_directions=(3,),
        ),
    )
    return Potential(network=EnergyModel(card.model, key=jax.random.key(3)), card=card)


def salt(seed: int = 1, repeat: tuple[int, int, int] = (1, 1, 1)) -> Atoms:
    """Rock salt, shaken and sheared."""
    atoms = bulk("NaCl", "rocksalt", a=5.7, cubic=True).repeat(repeat)
    atoms.set_cell(
        atoms.cell[:] @ np.array([[1, 0.02, 0], [0, 1.01, -0.03], [0.04, 0, 0.98]]),
        scale_atoms=True,
    )
    atoms.rattle(0.08, seed=seed)
    return atoms
