"""What solves the systems of equations of a loop, by their kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from netc.ir.implicit import Backsolved, Newton
from netc.ir.nodes import Expr, Solve, postorder
from netc.kernels.dense import dense
from netc.kernels.loops import Unsupported
from netc.kernels.newton import family
from netc.kernels.systems import linear
from netc.kernels.text import Array, Tables


def solved(
    node: Expr, arrays: Sequence[Array], target: str, tables: Tables, temporary: Callable[[int], str]
) -> list[str]:
    """Return the statements that solve for ``node``; see :data:`netc.kernels.fusion.Solver`.

    Raises:
        Unsupported: for a system that is too large, or of a form that kernels do not know.
    """
    if isinstance(node, Solve):
        return [linear(node, arrays, target, tables, temporary)]
    if not isinstance(node, Newton | Backsolved):
        raise Unsupported(f"a {type(node).__name__} that changes with every step")
    if any(isinstance(x, Solve) for x in postorder(node.step)):
        return [dense(node, arrays, target, tables, temporary)]
    return [family(node, arrays, target, tables)]
