"""`efa-zoo report`."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import arg

from efa_zoo.cli._common import DataDir, Json, dump, optional, print_


def run(
    *,
    out: Annotated[str, arg(metavar="DIR", help="folder to write to")] = "report",
    only: Annotated[
        tuple[str, ...],
        optional("EXPERIMENT...", "such as cumulene or sn2; default: all"),
    ] = (),
    published: Annotated[
        str | None,
        optional("DIR", "folder of the paper's npz files, to evaluate on its own test splits too"),
    ] = None,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Make a page on all trained models: pictures against the truth, errors, targets.

    Data sets that a formula labels are built where they are missing; it takes minutes.

    Examples:
      efa-zoo report
      efa-zoo report --only two_atoms chains --out two
    """
    from efa_zoo.analysis.report import make_report
    from efa_zoo.analysis.report.criteria import outcomes

    report = make_report(out, only=only, data_dir=data_dir, published=published)
    judged = [outcome for _, outcome in outcomes(report.results) if outcome is not None]
    written = [report.folder / name for name in ("report.md", "report.html", "report.json")]
    if json:
        numbers = {
            "models": len(report.results.models),
            "targets": len(judged),
            "reached": sum(outcome.met for outcome in judged),
            "written": [str(path) for path in written],
        }
        print_(dump(numbers))
        return
    print_(
        f"{len(report.results.models)} trained models, "
        f"{sum(outcome.met for outcome in judged)} of {len(judged)} targets reached"
    )
    for path in written:
        print_(f"page: {path}" if path.suffix != ".json" else f"numbers: {path}")
