"""Equations that are solved by iteration: ``z`` with ``g(z) = 0``, as the fixed point of Newton's step.

    0 = (v - z) / r - i0 * (exp(z / vt) - 1)   ->   s = newton(guess, z, z0 -> -J(z0)^-1 g(z))
                                                    s + step(s)

The node itself has the derivative 0.  One more step, made of ordinary expressions and added by
:func:`solution`, vanishes at the solution and has the derivative of the implicit function there: a solve with the
Jacobian forward, one with its transpose backward, and never one through the iterations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np

from netc.ir.build import add, gather, widen
from netc.ir.nodes import Const, Expr, Index, Shape, intern_node, postorder, rebuild, substitute

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]  # float64
Step: TypeAlias = Callable[[Array, Array], Array]

ITERATIONS = 200
"""Most Newton steps from one guess."""
HALVINGS = 40
"""Most halvings of one step."""
RELATIVE, ABSOLUTE = 1e-9, 1e-12
"""A correction is small below this share of the unknown, or this many volts, amperes, ..."""
STALLED, PATIENCE = 2.0**-12, 24
"""A start is given up after so many steps cut below this part: from there it is not going anywhere."""
ROUNDING = 1e3
"""Where no shorter step is better, a correction this many times larger still counts as rounding."""


class Hole(Expr):
    """A place in the step of a :class:`Newton` node: 0 is ``z``, 1 the point of the Jacobian, 2 the first operand."""

    __slots__ = ("number",)
    fields = ("number", "shape")
    number: int

    def __new__(cls, number: int, shape: Shape) -> Hole:
        """Return the hole ``number`` of lane shape ``shape``."""
        return intern_node(cls, shape, number, shape)


class Newton(Expr):
    """``z`` of ``n`` lanes with ``step(z, z) = 0``, found from ``guess``; NaN where it is not found.

    ``step(z, z0) = -J(z0)^-1 g(z)`` is closed: its leaves are constants and holes, so no pass sees it, and what
    does not depend on ``z`` is an operand, computed once.  Lane ``k`` belongs to system ``k % systems``, and systems
    (of each sample) are solved each on its own.  ``names`` are the lanes' names for messages.
    """

    __slots__ = ("guess", "names", "operands", "step", "systems")
    fields = ("step", "systems", "names", "guess", "operands")
    step: Expr
    systems: int
    names: tuple[str, ...]
    guess: Expr
    operands: tuple[Expr, ...]

    def __new__(
        cls, step: Expr, systems: int, names: tuple[str, ...], guess: Expr, operands: tuple[Expr, ...]
    ) -> Newton:
        """Return the node; the shape is that of ``step``."""
        return intern_node(cls, step.shape, step, systems, names, guess, operands)

    @property
    def children(self) -> tuple[Expr, ...]:
        """Guess and operands."""
        return (self.guess, *self.operands)

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        """Return the node with other guess and operands; one lane stands for as many as there were."""
        wide = tuple(widen(new, old.shape[-1]) for new, old in zip(children[1:], self.operands, strict=True))
        return type(self)(self.step, self.systems, self.names, widen(children[0], self.size), wide)


class Solution(Newton):
    """A :class:`Newton` node and the step that polishes it as one: the value and derivative of :func:`solution`.

    Kernels make these of what :func:`solution` returned, as they compute both at once.
    """

    __slots__ = ()


class Share(Expr):
    """What the adjoint of a :class:`Solution` gives to its operand ``number`` for the seed ``seed``."""

    __slots__ = ("number", "operands", "seed", "solution", "step", "systems")
    fields = ("step", "systems", "number", "solution", "seed", "operands")
    step: Expr
    systems: int
    number: int
    solution: Expr
    seed: Expr
    operands: tuple[Expr, ...]

    def __new__(
        cls, step: Expr, systems: int, number: int, solution: Expr, seed: Expr, operands: tuple[Expr, ...]
    ) -> Share:
        """Return the node, of the operand's shape."""
        return intern_node(cls, operands[number].shape, step, systems, number, solution, seed, operands)

    @property
    def children(self) -> tuple[Expr, ...]:
        """Solution, seed and operands."""
        return (self.solution, self.seed, *self.operands)

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        """Return the node with other operands."""
        return Share(self.step, self.systems, self.number, children[0], children[1], children[2:])


class Backsolved(Expr):
    """The :class:`Share` of some operands (``numbers``) one after the other: they have one solve in common."""

    __slots__ = ("numbers", "operands", "seed", "solution", "step", "systems")
    fields = ("step", "systems", "numbers", "solution", "seed", "operands")
    step: Expr
    systems: int
    numbers: tuple[int, ...]
    solution: Expr
    seed: Expr
    operands: tuple[Expr, ...]

    def __new__(
        cls,
        step: Expr,
        systems: int,
        numbers: tuple[int, ...],
        solution: Expr,
        seed: Expr,
        operands: tuple[Expr, ...],
    ) -> Backsolved:
        """Return the node, of as many lanes as the chosen operands have."""
        lanes = sum(operands[k].size for k in numbers)
        return intern_node(cls, (lanes,), step, systems, numbers, solution, seed, operands)

    @property
    def children(self) -> tuple[Expr, ...]:
        """Solution, seed and operands."""
        return (self.solution, self.seed, *self.operands)

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        """Return the node with other operands."""
        return Backsolved(self.step, self.systems, self.numbers, children[0], children[1], children[2:])

    @property
    def starts(self) -> list[int]:
        """Where the lanes of each of the chosen operands begin."""
        return list(accumulate((self.operands[k].size for k in self.numbers), initial=0))[:-1]


