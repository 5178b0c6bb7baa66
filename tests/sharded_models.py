"""Program that compares networks on eight devices with one; run by `models/test_parallel.py`.

It prints the largest difference of each quantity, relative to the largest value of its kind.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from regression import make_batch
from toys import TOY_ZOO_FILE, make_model, potential

import efa_zoo
from data_pipelines.files.extxyz import write_extxyz
from data_pipelines.structure import Structure
from efa_zoo.base.config import (
    AttentionConfig,
    FrequencyConfig,
    MessagePassingConfig,
    ModelConfig,
    TrainingConfig,
    Waves,
)
from efa_zoo.base.errors import InputError
from efa_zoo.models.energy import Network, energy_and_forces
from efa_zoo.models.inference import PredictionStream, predict
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.parallel.atoms import AtomSharded, atom_mesh, place_atoms
from efa_zoo.models.parallel.devices import device_mesh, place, replicate
from efa_zoo.structures.graph import Graph
from efa_zoo.training import finetune, finetuning_recipe
from efa_zoo.training.fitted import time_steps
from efa_zoo.training.loss import batch_loss_and_gradient

_DEVICES = 8
_ATOMS = 45  # no multiple of the number of devices


def _model(iterations: int, evaluation: str) -> EnergyModel:
    attention = AttentionConfig(
        kernel=Waves(frequencies=FrequencyConfig(max_length=12.0)),
        evaluation=evaluation,
        tolerance=1e-3,
    )
    config = ModelConfig(
        features=2,
        iterations=iterations,
        highest_atomic_number=9,
        message_passing=MessagePassingConfig(cutoff=3.0, degree=1, num_radial=2),
        attention=attention,
        charge_embedding=True,
        atomic_charges=True,
        atomic_dipoles=iterations > 1,
        repulsion=True,
        zero_output=False,
    )
    return EnergyModel(config, key=jax.random.key(0))


def _system(dtype: Any) -> Graph:
    rng = np.random.default_rng(0)
    places = np.stack(np.meshgrid(*[np.arange(4.0)] * 3), axis=-1).reshape(-1, 3)[:_ATOMS]
    positions = 1.4 * places + rng.normal(scale=0.1, size=places.shape)
    numbers = rng.choice([1, 6, 8], _ATOMS)
    return Graph.from_arrays(numbers, positions, 3.0, total_charge=1, dtype=dtype)


def _differences(one: Any, other: Any) -> float:
    """The largest difference of two trees, relative to the largest value of each leaf."""
    found = [0.0]
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        a, b = np.asarray(a), np.asarray(b)[: len(a)] if np.ndim(a) else np.asarray(b)
        found.append(float(np.max(np.abs(a - b)) / max(float(np.max(np.abs(a))), 1e-3)))
    return max(found)


def _flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


@eqx.filter_jit
def _outputs_and_gradient(network: Network, graph: Graph) -> Any:
    """What a network gives, and the gradient of a loss of it with respect to all weights."""

    def loss(network: Network) -> Any:
        outputs = energy_and_forces(network, graph)
        errors = (outputs.energy / 30, outputs.forces, outputs.dipole)
        return sum(jnp.sum(error**2) for error in errors), outputs

    return eqx.filter_grad(loss, has_aux=True)(network)


def large_system(network: EnergyModel) -> dict[str, float]:
    """One molecule, its atoms dealt to all devices."""
    mesh, graph = atom_mesh(), _system(network.readout.dtype)
    assert mesh.size == _DEVICES
    gradient, one = _outputs_and_gradient(network, graph)
    sharded = AtomSharded(network, mesh)
    try:
        sharded(graph)  # not padded
    except InputError as error:
        assert "got 45 atoms, expected a multiple of 8" in str(error)
    of_sharded, several = _outputs_and_gradient(sharded, place_atoms(graph, mesh))
    assert several.forces.sharding.spec[0] == mesh.axis_names[0]
    return {
        "energy": _differences(one.energy, several.energy),
        "forces": _differences(one.forces, several.forces),
        "charges": _differences(one.charges, several.charges),
        "dipole": _differences(one.dipole, several.dipole),
        "gradient": _differences(_flat(gradient), _flat(of_sharded)),
    }


def training_batch() -> dict[str, float]:
    """A batch, its molecules dealt to all devices."""
    network, mesh, config = _model(1, "exact"), device_mesh(), TrainingConfig()
    batch = make_batch(0, molecules=10, empty=1)
    step = eqx.filter_jit(batch_loss_and_gradient)
    one = step(network, batch, config)
    several = step(replicate(network, mesh), place(batch, mesh), config, mesh)
    return {
        "loss": _differences(one[0], several[0]),
        "gradient": _differences(_flat(one[1]), _flat(several[1])),
    }


def predictions() -> dict[str, float]:
    """Structures of several sizes, predicted on all devices in their order."""
    model = potential(
        ModelConfig(
            features=2,
            iterations=1,
            message_passing=MessagePassingConfig(cutoff=3.0, degree=0, num_radial=2),
            zero_output=False,
        )
    )
    rng = np.random.default_rng(1)
    structures = []
    for number in range(21):
        atoms = 3 + 6 * (number % 2)
        places = 0.6 * np.arange(atoms)[:, None] + rng.normal(scale=0.1, size=(atoms, 3))
        structures.append(Graph.from_arrays([8, 1, 1] * (atoms // 3), places, 3.0))
    one, several = (
        predict(model, structures, multiplicity=1, devices=devices) for devices in (1, "all")
    )
    stream = PredictionStream(model, structures[:9], multiplicity=1, devices="all", window=4)
    energies = [[p.energy for p in found] for found in (one, several, [*stream, *one[9:]])]
    forces = [[p.forces for p in found] for found in (one, several)]
    return {
        "energies": _differences(np.array(energies[0]), np.array(energies[1])),
        "streamed energies": _differences(np.array(energies[0]), np.array(energies[2])),
        "forces": _differences(*forces),
    }


def finetuning(place: Path) -> dict[str, float]:
    """A model fine-tuned on a few structures; a step is timed on all devices as well."""
    before, _, after = TOY_ZOO_FILE.partition("[model.attention]")
    make_model(place, "toy", text=f"{before}[data]{after.partition('[data]')[2]}")
    os.environ["EFA_ZOO_HOME"] = str(place)
    base, file = "toy", place / "new.extxyz"
    rng = np.random.default_rng(2)
    water = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    numbers = np.array([8, 1, 1], np.int32)
    pulls = 0.05 * rng.normal(size=(30, 3, 3))
    structures = [
        Structure(
            atomic_numbers=numbers,
            positions=water + pull,
            energy=-121.5 + 2 * float(np.sum(pull**2)),
            forces=-4 * pull,
            total_charge=0,
        )
        for pull in pulls
    ]
    write_extxyz(file, structures)
    network = efa_zoo.load(base).network
    config = finetuning_recipe(efa_zoo.load(base), replay=0.0, steps=20)
    found = [
        finetune(base, file, place / name, recipe=config, replay=0.0, devices=devices)
        for name, devices in (("one", 1), ("several", "all"))
    ]
    assert "devices" not in efa_zoo.card(found[0].directory).cost
    assert efa_zoo.card(found[1].directory).cost["devices"] == _DEVICES
    times = time_steps(network, config, structures, structures, 1, device_mesh())
    assert times.step > 0
    errors = [np.array([[*p.before.values(), *p.after.values()] for p in f.parts]) for f in found]
    assert not np.allclose(errors[0][:, :4], errors[0][:, 4:], rtol=1e-2)
    return {"errors": _differences(*errors)}


def main() -> None:
    """Print the differences."""
    assert jax.device_count() == _DEVICES
    with tempfile.TemporaryDirectory() as place:
        tuned = finetuning(Path(place))
    found = {
        "finetuning": tuned,
        "predictions": predictions(),
        "batch": training_batch(),
        "exact, float32": large_system(_model(1, "exact")),
    }
    jax.config.update("jax_enable_x64", True)
    found["quadrature, float64"] = large_system(_model(2, "quadrature"))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
