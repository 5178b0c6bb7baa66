"""Train the dimers' network with each kernel of attention, and compare where they differ.

    python docs/ablate_kernels.py --runs DIR --data-dir DIR

trains all variants of `VARIANTS` on the data set `dimers`, briefly, each in a folder of its own (a
run that is there is taken up or kept), evaluates them and writes docs/kernels.json, from which
`docs/update_tables.py` makes the table of docs/howto/kernels.md. Parameters are equal, by fewer
features where attention sees vectors; `vectors_wide` has as many features as `scalars`.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import jax

import efa_zoo
from efa_zoo import (
    AttentionConfig,
    Coulomb,
    FrequencyConfig,
    IntegrationConfig,
    MessagePassingConfig,
    ModelConfig,
    Waves,
)
from efa_zoo.analysis.evaluation import evaluate
from efa_zoo.base.config import KernelConfig, TrainingConfig
from efa_zoo.models.hub.cards import Card, write_card
from efa_zoo.models.hub.records import DataSource
from efa_zoo.training import train

RESULTS = Path(__file__).parent / "kernels.json"
STEPS = 4_000

#: Feature pairs of query and key, which are the waves or widths of a kernel.
HEADS = 12

KERNELS: dict[str, KernelConfig] = {
    "waves": Waves(frequencies=FrequencyConfig.for_distance(20.0, HEADS)),
    "coulomb": Coulomb(widths=(0.8, 3.0), max_length=20.0),
}

_VECTORS = {"attention_after_messages": True, "last_attention_degree": 1}

#: What attention sees, in the last block above all, and features.
SEEN: dict[str, dict[str, Any]] = {
    "scalars": {"features": 48},
    "vectors": {"features": 36, **_VECTORS},
    "vectors_wide": {"features": 48, **_VECTORS},
}

#: Couples the fields of charges with vectors, where attention sees them.
FIELDS = IntegrationConfig(spherical_degree=1, degree=1, trainable=True)

VARIANTS = [
    f"{kernel}.{seen}.{updates}"
    for updates in ("plain", "direct")
    for seen in SEEN
    for kernel in KERNELS
]


def variant(name: str, steps: int) -> Card:
    """The untrained card of a variant."""
    kernel, seen, updates = name.split(".")
    model = ModelConfig(
        iterations=2,
        highest_atomic_number=17,
        message_passing=MessagePassingConfig(cutoff=4.0, degree=2, num_radial=16),
        attention=AttentionConfig(
            query_key_features=2 * HEADS,
            value_features=24,
            activation="gelu",
            kernel=KERNELS[kernel],
            integration=None if seen == "scalars" else FIELDS,
        ),
        direct_updates=updates == "direct",
        **SEEN[seen],
    )
    training = TrainingConfig(
        batch_size=16,
        steps=steps,
        learning_rate=0.008,
        warmup_steps=steps // 16,
        final_learning_rate=0.001,
        optimizer="muon",
        clip_norm=10.0,
        average_decay=0.999,
        loss="huber",
        huber_delta=0.02,
        isolated_share=0.25,
        validation_interval=steps // 4,
    )
    data = DataSource(name="dimers", level_of_theory="GFN2-xTB (tblite 0.8.0)")
    return Card(name=name, description="A variant.", model=model, data=data, training=training)


def run(name: str, runs: Path, data_dir: str | None, steps: int) -> dict[str, Any]:
    """Train a variant, unless it is there, and evaluate it."""
    folder = runs / name
    zoo_file = runs / "recipes" / f"{name}.toml"
    if not (folder / f"{name}.safetensors").exists():
        zoo_file.parent.mkdir(parents=True, exist_ok=True)
        write_card(zoo_file, variant(name, steps))
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
        results = {variant: results[variant] for variant in VARIANTS if variant in results}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
