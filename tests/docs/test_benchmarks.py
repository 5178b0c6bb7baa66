"""The benchmarks: a tiny case runs, numbers are counted right, tables say what was found."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmarks.cases import CASES, select
from benchmarks.command import main, run
from benchmarks.measure import relative_deviation
from benchmarks.operations import count_operations
from benchmarks.processes import Worker, WorkerError
from benchmarks.programs import count_program
from benchmarks.report import (
    COLUMNS,
    aligned,
    case_row,
    markdown,
    number,
    ratio,
    seconds,
    size,
    text_report,
)
from benchmarks.structures import Structures

from efa_zoo.ops.contractions import (
    PathBlock,
    Paths,
    degreewise_product,
    make_filters,
    matrix_product,
    sum_filtered,
    sum_over_angles,
    sum_paths,
)

_DOCS = Path(__file__).parents[2] / "docs"

_MACHINE = {
    "device": "CPU",
    "platform": "cpu",
    "cpu": "Some CPU",
    "cores": 2,
    "memory_gb": 16.0,
    "system": "Linux",
    "gemm_gflops": 100.0,
    "stream_gbs": 20.0,
}


def _side(**changes: Any) -> dict[str, Any]:
    return {
        "lower_s": 1.0,
        "compile_s": 2.0,
        "operations": 1e9,
        "bytes_accessed": 4e8,
        "xla_bytes": 1e7,
        "resident_bytes": 2e7,
        "median_s": 0.1,
        "kernels": {"runs": 500.0, "seconds": 1.0, "matrix_seconds": 0.25},
        **changes,
    }


def _record(name: str = "molecules_16x13/training", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "group": "Networks",
        "title": "16 × 13 atoms",
        "task": "training gradient",
        "molecules": 16,
        "atoms": 208,
        "ours": _side(),
        "reference": _side(median_s=2.5, xla_bytes=2.5e8, compile_s=5.0),
        "deviation": 2e-6,
        "agrees": True,
        **changes,
    }


def _results(*records: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "machine": _MACHINE,
        "versions": {"jax": "1.2.3"},
        "date": "2000-01-01",
        "quick": False,
        "cases": list(records),
        "errors": {},
        **changes,
    }


def _docs_script() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("docs_benchmarks", _DOCS / "benchmarks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for the names in annotations
    spec.loader.exec_module(module)
    return module


_WRONG_BY_A_FACTOR = """\
from efa_zoo.interop.reference import attend_flat, attention

class EuclideanFastAttention:
    def __init__(self, **keywords):
        self.keywords = keywords

    def apply(self, variables, **arguments):
        layer = attention(variables["params"], self.keywords)
        return 2 * attend_flat(layer, **arguments, max_atoms=16)
