"""Coverage-guided fuzzing of the readers of files with atheris, `pip install atheris`.

A crash stops it: libFuzzer prints the bytes and writes them to a file `crash-…` in the working
folder. Corpora stay in `.fuzzing/READER`, so that the next run goes on from what was reached.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from robustness.inputs import (
    ARCHIVE,
    CARD_TEXT,
    WEIGHTS_BYTES,
    XYZ,
    labelled_bytes,
    take_archive,
    take_card,
    take_labelled,
    take_record,
    take_weights,
    take_xyz,
)
from robustness.judge import Case, judge

__all__ = ["READERS", "fuzz"]

#: What takes the bytes of a file, and files that are right, to begin from.
READERS: dict[str, tuple[Callable[[bytes], Case], list[bytes]]] = {
    "xyz": (take_xyz, [XYZ.encode()]),
    "card": (take_card, [CARD_TEXT.encode()]),
    "weights": (take_weights, [WEIGHTS_BYTES]),
    "export": (take_archive, [ARCHIVE]),
    "record": (take_record, [b'{"step": 1, "digest": "0"}']),
    "npz": (lambda content: take_labelled(content, ".npz"), [labelled_bytes(".npz")]),
    "hdf5": (lambda content: take_labelled(content, ".h5"), [labelled_bytes(".h5")]),
}


def fuzz(reader: str, seconds: int) -> None:
    """Fuzz a reader; ends the process.

    Args:
        reader: one of `READERS`.
        seconds: how long.
    """
    import atheris

    take, seeds = READERS[reader]
    corpus = Path(".fuzzing") / reader
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)

    def one(content: bytes) -> None:
        outcome = judge(take(content))
        if outcome.kind in ("wrong", "crashed"):
            raise AssertionError(f"{outcome.kind}: {outcome.detail}")

    # Only modules of the project, and the readers that they call, guide it.
    instrumented = ("efa_zoo", "data_pipelines", "ase.io", "tomllib")
    for name, module in list(sys.modules.items()):
        if name.startswith(instrumented):
            for attribute, value in list(vars(module).items()):
                if callable(value) and getattr(value, "__module__", None) == name:
                    with_coverage = getattr(value, "__code__", None)
                    if with_coverage is not None:
                        setattr(module, attribute, atheris.instrument_func(value))
    options = [f"-max_total_time={seconds}", "-max_len=20000", "-timeout=60", str(corpus)]
    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()
