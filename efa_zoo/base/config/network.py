"""Options of networks, nested so that invalid combinations cannot be written."""

from __future__ import annotations

import math
import typing
from dataclasses import dataclass
from typing import Literal

from efa_zoo.base.config.kernels import Coulomb, KernelConfig, Waves, WindowedWaves
from efa_zoo.base.config.tables import check, check_choice, check_positive, check_size

__all__ = [
    "ACTIVATIONS",
    "CUTOFF_FUNCTIONS",
    "RADIAL_BASES",
    "AttentionConfig",
    "IntegrationConfig",
    "MessagePassingConfig",
    "ModelConfig",
]

#: Gated equivariant activations of e3x, and the identity.
ACTIVATIONS: tuple[str, ...] = (
    "identity", "bent_identity", "celu", "elu", "gelu", "hard_silu", "hard_swish", "hard_tanh",
    "leaky_relu", "mish", "relu", "relu6", "selu", "serf", "shifted_softplus", "silu",
    "soft_sign", "swish",
)  # fmt: skip

#: Radial basis functions of e3x; `e3x_…` are those of which we have a more accurate form.
RADIAL_BASES: tuple[str, ...] = (
    "basic_bernstein", "basic_chebyshev", "basic_fourier", "basic_gaussian",
    "exponential_bernstein", "exponential_chebyshev", "exponential_fourier",
    "exponential_gaussian", "reciprocal_bernstein", "reciprocal_chebyshev",
    "reciprocal_fourier", "reciprocal_gaussian", "rectangular_window", "sinc", "smooth_window",
    "triangular_window", "e3x_basic_bernstein", "e3x_exponential_bernstein",
    "e3x_reciprocal_bernstein",
)  # fmt: skip

#: Cutoff functions of e3x, and none.
CUTOFF_FUNCTIONS: tuple[str, ...] = ("smooth_cutoff", "cosine_cutoff", "none")

Evaluation = Literal["auto", "exact", "quadrature"]

#: Far above any network in use; a file that asks for more is refused before it is made.
_MAX_DEGREE, _MAX_FEATURES, _MAX_BLOCKS = 16, 16_384, 64


@dataclass(frozen=True, kw_only=True)
class MessagePassingConfig:
    """Local message passing.

    Attributes:
        cutoff: range in Å, above 0.
        degree: largest degree of the spherical harmonics of the pair vectors, at least 0.
        num_radial: number of radial basis functions, at least 1.
        radial_basis: one of `RADIAL_BASES`.
        radial_scale: above 0; `limit` (Å) of `basic_*`, `*_window` and `sinc` (None: the cutoff)
            or `gamma` (1/Å) of the `exponential_*` ones (None: 1). `reciprocal_*` have none.
        cutoff_function: one of `CUTOFF_FUNCTIONS`; "none" leaves the cutoff sharp.
    """

    cutoff: float = 5.0
    degree: int = 2
    num_radial: int = 32
    radial_basis: str = "reciprocal_bernstein"
    radial_scale: float | None = None
    cutoff_function: str = "smooth_cutoff"

    def __post_init__(self) -> None:
        check_positive("cutoff", self.cutoff)
        check_size("degree", self.degree, 0, _MAX_DEGREE)
        check_size("num_radial", self.num_radial, 1, _MAX_FEATURES)
        check_choice("radial_basis", self.radial_basis, RADIAL_BASES)
        if self.radial_scale is not None:
            check_positive("radial_scale", self.radial_scale)
            check(
                "reciprocal" not in self.radial_basis,
                "radial_scale",
                self.radial_scale,
                f"none, because {self.radial_basis} has no scale",
            )
        check_choice("cutoff_function", self.cutoff_function, CUTOFF_FUNCTIONS)


@dataclass(frozen=True, kw_only=True)
class IntegrationConfig:
    """Tensor integration: attention along u is coupled with the spherical harmonics of u.

    Attributes:
        spherical_degree: largest degree of Y(u), at least 0; None takes that of the input features.
        degree: largest degree of the output, at least 0; None takes that of the input features.
        pseudotensors: keep pseudotensors in the output, None does as the input.
        trainable: one weight per coupling path and feature instead of the constant 1.
        degree_constants: factor on each degree of Y(u), `spherical_degree + 1` numbers.
    """

    spherical_degree: int | None = None
    degree: int | None = None
    pseudotensors: bool | None = None
    trainable: bool = False
    degree_constants: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.spherical_degree is not None:
            check_size("spherical_degree", self.spherical_degree, 0, _MAX_DEGREE)
        if self.degree is not None:
            check_size("degree", self.degree, 0, _MAX_DEGREE)
        if self.degree_constants is not None and self.spherical_degree is not None:
            check(
                len(self.degree_constants) == self.spherical_degree + 1,
                "degree_constants",
                self.degree_constants,
                f"spherical_degree + 1 = {self.spherical_degree + 1} numbers",
            )


