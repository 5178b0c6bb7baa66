"""The network: message passing and attention in parallel, repeated, then atomic energies."""

from __future__ import annotations

import math

import e3x
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from efa_zoo.attention.module import EuclideanFastAttention
from efa_zoo.base.config import ModelConfig
from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import InputError
from efa_zoo.models.outputs import Outputs
from efa_zoo.nn.coupling import Irreps
from efa_zoo.nn.dense import MLP, Dense, change_irreps
from efa_zoo.nn.electronic import ElectronicEmbedding, distribute
from efa_zoo.nn.embed import Embed
from efa_zoo.nn.inner_product import InnerProduct
from efa_zoo.nn.message_passing import MessagePass
from efa_zoo.nn.pairs import PairBasis, pair_basis
from efa_zoo.nn.repulsion import screened_repulsion
from efa_zoo.nn.tensor_dense import TensorDense
from efa_zoo.structures.graph import Graph, check_graph

__all__ = ["EnergyModel", "Interaction"]

_SCALARS = Irreps(0, False)


class Interaction(eqx.Module):
    """One block: local and global update of the features, then refinement of each atom.

    With x the features, y = MLP(x + MessagePass(x)) and z = MLP(x + Dense(Attention(x))), the
    result is x + silu(c) y + silu(1 - c) z with a trainable c, or the plain sum. With direct
    updates, y = MLP(x + m) + m for m = MessagePass(x), and z likewise. The last block of a network
    produces scalars only; where its attention sees more, the inner products of what it sees and
    what it attends to count too. Attention after messages sees x + m + MLP(x + m).

    Attributes:
        message_pass: the local part.
        local_mlp: refinement of the local part.
        attention: the global part: attention, a dense layer that emulates it, or None.
        attention_output: linear map of the attended features.
        attention_product: attended features times those that attention sees, to scalars, or None.
        global_mlp: refinement of the global part.
        switch: the trainable c, or None.
        self_interaction: tensor product of the features with themselves, or None.
        residual_mlps: further refinement.
    """

    message_pass: MessagePass
    local_mlp: MLP
    attention: EuclideanFastAttention | Dense | None
    attention_output: Dense | None
    attention_product: InnerProduct | None
    global_mlp: MLP | None
    switch: Float[Array, ""] | None
    self_interaction: TensorDense | None
    residual_mlps: tuple[MLP, ...]
    direct_updates: bool = eqx.field(static=True)
    attention_after_messages: bool = eqx.field(static=True)
    kept_irreps: Irreps = eqx.field(static=True)
    attention_irreps: Irreps = eqx.field(static=True)
    irreps: Irreps = eqx.field(static=True)

    def __init__(
        self,
        irreps: Irreps,
        config: ModelConfig,
        *,
        attends: bool,
        last: bool,
        key: PRNGKeyArray,
        dtype: jnp.dtype | None = None,
    ):
        """Make the module with random weights.

        Args:
            irreps: largest degree and parities of the input.
            config: of the whole network.
            attends: the block has a global part.
            last: the block produces scalars only.
            key: of the random weights.
            dtype: of the weights.
        """
        keys = jax.random.split(key, 6 + config.residual_mlps)
        features, zero = config.features, config.zero_output
        self.message_pass = MessagePass(
            irreps,
            features,
            basis_degree=config.message_passing.degree,
            num_radial=config.message_passing.num_radial,
            degree=0 if last else None,
            pseudotensors=not last,
            key=keys[0],
            dtype=dtype,
        )
        self.kept_irreps = _SCALARS if last and not config.dipole_embedding else irreps
        local = self.kept_irreps.union(self.message_pass.irreps)
        self.local_mlp = MLP(local, features, zero_output=zero, key=keys[1], dtype=dtype)
        combined = self.kept_irreps.union(local)

        self.attention = self.attention_output = self.global_mlp = self.attention_product = None
        self.attention_irreps = self.kept_irreps
        if attends and config.attention is not None:
            if config.emulate_attention:
                self.attention = Dense(
                    self.kept_irreps, features, features, key=keys[2], dtype=dtype
                )
                attended, width = self.kept_irreps, features
            else:
                seen = irreps
                if config.attention_after_messages:
                    seen = irreps.union(self.message_pass.irreps)
                self.attention_irreps = _attention_irreps(seen, config, last)
                self.attention = EuclideanFastAttention(
                    self.attention_irreps, features, config.attention, key=keys[2], dtype=dtype
                )
                attended, width = self.attention.irreps, self.attention.value_features
                if last and self.attention_irreps.degree > 0:
                    self.attention_product = InnerProduct(
                        self.attention_irreps,
                        features,
                        attended,
                        width,
                        features,
                        key=jax.random.fold_in(keys[3], 0),
                        dtype=dtype,
                    )
                    attended = _SCALARS
            self.attention_output = Dense(attended, width, features, key=keys[3], dtype=dtype)
            attended = self.kept_irreps.union(attended)
            self.global_mlp = MLP(attended, features, zero_output=zero, key=keys[4], dtype=dtype)
            combined = combined.union(attended)

        self.direct_updates = config.direct_updates
        self.attention_after_messages = config.attention_after_messages
        self.switch = jnp.asarray(0.5, dtype or float) if config.combine == "switch" else None
        self.self_interaction = None
        if config.self_interaction or config.dipole_embedding:
            self.self_interaction = TensorDense(
                combined,
                features,
                degree=0 if last else None,
                pseudotensors=not last,
                key=keys[5],
                dtype=dtype,
            )
            combined = _SCALARS.union(self.self_interaction.irreps)
        self.irreps = combined
        self.residual_mlps = tuple(
            MLP(combined, features, zero_output=zero, key=key, dtype=dtype) for key in keys[6:]
        )

    @contract
    def __call__(
        self,
        x: Float[Array, "atoms parities components features"],
        pairs: PairBasis,
        positions: Float[Array, "atoms 3"],
        atom_mask: Bool[Array, " atoms"],
    ) -> Float[Array, "atoms {self.irreps.parities} {self.irreps.components} features"]:
        """Update the features of one molecule."""
        message = self.message_pass(x, pairs)
        before, x = x, change_irreps(x, self.kept_irreps)
        refined = self.local_mlp(e3x.nn.add(x, message))
        local = e3x.nn.add(refined, message) if self.direct_updates else refined
        if self.attention is None or self.attention_output is None or self.global_mlp is None:
            parts = [local]
        else:
            if isinstance(self.attention, EuclideanFastAttention):
                seen = self._seen(before, message, refined)
                attended = self.attention(seen, positions, atom_mask)
            else:
                seen, attended = x, self.attention(x)
            if self.attention_product is None:
                update = self.attention_output(attended)
            else:
                update = self.attention_output(change_irreps(attended, _SCALARS))
                update = update + self.attention_product(seen, attended)
            refined = self.global_mlp(e3x.nn.add(x, update))
            parts = [local, e3x.nn.add(refined, update) if self.direct_updates else refined]
        if self.switch is not None:
            switches = (self.switch, 1 - self.switch)
            parts = [jax.nn.silu(c) * part for c, part in zip(switches, parts, strict=False)]
        x = e3x.nn.add(x, *parts)
        if self.self_interaction is not None:
            x = e3x.nn.add(change_irreps(x, _SCALARS), self.self_interaction(x))
        for mlp in self.residual_mlps:
            x = e3x.nn.add(x, mlp(x))
        return x

    @contract
    def seen_by_attention(
        self, x: Float[Array, "atoms parities components features"], pairs: PairBasis
    ) -> Float[Array, "atoms parities2 components2 features"]:
        """Features that attention sees, of those that the block gets."""
        message = self.message_pass(x, pairs)
        refined = self.local_mlp(e3x.nn.add(change_irreps(x, self.kept_irreps), message))
        return self._seen(x, message, refined)

    def _seen(self, x: Array, message: Array, refined: Array) -> Array:
        if self.attention_after_messages:
            x = e3x.nn.add(x, message, refined)
        return change_irreps(x, self.attention_irreps)


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
        layers = [block.attention for block in self.interactions]
        return tuple(
            layer.evaluation_for(num_atoms)
            for layer in layers
            if isinstance(layer, EuclideanFastAttention)
        )

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
            InputError: as for `initial_features`; or the graph does not list all pairs within the
                cutoff.
        """
        check_graph(graph)
        positions, mask = jnp.asarray(graph.positions), graph.atom_mask
        # Accelerators would round the factors of float32 products, and lose the symmetry.
        with jax.default_matmul_precision("highest"):
            x = before = self.initial_features(graph)
            pairs = pair_basis(graph, self.config.message_passing)
            for interaction in self.interactions:
                before, x = x, interaction(x, pairs, positions, mask)
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
        positions = jnp.where(mask[:, None], jnp.asarray(graph.positions), 0)
        count = jnp.maximum(jnp.sum(mask), 1).astype(positions.dtype)
        dipole = charges @ (positions - jnp.sum(positions, axis=0) / count)
        if self.dipole_readout is not None:
            vectors = before[:, 0, 1:4, :] @ self.dipole_readout
            dipole = dipole + jnp.sum(jnp.where(mask[:, None], vectors, 0), axis=0)
        return charges, dipole


def _attention_irreps(irreps: Irreps, config: ModelConfig, last: bool) -> Irreps:
    """Irreps of the features that attention sees: by default scalars in the last block."""
    degree = irreps.degree if config.attention_degree is None else config.attention_degree
    if last:
        degree = min(config.last_attention_degree, irreps.degree)
        if degree == 0:
            return _SCALARS
    pseudotensors = config.attention_pseudotensors
    return Irreps(
        degree if irreps.degree > 0 else 0,
        irreps.pseudotensors if pseudotensors is None else pseudotensors,
    )
