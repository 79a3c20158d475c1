"""Recognise banks of conductances between two families of nets as dense matrices.

    ScatterAdd(g * (Gather(x, i) - Gather(y, j)), j, n)
    ->  MatVec(x, Assemble(g, i, j, (nx, n))) - y * ScatterAdd(g, j, n)

where ``g`` (rate PARAMETER) has as many lanes as the bank has elements.  Couplings that leave most of the
matrix empty stay gather, multiply, scatter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from netc.ir import build
from netc.ir.linear import lanes_of
from netc.ir.nodes import Binary, Expr, Gather, Index, ScatterAdd
from netc.ir.program import Program
from netc.ir.rates import Rates
from netc.optimise.rewriting import factors, product, rewritten, signed_sum, terms

FILL = 4
"""A bank becomes a matrix where the matrix has at most this many times as many places as elements."""
_BANKS = 8  # most separate matrices one scatter is split into

_Numbers = np.ndarray[Any, np.dtype[Any]]  # int64


def run(program: Program) -> Program:
    """Return ``program`` with every scatter of linear terms in its cheapest form."""
    rates = Rates(program)
    return rewritten(program, lambda node: _scatter(node, rates) if isinstance(node, ScatterAdd) else None)


@dataclass(frozen=True, slots=True, eq=False)
class _Coupling:
    """``coefficient[k] * source[columns[k]]``, one product a lane of the scatter; no source means 1."""

    sign: int
    coefficient: Expr
    source: Expr | None
    columns: _Numbers


def _scatter(node: ScatterAdd, rates: Rates) -> Expr | None:
    if len(node.shape) != 1:
        return None
    target, lanes = node.index.array, node.lanes
    done: list[tuple[int, Expr]] = []
    left: list[tuple[int, Expr]] = []
    for sign, term in terms(node.x):
        couplings = _couplings(term, len(target), rates)
        if couplings is None:
            left.append((sign, term))
        else:
            done += [(sign * c.sign, _summed(c, target, lanes)) for c in couplings]
    if not done:
        return None
    if left:
        done.append((1, build.scatter_add(signed_sum(left), node.index, lanes)))
    result = signed_sum(done)
    return None if result is node else result


def _couplings(term: Expr, lanes: int, rates: Rates) -> list[_Coupling] | None:
    """Multiply a term out into products of a PARAMETER coefficient with one source, or return ``None``."""
    sign = 1
    coefficient: list[Expr] = []
    varying: list[Expr] = []
    stack = [term]
    while stack:
        part_sign, parts = factors(stack.pop())
        sign *= part_sign
        for part in parts:
            if isinstance(part, Binary) and part.op == "div" and rates(part) and not rates(part.b):
                coefficient.append(build.div(build.ONE, part.b))
                stack.append(part.a)
            else:
                (varying if rates(part) else coefficient).append(part)
    scale = product(coefficient)
    if not varying:
        return [_Coupling(sign, scale, None, np.zeros(lanes, dtype=np.int64))]
    if len(varying) > 1:
        return None
    (source,) = varying
    inner = terms(source)
    if inner == [(1, source)]:
        if source.shape == (1,):
            return [_Coupling(sign, scale, source, np.zeros(lanes, dtype=np.int64))]
        if isinstance(source, Gather):
            return [_Coupling(sign, scale, source.x, source.index.array)]
        return [_Coupling(sign, scale, source, np.arange(lanes))] if source is not term else None
    found: list[_Coupling] = []
    for inner_sign, part in inner:
        more = _couplings(part if scale is build.ONE else build.mul(scale, part), lanes, rates)
        if more is None:
            return None
        found += [_Coupling(sign * inner_sign * c.sign, c.coefficient, c.source, c.columns) for c in more]
    return found


def _summed(coupling: _Coupling, target: _Numbers, lanes: int) -> Expr:
    """Return the scatter of one coupling into ``lanes`` lanes."""
    source = coupling.source
    if source is None:
        return build.scatter_add(coupling.coefficient, Index(target), lanes)
    if source.shape == (1,):
        return build.mul(build.scatter_add(coupling.coefficient, Index(target), lanes), source)
    coefficient, i, j = _without_duplicates(coupling, target, lanes)
    if len(j) == lanes and len(np.unique(j)) == lanes:
        order = Index(np.argsort(j))
        return build.mul(lanes_of(coefficient, order), build.gather(source, Index(i[order.array])))
    banks = _banks(i, j, source.shape[0], lanes)
    if banks is None:
        return build.scatter_add(build.mul(coefficient, build.gather(source, Index(i))), Index(j), lanes)
    return build.total([_product(source, lanes_of(coefficient, Index(b)), i[b], j[b], lanes) for b in banks])


def _without_duplicates(coupling: _Coupling, target: _Numbers, lanes: int) -> tuple[Expr, _Numbers, _Numbers]:
    pairs, inverse = np.unique(coupling.columns * lanes + target, return_inverse=True)
    if len(pairs) == len(target):
        return coupling.coefficient, coupling.columns, target
    return build.scatter_add(coupling.coefficient, Index(inverse), len(pairs)), pairs // lanes, pairs % lanes


def _banks(i: _Numbers, j: _Numbers, sources: int, lanes: int) -> list[_Numbers] | None:
    """Return the elements of each dense bank, in order, or ``None`` where the coupling is sparse."""
    if _dense(i, j):
        return [np.arange(len(i))]
    joined = coo_matrix((np.ones(len(i)), (i, j + sources)), shape=(sources + lanes,) * 2)
    labels = connected_components(joined, directed=False)[1][i]
    banks = [np.flatnonzero(labels == label) for label in np.unique(labels)[: _BANKS + 1]]
    whole = all(len(np.unique(j[b])) > 1 and _dense(i[b], j[b]) for b in banks)
    return banks if whole and len(banks) <= _BANKS else None


def _dense(i: _Numbers, j: _Numbers) -> bool:
    rows, columns = len(np.unique(i)), len(np.unique(j))
    several = columns == 1 or len(i) > max(rows, columns)
    return several and rows * columns <= FILL * len(i)


def _product(source: Expr, coefficient: Expr, i: _Numbers, j: _Numbers, lanes: int) -> Expr:
    rows, row = np.unique(i, return_inverse=True)
    columns, column = np.unique(j, return_inverse=True)
    order = np.lexsort((column, row))
    if (order != np.arange(len(order))).any():
        coefficient, row, column = lanes_of(coefficient, Index(order)), row[order], column[order]
    matrix = build.assemble(coefficient, Index(row), Index(column), (len(rows), len(columns)))
    read = build.gather(source, Index(rows))
    return build.scatter_add(build.matvec(read, matrix), Index(columns), lanes)
