"""Options of the kernels of attention: what a pair of atoms at a distance weighs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from efa_zoo.base.config.tables import check, check_at_least, check_positive

__all__ = ["Coulomb", "FrequencyConfig", "KernelConfig", "Waves", "WindowedWaves"]


@dataclass(frozen=True, kw_only=True)
class FrequencyConfig:
    """Frequencies of the rotary encoding, evenly spaced from 0 to max_frequency / max_length.

    Attributes:
        max_frequency: phase (radians) that the highest frequency reaches over `max_length`,
            above 0.
        max_length: longest distance expected between two atoms, in Å, above 0.
        trainable: the frequencies are parameters.
    """

    max_frequency: float = math.pi
    max_length: float = 10.0
    trainable: bool = False

    def __post_init__(self) -> None:
        check_positive("max_frequency", self.max_frequency)
        check_positive("max_length", self.max_length)

    @classmethod
    def for_distance(
        cls, distance: float, num_frequencies: int, *, trainable: bool = False
    ) -> FrequencyConfig:
        """Frequencies whose waves add up to 1/r, or any smooth function, over a distance.

        Evenly spaced waves repeat after r = 2π / Δω, and 1/r = Δω/π (1 + 2 Σ sinc(k Δω r)) up to
        there (Poisson's sum). The spacing Δω = 2π / (1.25 distance) leaves a margin. A wider one
        makes atoms that are far apart look close; a narrower one gives waves that differ little,
        of which training has to add large amounts of opposite sign.

        Args:
            distance: longest distance between two atoms that the network is to know, in Å, above 0.
            num_frequencies: half of `AttentionConfig.query_key_features`, at least 2.
            trainable: the frequencies are parameters.

        Returns:
            Settings with `max_length` equal to the distance.

        Raises:
            ConfigError: a number is out of its range.
        """
        check_positive("distance", distance)
        check_at_least("num_frequencies", num_frequencies, 2)
        highest = 2 * math.pi / 1.25 * (num_frequencies - 1)
        return cls(max_frequency=highest, max_length=distance, trainable=trainable)


@dataclass(frozen=True, kw_only=True)
class Waves:
    """Waves averaged over all directions, sinc(ωr): the kernel of the paper.

    Attributes:
        frequencies: frequencies of the rotary encoding.
    """

    kind: ClassVar[str] = "waves"

    frequencies: FrequencyConfig = FrequencyConfig()


@dataclass(frozen=True, kw_only=True)
class WindowedWaves:
    """Waves that fall off with distance, sinc(ωr) exp(-r²/2s²).

    Attributes:
        frequencies: frequencies of the waves.
        width: standard deviation s of the window in Å, above 0. Atoms farther apart than about
            five widths do not see each other.
    """

    kind: ClassVar[str] = "windowed_waves"

    frequencies: FrequencyConfig = FrequencyConfig()
    width: float = 5.0

    def __post_init__(self) -> None:
        check_positive("width", self.width)


@dataclass(frozen=True, kw_only=True)
class Coulomb:
    """Coulomb's law of charges that are Gaussians, erf(r/√2σ)/r, and the fields of multipoles.

    Attributes:
        widths: σ in Å, above 0: the first and the last one, with a constant ratio from one to the
            next, or as many as there are, half of `AttentionConfig.query_key_features`.
        trainable: the widths are parameters.
        max_length: longest distance expected between two atoms, in Å, above 0. Evaluation by
            quadrature keeps its tolerance up to there; the exact form needs no such number.
    """

    kind: ClassVar[str] = "coulomb"

    widths: tuple[float, ...] = (0.8, 3.0)
    trainable: bool = False
    max_length: float = 20.0

    def __post_init__(self) -> None:
        check(len(self.widths) > 0, "widths", self.widths, "at least one width")
        for width in self.widths:
            check_positive("widths", width)
        check_positive("max_length", self.max_length)


#: The kernels there are.
KernelConfig: TypeAlias = Waves | WindowedWaves | Coulomb
