"""One page on the models of the zoo: pictures against the truth, errors, and what was aimed for.

    from efa_zoo.analysis.report import make_report

    report = make_report("report", only=["two_atoms"])

Everything is computed from the weights. A report's numbers are `Results`, which can be stored and
read again; `page` makes a page of them.
"""

from __future__ import annotations

from efa_zoo.analysis.report.experiments import EXPERIMENTS, Experiment
from efa_zoo.analysis.report.make import Report, compute, make_report, picture_name
from efa_zoo.analysis.report.page import page, to_html, to_markdown
from efa_zoo.analysis.report.results import ModelErrors, Profile, Results
from efa_zoo.analysis.report.tables import model_table

__all__ = [
    "EXPERIMENTS",
    "Experiment",
    "ModelErrors",
    "Profile",
    "Report",
    "Results",
    "compute",
    "make_report",
    "model_table",
    "page",
    "picture_name",
    "to_html",
    "to_markdown",
]
