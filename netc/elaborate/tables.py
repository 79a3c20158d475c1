"""Functions given by points: ``pwl()``, ``table()`` and ``TABLE`` on a controlled source."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from netc.ir.build import ZERO, add, binary, div, mul, sub, unary
from netc.ir.nodes import Columns, Const, Expr, Interpolate

_ROUNDED_SHARE = 0.1


def interpolated(x: Expr, xs: Sequence[float], ys: Sequence[float], *, beyond: bool) -> Expr:
    """Return the straight lines through the points ``(xs, ys)``, ``xs`` ascending.

    ``beyond`` goes on with the slopes at the ends, as ``pwl()`` of ngspice; otherwise the end values are held, as
    ``table()`` of other simulators.
    """
    columns = Columns(*map(Const, xs)), Columns(*map(Const, ys))
    result: Expr = Interpolate(x, *columns)
    if beyond:
        below = (ys[1] - ys[0]) / (xs[1] - xs[0])
        above = (ys[-1] - ys[-2]) / (xs[-1] - xs[-2])
        result = add(result, mul(below, binary("min", sub(x, xs[0]), 0.0)))
        result = add(result, mul(above, binary("max", sub(x, xs[-1]), 0.0)))
    return result


def rounded(x: Expr, xs: Sequence[Expr], ys: Sequence[Expr]) -> Expr:
    """Return the lines through the points, held at the ends, with corners rounded as ngspice rounds ``TABLE``.

    XSPICE replaces the corner at x_k by a parabola on x_k - d .. x_k + d, d a tenth of the shorter of the two lines
    there (at an end, of the one line).  It differs from the lines by
    (slope after - slope before) / (4 d) * max(d - |x - x_k|, 0)^2.
    """
    result: Expr = Interpolate(x, Columns(*xs), Columns(*ys))
    lengths = [sub(later, earlier) for earlier, later in pairwise(xs)]
    slopes = [div(sub(later, earlier), length) for (earlier, later), length in zip(pairwise(ys), lengths, strict=True)]
    for k, at in enumerate(xs):
        around = lengths[max(k - 1, 0) : k + 1]
        reach = mul(_ROUNDED_SHARE, around[0] if len(around) == 1 else binary("min", *around))
        bend = sub(slopes[k] if k < len(slopes) else ZERO, slopes[k - 1] if k else ZERO)
        inside = binary("max", sub(reach, unary("abs", sub(x, at))), ZERO)
        result = add(result, mul(div(bend, mul(4.0, reach)), mul(inside, inside)))
    return result
