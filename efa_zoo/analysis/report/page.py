"""A report as a page, in Markdown or as one HTML file."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from efa_zoo.analysis.report.criteria import outcomes
from efa_zoo.analysis.report.experiments import EXPERIMENTS, Experiment
from efa_zoo.analysis.report.published import PUBLISHED
from efa_zoo.analysis.report.results import Results, numbers
from efa_zoo.analysis.report.shortfalls import shortfalls
from efa_zoo.analysis.report.tables import Rows, milli, model_table
from efa_zoo.models.hub import registry
from efa_zoo.models.hub.cards import Card

__all__ = ["page", "to_html", "to_markdown"]


@dataclass(frozen=True)
class Heading:
    """A heading of a level, 1 for the title."""

    level: int
    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table, the first row its heading."""

    rows: Rows


@dataclass(frozen=True)
class Picture:
    """A picture, its title and what it shows."""

    path: str
    title: str
    caption: str


Block: TypeAlias = Heading | Text | Bullets | Table | Picture

_HEAD = (
    "Every experiment of the paper (J. T. Frank, S. Chmiela, K.-R. Müller, O. T. Unke, Nat. Mach. "
    "Intell. 8, 388 (2026), arXiv:2412.08541) with our own data, weights and figures. In all "
    "pictures grey is the truth, red and orange are models with Euclidean fast attention, and blue "
    "and green are local ones of equal size without it."
)


def page(
    results: Results, pictures: Mapping[str, str], *, title: str = "Report", made_by: str = ""
) -> list[Block]:
    """Make the page of a report.

    Args:
        results: its numbers.
        pictures: where each experiment's picture lies, as the page is to say it.
        title: of the page.
        made_by: command that writes the page anew; empty for none to name.

    Returns:
        The parts of the page.

    Raises:
        UnknownModelError: a model of the results is not in the zoo.
    """
    cards = {name: registry.card(name) for name in results.models}
    blocks: list[Block] = [Heading(1, title), Text(_HEAD)]
    if made_by:
        blocks.append(Text(f"This page is written by `{made_by}`, from the weights alone."))
    missing = _untrained(results)
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        blocks.append(Text(f"**Not trained yet, and left out:** {names}."))
    blocks += [Heading(2, "What was aimed for"), Table(_criteria(results))]
    blocks.append(Text(_agreement(results, cards)))
    if cards:
        rows = model_table((card, results.models[name].test["all"]) for name, card in cards.items())
        blocks += [Heading(2, "Errors of all models"), Table(rows)]
    for key in results.experiments:
        blocks += _section(EXPERIMENTS[key], results, pictures)
    blocks += [Heading(2, "Where we fall short"), Bullets(list(shortfalls(results)))]
    return blocks


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
) -> Iterator[Block]:
    yield Heading(2, experiment.title)
    yield Text(experiment.text)
    names = [name for name in experiment.models if name in results.models]
    if not names:
        yield Text("No model of it is trained yet.")
        return
    if experiment.key in pictures:
        yield Picture(pictures[experiment.key], experiment.title, experiment.caption)
    yield Table(_errors(experiment, names, results))
    yield Text(experiment.data)
    if experiment.file is not None:
        file, counts = experiment.file
        yield Text(
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


# -------------------------------------------------------------------------------------------------
# Markdown


def to_markdown(blocks: Sequence[Block]) -> str:
    """A page as Markdown.

    Args:
        blocks: its parts.

    Returns:
        The text.
    """
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {block.text}"
    if isinstance(block, Text):
        return block.text
    if isinstance(block, Bullets):
        return "\n".join(f"- {item}" for item in block.items)
    if isinstance(block, Picture):
        return f"![{block.title}]({block.path})\n\n*{block.caption}*"
    first, *rest = block.rows
    lines = [first, ["---"] * len(first), *rest]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# -------------------------------------------------------------------------------------------------
# HTML

_STYLE = """\
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { border: 1px solid #8888; padding: .2rem .6rem; text-align: left; }
img { max-width: 100%; border-radius: 4px; }
figure { margin: 1rem 0; } figcaption { font-style: italic; }
"""


def to_html(blocks: Sequence[Block], folder: Path) -> str:
    """A page as one HTML file that holds its pictures.

    Args:
        blocks: the parts of the page.
        folder: what the pictures' paths are relative to.

    Returns:
        The text.
    """
    title = next((block.text for block in blocks if isinstance(block, Heading)), "")
    body = "\n".join(_html(block, folder) for block in blocks)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _html(block: Block, folder: Path) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{_inline(block.text)}</h{block.level}>"
    if isinstance(block, Text):
        return f"<p>{_inline(block.text)}</p>"
    if isinstance(block, Bullets):
        items = "\n".join(f"<li>{_inline(item)}</li>" for item in block.items)
        return f"<ul>\n{items}\n</ul>"
    if isinstance(block, Picture):
        content = base64.b64encode((folder / block.path).read_bytes()).decode()
        caption = _inline(block.caption)
        alt = html.escape(block.title, quote=True)
        return (
            f'<figure><img alt="{alt}" src="data:image/png;base64,{content}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    first, *rest = block.rows
    head = "".join(f"<th>{_inline(cell)}</th>" for cell in first)
    lines = ["".join(f"<td>{_inline(cell)}</td>" for cell in row) for row in rest]
    rows = "\n".join(f"<tr>{line}</tr>" for line in [head, *lines])
    return f"<table>\n{rows}\n</table>"


def _inline(text: str) -> str:
    """The few marks that the page uses: code and bold."""
    escaped = html.escape(text, quote=False)
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", escaped)
