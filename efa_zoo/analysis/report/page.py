"""A report as a page of HTML that needs nothing else."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

import numpy as np

from efa_zoo.analysis.evaluation.statistics import element_errors, part_errors
from efa_zoo.analysis.evaluation.uncertainty import uncertainty_quality
from efa_zoo.analysis.report.drawing import (
    calibration_picture,
    curves_picture,
    parity_picture,
    structure_picture,
)
from efa_zoo.analysis.report.findings import Findings, Part
from efa_zoo.base.config import to_table
from efa_zoo.base.progress import duration
from efa_zoo.models.hub.card_text import card_facts
from efa_zoo.structures.elements import symbol

__all__ = ["SECTIONS", "page"]

#: Structures that are drawn, and groups in a table.
_DRAWN, _GROUPS = 6, 10

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
.wide { overflow-x: auto; margin-bottom: 0.9rem; }
table { border-collapse: collapse; font-size: 0.92rem; }
th, td { padding: 0.2rem 0.7rem; text-align: right; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; }
table.facts td { text-align: left; } table.facts th { vertical-align: top; white-space: nowrap; }
img { max-width: 100%; background: white; border-radius: 4px; }
.drawn { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-size: 0.85rem; }
@media (max-width: 30rem) {
  table { font-size: 0.8rem; } th, td { padding: 0.2rem 0.3rem; }
}
"""