@dataclass(frozen=True, kw_only=True)
class AttentionConfig:
    """Euclidean fast attention.

    Attributes:
        query_key_features: even number of features of query and key, at least 2; None takes the
            input's.
        value_features: number of features of the value, at least 1; None takes the input's.
        query_key_degree: largest degree of query and key, at least 0; None takes the input's.
        value_degree: largest degree of the value, at least 0; None takes the input's.
        query_key_pseudotensors: keep (True) or drop (False) them, None does as the input.
        value_pseudotensors: keep (True) or drop (False) them, None does as the input.
        project: trainable projections to query, key and value.
        activation: gated activation on query and key, one of `ACTIVATIONS`.
        kernel: how the distance of two atoms counts, `Waves`, `WindowedWaves` or `Coulomb`.
        integration: tensor integration, None integrates the scalar kernel.
        evaluation: "exact" sums over pairs, "quadrature" over directions, "auto" takes the
            cheaper one for the static number of atoms. Windowed waves and Coulomb kernels of
            trainable widths have no quadrature.
        grid: number of Lebedev points of the waves, None picks the smallest grid within
            `tolerance`.
        tolerance: largest quadrature error of the kernel over distances to `max_length`, 1e-8 to
            1e-3, of what the kernel is at most; inf takes a given grid as it is.
    """

    query_key_features: int | None = None
    value_features: int | None = None
    query_key_degree: int | None = None
    value_degree: int | None = None
    query_key_pseudotensors: bool | None = None
    value_pseudotensors: bool | None = None
    project: bool = True
    activation: str = "identity"
    kernel: KernelConfig = Waves()  # noqa: RUF009, it is frozen
    integration: IntegrationConfig | None = None
    evaluation: Evaluation = "auto"
    grid: int | None = None
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        if self.query_key_features is not None:
            check(
                self.query_key_features >= 2 and self.query_key_features % 2 == 0,
                "query_key_features",
                self.query_key_features,
                "an even number of at least 2",
            )
            check_size("query_key_features", self.query_key_features, 2, _MAX_FEATURES)
        if self.value_features is not None:
            check_size("value_features", self.value_features, 1, _MAX_FEATURES)
        for field in ("query_key_degree", "value_degree"):
            if getattr(self, field) is not None:
                check_size(field, getattr(self, field), 0, _MAX_DEGREE)
        if not self.project:
            for field in ("query_key_features", "value_features"):
                check(
                    getattr(self, field) is None,
                    field,
                    getattr(self, field),
                    "none, because without projections the input's features are used",
                )
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("evaluation", self.evaluation, typing.get_args(Evaluation))
        check(
            1e-8 <= self.tolerance <= 1e-3
            or (self.tolerance == math.inf and self.grid is not None),
            "tolerance",
            self.tolerance,
            "1e-8 to 1e-3 (or inf with a given grid)",
        )
        if self.grid is not None:
            check(
                self.evaluation != "exact",
                "grid",
                self.grid,
                "none, because exact evaluation needs no grid",
            )
            check(
                isinstance(self.kernel, Waves),
                "grid",
                self.grid,
                f"none, because it is for waves, and the kernel is {self.kernel.kind}",
            )
        if self.evaluation == "quadrature":
            check(
                not isinstance(self.kernel, WindowedWaves),
                "evaluation",
                self.evaluation,
                '"exact" or "auto", because a window cannot be told from an atom and a direction '
                "alone, as the phase of a wave can",
            )
            check(
                not (isinstance(self.kernel, Coulomb) and self.kernel.trainable),
                "evaluation",
                self.evaluation,
                '"exact" or "auto", because the waves of a quadrature are chosen for constant '
                "widths",
            )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """An O(3)-equivariant message-passing network with or without attention.

    Attributes:
        features: number of features, at least 1; an even number where query and key take it.
        iterations: number of interaction blocks, at least 1; the last one produces scalars only.
        highest_atomic_number: elements 1 to this one are known, up to 118.
        message_passing: the local block.
        attention: the global block, None for a local network.
        attention_iterations: blocks that attend, counted from 0; None means all.
        attention_degree: largest degree of the features that attention sees in all but the last
            block, at least 0; None takes them as they are.
        last_attention_degree: largest degree of the features that attention of the last block sees,
            at least 0. Above 0, what it attends to is also multiplied with these features to
            scalars, as dipoles are with a field.
        attention_pseudotensors: whether attention sees pseudotensors where it sees more than
            scalars, None takes the features as they are.
        attention_after_messages: attention sees the features with the messages of the same block;
            that of the first block then knows more of an atom than its element.
        emulate_attention: a dense layer in place of attention (ablation of the paper).
        combine: "switch" weighs local and global updates by a trainable constant, "sum" adds.
        direct_updates: messages and attended features reach the next block also past the
            perceptrons, unchanged. Interactions that are linear in what atoms send, like that of
            charges, then stay exact at any strength.
        residual_mlps: number of residual perceptrons after each block, at least 0.
        self_interaction: tensor product of the features with themselves after each block.
        dipole_embedding: atomic dipoles are the initial features of degree 1.
        charge_embedding: the total charge is an input, spread over the atoms by their elements.
        spin_embedding: the number of unpaired electrons is an input, likewise.
        atomic_charges: charges of the atoms, which add up to the total charge, and the dipole
            moment that they make are outputs.
        atomic_dipoles: dipoles of the atoms, from features of degree 1, add to the dipole moment;
            needs `atomic_charges`, two iterations and messages of degree 1.
        repulsion: screened nuclei repel each other at distances shorter than bonds, whatever is
            learned.
        zero_output: last layers start at zero, so that a new network predicts zero.
    """

    features: int = 32
    iterations: int = 2
    highest_atomic_number: int = 118
    message_passing: MessagePassingConfig = MessagePassingConfig()
    attention: AttentionConfig | None = None
    attention_iterations: tuple[int, ...] | None = None
    attention_degree: int | None = None
    last_attention_degree: int = 0
    attention_pseudotensors: bool | None = None
    attention_after_messages: bool = False
    emulate_attention: bool = False
    combine: Literal["switch", "sum"] = "switch"
    direct_updates: bool = False
    residual_mlps: int = 0
    self_interaction: bool = False
    dipole_embedding: bool = False
    charge_embedding: bool = False
    spin_embedding: bool = False
    atomic_charges: bool = False
    atomic_dipoles: bool = False
    repulsion: bool = False
    zero_output: bool = True

    def __post_init__(self) -> None:
        check_size("features", self.features, 1, _MAX_FEATURES)
        check_size("iterations", self.iterations, 1, _MAX_BLOCKS)
        check(
            1 <= self.highest_atomic_number <= 118,
            "highest_atomic_number",
            self.highest_atomic_number,
            "1 to 118",
        )
        check_size("residual_mlps", self.residual_mlps, 0, _MAX_BLOCKS)
        if self.atomic_dipoles:
            check(
                self.atomic_charges and self.iterations > 1 and self.message_passing.degree > 0,
                "atomic_dipoles",
                self.atomic_dipoles,
                "false, or atomic_charges, at least two iterations and messages of degree 1",
            )
        check_choice("combine", self.combine, ("switch", "sum"))
        if self.attention is None:
            for field in ("attention_iterations", "attention_degree", "attention_pseudotensors"):
                check(
                    getattr(self, field) is None,
                    field,
                    getattr(self, field),
                    "none, because the model has no attention",
                )
            check(
                not self.emulate_attention,
                "emulate_attention",
                self.emulate_attention,
                "false, because the model has no attention to emulate",
            )
        if self.attention is None or self.emulate_attention:
            for field in ("last_attention_degree", "attention_after_messages"):
                check(
                    not getattr(self, field),
                    field,
                    getattr(self, field),
                    "none, because the model has no attention",
                )
        elif self.attention.query_key_features is None:
            check(
                self.features % 2 == 0,
                "features",
                self.features,
                "an even number, because query and key take it",
            )
        check_size("last_attention_degree", self.last_attention_degree, 0, _MAX_DEGREE)
        if self.attention_degree is not None:
            check_size("attention_degree", self.attention_degree, 0, _MAX_DEGREE)
        if self.attention_iterations is not None:
            chosen = self.attention_iterations
            check(
                len(set(chosen)) == len(chosen) > 0
                and all(0 <= i < self.iterations for i in chosen),
                "attention_iterations",
                chosen,
                f"different numbers from 0 to {self.iterations - 1}",
            )

    def attends(self, iteration: int) -> bool:
        """Whether block `iteration` has a global part."""
        if self.attention is None:
            return False
        return self.attention_iterations is None or iteration in self.attention_iterations
