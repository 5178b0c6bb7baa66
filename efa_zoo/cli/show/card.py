"""`efa-zoo card`."""

from __future__ import annotations

import efa_zoo
from efa_zoo.base.config import to_table
from efa_zoo.cli._common import Json, Name, dump, print_


def run(name: Name, /, *, json: Json = False) -> None:
    """Show what a model is, what it was trained on, where it is valid, and how well it does.

    Examples:
      efa-zoo card mpnn_efa_dimers
      efa-zoo card mpnn_efa_dimers --json
    """
    card = efa_zoo.card(name)
    print_(dump(to_table(card)) if json else str(card))
