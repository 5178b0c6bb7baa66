"""`efa-zoo data build`."""

from __future__ import annotations

from typing import Annotated, Any

from tyro.conf import Positional, arg

from efa_zoo.base.errors import InputError
from efa_zoo.cli._common import DataDir, Json, dump, flag, optional, print_


def _name() -> Any:
    from data_pipelines import BUILDERS

    built = sorted(set(BUILDERS) - {"structures"})  # those are made of files
    text = f"one of {', '.join(built)}; the size is full unless it is given"
    return Annotated[str, arg(metavar="NAME[/SIZE]", help=text)]


def run(
    name: Annotated[Positional[Any], arg(constructor_factory=_name)],
    /,
    *,
    data_dir: DataDir = None,
    seed: Annotated[int | None, optional("INT", "another seed than the usual")] = None,
    workers: Annotated[
        int | None, optional("INT", "worker processes; default: one per core")
    ] = None,
    beam: Annotated[
        str | None,
        optional("DIR", "run on Apache Beam; results pass through DIR, which its workers see"),
    ] = None,
    beam_options: Annotated[
        tuple[str, ...],
        optional("NAME=VALUE...", "of Beam's pipeline, such as runner=FlinkRunner"),
    ] = (),
    overwrite: Annotated[bool, flag("build again if it is there already")] = False,
    json: Json = False,
) -> None:
    """Build a data set.

    Examples:
      efa-zoo data build dimers
      efa-zoo data build clusters/atoms16 --data-dir data --workers 2
      efa-zoo data build dimers --beam /shared/beam --beam-options runner=FlinkRunner
    """
    from data_pipelines import Beam, build

    if beam_options and beam is None:
        raise InputError(f"beam_options: got {' '.join(beam_options)}, expected --beam DIR too")
    place = build(
        name,
        data_dir=data_dir,
        seed=seed,
        workers=workers,
        beam=None if beam is None else Beam(beam, tuple(f"--{one}" for one in beam_options)),
        overwrite=overwrite,
    )
    facts = {"name": name, "folder": str(place)}
    print_(dump(facts) if json else str(place))
