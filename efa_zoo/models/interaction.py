"""A block of the network: message passing and attention in parallel, then refinement."""

from __future__ import annotations

from collections.abc import Hashable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from efa_zoo.attention.exact import PairFunctions
from efa_zoo.attention.module import EuclideanFastAttention
from efa_zoo.attention.reciprocal import Lattice
from efa_zoo.base.config import ModelConfig
from efa_zoo.base.contracts import contract
from efa_zoo.nn.coupling import Irreps
from efa_zoo.nn.dense import MLP, Dense, add, change_irreps
from efa_zoo.nn.inner_product import InnerProduct
from efa_zoo.nn.message_passing import MessagePass
from efa_zoo.nn.pairs import PairBasis
from efa_zoo.nn.tensor_dense import TensorDense
from efa_zoo.ops.platforms import on_cpu

__all__ = ["Interaction"]

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
        lattice: Lattice | None = None,
        shared: dict[Hashable, PairFunctions | None] | None = None,
    ) -> Float[Array, "atoms {self.irreps.parities} {self.irreps.components} features"]:
        """Update the features of one molecule; what blocks share is as for attention."""
        message = self.message_pass(x, pairs)
        before, x = x, change_irreps(x, self.kept_irreps)
        refined = self.local_mlp(add(x, message))
        local = add(refined, message) if self.direct_updates else refined
        if self.attention is None or self.attention_output is None or self.global_mlp is None:
            parts = [local]
        else:
            if isinstance(self.attention, EuclideanFastAttention):
                seen = self._seen(before, message, refined)
                attended = self.attention(
                    seen, positions, atom_mask, lattice=lattice, shared=shared
                )
            else:
                seen, attended = x, self.attention(x)
            if self.attention_product is None:
                update = self.attention_output(attended)
            else:
                update = self.attention_output(change_irreps(attended, _SCALARS))
                update = update + self.attention_product(seen, attended)
            refined = self.global_mlp(add(x, update))
            parts = [local, add(refined, update) if self.direct_updates else refined]
        if self.switch is not None:
            switches = (self.switch, 1 - self.switch)
            # On a CPU the derivative of a stack would be fused with the sums that it is made of.
            gates = map(jax.nn.silu, switches) if on_cpu() else jax.nn.silu(jnp.stack(switches))
            parts = [c * part for c, part in zip(gates, parts, strict=False)]
        x = add(x, *parts)
        if self.self_interaction is not None:
            x = add(change_irreps(x, _SCALARS), self.self_interaction(x))
        for mlp in self.residual_mlps:
            x = add(x, mlp(x))
        return x

    @contract
    def seen_by_attention(
        self, x: Float[Array, "atoms parities components features"], pairs: PairBasis
    ) -> Float[Array, "atoms parities2 components2 features"]:
        """Features that attention sees, of those that the block gets."""
        message = self.message_pass(x, pairs)
        refined = self.local_mlp(add(change_irreps(x, self.kept_irreps), message))
        return self._seen(x, message, refined)

    def _seen(self, x: Array, message: Array, refined: Array) -> Array:
        if self.attention_after_messages:
            x = add(x, message, refined)
        return change_irreps(x, self.attention_irreps)


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
