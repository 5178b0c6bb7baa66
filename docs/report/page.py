"""The gallery's numbers as a page in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from efa_zoo.models.hub import registry
from efa_zoo.models.hub.cards import Card
from report.criteria import outcomes
from report.experiments import EXPERIMENTS, Experiment
from report.published import PUBLISHED
from report.results import Results, numbers
from report.shortfalls import shortfalls
from report.tables import Rows, markdown, milli, model_table

_HEAD = (
    "Every experiment of the paper (J. T. Frank, S. Chmiela, K.-R. Müller, O. T. Unke, Nat. Mach. "
    "Intell. 8, 388 (2026), arXiv:2412.08541) with our own data, weights and figures, and two that "
    "it does not have: pairs of molecules, crystals and melts. In all pictures grey is the truth, "
    "red and orange are models with Euclidean fast attention, and blue and green are local ones of "
    "equal size without it."
)


def page(results: Results, pictures: Mapping[str, str]) -> str:
    """Make the page.

    Args:
        results: its numbers.
        pictures: where each experiment's picture lies, as the page is to say it.

    Returns:
        The page in Markdown.

    Raises:
        UnknownModelError: a model of the results is not in the zoo.
    """
    return "\n\n".join(_parts(results, pictures)) + "\n"


def _parts(results: Results, pictures: Mapping[str, str]) -> Iterator[str]:
    cards = {name: registry.card(name) for name in results.models}
    yield "# Gallery"
    yield _HEAD
    yield "This page is written by `python docs/gallery.py`, from the weights alone."
    if missing := _untrained(results):
        names = ", ".join(f"`{name}`" for name in missing)
        yield f"**Not trained yet, and left out:** {names}."
    yield "## What was aimed for"
    yield markdown(_criteria(results))
    yield _agreement(results, cards)
    if cards:
        yield "## Errors of all models"
        rows = model_table((card, results.models[name].test["all"]) for name, card in cards.items())
        yield markdown(rows)
    for key in results.experiments:
        yield from _section(EXPERIMENTS[key], results, pictures)
    yield "## Where we fall short"
    yield "\n".join(f"- {sentence}" for sentence in shortfalls(results))


def _untrained(results: Results) -> list[str]:
    names = [name for key in results.experiments for name in EXPERIMENTS[key].models]
    return [name for name in names if name not in results.models]


def _criteria(results: Results) -> Rows:
    rows: list[Sequence[str]] = [
        ("experiment", "what", "wanted", "found", "reached", "aim reached")
    ]
    words = {True: "yes", False: "**no**", None: ""}
    for criterion, outcome in outcomes(results):
        title = EXPERIMENTS[criterion.experiment].title
        if outcome is None:
            rows.append((title, criterion.what, criterion.wanted, "not trained yet", "", ""))
            continue
        rows.append(
            (
                title,
                criterion.what,
                criterion.wanted,
                outcome.found,
                words[outcome.met],
                words[outcome.aim_met],
            )
        )
    return rows


def _agreement(results: Results, cards: Mapping[str, Card]) -> str:
    """How far the numbers in the cards are from those computed here."""
    worst, count = 0.0, 0
    for name, card in cards.items():
        here = dict(numbers(results.models[name].errors))
        stored = dict(numbers(card.metrics))
        for path in here.keys() & stored.keys():
            count += 1
            size = max(abs(here[path]), abs(stored[path]))
            worst = max(worst, abs(here[path] - stored[path]) / size if size else 0.0)
    if not count:
        return "The cards hold no errors to compare with."
    return (
        f"The {count:,} numbers of the errors in the models' cards were computed anew; the largest "
        f"relative difference is {worst:.1g}."
    )


def _section(
    experiment: Experiment, results: Results, pictures: Mapping[str, str]
) -> Iterator[str]:
    yield f"## {experiment.title}"
    yield experiment.text
    names = [name for name in experiment.models if name in results.models]
    if not names:
        yield "No model of it is trained yet."
        return
    if experiment.key in pictures:
        yield f"![{experiment.title}]({pictures[experiment.key]})"
        yield f"*{experiment.caption}*"
    yield markdown(_errors(experiment, names, results))
    yield experiment.data
    if experiment.file is not None:
        file, counts = experiment.file
        yield (
            "The rows on the paper's test split, whose file is downloaded from the paper's data "
            "(doi:10.5281/zenodo.14750286), are what "
            f"`efa-zoo evaluate {experiment.models[0]} --data {file} --charge 0 "
            f"--counts {' '.join(map(str, counts))}` prints. The paper subtracts the mean training "
            "energy from its labels; the formula gives both sides the same zero, so it cancels."
        )


def _errors(experiment: Experiment, names: Sequence[str], results: Results) -> Rows:
    rows: list[Sequence[str]] = [
        ("model", "test structures", "energy MAE", "force MAE", "force RMSE")
    ]

    def row(what: str, count: str, errors: Mapping[str, float | None]) -> tuple[str, ...]:
        return (
            what,
            count,
            milli(errors.get("energy_mae"), "meV"),
            milli(errors.get("force_mae"), "meV/Å"),
            milli(errors.get("force_rmse"), "meV/Å"),
        )

    for name in names:
        model = results.models[name]
        rows.append(row(f"`{name}`", f"{model.test['all']['count']:.0f}", model.test["all"]))
        if model.published:
            count = f"{model.published['count']:.0f}, the paper's"
            rows.append(row(f"`{name}`", count, model.published))
    for found in PUBLISHED.get(experiment.key, ()):
        errors = {
            "energy_mae": found.energy_mae,
            "force_mae": found.force_mae,
            "force_rmse": found.force_rmse,
        }
        where = "the paper's" if found.same_data else "the paper's, other labels"
        rows.append(row(f"paper: {found.what}", where, errors))
    return rows
