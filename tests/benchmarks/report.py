"""Results as tables: rows of cells, as aligned text or as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

__all__ = [
    "COLUMNS",
    "aligned",
    "case_row",
    "compile_seconds",
    "crossover_rows",
    "describe_machine",
    "fractions",
    "kernel_rows",
    "markdown",
    "number",
    "peak_bytes",
    "program_rows",
    "ratio",
    "seconds",
    "size",
    "startup_rows",
    "text_report",
]

Row = Sequence[str]

#: Heads of the columns of `case_row`. "ref" is the reference implementation.
COLUMNS = (
    "case", "task", "time", "ref", "×", "memory", "ref", "×", "compile", "ref",
    "atoms/s", "matrix", "stream", "differs by",
)  # fmt: skip

_NONE = "–"


# ---------------------------------------------------------------------------------------------
# Numbers


def number(value: float, digits: int = 2) -> str:
    """A number of some digits, without an exponent."""
    if value == 0:
        return "0"
    if abs(value) >= 10**digits:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def seconds(value: float | None) -> str:
    """A time in s, ms or µs."""
    if value is None:
        return _NONE
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if value * factor >= 1 or unit == "µs":
            return f"{number(value * factor)} {unit}"
    raise AssertionError("the last unit takes everything")


def size(value: float | None) -> str:
    """A number of bytes in GB, MB or kB (powers of ten)."""
    if value is None:
        return _NONE
    for unit, factor in (("GB", 1e-9), ("MB", 1e-6), ("kB", 1e-3)):
        if value * factor >= 1 or unit == "kB":
            return f"{number(value * factor)} {unit}"
    raise AssertionError("the last unit takes everything")


def ratio(ours: float | None, reference: float | None) -> str:
    """How many times less ours is."""
    if not ours or reference is None:
        return _NONE
    return f"{number(reference / ours)}×"


def _percent(value: float | None) -> str:
    return _NONE if value is None else f"{number(100 * value)}%"


# ---------------------------------------------------------------------------------------------
# What a record says


def peak_bytes(side: dict[str, Any]) -> float | None:
    """Memory of the compiled function by XLA: arguments, results and temporaries."""
    return side.get("xla_bytes")


def compile_seconds(side: dict[str, Any]) -> float | None:
    """Tracing, lowering and compiling."""
    if "lower_s" not in side:
        return None
    return side["lower_s"] + side["compile_s"]


def fractions(record: dict[str, Any], machine: dict[str, Any]) -> tuple[float | None, float | None]:
    """Rates of our side relative to the machine's of matrix products and of memory."""
    ours = record["ours"]
    if "median_s" not in ours:
        return None, None
    matrix = 1e-9 * ours["operations"] / ours["median_s"] / machine["gemm_gflops"]
    moved = ours["bytes_accessed"]
    stream = None
    if moved is not None:
        stream = 1e-9 * moved / ours["median_s"] / machine["stream_gbs"]
    return matrix, stream


def case_row(record: dict[str, Any], machine: dict[str, Any]) -> Row:
    """The cells of a case, in the order of `COLUMNS`."""
    ours, reference = record["ours"], record.get("reference", {})
    if "error" in ours:
        return (record["title"], record["task"], f"failed: {ours['error']}")
    times = ours.get("median_s"), reference.get("median_s")
    memory = peak_bytes(ours), peak_bytes(reference)
    deviation = record.get("deviation")
    differs = _NONE if deviation is None else f"{deviation:.0e}"
    if record.get("agrees") is False:
        differs += " !"
    if "error" in reference:
        differs = f"reference failed: {reference['error']}"
    matrix, stream = fractions(record, machine)
    return (
        record["title"],
        record["task"],
        *(seconds(value) for value in times),
        ratio(*times),
        *(size(value) for value in memory),
        ratio(*memory),
        seconds(compile_seconds(ours)),
        seconds(compile_seconds(reference)),
        number(record["atoms"] / times[0]) if times[0] else _NONE,
        _percent(matrix),
        _percent(stream),
        differs,
    )


