"""The reference implementation's checkpoint folders, and model folders made of them."""

from __future__ import annotations

import contextlib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tomlkit

from efa_zoo.base.config import Evaluation, ModelConfig, Waves, from_table, to_table
from efa_zoo.base.errors import ConfigError, WeightsError
from efa_zoo.base.files import write_atomically
from efa_zoo.interop.reference._networks import energy_model
from efa_zoo.models.hub.cards import Card
from efa_zoo.models.hub.digest import sealed
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.potential import cast
from efa_zoo.models.weights import named_arrays, save_weights
from efa_zoo.structures.elements import SYMBOLS

__all__ = ["import_checkpoint", "load_checkpoint"]

# Tables of a card that a config file may hold beside the keywords.
_CARD_KEYS = (
    "name", "description", "data", "domain", "reference_energies", "metrics", "limits",
)  # fmt: skip

# Distance (Å) that stands for "no limit known" in the card of a local network.
_NO_LIMIT = 1000.0


def load_checkpoint(
    path: Path | str, config: Mapping[str, object], *, evaluation: Evaluation = "quadrature"
) -> EnergyModel:
    """Read a network from a checkpoint folder (orbax) of the reference implementation.

    Needs the extra "interop". Nothing is unpickled.

    Args:
        path: the folder `ckpt_<step>`, or the one that holds it.
        config: constructor keywords, see `energy_model`, and optionally `step`, which chooses one
            of several checkpoints.
        evaluation: how attention integrates over directions, see `AttentionConfig`.

    Returns:
        The network, with weights of the stored type (float32).

    Raises:
        ConfigError: an option is unknown or has no counterpart here, or several checkpoints are
            there and `step` does not choose one.
        WeightsError: the folder is missing, is no checkpoint or damaged, or its parameters do not
            fit the options.
    """
    options = dict(config)
    folder = _checkpoint_folder(Path(path).expanduser(), options.pop("step", None))
    params = _read(folder)
    try:
        return energy_model(params, options, evaluation=evaluation)
    except WeightsError as error:
        raise WeightsError(f"{folder}: {error}") from None


def import_checkpoint(checkpoint: Path | str, config_file: Path | str, out_dir: Path | str) -> Path:
    """Make a model folder, which `efa_zoo.load` takes, of a checkpoint of the reference.

    The config file is JSON or TOML. It holds the constructor keywords (and optionally `step`) in
    a table `reference`, and beside it what the card of the model says: `name`, `description`,
    `data`, `domain`, `reference_energies`, `metrics` and `limits`, all optional. A file without a
    table `reference` holds the keywords alone. In TOML the text "none" stands for Python's None.

    What the file does not say is filled in: the name is that of `out_dir`; the elements are those
    whose bias was trained; the longest distance is `era_max_length`, or 1000 Å for a local
    network; reference energies are 0, because the bias is part of the network.

    Args:
        checkpoint: as for `load_checkpoint`.
        config_file: the file, named `.json` or `.toml`.
        out_dir: the folder to write `<name>.toml` and `<name>.safetensors` to; it must not hold
            other zoo files.

    Returns:
        `out_dir`.

    Raises:
        ConfigError: the config file cannot be read, has an unknown key or a wrong value, or
            `out_dir` holds another zoo file.
        WeightsError: as for `load_checkpoint`.
    """
    out_dir = Path(out_dir).expanduser()
    entries = _read_config(Path(config_file).expanduser())
    options = entries.pop("reference")
    # Stored weights are float32, whatever the user has set for new arrays.
    with jax.enable_x64(False):
        network = cast(load_checkpoint(checkpoint, options), np.float32)
    name = entries.setdefault("name", _model_name(out_dir))
    entries.setdefault("description", "Imported from the reference implementation of EFA.")
    entries["model"] = to_table(network.config)
    entries["data"] = {"name": "unknown", "level_of_theory": "unknown", **entries.get("data", {})}
    domain = {**_domain(network), **entries.get("domain", {})}
    entries["domain"] = domain
    zeros = dict.fromkeys(domain["elements"], 0.0)
    entries["reference_energies"] = {**zeros, **entries.get("reference_energies", {})}
    card = from_table(Card, entries)  # refuses wrong entries before anything is written
    zoo_file = out_dir / f"{card.name}.toml"
    others = [file.name for file in out_dir.glob("*.toml") if file != zoo_file]
    if others:
        raise ConfigError(f"{out_dir}: found {', '.join(others)}, expected no other zoo file")
    weights = out_dir / f"{name}.safetensors"
    sha256 = save_weights(weights, network, {"name": name, "imported": True})
    entries["weights"] = {
        "sha256": sha256,
        "parameters": sum(array.size for array in named_arrays(network).values()),
        "bytes": weights.stat().st_size,
    }
    card = sealed(from_table(Card, entries))
    assert card.weights is not None
    entries["weights"] = to_table(card.weights)
    write_atomically(zoo_file, tomlkit.dumps(entries).encode())
    return out_dir


