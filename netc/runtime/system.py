"""The differential-algebraic system in numbers: residuals, Jacobian and signals in float64, for solvers of any step.

M v' = F(t, v),     v = (x, z),     M = diag(1 for a state, 0 for an algebraic unknown)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import lu_factor, lu_solve
from scipy.sparse.linalg import splu

from netc.ir import build
from netc.ir.derivative import tangents
from netc.ir.interpret import Array, evaluate
from netc.ir.nodes import Expr, Input, Parameter, State, Time, Unknown, postorder
from netc.ir.program import Program
from netc.ir.sparsity import jacobian_structure
from netc.optimise.rewriting import Rewriter
from netc.runtime.evaluator import Evaluator
from netc.runtime.native import Native, native

DENSE = 300
"""Most variables whose matrices are kept dense."""


class System:
    """A whole circuit as ``M v' = F(t, v)`` with its own values and inputs.

    Unknowns that have an expression are put in; the others are variables beside the states.

    Args:
        dae: any program, with algebraic blocks or without.
        inputs: value of every input of mode amplitude, or one number for all.
        values: physical values by parameter block that replace the program's own.
    """

    def __init__(self, dae: Program, *, inputs: Any = 1.0, values: Mapping[str, Any] | None = None) -> None:
        self.program = dae
        self._fixed: dict[Expr, Array] = {}
        for block in dae.parameters:
            value = np.asarray((values or {}).get(block.name, block.values), dtype=np.float64)
            self._fixed[Parameter(block.name, len(value))] = value
        driven = np.broadcast_to(np.asarray(inputs, dtype=np.float64), (sum(b.size for b in dae.inputs),))
        for inlet in dae.inputs:
            self._fixed[Input(inlet.name, inlet.size)] = driven[: inlet.size]
            driven = driven[inlet.size :]

        replaced: dict[Expr, Expr] = {}
        rewrite = Rewriter(replaced.get)
        unknowns: list[Expr] = []
        names: list[str] = [lane for block in dae.states for lane in block.lanes]
        units: list[str] = [block.unit for block in dae.states for _ in block.lanes]
        residuals: list[Expr] = []
        for blocks in dae.algebraic:
            if blocks.explicit is not None:
                replaced[blocks.unknowns[0]] = build.widen(rewrite(blocks.explicit), blocks.unknowns[0].size)
                continue
            unknowns += blocks.unknowns
            residuals += [rewrite(r) for r in blocks.residuals]
            for unknown, lanes in zip(blocks.unknowns, blocks.lanes, strict=True):
                names += lanes
                is_current = isinstance(unknown, Unknown) and unknown.name.startswith("i_")
                units += ["A" if is_current else "V"] * len(lanes)
        self.names, self.units = tuple(names), tuple(units)
        self.leaves: tuple[Expr, ...] = (*(State(b.name, b.size) for b in dae.states), *unknowns)
        self.sizes = [leaf.size for leaf in self.leaves]
        self.size = sum(self.sizes)
        self.states = sum(block.size for block in dae.states)
        self._ends = np.cumsum([0, *self.sizes])
        self._functions = (*(rewrite(b.derivative) for b in dae.states), *residuals)
        self._initial = [rewrite(b.initial) for b in dae.states]
        self._rewrite = rewrite
        self._evaluate = Evaluator(self._functions, self._fixed, (Time(), *self.leaves))

    @property
    def mass(self) -> Array:
        """The diagonal of ``M``, ``(size,)``."""
        return (np.arange(self.size) < self.states).astype(np.float64)

    def initial(self) -> Array:
        """Return the states' initial values with algebraic unknowns at 0, ``(size,)``; not yet consistent."""
        around = {**self._fixed, Time(): np.zeros(1)}
        start = np.zeros(self.size)
        for k, expr in enumerate(self._initial):
            free = any(isinstance(node, Unknown) for node in postorder(expr))
            start[self._ends[k] : self._ends[k + 1]] = 0.0 if free else evaluate([expr], around)[0]
        return start

    def rates(self, times: Array, v: Array) -> Array:
        """Return ``F``, ``(batch, size)``, for times ``(batch,)`` and variables ``(batch, size)``."""
        found = self._evaluate(times[:, None], *self._split(v))
        return self._joined(found, len(v))

    def jacobian(self, time: float, v: Array) -> Any:
        """Return ``dF/dv`` at one point ``(size,)``: an array up to :data:`DENSE` variables, else a sparse matrix."""
        return self.linearised(time, v)[1]

    def linearised(self, time: float, v: Array) -> tuple[Array, Any]:
        """Return ``F`` and ``dF/dv`` at one point ``(size,)`` in one pass, the latter as :meth:`jacobian` does."""
        rows, columns, group_of, evaluator = self._linear
        groups = int(group_of.max(initial=-1)) + 1
        directions = (group_of[None, :] == np.arange(groups)[:, None]).astype(np.float64)
        found = evaluator(np.full((1, 1), time), *self._split(v[None, :]), *self._split(directions))
        leaves = len(self.leaves)
        values, products = self._joined(found[leaves:], 1)[0], self._joined(found[:leaves], groups)
        entries = products[group_of[columns], rows]
        if self.size <= DENSE:
            result = np.zeros((self.size, self.size))
            result[rows, columns] = entries
            return values, result
        return values, sparse.csc_matrix((entries, (rows, columns)), shape=(self.size, self.size))

    def dense(self, time: float, v: Array) -> Array:
        """Return ``dF/dv`` at one point ``(size,)`` as an array, however large."""
        if self.native is None:
            found = self.jacobian(time, v)
            return np.asarray(found if isinstance(found, np.ndarray) else found.toarray())
        result = np.zeros((self.size, self.size))
        result[self.native.rows, self.native.columns] = self.native.linearised(time, v)[1]
        return result

    def jacobians(self, times: Array, v: Array) -> Array:
        """Return ``dF/dv`` at several points, ``(batch, size, size)``, for times ``(batch,)`` and ``(batch, size)``."""
        rows, columns, group_of, evaluator = self._linear
        groups, batch = int(group_of.max(initial=-1)) + 1, len(times)
        directions = np.tile(group_of[None, :] == np.arange(groups)[:, None], (batch, 1)).astype(np.float64)
        points = np.repeat(v, groups, axis=0)
        found = evaluator(np.repeat(times, groups)[:, None], *self._split(points), *self._split(directions))
        products = self._joined(found[: len(self.leaves)], batch * groups).reshape(batch, groups, self.size)
        result = np.zeros((batch, self.size, self.size))
        result[:, rows, columns] = products[:, group_of[columns], rows]
        return result

    def observer(self, names: Sequence[str]) -> Observer:
        """Return what computes signals by name; ``ValueError`` for a name the circuit does not have."""
        return Observer(self, names)

    def rewritten(self, exprs: Sequence[Expr]) -> list[Expr]:
        """Return expressions of the program with the unknowns that have expressions put in."""
        return [self._rewrite(e) for e in exprs]

    def of_variables(self, exprs: Sequence[Expr]) -> Evaluator:
        """Return an evaluator of rewritten expressions as functions of time and variables."""
        return Evaluator(exprs, self._fixed, (Time(), *self.leaves))

    def of_time(self, exprs: Sequence[Expr]) -> Evaluator:
        """Return an evaluator of expressions that depend on the time alone."""
        return Evaluator(exprs, self._fixed, (Time(),))

    @property
    def fixed(self) -> Mapping[Expr, Array]:
        """Values of parameters and inputs."""
        return self._fixed

    @property
    def functions(self) -> tuple[Expr, ...]:
        """What ``F`` consists of."""
        return self._functions

    def split(self, v: Array) -> list[Array]:
        """Return ``v`` ``(batch, size)`` by leaf."""
        return self._split(v)

    def _split(self, v: Array) -> list[Array]:
        return [v[:, a:b] for a, b in zip(self._ends[:-1], self._ends[1:], strict=True)]

    def _joined(self, parts: Sequence[Array], batch: int) -> Array:
        result = np.empty((batch, self.size))
        for part, a, b in zip(parts, self._ends[:-1], self._ends[1:], strict=True):
            result[:, a:b] = part
        return result

    @cached_property
    def _linear(self) -> tuple[Array, Array, Array, Evaluator]:
        """Rows and columns of the Jacobian's entries, the group of each column, and what computes products and F."""
        rows, columns, group_of = self._structure
        evaluator = Evaluator((*self._moved, *self._functions), self._fixed, (Time(), *self.leaves, *self._seeds))
        return rows, columns, group_of, evaluator

    @cached_property
    def _structure(self) -> tuple[Array, Array, Array]:
        return jacobian_structure(self._functions, self.leaves)

    @cached_property
    def _seeds(self) -> tuple[Expr, ...]:
        return tuple(Unknown(f"direction of {k}", leaf.size) for k, leaf in enumerate(self.leaves))

    @cached_property
    def _moved(self) -> tuple[Expr, ...]:
        return tangents(self._functions, dict(zip(self.leaves, self._seeds, strict=True)))

    @cached_property
    def native(self) -> Native | None:
        """What takes variable steps without Python; ``None`` where nothing does."""
        return native(
            self._functions,
            self._moved,
            self.leaves,
            self._seeds,
            self._fixed,
            self._structure,
            states=self.states,
            linear=self.linear,
        )

    @cached_property
    def linear(self) -> bool:
        """Whether the Jacobian is the same wherever the variables are."""
        return not any(node in self.leaves for node in postorder(*self._moved))


