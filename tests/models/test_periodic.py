"""Networks in cells: symmetry, extensivity, forces and stress against finite differences."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from scipy.spatial.transform import Rotation

from efa_zoo.base.config import (
    AttentionConfig,
    Coulomb,
    FrequencyConfig,
    IntegrationConfig,
    KernelConfig,
    MessagePassingConfig,
    ModelConfig,
    WindowedWaves,
)
from efa_zoo.base.errors import InputError
from efa_zoo.models import energy as energy_module
from efa_zoo.models.energy import batch_energy_and_forces, energy_and_forces
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.outputs import Outputs
from efa_zoo.structures.graph import Graph, stack

pytestmark = pytest.mark.usefixtures("x64")

CELL = np.array([[5.6, 0.3, -0.2], [0.8, 5.2, 0.4], [-0.5, 0.6, 5.9]])
NUMBERS = np.array([11, 17, 11, 17, 11])
CUTOFF = 3.5

KERNELS: dict[str, KernelConfig] = {
    "coulomb": Coulomb(widths=(1.3, 2.0)),
    "windowed_waves": WindowedWaves(frequencies=FrequencyConfig(max_length=6.0), width=2.0),
}


def make(kernel: KernelConfig | None, **options: object) -> EnergyModel:
    attention = None
    if kernel is not None:
        attention = AttentionConfig(
            kernel=kernel,
            tolerance=1e-3,
            query_key_features=4,
            value_features=4,
            integration=IntegrationConfig(),
        )
    config = ModelConfig(
        features=4,
        iterations=2,
        highest_atomic_number=17,
        zero_output=False,
        message_passing=MessagePassingConfig(cutoff=CUTOFF, degree=1, num_radial=4),
        attention=attention,
        **options,  # type: ignore[arg-type]
    )
    return EnergyModel(config, key=jax.random.key(1), dtype=jnp.float64)


@dataclasses.dataclass(frozen=True)
class System:
    """A network with random weights, and what it gives, compiled for a few shapes."""

    network: EnergyModel
    outputs: Callable[[Graph], Outputs]

    def graph(
        self, positions: np.ndarray, cell: np.ndarray = CELL, numbers: np.ndarray = NUMBERS
    ) -> Graph:
        """Padded, so that all small cells here have one shape."""
        found = Graph.from_arrays(
            numbers,
            positions,
            CUTOFF,
            cell=cell,
            wave_reach=self.network.wave_reach,
            dtype=np.float64,
        )
        return found if len(numbers) > len(NUMBERS) else found.pad(6, 32, 96)

    def energy(self, positions: np.ndarray, cell: np.ndarray = CELL) -> float:
        return float(self.outputs(self.graph(positions, cell)).energy)


@pytest.fixture(scope="module", params=KERNELS)
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    with jax.enable_x64(True):
        network = make(KERNELS[request.param])
        compiled = eqx.filter_jit(lambda graph: energy_and_forces(network, graph))
        yield System(network, compiled)


def places(seed: int = 0) -> np.ndarray:
    lattice = np.array(
        [[0, 0, 0], [0.5, 0.5, 0.1], [0.1, 0.5, 0.5], [0.5, 0, 0.5], [0.8, 0.8, 0.8]]
    )
    return (lattice + np.random.default_rng(seed).uniform(-0.05, 0.05, (5, 3))) @ CELL


def test_the_same_lattice_in_other_words(system: System) -> None:
    expected = system.outputs(system.graph(places()))
    energy = float(expected.energy)
    wrapped = places() + np.array([[1, 0, 2], [0, -1, 0], [3, 0, 0], [0, 0, 0], [0, 0, -5]]) @ CELL
    assert system.energy(wrapped) == pytest.approx(energy, rel=1e-10)
    basis = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 1]]) @ CELL
    assert system.energy(places(), basis) == pytest.approx(energy, rel=1e-10)
    turn = Rotation.random(rng=1).as_matrix()
    turned = system.outputs(system.graph(places() @ turn.T + [1.0, 2.0, 3.0], CELL @ turn.T))
    assert float(turned.energy) == pytest.approx(energy, rel=1e-10)
    assert expected.forces is not None and turned.forces is not None
    np.testing.assert_allclose(turned.forces, np.asarray(expected.forces) @ turn.T, atol=1e-10)
    np.testing.assert_allclose(
        matrix(turned.stress), turn @ matrix(expected.stress) @ turn.T, atol=1e-11
    )


def matrix(stress: Array | None) -> np.ndarray:
    xx, yy, zz, yz, xz, xy = np.asarray(stress)
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def test_energy_is_proportional_to_the_number_of_cells(system: System) -> None:
    small = system.outputs(system.graph(places()))
    cells = np.array([[i, j, 0] for i in range(3) for j in range(2)])
    many = (places() + (cells @ CELL)[:, None]).reshape(-1, 3)
    large = system.outputs(
        system.graph(many, CELL * np.array([[3], [2], [1]]), np.tile(NUMBERS, 6))
    )
    assert float(large.energy) / 6 == pytest.approx(float(small.energy), rel=1e-10)
    np.testing.assert_allclose(large.stress, small.stress, atol=1e-11)
    assert large.forces is not None and small.forces is not None
    np.testing.assert_allclose(large.forces[5:10], small.forces[:5], atol=1e-10)


def test_forces_and_stress_are_derivatives(system: System) -> None:
    found = system.outputs(system.graph(places()))
    assert found.forces is not None and found.stress is not None
    step = 1e-4
    for atom, axis in ((0, 0), (3, 2)):
        moved = np.zeros((5, 3))
        moved[atom, axis] = step
        slope = _slope(lambda s, moved=moved: system.energy(places() + s * moved), step)
        assert -slope == pytest.approx(float(found.forces[atom, axis]), abs=1e-7)
    volume = np.linalg.det(CELL)
    for number, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        strain = np.zeros((3, 3))
        strain[i, j] += step / 2
        strain[j, i] += step / 2

        def energy(s: float, strain: np.ndarray = strain) -> float:
            deformation = np.eye(3) + s * strain
            return system.energy(places() @ deformation, CELL @ deformation)

        assert _slope(energy, step) / volume == pytest.approx(float(found.stress[number]), abs=1e-8)


def _slope(function: Callable[[float], float], step: float) -> float:
    """Central differences of fourth order."""
    return (8 * (function(1) - function(-1)) - (function(2) - function(-2))) / (12 * step)


def test_the_energy_is_continuous_while_the_cell_grows(system: System) -> None:
    counts, energies = set(), []
    scales = np.cbrt(np.linspace(0.9, 1.1, 500))
    for scale in scales:
        listed = Graph.from_arrays(
            NUMBERS,
            scale * places(),
            CUTOFF,
            cell=scale * CELL,
            wave_reach=system.network.wave_reach,
            dtype=np.float64,
        )
        assert listed.waves is not None
        counts.add(len(listed.waves))
        energies.append(float(system.outputs(listed.pad(6, 32, 96)).energy))
    assert len(counts) > 3  # wave vectors entered on the way
    # What a cubic through four neighbours leaves of the next point: smooth to rounding and step.
    rest = np.diff(energies, 4)
    assert np.abs(rest).max() < 1e-9


def test_padding_of_a_batch_and_of_its_chunks_is_inert(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = [system.graph(places(i), (1 + 0.1 * i) * CELL) for i in range(3)]
    batch = stack(graphs, num_atoms=8)
    # Two at a time, so that the second chunk is filled up.
    monkeypatch.setattr(energy_module, "molecules_at_once", lambda _: 2)
    together = eqx.filter_jit(batch_energy_and_forces)(system.network, batch)
    for row, one in enumerate(graphs):
        alone = system.outputs(one)
        assert float(together.energy[row]) == pytest.approx(float(alone.energy), rel=1e-12)
        assert together.stress is not None
        np.testing.assert_allclose(together.stress[row], alone.stress, atol=1e-12)


def test_a_local_network_in_cells_of_one_two_and_three_directions() -> None:
    network = make(None, repulsion=True)
    assert network.wave_reach == 0
    run = eqx.filter_jit(lambda graph: energy_and_forces(network, graph))
    for pbc in ((True, False, False), (True, True, False), (False, True, True)):
        repeats = np.where(pbc, 2, 1)
        cells = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), -1).reshape(-1, 3)
        many = (places() + (cells @ CELL)[:, None]).reshape(-1, 3)
        one, more = (
            Graph.from_arrays(z, r, CUTOFF, cell=c, pbc=pbc, dtype=np.float64)
            for z, r, c in (
                (NUMBERS, places(), CELL),
                (np.tile(NUMBERS, len(cells)), many, CELL * repeats[:, None]),
            )
        )
        energies = [float(run(graph).energy) for graph in (one, more)]
        assert energies[1] / len(cells) == pytest.approx(energies[0], rel=1e-10)


def test_graphs_that_do_not_fit_are_refused(system: System) -> None:
    listed = system.graph(places())
    without = dataclasses.replace(listed, shifts=None)
    with pytest.raises(InputError, match="shifts: got None although pbc is"):
        energy_and_forces(system.network, without)
    near = dataclasses.replace(listed, wave_reach=1.0)
    with pytest.raises(InputError, match="lists wave vectors up to 1 1/Å"):
        energy_and_forces(system.network, near)
    open_ = Graph.from_arrays(NUMBERS, places(), CUTOFF, dtype=np.float64)
    with pytest.raises(InputError, match=r"pbc: got .* in one batch"):
        stack([listed, open_])
