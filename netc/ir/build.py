"""Constructors that fold what is trivially known: the normal way to make expressions.

    add(x, 0) -> x        mul(x, 0) -> 0        exp(0) -> 1        gather(x, all lanes in order) -> x

Folding never changes a value by more than one rounding, except that ``0 * x`` is 0 for every x.
"""

from __future__ import annotations

import numpy as np

from netc.ir.nodes import (
    BINARY,
    UNARY,
    Assemble,
    Binary,
    Concat,
    Const,
    Expr,
    Gather,
    Index,
    MatVec,
    ScatterAdd,
    Select,
    Solve,
    Unary,
    rebuild,
)

ZERO = Const(0.0)
ONE = Const(1.0)


def _expr(x: Expr | float) -> Expr:
    return x if isinstance(x, Expr) else Const(x)


def unary(op: str, x: Expr | float) -> Expr:
    """Return ``op(x)``, evaluated where ``x`` is a constant with a finite result."""
    x = _expr(x)
    if op == "neg" and x is ZERO:
        return ZERO
    if isinstance(x, Const):
        with np.errstate(all="ignore"):
            value = float(UNARY[op](x.value))
        if np.isfinite(value):
            return Const(value)
    if op == "neg" and isinstance(x, Unary) and x.op == "neg":
        return x.x
    return Unary(op, x)


def binary(op: str, a: Expr | float, b: Expr | float) -> Expr:
    """Return ``op(a, b)`` with constants folded and neutral elements dropped."""
    a, b = _expr(a), _expr(b)
    if isinstance(a, Const) and isinstance(b, Const):
        with np.errstate(all="ignore"):
            value = float(BINARY[op](a.value, b.value))
        if np.isfinite(value):
            return Const(value)
    folded = _FOLD[op](a, b) if op in _FOLD else None
    return folded if folded is not None else Binary(op, a, b)


def _fold_add(a: Expr, b: Expr) -> Expr | None:
    if a is ZERO:
        return b
    if b is ZERO:
        return a
    if isinstance(b, Unary) and b.op == "neg":
        return sub(a, b.x)
    return None


def _fold_sub(a: Expr, b: Expr) -> Expr | None:
    if b is ZERO:
        return a
    if a is ZERO:
        return neg(b)
    if a is b:
        return ZERO
    if isinstance(b, Unary) and b.op == "neg":
        return add(a, b.x)
    return None


def _fold_mul(a: Expr, b: Expr) -> Expr | None:
    if a is ZERO or b is ZERO:
        return ZERO
    if a is ONE:
        return b
    if b is ONE:
        return a
    if isinstance(a, Const) and a.value == -1.0:
        return neg(b)
    if isinstance(b, Const) and b.value == -1.0:
        return neg(a)
    return None


def _fold_div(a: Expr, b: Expr) -> Expr | None:
    if b is ONE:
        return a
    if a is ZERO and not isinstance(b, Const):
        return ZERO
    return None


_FOLD = {"add": _fold_add, "sub": _fold_sub, "mul": _fold_mul, "div": _fold_div}


def add(a: Expr | float, b: Expr | float) -> Expr:
    """``a + b``."""
    return binary("add", a, b)


def sub(a: Expr | float, b: Expr | float) -> Expr:
    """``a - b``."""
    return binary("sub", a, b)


def mul(a: Expr | float, b: Expr | float) -> Expr:
    """``a * b``."""
    return binary("mul", a, b)


def div(a: Expr | float, b: Expr | float) -> Expr:
    """``a / b``."""
    return binary("div", a, b)


def neg(x: Expr | float) -> Expr:
    """``-x``."""
    return unary("neg", x)


def total(terms: list[Expr]) -> Expr:
    """Sum of ``terms``; 0 for none."""
    result: Expr = ZERO
    for term in terms:
        result = add(result, term)
    return result


def select(condition: Expr, then: Expr | float, otherwise: Expr | float) -> Expr:
    """``then`` where ``condition`` is not 0."""
    then, otherwise = _expr(then), _expr(otherwise)
    if isinstance(condition, Const):
        return then if condition.value != 0 else otherwise
    return then if then is otherwise else Select(condition, then, otherwise)


def gather(x: Expr, index: Index) -> Expr:
    """Lanes of ``x`` by number; constants stay scalar (they broadcast), all lanes in order are ``x`` itself."""
    if isinstance(x, Const) or index.is_identity(x.shape[-1]):
        return x
    if isinstance(x, Gather):
        return gather(x.x, Index(x.index.array[index.array]))
    return Gather(x, index)


def scatter_add(x: Expr, index: Index, lanes: int) -> Expr:
    """Sum lanes of ``x`` into ``lanes`` places; a one-to-one map in order is ``x`` itself."""
    if x is ZERO:
        return ZERO
    if index.is_identity(lanes) and x.shape[-1] == lanes:
        return x
    return ScatterAdd(x, index, lanes)


def widen(x: Expr, lanes: int) -> Expr:
    """``lanes`` equal lanes of a single one; ``x`` itself where it has that many already."""
    return x if x.shape[-1] == lanes else Gather(x, Index(np.zeros(lanes, dtype=np.int64)))


def concat(parts: list[Expr]) -> Expr:
    """Lanes of ``parts`` one after the other; a single part is itself."""
    return parts[0] if len(parts) == 1 else Concat(*parts)


def matvec(x: Expr, matrix: Expr) -> Expr:
    """``x @ matrix``; one lane of ``x`` broadcasts, and 0 on either side gives 0."""
    return ZERO if x is ZERO or matrix is ZERO else MatVec(widen(x, matrix.shape[0]), matrix)


def solve(matrix: Expr, b: Expr) -> Expr:
    """``y`` with ``matrix @ y = b``; one lane of ``b`` broadcasts, and a right-hand side of 0 gives 0."""
    return ZERO if b is ZERO else Solve(matrix, widen(b, matrix.shape[0]))


def assemble(values: Expr, rows: Index, columns: Index, shape: tuple[int, int]) -> Expr:
    """A matrix of ``shape`` from its entries; one lane of ``values`` broadcasts."""
    return ZERO if values is ZERO else Assemble(widen(values, len(rows)), rows, columns, shape)


def refold(node: Expr, children: tuple[Expr, ...]) -> Expr:
    """Return ``node`` with its operands replaced, through the constructors of this module.

    An operand may have shrunk to one lane (which broadcasts); so may the result.
    """
    if isinstance(node, Unary):
        return unary(node.op, children[0])
    if isinstance(node, Binary):
        return binary(node.op, *children)
    if isinstance(node, Select):
        return select(*children)
    if isinstance(node, Gather):
        return children[0] if children[0].shape == (1,) else gather(children[0], node.index)
    if isinstance(node, ScatterAdd):
        return scatter_add(children[0], node.index, node.lanes)
    if isinstance(node, MatVec):
        return matvec(*children)
    if isinstance(node, Solve):
        return solve(*children)
    if isinstance(node, Assemble):
        return assemble(children[0], node.rows, node.columns, (node.shape[0], node.shape[1]))
    if isinstance(node, Concat):
        return Concat(*(widen(new, old.shape[-1]) for new, old in zip(children, node.parts, strict=True)))
    return rebuild(node, children)