def shares_joined(roots: Sequence[Expr]) -> list[Expr]:
    """Return ``roots`` with one solve for all that the adjoint of a solution gives for one seed."""
    asked: dict[tuple[Expr, Expr], dict[int, None]] = {}
    order = list(postorder(*roots))
    for node in order:
        if isinstance(node, Share):
            asked.setdefault((node.solution, node.seed), {})[node.number] = None
    done: dict[Expr, Expr] = {}
    for node in order:
        new = rebuild(node, tuple(done[child] for child in node.children))
        if isinstance(node, Share) and isinstance(new, Share):
            numbers = tuple(sorted(asked[node.solution, node.seed]))
            whole = Backsolved(new.step, new.systems, numbers, new.solution, new.seed, new.operands)
            start = whole.starts[numbers.index(node.number)]
            new = gather(whole, Index(np.arange(start, start + node.size)))
        done[node] = new
    return [done[root] for root in roots]


def solution(step: Expr, unknown: Expr, point: Expr, guess: Expr, *, systems: int, names: tuple[str, ...]) -> Expr:
    """Return ``z`` with ``step = 0``, and with its derivative by everything else that ``step`` reads.

    Args:
        step: ``-J(point)^-1 g(unknown)``, ``n`` lanes, ``J`` detached (at the solution its changes do not matter).
        unknown: a leaf of ``n`` lanes that stands for ``z`` in ``g``.
        point: a leaf of ``n`` lanes that stands for ``z`` in the Jacobian.
        guess: where to start, ``n`` lanes or one.
        systems: number of independent systems; lane ``k`` belongs to number ``k % systems``.
        names: what the lanes are called.
    """
    found = newton(step, unknown, point, guess, systems=systems, names=names)
    at = {unknown: found, point: found}
    return add(found, substitute(step, at.get))


def newton(step: Expr, unknown: Expr, point: Expr, guess: Expr, *, systems: int, names: tuple[str, ...]) -> Newton:
    """Return the node alone, whose derivative is 0; see :func:`solution`."""
    inside: set[Expr] = set()
    operands: dict[Expr, Expr] = {}
    body: dict[Expr, Expr] = {unknown: Hole(0, unknown.shape), point: Hole(1, point.shape)}
    for node in postorder(step):
        if node in (unknown, point) or any(child in inside for child in node.children):
            inside.add(node)
    for node in postorder(step):
        if node in inside and node.children:
            for child in node.children:
                if child not in inside and child not in operands and not isinstance(child, Const):
                    operands[child] = Hole(2 + len(operands), child.shape)
            body[node] = node.with_children(tuple(body.get(c) or operands.get(c) or c for c in node.children))
    return Newton(body.get(step, step), systems, names, widen(guess, unknown.size), tuple(operands))


def iterate(step: Step, guess: Array, systems: int) -> Array:
    """Return ``z`` with ``step(z, z) = 0``: damped Newton from ``guess``; where that fails from 0, then 0.1; else NaN.

    A step is halved until the correction that the same Jacobian wants at its end is smaller than the step (the
    natural monotonicity test of P. Deuflhard, Newton Methods for Nonlinear Problems, 2004, 3.3), which holds back
    exponentials and does not change with the scale of equations.  Where no fraction of a step will do, the whole
    of it is taken; after :data:`PATIENCE` steps that were cut to next to nothing, the start is given up.  Every
    system of every sample goes its own way, as if it were alone.

    Args:
        step: maps ``z`` and the point of the Jacobian, ``(..., n)``, to ``-J(point)^-1 g(z)``.
        guess: ``(..., n)`` or what broadcasts to it.
        systems: number of systems; lane ``k`` belongs to number ``k % systems``.
    """

    def largest(x: Array) -> Array:
        sizes = np.abs(x).reshape(*x.shape[:-1], -1, systems).max(axis=-2)
        return np.where(np.isfinite(sizes), sizes, np.inf)

    def spread(x: Array) -> Array:
        return np.tile(x, z.shape[-1] // systems)

    z = np.array(np.broadcast_to(guess, step(guess, guess).shape))
    active = np.ones((*z.shape[:-1], systems), dtype=bool)
    for start in (z, np.zeros_like(z), np.full_like(z, 0.1)):
        z, open_here, stalled = np.where(spread(active), start, z), active, np.zeros(active.shape)
        for _ in range(ITERATIONS):
            move = step(z, z)
            wanted = largest(move)
            open_here = open_here & np.isfinite(wanted)
            part, longest = np.ones(active.shape), np.zeros(active.shape)
            for _ in range(HALVINGS):
                trial = z + spread(part) * move
                more = step(trial, z)
                error = largest(more)
                longest = np.where((longest == 0) & np.isfinite(error), part, longest)
                tight = RELATIVE * largest(trial) + ABSOLUTE
                found = (error <= tight) | (np.maximum(error, wanted) <= ROUNDING * tight)
                halve = open_here & ~found & (error > (1 - part / 4) * wanted)
                if not halve.any():
                    break
                part = np.where(halve, part / 2, part)
            trial = np.where(spread(found), trial + more, z + spread(np.where(halve, longest, part)) * move)
            z = np.where(spread(open_here), trial, z)
            stalled = stalled + (part < STALLED)
            active, open_here = active & ~(open_here & found), open_here & ~found & (longest > 0)
            open_here = open_here & (stalled < PATIENCE)
            if not open_here.any():
                break
        if not active.any():
            return z
    return np.where(spread(active), np.nan, z)
