"""Where the models fall short, in sentences made of the numbers."""

from __future__ import annotations

from collections.abc import Iterator

from report.criteria import outcomes
from report.experiments import EXPERIMENTS
from report.published import PUBLISHED
from report.results import Results
from report.tables import milli

_METRICS = (("energy_mae", "energy MAE", "meV"), ("force_mae", "force MAE", "meV/Å"),
            ("force_rmse", "force RMSE", "meV/Å"))  # fmt: skip

#: A share of the label's size from which on a long-range interaction counts as not known.
_UNKNOWN = 0.5

#: Errors on held-out pairs that are so many times those of known ones are worth saying.
_WORSE = 2.0


def shortfalls(results: Results) -> Iterator[str]:
    """What does not work, as far as the numbers tell.

    Args:
        results: numbers of a report.

    Yields:
        Sentences.
    """
    for criterion, outcome in outcomes(results):
        title = EXPERIMENTS[criterion.experiment].title
        if outcome is not None and not outcome.met:
            yield (
                f"{title}: target missed. {criterion.what}: {outcome.found}, "
                f"wanted {criterion.wanted}."
            )
        elif outcome is not None and outcome.aim_met is False:
            yield (
                f"{title}: target reached, further aim missed. {criterion.what}: {outcome.found}, "
                f"wanted {criterion.wanted}."
            )
    yield from _behind_the_paper(results)
    yield from _behind_local(results)
    yield from _dimers(results)
    yield from _spheres(results)
    yield (
        "Labels of cumulene and SN2 are GFN2-xTB, not density functional theory: their figures "
        "say what attention adds, not how good the paper's chemistry is."
    )
    yield (
        "Where the paper's text leaves a choice (signs in chains, how charges are dealt, which way "
        "an angle runs), the choice is ours, and numbers of these experiments stand alone."
    )


def _behind_the_paper(results: Results) -> Iterator[str]:
    for key in results.experiments:
        for found in PUBLISHED.get(key, ()):
            model = results.models.get(found.ours or "")
            if model is None or not found.same_data:
                continue
            behind = [
                f"{title} {milli(model.best_known[metric])} against {milli(wanted)} {unit}"
                for metric, title, unit in _METRICS
                if (wanted := getattr(found, metric, None)) and model.best_known[metric] > wanted
            ]
            if behind:
                yield f"`{found.ours}` is behind the paper's {found.what}: {', '.join(behind)}."


def _behind_local(results: Results) -> Iterator[str]:
    """Parts of the test split in which attention does not help."""
    for key in results.experiments:
        name, *others = EXPERIMENTS[key].models
        for other in others:
            if name not in results.models or other not in results.models:
                continue
            ours, theirs = results.models[name].test, results.models[other].test
            worse = [
                f"{'all structures' if part == 'all' else part} ({title} {milli(row[metric])} "
                f"against {milli(theirs[part][metric])} {unit})"
                for part, row in ours.items()
                for metric, title, unit in _METRICS[:2]
                if part in theirs and row[metric] >= theirs[part][metric]
            ]
            if worse:
                yield f"`{name}` is no better than `{other}` for {', '.join(worse)}."


def _dimers(results: Results) -> Iterator[str]:
    model = results.models.get("mpnn_efa_dimers")
    if model is None:
        return
    unknown = [
        f"{part} {row['ratio']:.0%}"
        for part, row in model.errors.get("long_range", {}).items()
        if row.get("ratio", 0) > _UNKNOWN
    ]
    if unknown:
        yield (
            "`mpnn_efa_dimers`, interaction at 6 to 15 Å: the error is as large as this share of "
            f"the interaction itself: {', '.join(unknown)}."
        )
    if "transfer" in model.errors:
        known, held_out = model.test["all"], model.errors["transfer"]["all"]
        ratio = held_out["energy_mae"] / known["energy_mae"]
        if ratio > _WORSE:
            yield (
                f"`mpnn_efa_dimers` on pairs it was not trained on: energy MAE "
                f"{milli(held_out['energy_mae'], 'meV')}, {ratio:.1f} times that on known pairs."
            )


def _spheres(results: Results) -> Iterator[str]:
    profiles = results.profiles.get("nacl", [])
    name = EXPERIMENTS["nacl"].models[0]
    if not profiles or name not in profiles[0].models:
        return
    values = dict(zip(profiles[0].coordinates, profiles[0].models[name], strict=True))
    inside = [value for d, value in values.items() if d <= 20 and value is not None]
    beyond = [(d, value) for d, value in values.items() if d > 20 and value is not None]
    if inside and beyond and beyond[-1][1] > _WORSE * max(inside):
        diameter, value = beyond[-1]
        yield (
            f"`{name}` beyond its training: {milli(value)} meV/atom at {diameter:g} Å, "
            f"{value / max(inside):.1f} times the largest error up to 20 Å."
        )
