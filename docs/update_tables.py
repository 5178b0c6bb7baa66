"""Write the tables of README and docs from the cards in zoo/.

    python docs/update_tables.py

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`; the tests check that it is up to date.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import efa_zoo

ROOT = Path(__file__).parents[1]


def models() -> Iterator[str]:
    """One row per trained model."""
    yield "| model | data | level | elements | parameters | energy MAE, test | force MAE, test |"
    yield "|---|---|---|---|---|---|---|"
    for name in efa_zoo.list_models():
        card = efa_zoo.card(name)
        assert card.domain is not None
        assert card.weights is not None
        test = card.metrics["test"]["all"]
        cells = [
            f"`{name}`",
            card.data.name,
            re.sub(r" \(tblite .*\)", "", card.data.level_of_theory),
            " ".join(card.domain.elements),
            f"{card.weights.parameters:,}",
            f"{1e3 * test['energy_mae']:.1f} meV",
            f"{1e3 * test['force_mae']:.1f} meV/Å",
        ]
        yield f"| {' | '.join(cells)} |"


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


TABLES = {ROOT / "README.md": models, ROOT / "docs" / "dimers.md": dimers}


def updated(page: Path) -> str:
    """The page's text with its table made anew."""
    text = page.read_text(encoding="utf-8")
    table = TABLES[page]
    name = table.__name__
    block = f"<!-- {name} -->\n" + "\n".join(table()) + f"\n<!-- /{name} -->"
    pattern = f"<!-- {name} -->.*?<!-- /{name} -->"
    assert len(re.findall(pattern, text, flags=re.DOTALL)) == 1, f"{page}: no table {name}"
    return re.sub(pattern, lambda _: block, text, flags=re.DOTALL)


if __name__ == "__main__":
    for page in TABLES:
        page.write_text(updated(page), encoding="utf-8")
