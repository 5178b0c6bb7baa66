"""What the models are to reach, and whether they do."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from report.crystal import KEY, crystals
from report.experiments import EXPERIMENTS, SOLVED
from report.results import Results


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was found of a criterion.

    Attributes:
        found: the figure, for people.
        met: whether it is good enough.
        aim_met: whether it reaches the further aim; None if there is none.
    """

    found: str
    met: bool
    aim_met: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """A target.

    Attributes:
        experiment: key of the experiment it belongs to.
        what: the quantity.
        wanted: the bound, for people.
        judge: looks it up; None where a model is not trained or a number is missing.
    """

    experiment: str
    what: str
    wanted: str
    judge: Callable[[Results], Outcome | None]


_GIGAPASCAL = 1e-21 / 1.602176634e-19
"""In eV/Å³."""

_UNITS = {"energy_mae": ("energy MAE", "eV"), "force_mae": ("force MAE", "eV/Å"),
          "force_rmse": ("force RMSE", "eV/Å")}  # fmt: skip


def _at_most(experiment: str, metric: str, bound: float) -> Criterion:
    """A bound on an error on the published test split, and half of it as the aim."""
    name = EXPERIMENTS[experiment].models[0]
    quantity, unit = _UNITS[metric]

    def judge(results: Results) -> Outcome | None:
        model = results.models.get(name)
        if model is None:
            return None
        value = model.best_known[metric]
        where = "" if model.published else " (on our own test split)"
        return Outcome(found=f"{value:.3g}{where}", met=value <= bound, aim_met=value <= bound / 2)

    return Criterion(
        experiment=experiment,
        what=f"`{name}`: {quantity} ({unit})",
        wanted=f"≤ {bound:g}, aim {bound / 2:g}",
        judge=judge,
    )


def _times_below(
    experiment: str, metric: str, other: str, factor: float, part: str = "all"
) -> Criterion:
    """How many times an error of the first model is below that of another."""
    name = EXPERIMENTS[experiment].models[0]
    quantity, _ = _UNITS[metric]

    def judge(results: Results) -> Outcome | None:
        if name not in results.models or other not in results.models:
            return None
        found, reference = (results.models[n].test[part][metric] for n in (name, other))
        ratio = reference / found if found else math.inf
        return Outcome(
            found=f"{ratio:.3g}× ({1e3 * found:.3g} and {1e3 * reference:.3g} "
            f"{'meV/Å' if 'force' in metric else 'meV'})",
            met=ratio >= factor,
        )

    return Criterion(
        experiment=experiment,
        what=f"`{name}`: {quantity}{'' if part == 'all' else f', {part},'} below that of `{other}`",
        wanted=f"at least {factor:g}×",
        judge=judge,
    )


def _dihedral(results: Results) -> Outcome | None:
    (profile,) = results.profiles.get("cumulene", [None])
    if profile is None or not profile.span:
        return None
    shares = {name: value / profile.span for name, value in profile.deviations.items()}
    name, other = EXPERIMENTS["cumulene"].models
    if name not in shares:
        return None
    beside = f" (`{other}`: {shares[other]:.0%})" if other in shares else ""
    return Outcome(
        found=f"{shares[name]:.1%} of {profile.span:.3f} eV{beside}", met=shares[name] <= 0.1
    )


def _paths(results: Results) -> Outcome | None:
    profiles = results.profiles.get("sn2")
    if profiles is None or "mpnn_efa_sn2" not in results.models:
        return None
    worst = {
        name: max(p.deviations[name] for p in profiles)
        for name in EXPERIMENTS["sn2"].models
        if all(name in p.deviations for p in profiles)
    }
    listed = ", ".join(f"`{name}` {value:.3f} eV" for name, value in worst.items())
    return Outcome(found=f"drawn; largest deviation {listed}", met=True)


def _spheres(results: Results) -> Outcome | None:
    (profile,) = results.profiles.get("nacl", [None])
    name, other = EXPERIMENTS["nacl"].models
    if profile is None or not {name, other} <= set(profile.models):
        return None
    rows = list(zip(profile.coordinates, _values(profile.models[name]),
                    _values(profile.models[other]), strict=True))  # fmt: skip
    text = ", ".join(f"{d:g} Å: {1e3 * a:.3g} / {1e3 * b:.3g}" for d, a, b in rows)
    return Outcome(found=f"{text} meV/atom", met=all(a < b for _, a, b in rows))


def _cells(results: Results) -> Outcome | None:
    model = results.models.get(EXPERIMENTS[KEY].models[0])
    if model is None:
        return None
    errors = model.test
    energy = errors["large melt"]["energy_mae"] / 216
    force, stress = errors["all"]["force_mae"], errors["all"]["stress_mae"] / _GIGAPASCAL
    return Outcome(
        found=f"{1e3 * energy:.2g} meV, {1e3 * force:.3g} meV/Å, {stress:.2g} GPa",
        met=energy <= 1e-3 and force <= 15e-3 and stress <= 0.05,
    )


