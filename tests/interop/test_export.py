"""Exported models: they repeat the model at every size, and bad files are refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.export
import numpy as np
import pytest
from ase import Atoms
from commands import example, fail, succeed
from toys import calibrated, potential

import efa_zoo
from efa_zoo.base.config import (
    AttentionConfig,
    FrequencyConfig,
    IntegrationConfig,
    MessagePassingConfig,
    ModelConfig,
    Waves,
    from_table,
)
from efa_zoo.base.errors import ExportError, InputError
from efa_zoo.interop import export
from efa_zoo.interop.export import ExportReport, _archive, export_model, load_exported
from efa_zoo.models.energy import energy_and_forces
from efa_zoo.models.hub.cards import Card
from efa_zoo.models.hub.digest import digest_of
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.outputs import Outputs
from efa_zoo.models.potential import Potential, cast
from efa_zoo.structures.graph import Graph, stack


@pytest.fixture(scope="session")
def exported(toy_home: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    """The toy as a program."""
    before = dict(jax.config.values)
    path = tmp_path_factory.mktemp("exported") / "toy.zip"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFA_ZOO_HOME", str(toy_home))
        report = export_model("toy", path)
    assert jax.config.values == before
    return report


def cluster(atoms: int, dtype: type = np.float32, *, dipoles: bool = False) -> Graph:
    random = np.random.default_rng(atoms)
    return Graph.from_arrays(
        random.choice([1, 6, 7, 8], atoms),
        1.3 * atoms ** (1 / 3) * random.normal(size=(atoms, 3)),
        4.0,
        atomic_dipoles=random.normal(size=(atoms, 3)) if dipoles else None,
        dtype=dtype,
    )


@eqx.filter_jit
def evaluate(network: EnergyModel, graphs: Graph) -> Outputs:
    return jax.vmap(lambda graph: energy_and_forces(network, graph))(graphs)


# -------------------------------------------------------------------------------------------
# What the program gives


def test_predictions_are_those_of_the_model(exported: ExportReport, zoo: Path) -> None:
    structures = [example(name) for name in efa_zoo.list_examples()]
    model = load_exported(exported.path, sha256=exported.sha256)
    assert model.card == efa_zoo.card("toy")
    for given, expected in zip(model(structures), efa_zoo.predict("toy", structures), strict=True):
        assert given.energy == pytest.approx(expected.energy, abs=1e-4)
        assert given.atomic_energies.sum() == pytest.approx(given.energy, abs=1e-9)
        np.testing.assert_allclose(given.forces, expected.forces, atol=1e-5)
        assert given.charge == expected.charge
    assert model(structures[0]).energy == model(structures)[0].energy


@pytest.mark.parametrize("sizes", [(2,), (40, 3)])
def test_every_number_of_molecules_atoms_and_neighbors_fits(
    exported: ExportReport, zoo: Path, sizes: tuple[int, ...]
) -> None:
    network = efa_zoo.load("toy").network
    batch = stack([cluster(atoms) for atoms in sizes])
    expected = evaluate(network, batch)
    found = load_exported(exported.path).evaluate(batch)
    for given, right in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        scale = float(np.abs(right).max())
        np.testing.assert_allclose(given, right, rtol=0, atol=1e-5 * max(scale, 1.0))


SMALL = ModelConfig(
    features=2,
    iterations=2,
    zero_output=False,
    highest_atomic_number=9,
    message_passing=MessagePassingConfig(cutoff=4.0, degree=1, num_radial=3),
)


def test_tensors_dipoles_and_trainable_frequencies_can_be_exported(tmp_path: Path) -> None:
    attention = AttentionConfig(
        integration=IntegrationConfig(), kernel=Waves(frequencies=FrequencyConfig(trainable=True))
    )
    small = potential(dataclasses.replace(SMALL, attention=attention, dipole_embedding=True))
    report = export_model(small, tmp_path / "small.zip", dtype="float64", platforms=["cpu"])
    assert (report.dtype, report.platforms, report.attention) == ("float64", ("cpu",), "exact")
    assert max(report.energy_error, report.force_error) < 1e-9


@pytest.fixture(scope="module")
def coarse() -> Potential:
    """A model that takes a grid as it is, far too coarse for its phases."""
    attention = AttentionConfig(
        evaluation="quadrature",
        grid=14,
        tolerance=float("inf"),
        kernel=Waves(frequencies=FrequencyConfig(max_frequency=30.0)),
    )
    return potential(dataclasses.replace(SMALL, iterations=1, attention=attention))


def test_a_model_that_takes_a_grid_as_it_is_exports_the_grid(
    coarse: Potential, tmp_path: Path
) -> None:
    report = export_model(coarse, tmp_path / "coarse.zip", dtype="float64", platforms=["cpu"])
    assert report.attention == "quadrature"
    model = load_exported(report.path)
    assert model.attention == "quadrature"
    batch = stack([cluster(17, np.float64)])
    given = model.evaluate(batch)  # which switches to the program's own type
    with jax.enable_x64(True):
        expected = evaluate(cast(coarse.network, np.float64), batch)
    for value, right in zip(jax.tree.leaves(given), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(value, right, atol=1e-9)


def test_a_program_that_differs_from_the_model_is_not_written(
    coarse: Potential, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=r"differ by .* nothing was written"):
        export_model(coarse, tmp_path / "coarse.zip", platforms=["cpu"], attention="exact")
    assert list(tmp_path.iterdir()) == []


def test_only_jax_is_needed_to_run_it(exported: ExportReport, zoo: Path) -> None:
    graph = cluster(5)
    arrays = [
        graph.atomic_numbers.tolist(), graph.positions.tolist(), graph.neighbors.tolist(),
        graph.neighbor_mask.tolist(), 0,
    ]  # fmt: skip
    code = """
