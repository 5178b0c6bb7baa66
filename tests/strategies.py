"""Random configurations, for property tests."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from efa_zoo.base.config import (
    ACTIVATIONS,
    CUTOFF_FUNCTIONS,
    RADIAL_BASES,
    AttentionConfig,
    Coulomb,
    FrequencyConfig,
    IntegrationConfig,
    KernelConfig,
    MessagePassingConfig,
    ModelConfig,
    TrainingConfig,
    Waves,
    WindowedWaves,
)

_POSITIVE = st.floats(1e-3, 1e3)


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


@st.composite
def message_passing_configs(
    draw: st.DrawFn, *, max_degree: int = 4, smooth: bool = False
) -> MessagePassingConfig:
    rough = [name for name in RADIAL_BASES if name.startswith("e3x_")]
    rough += ["rectangular_window", "triangular_window"]
    bases = [name for name in RADIAL_BASES if not (smooth and name in rough)]
    basis = draw(st.sampled_from(bases))
    scale = None if "reciprocal" in basis else draw(_maybe(st.floats(0.5, 2.0)))
    return MessagePassingConfig(
        cutoff=draw(st.floats(2.5, 4.0)),
        degree=draw(st.integers(0, max_degree)),
        num_radial=draw(st.integers(1, 4)),
        radial_basis=basis,
        radial_scale=scale,
        cutoff_function=draw(st.sampled_from(CUTOFF_FUNCTIONS)),
    )


@st.composite
def integration_configs(draw: st.DrawFn) -> IntegrationConfig:
    degree = draw(_maybe(st.integers(0, 2)))
    constants = None
    if degree is not None and draw(st.booleans()):
        constants = tuple(draw(st.floats(0.5, 2.0)) for _ in range(degree + 1))
    return IntegrationConfig(
        spherical_degree=degree,
        degree=draw(_maybe(st.just(0))),
        pseudotensors=draw(_maybe(st.booleans())),
        trainable=draw(st.booleans()),
        degree_constants=constants,
    )


@st.composite
def wave_configs(draw: st.DrawFn) -> Waves:
    """Waves that fit a grid of 302 points."""
    return Waves(
        frequencies=FrequencyConfig(
            max_frequency=draw(st.floats(0.5, 4.0)),
            max_length=draw(st.floats(3.0, 10.0)),
            trainable=draw(st.booleans()),
        )
    )


@st.composite
def kernel_configs(draw: st.DrawFn) -> KernelConfig:
    """Kernels of all kinds."""
    waves = draw(wave_configs())
    windowed = WindowedWaves(frequencies=waves.frequencies, width=draw(st.floats(1.0, 10.0)))
    width = st.floats(0.5, 3.0)
    coulomb = Coulomb(widths=draw(st.tuples(width, width)), trainable=draw(st.booleans()))
    return draw(st.sampled_from([waves, windowed, coulomb]))


@st.composite
def attention_configs(draw: st.DrawFn) -> AttentionConfig:
    """Configurations that fit features of any degree."""
    project = draw(st.booleans())
    evaluation = draw(st.sampled_from(["auto", "exact", "quadrature"]))
    kernel = draw(kernel_configs() if evaluation != "quadrature" else wave_configs())
    gridless = evaluation == "exact" or not isinstance(kernel, Waves)
    grid = None if gridless else draw(_maybe(st.sampled_from([302, 434])))
    tolerances = [1e-8, 3e-6, 1e-3] + ([] if grid is None else [math.inf])
    integration = draw(_maybe(integration_configs()))
    # The degree of the output, if it is that of the input, must be in reach of the factors.
    reachable = integration is None or integration.degree is not None
    return AttentionConfig(
        query_key_features=draw(_maybe(st.sampled_from([2, 4]))) if project else None,
        value_features=draw(_maybe(st.integers(1, 5))) if project else None,
        query_key_degree=draw(_maybe(st.just(0))),
        value_degree=draw(_maybe(st.just(0))) if reachable else None,
        query_key_pseudotensors=draw(_maybe(st.booleans())),
        value_pseudotensors=draw(_maybe(st.booleans())),
        project=project,
        activation=draw(st.sampled_from(ACTIVATIONS)),
        kernel=kernel,
        integration=integration,
        evaluation=evaluation,
        grid=grid,
        tolerance=draw(st.sampled_from(tolerances)),
    )


@st.composite
def model_configs(draw: st.DrawFn, *, max_degree: int = 4, smooth: bool = False) -> ModelConfig:
    """Configurations of networks, on request without radial functions that have kinks."""
    iterations = draw(st.integers(1, 2))
    attention = draw(_maybe(attention_configs()))
    attends = {}
    if attention is not None:
        emulates = draw(st.booleans())
        attends = {
            "attention_iterations": draw(
                _maybe(st.sets(st.integers(0, iterations - 1), min_size=1).map(tuple))
            ),
            "attention_degree": draw(_maybe(st.integers(0, max_degree))),
            "last_attention_degree": 0 if emulates else draw(st.integers(0, 1)),
            "attention_after_messages": not emulates and draw(st.booleans()),
            "attention_pseudotensors": draw(_maybe(st.booleans())),
            "emulate_attention": emulates,
        }
    return ModelConfig(
        features=draw(st.sampled_from([2, 4])),
        iterations=iterations,
        highest_atomic_number=draw(st.integers(9, 118)),
        message_passing=draw(message_passing_configs(max_degree=max_degree, smooth=smooth)),
        attention=attention,
        combine=draw(st.sampled_from(["switch", "sum"])),
        direct_updates=draw(st.booleans()),
        residual_mlps=draw(st.integers(0, 2)),
        self_interaction=draw(st.booleans()),
        dipole_embedding=draw(st.booleans()),
        zero_output=draw(st.booleans()),
        **attends,
    )


@st.composite
def training_configs(draw: st.DrawFn) -> TrainingConfig:
    optimizer = draw(st.sampled_from(["adam", "adamw", "muon"]))
    steps = draw(st.integers(1, 1_000_000))
    return TrainingConfig(
        batch_size=draw(st.integers(1, 512)),
        steps=steps,
        learning_rate=draw(_POSITIVE),
        warmup_steps=draw(st.integers(0, steps - 1)),
        final_learning_rate=draw(st.floats(0, 1)),
        optimizer=optimizer,
        weight_decay=0.0 if optimizer == "adam" else draw(st.floats(0, 1)),
        clip_norm=draw(_POSITIVE),
        average_decay=draw(st.floats(0, 0.9999)),
        energy_weight=draw(st.floats(0, 10)),
        force_weight=draw(_POSITIVE),
        loss=draw(st.sampled_from(["huber", "squared"])),
        huber_delta=draw(_POSITIVE),
        validation_interval=draw(st.integers(1, 10_000)),
        seed=draw(st.integers(0, 2**31)),
    )
