"""One look for all pictures: colours everybody can tell apart, engineering units, names that cannot misbehave."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from netc.diagnostics import NetcError, printable

# M. Okabe and K. Ito, "Color Universal Design", 2008
BLUE, ORANGE, GREEN, PINK, SKY, RED, YELLOW = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7"),
    *("#56B4E9", "#D55E00", "#F0E442"),
)
GREY = "#999999"
PALETTE = (BLUE, ORANGE, GREEN, PINK, SKY, RED)

LONGEST_NAME = 32

_LOOK: dict[str, Any] = {
    "figure.dpi": 120,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    # names come from decks: a dollar sign is a dollar sign
    "text.usetex": False,
    "text.parse_math": False,
}

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "\N{MICRO SIGN}"), (1e-9, "n"))
_SMALLEST = (1e-12, "p")

_P = ParamSpec("_P")


def safe(text: str, length: int = LONGEST_NAME) -> str:
    """Return a name from a deck for use in a picture: no control characters, not too long."""
    text = printable(text)
    return text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"


def scale(values: NDArray[Any], unit: str) -> tuple[float, str]:
    """Return the power of ten that suits ``values`` and the unit with its prefix, ``(1e-3, "mV")``."""
    finite = np.abs(values[np.isfinite(values)])
    largest = float(finite.max()) if finite.size else 0.0
    if largest == 0:
        return 1.0, unit
    # 0.3 V reads better as 300 mV, 2 V as 2 V
    factor, prefix = next(((f, p) for f, p in _PREFIXES if largest >= f), _SMALLEST)
    return factor, prefix + unit


@contextmanager
def figure(path: Path | str, width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure of ``width`` by ``height`` inches and write it to ``path`` as PNG, whole or not at all.

    Raises:
        NetcError: the file cannot be written.
    """
    target = Path(path)
    drawn = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawn)
    yield drawn
    temporary = ""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            drawn.savefig(file, format="png", bbox_inches="tight", pad_inches=0.06)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise NetcError(f"cannot write {target}: {error.strerror or error}") from error


def in_style(draw: Callable[_P, None]) -> Callable[_P, None]:
    """Make a drawing function use netc's look, whatever the user's matplotlib settings are."""

    @wraps(draw)
    def drawn(*arguments: _P.args, **options: _P.kwargs) -> None:
        with matplotlib.style.context(["default", _LOOK]):
            draw(*arguments, **options)

    return drawn