import json, sys, zipfile
import jax, jax.export
import jax.numpy as jnp
archive = zipfile.ZipFile(sys.argv[1])
manifest = json.loads(archive.read("manifest.json"))
program = jax.export.deserialize(bytearray(archive.read("program.bin")))
inputs = zip(json.load(sys.stdin), manifest["inputs"])
energies, forces = program.call(*(jnp.asarray([x], field["dtype"]) for x, field in inputs))
print(json.dumps([energies[0].tolist(), forces[0].tolist()]))
assert not {"efa_zoo", "equinox", "e3x"} & set(sys.modules)
"""
    result = subprocess.run(
        [sys.executable, "-c", code, str(exported.path)],
        input=json.dumps(arrays),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    network = efa_zoo.load("toy").network
    expected = evaluate(network, stack([graph]))
    both = (expected.atomic_energies, expected.forces)
    for given, right in zip(json.loads(result.stdout), both, strict=True):
        np.testing.assert_allclose(given, right[0], atol=1e-5)


def test_the_network_is_not_made(exported: ExportReport, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(EnergyModel, "__init__", refuse)
    monkeypatch.setenv("EFA_ZOO_HOME", "/nowhere")
    assert load_exported(exported.path)(example("water_dimer")).charge == 0


def test_structures_are_checked(exported: ExportReport) -> None:
    model = load_exported(exported.path)
    with pytest.raises(InputError, match=r"^charge: got \+3"):
        model(example("water_dimer"), charge=3)
    with pytest.raises(InputError, match=r"^structure 1: elements: got Na"):
        atoms = example("water_dimer")
        atoms.symbols[0] = "Na"
        model([example("water_dimer"), atoms])
    with pytest.warns(efa_zoo.OutOfRangeWarning, match="knows only"):
        model(example("water_dimer"), charge=2, out_of_range="warn")


# -------------------------------------------------------------------------------------------
# The file


def test_the_file_says_what_is_in_it(exported: ExportReport) -> None:
    content = exported.path.read_bytes()
    assert exported.sha256 == hashlib.sha256(content).hexdigest()
    assert exported.bytes == len(content)
    manifest, program = _archive.read(exported.path, content)
    assert jax.export.deserialize(bytearray(program)).platforms == ("cpu", "cuda")
    assert manifest["platforms"] == ["cpu", "cuda"]
    assert manifest["cutoff"] == {"value": 4.0, "unit": "Å"}
    assert [field["shape"] for field in manifest["outputs"]] == [
        ["molecules", "atoms"],
        ["molecules", "atoms", "3"],
    ]


def test_the_file_names_no_folder(exported: ExportReport) -> None:
    content = exported.path.read_bytes()
    for folder in (Path(efa_zoo.__file__).parents[1], Path(jax.__file__).parents[1]):
        assert str(folder).encode() not in content


def rewrite(
    path: Path, change: Callable[[dict[str, Any]], object], *, sealed: bool = False, **options: Any
) -> None:
    """Change the manifest of an exported model, and on request its digest with it."""
    manifest, program = _archive.read(path, path.read_bytes())
    change(manifest)
    if sealed:
        card = from_table(Card, manifest["card"])
        manifest["digest"] = digest_of(_archive._entries(manifest, card))
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        archive.writestr("program.bin", program)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "cannot read the exported model"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "not a whole exported model"),
        (lambda path: path.write_bytes(b"no archive"), "not a whole exported model"),
        (lambda path: zipfile.ZipFile(path, "w").close(), "holds nothing, expected"),
        (lambda path: zipfile.ZipFile(path, "a").writestr("more", "x"), "holds manifest.json, mo"),
        (lambda path: rewrite(path, dict.clear), "format: got None, expected 'efa_zoo exported"),
        (lambda path: rewrite(path, lambda m: m.update(version=1)), "version: got 1, expected 2"),
        (lambda path: rewrite(path, lambda m: m.pop("dtype")), "not as expected"),
        (lambda path: rewrite(path, lambda m: m["card"].pop("name")), "name"),
        (
            lambda path: rewrite(path, lambda m: m.update(program={"sha256": "0"}), sealed=True),
            "program.bin has SHA-256 .* it was altered",
        ),
        (
            lambda path: rewrite(path, lambda m: m.update(platforms=["tpu"]), sealed=True),
            "exported for tpu, b",
        ),
        (
            lambda path: rewrite(path, lambda m: m.update(program={"sha256": "0"})),
            "json: program.sha256 was altered after the export",
        ),
        (
            lambda path: rewrite(path, lambda m: m.update(platforms=["tpu"])),
            "json: platforms was altered after the export",
        ),
        (
            lambda path: rewrite(path, lambda m: m["card"]["reference_energies"].update(H=-10.0)),
            r"json: card\.reference_energies\.H was altered after the export",
        ),
        (
            lambda path: rewrite(path, lambda m: m["card"]["domain"].update(max_distance=99.0)),
            r"json: card\.domain\.max_distance was altered after the export",
        ),
        (lambda path: rewrite(path, lambda m: m.update(card=[])), "not as expected"),
        (lambda path: rewrite(path, id, compression=zipfile.ZIP_DEFLATED), "is compressed"),
    ],
)
def test_a_bad_file_is_refused(
    exported: ExportReport, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / "bad.zip"
    path.write_bytes(exported.path.read_bytes())
    damage(path)
    with pytest.raises(ExportError, match=message) as caught:
        load_exported(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_was_hashed_is_what_is_loaded(
    exported: ExportReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, content = tmp_path / "swapped.zip", exported.path.read_bytes()
    path.write_bytes(content)
    rewrite(path, lambda manifest: manifest["card"].update(name="other"))
    swapped = path.read_bytes()
    path.write_bytes(content)
    read_bytes = Path.read_bytes

    def read_and_swap(file: Path) -> bytes:
        found = read_bytes(file)
        file.write_bytes(swapped)  # what another process may do just then
        return found

    monkeypatch.setattr(Path, "read_bytes", read_and_swap)
    assert load_exported(path, sha256=exported.sha256).card.name == "toy"


def test_an_altered_program_is_refused(exported: ExportReport, tmp_path: Path) -> None:
    path = tmp_path / "bad.zip"
    content = bytearray(exported.path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ExportError, match="not a whole exported model"):
        load_exported(path)
    with pytest.raises(ExportError, match=f"expected {exported.sha256}"):
        load_exported(path, sha256=exported.sha256)


# -------------------------------------------------------------------------------------------
# The command


def test_the_command_exports(
    capsys: pytest.CaptureFixture[str],
    exported: ExportReport,
    monkeypatch: pytest.MonkeyPatch,
    zoo: Path,
) -> None:
    def stand_in(*arguments: object, **options: object) -> ExportReport:
        assert arguments == ("toy", Path("toy.zip"))
        assert options == {"dtype": "float64", "platforms": ["cpu", "tpu"], "attention": None}
        return exported

    monkeypatch.setattr(export, "export_model", stand_in)
    command = ["export", "toy", "--out", "toy.zip", "--platforms", "cpu,tpu", "--dtype", "float64"]
    assert succeed(capsys, *command) == f"{exported}\n"
    report = json.loads(succeed(capsys, *command, "--json"))
    assert report["path"] == str(exported.path)
    assert report["sha256"] == exported.sha256


def test_a_report_is_readable(exported: ExportReport) -> None:
    assert "float32, for cpu and cuda, exact attention" in str(exported)
    assert exported.sha256 in str(exported)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("toy --out toy.onnx", "out: got 'toy.onnx', expected a name that ends in .zip"),
        ("toyy --out toy.zip", "did you mean toy"),
        ("toy_recipe --out toy.zip", "has no weights yet"),
        ("toy --out toy.zip --platforms cpu,gpu", "platforms: got 'gpu', expected some of cpu, cu"),
        ("toy --out toy.zip --platforms ,", "platforms: got [], expected some of cpu, cuda"),
        ("toy --out toy.zip --platforms tpu", "platforms: got tpu, expected also one that is pres"),
        (
            "toy --out toy.zip --attention linear",
            "invalid choice 'linear' for argument",
        ),
        ("toy", "missing from efa-zoo export: --out FILE"),
    ],
)
def test_bad_arguments_are_refused(
    capsys: pytest.CaptureFixture[str],
    zoo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in fail(capsys, "export", *arguments.split())


def test_a_model_without_attention_takes_no_evaluation_of_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="attention: got 'exact', expected None for this model"):
        export_model(potential(SMALL), tmp_path / "small.zip", attention="exact")


def test_uncertainties_are_exported_where_there_are_any(zoo: Path, tmp_path: Path) -> None:
    water = Atoms("OH2", [[0, 0, 0.12], [0.76, 0, -0.48], [-0.76, 0, -0.48]])
    water.info["charge"] = 0
    plain = efa_zoo.load("toy")
    model = calibrated(plain, water)
    report = export_model(model, tmp_path / "toy.zip", platforms=("cpu",))
    exported = load_exported(report.path)
    uncertainties = ("energy_uncertainty", "force_uncertainty", "extrapolation")
    assert exported.outputs[-3:] == uncertainties
    expected, found = efa_zoo.predict(model, water), exported(water)
    for name in uncertainties:
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-3)
    water.positions[2, 0] -= 1.0
    with pytest.raises(InputError, match="surroundings: those of atom"):
        exported(water)
    without = load_exported(export_model(plain, tmp_path / "p.zip", platforms=("cpu",)).path)
    assert not set(uncertainties) & set(without.outputs)
    assert without(water).extrapolation is None
