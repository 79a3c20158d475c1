"""The option ``--integrator``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

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
