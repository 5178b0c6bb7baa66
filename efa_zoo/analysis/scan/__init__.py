"""The profile that belongs to a model: what its data set was made to show.

Which one it is goes by the model's data set: the separation of two molecules or atoms, an angle, a
reaction path, or an error over the size.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from efa_zoo.analysis.scan import crystals, datasets
from efa_zoo.analysis.scan.dimers import scan_dimer
from efa_zoo.analysis.scan.profile import Scan, draw_scans
from efa_zoo.base.errors import InputError
from efa_zoo.models.hub.registry import load
from efa_zoo.models.potential import Potential

__all__ = ["Scan", "draw_scans", "scan"]

#: Profiles by data set and view, of models alone or with the data. The first view is the usual one.
_OF_MODELS: Mapping[str, Mapping[str, Callable[[Sequence[Potential]], Scan]]] = {
    "two_atoms": {
        "energy": datasets.scan_two_atoms,
        "error": datasets.scan_two_atom_errors,
    },
    "charge_dipole": {
        "angle": datasets.scan_charge_and_dipole,
        "distance": datasets.scan_charge_over_distance,
    },
    "nacl_bulk": {
        "pressure": crystals.scan_pressure,
        "longitudinal": crystals.scan_longitudinal,
        "transverse": crystals.scan_transverse,
    },
}
_OF_DATA: Mapping[str, Mapping[str, Callable[[Sequence[Potential], datasets.Splits], Scan]]] = {
    "chains": {"length": datasets.scan_chains},
    "clusters": {
        "energy": datasets.scan_clusters,
        "error": datasets.scan_cluster_errors,
        "force": datasets.scan_cluster_forces,
    },
    "cumulene": {"dihedral": datasets.scan_cumulene},
    "nacl_spheres": {"diameter": datasets.scan_spheres},
}


def scan(
    models: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    pair: tuple[str, str] | None = None,
    view: str | None = None,
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
) -> Scan:
    """Compute the profile that belongs to the models' data set.

    `dimers`: interaction energy of two molecules over their separation, beside GFN2-xTB where it is
    installed. `two_atoms`: energy, or its error, over the distance. `charge_dipole`: energy over
    the angle, beyond the reach of a local model, or over the distance. `cumulene`: energy over the
    dihedral angle. `sn2`: energy along a reaction path. `nacl_spheres`: error for each atom over
    the diameter. `nacl_bulk`: pressure of rock salt over its lattice constant, or frequencies of
    its longitudinal or transverse optical vibrations over the wave vector. `chains`: error over the
    length. `clusters`: predicted over true energies, or the errors of energies or forces over the
    true ones.

    Args:
        models: one or several of what `efa_zoo.load` takes, all trained on one data set.
        pair: of dimers two molecules, of `sn2` two halides; None takes a usual pair.
        view: which of several profiles: energy or error (`two_atoms`), angle or distance
            (`charge_dipole`), pressure, longitudinal or transverse (`nacl_bulk`), energy, error or
            force (`clusters`); None takes the first.
        seed: of the orientation of dimers.
        data_dir: where data sets lie; needed but for `dimers`, `two_atoms`, `charge_dipole` and
            `nacl_bulk`.

    Returns:
        The profile.

    Raises:
        InputError: the models were trained on different data sets or on one that has no profile, a
            pair or view is unknown or not used, or a structure is outside what a model knows.
        DataError: the data set is missing.
        UnknownModelError, ConfigError, WeightsError: as for `efa_zoo.load`.
    """
    names = [models] if isinstance(models, str | os.PathLike) else list(models)
    potentials = [load(name) for name in names]
    data = sorted({potential.card.data.name for potential in potentials})
    if len(data) != 1:
        raise InputError(f"models: got some of {', '.join(data)}, expected models of one data set")
    kind = data[0].partition("/")[0]
    if view is not None and view not in _views(kind):
        known = ", ".join(_views(kind)) or "none"
        raise InputError(f"view: got {view!r}, expected for models of {data[0]}: {known}")
    if pair is not None and kind not in ("dimers", "sn2"):
        raise InputError(f"pair: got {pair}, expected none, because models of {data[0]} have none")

    def splits(split: str) -> list[Any]:
        # Imported here: reading data needs packages that the library itself does not.
        from data_pipelines import load_split

        return load_split(data[0], split, data_dir=data_dir)

    if kind == "dimers":
        found = scan_dimer(potentials, pair=pair, seed=seed)
    elif kind == "sn2":
        found = datasets.scan_reaction(potentials, splits, pair=pair)
    elif kind in _OF_MODELS:
        found = _OF_MODELS[kind][view or next(iter(_views(kind)))](potentials)
    elif kind in _OF_DATA:
        found = _OF_DATA[kind][view or next(iter(_views(kind)))](potentials, splits)
    else:
        known = ", ".join(sorted({"dimers", "sn2", *_OF_MODELS, *_OF_DATA}))
        raise InputError(
            f"models: got some of {data[0]}, expected a data set with a profile: {known}"
        )
    local = [p.card.name for p in potentials if p.card.model.attention is None]
    return replace(found, local=frozenset(local))


def _views(kind: str) -> tuple[str, ...]:
    return tuple({**_OF_MODELS, **_OF_DATA}.get(kind, {}))
