"""The experiments: which models belong together, and what is drawn of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from efa_zoo.analysis.scan import Scan

#: A chain counts as solved where the error is below this share of the energies' spread. A network
#: that does not know both ends has a share of about 1.
SOLVED = 0.1


_FEWEST = "fewest local iterations"


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Models that are compared with one another, and with the paper.

    Attributes:
        key: short name, that of the picture too.
        title: heading.
        text: what the experiment is.
        models: names, the one with attention first.
        panels: options of `efa_zoo.analysis.scan.scan` for each panel of the picture.
        caption: what to look at in the picture.
        data: what is to be known about the data beside the paper's.
        file: published file that the models can be evaluated on, and how many structures of it were
            for training, validation and testing.
        derived: further panels made of the first ones.
    """

    key: str
    title: str
    text: str
    models: tuple[str, ...]
    panels: tuple[Mapping[str, Any], ...] = field(default=({},))
    caption: str
    data: str
    file: tuple[str, tuple[int, int, int]] | None = None
    derived: Callable[[Scan], Sequence[Scan]] | None = None


def iterations_needed(errors: Scan) -> list[Scan]:
    """How many local iterations each chain takes, beside the rule k // 2 + 1.

    Args:
        errors: share of the error over the length, of local models named `…_t<iterations>`.

    Returns:
        One profile; NaN where no local model solves a length. None without local models.
    """
    local = {int(name.rpartition("_t")[2]): errors.models[name] for name in sorted(errors.local)}
    if not local:
        return []
    needed = [
        min((t for t, values in local.items() if values[i] < SOLVED), default=np.nan)
        for i in range(len(errors.coordinates))
    ]
    models = {
        name: np.where(values < SOLVED, 1.0, np.nan)
        for name, values in errors.models.items()
        if name not in errors.local
    }
    return [
        Scan(
            title=f"iterations for an error below {SOLVED:.0%}",
            coordinate=errors.coordinate,
            quantity="iterations",
            coordinates=errors.coordinates,
            models={_FEWEST: np.asarray(needed, np.float64), **models},
            truth=errors.coordinates // 2 + 1,
            truth_name="rule: k // 2 + 1",
            style="marks",
            local=frozenset({_FEWEST}),
        )
    ]