def page(found: Findings) -> str:
    """Write a page.

    Args:
        found: what it is about.

    Returns:
        A whole document.
    """
    about = found.card.description if found.card is not None else "a training run, not finished"
    body = [f"<h1>{escape(found.name)}</h1><p>{escape(about)}</p>"]
    for title, section in SECTIONS.items():
        if text := section(found):
            body.append(f"<section><h2>{escape(title)}</h2>{text}</section>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(found.name)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _facts(found: Findings) -> str:
    if found.card is None:
        return ""
    return _fact_table(card_facts(found.card).items())


def _curves(found: Findings) -> str:
    if found.log is None:
        return ""
    return _picture(curves_picture(found.log), "Loss and validation errors over the steps")


def _parity(found: Findings) -> str:
    if found.card is None:
        return ""
    return "".join(
        _picture(parity_picture(part, found.card), f"Predictions over labels, {part.name}")
        for part in _shown(found)
    )


def _errors(found: Findings) -> str:
    if not found.parts:
        return f"<p>Nothing was predicted: {escape(found.missing)}.</p>"
    text = "<p>Mean absolute and root-mean-square errors of energies and force components.</p>"
    for part in found.parts:
        rows = part_errors(part.structures, part.predictions)
        rows |= {f"group {name}": row for name, row in _group_errors(part).items()}
        elements = element_errors(part.structures, part.predictions)
        text += f"<h3>{escape(part.name)}</h3>"
        text += _table(
            ("structures", "count", "energy MAE (meV)", "RMSE", "force MAE (meV/Å)", "RMSE"),
            ([name, f"{row['count']:.0f}", *_milli(row)] for name, row in rows.items()),
        )
        text += _table(
            ("forces on", "atoms", "force MAE (meV/Å)", "RMSE"),
            ([name, f"{row['count']:.0f}", *_milli(row)] for name, row in elements.items()),
        )
    return text


def _group_errors(part: Part) -> dict[str, dict[str, float]]:
    """Errors of the groups with the largest ones, where there are several."""
    members: dict[str, list[int]] = defaultdict(list)
    for index, structure in enumerate(part.structures):
        members[structure.group or structure.pair].append(index)
    if not 1 < len(members) < len(part.structures):
        return {}
    rows = {
        name or "none": part_errors(
            [part.structures[i] for i in inside], [part.predictions[i] for i in inside]
        )["all"]
        for name, inside in members.items()
    }
    worst = sorted(rows, key=lambda name: -rows[name]["energy_mae"])[:_GROUPS]
    return {name: rows[name] for name in worst}


def _worst(found: Findings) -> str:
    text = ""
    for part in _shown(found):
        drawn = "".join(_figure(part, index) for index in _largest_errors(part))
        text += (
            f"<p>Of {escape(part.name)}: half with the largest errors of the energy for each atom, "
            "half with the largest of a force. Arrows are errors of the forces, prediction minus "
            f'label; the longest of a picture is as in its caption.</p><div class="drawn">{drawn}'
            "</div>"
        )
    return text


def _largest_errors(part: Part) -> list[int]:
    sizes = np.asarray([len(s.atomic_numbers) for s in part.structures])
    of_energies = np.argsort(-np.abs(part.energy_errors) / sizes, kind="stable").tolist()
    largest = [float(np.linalg.norm(error, axis=1).max()) for error in part.force_errors]
    of_forces = np.argsort(-np.asarray(largest), kind="stable").tolist()
    chosen = of_energies[: _DRAWN // 2]
    rest = [index for index in of_forces if index not in chosen]
    return chosen + rest[: _DRAWN - len(chosen)]


def _figure(part: Part, index: int) -> str:
    structure, error = part.structures[index], part.force_errors[index]
    energy = 1e3 * part.energy_errors[index]
    force = float(np.linalg.norm(error, axis=1).max())
    charge = f", {structure.total_charge:+d} e" if structure.total_charge else ""
    name = structure.pair or structure.group
    caption = (
        f"{_formula(structure.atomic_numbers)}{charge}{f' ({name})' if name else ''}, number "
        f"{index}: energy off by {energy:+.3g} meV, a force by {force:.3g} eV/Å"
    )
    picture = structure_picture(structure.atomic_numbers, structure.positions, error)
    return (
        f"<figure>{_picture(picture, caption)}<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _formula(numbers: np.ndarray) -> str:
    found, counts = np.unique(numbers, return_counts=True)
    parts = zip(found.tolist(), counts.tolist(), strict=True)
    return "".join(symbol(z) + (str(count) if count > 1 else "") for z, count in parts)


def _uncertainty(found: Findings) -> str:
    if found.card is None:
        return ""
    tables = {
        part.name: table
        for part in found.parts
        if (table := uncertainty_quality(part.structures, part.predictions, found.card))
    }
    if not found.parts:
        tables = found.card.metrics.get("uncertainty", {})
    if not tables:
        return ""
    rows = [
        [
            f"{name}, {kind}",
            f"{row['spearman']:.2f}",
            f"{100 * row['coverage']:.1f}",
            f"{row['miscalibration']:.3f}",
            f"{100 * row['refused']:.2g}" if "refused" in row else "",
        ]
        for name, table in tables.items()
        for kind, row in table.items()
    ]
    heads = ("errors of", "Spearman", "within σ (%)", "area", "refused (%)")
    return (
        "<p>Predicted uncertainties σ against errors. Spearman is the rank correlation of the two: "
        "1 where the larger error always has the larger σ. Of the errors 68.3 % should lie within "
        "σ; the picture has the same for other intervals, and its area is what lies between curve "
        "and diagonal. Refused are structures with an atom whose surroundings are not known.</p>"
        + _table(heads, rows)
        + _picture(calibration_picture(tables), "Shares of errors in intervals, found and expected")
    )


def _times(found: Findings) -> str:
    facts: dict[str, str] = {}
    cost = found.card.cost if found.card is not None else {}
    if found.log is not None and "seconds" in found.log.columns:
        seconds = float(found.log.columns["seconds"][-1])
        steps = int(found.log.steps[-1])
        facts["training"] = f"{duration(seconds)} for {steps:,} steps"
    elif isinstance(cost.get("seconds"), int | float):
        facts["training"] = duration(float(cost["seconds"]))
    if "device" in cost:
        facts["trained on"] = str(cost["device"])
    if found.speed:
        facts["prediction"] = f"{found.speed:.3g} structures/s here, once compiled"
    return _fact_table(facts.items()) if facts else ""


def _recipe(found: Findings) -> str:
    tables = found.recipe
    if found.card is not None:
        tables = {"model": to_table(found.card.model)}
        if found.card.training is not None:
            tables |= {"training": to_table(found.card.training)}
    rows = [(key, str(value)) for key, value in _flat(tables)]
    return f"<details><summary>{len(rows)} options</summary>{_fact_table(rows)}</details>"


def _flat(table: Mapping[str, object], prefix: str = "") -> Iterable[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(found: Findings) -> Sequence[Part]:
    """The parts that pictures are of: the test split where there is one, else the last."""
    named = [part for part in found.parts if part.name == "test"]
    return named or found.parts[-1:]


def _milli(row: Mapping[str, float]) -> list[str]:
    keys = ("energy_mae", "energy_rmse", "force_mae", "force_rmse")
    numbers = [1e3 * row[key] for key in keys if key in row]
    return [f"{number:.3g}" if math.isfinite(number) else "" for number in numbers]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    lines = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{lines}</table></div>'


def _fact_table(facts: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in facts)
    return f'<div class="wide"><table class="facts">{rows}</table></div>'


def _picture(source: str, words: str) -> str:
    return f'<img src="{source}" alt="{escape(words)}">'


#: Sections in their order; each writes what there is to say, or nothing.
SECTIONS: Mapping[str, Callable[[Findings], str]] = {
    "The model": _facts,
    "How it learned": _curves,
    "Predictions and labels": _parity,
    "Errors": _errors,
    "Largest errors": _worst,
    "Uncertainty": _uncertainty,
    "Times": _times,
    "Recipe": _recipe,
}
