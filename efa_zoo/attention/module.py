"""Euclidean fast attention as a layer."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from efa_zoo.attention.cost import AttentionCost
from efa_zoo.attention.exact import PairFunctions, attend_exact, pair_functions
from efa_zoo.attention.grids import check_grid, grid_for, harmonics_on_grid, lebedev_grid
from efa_zoo.attention.integration import TensorIntegration
from efa_zoo.attention.kernels import (
    CoulombKernel,
    Kernel,
    PeriodicKernel,
    WaveKernel,
    WindowedWaveKernel,
    coulomb_waves,
    coulomb_widths,
)
from efa_zoo.attention.quadrature import attend_quadrature, attend_wave_vectors
from efa_zoo.attention.reciprocal import Lattice, attend_reciprocal, wave_reach
from efa_zoo.attention.rotary import (
    FrequencyFunction,
    initial_frequencies,
    linear_frequencies,
)
from efa_zoo.base.config import AttentionConfig, Coulomb, Waves
from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import ConfigError
from efa_zoo.nn.coupling import Irreps, repeat_degrees
from efa_zoo.nn.dense import Dense, activation, apply_together, change_irreps
from efa_zoo.ops.sharding import all_atoms, atom_shards

__all__ = ["EuclideanFastAttention"]


class EuclideanFastAttention(eqx.Module):
    """Global attention of every atom to every atom, equivariant under rotation and reflection.

    Query and key carry rotary encodings along directions of space; the product with the values is
    integrated over all directions, alone or (tensor integration) together with the spherical
    harmonics of the direction. See Frank, Chmiela, Müller and Unke, arXiv 2412.08541. Instead of
    these waves, pairs of atoms may weigh by other functions of their distance, such as Coulomb's
    law (`AttentionConfig.kernel`).

    Attributes:
        query: projection to queries, or None.
        key: projection to keys, or None.
        value: projection to values, or None.
        frequencies: `[frequencies]` in 1/Å if they are trainable, else None.
        log_widths: `[widths]`, logarithms of a Coulomb kernel's widths in Å if they are trainable,
            else None.
        integration: coupling of the tensor integration, or None.
    """

    query: Dense | None
    key: Dense | None
    value: Dense | None
    frequencies: Float[Array, " frequencies"] | None
    log_widths: Float[Array, " widths"] | None
    integration: TensorIntegration | None
    config: AttentionConfig = eqx.field(static=True)
    frequency_function: FrequencyFunction = eqx.field(static=True)
    input_irreps: Irreps = eqx.field(static=True)
    query_key_irreps: Irreps = eqx.field(static=True)
    value_irreps: Irreps = eqx.field(static=True)
    features: int = eqx.field(static=True)
    spherical_degree: int = eqx.field(static=True)

    def __init__(
        self,
        irreps: Irreps,
        features: int,
        config: AttentionConfig,
        *,
        frequency_function: FrequencyFunction = linear_frequencies,
        key: PRNGKeyArray,
        dtype: jnp.dtype | None = None,
    ):
        """Make the layer with random weights.

        Args:
            irreps: largest degree and parities of the input.
            features: number of features of the input.
            config: all options.
            frequency_function: gives the frequencies (of trainable ones, the initial values).
            key: of the random weights.
            dtype: of the weights.

        Raises:
            ConfigError: an option does not fit the input, or the grid cannot resolve the phases.
        """
        query_key, value, integration = jax.random.split(key, 3)
        query_features = config.query_key_features or features
        value_features = config.value_features or features
        if query_features % 2:
            raise ConfigError(
                f"query_key_features: got {query_features}, expected an even number of features"
            )
        self.input_irreps = irreps
        self.features = features
        self.query_key_irreps = _restrict(
            irreps, config.query_key_degree, config.query_key_pseudotensors, "query_key_degree"
        )
        self.value_irreps = _restrict(
            irreps, config.value_degree, config.value_pseudotensors, "value_degree"
        )
        self.query = self.key = self.value = None
        if config.project:
            keys = jax.random.split(query_key)
            self.query = Dense(irreps, features, query_features, key=keys[0], dtype=dtype)
            self.key = Dense(irreps, features, query_features, key=keys[1], dtype=dtype)
            self.value = Dense(irreps, features, value_features, key=value, dtype=dtype)
        self.config = config
        self.frequency_function = frequency_function
        self.frequencies = self.log_widths = None
        if isinstance(config.kernel, Coulomb):
            widths = coulomb_widths(query_features // 2, config.kernel)
            if config.kernel.trainable:
                self.log_widths = jnp.asarray(np.log(widths), dtype or float)
        else:
            initial = initial_frequencies(frequency_function, query_features // 2, config)
            if config.kernel.frequencies.trainable:
                self.frequencies = jnp.asarray(initial, dtype or float)
        self.spherical_degree, self.integration = 0, None
        if config.integration is not None:
            options = config.integration
            degree = options.spherical_degree
            self.spherical_degree = irreps.degree if degree is None else degree
            constants = options.degree_constants
            if constants is not None and len(constants) != self.spherical_degree + 1:
                raise ConfigError(
                    f"degree_constants: got {len(constants)} numbers, expected "
                    f"spherical_degree + 1 = {self.spherical_degree + 1}"
                )
            output = irreps.override(options.degree, options.pseudotensors)
            self.integration = TensorIntegration(
                Irreps(self.spherical_degree, False),
                self.value_irreps,
                value_features,
                degree=output.degree,
                pseudotensors=output.pseudotensors,
                trainable=options.trainable,
                weights_dtype=dtype,
                key=integration,
            )
        if isinstance(config.kernel, Coulomb) and config.evaluation == "quadrature":
            self._coulomb_waves()
        if isinstance(config.kernel, Waves):
            frequencies = config.kernel.frequencies
            phase = frequencies.max_frequency, frequencies.max_length
            if config.grid is not None and math.isfinite(config.tolerance):
                check_grid(config.grid, *phase, config.tolerance, self.spherical_degree)
            elif config.evaluation == "quadrature" and config.grid is None:
                grid_for(*phase, config.tolerance, self.spherical_degree)

    @property
    def irreps(self) -> Irreps:
        """Largest degree and parities of the output."""
        return self.value_irreps if self.integration is None else self.integration.irreps

    @property
    def value_features(self) -> int:
        """Number of features of the output."""
        return self.config.value_features or self.features

    def kernel(self, dtype: jnp.dtype | None = None) -> Kernel:
        """The kernel of the present frequencies or widths, trained or constant."""
        config = self.config.kernel
        if isinstance(config, Coulomb):
            if self.log_widths is not None:
                return CoulombKernel(jnp.exp(self.log_widths))
            return CoulombKernel.of(coulomb_widths(self._size, config), dtype)
        frequencies = self.current_frequencies(dtype)
        if isinstance(config, Waves):
            return WaveKernel(frequencies)
        return WindowedWaveKernel(frequencies, jnp.asarray(config.width, frequencies.dtype))

    def current_frequencies(self, dtype: jnp.dtype | None = None) -> Float[Array, " frequencies"]:
        """Frequencies of waves in 1/Å, trained or constant.

        Raises:
            ConfigError: the kernel has no frequencies.
        """
        config = self.config.kernel
        if isinstance(config, Coulomb):
            raise ConfigError(f"kernel: got {config.kind}, expected one of frequencies")
        if self.frequencies is not None:
            return self.frequencies
        values = self.frequency_function(self._size, config.frequencies)
        return jnp.asarray(values, dtype or float)

    def evaluation_for(self, num_atoms: int) -> Literal["exact", "quadrature"]:
        """The evaluation that a molecule of this static size takes.

        "auto" takes the exact form where it is cheap enough, or where no grid would resolve the
        phases; see `efa_zoo.attention.cost`. Windowed waves and Coulomb kernels of trainable widths
        have no other.
        """
        if self.config.evaluation != "auto":
            return self.config.evaluation
        try:
            exact_up_to = self.cost.exact_up_to
        except ConfigError:
            return "exact"
        return "exact" if num_atoms <= exact_up_to else "quadrature"

    @property
    def cost(self) -> AttentionCost:
        """What the evaluations cost.

        Raises:
            ConfigError: there is no quadrature.
        """
        return AttentionCost(
            channels=self.query_key_irreps.parities * self.query_key_irreps.components,
            frequencies=self._size,
            values=self.value_irreps.parities * self.value_irreps.components * self.value_features,
            degree=self.spherical_degree,
            directions=self._num_waves(),
        )

    @property
    def wave_reach(self) -> float:
        """Length in 1/Å of the longest wave vectors in a cell; ConfigError if it cannot attend."""
        options = self.config.tolerance, self.spherical_degree
        return wave_reach(self.config.kernel, self._size, *options)

    @property
    def _size(self) -> int:
        """Number of frequencies or widths."""
        return (self.config.query_key_features or self.features) // 2

    def _num_waves(self) -> int:
        """Directions of all waves, or wave vectors of a Coulomb kernel."""
        if isinstance(self.config.kernel, Coulomb):
            return len(self._coulomb_waves()[0])
        return self._grid_points()

    def _coulomb_waves(self) -> tuple[np.ndarray, np.ndarray]:
        config = self.config.kernel
        if not isinstance(config, Coulomb) or config.trainable:
            raise ConfigError(f"kernel: got {config}, expected a Coulomb kernel of constant widths")
        widths = tuple(coulomb_widths(self._size, config).tolist())
        tolerance, degree = self.config.tolerance, self.spherical_degree
        return coulomb_waves(widths, config.max_length, tolerance, degree)

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Directions `[points, 3]` and weights `[points]` of the quadrature of waves.

        Raises:
            ConfigError: the kernel are no waves, or no grid resolves their phases.
        """
        return lebedev_grid(self._grid_points())

    def _grid_points(self) -> int:
        config = self.config
        if config.grid is not None:
            return config.grid
        if not isinstance(config.kernel, Waves):
            raise ConfigError(
                f"kernel: got {config.kernel.kind}, expected waves, which have a grid"
            )
        return grid_for(
            config.kernel.frequencies.max_frequency,
            config.kernel.frequencies.max_length,
            config.tolerance,
            self.spherical_degree,
        )

    @contract
    def query_key_value(
        self,
        features: Float[
            Array,
            "atoms {self.input_irreps.parities} {self.input_irreps.components} {self.features}",
        ],
    ) -> tuple[
        Float[Array, "atoms channels frequencies 2"],
        Float[Array, "atoms channels frequencies 2"],
        Float[
            Array,
            "atoms {self.value_irreps.parities} {self.value_irreps.components} value_features",
        ],
    ]:
        """Queries and keys, two features of each frequency last, and values."""
        gate = activation(self.config.activation)
        if self.query is None or self.key is None or self.value is None:
            query_key, value = jnp.concatenate([features, features], axis=-1), features
        else:
            all_of_them = apply_together([self.query, self.key, self.value], features)
            query_key, value = jnp.split(all_of_them, [2 * self.query.weight.shape[-1]], axis=-1)
        query_key = change_irreps(gate(query_key), self.query_key_irreps)
        shape = (features.shape[0], -1, query_key.shape[-1] // 4, 2)
        query, key = (x.reshape(shape) for x in jnp.split(query_key, 2, axis=-1))
        return query, key, change_irreps(value, self.value_irreps)

    @contract
    def __call__(
        self,
        features: Float[
            Array,
            "atoms {self.input_irreps.parities} {self.input_irreps.components} {self.features}",
        ],
        positions: Float[Array, "atoms 3"],
        atom_mask: Bool[Array, " atoms"] | None = None,
        *,
        lattice: Lattice | None = None,
        evaluation: Literal["exact", "quadrature"] | None = None,
        shared: dict[Hashable, PairFunctions | None] | None = None,
    ) -> Float[
        Array, "atoms {self.irreps.parities} {self.irreps.components} {self.value_features}"
    ]:
        """Attend within one molecule.

        Args:
            features: equivariant features of the atoms.
            positions: in Å.
            atom_mask: False for padding atoms, which nobody attends to.
            lattice: of a periodic structure, which is summed in reciprocal space.
            evaluation: of an open one; None takes `evaluation_for` the number of atoms, padding
                included.
            shared: functions of pairs by kernel, which layers at the same positions have in common;
                what is missing in it is added.

        Returns:
            Features of the atoms, of irreps `self.irreps`.

        Raises:
            ConfigError: quadrature is asked for and no grid resolves the phases, or the kernel
                cannot be summed over the images of a cell.
        """
        # Accelerators would round the factors of float32 products, and lose the symmetry.
        with jax.default_matmul_precision("highest"):
            if evaluation is None and lattice is None:
                evaluation = self.evaluation_for(features.shape[0] * atom_shards())
            query, key, value = self.query_key_value(features)
            flat = value.reshape(value.shape[0], -1)
            kernel = self.kernel(features.dtype)
            if lattice is not None:
                options = self.spherical_degree, self.wave_reach, atom_mask
                assert isinstance(kernel, PeriodicKernel)
                attended = attend_reciprocal(query, key, flat, lattice, kernel, *options)
            elif evaluation == "exact":
                found = None
                if shared is not None and self.log_widths is None and self.frequencies is None:
                    name = self.config.kernel, self.frequency_function, self._size
                    name = (*name, self.spherical_degree)
                    if name not in shared:
                        options = all_atoms(positions), kernel, self.spherical_degree
                        shared[name] = pair_functions(positions, *options)
                    found = shared[name]
                options = kernel, self.spherical_degree, atom_mask, found
                attended = attend_exact(query, key, flat, positions, *options)
            elif isinstance(kernel, CoulombKernel):
                vectors, factors = self._coulomb_waves()
                wave_numbers = jnp.asarray(np.linalg.norm(vectors, axis=1), positions.dtype)
                amplitudes = kernel.amplitudes(wave_numbers)
                attended = attend_wave_vectors(
                    query, key, flat, positions, vectors, factors, amplitudes, atom_mask
                )
            else:
                assert isinstance(kernel, WaveKernel)
                points = self._grid_points()
                directions, _ = lebedev_grid(points)
                factors = harmonics_on_grid(points, self.spherical_degree)
                attended = attend_quadrature(
                    query, key, flat, positions, kernel.frequencies, directions, factors, atom_mask
                )
            if self.integration is None:
                return attended.reshape(value.shape)
            constants = self.config.integration and self.config.integration.degree_constants
            if constants is not None:
                factor = repeat_degrees(
                    jnp.asarray(constants, attended.dtype), self.spherical_degree, 0
                )
                attended = attended * factor[:, None]
            product = attended.reshape(*attended.shape[:2], *value.shape[1:])
            return self.integration.couple(product)


def _restrict(irreps: Irreps, degree: int | None, pseudotensors: bool | None, field: str) -> Irreps:
    if degree is not None and degree > irreps.degree:
        raise ConfigError(
            f"{field}: got {degree}, expected at most {irreps.degree}, the degree of the input"
        )
    return irreps.override(degree, pseudotensors)
