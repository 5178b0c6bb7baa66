"""Write docs/benchmarks.md and its picture from the results in docs/benchmarks*.json.

    python tests/benchmarks --reference PATH --out docs/benchmarks.json
    python docs/benchmarks.py

Results of another machine, such as one with a GPU, are stored beside as `benchmarks_gpu.json` and
get a section of their own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent / "tests"))

from benchmarks.report import (  # noqa: E402
    compile_seconds,
    crossover_rows,
    describe_machine,
    fractions,
    kernel_rows,
    markdown,
    number,
    peak_bytes,
    program_rows,
    ratio,
    seconds,
    size,
    startup_rows,
)

Results = dict[str, Any]
Record = dict[str, Any]

HEAD = """\
# Speed and memory

This page is written by `python docs/benchmarks.py` from the results of

    python tests/benchmarks --reference PATH --out docs/benchmarks.json

which measures this library and the reference implementation of Euclidean fast attention in one
run: the same weights, imported from one to the other, the same structures, float32, and results
that are compared before a ratio counts. Every measurement has a process of its own. The two sides
are compiled one after the other and then called in turns, in bursts of about a second, as in a
training or a simulation; the first call of a burst, which finds the caches as the other side left
them, does not count. Times are medians. "×" says how many times less this library takes. Memory is
what the compiled function needs by XLA's account (arguments, results, temporaries); the resident
memory that calls add to the process, in which matrix libraries' own buffers and noise of some MB
are included, is in the stored results.
"""

_AGAINST_THE_MACHINE = """\
### Against the machine

Operations and bytes a second, relative to the machine's rates in a product of two large matrices
and in the sum of two large arrays. Bytes are those that XLA's operations read and write, also where
they stay in a cache, so more than 100% is possible; in loops it does not count them (–)."""

_PROGRAMS = """\
### Programs for a GPU

