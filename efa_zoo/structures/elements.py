"""Symbols of the chemical elements; ASE has them too, but is optional."""

from __future__ import annotations

__all__ = ["ATOMIC_NUMBERS", "SYMBOLS", "symbol"]

#: Symbols by atomic number; "X" at 0 stands for no element.
SYMBOLS: tuple[str, ...] = (
    "X", "H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S",
    "Cl", "Ar", "K", "Ca", "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge",
    "As", "Se", "Br", "Kr", "Rb", "Sr", "Y", "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd",
    "In", "Sn", "Sb", "Te", "I", "Xe", "Cs", "Ba", "La", "Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd",
    "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W", "Re", "Os", "Ir", "Pt", "Au", "Hg",
    "Tl", "Pb", "Bi", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Th", "Pa", "U", "Np", "Pu", "Am", "Cm",
    "Bk", "Cf", "Es", "Fm", "Md", "No", "Lr", "Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn",
    "Nh", "Fl", "Mc", "Lv", "Ts", "Og",
)  # fmt: skip

#: Atomic numbers by symbol.
ATOMIC_NUMBERS: dict[str, int] = {
    element: number for number, element in enumerate(SYMBOLS) if number > 0
}


def symbol(atomic_number: int) -> str:
    """The symbol of an element, or a description where there is none."""
    if 0 < atomic_number < len(SYMBOLS):
        return SYMBOLS[atomic_number]
    return f"atomic number {atomic_number}"