EXPERIMENTS: Mapping[str, Experiment] = {
    experiment.key: experiment
    for experiment in (
        Experiment(
            key="dimers",
            title="Pairs of molecules",
            text=(
                "Pairs of 15 small molecules and ions, pulled apart to 15 Å. The local model sees "
                "nothing beyond its cutoff of 4 Å."
            ),
            models=("mpnn_efa_dimers", "mpnn_dimers"),
            panels=(
                {"pair": ("chloride", "fluoride")},
                {"pair": ("ammonium", "water")},
                {"pair": ("water", "formaldehyde")},
            ),
            caption=(
                "Two ions, an ion and a polar molecule, and two polar molecules: the interaction "
                "energy of rigid molecules over their separation."
            ),
            data="Not in the paper; labels are GFN2-xTB.",
        ),
        Experiment(
            key="cumulene",
            title="Cumulene",
            text=(
                "C₉H₄: the two ends feel each other's orientation over 10 Å, through seven carbon "
                "atoms on a line. Both networks have three iterations and a cutoff of 4 Å."
            ),
            models=("mpnn_efa_cumulene", "mpnn_cumulene"),
            caption=(
                "Energy of the relaxed molecule with one end turned, from the lowest label. The "
                "barrier is the height of the label's curve."
            ),
            data=(
                "The paper labels by density functional theory, we by GFN2-xTB, on other "
                "geometries and temperatures: errors cannot be compared in eV, only attention "
                "with local on either side. GFN2-xTB smooths the "
                "cusp at the planar geometries."
            ),
        ),
        Experiment(
            key="sn2",
            title="SN2 reactions",
            text=(
                "X⁻ + CH₃Y → CH₃X + Y⁻ for F, Cl, Br and I, total charge −1: complexes, transition "
                "regions and fragments up to 10 Å apart."
            ),
            models=("mpnn_efa_sn2", "mpnn_sn2"),
            panels=(
                {"pair": ("chloride", "chloride")},
                {"pair": ("fluoride", "iodide")},
                {"pair": ("chloride", "bromide")},
                {"pair": ("bromide", "chloride")},
            ),
            caption=(
                "Reaction paths from the left to the right. Chloride and bromide are drawn "
                "forward and backward; the paths end where GFN2-xTB lets the ion's charge leak."
            ),
            data=(
                "The paper labels by density functional theory, we by GFN2-xTB, which leaks charge "
                "from distant ions: only fluoride/fluoride and chloride/chloride are labelled to "
                "10 Å at both ends. The paper's errors are not among the numbers we have."
            ),
        ),
        Experiment(
            key="cluster32",
            title="Clusters of 32 atoms",
            text="Drops of 32 atoms in a ball of 5 Å, V = Σ 2 (r⁻⁶ − r⁻¹) over all pairs.",
            models=("mpnn_efa_cluster32", "mpnn_cluster32"),
            panels=({"view": "error"}, {"view": "force"}),
            caption="Errors of the test structures' energies and force components.",
            data=(
                "The same formula as the paper's; our structures are drawn alike but are not "
                "theirs. The rows marked as such are errors on the paper's own test split. The "
                "network is the paper's but for its frequencies, twelve times as high."
            ),
            file=("3D_cluster_32_atoms_radius_5.npz", (1500, 500, 500)),
        ),
        Experiment(
            key="cluster16",
            title="Clusters of 16 atoms",
            text="The same with 16 atoms in a ball of 2.5 Å, where hardly anything is far away.",
            models=("mpnn_efa_cluster16", "mpnn_cluster16"),
            panels=({"view": "error"}, {"view": "force"}),
            caption="Errors of the test structures' energies and force components.",
            data=(
                "As for 32 atoms. The network has half of the paper's features, 24 times its "
                "frequencies, and direct updates."
            ),
            file=("3D_cluster_16_atoms_radius_2point5.npz", (1500, 500, 500)),
        ),
        Experiment(
            key="two_atoms",
            title="Two atoms",
            text="V(r) = 12/11 (r⁻¹² − r⁻¹) from 1 to 10 Å; the cutoff is 5 Å.",
            models=("mpnn_efa_two_atoms", "mpnn_two_atoms"),
            panels=({"view": "energy"}, {"view": "error"}),
            caption="Energy over the distance, and how far it is off.",
            data=(
                "The same formula as the paper's, 2,000 training points on both sides. Of the "
                "paper's 10,000 points those are evaluated that remain when 2,000 and 500 are "
                "taken away."
            ),
            file=("two_atoms.npz", (2000, 500, 7500)),
        ),
        Experiment(
            key="charge_dipole",
            title="A charge and a dipole",
            text=(
                "V = r⁻³ − cos θ / r². The dipole's direction is an input of the networks. Only "
                "attention with tensor integration sees angles beyond the cutoff of 5 Å."
            ),
            models=(
                "mpnn_efa_charge_dipole",
                "mpnn_efa_charge_dipole_scalar",
                "mpnn_charge_dipole",
            ),
            panels=({"view": "angle"}, {"view": "distance"}),
            caption="Energy over the angle beyond the cutoff, and over the distance.",
            data=(
                "The paper's formula; which way its angle runs and how its points were drawn is "
                "our reading. The paper's errors are not among the numbers we have."
            ),
        ),
        Experiment(
            key="nacl",
            title="Balls of ions",
            text=(
                "Equally many positive and negative ions at random places in balls of 10 to 30 Å, "
                "damped Coulomb energies. Training ends at 20 Å."
            ),
            models=("mpnn_efa_nacl", "mpnn_nacl"),
            caption="Mean error of the energy for each atom, over the diameter.",
            data=(
                "Diameters, density and formula are the paper's; charges are dealt to the places "
                "at random, which is our reading. The paper's errors are not among the numbers we "
                "have. The network with attention has one block, the local one two."
            ),
        ),
        Experiment(
            key="nacl_bulk",
            title="Crystals and melts",
            text=(
                "Sodium chloride in periodic cells of 8 to 216 ions, solid and molten, by the "
                "potential of Born, Mayer, Huggins, Fumi and Tosi with Ewald sums. Attention has "
                "Coulomb's law of all images as its kernel; both networks have a cutoff of 6 Å."
            ),
            models=("mpnn_efa_nacl_bulk", "mpnn_nacl_bulk"),
            panels=({"view": "pressure"}, {"view": "longitudinal"}, {"view": "transverse"}),
            caption=(
                "Rock salt at rest: pressure, and frequencies of optical vibrations along and "
                "across their wave vector. Ions that move along it make a field that reaches as "
                "far as the wave is long, so that both frequencies differ also in the longest "
                "waves; a local network lets them meet."
            ),
            data=(
                "Not in the paper. The network with attention has one block, the local one two. "
                "Errors in energy are those of whole cells, of 216 ions in large melts."
            ),
        ),
        Experiment(
            key="chains",
            title="Chains",
            text=(
                "Chains of k neutral atoms with a charge at either end, which alone interact. A "
                "local network with a cutoff of one bond knows both ends only after ⌊k/2⌋ + 1 "
                "iterations; attention knows them in its first."
            ),
            models=(
                "mpnn_efa_chains",
                "mpnn_chains_t2",
                "mpnn_chains_t3",
                "mpnn_chains_t4",
                "mpnn_chains_t5",
            ),
            caption=(
                "Error relative to the energies' spread (1: nothing known), and the fewest "
                f"iterations among the trained networks that bring it below {SOLVED:.0%}. The "
                "network with attention has a single iteration, the local ones two to five."
            ),
            data=(
                "After the paper's chains; energies of ±1/r between the ends are our reading. The "
                "paper gives the rule, not errors."
            ),
            derived=iterations_needed,
        ),
    )
}