"""


def test_a_tiny_case_runs_on_both_sides(tmp_path: Path) -> None:
    (tmp_path / "fast_attention.py").write_text(_WRONG_BY_A_FACTOR, encoding="utf-8")
    (case,) = select("attention_32x32/forward")
    results = run([case], reference=tmp_path, seconds=0.05, quick=True)
    (record,) = results["cases"]
    assert record["atoms"] == 32
    for side in (record["ours"], record["reference"]):
        assert side["median_s"] > 0
        assert len(side["times_s"]) >= 3
        # The pair sums' products with the values, and the input.
        assert side["operations"] > 2 * 2 * 16 * 16 * 16
        assert side["xla_bytes"] > record["atoms"] * 4 * 4 * 4
    kernels = record["ours"]["kernels"]
    assert kernels["runs"] > 3
    assert 0 < kernels["matrix_seconds"] < kernels["seconds"]
    assert record["deviation"] == pytest.approx(0.5, abs=1e-5)
    assert not record["agrees"]
    assert results["machine"]["gemm_gflops"] > 0
    assert json.loads(json.dumps(results)) == results
    assert case.title in text_report(results)


def test_a_workers_error_is_told() -> None:
    with Worker() as worker, pytest.raises(WorkerError, match="ValueError: not enough values"):
        worker.ask("make", case="nothing", side="ours", quick=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--case", "nothing"], "--case nothing: no such case, expected one of molecules_16x13/"),
        (["--reference", "/nowhere"], "--reference /nowhere: expected the package"),
    ],
)
def test_wrong_use(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_cases_are_chosen_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert main(["--list", "--case", "scaling_*/forward"]) == 0
    listed = capsys.readouterr().out.split()
    assert listed == [n for n in names if n.startswith("scaling_") and n.endswith("/forward")]
    assert len(listed) == 8


@pytest.mark.parametrize("kind", ["cumulene", "cluster", "liquid"])
def test_structures_are_fixed_and_have_no_close_atoms(kind: Any) -> None:
    structures = Structures(kind=kind, molecules=3, atoms=13)
    molecules = structures.make()
    assert molecules.positions.shape == (3, 13, 3)
    np.testing.assert_array_equal(molecules.positions, structures.make().positions)
    np.testing.assert_allclose(molecules.positions.mean(axis=1), 0, atol=1e-6)
    distances = np.linalg.norm(
        molecules.positions[:, :, None] - molecules.positions[:, None], axis=-1
    )
    assert distances[:, ~np.eye(13, dtype=bool)].min() > 0.7
    assert distances.max() <= 2 * molecules.radius


def test_operations_are_counted() -> None:
    def function(a: jax.Array, b: jax.Array) -> jax.Array:
        def step(total: jax.Array, row: jax.Array) -> tuple[jax.Array, None]:
            return total + row, None

        product = jnp.transpose(a @ b)  # 2·3·4·5
        total, _ = jax.lax.scan(step, jnp.zeros(3), product)  # 5 turns of 3 sums
        return jnp.sum(total)  # 3

    jaxpr = jax.jit(function).trace(jnp.ones((3, 4)), jnp.ones((4, 5))).jaxpr
    assert count_operations(jaxpr) == 2 * 3 * 4 * 5 + 5 * 3 + 3


def test_operations_of_contractions_are_counted() -> None:
    def count(function: Any, *shapes: tuple[int, ...]) -> float:
        return count_operations(jax.make_jaxpr(function)(*map(jnp.ones, shapes)))

    assert count(matrix_product, (3, 4), (4, 5)) == 2 * 3 * 4 * 5
    assert count(degreewise_product, (7, 2, 4, 3), (2, 2, 3, 5)) == 2 * 7 * 2 * 4 * 3 * 5
    assert count(make_filters, (3, 5, 2, 7), (3, 4, 5)) == 2 * 3 * 5 * 4 * 7
    assert count(sum_filtered, (3, 5, 4, 7), (3, 5, 2, 9, 7)) == 2 * 3 * 5 * 4 * 2 * 9 * 7
    assert count(sum_over_angles, (3, 4, 5), (3, 5, 2, 7)) == 2 * 3 * 4 * 5 * 7
    block = PathBlock(0, (0, 1), (0, 6), np.ones((3, 6)), ((0, 0, 3),))
    paths = Paths((block,), channels=1, first=1, second=6, num_paths=1, num_outputs=3)
    assert count(lambda x, w: sum_paths(x, w, paths), (7, 1, 1, 6, 5), (1, 5)) == 2 * 7 * 18 * 5


def test_operations_of_programs_are_counted_as_often_as_they_are_called() -> None:
    inner = jax.jit(lambda x: jnp.tanh(x @ x))
    record = count_program(lambda x: inner(inner(x)) + x, (jnp.ones((3, 3)),))
    assert (record["products"], record["shapes"], record["elementwise"]) == (2, 1, 3)
    assert record["costing"] == 5
    assert record["operations"] == 5 + record["free"]


def test_deviations_are_relative_to_their_scale() -> None:
    reference = {"energy": np.array([10.0, -20.0]), "a.b": np.array([1e-9]), "a.c": np.ones(2)}
    ours = {"energy": np.array([10.0, -20.2]), "a.b": np.array([2e-9]), "a.c": np.ones(2)}
    assert relative_deviation(ours, reference) == pytest.approx(0.01)
    assert relative_deviation(reference, reference) == 0
    assert relative_deviation({**ours, "energy": np.full(2, np.nan)}, reference) == np.inf
    with pytest.raises(ValueError, match=r"different parts: a\.b"):
        relative_deviation({k: v for k, v in ours.items() if k != "a.b"}, reference)


def test_numbers_are_short() -> None:
    assert [number(x) for x in (0, 1234567.8, 123.4, 12.34, 0.01234)] == [
        "0", "1,234,568", "123", "12", "0.012",
    ]  # fmt: skip
    assert [seconds(x) for x in (None, 12.3, 0.0123, 4.5e-6, 1e-9)] == [
        "–", "12 s", "12 ms", "4.5 µs", "0.001 µs",
    ]  # fmt: skip
    assert [size(x) for x in (2.5e9, 2.5e6, 300)] == ["2.5 GB", "2.5 MB", "0.3 kB"]
    assert ratio(0.1, 2.5) == "25×"
    assert ratio(0.1, None) == "–"


def test_a_row_has_both_sides_and_the_machines_rates() -> None:
    row = dict(zip(COLUMNS, case_row(_record(), _MACHINE), strict=False))
    # Heads that occur twice keep the latter of their columns here.
    assert row["time"] == "100 ms"
    assert row["×"] == "25×"
    assert row["compile"] == "3 s"
    assert row["ref"] == "6 s"
    assert row["atoms/s"] == "2,080"
    assert row["matrix"] == "10%"  # 10 of 100 GFLOP/s
    assert row["stream"] == "20%"  # 4 of 20 GB/s
    assert row["differs by"] == "2e-06"
    assert case_row(_record(agrees=False), _MACHINE)[-1] == "2e-06 !"
    alone = case_row(_record(reference={"error": "no memory"}), _MACHINE)
    assert alone[-1] == "reference failed: no memory"
    assert case_row(_record(ours={"error": "no memory"}), _MACHINE)[-1] == "failed: no memory"


def test_tables_are_aligned() -> None:
    rows = [("case", "time"), ("a", "1 ms"), ("longer", "100 ms"), ("broken",)]
    assert aligned(rows) == (
        "case      time\n------  ------\na         1 ms\nlonger  100 ms\nbroken"
    )
    assert markdown(rows[:2]) == "| case | time |\n| --- | ---: |\n| a | 1 ms |"


def test_the_page_says_what_was_reached_and_what_limits() -> None:
    docs = _docs_script()
    side = _side(median_s=1.0, bytes_accessed=1.5e10, compile_s=500.0)
    slow = _record("molecules_32x32/training", ours=side)
    results = _results(
        _record(),
        slow,
        startup=[
            {"title": t, "import_s": 1, "load_s": 1, "first_s": f, "again_s": 0.1, "process_s": 4}
            for t, f in (("no cache", 9), ("first", 9), ("second", 4))
        ],
        crossover=[{"title": "scalars", "atoms": [64, 128], "measured": None, "auto": 512}],
    )
    page = docs.page([results])
    for line in (
        "| 16 × 13 atoms, attention: training gradient, time | at least 20× | 25× | yes |",
        "| 16 × 13 atoms, attention: training gradient, memory | at least 20× | 25× | yes |",
        "| 32 × 32 atoms, attention: training gradient, time | at least 10× | 2.5× | **no** |",
        "| first `predict` after `load` in a new process | at most 15 s | 9 s | yes |",
        "| the same with a filled cache | at most 3 s | 4 s | **no** |",
        "| 32 × 32 atoms, attention: training gradient | 500 | 2 ms | 25% | 1% | 75% |",
        "longer than the reference's (32 × 32 atoms, attention: training gradient),",
        "| scalars | (not up to 128) | 512 |",
        "Some CPU, 2 cores, 16 GB",
    ):
        assert line in page, line
    assert "Not measured: there was no GPU" in page
    gpu = _results(_record(), machine={**_MACHINE, "platform": "gpu", "device": "Some GPU"})
    assert "Not measured" not in docs.page([results, gpu])
    assert "Some GPU" in docs.page([results, gpu])


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    docs = _docs_script()
    records = [
        _record(
            f"scaling_quadrature_{atoms}/forward", atoms=atoms, ours=_side(median_s=1e-6 * atoms)
        )
        for atoms in (100, 1000)
    ]
    docs.draw(_results(*records), tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(not list(_DOCS.glob("benchmarks*.json")), reason="needs stored results")
def test_the_page_is_up_to_date() -> None:
    docs = _docs_script()
    text = (_DOCS / "benchmarks.md").read_text(encoding="utf-8")
    assert text == docs.page(docs.stored()), "run python docs/benchmarks.py"
