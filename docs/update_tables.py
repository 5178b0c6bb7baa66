"""Write the tables of README and docs from the cards in zoo/.

    python docs/update_tables.py

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`; the tests check that it is up to date.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from report.crystal import crystals
from report.results import Results
from report.tables import markdown, model_table

import efa_zoo
from efa_zoo import Card, Coulomb, WindowedWaves
from efa_zoo.base.config import KernelConfig
from efa_zoo.models.hub.card_text import signed
from efa_zoo.models.hub.records import PURPOSES, Purpose

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def _reach(kernel: KernelConfig) -> str:
    if isinstance(kernel, Coulomb):
        return "by Coulomb's law"
    if isinstance(kernel, WindowedWaves):
        return f"in windows of {kernel.width:g} Å"
    return f"to {kernel.frequencies.max_length:g} Å"


def _cards(purpose: Purpose) -> list[Card]:
    found = [efa_zoo.card(name) for name in efa_zoo.list_models()]
    found.sort(key=lambda card: card.model.attention is None)  # siblings come last
    return [card for card in found if card.purpose == purpose]


def models_for_use() -> Iterator[str]:
    """One row per model that is trained for use."""
    yield markdown(model_table((card, card.metrics["test"]["all"]) for card in _cards("use")))


def models() -> Iterator[str]:
    """One row per trained model, by purpose."""
    for purpose, title in PURPOSES.items():
        yield from ("", f"{title}:", "")
        yield markdown(model_table((c, c.metrics["test"]["all"]) for c in _cards(purpose)))


def chooser() -> Iterator[str]:
    """Which model is for what, a line each."""
    yield "| model | for | elements, charges |"
    yield "|---|---|---|"
    for purpose, title in PURPOSES.items():
        yield f"| **{title}** | | |"
        for card in _cards(purpose):
            assert card.domain is not None
            charges = signed(card.domain.total_charges)
            knows = f"{' '.join(card.domain.elements)}; {charges}"
            yield f"| [`{card.name}`](#{card.name}) | {card.description} | {knows} |"


def dimers() -> Iterator[str]:
    """Errors of both dimer models side by side, by split and separation."""
    names = ("mpnn_efa_dimers", "mpnn_dimers")
    metrics = [efa_zoo.card(name).metrics for name in names]
    yield "Mean absolute errors, energy (meV) / force (meV/Å):"
    yield ""
    yield f"| structures | number | {' | '.join(f'`{name}`' for name in names)} |"
    yield "|---|---|---|---|"
    for split in ("validation", "test", "transfer"):
        for part, row in metrics[0][split].items():
            errors = [table[split][part] for table in metrics]
            cells = [f"{1e3 * e['energy_mae']:.1f} / {1e3 * e['force_mae']:.1f}" for e in errors]
            label = f"**{split}**" if part == "all" else part
            yield f"| {label} | {row['count']} | {' | '.join(cells)} |"
    ranges = [table["long_range"] for table in metrics]
    yield ""
    yield "Interaction energy at 6 to 15 Å: RMSE (meV) on the test split, share of the label's RMS:"
    yield ""
    yield f"| pairs | number | label's RMS | {' | '.join(f'`{name}`' for name in names)} |"
    yield "|---|---|---|---|---|"
    ranges = [table["long_range"] for table in metrics]
    for part, row in ranges[0].items():
        if part != "scans":
            errors = [table[part] for table in ranges]
            cells = [f"{1e3 * e['rmse']:.1f} ({100 * e['ratio']:.0f}%)" for e in errors]
            yield f"| {part} | {row['count']} | {1e3 * row['rms']:.1f} | {' | '.join(cells)} |"
    yield ""
    correlations = [table["scans"]["correlation"] for table in ranges]
    yield (
        f"Correlation of the coefficients of Σ cₙ r⁻ⁿ over {ranges[0]['scans']['count']} scans: "
        f"{correlations[0]:.3f} with attention, {correlations[1]:.3f} without."
    )


def cards() -> Iterator[str]:
    """What is known about each trained model."""
    for purpose in PURPOSES:
        for card in _cards(purpose):
            yield from _card(card)


def _card(card: Card) -> Iterator[str]:
    assert card.domain is not None
    assert card.weights is not None
    domain, local, attention = card.domain, card.model.message_passing, card.model.attention
    charges = ", ".join(f"{charge:+d}" if charge else "0" for charge in domain.total_charges)
    heard = "no attention"
    if attention is not None:
        heard = f"attention {_reach(attention.kernel)}"
        if attention.integration is not None:
            heard += " with tensor integration"
    facts = {
        "data": f"{card.data.name}, {card.data.level_of_theory}",
        "source": card.data.citation,
        "splits": card.data.splits,
        "elements": " ".join(domain.elements),
        "total charges": f"{charges} e" + (", closed shells" if domain.closed_shell else ""),
        "distances": f"{domain.min_distance:g} to {domain.max_distance:g} Å",
        "network": f"{card.model.features} features, {card.model.iterations} blocks, cutoff "
        f"{local.cutoff:g} Å, degree {local.degree}; {heard}",
        "parameters": f"{card.weights.parameters:,} ({card.weights.bytes / 1e3:,.0f} kB)",
    }
    if card.cost:
        seconds = card.cost["seconds"]
        time = f"{seconds / 60:,.0f} minutes" if seconds >= 120 else f"{seconds} s"
        facts["training"] = f"{card.cost['steps']:,} steps in {time}, {card.cost['device']}"
    yield from ("", f"## {card.name}", "", card.description, "", "| | |", "|---|---|")
    for name, fact in facts.items():
        if fact:
            yield f"| {name} | {fact} |"
    yield ""
    yield "| split | structures | energy MAE | energy RMSE | force MAE | force RMSE |"
    yield "|---|---:|---:|---:|---:|---:|"
    for split, parts in card.metrics.items():
        if isinstance(parts, dict) and "energy_mae" in (row := parts.get("all", {})):
            cells = [f"{1e3 * row[f'energy_{kind}']:.3g} meV" for kind in ("mae", "rmse")]
            cells += [f"{1e3 * row[f'force_{kind}']:.3g} meV/Å" for kind in ("mae", "rmse")]
            yield f"| {split} | {row['count']:,} | {' | '.join(cells)} |"
    if card.calibration is None:
        yield from (
            "",
            "Not calibrated: no uncertainties, and nothing is refused for its surroundings.",
        )
    elif quality := card.metrics.get("uncertainty", {}).get("test"):
        energy, force = quality["energy"], quality["force"]
        yield from (
            "",
            f"Uncertainty on the test split: {100 * energy['coverage']:.0f}% of energies and "
            f"{100 * force['coverage']:.0f}% of force components within ±σ, rank correlations with "
            f"the errors {energy['spearman']:.2f} and {force['spearman']:.2f}; "
            f"{100 * energy['refused']:.2g}% refused.",
        )
    if card.limits:
        yield from ("", f"**Limits.** {' '.join(card.limits.split())}")


#: Names of the parts of a variant's name in docs/kernels.json.
_VARIANTS = {
    "waves": "waves for 20 Å",
    "coulomb": "Coulomb",
    "scalars": "scalars",
    "vectors": "vectors",
    "vectors_wide": "vectors",
    "plain": "no",
    "direct": "yes",
}


def kernels() -> Iterator[str]:
    """Errors of short trainings on dimers by kernel, by what attention sees and by updates."""
    found = json.loads((DOCS / "kernels.json").read_text(encoding="utf-8"))
    pairs = ("two charged", "charged and neutral", "two neutral")
    yield (
        "| kernel | sees | direct updates | parameters | test, meV / meV/Å | 8 to 15 Å, meV "
        f"| {' | '.join(pairs)} | correlation | unseen pairs, meV |"
    )
    yield "|---|---|---|" + "---:|" * (len(pairs) + 5)
    for name, errors in found.items():
        labels = [_VARIANTS[part] for part in name.split(".")]
        test, far = errors["test"]["all"], errors["test"]["8 to 15 Å"]
        shares = [
            f"{1e3 * row['rmse']:.0f} ({100 * row['ratio']:.0f}%)"
            for row in (errors["long_range"][pair] for pair in pairs)
        ]
        cells = [
            *labels,
            f"{errors['parameters']:,}",
            f"{1e3 * test['energy_mae']:.0f} / {1e3 * test['force_mae']:.0f}",
            f"{1e3 * far['energy_mae']:.0f}",
            *shares,
            f"{errors['long_range']['scans']['correlation']:.3f}",
            f"{1e3 * errors['transfer']['all']['energy_mae']:.0f}",
        ]
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield (
        "| kernel | sees | direct updates | kind of pairs | power of the tail | label's power "
        "| wrong signs, 8 to 11 Å |"
    )
    yield "|---|---|---|---|---:|---:|---:|"
    for name, errors in found.items():
        if "wide" in name:
            continue
        labels = [_VARIANTS[part] for part in name.split(".")]
        for pair, tail in errors["tails"].items():
            power = f"{tail['model']:.2f}" if "model" in tail else "–"
            distant = errors["interactions"][pair].get("8 to 11 Å", {})
            wrong = f"{100 * distant['wrong_sign']:.0f}%" if "wrong_sign" in distant else "–"
            yield f"| {' | '.join(labels)} | {pair} | {power} | {tail['label']:.2f} | {wrong} |"


def symmetry() -> Iterator[str]:
    """What transformations that should change nothing do change."""
    found = json.loads((DOCS / "symmetry.json").read_text(encoding="utf-8"))
    yield f"| {' | '.join(found['columns'])} |"
    yield "|---|" + "---:|" * (len(found["columns"]) - 1)
    for label, *errors in found["rows"]:
        yield f"| {label} | {' | '.join(_error(error) for error in errors)} |"
    yield ""
    yield found["conditions"]


def robustness() -> Iterator[str]:
    """What became of cases of everything that comes from outside."""
    found = json.loads((DOCS / "robustness.json").read_text(encoding="utf-8"))
    yield f"| {' | '.join(found['columns'])} |"
    yield "|---|" + "---:|" * (len(found["columns"]) - 1)
    for label, *counts in found["rows"]:
        yield f"| {label} | {' | '.join(f'{count:,}' for count in counts)} |"


def uncertainty() -> Iterator[str]:
    """How well uncertainties fit errors, by model and split."""
    kinds = [f"{kind}: rank | within σ | area" for kind in ("energy", "force")]
    yield f"| model | split | {' | '.join(kinds)} | refused |"
    yield "|---|---|" + "---:|" * 7
    for name in efa_zoo.list_models():
        for split, found in efa_zoo.card(name).metrics.get("uncertainty", {}).items():
            cells = [
                f"{row['spearman']:.2f} | {100 * row['coverage']:.0f}% "
                f"| {row['miscalibration']:.3f}"
                for row in (found["energy"], found["force"])
            ]
            refused = f"{100 * found['energy']['refused']:.2f}%"
            yield f"| `{name}` | {split} | {' | '.join(cells)} | {refused} |"


def trust() -> Iterator[str]:
    """What is refused of structures that models have not learned from, and what that costs."""
    found = json.loads((DOCS / "trust.json").read_text(encoding="utf-8"))
    yield (
        "| model | structures | tried | refused | wrong by 0.5 eV | refused of these "
        "| wrong tenfold | refused of these |"
    )
    yield "|---|---|" + "---:|" * 6
    for name, row in found.items():
        for kind, counts in row.get("strangers", {}).items():
            keys = ("count", "refused", "wrong", "wrong_refused", "tenfold", "tenfold_refused")
            yield f"| `{name}` | {kind} | {' | '.join(f'{counts[key]:,}' for key in keys)} |"
    yield ""
    for name, row in found.items():
        for kind, counts in row.get("strangers", {}).items():
            if missed := counts["missed"]:
                number = counts["tenfold"] - counts["tenfold_refused"]
                texts = ", ".join(f"{formula} {error:.2g}" for formula, error in missed.items())
                more = ", …" if number > len(missed) else ""
                yield (
                    f"- `{name}`, {kind}: {number} wrong tenfold pass, off by (eV) {texts}{more}; "
                    f"ten times the error of the test split are {counts['limit']:.2g} eV."
                )
    for name, row in found.items():
        if "relaxations" in row and "costs" in row:
            ends, cost = row["relaxations"], row["costs"]
            yield (
                f"- `{name}`, {ends['starts']} relaxations of pairs pushed together at random: "
                f"{ends['converged']} converge, {ends['holes']} of these wrong by over 0.5 eV; "
                f"{ends['stopped']} stop where the model does not know, {ends['bonds']} fail for "
                f"changed bonds, {ends['late']} are not done after 150 steps. CPU seconds with "
                f"checks to those without: {cost['batch']:.2f} for a batch, "
                f"{cost['dynamics']:.2f} for compiled dynamics."
            )
        if near := row.get("minima"):
            yield (
                f"- `{name}`, relaxations from {near['minima']} minima of GFN2-xTB, the lowest of "
                f"each pair that was held back: {near['near']} stay within 0.05 Å and 5 meV; the "
                f"root mean square of displacements is {near['rmsd_median']:.3f} Å in the median, "
                f"{near['rmsd_largest']:.2f} Å at most, the energy off by "
                f"{1e3 * near['energy_median']:.1f} and {1e3 * near['energy_largest']:.0f} meV; "
                f"{near['failed']} do not converge."
            )


def crystal() -> Iterator[str]:
    """Rock salt by formula and models: what is drawn in the gallery."""
    results = Results.from_json((DOCS / "gallery.json").read_text(encoding="utf-8"))
    yield (
        "| | lattice constant, Å | bulk modulus, GPa | transverse, THz | longitudinal, THz "
        "| splitting, THz |"
    )
    yield "|---|" + "---:|" * 5
    for found in crystals(results):
        name = found.name if found.name == "formula" else f"`{found.name}`"
        yield (
            f"| {name} | {found.lattice_constant:.3f} | {found.bulk_modulus:.1f} "
            f"| {found.transverse:.2f} | {found.longitudinal:.2f} | {found.splitting:.2f} |"
        )


def dynamics() -> Iterator[str]:
    """What simulations in a cell keep."""
    found = json.loads((DOCS / "dynamics.json").read_text(encoding="utf-8"))
    yield "| 64 ions | ensemble | | K | drift, eV/atom/ps | standard deviation, eV/atom |"
    yield "|---|---|---|---:|---:|---:|"
    for row in found["rows"]:
        numbers = f"{row['drift']:+.0e} | {row['spread']:.0e}".replace("e-0", "e-")
        yield (
            f"| {row['phase']} | {row['ensemble']} | {row['dtype']} | {row['temperature']:.0f} "
            f"| {numbers} |"
        )


def _error(error: float | None) -> str:
    if error is None:
        return "–"
    return f"{error:.0e}".replace("e-0", "e-") if error else "0"


TABLES: dict[Path, tuple[Callable[[], Iterator[str]], ...]] = {
    ROOT / "README.md": (models_for_use,),
    DOCS / "dimers.md": (dimers,),
    DOCS / "howto" / "kernels.md": (kernels,),
    DOCS / "howto" / "periodic.md": (crystal, dynamics),
    DOCS / "models.md": (chooser, cards),
    DOCS / "numbers.md": (models, symmetry, robustness, uncertainty, trust),
}


def updated(page: Path) -> str:
    """The page's text with its tables made anew."""
    text = page.read_text(encoding="utf-8")
    for table in TABLES[page]:
        name = table.__name__
        block = f"<!-- {name} -->\n" + "\n".join(table()) + f"\n<!-- /{name} -->"
        pattern = f"<!-- {name} -->.*?<!-- /{name} -->"
        assert len(re.findall(pattern, text, flags=re.DOTALL)) == 1, f"{page}: no table {name}"
        text = re.sub(pattern, lambda _, block=block: block, text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    for page in TABLES:
        page.write_text(updated(page), encoding="utf-8")