def _at_rest(results: Results) -> Outcome | None:
    found = list(crystals(results))
    if len(found) < 2:
        return None
    truth, model = found[:2]
    constant = model.lattice_constant / truth.lattice_constant - 1
    modulus = model.bulk_modulus / truth.bulk_modulus - 1
    return Outcome(
        found=f"{100 * constant:+.2f}% and {100 * modulus:+.1f}%",
        met=max(abs(constant), abs(modulus)) <= 0.01,
    )


def _vibrations(results: Results) -> Outcome | None:
    found = list(crystals(results))
    if len(found) < 2:
        return None
    text = ", ".join(
        f"{'formula' if c.name == 'formula' else f'`{c.name}`'} {c.splitting:.2f} THz"
        for c in found
    )
    return Outcome(found=f"drawn; {text}", met=True)


def _one_layer(results: Results) -> Outcome | None:
    (profile, *_) = results.profiles.get("chains") or [None]
    name = EXPERIMENTS["chains"].models[0]
    if profile is None or name not in profile.models:
        return None
    values = _values(profile.models[name])
    lengths = ", ".join(f"{k:g}" for k in profile.coordinates)
    return Outcome(
        found=f"at most {max(values):.1%} at k = {lengths}", met=all(v < SOLVED for v in values)
    )


def _rule(results: Results) -> Outcome | None:
    (profile, *_) = results.profiles.get("chains") or [None]
    local = EXPERIMENTS["chains"].models[1:]
    if profile is None or not set(local) <= set(profile.models):
        return None
    wrong = [
        f"T = {name.rpartition('_t')[2]} at k = {k:g}"
        for name in local
        for k, value in zip(profile.coordinates, _values(profile.models[name]), strict=True)
        if (value < SOLVED) != (int(name.rpartition("_t")[2]) >= k // 2 + 1)
    ]
    count = len(local) * len(profile.coordinates)
    found = f"as the rule says in {count - len(wrong)} of {count} cases"
    return Outcome(found=found + (f", not for {', '.join(wrong)}" if wrong else ""), met=not wrong)


def _values(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]


#: All targets, in the order of the experiments.
CRITERIA: tuple[Criterion, ...] = (
    _times_below("cumulene", "energy_mae", "mpnn_cumulene", 4),
    Criterion(
        experiment="cumulene",
        what="`mpnn_efa_cumulene`: largest deviation along the dihedral profile",
        wanted="≤ 10% of the barrier",
        judge=_dihedral,
    ),
    _times_below("sn2", "energy_mae", "mpnn_sn2", 10),
    _times_below("sn2", "force_mae", "mpnn_sn2", 4),
    Criterion(
        experiment="sn2",
        what="reaction paths forward and backward",
        wanted="drawn",
        judge=_paths,
    ),
    _at_most("cluster32", "energy_mae", 0.108),
    _at_most("cluster32", "force_rmse", 0.0253),
    _at_most("cluster16", "force_rmse", 0.0020),
    _at_most("two_atoms", "energy_mae", 5.5e-4),
    _at_most("two_atoms", "force_mae", 5.1e-4),
    _times_below("charge_dipole", "force_mae", "mpnn_efa_charge_dipole_scalar", 10),
    Criterion(
        experiment="nacl",
        what="error per atom by diameter, attention / local",
        wanted="attention below local at every size",
        judge=_spheres,
    ),
    Criterion(
        experiment=KEY,
        what="`mpnn_efa_nacl_bulk`: MAE of energy for each ion (large melts), forces, stress",
        wanted="≤ 1 meV, 15 meV/Å, 0.05 GPa",
        judge=_cells,
    ),
    _times_below(KEY, "force_mae", "mpnn_nacl_bulk", 5, "large melt"),
    Criterion(
        experiment=KEY,
        what="`mpnn_efa_nacl_bulk`: lattice constant and bulk modulus",
        wanted="within 1% of the formula's",
        judge=_at_rest,
    ),
    Criterion(
        experiment=KEY,
        what="longitudinal minus transverse optical frequency, longest waves",
        wanted="drawn",
        judge=_vibrations,
    ),
    Criterion(
        experiment="chains",
        what="`mpnn_efa_chains`: one layer solves every k from 2 to 8",
        wanted=f"error below {SOLVED:.0%} of the spread",
        judge=_one_layer,
    ),
    Criterion(
        experiment="chains",
        what="local networks of T = 2 to 5 iterations",
        wanted="solve k exactly if T ≥ ⌊k/2⌋ + 1",
        judge=_rule,
    ),
)


def outcomes(results: Results) -> Iterator[tuple[Criterion, Outcome | None]]:
    """The targets of the experiments that a report is about.

    Args:
        results: its numbers.

    Yields:
        Every target and what was found; None where it cannot be told yet.
    """
    for criterion in CRITERIA:
        if criterion.experiment in results.experiments:
            yield criterion, criterion.judge(results)
