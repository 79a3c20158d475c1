"""Random numbers of parameters: the nominal value, or a draw where the deck gives a seed.

    agauss(nominal, deviation, sigma)    nominal + deviation / sigma * z            z normal
    gauss(nominal, share, sigma)         nominal * (1 + share / sigma * z)
    aunif(nominal, deviation)            nominal + deviation * u                    u uniform on -1..1
    unif(nominal, share)                 nominal * (1 + share * u)
    limit(nominal, deviation)            nominal + or - deviation, a toss

Meaning and arguments are those of ngspice 39; its generator and netc's give different numbers from one seed.  Where a
value or a parameter is nothing but such a call, its nominal value also says what spread it has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from netc.ir.build import add, div, mul
from netc.ir.nodes import Expr
from netc.ir.program import Spread

Generator = np.random.Generator


@dataclass(frozen=True, slots=True)
class RandomFunction:
    """``draw`` returns one value from a generator and the ``count`` arguments."""

    count: int
    draw: Callable[..., Expr]


def _agauss(random: Generator, nominal: Expr, deviation: Expr, sigma: Expr) -> Expr:
    return add(nominal, mul(div(deviation, sigma), float(random.standard_normal())))


def _gauss(random: Generator, nominal: Expr, share: Expr, sigma: Expr) -> Expr:
    return mul(nominal, add(1.0, mul(div(share, sigma), float(random.standard_normal()))))


def _aunif(random: Generator, nominal: Expr, deviation: Expr) -> Expr:
    return add(nominal, mul(deviation, float(random.uniform(-1.0, 1.0))))


def _unif(random: Generator, nominal: Expr, share: Expr) -> Expr:
    return mul(nominal, add(1.0, mul(share, float(random.uniform(-1.0, 1.0)))))


def _limit(random: Generator, nominal: Expr, deviation: Expr) -> Expr:
    return add(nominal, mul(deviation, 1.0 if random.uniform() < 0.5 else -1.0))


RANDOM = {
    "agauss": RandomFunction(3, _agauss),
    "gauss": RandomFunction(3, _gauss),
    "aunif": RandomFunction(2, _aunif),
    "unif": RandomFunction(2, _unif),
    "limit": RandomFunction(2, _limit),
}
"""All random functions of parameters by name."""


class Nominal(float):
    """A nominal value that has a spread."""

    spread: Spread

    def __new__(cls, value: float, spread: Spread) -> Nominal:
        """Return ``value`` with ``spread``."""
        found = super().__new__(cls, value)
        found.spread = spread
        return found


def spread_of(function: str, arguments: Sequence[float]) -> Spread | None:
    """Return the spread that a call of a random function describes; ``None`` where there is none, and for ``limit``.

    It is relative to the nominal value, the first argument, unless that is 0.
    """
    nominal, deviation = arguments[0], abs(arguments[1])
    if function in ("gauss", "unif"):
        deviation *= abs(nominal)
    if function in ("agauss", "gauss"):
        deviation, law = deviation / abs(arguments[2]) if arguments[2] else math.nan, "normal"
    elif function in ("aunif", "unif"):
        deviation, law = deviation / math.sqrt(3), "uniform"
    else:
        return None
    if not 0 < deviation < math.inf:
        return None
    return Spread(deviation / abs(nominal), law=law) if nominal else Spread(0.0, deviation, law)