Lowered for a GPU and not run on one: how many operations a compiler is given, and how many before
each platform got contractions in a form of its own and projections of the same features became one
product. Operations of functions count as often as they are called, those of loops once; constants,
broadcasts and shapes are free. Distinct shapes of matrix products are what a GPU's compiler tunes.
What these programs take on a GPU has not been measured."""

_LIMITS = """\
What limits the times that are not reached: how many kernels (pieces that the compiled program
starts) a call takes and the mean time of one, the share of that time in matrix products, and the
rates of all operations and of memory relative to the machine's (–: loops, see above). No rate is
near 100%. Kernels of some 10 µs have too little to do for two cores, and matrix products of a few
dozen rows do not run at the rate of large ones; in kernels of 100 µs and more it is arithmetic
outside of matrix products, such as sines and cosines."""


_LIMITS_OF_COMPILATION = """\
Where compiling takes longer than the reference's ({}),
chunks of atoms and of pairs are why: they keep the memory low, but become loops of their own in the
forward pass, in the backward pass and in the derivatives of both, each of which is compiled."""


_CELLS = """ A cell is
rock salt, ions 0.2 Å off their sites: `mpnn_efa_nacl_bulk` with energy, forces and stress, and
beside it the Coulomb energy alone with the same Gaussians of 1.5 Å, pairs to 6 Å and tolerance of
10⁻⁴, by the plain Ewald sum of jax-pme."""


# ---------------------------------------------------------------------------------------------
# What was aimed for


@dataclass(frozen=True)
class Aim:
    """A number to reach.

    Attributes:
        what: in words.
        wanted: the bound, for people.
        found: the number, for people, and whether it is good enough; None if not measured.
        record: name of the case whose kernels explain a miss, if any.
    """

    what: str
    wanted: str
    found: Callable[[Results], tuple[str, bool] | None]
    record: str | None = None


def _cases(results: Results) -> dict[str, Record]:
    return {record["name"]: record for record in results["cases"]}


def _pair(results: Results, case: str, get: Callable[[Record], Any]) -> tuple[Any, Any] | None:
    """A number of both sides, None unless both have it."""
    record = _cases(results).get(case, {})
    values = tuple(get(record.get(side, {})) for side in ("ours", "reference"))
    return None if None in values else (values[0], values[1])


def _time(side: Record) -> float | None:
    return side.get("median_s")


def _times_less(what: str, case: str, get: Callable[[Record], Any], least: float) -> Aim:
    def found(results: Results) -> tuple[str, bool] | None:
        pair = _pair(results, case, get)
        if pair is None:
            return None
        return ratio(*pair), pair[1] / pair[0] >= least

    return Aim(what, f"at least {least:g}×" if least != 1 else "not more", found, case)


def _at_most(
    what: str, wanted: str, limit: float, get: Callable[[Results], float | None], show: Any
) -> Aim:
    def found(results: Results) -> tuple[str, bool] | None:
        value = get(results)
        return None if value is None else (show(value), value <= limit)

    return Aim(what, wanted, found)


def _million(results: Results) -> float | None:
    side = _cases(results).get("scaling_quadrature_1000000/gradient", {}).get("ours", {})
    return side.get("resident_bytes")


def _spread(results: Results) -> float | None:
    """Largest over smallest time per atom from 10⁴ to 10⁶ atoms."""
    times = []
    for atoms in (10_000, 100_000, 1_000_000):
        record = _cases(results).get(f"scaling_quadrature_{atoms}/gradient", {})
        time = record.get("ours", {}).get("median_s")
        if time is None:
            return None
        times.append(time / atoms)
    return max(times) / min(times) - 1


def _startup(index: int) -> Callable[[Results], float | None]:
    def get(results: Results) -> float | None:
        rows = results.get("startup")
        if rows is None:
            return None
        return rows[index]["first_s"]

    return get


_NETWORKS = (
    ("molecules_16x13", "16 × 13 atoms, attention", 20, 20),
    ("molecules_16x13_local", "16 × 13 atoms, local", 6, 20),
    ("molecules_32x32", "32 × 32 atoms, attention", 10, 20),
    ("system_500", "500 atoms, attention", 6, 8),
)
_TASKS = (("energy_forces", "energy and forces"), ("training", "training gradient"))

_ATTENTION = (
    ("attention_32x32", "attention, 32 × 32 atoms", 100, None),
    ("attention_32x32_integration", "… and tensor integration", 100, None),
    ("attention_32768", "attention, 32,768 atoms", 3, 5),
)

AIMS: tuple[Aim, ...] = (
    *(
        aim
        for name, title, time, memory in _NETWORKS
        for task, words in _TASKS
        for aim in (
            _times_less(f"{title}: {words}, time", f"{name}/{task}", _time, time),
            _times_less(f"{title}: {words}, memory", f"{name}/{task}", peak_bytes, memory),
            _times_less(f"{title}: {words}, compile", f"{name}/{task}", compile_seconds, 1),
        )
    ),
    *(
        aim
        for name, title, time, memory in _ATTENTION
        for task in ("forward", "gradient")
        for aim in (
            _times_less(f"{title}: {task}, time", f"{name}/{task}", _time, time),
            *(
                [_times_less(f"{title}: {task}, memory", f"{name}/{task}", peak_bytes, memory)]
                if memory
                else []
            ),
        )
    ),
    _at_most(
        "attention, 1,000,000 atoms: gradient, resident memory",
        "at most 16 GB",
        16e9,
        _million,
        size,
    ),
    _at_most(
        "attention: time per atom of a gradient from 10⁴ to 10⁶ atoms",
        "constant within 30%",
        0.3,
        _spread,
        lambda value: f"{number(100 * value)}% from smallest to largest",
    ),
    _at_most(
        "first `predict` after `load` in a new process", "at most 15 s", 15, _startup(0), seconds
    ),
    _at_most("the same with a filled cache", "at most 3 s", 3, _startup(2), seconds),
)


def aims(results: Results) -> Iterator[Sequence[str]]:
    """What was aimed for and what was reached."""
    yield ("what", "wanted", "found", "reached")
    for aim in AIMS:
        found = aim.found(results)
        if found is not None:
            yield aim.what, aim.wanted, found[0], "yes" if found[1] else "**no**"


def limits(results: Results) -> Iterator[Sequence[str]]:
    """For each case whose aim of time was missed, what the library's time is spent on."""
    yield ("case", "kernels a call", "each", "in matrix products", "… at", "memory at")
    seen = set()
    for aim in AIMS:
        found = aim.found(results)
        missed = found is not None and not found[1] and aim.what.endswith("time")
        if not missed or aim.record is None or aim.record in seen:
            continue
        seen.add(aim.record)
        record = _cases(results)[aim.record]
        kernels = record["ours"]["kernels"]
        matrix, stream = fractions(record, results["machine"])
        yield (
            aim.what.removesuffix(", time"),
            number(kernels["runs"]),
            seconds(kernels["seconds"] / kernels["runs"]),
            f"{number(100 * kernels['matrix_seconds'] / kernels['seconds'])}%",
            *("–" if share is None else f"{number(100 * share)}%" for share in (matrix, stream)),
        )


def slowly_compiled(results: Results) -> Iterator[str]:
    """The cases whose aim of compile time was missed."""
    for aim in AIMS:
        found = aim.found(results)
        if found is not None and not found[1] and aim.what.endswith(", compile"):
            yield aim.what.removesuffix(", compile")