def _checkpoint_folder(path: Path, step: object) -> Path:
    """The folder of one checkpoint's parameters."""
    if step is not None and (not isinstance(step, int) or isinstance(step, bool)):
        raise ConfigError(f"step: got {step!r}, expected an integer")
    if not path.is_dir():
        raise WeightsError(f"{path}: no such folder, expected a checkpoint (ckpt_<step>)")
    if _is_orbax(path) or _is_orbax(path / "params"):
        found = re.fullmatch(r"ckpt_(\d+)", path.name)
        if found and step is not None and int(found[1]) != step:
            raise ConfigError(f"step: got {step}, expected {found[1]}, as {path} says")
        return path if _is_orbax(path) else path / "params"
    checkpoints = sorted(
        (folder for folder in path.glob("ckpt_*") if _is_orbax(folder / "params")),
        key=lambda folder: (len(folder.name), folder.name),
    )
    names = ", ".join(folder.name for folder in checkpoints) or "none"
    if step is not None:
        checkpoints = [folder for folder in checkpoints if folder.name == f"ckpt_{step}"]
        if not checkpoints:
            raise WeightsError(f"{path}: found checkpoints {names}, expected ckpt_{step}")
    if not checkpoints:
        raise WeightsError(f"{path}: found no checkpoint, expected ckpt_<step>/params")
    if len(checkpoints) > 1:
        raise ConfigError(f"step: missing, expected one to choose among {names} in {path}")
    return checkpoints[0] / "params"


def _is_orbax(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("_METADATA", "manifest.ocdbt", "checkpoint"))


def _read(folder: Path) -> Mapping[str, Any]:
    # Imported here: only reading checkpoints needs them.
    import orbax.checkpoint as ocp
    from etils import epath

    try:
        with contextlib.closing(ocp.PyTreeCheckpointHandler()) as handler:
            place = epath.Path(folder.absolute())  # orbax refuses relative paths
            tree = handler.metadata(place).tree
            # As NumPy arrays, which do not care for the devices the checkpoint was written on.
            options = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
            return handler.restore(place, args=ocp.args.PyTreeRestore(restore_args=options))
    except Exception as error:  # orbax raises whatever it stumbles over
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise WeightsError(f"{folder}: cannot read the checkpoint ({reason})") from error


def _read_config(path: Path) -> dict[str, Any]:
    """The file's entries, with the keywords at "reference"."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"{path}: cannot read the config file ({reason})") from error
    try:
        if path.suffix == ".json":
            entries = json.loads(text)
        elif path.suffix == ".toml":
            entries = tomllib.loads(text)
        else:
            raise ConfigError(f"{path}: expected a file named .json or .toml")
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not valid {path.suffix[1:].upper()}: {error}") from error
    if not isinstance(entries, dict):
        raise ConfigError(f"{path}: got {entries!r}, expected keywords")
    if "reference" not in entries:
        entries = {"reference": entries}
    for key, value in entries.items():
        if key != "reference" and key not in _CARD_KEYS:
            known = ", ".join(("reference", *_CARD_KEYS))
            raise ConfigError(f"{path}: unknown key {key!r} (known keys: {known})")
        if key not in ("name", "description", "limits") and not isinstance(value, dict):
            raise ConfigError(f"{path}: {key}: got {value!r}, expected a table")
    if path.suffix == ".toml":
        options = entries["reference"].items()
        entries["reference"] = {k: None if v == "none" else v for k, v in options}
    return entries


def _model_name(out_dir: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", out_dir.resolve().name).lstrip("._-") or "imported"


def _domain(network: EnergyModel) -> dict[str, Any]:
    """What a card says about a network of which nothing else is known."""
    bias = np.asarray(network.element_bias)
    highest = min(len(bias), len(SYMBOLS))
    # Elements that the training data lack never get a gradient, so their bias stays 0.
    trained = [number for number in range(1, highest) if bias[number] != 0]
    return {
        "elements": [SYMBOLS[number] for number in trained or range(1, highest)],
        "total_charges": [0],
        "max_distance": _longest_distance(network.config),
        "closed_shell": False,
    }


def _longest_distance(config: ModelConfig) -> float:
    if config.attention is None or config.emulate_attention:
        return _NO_LIMIT
    kernel = config.attention.kernel
    assert isinstance(kernel, Waves)
    return kernel.frequencies.max_length
