"""Scaled modified spherical Bessel functions: values, derivatives, and the point zero."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ive

from efa_zoo.base.errors import InputError
from efa_zoo.ops.modified_bessel import scaled_modified_spherical_bessel

_ARGUMENTS = np.concatenate([np.geomspace(1e-6, 1, 50), np.linspace(1, 60, 600), [1e3, 1e8]])


def _reference(degree: int, x: np.ndarray) -> np.ndarray:
    return np.sqrt(np.pi / (2 * x)) * ive(degree + 0.5, x)


@pytest.mark.parametrize("max_degree", [0, 1, 2, 4])
def test_values_match_scipy(max_degree: int, x64: None) -> None:
    for dtype, tolerance in ((jnp.float64, 1e-13), (jnp.float32, 3e-6)):
        x = jnp.asarray(_ARGUMENTS, dtype)
        values = scaled_modified_spherical_bessel(max_degree, x)
        assert len(values) == max_degree + 1
        for degree, value in enumerate(values):
            assert value.dtype == dtype
            expected = _reference(degree, np.asarray(x, np.float64))
            np.testing.assert_allclose(value, expected, rtol=tolerance)


def test_derivatives_match_finite_differences_and_are_right_at_zero(x64: None) -> None:
    def third(x: jax.Array) -> jax.Array:
        return jnp.stack(scaled_modified_spherical_bessel(3, x))

    step = 1e-5
    for x in (0.3, 6.0, 12.0, 20.0, 35.0):  # the last degree switches at 12, and its slope at 20
        slope = jax.jacfwd(third)(jnp.asarray(x))
        np.testing.assert_allclose(
            (third(jnp.asarray(x + step)) - third(jnp.asarray(x - step))) / (2 * step),
            slope, rtol=1e-7, atol=1e-11,
        )  # fmt: skip
    # exp(-x) i_l(x) = (1 - x + x²/2 …) x^l / (2l+1)!! (1 + x²/(4l+6) …).
    zero = jnp.asarray(0.0)
    np.testing.assert_allclose(third(zero), [1, 0, 0, 0])
    np.testing.assert_allclose(jax.jacfwd(third)(zero), [-1, 1 / 3, 0, 0], atol=1e-16)
    second = jax.jacfwd(jax.jacrev(third))(zero)
    np.testing.assert_allclose(second, [4 / 3, -2 / 3, 2 / 15, 0], atol=1e-15)


def test_a_negative_degree_is_refused() -> None:
    with pytest.raises(InputError, match="max_degree is -1"):
        scaled_modified_spherical_bessel(-1, jnp.ones(2))
