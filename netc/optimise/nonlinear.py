"""Blocks that are not linear in their unknowns: Newton's method on each set of equations that hang together.

    0 = (v - u) / r - i0 * (exp(u / vt) - 1)    ->   J = d residual / d u lane by lane,  step = -J(u0)^-1 residual(u),
                                                     u = Newton(step, from the last step's u) + step(u)

The linear equations among them are eliminated as in :mod:`systems`; what of them does not depend on the unknowns is
computed outside the iteration, once a parameter set where it follows from parameters alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from netc.ir import build, implicit
from netc.ir.derivative import jacobian_entries, tangent
from netc.ir.interpret import Array
from netc.ir.linear import Entry, Nonlinear, linear_form
from netc.ir.nodes import Binary, Expr, Index, Leaf, Rate, Select, State, TimeStep, Unary, Unknown, postorder
from netc.ir.program import AlgebraicBlock, Program, StateBlock
from netc.ir.rates import Rates
from netc.ir.sparsity import FLAT_BINARY, FLAT_UNARY, dependence
from netc.optimise.restriction import Restriction
from netc.optimise.rewriting import Rewriter
from netc.optimise.systems import Component, Group, Numbers, Piece, System, numbered


class Curved:
    """Solves the non-linear blocks of one program, one after the other.

    ``carried`` are the states that the program needs for it: solutions of the last step.
    """

    def __init__(
        self, program: Program, solved: Mapping[Expr, Expr], rates: Rates, nominal: Callable[[Expr], Array]
    ) -> None:
        """``solved`` are the values of unknowns of earlier blocks; it may grow."""
        self.carried: list[StateBlock] = []
        self._program = program
        self._solved = solved
        self._rates = rates
        self._nominal = nominal
        self._taken = {block.name for block in program.states}
        self._inside: dict[Expr, bool] = {}

    def system(self, block: AlgebraicBlock) -> tuple[System, list[Expr]]:
        """Return the system of a block with its Jacobian as coefficients, and its residuals where unknowns are 0."""
        starts = {u.name: start for u, start in numbered(block.unknowns) if isinstance(u, Unknown)}
        point = Rewriter({u: _point(u) for u in block.unknowns}.get)
        zero = Rewriter(dict.fromkeys(block.unknowns, build.ZERO).get)
        entries: list[Entry] = []
        links: list[Component] = []
        for residual, (_, first) in zip(block.residuals, numbered(block.unknowns), strict=True):
            for entry in _jacobian(residual, block.unknowns):
                placed = entry.placed(first, starts[entry.unknown])
                entries.append(Entry("", placed.rows, placed.columns, point(placed.coefficient)))
            links += _links(residual, block.unknowns, first)
        found = System.of(
            block,
            entries,
            self._nominal,
            self._moves,
            self._reads_unknowns,
            (_joined(rows for rows, _ in links), _joined(columns for _, columns in links)),
        )
        return found, [zero(residual) for residual in block.residuals]

    def solved(self, block: AlgebraicBlock, system: System, group: Group) -> Piece:
        """Return the solution of one group of equations."""
        pieces = system.solved(group, list(block.residuals))
        numbers = np.concatenate([members for members, _ in pieces])
        step = build.concat([build.widen(value, len(members)) for members, value in pieces])
        z, at = Unknown("z", len(numbers)), Unknown("z0", len(numbers))
        place = np.full(len(system.names), len(numbers))
        place[numbers] = np.arange(len(numbers))
        families = dict(numbered(block.unknowns))
        origin = {u: (z, start) for u, start in families.items()} | {
            _point(u): (at, start) for u, start in families.items()
        }

        def leaf(expr: Expr, lanes: Index | None) -> Expr:
            vector, start = origin[expr]
            wanted = place[start : start + expr.size][slice(None) if lanes is None else lanes.array]
            source = vector if wanted.max() < len(numbers) else build.concat([vector, build.ZERO])
            return build.gather(source, Index(wanted))

        restrict = Restriction(set(origin), leaf)
        step = build.widen(restrict(step), len(numbers))
        names = tuple(system.names[n] for n in numbers)
        systems = len(group.members) if group.small else 1
        rate = self._rate(step)
        if block.guesses:
            wide = [build.widen(g, u.size) for g, u in zip(block.guesses, block.unknowns, strict=True)]
            guess = build.gather(build.concat(wide), Index(numbers))
        elif rate & Rate.TIME:
            guess = State(self._free_name(), len(numbers))
            self._rates.declare(guess, Rate.STEP if rate & Rate.SAMPLE else Rate.TIME)
        else:
            guess = build.ZERO
        value = implicit.solution(step, z, at, guess, systems=systems, names=names)
        if isinstance(guess, State) and not block.guesses:
            found = implicit.newton(step, z, at, guess, systems=systems, names=names)
            cold = implicit.newton(step, z, at, build.ZERO, systems=systems, names=names)
            start = initial_values(cold, (*self._program.states, *self.carried), self._solved)
            slope = build.div(build.sub(found, guess), TimeStep())
            spans = tuple(s for n in numbers if (s := system.spans[n]) is not None)
            spans = spans if len(spans) == len(numbers) else spans[:1]
            self.carried.append(StateBlock(guess.name, "V", names, start, slope, spans, carried=True))
        return numbers, value

    def _free_name(self) -> str:
        number = len(self.carried) + 1
        while f"last_{number}" in self._taken:
            number += 1
        self._taken.add(f"last_{number}")
        return f"last_{number}"

    def _reads_unknowns(self, expr: Expr) -> bool:
        for node in postorder(expr, known=self._inside):
            self._inside[node] = isinstance(node, Unknown) or any(self._inside[c] for c in node.children)
        return self._inside[expr]

    def _moves(self, expr: Expr) -> bool:
        return self._reads_unknowns(expr) or bool(self._rates(expr))

    def _rate(self, step: Expr) -> Rate:
        """The rate of all that a step reads but the unknowns."""
        found = Rate.PARAMETER
        stack = [step]
        seen: set[Expr] = set()
        while stack:
            node = stack.pop()
            if node in seen or isinstance(node, Unknown):
                continue
            seen.add(node)
            if self._reads_unknowns(node):
                stack.extend(node.children)
            else:
                found |= self._rates(node)
        return found


def initial_values(expr: Expr, states: Iterable[StateBlock], solved: Mapping[Expr, Expr]) -> Expr:
    """Return ``expr`` at the start: states at their initial values; 0 where these are not known."""
    known: dict[Expr, Expr] = {}
    for block in states:
        start = Rewriter(solved.get)(block.initial)
        if any(isinstance(node, State) for node in postorder(start)):
            start = Rewriter(known.get)(start)
        known[State(block.name, block.size)] = build.widen(start, block.size)
    found = Rewriter(known.get)(expr)
    return build.ZERO if any(isinstance(node, State | Unknown) for node in postorder(found)) else found


def _point(unknown: Expr) -> Expr:
    """The unknown where the Jacobian is taken."""
    return Unknown(f"{unknown.name} of the Jacobian", unknown.size)  # type: ignore[attr-defined]  # unknowns are leaves


def _jacobian(residual: Expr, unknowns: tuple[Expr, ...]) -> list[Entry]:
    """Return d residual / d unknowns as entries, whose coefficients may read the unknowns."""
    moves: dict[Expr, Unknown] = {u: Unknown(f"move of {u.name}", u.size) for u in unknowns if isinstance(u, Unknown)}
    names = {move.name: u.name for u, move in moves.items() if isinstance(u, Unknown)}
    try:
        form = linear_form(build.widen(tangent(residual, moves), residual.size), names)
        return [Entry(names[e.unknown], e.rows, e.columns, e.coefficient) for e in form.entries]
    except Nonlinear:  # through an operator that linear forms do not know, such as a product with a matrix
        return [
            Entry(u.name, *found) for u in unknowns if isinstance(u, Leaf) for found in jacobian_entries(residual, u)
        ]


def _links(residual: Expr, unknowns: tuple[Expr, ...], first: int) -> list[Component]:
    """Return rows and columns that depend on each other by conditions and the like, without a derivative."""
    flat = [
        n
        for n in postorder(residual)
        if (isinstance(n, Unary) and n.op in FLAT_UNARY)
        or (isinstance(n, Binary) and n.op in FLAT_BINARY)
        or isinstance(n, Select)
    ]
    if not any(isinstance(n, Unknown) for node in flat for n in postorder(*node.children)):
        return []

    def smooth(node: Expr) -> Expr | None:
        if isinstance(node, Unary) and node.op in FLAT_UNARY:
            return Unary("abs", node.x)
        if isinstance(node, Binary) and node.op in FLAT_BINARY:
            return Binary("mul", node.a, node.b)
        if isinstance(node, Select):
            return Binary("mul", node.condition, Binary("mul", node.then, node.otherwise))
        return None

    smoothed = build.widen(Rewriter(smooth)(residual), residual.size)
    found = []
    for unknown, start in numbered(unknowns):
        pattern = dependence(smoothed, unknown)
        if pattern is not None:
            rows, columns = pattern.nonzero()
            found.append((rows.astype(np.int64) + first, columns.astype(np.int64) + start))
    return found


def _joined(parts: Iterable[Numbers]) -> Numbers:
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])