# ---------------------------------------------------------------------------------------------
# The page


def side_by_side(records: Sequence[Record], get: Callable[[Record], Any], show: Any) -> list[Any]:
    """One quantity of both sides with their ratio."""
    rows: list[Sequence[str]] = [("case", "task", "this library", "reference", "×")]
    for record in records:
        pair = get(record["ours"]), get(record.get("reference", {}))
        rows.append((record["title"], record["task"], *map(show, pair), ratio(*pair)))
    return rows


def throughput(records: Sequence[Record], machine: Record) -> list[Any]:
    """Atoms a second, and how much of the machine that takes."""
    rows: list[Sequence[str]] = [
        ("case", "task", "atoms/s", "matrix products", "memory", "results differ by")
    ]
    for record in records:
        time = _time(record["ours"])
        shares = fractions(record, machine)
        deviation = record.get("deviation")
        rows.append(
            (
                record["title"],
                record["task"],
                "–" if time is None else number(record["atoms"] / time),
                *("–" if share is None else f"{number(100 * share)}%" for share in shares),
                "–" if deviation is None else f"{deviation:.0e}",
            )
        )
    return rows


def scaling(records: Sequence[Record]) -> list[Any]:
    """Time per atom and memory over the number of atoms."""
    rows: list[Sequence[str]] = [
        ("case", "task", "time", "time per atom", "memory", "resident", "compile")
    ]
    for record in records:
        ours = record["ours"]
        if "error" in ours:
            rows.append((record["title"], record["task"], ours["error"], "", "", "", ""))
            continue
        time = ours["median_s"]
        rows.append(
            (
                record["title"],
                record["task"],
                seconds(time),
                seconds(time / record["atoms"]),
                size(peak_bytes(ours)),
                size(ours["resident_bytes"]),
                seconds(compile_seconds(ours)),
            )
        )
    return rows


def section(results: Results, picture: str) -> Iterator[str]:
    """The part of the page on one machine."""
    machine = results["machine"]
    yield f"## On {'a CPU' if machine['platform'] == 'cpu' else 'a GPU'}"
    yield f"{describe_machine(results)} Measured on {results['date']}."
    if results["quick"]:
        yield "**Tiny sizes (`--quick`): these numbers say that everything runs, no more.**"
    measured = [record for record in results["cases"] if "error" not in record]
    compared = [record for record in measured if "deviation" in record]
    if compared:
        agreed = all(record["agrees"] for record in compared)
        worst = max(record["deviation"] for record in compared)
        yield (
            f"The results of both sides {'agree' if agreed else '**do not agree**'} in all "
            f"{len(compared)} cases, the worst to {worst:.0e} of their largest number."
            if agreed
            else f"**The results of both sides differ by up to {worst:.0e}.**"
        )
        yield "### Time\n\n" + markdown(side_by_side(compared, _time, seconds))
        yield "### Memory\n\n" + markdown(side_by_side(compared, peak_bytes, size))
        yield (
            "### Compilation\n\nTracing, lowering and compiling:\n\n"
            + markdown(side_by_side(compared, compile_seconds, seconds))
        )
    whole = [record for record in measured if not record["group"].startswith("Scaling of att")]
    if whole:
        yield f"{_AGAINST_THE_MACHINE}\n\n{markdown(throughput(whole, machine))}"
    rows = list(aims(results))
    if len(rows) > 1:
        yield "### Aims\n\n" + markdown(rows)
    missed = list(limits(results))
    if len(missed) > 1:
        yield f"{_LIMITS}\n\n{markdown(missed)}"
    slow = list(slowly_compiled(results))
    if slow:
        yield _LIMITS_OF_COMPILATION.format("; ".join(slow))
    scaled = [record for record in measured if record["group"].startswith("Scaling")]
    if scaled:
        cells = _CELLS if any(r["group"] == "Scaling of cells" for r in scaled) else ""
        yield (
            f"### Scaling\n\n![Time and memory over the number of atoms]({picture})\n\n"
            "Attention is one layer of 32 scalar features with a grid of 50 points, the network "
            "that of the first table, the structures a liquid's density in a ball. The gradient "
            f"is that for weights, features and positions.{cells}\n\n{markdown(scaling(scaled))}"
        )
    if "crossover" in results:
        yield (
            "### Exact sum or quadrature\n\nWhere the two evaluations of a layer of 32 features "
            "take the same time for a gradient, and what `auto` chooses by its cost model:\n\n"
            + markdown(list(crossover_rows(results["crossover"])))
        )
    if "attention_kernels" in results:
        yield (
            "### Kernels of attention\n\nThe exact form of a layer of 32 features and 12 heads, "
            "output / gradient for features and positions, in nanoseconds per pair of atoms:\n\n"
            + markdown(list(kernel_rows(results["attention_kernels"])))
        )
    if "programs" in results:
        yield f"{_PROGRAMS}\n\n{markdown(list(program_rows(results['programs'])))}"
    if "startup" in results:
        yield (
            "### The first prediction\n\n`mpnn_efa_dimers` on two water molecules; the cache is "
            "that of `efa_zoo.use_compilation_cache`:\n\n"
            + markdown(list(startup_rows(results["startup"])))
        )


