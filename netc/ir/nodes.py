"""The expression DAG: small, immutable, hash-consed, over arrays of lanes.

Every expression has a *lane shape*: ``(n,)`` for ``n`` lanes (one lane is ``(1,)`` and broadcasts), or
``(n, m)`` for a matrix.  Batch and time are not part of the shape; they follow from the :class:`Rate`
of an expression.  Equal expressions are the same object, so identity is equality.

The DAG knows nothing of SPICE and nothing of torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator
from enum import IntFlag
from typing import Any, ClassVar, Self, TypeVar
from weakref import WeakValueDictionary

import numpy as np

Shape = tuple[int, ...]


class Rate(IntFlag):
    """How often a value changes; rates join with ``|``.

    ``PARAMETER`` once per parameter set, ``SAMPLE`` differs between samples of a batch, ``TIME`` changes
    with time but is common to all samples, ``STEP`` (both) is what has to be redone every step.
    """

    PARAMETER = 0
    SAMPLE = 1
    TIME = 2
    STEP = 3


class Index:
    """An immutable array of lane numbers, compared by content."""

    __slots__ = ("_hash", "array")

    def __init__(self, array: Any) -> None:
        self.array = np.ascontiguousarray(array, dtype=np.int64)
        self.array.setflags(write=False)
        self._hash = hash((self.array.shape, self.array.tobytes()))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Index) and np.array_equal(self.array, other.array)

    def __len__(self) -> int:
        return int(self.array.size)

    def is_identity(self, size: int) -> bool:
        """Whether this selects all of ``size`` lanes in order."""
        return len(self) == size and bool((self.array == np.arange(size)).all())


class Expr:
    """Base of all expressions.  ``fields`` names what identifies a node; ``children`` its operands."""

    __slots__ = ("__weakref__", "shape")
    fields: ClassVar[tuple[str, ...]] = ()
    shape: Shape

    @property
    def children(self) -> tuple[Expr, ...]:
        """Operands, in order."""
        single: list[Expr] = []
        several: list[Expr] = []
        for field in self.fields:
            value = getattr(self, field)
            if isinstance(value, Expr):
                single.append(value)
            elif isinstance(value, tuple):
                several += [e for e in value if isinstance(e, Expr)]
        return (*single, *several)

    @property
    def size(self) -> int:
        """Number of lanes (product of the shape)."""
        return math.prod(self.shape)

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        """Return this node with other operands, in the order of :attr:`children`."""
        replacement = iter(children)
        values: list[Any] = []
        for value in (getattr(self, f) for f in self.fields):
            if isinstance(value, Expr):
                values.append(next(replacement))
            elif _is_expr_tuple(value):
                return type(self)(*children)
            else:
                values.append(value)
        return type(self)(*values)


_interned: WeakValueDictionary[tuple[Any, ...], Expr] = WeakValueDictionary()
_E = TypeVar("_E", bound=Expr)


def intern_node(cls: type[_E], shape: Shape, *values: Any) -> _E:
    """Return the one node of this kind, shape and fields: what the ``__new__`` of every kind of node calls."""
    key = (
        cls,
        shape,
        *(id(v) if isinstance(v, Expr) else tuple(map(id, v)) if _is_expr_tuple(v) else v for v in values),
    )
    found = _interned.get(key)
    if found is None:
        found = object.__new__(cls)
        found.shape = shape
        for name, value in zip(cls.fields, values, strict=True):
            object.__setattr__(found, name, value)
        _interned[key] = found
    return found  # type: ignore[return-value]  # the key starts with cls


def _is_expr_tuple(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(v, Expr) for v in value)


def broadcast(*shapes: Shape) -> Shape:
    """Return the common lane shape; one lane broadcasts against any number.

    Raises ``ValueError`` where two sizes differ and neither is 1.
    """
    return tuple(int(n) for n in np.broadcast_shapes(*shapes))


class Const(Expr):
    """A literal number, shape ``(1,)``."""

    __slots__ = ("value",)
    fields = ("value",)
    value: float

    def __new__(cls, value: float) -> Const:
        value = float(value)
        # -0.0 == 0.0 and nan != nan as dictionary keys: the sign is kept by the text, nan by its name
        return _node_const(value)


def _node_const(value: float) -> Const:
    key = (Const, value.hex())
    found = _interned.get(key)
    if found is None:
        found = object.__new__(Const)
        found.shape = (1,)
        object.__setattr__(found, "value", value)
        _interned[key] = found
    return found  # type: ignore[return-value]  # the key starts with Const


class Leaf(Expr):
    """A named array of lanes."""

    __slots__ = ("name",)
    fields = ("name",)
    name: str

    def __new__(cls, name: str, size: int = 1) -> Self:
        return intern_node(cls, (size,), name)


class Parameter(Leaf):
    """A block of :attr:`Program.parameters`; rate PARAMETER."""

    __slots__ = ()


class Input(Leaf):
    """What a data set drives: rate SAMPLE (amplitudes) or STEP (waveforms)."""

    __slots__ = ()


class State(Leaf):
    """A block of state variables; rate STEP, or TIME where it depends on no sample."""

    __slots__ = ()


class Unknown(Leaf):
    """A block of algebraic unknowns; gone once the DAE has been solved into a Program."""

    __slots__ = ()


class Time(Expr):
    """Simulation time in seconds, shape ``(1,)``, rate TIME."""

    __slots__ = ()

    def __new__(cls) -> Time:
        return intern_node(cls, (1,))


class TimeStep(Expr):
    """Length of the current step in seconds, shape ``(1,)``, rate PARAMETER; integrators read it."""

    __slots__ = ()

    def __new__(cls) -> TimeStep:
        return intern_node(cls, (1,))


class Slot(Expr):
    """A hole in a template: ``kind`` is ``value``, ``voltage`` or ``current``; shape ``(1,)``.

    Elaboration makes one template for all elements of one form; lowering fills the holes with lanes.
    """

    __slots__ = ("index", "kind")
    fields = ("kind", "index")
    kind: str
    index: int

    def __new__(cls, kind: str, index: int) -> Slot:
        return intern_node(cls, (1,), kind, index)


UNARY: dict[str, Callable[[Any], Any]] = {
    "neg": np.negative,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "sign": np.sign,
    "sigmoid": lambda x: np.where(x >= 0, 1.0, np.exp(-np.abs(x))) / (1.0 + np.exp(-np.abs(x))),
    "not": lambda x: (np.asarray(x) == 0).astype(float),
    "detach": np.asarray,
}
"""Unary operators with their meaning in float64; ``detach`` is the value itself with a derivative of 0."""

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "min": np.minimum,
    "max": np.maximum,
    "lt": lambda a, b: (np.asarray(a) < b).astype(float),
    "le": lambda a, b: (np.asarray(a) <= b).astype(float),
    "gt": lambda a, b: (np.asarray(a) > b).astype(float),
    "ge": lambda a, b: (np.asarray(a) >= b).astype(float),
    "eq": lambda a, b: (np.asarray(a) == b).astype(float),
    "ne": lambda a, b: (np.asarray(a) != b).astype(float),
    "and": lambda a, b: ((np.asarray(a) != 0) & (np.asarray(b) != 0)).astype(float),
    "or": lambda a, b: ((np.asarray(a) != 0) | (np.asarray(b) != 0)).astype(float),
}
"""Binary operators with their meaning in float64; comparisons give 0.0 or 1.0."""


class Unary(Expr):
    """``op(x)``, lane by lane; see :data:`UNARY`."""

    __slots__ = ("op", "x")
    fields = ("op", "x")
    op: str
    x: Expr

    def __new__(cls, op: str, x: Expr) -> Unary:
        if op not in UNARY:
            raise ValueError(f"unknown unary operator {op!r}")
        return intern_node(cls, x.shape, op, x)


class Binary(Expr):
    """``op(a, b)``, lane by lane with broadcasting; see :data:`BINARY`."""

    __slots__ = ("a", "b", "op")
    fields = ("op", "a", "b")
    op: str
    a: Expr
    b: Expr

    def __new__(cls, op: str, a: Expr, b: Expr) -> Binary:
        if op not in BINARY:
            raise ValueError(f"unknown binary operator {op!r}")
        return intern_node(cls, broadcast(a.shape, b.shape), op, a, b)


class Select(Expr):
    """``then`` where ``condition`` is not 0, else ``otherwise``, lane by lane.

    Back ends must keep the gradient of the branch not taken from spoiling the other (no NaN).
    """

    __slots__ = ("condition", "otherwise", "then")
    fields = ("condition", "then", "otherwise")
    condition: Expr
    then: Expr
    otherwise: Expr

    def __new__(cls, condition: Expr, then: Expr, otherwise: Expr) -> Select:
        return intern_node(cls, broadcast(condition.shape, then.shape, otherwise.shape), condition, then, otherwise)


class Gather(Expr):
    """``x[..., index]``: lanes of ``x`` (its last axis) picked by number."""

    __slots__ = ("index", "x")
    fields = ("x", "index")
    x: Expr
    index: Index

    def __new__(cls, x: Expr, index: Index) -> Gather:
        return intern_node(cls, (*x.shape[:-1], len(index)), x, index)


class ScatterAdd(Expr):
    """``y[..., index[k]] += x[..., k]`` into ``lanes`` zeros; ``x`` broadcasts to ``len(index)`` lanes first."""

    __slots__ = ("index", "lanes", "x")
    fields = ("x", "index", "lanes")
    x: Expr
    index: Index
    lanes: int

    def __new__(cls, x: Expr, index: Index, lanes: int) -> ScatterAdd:
        return intern_node(cls, (*x.shape[:-1], lanes), x, index, lanes)


class Concat(Expr):
    """Lanes of ``parts`` one after the other along the last axis."""

    __slots__ = ("parts",)
    fields = ("parts",)
    parts: tuple[Expr, ...]

    def __new__(cls, *parts: Expr) -> Concat:
        return intern_node(cls, (*parts[0].shape[:-1], sum(p.shape[-1] for p in parts)), parts)


class Assemble(Expr):
    """A matrix of ``shape`` with ``values[k]`` added at ``(rows[k], columns[k])``, zero elsewhere.

    Where rows and columns enumerate the whole matrix in order it is a reshape.
    """

    __slots__ = ("columns", "rows", "values")
    fields = ("values", "rows", "columns")
    values: Expr
    rows: Index
    columns: Index

    def __new__(cls, values: Expr, rows: Index, columns: Index, shape: tuple[int, int]) -> Assemble:
        return intern_node(cls, shape, values, rows, columns)

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        return Assemble(children[0], self.rows, self.columns, (self.shape[0], self.shape[1]))


class MatVec(Expr):
    """``y[j] = sum_i x[i] * matrix[i, j]``: one ``matmul`` for a whole batch."""

    __slots__ = ("matrix", "x")
    fields = ("x", "matrix")
    x: Expr
    matrix: Expr

    def __new__(cls, x: Expr, matrix: Expr) -> MatVec:
        n, m = matrix.shape
        if x.shape != (n,):
            raise ValueError(f"matvec of {x.shape} with {matrix.shape}")
        return intern_node(cls, (m,), x, matrix)


class Solve(Expr):
    """``y`` with ``matrix @ y = b`` for square ``matrix`` ``(n, n)`` and ``b`` ``(n,)``."""

    __slots__ = ("b", "matrix")
    fields = ("matrix", "b")
    matrix: Expr
    b: Expr

    def __new__(cls, matrix: Expr, b: Expr) -> Solve:
        n, m = matrix.shape
        if n != m or b.shape != (n,):
            raise ValueError(f"solve of {matrix.shape} with {b.shape}")
        return intern_node(cls, (n,), matrix, b)


class Interpolate(Expr):
    """Piecewise linear through the points ``(xs, ys)``, held at the ends; lane by lane.

    ``x`` has ``n`` lanes (or 1); ``xs`` and ``ys`` have shape ``(n, k)`` or ``(1, k)`` with ``xs`` ascending, rate
    PARAMETER.
    """

    __slots__ = ("x", "xs", "ys")
    fields = ("x", "xs", "ys")
    x: Expr
    xs: Expr
    ys: Expr

    def __new__(cls, x: Expr, xs: Expr, ys: Expr) -> Interpolate:
        return intern_node(cls, broadcast(x.shape, xs.shape[:1], ys.shape[:1]), x, xs, ys)


class Columns(Expr):
    """A matrix ``(n, k)`` whose ``k`` columns are expressions of ``n`` lanes (or 1)."""

    __slots__ = ("parts",)
    fields = ("parts",)
    parts: tuple[Expr, ...]

    def __new__(cls, *parts: Expr) -> Columns:
        return intern_node(cls, (*broadcast(*(p.shape for p in parts)), len(parts)), parts)


class Transpose(Expr):
    """``y[j, i] = matrix[i, j]``; adjoints are made of it."""

    __slots__ = ("matrix",)
    fields = ("matrix",)
    matrix: Expr

    def __new__(cls, matrix: Expr) -> Transpose:
        n, m = matrix.shape
        return intern_node(cls, (m, n), matrix)


class Outer(Expr):
    """``y[i, j] = a[i] * b[j]``: the adjoint of a matrix that is multiplied by a vector."""

    __slots__ = ("a", "b")
    fields = ("a", "b")
    a: Expr
    b: Expr

    def __new__(cls, a: Expr, b: Expr) -> Outer:
        return intern_node(cls, (*a.shape, *b.shape), a, b)


class Entries(Expr):
    """``y[k] = matrix[rows[k], columns[k]]``: the adjoint of :class:`Assemble`."""

    __slots__ = ("columns", "matrix", "rows")
    fields = ("matrix", "rows", "columns")
    matrix: Expr
    rows: Index
    columns: Index

    def __new__(cls, matrix: Expr, rows: Index, columns: Index) -> Entries:
        return intern_node(cls, (len(rows),), matrix, rows, columns)


def postorder(*roots: Expr, known: Container[Expr] = ()) -> Iterator[Expr]:
    """Yield every expression below ``roots`` once, operands first; safe for any depth.

    What is in ``known`` is passed over with all below it: roots that share operands then cost no more than one.
    """
    seen: set[int] = set()
    stack: list[tuple[Expr, bool]] = [(r, False) for r in reversed(roots)]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            yield node
        elif id(node) not in seen and node not in known:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((c, False) for c in reversed(node.children))


def rebuild(node: Expr, children: tuple[Expr, ...]) -> Expr:
    """Return ``node`` with its operands replaced, in the order of ``node.children``."""
    return node if children == node.children else node.with_children(children)


def substitute(root: Expr, mapping: Callable[[Expr], Expr | None], done: dict[Expr, Expr] | None = None) -> Expr:
    """Replace bottom-up: ``mapping`` sees each rebuilt node and returns its replacement or ``None``.

    ``done`` holds what has been replaced already, for roots that share operands; it grows.
    """
    done = {} if done is None else done
    for node in postorder(root, known=done):
        new = rebuild(node, tuple(done[c] for c in node.children))
        done[node] = mapping(new) or new
    return done[root]
