"""Command line: `python -m data_pipelines build dimers`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from data_pipelines.datasets import BUILDERS, DEFAULT_CONFIG, build
from efa_zoo.errors import EFAZooError


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds a data set and prints where it lies.

    Args:
        arguments: As on the command line, without the program's name; None takes them from there.

    Returns:
        The exit status: 0, or 2 with one line on standard error.
    """
    parser = argparse.ArgumentParser(prog="python -m data_pipelines", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("build", help="build a data set")
    command.add_argument("name", choices=sorted(BUILDERS))
    command.add_argument("--data-dir", help="default: $EFA_ZOO_DATA, else the user's cache")
    command.add_argument("--config", default=DEFAULT_CONFIG, help="size (default: %(default)s)")
    command.add_argument("--seed", type=int, help="default: the config's own")
    command.add_argument("--workers", type=int, help="default: one per core")
    command.add_argument("--overwrite", action="store_true", help="build again if already there")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        place = build(
            options.name,
            data_dir=options.data_dir,
            config=options.config,
            seed=options.seed,
            workers=options.workers,
            overwrite=options.overwrite,
        )
    except EFAZooError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{place}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
