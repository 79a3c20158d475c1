"""Move what is linear and fixed by the parameters into the matrix, once per parameter set.

    ScatterAdd(a * Gather(MatVec(x, M), k), j, n)   ->   MatVec(x, ScatterAdd(a * Gather(M, k), j, n))
    MatVec(x, A) - MatVec(x, B)                     ->   MatVec(x, A - B)
    MatVec(a * x, M)                                ->   MatVec(x, Columns(a) * M)
    MatVec(MatVec(x, A), Assemble(v, r, c))         ->   MatVec(x, ScatterAdd(v * Gather(A, r), c, n))

So a pair of sensed and mirrored bit lines becomes one signed weight.  A rewrite never widens the matrix.
"""

from __future__ import annotations

from netc.ir import build
from netc.ir.nodes import Assemble, Binary, Columns, Const, Expr, Gather, Index, MatVec, Rate, ScatterAdd, Unary
from netc.ir.program import Program
from netc.ir.rates import Rates
from netc.optimise.rewriting import factors, negated, product, rewritten, signed_sum, terms

_REUSE = 4  # a second matrix is composed where it reads each column of the first at most this often on average


def run(program: Program) -> Program:
    """Return ``program`` with chains of linear operators composed."""
    rates = Rates(program)

    def rule(node: Expr) -> Expr | None:
        if isinstance(node, Unary) and node.op == "neg" and _fixed(node.x, rates):
            return _composed(node, node.shape[0], None, rates)
        if isinstance(node, Gather) and len(node.shape) == 1:
            return _composed(node, len(node.index), None, rates)
        if isinstance(node, ScatterAdd) and len(node.shape) == 1:
            return _composed(node.x, len(node.index), node, rates)
        if isinstance(node, Binary) and node.op == "mul":
            return _composed(node, node.shape[0], None, rates) if len(node.shape) == 1 else None
        if isinstance(node, Binary) and node.op in ("add", "sub"):
            return _summed(node, rates)
        return _narrowed(node, rates) if isinstance(node, MatVec) else None

    return rewritten(program, rule)


def _fixed(expr: Expr, rates: Rates) -> bool:
    return isinstance(expr, MatVec) and not rates(expr.matrix) and bool(rates(expr.x))


def _composed(expr: Expr, lanes: int, scatter: ScatterAdd | None, rates: Rates) -> Expr | None:
    """Compose ``a * Gather(MatVec(x, M) + b, k)`` of ``lanes`` lanes, then scattered; ``b`` is constant in time.

    Returns ``None`` for any other form, and where that would widen a matrix.
    """
    sign, parts = factors(expr)
    varying = [p for p in parts if rates(p)]
    if len(varying) != 1:
        return None
    inner = varying[0]
    index: Index | None = None
    if isinstance(inner, Gather):
        index = inner.index
        inner = inner.x
    summands = terms(inner)
    products = [p for _, p in summands if _fixed(p, rates)]
    if not products or any(rates(p) & Rate.TIME and not _fixed(p, rates) for _, p in summands):
        return None
    scale = product([p for p in parts if not rates(p)])
    width = scatter.lanes if scatter is not None else lanes

    def moved(x: Expr) -> Expr:
        """Apply the whole chain to the last axis of ``x``."""
        picked = x if index is None or x.shape == (1,) else build.gather(x, index)
        scaled = build.mul(picked, scale)
        return scaled if scatter is None else build.scatter_add(scaled, scatter.index, scatter.lanes)

    found: list[tuple[int, Expr]] = []
    for term_sign, term in summands:
        if isinstance(term, MatVec) and _fixed(term, rates):
            columns = term.matrix.shape[1]
            if width > columns or scale.shape[0] not in (1, columns if index is None else len(index)):
                return None
            found.append((sign * term_sign, build.matvec(term.x, moved(term.matrix))))
        else:
            found.append((sign * term_sign, moved(term)))
    if len(found) == 1 and found[0][0] < 0 and isinstance(only := found[0][1], MatVec):
        return build.matvec(only.x, negated(only.matrix))
    return signed_sum(found)


def _summed(node: Binary, rates: Rates) -> Expr | None:
    parts = terms(node)
    groups: dict[Expr, list[tuple[int, MatVec]]] = {}
    for sign, part in parts:
        if isinstance(part, MatVec) and _fixed(part, rates) and part.shape == node.shape:
            groups.setdefault(part.x, []).append((sign, part))
    if all(len(group) < 2 for group in groups.values()):
        return None
    merged: list[tuple[int, Expr]] = []
    for x, group in groups.items():
        merged.append((1, build.matvec(x, signed_sum([(sign, part.matrix) for sign, part in group]))))
    grouped = {id(part) for group in groups.values() for _, part in group}
    return signed_sum([*merged, *((sign, part) for sign, part in parts if id(part) not in grouped)])


def _narrowed(node: MatVec, rates: Rates) -> Expr | None:
    if rates(node.matrix) or not rates(node.x):
        return None
    if isinstance(node.x, Gather) and node.x.x.shape == (1,):  # every row reads the same lane
        return build.mul(node.x.x, build.matvec(Const(1.0), node.matrix))
    second = node.matrix
    if isinstance(node.x, MatVec) and _fixed(node.x, rates) and isinstance(second, Assemble):
        first = node.x.matrix
        if second.shape[1] <= first.shape[1] and len(second.rows) <= _REUSE * first.shape[1]:
            picked = build.mul(build.gather(first, second.rows), second.values)
            return build.matvec(node.x.x, build.scatter_add(picked, second.columns, second.shape[1]))
    sign, parts = factors(node.x)
    scale = product([p for p in parts if not rates(p)], sign)
    if scale is build.ONE:
        return None
    x = product([p for p in parts if rates(p)])
    return build.matvec(x, build.mul(scale if scale.shape == (1,) else Columns(scale), node.matrix))
