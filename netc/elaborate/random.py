"""Random numbers of parameters: the nominal value, or a draw where the deck gives a seed.

    agauss(nominal, deviation, sigma)    nominal + deviation / sigma * z            z normal
    gauss(nominal, share, sigma)         nominal * (1 + share / sigma * z)
    aunif(nominal, deviation)            nominal + deviation * u                    u uniform on -1..1
    unif(nominal, share)                 nominal * (1 + share * u)
    limit(nominal, deviation)            nominal + or - deviation, a toss

Meaning and arguments are those of ngspice 39; its generator and netc's give different numbers from one seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from netc.ir.build import add, div, mul
from netc.ir.nodes import Expr

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
