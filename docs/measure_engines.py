"""Time a step of molecular dynamics in every engine that is installed; prints the rows of a table.

    python docs/measure_engines.py

For docs/howto/engines.md. Two water molecules, float32, velocity Verlet of 0.5 fs; CPU time of this
process and those it started, so that other work on the machine does not count.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import ase.io
import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms, units
from ase.calculators.socketio import SocketClient
from ase.md.verlet import VelocityVerlet

import efa_zoo
from efa_zoo.calculator import EFACalculator
from efa_zoo.interop.engines import energy_function, torch_sim_model
from efa_zoo.simulation import DynamicsConfig, run_dynamics

MODEL = "mpnn_efa_dimers"
STEPS = 300

#: i-PI as a server of its own, which ASE's client connects to.
_SERVER = """
from ipi.utils.scripting import InteractiveSimulation
InteractiveSimulation('''
<simulation verbosity='quiet'>
  <output prefix='run'> <properties stride='1000' filename='out'> [step] </properties> </output>
  <ffsocket name='efa' mode='unix' pbc='false'>
    <address>{address}</address> <latency>1e-4</latency>
  </ffsocket>
  <system>
    <initialize nbeads='1'> <file mode='ase'> start.xyz </file> </initialize>
    <forces> <force forcefield='efa'/> </forces>
    <motion mode='dynamics'>
      <dynamics mode='nve'> <timestep units='femtosecond'> 0.5 </timestep> </dynamics>
    </motion>
  </system>
</simulation>''').run({steps})
"""


def water() -> Atoms:
    """Two water molecules."""
    atoms = ase.io.read(efa_zoo.example("water_dimer"))
    assert isinstance(atoms, Atoms)
    return atoms


def own() -> Callable[[int], object]:
    """Steps of `efa-zoo md`."""

    def steps(count: int) -> None:
        config = DynamicsConfig(engine="compiled", steps=count, interval=100, temperature=100.0)
        with tempfile.TemporaryDirectory() as folder:
            run_dynamics(MODEL, water(), config, Path(folder) / "md.extxyz", dtype="float32")

    return steps


def of_ase() -> Callable[[int], object]:
    """Steps of ASE's velocity Verlet."""
    atoms = water()
    atoms.calc = EFACalculator(MODEL, dtype="float32")
    return VelocityVerlet(atoms, 0.5 * units.fs).run


def of_jax_md() -> Callable[[int], object]:
    """Steps of JAX-MD in one compiled loop."""
    from jax_md import simulate, space

    atoms = water()
    function = energy_function(MODEL, atoms)
    initial, step = simulate.nve(function, space.free()[1], 0.5 * units.fs)
    masses = jnp.asarray(atoms.get_masses(), jnp.float32)
    state = initial(jax.random.key(0), jnp.asarray(atoms.positions), kT=0.0, mass=masses)
    loop = jax.jit(lambda state, count: jax.lax.fori_loop(0, count, lambda _, s: step(s), state))
    return lambda count: jax.block_until_ready(loop(state, count).position)


def of_torch_sim(systems: int) -> Callable[[int], object]:
    """Steps of TorchSim, for one system."""
    import torch_sim

    model = torch_sim_model(MODEL, dtype="float32")
    frames = [water() for _ in range(systems)]
    return lambda count: torch_sim.integrate(
        frames, model, n_steps=count, timestep=0.0005, temperature=0.0, integrator=torch_sim.nve
    )


def of_openmm() -> Callable[[int], object]:
    """Steps of OpenMM through OpenMM-ML."""
    import openmm
    from openmm import app, unit
    from openmmml import MLPotential

    atoms, topology = water(), app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    for symbol in atoms.get_chemical_symbols():
        topology.addAtom(symbol, app.Element.getBySymbol(symbol), residue)
    calculator = EFACalculator(MODEL, charge=0, dtype="float32")
    system = MLPotential("ase").createSystem(topology, calculator=calculator)
    platform = openmm.Platform.getPlatformByName("Reference")
    integrator = openmm.VerletIntegrator(0.5 * unit.femtosecond)
    context = openmm.Context(system, integrator, platform)
    context.setPositions(atoms.positions * unit.angstrom)
    return lambda count: context.getIntegrator().step(count)


def of_i_pi() -> Callable[[int], object]:
    """Steps of i-PI, with ASE's client for forces."""
    calculator = EFACalculator(MODEL, charge=0, dtype="float32")

    def steps(count: int) -> None:
        atoms = water()
        atoms.set_cell(50 * np.eye(3))
        address = f"efa_zoo_{os.getpid()}_{count}"
        place = Path(f"/tmp/ipi_{address}")
        with tempfile.TemporaryDirectory() as folder:
            ase.io.write(Path(folder) / "start.xyz", atoms, format="extxyz")
            code = _SERVER.format(address=address, steps=count)
            with subprocess.Popen([sys.executable, "-c", code], cwd=folder) as server:
                while not place.exists() and server.poll() is None:
                    try:
                        server.wait(timeout=0.1)
                    except subprocess.TimeoutExpired:
                        continue
                atoms.calc = calculator
                SocketClient(unixsocket=address).run(atoms, use_stress=False)

    return steps


def cpu_seconds() -> float:
    """CPU time of this process and of those that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def milliseconds(steps: Callable[[int], object], systems: int = 1) -> float:
    """CPU time of a step; what a run costs besides its steps is taken off."""
    steps(10)  # compiles
    spent: list[float] = []
    for count in (10, 10 + STEPS):
        before = cpu_seconds()
        steps(count)
        spent.append(cpu_seconds() - before)
    return 1e3 * (spent[1] - spent[0]) / STEPS / systems


def main() -> None:
    """Print a row for each engine."""
    engines: dict[str, tuple[Callable[[], Callable[[int], object]], int]] = {
        "`efa-zoo md` (compiled)": (own, 1),
        "JAX-MD": (of_jax_md, 1),
        "ASE": (of_ase, 1),
        "OpenMM-ML": (of_openmm, 1),
        "i-PI, UNIX socket": (of_i_pi, 1),
        "TorchSim, one system": (lambda: of_torch_sim(1), 1),
        "TorchSim, 32 systems": (lambda: of_torch_sim(32), 32),
    }
    print("| engine | CPU time of a step (ms) | steps/s |\n| --- | --- | --- |")
    for name, (make, systems) in engines.items():
        try:
            spent = milliseconds(make(), systems)
        except ImportError as error:
            print(f"{name}: not installed ({error.name})", file=sys.stderr, flush=True)
            continue
        print(f"| {name} | {spent:.2f} | {1e3 / spent:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
