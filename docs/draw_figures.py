"""Draw the pictures of README and docs from the models in the repository.

    python docs/draw_figures.py

needs the extras `data` (GFN2-xTB through tblite) and `plot`.
"""

from pathlib import Path

from efa_zoo.scan import draw_scans, scan

IMAGES = Path(__file__).parent / "images"

#: A charged-charged, a charged-polar and a polar-polar pair.
PAIRS = (("chloride", "fluoride"), ("ammonium", "water"), ("water", "formaldehyde"))

if __name__ == "__main__":
    scans = [scan(["mpnn_efa_dimers", "mpnn_dimers"], pair=pair) for pair in PAIRS]
    draw_scans(scans, IMAGES / "dimer_scans.png")
