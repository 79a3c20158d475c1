"""The option ``--integrator``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from netc.compiler import Compilation
    from netc.runtime.stability import Stability

_F = TypeVar("_F", bound=Callable[..., Any])

NAMES = ("euler", "heun", "rk4", "exponential", "backward-euler", "trapezoidal", "bdf2")
"""As in netc.discretise, which takes longer to import than a command to say its help."""


def integrator_option(command: _F) -> _F:
    """Add ``--integrator``."""
    return click.option(
        "--integrator",
        type=click.Choice([*NAMES, "auto"]),
        default="euler",
        show_default=True,
        help="How a step is taken; auto chooses by the circuit's time constants, measures the error and says so.",
    )(command)


def limits(compilation: Compilation, integrator: str) -> Stability:
    """Return what the integrator needs of the step; no limits at all for those that are stable at any step."""
    from netc.discretise import INTEGRATORS
    from netc.runtime.stability import Stability, analyse

    reach = INTEGRATORS[integrator].reach if integrator in INTEGRATORS else math.inf
    return analyse(compilation.continuous).reaching(reach) if math.isfinite(reach) else Stability(())
