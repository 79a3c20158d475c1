"""Functions given by points: ``pwl()``, ``table()`` and ``TABLE`` on a controlled source."""

from __future__ import annotations

from collections.abc import Sequence

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
    there.  It lies above the lines by (s_after - s_before) / (4 d) * max(d - |x - x_k|, 0)^2.
    """
    result: Expr = Interpolate(x, Columns(*xs), Columns(*ys))
    for k in range(1, len(xs) - 1):
        before, after = sub(xs[k], xs[k - 1]), sub(xs[k + 1], xs[k])
        reach = mul(_ROUNDED_SHARE, binary("min", before, after))
        bend = sub(div(sub(ys[k + 1], ys[k]), after), div(sub(ys[k], ys[k - 1]), before))
        inside = binary("max", sub(reach, unary("abs", sub(x, xs[k]))), ZERO)
        result = add(result, mul(div(bend, mul(4.0, reach)), mul(inside, inside)))
    return result
