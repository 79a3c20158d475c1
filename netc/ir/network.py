"""What a large linear network answers at its nodes to what is fed into it, without ever being a dense matrix.

A y = E p     ->     y = MatVec(p, Response)        Response = (A^-1 E)^T, once a parameter set
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import splu

from netc.ir.nodes import Expr, Index, intern_node

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]  # float64


class Response(Expr):
    """``y[p, i]``, what unknown ``i`` of ``A`` becomes for one unit of port ``p``: the transpose of ``A^-1 E``.

    ``A`` is ``(n, n)`` with ``values[k]`` added at ``(rows[k], columns[k])``, ``E`` is ``(n, ports)`` with
    ``feeds[k]`` added at ``(feed_rows[k], feed_ports[k])``; both of rate PARAMETER.  The shape is ``(ports, n)``.
    """

    __slots__ = ("columns", "feed_ports", "feed_rows", "feeds", "rows", "values")
    fields = ("values", "rows", "columns", "feeds", "feed_rows", "feed_ports", "shape")
    values: Expr
    rows: Index
    columns: Index
    feeds: Expr
    feed_rows: Index
    feed_ports: Index

    def __new__(
        cls,
        values: Expr,
        rows: Index,
        columns: Index,
        feeds: Expr,
        feed_rows: Index,
        feed_ports: Index,
        shape: tuple[int, int],
    ) -> Response:
        """Return the node of ``shape``, ``(ports, n)``."""
        return intern_node(cls, shape, values, rows, columns, feeds, feed_rows, feed_ports, shape)

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        """Return the node of other values; one lane stands for as many as there are entries."""
        values, feeds = children
        ports, n = self.shape
        return Response(values, self.rows, self.columns, feeds, self.feed_rows, self.feed_ports, (ports, n))


def response(node: Response, values: Array, feeds: Array) -> Array:
    """Return the value of ``node``, ``(ports, n)``, from those of its entries; NaN for a singular network."""
    ports, n = node.shape
    matrix = csc_matrix(
        (np.broadcast_to(values, (len(node.rows),)), (node.rows.array, node.columns.array)), shape=(n, n)
    )
    right = np.zeros((n, ports))
    np.add.at(right, (node.feed_rows.array, node.feed_ports.array), np.broadcast_to(feeds, (len(node.feed_rows),)))
    try:
        return np.ascontiguousarray(splu(matrix, permc_spec="COLAMD").solve(right).T)
    except RuntimeError:  # exactly singular
        return np.full((ports, n), np.nan)
