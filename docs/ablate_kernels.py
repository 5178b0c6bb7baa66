"""Train the dimers' network with each kernel of attention, and compare where they differ.

    python docs/ablate_kernels.py --runs DIR --data-dir DIR

trains all variants of `VARIANTS` by the recipe of `mpnn_efa_dimers`, shortened, each in a folder of
its own (a run that is there is taken up or kept), evaluates them and writes docs/kernels.json, from
which `docs/update_tables.py` makes the table of docs/howto/kernels.md. Parameters are equal but for
the coupling of degrees that attention sees.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import jax

import efa_zoo
from efa_zoo import Coulomb, FrequencyConfig, IntegrationConfig, Waves
from efa_zoo.analysis.evaluation import evaluate
from efa_zoo.base.config import KernelConfig
from efa_zoo.models.hub.cards import Card, write_card
from efa_zoo.training import train

RESULTS = Path(__file__).parent / "kernels.json"
MODEL, STEPS = "mpnn_efa_dimers", 4_000

#: Feature pairs of query and key, which are the waves or widths of a kernel.
HEADS = 12

KERNELS: dict[str, KernelConfig] = {
    "waves": Waves(frequencies=FrequencyConfig.for_distance(20.0, HEADS)),
    "coulomb": Coulomb(widths=(0.8, 3.0), max_length=20.0),
}

#: What attention sees, in the last block above all.
SEEN: dict[str, dict[str, Any]] = {
    "scalars": {},
    "degree1": {"attention_after_messages": True, "last_attention_degree": 1},
}

#: Couples the fields of charges with vectors, where attention sees degree 1.
FIELDS = IntegrationConfig(spherical_degree=1, degree=1, trainable=True)

VARIANTS = [
    f"{kernel}.{seen}.{updates}"
    for updates in ("plain", "direct")
    for seen in SEEN
    for kernel in KERNELS
]


def variant(base: Card, name: str, steps: int) -> Card:
    """The untrained card of a variant."""
    assert base.model.attention is not None
    assert base.training is not None
    kernel, seen, updates = name.split(".")
    model = dataclasses.replace(
        base.model,
        attention=dataclasses.replace(
            base.model.attention,
            kernel=KERNELS[kernel],
            integration=FIELDS if seen == "degree1" else None,
        ),
        direct_updates=updates == "direct",
        **SEEN[seen],
    )
    training = dataclasses.replace(
        base.training, steps=steps, warmup_steps=steps // 16, validation_interval=steps // 4
    )
    return Card(
        name=name, description=base.description, model=model, data=base.data, training=training
    )


def run(name: str, runs: Path, data_dir: str | None, steps: int) -> dict[str, Any]:
    """Train a variant, unless it is there, and evaluate it."""
    folder = runs / name
    zoo_file = runs / "recipes" / f"{name}.toml"
    if not (folder / f"{name}.safetensors").exists():
        zoo_file.parent.mkdir(parents=True, exist_ok=True)
        write_card(zoo_file, variant(efa_zoo.card(MODEL), name, steps))
        resume = (folder / "checkpoint.json").exists()
        train(zoo_file, out=folder, data_dir=data_dir, resume=resume)
    card = efa_zoo.card(folder)
    found = evaluate(folder, data_dir=data_dir).to_dict()
    assert card.weights is not None
    return {"parameters": card.weights.parameters, "seconds": card.cost["seconds"], **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--data-dir", help="where data sets lie")
    parser.add_argument("--steps", type=int, default=STEPS, help="optimiser steps of a variant")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=VARIANTS)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in options.only:
        results[name] = run(name, options.runs, options.data_dir, options.steps)
        jax.clear_caches()  # a process may not hold the programs of many networks
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
