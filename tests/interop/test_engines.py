"""Other engines get what the calculator says; those that are not installed are skipped."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.socketio import SocketClient
from ase.io import write
from ase.md.verlet import VelocityVerlet
from toys import TOY_REFERENCES, potential, salt, salt_potential

from efa_zoo.base.config import (
    AttentionConfig,
    FrequencyConfig,
    MessagePassingConfig,
    ModelConfig,
    Waves,
)
from efa_zoo.base.errors import InputError
from efa_zoo.calculator import EFACalculator
from efa_zoo.interop.engines import energy_function, torch_sim_model
from efa_zoo.models.potential import Potential


@pytest.fixture(scope="module")
def model() -> Potential:
    config = ModelConfig(
        features=4,
        iterations=1,
        highest_atomic_number=9,
        zero_output=False,
        message_passing=MessagePassingConfig(cutoff=2.2, degree=1, num_radial=4),
        attention=AttentionConfig(
            evaluation="exact", kernel=Waves(frequencies=FrequencyConfig(max_length=12.0))
        ),
    )
    return potential(config)


def methanol(seed: int = 0) -> Atoms:
    atoms = molecule("CH3OH")
    atoms.rattle(0.05, seed=seed)
    return atoms


def reference(atoms: Atoms) -> float:
    return sum(TOY_REFERENCES[s] for s in atoms.get_chemical_symbols())


@pytest.fixture
def x64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@pytest.mark.usefixtures("x64")
def test_the_energy_function_is_the_calculator(model: Potential) -> None:
    atoms = methanol()
    atoms.calc = EFACalculator(model, charge=0)
    function = jax.jit(jax.value_and_grad(energy_function(model, atoms, charge=0, dtype="float64")))
    for seed in (1, 2):
        atoms.positions = methanol(seed).positions + 30  # anywhere
        energy, gradient = function(jnp.asarray(atoms.positions))
        assert float(energy) + reference(atoms) == pytest.approx(
            atoms.get_potential_energy(), abs=1e-9
        )
        np.testing.assert_allclose(-gradient, atoms.get_forces(), atol=1e-9)


@pytest.mark.usefixtures("x64")
def test_a_list_of_neighbors_replaces_all_pairs(model: Potential) -> None:
    """A list as JAX-MD has it, made here: where there is no neighbour, the number of atoms."""
    atoms = methanol()
    function = energy_function(model, atoms, charge=0, dtype="float64")
    distances = atoms.get_all_distances() + 10 * np.eye(len(atoms))
    near = [np.flatnonzero(row < 2.2).tolist() for row in distances]
    width = max(map(len, near)) + 1
    assert min(map(len, near)) < len(atoms) - 1  # not all pairs
    idx = np.asarray([row + [len(atoms)] * (width - len(row)) for row in near])
    positions = jnp.asarray(atoms.positions)
    neighbor = SimpleNamespace(idx=jnp.asarray(idx))
    assert float(function(positions, neighbor=neighbor)) == pytest.approx(
        float(function(positions, kT=0.1)), abs=1e-10
    )
    lonely = SimpleNamespace(idx=jnp.full_like(neighbor.idx, len(atoms)))
    assert abs(float(function(positions, neighbor=lonely) - function(positions))) > 1e-4


def test_what_the_energy_function_cannot_take_is_refused(model: Potential) -> None:
    with pytest.raises(InputError, match="cell: got a periodic structure"):
        energy_function(salt_potential(), salt())
    with pytest.raises(InputError, match="expected float32, because JAX's 64-bit mode is off"):
        energy_function(model, methanol(), charge=0, dtype="float64")


# JAX-MD 0.2 makes its lists of neighbours in int32, and fills them with int64 in the 64-bit mode.
@pytest.mark.filterwarnings("ignore:scatter inputs have incompatible types:FutureWarning")
@pytest.mark.usefixtures("x64")
def test_jax_md_takes_the_same_way(model: Potential) -> None:
    pytest.importorskip("jax_md", exc_type=ImportError)
    from jax_md import partition, simulate, space

    atoms = methanol()
    function = energy_function(model, atoms, charge=0, dtype="float64")
    displacement, shift = space.free()
    neighbors = partition.neighbor_list(
        displacement, 40.0, 2.2, 0.5, format=partition.NeighborListFormat.Dense,
        disable_cell_list=True,
    )  # fmt: skip
    start = jnp.asarray(atoms.positions)
    neighbor = neighbors.allocate(start)
    initial, step = simulate.nve(function, shift, 0.5 * units.fs)
    masses = jnp.asarray(atoms.get_masses())
    state = initial(jax.random.key(0), start, kT=0.0, mass=masses, neighbor=neighbor)
    step = jax.jit(step)
    for _ in range(10):
        neighbor = neighbor.update(state.position)
        state = step(state, neighbor=neighbor)
    atoms.calc = EFACalculator(model, charge=0)
    VelocityVerlet(atoms, 0.5 * units.fs).run(10)
    assert np.abs(atoms.positions - methanol().positions).max() > 1e-5
    np.testing.assert_allclose(state.position, atoms.positions, atol=1e-8)


def test_torch_sim_predicts_batches(model: Potential) -> None:
    pytest.importorskip("torch_sim", exc_type=ImportError)
    import torch
    import torch_sim

    frames = [methanol(0), molecule("H2O"), methanol(1)]
    adapted = torch_sim_model(model)
    state = torch_sim.initialize_state(frames, torch.device("cpu"), torch.float64)
    found: Any = adapted(state)
    forces = []
    for energy, atoms in zip(found["energy"].tolist(), frames, strict=True):
        atoms.calc = EFACalculator(model, charge=0)
        assert energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        forces.append(atoms.get_forces())
    np.testing.assert_allclose(found["forces"].numpy(), np.concatenate(forces), atol=1e-9)
    assert "stress" not in found
    ended: Any = torch_sim.integrate(
        frames[:1], adapted, n_steps=4, timestep=0.0005, temperature=0.0,
        integrator=torch_sim.nve,
    )  # fmt: skip
    assert torch.isfinite(ended.positions).all()


def test_torch_sim_predicts_cells() -> None:
    pytest.importorskip("torch_sim", exc_type=ImportError)
    import torch
    import torch_sim

    references = {"Na": 0.0, "Cl": 0.0}
    model = salt_potential()
    model = dataclasses.replace(
        model, card=dataclasses.replace(model.card, reference_energies=references)
    )
    atoms = salt()
    state = torch_sim.initialize_state([atoms], torch.device("cpu"), torch.float64)
    found = torch_sim_model(model)(state)
    atoms.calc = EFACalculator(model)
    np.testing.assert_allclose(found["forces"].numpy(), atoms.get_forces(), atol=1e-8)
    np.testing.assert_allclose(found["stress"][0].numpy(), atoms.get_stress(voigt=False), atol=1e-9)


_INPUT = """\
<simulation verbosity='quiet'>
  <output prefix='{prefix}'>
    <properties stride='1' filename='out'> [step, potential{{electronvolt}}] </properties>
    <trajectory stride='1' filename='for' format='xyz'> forces{{ev/ang}} </trajectory>
  </output>
  <total_steps>3</total_steps>
  <ffsocket name='efa' mode='unix' pbc='false'>
    <address>{address}</address> <latency>1e-3</latency>
  </ffsocket>
  <system>
    <initialize nbeads='1'>
      <file mode='ase'> {structure} </file>
    </initialize>
    <forces> <force forcefield='efa'/> </forces>
    <motion mode='dynamics'>
      <dynamics mode='nve'> <timestep units='femtosecond'> 0.5 </timestep> </dynamics>
    </motion>
  </system>
