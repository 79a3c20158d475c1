"""Options that say how devices differ from one another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])


class Share(click.ParamType[float]):
    """A share such as ``10%`` or ``0.1``."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the share; anything but a number from 0 to 1 is a usage error."""
        if isinstance(value, float | int):
            return float(value)
        text = str(value).strip()
        try:
            found = float(text[:-1]) / 100 if text.endswith("%") else float(text)
        except ValueError:
            found = float("nan")
        if not 0 <= found <= 1:
            self.fail(f"{text!r} is not a share from 0 to 1 such as 10% or 0.1", param, ctx)
        return found


class Several(click.ParamType[tuple[Any, ...]]):
    """Values of another type with commas between them."""

    def __init__(self, one: click.ParamType[Any]) -> None:
        self._one = one
        self.name = f"{one.name}s"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        """Return the values; an empty one is a usage error of the type of one."""
        if isinstance(value, tuple):
            return value
        return tuple(self._one.convert(part.strip(), param, ctx) for part in str(value).split(","))


_TYPES: dict[str, click.ParamType[Any]] = {
    "spread": Share(),
    "read-noise": Share(),
    "stuck-at": Share(),
    "levels": click.IntRange(min=2),
}
_HELP = {
    "spread": "Relative standard deviation of trained conductances from device to device.  [0]",
    "read-noise": "The same from use to use, drawn anew for every sample.  [0]",
    "stuck-at": "Probability that a device is stuck at one of its bounds.  [0]",
    "levels": "Levels of a device, equally spaced in conductance.  [any value]",
}
_METAVARS = {"spread": "SHARE", "read-noise": "SHARE", "stuck-at": "P", "levels": "N"}


def device_option(name: str, *, several: bool = False) -> Callable[[_F], _F]:
    """Return a decorator that adds one of ``--spread``, ``--read-noise``, ``--stuck-at`` and ``--levels``.

    ``several`` takes a list of values, given to the command as a tuple.
    """
    kind, metavar = _TYPES[name], _METAVARS[name]
    default: Any = None if name == "levels" else 0.0
    if several:
        return click.option(
            f"--{name}",
            type=Several(kind),
            default=(default,),
            metavar=f"{metavar},...",
            help=_HELP[name],
        )
    return click.option(f"--{name}", type=kind, default=default, metavar=metavar, help=_HELP[name])


def noise_law_option(command: _F) -> _F:
    """Add ``--noise-law``."""
    return click.option(
        "--noise-law",
        type=click.Choice(["normal", "lognormal", "uniform"]),
        default="normal",
        show_default=True,
        help="Of G times 1 + s n, or its logarithm: see netc.variability.",
    )(command)


def nominal_option(command: _F) -> _F:
    """Add ``--nominal``."""
    return click.option(
        "--nominal", is_flag=True, help="Leave out the spread that the deck declares (*.netc spread, agauss)."
    )(command)
