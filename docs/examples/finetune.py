"""Fine-tune a model on structures of your own, and use it.

    efa-zoo data pair chloride formate --count 250 --out pair.extxyz  # structures to try it with
    python docs/examples/finetune.py pair.extxyz tuned

The base model's training data is replayed, so that it is not forgotten: all of it where it is built
(`efa-zoo data build dimers/wide`), else the few hundred structures that ship with the model.
`--replay 0` does without.
"""

import argparse
import dataclasses

import ase.io

import efa_zoo
from efa_zoo.training import finetune, finetuning_recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="energies and forces in eV and eV/Å, charges in e (extxyz)")
    parser.add_argument("out", help="folder of the new model")
    parser.add_argument("--base", default="mpnn_efa_dimers", help="model to start from")
    parser.add_argument("--replay", type=float, default=0.5, help="share of the base model's data")
    parser.add_argument("--steps", type=int, default=6000)
    options = parser.parse_args()

    base = efa_zoo.load(options.base)
    recipe = finetuning_recipe(
        base,
        replay=options.replay,
        steps=options.steps,
        frozen=["embedding.*"],  # what the elements look like stays as it was
    )
    recipe = dataclasses.replace(recipe, learning_rate=1e-3)  # any option of TrainingConfig
    print(finetune(options.base, options.data, options.out, recipe=recipe, replay=options.replay))

    model = efa_zoo.load(options.out)
    print(model.card.description, "Knows", *model.card.domain.elements)
    atoms = ase.io.read(options.data)
    print(f"first structure: {efa_zoo.predict(model, atoms).energy:.3f} eV")


if __name__ == "__main__":
    main()