def crossover_rows(rows: Sequence[dict[str, Any]]) -> Iterator[Row]:
    """Atoms from where on quadrature is cheaper, measured, and what `auto` takes."""
    yield ("attention, gradient", "quadrature cheaper from", "auto exact up to")
    for row in rows:
        measured = row["measured"]
        most = f"(not up to {row['atoms'][-1]:,})"
        yield row["title"], most if measured is None else f"{measured:,}", f"{row['auto']:,}"


def kernel_rows(rows: Sequence[dict[str, Any]]) -> Iterator[Row]:
    """Nanoseconds per pair of atoms by kernel of attention, output / gradient."""
    kernels = list(rows[0]["forward"])
    yield ("exact attention, ns per pair", *kernels)
    for row in rows:
        times = (f"{row['forward'][k]:.0f} / {row['gradient'][k]:.0f}" for k in kernels)
        yield row["title"], *times


def startup_rows(rows: Sequence[dict[str, Any]]) -> Iterator[Row]:
    """Seconds of a new process until its first predictions."""
    yield ("new process", "import", "load", "first predict", "again", "whole process")
    keys = ("import_s", "load_s", "first_s", "again_s", "process_s")
    for row in rows:
        yield row["title"], *(seconds(row[key]) for key in keys)


def describe_machine(results: dict[str, Any]) -> str:
    """One sentence about the machine, one about the versions."""
    machine, versions = results["machine"], results["versions"]
    where = machine["cpu"] if machine["platform"] == "cpu" else machine["device"]
    libraries = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{where}, {machine['cores']} cores, {machine['memory_gb']:.0f} GB: "
        f"{machine['gemm_gflops']:.0f} GFLOP/s in float32 matrix products, "
        f"{machine['stream_gbs']:.0f} GB/s of memory. {libraries}."
    )


# ---------------------------------------------------------------------------------------------
# Tables


def aligned(rows: Sequence[Row]) -> str:
    """Rows as text; the first is the head, the first column goes to the left."""
    columns = max(map(len, rows))
    # A row that ends early holds a message, which may be as long as it likes.
    whole = [row for row in rows if len(row) == columns]
    widths = [max(len(row[i]) for row in whole) for i in range(columns)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i == 0 or len(row) < columns else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def program_rows(programs: Sequence[dict[str, Any]]) -> Iterator[Row]:
    """What programs for a GPU consist of, beside what they did before."""
    yield (
        "program", "operations", "before", "not free", "before", "matrix products", "before",
        "their shapes", "before",
    )  # fmt: skip
    for record in programs:
        cells = [record["title"]]
        for key in ("operations", "costing", "products", "shapes"):
            before = record.get("before", {}).get(key)
            cells += [f"{record[key]:,}", _NONE if before is None else f"{before:,}"]
        yield cells


def markdown(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table; the first is the head."""
    head, *body = rows
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join(f"| {' | '.join(cell for cell in row)} |" for row in lines)


def text_report(results: dict[str, Any]) -> str:
    """All results as text."""
    parts = [describe_machine(results)]
    groups: dict[str, list[Row]] = {}
    for record in results["cases"]:
        rows = groups.setdefault(record["group"], [])
        rows.append(case_row(record, results["machine"]))
    for group, rows in groups.items():
        parts.append(f"{group}\n{aligned([COLUMNS, *rows])}")
    for name, rows_of in (
        ("crossover", crossover_rows),
        ("attention_kernels", kernel_rows),
        ("programs", program_rows),
        ("startup", startup_rows),
    ):
        if name in results:
            parts.append(aligned(list(rows_of(results[name]))))
        if name in results["errors"]:
            parts.append(f"{name} failed: {results['errors'][name]}")
    if results["cases"]:
        parts.append(
            "×: times less than the reference. memory: arguments, results and temporaries by XLA. "
            "compile: traced,\nlowered and compiled. matrix, stream: operations and bytes a second "
            "relative to the machine's rates; –: loops,\nwhose bytes XLA does not count. "
            "differs by: largest deviation of the results, relative to their largest number."
        )
    if results["quick"]:
        parts.append("Quick sizes: the numbers say that everything runs and agrees, no more.")
    return "\n\n".join(parts)
