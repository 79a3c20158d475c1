"""Take a waveform common to all inputs out of linear operators, and so the product out of the time loop.

    MatVec(amplitude * w(t), M)   ->   w(t) * MatVec(amplitude, M)
    w(t) * a - w(t) * b           ->   w(t) * (a - b)
    Concat(0, w(t) * a)           ->   w(t) * Concat(0, a)

where ``w`` has one lane and rate TIME; also through Gather, ScatterAdd and Solve with a PARAMETER matrix, and
for sums where each term separates.
"""

from __future__ import annotations

from collections.abc import Callable

from netc.ir import build
from netc.ir.nodes import Binary, Concat, Expr, Gather, MatVec, Rate, ScatterAdd, Solve
from netc.ir.program import Program
from netc.ir.rates import Rates
from netc.optimise.rewriting import rewritten, signed_sum, terms
from netc.optimise.splitting import split

_TERMS = 4  # more terms than this would cost more products than they save


def run(program: Program) -> Program:
    """Return ``program`` with common waveforms outside linear operators."""
    rates = Rates(program)

    def rule(node: Expr) -> Expr | None:
        if isinstance(node, Binary) and node.op in ("add", "sub"):
            return _factored(node, rates)
        if isinstance(node, Concat):
            return _concatenated(node, rates)
        if isinstance(node, Gather | ScatterAdd | MatVec):
            other = node.matrix if isinstance(node, MatVec) else None
            operand = node.x
        elif isinstance(node, Solve):
            operand, other = node.b, node.matrix
        else:
            return None
        if len(node.shape) != 1 or (other is not None and rates(other)):
            return None
        return _separated(operand, lambda x: _applied(node, x), rates)

    return rewritten(program, rule)


def _applied(node: Expr, x: Expr) -> Expr:
    if isinstance(node, MatVec):
        return build.matvec(x, node.matrix)
    if isinstance(node, Solve):
        return build.solve(node.matrix, x)
    return build.refold(node, (x,))


def _separated(operand: Expr, apply: Callable[[Expr], Expr], rates: Rates) -> Expr | None:
    found: list[tuple[int, Expr, Expr]] = []
    for sign, term in terms(operand):
        parts = split(term, rates)
        if parts.rest is not build.ONE or parts.time.shape != (1,):
            return None
        found.append((sign, parts.time, parts.static))
    if len(found) > _TERMS or all(waveform is build.ONE for _, waveform, _ in found):
        return None
    return signed_sum([(sign, build.mul(apply(static), waveform)) for sign, waveform, static in found])


def _concatenated(node: Concat, rates: Rates) -> Expr | None:
    waveform: Expr | None = None
    parts: list[Expr] = []
    for part in node.parts:
        parted = split(part, rates)
        if isinstance(part, Gather) and part.x is build.ZERO:
            parts.append(part)
            continue
        if parted.rest is not build.ONE or parted.time.shape != (1,) or parted.time is not (waveform or parted.time):
            return None
        waveform = parted.time
        parts.append(build.widen(parted.static, part.shape[0]))
    return None if waveform is None or waveform is build.ONE else build.mul(Concat(*parts), waveform)


def _factored(node: Binary, rates: Rates) -> Expr | None:
    if rates(node) != Rate.STEP:
        return None
    a, b = split(node.a, rates), split(node.b, rates)
    if a.time is not b.time or a.time.shape != (1,) or a.time is build.ONE:
        return None
    if a.rest is not build.ONE or b.rest is not build.ONE:
        return None
    return build.mul(build.binary(node.op, a.static, b.static), a.time)
