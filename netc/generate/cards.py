"""How values are written on cards."""

from __future__ import annotations

import math

_SUFFIXES = {2: "meg", 1: "k", 0: "", -1: "m", -2: "u", -3: "n", -4: "p", -5: "f"}  # by power of 1000; M is milli


def engineering(value: float) -> str:
    """Return ``value`` with a SPICE suffix, to 7 digits: ``1e-7`` is ``100n``."""
    if value == 0 or not 1e-15 <= abs(value) < 1e9:
        return f"{value:.7g}"
    power = math.floor(math.log10(abs(value)) / 3 + 1e-12)
    digits = f"{value / 1000.0**power:.7g}"
    return digits + _SUFFIXES[power]
