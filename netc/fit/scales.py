"""The range in which a parameter is searched, and the number from 0 to 1 that stands for it there."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from netc.diagnostics import Diagnostics, printable

_WIDE = 100.0
"""A parameter without a range is searched from a hundredth to a hundred times its value."""

_LOGARITHMIC = 8.0
"""From this ratio of its ends on a range is searched by ratios."""

_START = re.compile(r"[a-z]+\d*0")
"""Names of where a state starts: ``x0``, ``x10``, ``w0``."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A range, searched by ratios where both ends have one sign and are far apart.

    Attributes:
        low: its lower end.
        high: its upper end.
    """

    low: float
    high: float

    @property
    def by_ratio(self) -> bool:
        """Whether equal steps are equal ratios."""
        if self.low * self.high <= 0:
            return False
        ratio = self.high / self.low
        return max(ratio, 1 / ratio) >= _LOGARITHMIC

    def value(self, place: Tensor) -> Tensor:
        """Return the parameter at a place from 0 to 1."""
        if self.by_ratio:
            return self.low * (self.high / self.low) ** place
        return self.low + (self.high - self.low) * place

    def place(self, value: float) -> float:
        """Return the place of a value, from 0 to 1."""
        if self.by_ratio:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def slope(self, place: float) -> float:
        """Return d value / d place."""
        if self.by_ratio:
            return float(self.value(torch.tensor(place))) * math.log(self.high / self.low)
        return self.high - self.low


def choose(
    defaults: Mapping[str, float],
    names: Sequence[str],
    bounds: Mapping[str, tuple[float, float]],
) -> dict[str, Scale]:
    """Return the range of each named parameter.

    Without one in ``bounds``: 0 to 1 for where a state starts, else a hundredth to a hundred times the default.

    Raises:
        NetcError: names that the model does not have, ranges that are none or leave out the default, and defaults of
            0 without a range: all of them at once.
    """
    found, scales = Diagnostics(), {}
    has = f"it has {', '.join(map(printable, defaults)) or 'none'}"
    for name in dict.fromkeys((*names, *bounds)):
        if name not in defaults:
            found.error(f"the model has no parameter {printable(name)!r} with a number", hint=has)
            continue
        value = defaults[name]
        if name in bounds:
            low, high = bounds[name]
            if not low < high:
                found.error(f"the range of {name} is {low:g} to {high:g}: its lower end must come first")
            elif not low <= value <= high:
                found.error(f"the range of {name}, {low:g} to {high:g}, leaves out where it starts, {value:g}")
            else:
                scales[name] = Scale(low, high)
        elif _START.fullmatch(name) and 0 <= value <= 1:
            scales[name] = Scale(0.0, 1.0)
        elif value == 0:
            found.error(f"{name} starts at 0: nothing says how large it may get", hint=f"--bounds {name}=LOW,HIGH")
        else:
            ends = sorted((value / _WIDE, value * _WIDE))
            scales[name] = Scale(ends[0], ends[1])
    found.raise_if_failed()
    return {name: scales[name] for name in names}