def page(found: Sequence[Results]) -> str:
    """The whole page.

    Args:
        found: results, one of every machine.
    """
    parts = [HEAD.rstrip()]
    for results in found:
        parts.extend(section(results, f"images/{picture_name(results)}"))
    if not any(results["machine"]["platform"] in ("gpu", "cuda", "rocm") for results in found):
        parts.append(
            "## On a GPU\n\nNot measured: there was no GPU where this page was made. On a machine "
            "that has one, the same command with `--out docs/benchmarks_gpu.json` adds a section."
        )
    return "\n\n".join(parts) + "\n"


def picture_name(results: Results) -> str:
    """File name of a machine's picture."""
    return "scaling.png" if results["machine"]["platform"] == "cpu" else "scaling_gpu.png"


# ---------------------------------------------------------------------------------------------
# The picture

#: Name of a series of cases, its colour, and whether its line is dashed.
_SERIES = (
    ("scaling_quadrature", "gradient", "quadrature, gradient", "#0b5394", "-"),
    ("scaling_quadrature", "forward", "quadrature, forward", "#6fa8dc", "-"),
    ("scaling_exact", "gradient", "exact sum, gradient", "#b45f06", "-"),
    ("scaling_exact", "forward", "exact sum, forward", "#f6b26b", "-"),
    ("network", "energy_forces", "network, energy and forces", "#38761d", "-"),
    ("cell_network", "energy_forces", "network in a cell", "#741b47", "-"),
    ("cell_ewald", "energy_forces", "jax-pme's Ewald sum", "#c27ba0", "--"),
)


def draw(results: Results, path: Path) -> None:
    """Draw time and memory over the number of atoms, both axes logarithmic.

    Args:
        results: of one machine.
        path: of the picture.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 4.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for name, task, label, color, style in _SERIES:
        points = sorted(
            (record["atoms"], record["ours"]["median_s"], peak_bytes(record["ours"]))
            for record in results["cases"]
            if record["name"].startswith(f"{name}_")
            and record["name"].endswith(f"/{task}")
            and "median_s" in record["ours"]
        )
        if not points:
            continue
        atoms, times, memory = zip(*points, strict=True)
        options = {"color": color, "ls": style, "marker": "o", "ms": 5, "lw": 2}
        panels[0].plot(atoms, times, label=label, **options)
        panels[1].plot(atoms, [1e-9 * (value or 0) for value in memory], **options)
    for axes, title, unit in (
        (panels[0], "Time of a call", "time (s)"),
        (panels[1], "Memory of a call", "memory (GB)"),
    ):
        axes.set(xscale="log", yscale="log", xlabel="atoms", ylabel=unit)
        axes.set_title(title, loc="left", fontsize=12, weight="bold")
        axes.grid(which="major", color="0.9", lw=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        _draw_slope(axes)
    panels[1].axhline(16, color="#990000", lw=1, ls="--")
    panels[1].annotate(
        "16 GB",
        (0.01, 16),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        color="#990000",
        fontsize=9,
    )
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=150)


def _draw_slope(axes: Any) -> None:
    """A line proportional to the number of atoms, below the curve that goes farthest."""
    if not axes.lines:
        return
    ends = [(line.get_xdata()[-1], line.get_ydata()[-1]) for line in axes.lines]
    atoms = max(end[0] for end in ends)
    value = min(end[1] for end in ends if end[0] == atoms) / 3
    axes.plot([atoms / 50, atoms], [value / 50, value], ":", color="0.55", lw=1.4)
    axes.annotate(
        "∝ atoms",
        (atoms / 10, value / 10),
        xytext=(6, -12),
        textcoords="offset points",
        color="0.45",
        fontsize=9,
    )


def stored() -> list[Results]:
    """The results in docs/, the CPU's first."""
    files = sorted(DOCS.glob("benchmarks*.json"), key=lambda file: (len(file.name), file.name))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


if __name__ == "__main__":
    found = stored()
    for results in found:
        if any(record["group"].startswith("Scaling") for record in results["cases"]):
            draw(results, DOCS / "images" / picture_name(results))
    (DOCS / "benchmarks.md").write_text(page(found), encoding="utf-8")
