"""What an evaluation found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from efa_zoo.analysis.evaluation.long_range import CHARGES
from efa_zoo.analysis.evaluation.uncertainty import quality_lines
from efa_zoo.base.contracts import JSON

_KEYS = ("energy_mae", "energy_rmse", "force_mae", "force_rmse")


@dataclass(frozen=True)
class Evaluation:
    """Errors of a model.

    Attributes:
        name: of the model.
        splits: split, then `all`, a bin of distance or of the number of atoms, or a kind of
            structure (of more than 40 kinds the halves before and after a slash), then `count`,
            `energy_mae`, `energy_rmse` (eV), `force_mae`, `force_rmse` (eV/Å), and of structures
            with such labels `charge_mae` (e), `dipole_mae` (e·Å, of components), `stress_mae`,
            `stress_rmse` (eV/Å³); in bins of the number of atoms `energy_mae_per_atom` (eV). A
            file is one split.
        long_range: interaction energies at separations of 6 to 15 Å, for `all` pairs and by the
            charges of the two: `count`, root mean square of the label and of the error (`rms`,
            `rmse`, eV), their `ratio`, and of interactions above 1 meV the share of `wrong_sign`;
            in `scans` the number of rigid scans and the `correlation` between model and label of
            the coefficients of Σ c_n r^-n, n = 1…6. Without pairs of a kind, or scans of more than
            six points, in the range, there is no such entry; all is empty where the data have no
            scans of two molecules.
        interactions: the same numbers for pairs by the charges of the two, then by bins of
            separation, from contact on.
        tails: by the charges of the two, `count` of the scans that stay above 1 meV, of how many
            the model's energy `changes_sign`, and medians of the power n of c r^n that fits the
            others, of `label` and `model`.
        elements: split, then symbol of an element, then `count` of its atoms, `force_mae` and
            `force_rmse` (eV/Å).
        uncertainty: split, then `energy` and `force`, then how well the predicted standard
            deviations fit the errors: `spearman` (rank correlation), `coverage` (share of errors
            within ±σ), `miscalibration` (area between the calibration curve and the diagonal),
            and that `curve` at 10, 20, … 90 %; for `energy` also the share of structures that are
            `refused`. Empty where the model is not calibrated.
    """

    name: str
    splits: Mapping[str, Mapping[str, Mapping[str, float]]]
    long_range: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    interactions: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    tails: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    elements: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    uncertainty: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, JSON]:
        """Plain numbers in nested dictionaries, for JSON and for the card."""
        rest = {
            "long_range": self.long_range,
            "interactions": self.interactions,
            "tails": self.tails,
            "elements": self.elements,
            "uncertainty": self.uncertainty,
        }
        return {**self.splits, **{name: table for name, table in rest.items() if table}}

    def __str__(self) -> str:
        lines = [
            self.name,
            f"{'':28}{'structures':>11}{'energy MAE':>12}{'RMSE':>9}{'force MAE':>12}{'RMSE':>9}",
            f"{'':28}{'':>11}{'meV':>12}{'meV':>9}{'meV/Å':>12}{'meV/Å':>9}",
        ]
        for split, table in self.splits.items():
            for part, row in table.items():
                label = split if part == "all" else f"  {part}"
                numbers = [1e3 * row[key] for key in _KEYS]
                lines.append(
                    f"{label:28}{row['count']:11.0f}{numbers[0]:12.2f}{numbers[1]:9.2f}"
                    f"{numbers[2]:12.2f}{numbers[3]:9.2f}"
                )
                if "energy_mae_per_atom" in row:
                    each = 1e3 * row["energy_mae_per_atom"]
                    lines.append(f"{'    meV an atom':39}{each:12.2f}")
                if "charge_mae" in row and part == "all":
                    lines.append(f"{'  charges MAE (0.001 e)':39}{1e3 * row['charge_mae']:12.2f}")
                if "dipole_mae" in row and part == "all":
                    lines.append(f"{'  dipole MAE (0.001 e·Å)':39}{1e3 * row['dipole_mae']:12.2f}")
                if "stress_mae" in row:
                    mae, rmse = (1e3 * row[f"stress_{kind}"] for kind in ("mae", "rmse"))
                    lines.append(f"{'  stress MAE, RMSE (meV/Å³)':39}{mae:12.3f}{rmse:9.3f}")
        for split, table in self.elements.items():
            lines.append(f"{f'{split}, by element':28}{'atoms':>11}")
            for element, row in table.items():
                numbers = [1e3 * row[key] for key in _KEYS[2:]]
                lines.append(
                    f"  {element:26}{row['count']:11.0f}{'':21}{numbers[0]:12.2f}{numbers[1]:9.2f}"
                )
        if self.uncertainty:
            lines += quality_lines(self.uncertainty)
        if self.long_range:
            lines.append(
                f"{'interaction at 6 to 15 Å':28}{'structures':>11}{'RMS':>12}{'RMSE':>9}"
                f"{'ratio':>12}{'wrong sign':>12}"
            )
            for part in ("all", *CHARGES):
                if (row := self.long_range.get(part)) is None:
                    continue
                rows = {part if part == "all" else f"  {part}": row}
                rows |= {f"    {name}": r for name, r in self.interactions.get(part, {}).items()}
                for label, row in rows.items():
                    wrong = f"{100 * row['wrong_sign']:11.1f}%" if "wrong_sign" in row else ""
                    lines.append(
                        f"{label:28}{row['count']:11.0f}{1e3 * row['rms']:12.2f}"
                        f"{1e3 * row['rmse']:9.2f}{100 * row['ratio']:11.1f}%{wrong}"
                    )
            if (scans := self.long_range.get("scans")) is not None:
                lines.append(
                    "coefficients of Σ c_n r^-n (n = 1 to 6): Pearson correlation "
                    f"{scans['correlation']:.3f} over {scans['count']:.0f} scans"
                )
        for part, row in self.tails.items():
            model = f"r^{row['model']:.2f}" if "model" in row else "none"
            lines.append(
                f"tail of {part}: {model}, label r^{row['label']:.2f} ({row['count']:.0f} scans, "
                f"{row['changes_sign']:.0f} change sign)"
            )
        return "\n".join(lines)
