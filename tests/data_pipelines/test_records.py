"""Structures on disk give the same batches as structures in memory, from wherever they start."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

pytest.importorskip("grain")
pytest.importorskip("tensorflow_datasets")

from toys import TOY_DOMAIN, TOY_REFERENCES

from data_pipelines import load_split
from data_pipelines.batches.neighborhoods import Neighborhoods
from data_pipelines.batches.records import GrainBatches
from data_pipelines.batches.survey import survey
from data_pipelines.builders.structures import add_file
from data_pipelines.datasets import open_split
from data_pipelines.files.extxyz import write_extxyz
from data_pipelines.files.options import FileOptions
from data_pipelines.labels.energies import fit_reference_energies
from data_pipelines.splitting import SplitOptions
from data_pipelines.structure import Structure
from efa_zoo.base.config import MessagePassingConfig, ModelConfig, TrainingConfig
from efa_zoo.base.errors import DataError
from efa_zoo.models.hub.cards import Card
from efa_zoo.models.hub.records import DataSource
from efa_zoo.models.parallel.devices import device_mesh
from efa_zoo.training import Batch
from efa_zoo.training.data.reading import TrainingData, read_data
from efa_zoo.training.run import covered_domain

_CUTOFF = 4.0
_CONFIG = TrainingConfig(steps=10, warmup_steps=1, batch_size=8, isolated_share=0.2, seed=3)
_CARD = Card(
    name="small",
    description="Small.",
    model=ModelConfig(features=4, message_passing=MessagePassingConfig(cutoff=_CUTOFF)),
    data=DataSource(name="dimers/tiny", level_of_theory="none"),
    domain=TOY_DOMAIN,
    reference_energies=TOY_REFERENCES,
    training=_CONFIG,
)


def _assert_same(first: Iterator[Batch], second: Iterator[Batch]) -> int:
    count = 0
    for one, other in zip(first, second, strict=True):
        count += 1
        leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
        for a, b in leaves:
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
    return count


@pytest.fixture(scope="module")
def data(tiny_data_dir: Path) -> Iterator[dict[str, TrainingData]]:
    """The same data from memory and from disk."""
    mesh = device_mesh(1)
    made = {
        name: read_data(_CARD, _CONFIG, name, mesh, tiny_data_dir) for name in ("numpy", "grain")
    }
    yield made
    made["grain"].close()


def test_batches_are_those_of_structures_in_memory(data: dict[str, TrainingData]) -> None:
    memory, disk = data["numpy"], data["grain"]
    assert isinstance(disk.training, GrainBatches)
    assert disk.references == memory.references
    assert disk.training.plan.numbers is not None
    assert len(disk.training.plan.numbers) > len(disk.training.plan.structures)  # repeated ones
    for epoch in (0, 1):
        count = _assert_same(disk.training(epoch), memory.training(epoch))
        assert count == disk.training.plan.batches_per_epoch > 8
    _assert_same(disk.validation(0), memory.validation(0))
    for spin in (False, True):
        assert covered_domain(disk.witnesses, spin=spin) == covered_domain(
            memory.witnesses, spin=spin
        )
    assert len(disk.witnesses) < 20 < len(memory.witnesses)


def test_an_epoch_is_taken_up_in_its_middle(data: dict[str, TrainingData]) -> None:
    memory, disk = data["numpy"], data["grain"]
    assert isinstance(disk.training, GrainBatches)
    here = dataclasses.replace(disk.training, workers=0)
    rest = itertools.islice(memory.training(4), 5, None)
    assert _assert_same(here.start_at(4, 5), rest) == here.plan.batches_per_epoch - 5
    assert _assert_same(here.start_at(4, here.plan.batches_per_epoch), iter(())) == 0


def test_processes_share_the_rows_of_a_batch(data: dict[str, TrainingData]) -> None:
    training = data["grain"].training
    assert isinstance(training, GrainBatches)
    size = _CONFIG.batch_size
    own = [slice(0, 5), slice(5, 10)]  # rounded up, as for ten devices
    shares = [dataclasses.replace(training, workers=0, rows={size: rows}) for rows in own]
    whole = dataclasses.replace(training, workers=0)

    def together() -> Iterator[Batch]:
        for parts in zip(*(share(0) for share in shares), strict=True):
            yield jax.tree.map(lambda *rows: np.concatenate(rows)[:size], *parts)

    assert _assert_same(together(), whole(0)) == training.plan.batches_per_epoch


def test_a_survey_finds_what_the_structures_have(tiny_data_dir: Path) -> None:
    structures = load_split("dimers/tiny", "train", data_dir=tiny_data_dir)
    found = survey(open_split("dimers/tiny", "train", data_dir=tiny_data_dir), _CUTOFF, workers=1)
    neighborhoods = Neighborhoods(_CUTOFF)
    assert found.atoms.tolist() == [len(s.atomic_numbers) for s in structures]
    assert found.widths.tolist() == neighborhoods.widths(structures).tolist()
    assert found.pairs.tolist() == [neighborhoods(s)[1].sum() for s in structures]
    assert found.energies.tolist() == [s.energy for s in structures]
    assert found.labels == {"charges", "dipole"}
    assert found.reference_energies() == fit_reference_energies(structures)
    assert [name is not None for name in found.isolated] == [
        np.isnan(s.separation) for s in structures
    ]


def test_a_split_that_is_not_there_is_refused(tiny_data_dir: Path) -> None:
    with pytest.raises(DataError, match="split of dimers/tiny: got 'tra', expected one of"):
        open_split("dimers/tiny", "tra", data_dir=tiny_data_dir)
    stored = open_split("dimers/tiny", "test", data_dir=tiny_data_dir)
    assert stored[-1].energy == stored[len(stored) - 1].energy == stored[-2:][1].energy
    with pytest.raises(IndexError):
        stored[len(stored)]


def _crystal(seed: int, atoms: int, *, periodic: bool = True) -> Structure:
    """Salt at random places, in a cell or without one."""
    rng = np.random.default_rng(seed)
    cell = np.array([[6.0, 0.5, 0.0], [0.0, 5.5, 0.3], [0.2, 0.0, 7.0]]) * rng.uniform(1, 1.4)
    places = np.stack([np.arange(atoms) / atoms, np.arange(atoms) % 2 / 2, rng.uniform(size=atoms)])
    return Structure(
        atomic_numbers=np.resize([11, 17], atoms).astype(np.int32),
        positions=places.T @ cell,
        energy=float(rng.normal()),
        forces=rng.normal(size=(atoms, 3)),
        total_charge=0,
        cell=cell if periodic else None,
        pbc=(periodic, periodic, periodic),
        stress=rng.normal(size=6) if periodic else None,
    )


@pytest.mark.parametrize("mixed", [False, True])
def test_structures_in_cells_come_from_disk_as_from_memory(tmp_path: Path, mixed: bool) -> None:
    structures = [
        _crystal(seed, 4 + 2 * (seed % 3), periodic=not mixed or seed % 4 > 0) for seed in range(30)
    ]
    write_extxyz(tmp_path / "salt.extxyz", structures)
    add_file(
        "salt",
        tmp_path / "salt.extxyz",
        reading=FileOptions(stress_key=None if mixed else "stress"),
        splitting=SplitOptions(counts=(20, 6, 4)),
        data_dir=tmp_path,
    )
    card = dataclasses.replace(
        _CARD, data=DataSource(name="structures/salt", level_of_theory="none")
    )
    asked: list[float] = []

    def wave_reach() -> float:
        asked.append(3.0)
        return 3.0

    config = dataclasses.replace(_CONFIG, isolated_share=0.0)
    memory, disk = (
        read_data(card, config, name, device_mesh(1), tmp_path, wave_reach)
        for name in ("numpy", "grain")
    )
    assert isinstance(disk.training, GrainBatches)
    found = disk.training.plan.survey
    assert found.pbc.any()
    assert found.pbc.all() == (not mixed)
    assert (found.waves > 0).tolist() == found.pbc[:, 0].tolist()
    assert ("stress" in found.labels) == (not mixed)
    assert asked
    here = dataclasses.replace(disk.training, workers=0)
    assert {b.pbc[0] for b in here.plan.buckets} == ({True, False} if mixed else {True})
    for epoch in (0, 1):
        assert _assert_same(here(epoch), memory.training(epoch)) >= 3
    _assert_same(disk.validation(0), memory.validation(0))
    assert covered_domain(disk.witnesses) == covered_domain(memory.witnesses)
