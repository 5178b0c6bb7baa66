"""Settings of molecular dynamics: what they mean, and which make no sense."""

from __future__ import annotations

import pytest

from efa_zoo.base.errors import InputError
from efa_zoo.simulation import DynamicsConfig


def test_the_thermostat_has_a_temperature_and_a_friction() -> None:
    assert DynamicsConfig(ensemble="nvt").target_temperature == 300
    assert DynamicsConfig(ensemble="nvt").thermostat_friction == 0.01
    assert DynamicsConfig(ensemble="nvt", friction=0.2).thermostat_friction == 0.2
    assert DynamicsConfig(temperature=20).target_temperature == 20
    assert DynamicsConfig().thermostat_friction == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ensemble": "nph"}, "ensemble: got 'nph', expected 'nve', 'nvt' or 'npt'"),
        ({"engine": "gpu"}, "engine: got 'gpu', expected 'auto', 'compiled' or 'ase'"),
        ({"timestep": 0.0}, "timestep: got 0.0, expected a positive number (fs)"),
        ({"timestep": float("nan")}, "timestep: got nan"),
        ({"timestep": "1"}, "timestep: got '1'"),
        ({"steps": -1}, "steps: got -1, expected an integer of at least 0"),
        ({"steps": 1.5}, "steps: got 1.5"),
        ({"steps": True}, "steps: got True"),
        ({"seed": -3}, "seed: got -3"),
        ({"interval": 0}, "interval: got 0, expected an integer of at least 1"),
        ({"temperature": -1.0}, "temperature: got -1.0, expected a number of at least 0 (K)"),
        ({"temperature": 6000.0}, "temperature: got 6000, expected less than max_temperature"),
        ({"max_temperature": 200.0}, "temperature: got 300, expected less than max_temperature"),
        ({"max_force": float("inf")}, "max_force: got inf, expected a positive number (eV/Å)"),
        ({"ensemble": "nvt", "friction": 0.0}, "friction: got 0.0, expected a positive number"),
        ({"friction": 0.1}, "friction: got 0.1, expected none for the ensemble 'nve'"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        DynamicsConfig(**options)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
