"""The network: message passing and attention in parallel, repeated, then atomic energies."""

from __future__ import annotations

import math
from collections.abc import Hashable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from efa_zoo.attention.exact import PairFunctions
from efa_zoo.attention.module import EuclideanFastAttention
from efa_zoo.attention.reciprocal import lattice_of
from efa_zoo.base.config import ModelConfig
from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import InputError
from efa_zoo.models.interaction import Interaction
from efa_zoo.models.outputs import Outputs
from efa_zoo.nn.coupling import Irreps
from efa_zoo.nn.dense import change_irreps
from efa_zoo.nn.electronic import ElectronicEmbedding, dipole_moment, distribute
from efa_zoo.nn.embed import Embed
from efa_zoo.nn.pairs import pair_basis
from efa_zoo.nn.repulsion import screened_repulsion
from efa_zoo.ops.sharding import sum_over_shards
from efa_zoo.structures.graph import Graph, check_graph

__all__ = ["EnergyModel"]

_SCALARS = Irreps(0, False)


class EnergyModel(eqx.Module):
    """Atomic energies of a molecule, relative to the energies of free elements.

    Attributes:
        embedding: initial features of each element.
        dipole_embedding: atomic dipoles to features of degree 1, `[1, features]`, or None.
        interactions: the blocks.
        readout: scalars to energies, `[features]`.
        element_bias: `[highest_atomic_number + 1]` in eV.
        charge_embedding: total charge to features, or None.
        spin_embedding: unpaired electrons to features, or None.
        charge_readout: scalars to charges, `[features]`, or None.
        element_charges: `[highest_atomic_number + 1]` in e, or None.
        dipole_readout: vectors to dipoles, `[features]`, or None.
    """

    embedding: Embed
    dipole_embedding: Float[Array, " features"] | None
    interactions: tuple[Interaction, ...]
    readout: Float[Array, " features"]
    element_bias: Float[Array, " elements"]
    charge_embedding: ElectronicEmbedding | None
    spin_embedding: ElectronicEmbedding | None
    charge_readout: Float[Array, " features"] | None
    element_charges: Float[Array, " elements"] | None
    dipole_readout: Float[Array, " features"] | None
    config: ModelConfig = eqx.field(static=True)

    def __init__(self, config: ModelConfig, *, key: PRNGKeyArray, dtype: jnp.dtype | None = None):
        """Make the module with random weights.

        Args:
            config: architecture.
            key: of the random weights.
            dtype: of the weights, default is JAX's default float.
        """
        keys = jax.random.split(key, config.iterations + 3)
        self.config = config
        self.embedding = Embed(
            config.highest_atomic_number, config.features, key=keys[0], dtype=dtype
        )
        self.dipole_embedding = None
        irreps = _SCALARS
        if config.dipole_embedding:
            self.dipole_embedding = jax.random.normal(keys[1], (config.features,), dtype)
            irreps = Irreps(1, False)
        interactions = []
        for i in range(config.iterations):
            block = Interaction(
                irreps,
                config,
                attends=config.attends(i),
                last=i == config.iterations - 1,
                key=keys[3 + i],
                dtype=dtype,
            )
            irreps = block.irreps
            interactions.append(block)
        self.interactions = tuple(interactions)
        scale = 0 if config.zero_output else 1 / math.sqrt(config.features)
        self.readout = scale * jax.random.normal(keys[2], (config.features,), dtype)
        self.element_bias = jnp.zeros(config.highest_atomic_number + 1, self.readout.dtype)
        # Keys of their own: options leave the other weights of a seed as they are.
        extra = [jax.random.fold_in(key, i) for i in range(4)]
        self.charge_embedding = self.spin_embedding = None
        if config.charge_embedding:
            self.charge_embedding = ElectronicEmbedding(config.features, key=extra[0], dtype=dtype)
        if config.spin_embedding:
            self.spin_embedding = ElectronicEmbedding(config.features, key=extra[1], dtype=dtype)
        self.charge_readout = self.element_charges = self.dipole_readout = None
        if config.atomic_charges:
            self.charge_readout = scale * jax.random.normal(extra[2], (config.features,), dtype)
            self.element_charges = jnp.zeros_like(self.element_bias)
        if config.atomic_dipoles:
            self.dipole_readout = scale * jax.random.normal(extra[3], (config.features,), dtype)

    def evaluation_for(self, num_atoms: int) -> tuple[str, ...]:
        """Tell how each block that attends evaluates attention, "exact" or "quadrature".

        Args:
            num_atoms: padded number of atoms.
        """
        return tuple(layer.evaluation_for(num_atoms) for layer in self._attention)

    @property
    def wave_reach(self) -> float:
        """Length in 1/Å of the longest wave vectors that count in a cell; 0 without attention.

        Raises:
            ConfigError: attention cannot be summed over the images of a cell.
        """
        return max((layer.wave_reach for layer in self._attention), default=0.0)

    @property
    def _starts_from_elements(self) -> bool:
        """Whether attention of the first block sees nothing of an atom but its element."""
        more = self.dipole_embedding, self.charge_embedding, self.spin_embedding
        return all(x is None for x in more) and not self.config.attention_after_messages

    @property
    def _attention(self) -> list[EuclideanFastAttention]:
        layers = [block.attention for block in self.interactions]
        return [layer for layer in layers if isinstance(layer, EuclideanFastAttention)]

    @contract
    def initial_features(self, graph: Graph) -> Float[Array, "atoms 1 components features"]:
        """Compute features of the atoms before the first block.

        They hold the elements, and total charge, spin and atomic dipoles where the network embeds
        them.

        Args:
            graph: one molecule.

        Returns:
            `[atoms, 1, 1, features]`, or four components if the network embeds dipoles.

        Raises:
            InputError: atomic dipoles or unpaired electrons are needed and missing, or given and
                not used.
        """
        for name, used in (
            ("atomic_dipoles", self.dipole_embedding),
            ("unpaired_electrons", self.spin_embedding),
        ):
            if (getattr(graph, name) is None) != (used is None):
                given, expected = ("got None", "a value") if used is not None else ("given", "None")
                raise InputError(f"{name}: {given}, expected {expected} for this model")
        x = elements = self.embedding(jnp.asarray(graph.atomic_numbers))
        for embedding, number in (
            (self.charge_embedding, graph.total_charge),
            (self.spin_embedding, graph.unpaired_electrons),
        ):
            if embedding is not None:
                x = x + embedding(elements, jnp.asarray(number), graph.atom_mask)
        if self.dipole_embedding is None:
            return x
        dipoles = jnp.asarray(graph.atomic_dipoles)[:, None, :, None] * self.dipole_embedding
        return jnp.concatenate([x, dipoles], axis=-2)

    @contract
    def __call__(self, graph: Graph) -> Outputs:
        """Compute atomic energies of one molecule, and charges and dipole if it has them.

        Args:
            graph: neighbours within the cutoff of `config.message_passing`; atomic dipoles and
                unpaired electrons if the network embeds them. Positions in Å of the dtype of the
                weights.

        Returns:
            Atomic energies in eV, charges in e, dipole moment in e·Å; zero for padding.

        Raises:
            InputError: as for `initial_features`; the graph does not list all pairs within the
                cutoff, or all wave vectors within reach; or only some directions are periodic and
                the network attends.
        """
        check_graph(graph)
        positions, mask = jnp.asarray(graph.positions), graph.atom_mask
        # Accelerators would round the factors of float32 products, and lose the symmetry.
        with jax.default_matmul_precision("highest"):
            x = before = self.initial_features(graph)
            pairs = pair_basis(graph, self.config.message_passing)
            attends = graph.cell is not None and self._attention
            lattice = others = lattice_of(graph, self.wave_reach) if attends else None
            if lattice is not None and self._starts_from_elements:
                elements = self.embedding.weight.shape[0]
                lattice = lattice.with_kinds(jnp.asarray(graph.atomic_numbers), elements)
            shared: dict[Hashable, PairFunctions | None] = {}
            for interaction in self.interactions:
                before, x = x, interaction(x, pairs, positions, mask, lattice, shared)
                lattice = others
            scalars = change_irreps(x, _SCALARS)[:, 0, 0, :]
            energies = scalars @ self.readout
            charges, dipole = self._electrostatics(graph, scalars, before)
        energies = energies + self.element_bias[jnp.asarray(graph.atomic_numbers)]
        if self.config.repulsion:
            energies = energies + screened_repulsion(graph)
        features = jnp.where(mask[:, None], scalars, 0)
        return Outputs(jnp.where(mask, energies, 0), None, charges, dipole, features=features)

    def _electrostatics(
        self, graph: Graph, scalars: Array, before: Array
    ) -> tuple[Array | None, Array | None]:
        """Charges and dipole moment, from scalars at the end and features before the last block."""
        if self.charge_readout is None or self.element_charges is None:
            return None, None
        mask = graph.atom_mask
        charges = scalars @ self.charge_readout
        charges = charges + self.element_charges[jnp.asarray(graph.atomic_numbers)]
        charges = distribute(charges, jnp.asarray(graph.total_charge), mask)
        if graph.cell is not None:  # a dipole moment would depend on the images that are taken
            return charges, None
        dipole = dipole_moment(charges, jnp.asarray(graph.positions), mask)
        if self.dipole_readout is not None:
            vectors = before[:, 0, 1:4, :] @ self.dipole_readout
            dipole = dipole + sum_over_shards(jnp.sum(jnp.where(mask[:, None], vectors, 0), axis=0))
        return charges, dipole
