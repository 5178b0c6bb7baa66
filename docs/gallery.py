"""Write docs/gallery.md with its pictures, from the weights in the repository.

    python docs/gallery.py --data-dir DIR --published ../shared/reference/datasets

computes everything anew (minutes; data sets that a formula labels are built where missing);
`--only KEY...` does so for some experiments and keeps the others' numbers, which are stored in
docs/gallery.json; `--page` writes the page from the stored numbers alone. Pictures of pairs of
molecules need the extra `data` (GFN2-xTB through tblite).
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from report.compute import compute
from report.experiments import EXPERIMENTS
from report.page import page
from report.results import Results

DOCS = Path(__file__).resolve().parent
NUMBERS, PAGE, IMAGES = DOCS / "gallery.json", DOCS / "gallery.md", DOCS / "images"


def stored() -> Results:
    """The numbers of the page."""
    return Results.from_json(NUMBERS.read_text(encoding="utf-8"))


def text(results: Results) -> str:
    """The page of these numbers."""
    return page(results, {key: f"images/{key}.png" for key in results.profiles})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=EXPERIMENTS, default=(), metavar="KEY",
                        help=f"some of {', '.join(EXPERIMENTS)}; default: all")  # fmt: skip
    parser.add_argument("--page", action="store_true", help="only write the page again")
    parser.add_argument("--data-dir", help="where data sets lie")
    parser.add_argument("--published", type=Path, help="folder of the paper's npz files")
    options = parser.parse_args()
    if options.published is not None and not options.published.is_dir():
        parser.error(f"--published: {options.published} is no folder")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    results = stored() if options.page or options.only else None
    if not options.page:
        found = compute(
            IMAGES, only=options.only, data_dir=options.data_dir, published=options.published
        )
        results = found if results is None else results.updated(found)
        NUMBERS.write_text(results.to_json(), encoding="utf-8")
    assert results is not None
    PAGE.write_text(text(results), encoding="utf-8")


if __name__ == "__main__":
    main()
