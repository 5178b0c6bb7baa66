"""Structures and predictions as pictures in a notebook."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from commands import example

import efa_zoo
from efa_zoo.analysis.viewer import view
from efa_zoo.models.prediction import Prediction

pytest.importorskip("chemiscope")

pytestmark = pytest.mark.filterwarnings("ignore:chemiscope.show only displays:UserWarning")


def _prediction(atoms: int, **more: object) -> Prediction:
    forces = np.arange(3.0 * atoms).reshape(atoms, 3)
    energies = np.linspace(-1, 0, atoms)
    return Prediction(
        energy=float(energies.sum()),
        forces=forces,
        atomic_energies=energies,
        charge=1,
        **more,  # type: ignore[arg-type]
    )


def test_a_widget_holds_structures_energies_and_arrows(tmp_path: Path) -> None:
    frames = [example("water_dimer"), example("ammonium_water")]
    predictions = [_prediction(len(atoms)) for atoms in frames]
    widget = view(frames, predictions)
    widget.save(str(tmp_path / "saved.json"))
    saved = json.loads((tmp_path / "saved.json").read_text(encoding="utf-8"))
    assert [structure["size"] for structure in saved["structures"]] == [6, 8]
    energies = saved["properties"]["energy"]
    assert energies["values"] == pytest.approx([p.energy for p in predictions])
    assert energies["units"] == "eV"
    largest = [np.linalg.norm(p.forces, axis=1).max() for p in predictions]
    assert saved["properties"]["largest force"]["values"] == pytest.approx(largest)
    arrows = saved["shapes"]["forces"]["parameters"]["atom"]
    np.testing.assert_allclose(
        [arrow["vector"] for arrow in arrows], np.concatenate([p.forces for p in predictions])
    )
    assert "predicted_forces" not in frames[0].arrays  # the caller's are left alone


def test_structures_alone_and_single_ones_are_shown(tmp_path: Path) -> None:
    assert view(example("water_dimer")) is not None
    assert view(example("water_dimer"), _prediction(6)) is not None


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(efa_zoo.InputError, match="expected one of each structure"):
        view(example("water_dimer"), _prediction(8))
    with pytest.raises(efa_zoo.InputError, match="structures: got none"):
        view([])


def test_a_prediction_in_a_notebook_has_numbers_and_units() -> None:
    html = _prediction(25, dipole=np.array([0.0, 0.5, 1.0]))._repr_html_()
    assert "<th>energy (eV)</th><td>-12.50000</td>" in html
    assert "<th>charge (e)</th><td>1</td>" in html
    assert "<th>dipole (e·Å)</th><td>0.00000, 0.50000, 1.00000</td>" in html
    assert "<th>forces (eV/Å)</th>" in html
    assert "<td>57.00000, 58.00000, 59.00000</td>" in html
    assert "60.00000" not in html
    assert "and 5 more atoms" in html
    assert len(re.findall("<tr>", html)) == len(re.findall("</tr>", html)) == 3 + 1 + 20


def test_of_three_atoms_the_dipole_is_still_one_of_the_molecule() -> None:
    html = _prediction(3, dipole=np.array([0.0, 0.5, 1.0]))._repr_html_()
    assert "<th>dipole (e·Å)</th><td>0.00000, 0.50000, 1.00000</td>" in html
