"""Linear forms: an expression that is affine in its unknowns, taken apart into coefficients.

g * (Gather(u, i) - v)   ->   entries (u, rows 0.., columns i, coefficient g), remainder -(g * v)
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from netc.ir import build
from netc.ir.nodes import (
    Binary,
    Concat,
    Expr,
    Gather,
    Index,
    ScatterAdd,
    Select,
    Unary,
    Unknown,
    postorder,
)


class Nonlinear(ValueError):
    """``expr`` contains an unknown but is not affine in it."""

    def __init__(self, expr: Expr) -> None:
        self.expr = expr
        super().__init__("an expression is not affine in its unknowns")


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """Adds ``coefficient[k] * unknown[columns[k]]`` to lane ``rows[k]``; one lane of coefficient broadcasts."""

    unknown: str
    rows: Index
    columns: Index
    coefficient: Expr

    def placed(self, row: int, column: int) -> Entry:
        """Return the entry with its rows and columns numbered from ``row`` and ``column`` on."""
        return Entry("", Index(self.rows.array + row), Index(self.columns.array + column), self.coefficient)


@dataclass(frozen=True, slots=True, eq=False)
class LinearForm:
    """``lanes`` lanes: the sum of the entries plus ``remainder`` (``lanes`` lanes, or one that broadcasts)."""

    entries: tuple[Entry, ...]
    remainder: Expr
    lanes: int


def linear_form(expr: Expr, unknowns: Collection[str]) -> LinearForm:
    """Return ``expr`` as a linear form in the :class:`Unknown` leaves named ``unknowns``.

    Raises :class:`Nonlinear` with the smallest expression that is not affine (or that no rule covers).
    """
    names = frozenset(unknowns)
    forms: dict[Expr, LinearForm] = {}
    for node in postorder(expr):
        if isinstance(node, Unknown) and node.name in names:
            every = Index(np.arange(node.size))
            forms[node] = LinearForm((Entry(node.name, every, every, build.ONE),), build.ZERO, node.size)
        elif all(child not in forms for child in node.children):
            continue
        else:
            rule = _RULES.get(type(node))
            form = rule(node, forms) if rule else None
            if form is None:
                raise Nonlinear(node)
            forms[node] = form
    return forms.get(expr) or LinearForm((), expr, expr.shape[-1])


_Forms = dict[Expr, LinearForm]


def _form(expr: Expr, forms: _Forms) -> LinearForm:
    return forms.get(expr) or LinearForm((), expr, expr.shape[-1])


def _picked(form: LinearForm, index: Index) -> LinearForm:
    entries = []
    for entry in form.entries:
        rows = entry.rows.array
        order = np.argsort(rows, kind="stable")
        first = np.searchsorted(rows[order], index.array, side="left")
        count = np.searchsorted(rows[order], index.array, side="right") - first
        new_rows = np.repeat(np.arange(len(index)), count)
        place = np.arange(len(new_rows)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
        chosen = order[place]
        if len(chosen):
            coefficient = lanes_of(entry.coefficient, Index(chosen))
            entries.append(
                Entry(entry.unknown, Index(new_rows), Index(entry.columns.array[chosen]), coefficient),
            )
    return LinearForm(tuple(entries), lanes_of(form.remainder, index), len(index))


def lanes_of(x: Expr, index: Index) -> Expr:
    """Return lanes ``index`` of ``x``; one lane stays one lane, which broadcasts."""
    return x if x.shape == (1,) else build.gather(x, index)


def _widened(form: LinearForm, lanes: int) -> LinearForm:
    if form.lanes == lanes:
        return form
    return _picked(form, Index(np.zeros(lanes, dtype=np.int64)))


def _scaled(form: LinearForm, scale: Callable[[Expr, Index | None], Expr]) -> LinearForm:
    entries = tuple(Entry(e.unknown, e.rows, e.columns, scale(e.coefficient, e.rows)) for e in form.entries)
    return LinearForm(entries, scale(form.remainder, None), form.lanes)


def _unary(node: Unary, forms: _Forms) -> LinearForm | None:
    return _scaled(forms[node.x], lambda x, _: build.neg(x)) if node.op == "neg" else None


def _binary(node: Binary, forms: _Forms) -> LinearForm | None:
    lanes = node.shape[-1]
    if node.op in ("add", "sub"):
        a, b = _widened(_form(node.a, forms), lanes), _widened(_form(node.b, forms), lanes)
        if node.op == "sub":
            b = _scaled(b, lambda x, _: build.neg(x))
        return LinearForm(a.entries + b.entries, build.add(a.remainder, b.remainder), lanes)
    if node.op == "mul" and node.a not in forms:
        return _scaled(_widened(forms[node.b], lanes), lambda x, rows: build.mul(x, _factor(node.a, rows)))
    if node.op in ("mul", "div") and node.b not in forms:
        op = node.op
        return _scaled(_widened(forms[node.a], lanes), lambda x, rows: build.binary(op, x, _factor(node.b, rows)))
    return None


def _factor(factor: Expr, rows: Index | None) -> Expr:
    return factor if rows is None else lanes_of(factor, rows)


def _select(node: Select, forms: _Forms) -> LinearForm | None:
    if node.condition in forms:
        return None
    lanes, condition = node.shape[-1], node.condition
    then, otherwise = _widened(_form(node.then, forms), lanes), _widened(_form(node.otherwise, forms), lanes)
    chosen = _scaled(then, lambda x, rows: build.select(_factor(condition, rows), x, build.ZERO))
    refused = _scaled(otherwise, lambda x, rows: build.select(_factor(condition, rows), build.ZERO, x))
    remainder = build.select(condition, then.remainder, otherwise.remainder)
    return LinearForm(chosen.entries + refused.entries, remainder, lanes)


def _gather(node: Gather, forms: _Forms) -> LinearForm:
    return _picked(forms[node.x], node.index)


def _scatter_add(node: ScatterAdd, forms: _Forms) -> LinearForm:
    form = _widened(forms[node.x], len(node.index))
    target = node.index.array
    entries = tuple(Entry(e.unknown, Index(target[e.rows.array]), e.columns, e.coefficient) for e in form.entries)
    return LinearForm(entries, build.scatter_add(form.remainder, node.index, node.lanes), node.lanes)


def _concat(node: Concat, forms: _Forms) -> LinearForm:
    entries: list[Entry] = []
    remainders: list[Expr] = []
    start = 0
    for part in node.parts:
        form = _form(part, forms)
        entries += [Entry(e.unknown, Index(e.rows.array + start), e.columns, e.coefficient) for e in form.entries]
        remainders.append(build.widen(form.remainder, form.lanes))
        start += form.lanes
    return LinearForm(tuple(entries), build.concat(remainders), start)


_RULES: dict[type[Expr], Callable[..., LinearForm | None]] = {
    Unary: _unary,
    Binary: _binary,
    Select: _select,
    Gather: _gather,
    ScatterAdd: _scatter_add,
    Concat: _concat,
}