</simulation>
"""


def test_i_pi_is_served_by_the_calculator(model: Potential, tmp_path: Path) -> None:
    pytest.importorskip("ipi", exc_type=ImportError)
    atoms = methanol()
    atoms.set_cell(np.eye(3) * 50)
    write(tmp_path / "start.xyz", atoms, format="extxyz")
    address = f"efa_zoo_test_{os.getpid()}"
    text = _INPUT.format(prefix="run", address=address, structure="start.xyz")
    (tmp_path / "input.xml").write_text(text, encoding="utf-8")
    code = (
        "import sys; from ipi.utils.scripting import InteractiveSimulation as S; "
        "s = S(open('input.xml').read()); s.run(3)"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    place = Path(f"/tmp/ipi_{address}")
    try:
        for _ in range(600):
            if place.exists() or server.poll() is not None:
                break
            server_wait(server)
        atoms.calc = EFACalculator(model, charge=0)
        SocketClient(unixsocket=address).run(atoms, use_stress=False)
        output = server.communicate(timeout=120)[0]
    finally:
        server.kill()
        place.unlink(missing_ok=True)
    assert server.returncode == 0, output
    rows = np.loadtxt(tmp_path / "run.out")
    atoms = methanol()
    atoms.calc = EFACalculator(model, charge=0)
    assert rows[0, 1] == pytest.approx(atoms.get_potential_energy(), rel=1e-7)
    VelocityVerlet(atoms, 0.5 * units.fs).run(3)
    assert rows[3, 1] == pytest.approx(atoms.get_potential_energy(), rel=1e-7)


def server_wait(server: subprocess.Popen[str]) -> None:
    try:
        server.wait(timeout=0.1)
    except subprocess.TimeoutExpired:
        return


def test_openmm_takes_the_calculator(model: Potential) -> None:
    pytest.importorskip("openmmml", exc_type=ImportError)
    import openmm
    from openmm import app, unit
    from openmmml import MLPotential

    atoms = methanol()
    topology = app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    for symbol in atoms.get_chemical_symbols():
        topology.addAtom(symbol, app.Element.getBySymbol(symbol), residue)
    system = MLPotential("ase").createSystem(
        topology, calculator=EFACalculator(model, charge=0), info={"charge": 0}
    )
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.5 * unit.femtosecond), platform)
    context.setPositions(atoms.positions * unit.angstrom)
    state = context.getState(energy=True, forces=True)
    atoms.calc = EFACalculator(model, charge=0)
    per_mole = unit.AVOGADRO_CONSTANT_NA * unit.elementary_charge * unit.volt
    assert state.getPotentialEnergy() / per_mole == pytest.approx(
        atoms.get_potential_energy(), rel=1e-7
    )
    np.testing.assert_allclose(
        state.getForces(asNumpy=True) / (per_mole / unit.angstrom), atoms.get_forces(), atol=1e-6
    )