class Observer:
    """Signals by name as functions of time and variables."""

    def __init__(self, system: System, names: Sequence[str]) -> None:
        observables = system.program.observables
        place = {name: (k, lane) for k, block in enumerate(observables) for lane, name in enumerate(block.lanes)}
        missing = [name for name in names if name not in place]
        if missing:
            raise ValueError(f"there is no signal {missing[0]!r} to observe")
        used = sorted({place[name][0] for name in names})
        self._system = system
        self._picked = [(used.index(place[name][0]), place[name][1]) for name in names]
        self._lanes = [len(observables[k].lanes) for k in used]
        self._evaluate = system.of_variables(system.rewritten([observables[k].value for k in used]))

    def __len__(self) -> int:
        """Number of signals."""
        return len(self._picked)

    def __call__(self, times: Array, v: Array) -> Array:
        """Return ``(batch, names)`` for times ``(batch,)`` and variables ``(batch, size)``."""
        found = self._evaluate(times[:, None], *self._system.split(v))
        wide = [np.broadcast_to(x, (len(v), lanes)) for x, lanes in zip(found, self._lanes, strict=True)]
        return np.stack([wide[k][:, lane] for k, lane in self._picked], axis=1) if wide else np.zeros((len(v), 0))


class Factors:
    """``matrix`` factored once, for any number of right-hand sides."""

    def __init__(self, matrix: Any) -> None:
        self._dense = isinstance(matrix, np.ndarray)
        if self._dense:
            self._factors = lu_factor(matrix, check_finite=False)
        else:  # the pattern of a circuit is nearly symmetric: this order fills in least
            self._factors = splu(sparse.csc_matrix(matrix), permc_spec="MMD_AT_PLUS_A")

    def __call__(self, right: Array) -> Array:
        """Return ``y`` with ``matrix @ y = right``, both ``(size,)``."""
        if self._dense:
            return np.asarray(lu_solve(self._factors, right, check_finite=False))
        return np.asarray(self._factors.solve(right))


def shifted(jacobian: Any, mass: Array, scale: complex) -> Any:
    """Return ``scale * M - jacobian``."""
    if isinstance(jacobian, np.ndarray):
        result = (-jacobian).astype(np.result_type(jacobian, type(scale)))
        diagonal = np.arange(len(mass))
        result[diagonal, diagonal] += scale * mass
        return result
    return sparse.csc_matrix(sparse.diags(scale * mass) - jacobian)
