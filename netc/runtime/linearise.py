"""The right-hand side of a program and its Jacobian at a point, in numpy float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from netc.ir.derivative import tangents
from netc.ir.implicit import Newton
from netc.ir.interpret import evaluate
from netc.ir.nodes import Expr, Input, Parameter, State, Time, TimeStep, Unknown, postorder
from netc.ir.program import Program
from netc.ir.sparsity import jacobian_structure
from netc.runtime.evaluator import Evaluator

Array = np.ndarray[Any, np.dtype[Any]]  # float64

_SEEDED_VALUES = 20_000_000
"""Most numbers a lane array may hold over all seeds evaluated at once (160 MB)."""
_RANK = 1e-11
"""Singular values below this share of the largest count as 0 (rows and columns are scaled to 1 first)."""


class Linearisation:
    """``f(x)`` and ``J = df/dx`` of all dynamic states of a program, one after the other, at fixed time and inputs.

    Values carried from step to step, where Newton's method starts, stand still; :meth:`carry` brings them to those
    of a point.

    Columns of ``J`` that share no row are seeded together (Curtis, Powell and Reid 1974), so a circuit of cells
    that do not read each other costs as many tangents as a cell has states.

    Args:
        program: without algebraic blocks.
        inputs: value of every input, or one number for all.
        time: in seconds.
        values: physical values by parameter block that replace the program's own.
    """

    def __init__(
        self, program: Program, *, inputs: Any = 1.0, time: float = 0.0, values: Mapping[str, Any] | None = None
    ) -> None:
        if program.algebraic:
            raise ValueError("the algebraic blocks have to be solved first")
        self.program = program
        self.blocks = program.dynamic
        self.leaves = tuple(State(block.name, block.size) for block in self.blocks)
        self.names = tuple(lane for block in self.blocks for lane in block.lanes)
        self._ends = np.cumsum([leaf.size for leaf in self.leaves], dtype=np.int64)
        self._around: dict[Expr, Array] = {Time(): np.array([time]), TimeStep(): np.ones(1)}
        for block in program.parameters:
            value = np.asarray((values or {}).get(block.name, block.values), dtype=np.float64)
            self._around[Parameter(block.name, len(value))] = value
        driven = np.broadcast_to(np.asarray(inputs, dtype=np.float64), (sum(b.size for b in program.inputs),))
        for inlet in program.inputs:
            self._around[Input(inlet.name, inlet.size)] = driven[None, : inlet.size]
            driven = driven[inlet.size :]
        self._derivatives = tuple(block.derivative for block in self.blocks)
        self._carried = tuple(block for block in program.states if block.carried)
        self._full = dict(self._around)
        starts = evaluate([b.initial for b in self._carried], self._around)
        for held, start in zip(self._carried, starts, strict=True):
            self._around[State(held.name, held.size)] = np.broadcast_to(start, (1, held.size))

    @property
    def size(self) -> int:
        """Number of states."""
        return len(self.names)

    def initial(self) -> Array:
        """Return the initial values of all states, ``(size,)``."""
        return self._joined(evaluate([block.initial for block in self.blocks], self._around))

    def split(self, x: Array) -> dict[str, Array]:
        """Return ``x`` as arrays by state block name."""
        return {leaf.name: x[end - leaf.size : end] for leaf, end in zip(self.leaves, self._ends, strict=True)}

    def rate_of_change(self, x: Array) -> Array:
        """Return ``f(x)``, ``(size,)``, in units of each state per second."""
        return self._joined(self._rates(*self._given(x)))

    def carried(self, x: Array) -> dict[str, Array]:
        """Return what the carried values become at ``x``, by block name; NaN where Newton's method fails."""
        if not self._carried:
            return {}
        found = self._moves(*self._given(x))
        return {
            block.name: (self._around[State(block.name, block.size)] + move)[0]
            for block, move in zip(self._carried, found, strict=True)
        }

    def carry(self, values: Mapping[str, Array]) -> None:
        """Let Newton's method start from these values of carried blocks; those that are not finite stay."""
        for block in self._carried:
            leaf = State(block.name, block.size)
            new = np.asarray(values.get(block.name, self._around[leaf]), dtype=np.float64)
            self._around[leaf] = np.where(np.isfinite(new), new, self._around[leaf]).reshape(1, -1)

    @property
    def carrying(self) -> dict[str, Array]:
        """The values of carried blocks that Newton's method starts from, by block name."""
        return {block.name: self._around[State(block.name, block.size)][0] for block in self._carried}

    def drive(self, fraction: float) -> None:
        """Let sources and inputs have this fraction of their voltages and currents."""
        leaves = [leaf for leaf in self._held if not isinstance(leaf, State)]
        for leaf in leaves:
            self._around[leaf] = self._full[leaf] * fraction

    def solutions(self, x: Array) -> dict[Newton, Array]:
        """Return what Newton's method finds at ``x``, by the expressions that stand for it."""
        roots = (*self._derivatives, *(block.derivative for block in self._carried))
        nodes = [n for n in postorder(*roots) if isinstance(n, Newton)]
        found = evaluate(nodes, self._environment(x))
        return {node: value.reshape(-1)[-node.size :] for node, value in zip(nodes, found, strict=True)}

    def jacobian(self, x: Array) -> Array:
        """Return ``J(x)``, ``(size, size)``, ``J[k, l] = d f_k / d x_l`` in SI units."""
        result = np.zeros((self.size, self.size))
        rows, columns, group_of = self._sparsity
        groups = int(group_of.max(initial=-1)) + 1
        widest = max((leaf.size for leaf in self._around), default=1)
        chunk = max(1, _SEEDED_VALUES // widest)
        for start in range(0, groups, chunk):
            count = min(chunk, groups - start)
            seeded = group_of[None, :] == np.arange(start, start + count)[:, None]
            directions = np.split(seeded.astype(np.float64), self._ends[:-1], axis=1)
            products = self._joined(self._products(*self._given(x), *directions), count)
            here = (group_of[columns] >= start) & (group_of[columns] < start + count)
            result[rows[here], columns[here]] = products[group_of[columns[here]] - start, rows[here]]
        return result

    def _environment(self, x: Array) -> dict[Expr, Array]:
        parts = self.split(x)
        return self._around | {leaf: parts[leaf.name][None, :] for leaf in self.leaves}

    def _given(self, x: Array) -> list[Array]:
        """Values of what moves, in the order of :attr:`_moving`."""
        return [*(part[None, :] for part in self.split(x).values()), *(self._around[leaf] for leaf in self._held)]

    @cached_property
    def _held(self) -> tuple[Expr, ...]:
        """What stays at a point and moves between points: carried values, inputs and sources."""
        sources = [b for b in self.program.parameters if b.role == "source" and b.unit in ("V", "A")]
        return (
            *(State(block.name, block.size) for block in self._carried),
            *(Input(inlet.name, inlet.size) for inlet in self.program.inputs),
            *(Parameter(block.name, len(block.values)) for block in sources),
        )

    def _evaluator(self, roots: Sequence[Expr], seeds: Sequence[Expr] = ()) -> Evaluator:
        moving = (*self.leaves, *self._held, *seeds)
        return Evaluator(roots, {leaf: v for leaf, v in self._around.items() if leaf not in moving}, moving)

    @cached_property
    def _rates(self) -> Evaluator:
        return self._evaluator(self._derivatives)

    @cached_property
    def _moves(self) -> Evaluator:
        return self._evaluator([block.derivative for block in self._carried])

    @cached_property
    def _products(self) -> Evaluator:
        return self._evaluator(self._moved, self._seeds)

    def _joined(self, values: list[Array], batch: int = 0) -> Array:
        lead = (batch,) if batch else (1,)
        wide = [np.broadcast_to(v, (*lead, leaf.size)) for v, leaf in zip(values, self.leaves, strict=True)]
        joined = np.concatenate([np.zeros((*lead, 0)), *wide], axis=1)
        return joined if batch else joined[0]

    @cached_property
    def _seeds(self) -> tuple[Expr, ...]:
        return tuple(Unknown(f"seed of {leaf.name}", leaf.size) for leaf in self.leaves)

    @cached_property
    def _moved(self) -> tuple[Expr, ...]:
        """How each derivative moves when the states move by the seeds."""
        return tangents(self._derivatives, dict(zip(self.leaves, self._seeds, strict=True)))

    @cached_property
    def _sparsity(self) -> tuple[Array, Array, Array]:
        """Rows and columns of what may differ from 0 in the Jacobian, and the group of each column (-1: empty)."""
        return jacobian_structure(self._derivatives, self.leaves)


def shortest_solution(matrix: Array, right: Array) -> Array:
    """Return the least-norm solution of ``matrix @ y = right``, after scaling rows and columns to 1."""
    rows = np.abs(matrix).max(axis=1, initial=0.0)
    rows = np.where(rows > 0, rows, 1.0)
    scaled = matrix / rows[:, None]
    columns = np.abs(scaled).max(axis=0, initial=0.0)
    columns = np.where(columns > 0, columns, 1.0)
    solution, *_ = np.linalg.lstsq(scaled / columns, right / rows, rcond=_RANK)
    return np.asarray(solution) / columns
