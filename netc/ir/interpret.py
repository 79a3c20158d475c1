"""The meaning of a program, in numpy float64: the oracle every back end is compared with.

A value has the lane shape of its expression, with a batch axis in front unless its rate is ``PARAMETER``.
The batch axis has length 1 where a value is common to all samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from netc.ir.implicit import Hole, Newton, iterate
from netc.ir.network import Response, response
from netc.ir.nodes import (
    BINARY,
    UNARY,
    Assemble,
    Binary,
    Columns,
    Concat,
    Const,
    Entries,
    Expr,
    Gather,
    Input,
    Interpolate,
    MatVec,
    Outer,
    Parameter,
    Rate,
    ScatterAdd,
    Select,
    Solve,
    State,
    Time,
    TimeStep,
    Transpose,
    Unary,
    postorder,
)
from netc.ir.program import Observable, Program
from netc.ir.rates import Rates

Array = np.ndarray[Any, np.dtype[Any]]  # float64


def simulate(
    program: Program,
    steps: int,
    dt: float,
    inputs: Any = None,
    *,
    observe: Sequence[str] | None = None,
    values: Mapping[str, Any] | None = None,
    state: Sequence[Any] | None = None,
    first_step: int = 0,
) -> tuple[Array, tuple[Array, ...]]:
    """Integrate by explicit Euler, ``x[n+1] = x[n] + dt f(x[n], u[n])`` at time ``(first_step + n) dt`` seconds.

    Args:
        program: without algebraic blocks.
        steps: number of steps, 0 or more.
        dt: step in seconds.
        inputs: amplitudes ``(batch, features)``, or waveforms ``(steps, batch, features)``, whose last row also holds
            for the last row of the result.  ``None`` means amplitudes of 1, the deck's own sources.
        observe: names of signals; all when ``None``.
        values: physical values by parameter block that replace the program's own.
        state: as returned by an earlier call, instead of the initial conditions.
        first_step: number of the first step.

    Returns:
        Signals ``(steps + 1, batch, len(observe))``, row 0 the start, and the state, ``(batch, lanes)`` a block.

    Raises:
        ValueError: for a program with algebraic blocks, waveforms that are missing, a signal or a block that does
            not exist, or a wrong shape.
    """
    if program.algebraic:
        raise ValueError("the algebraic blocks have to be solved first (netc.optimise.solve_algebraic)")
    drive, batch = _inputs(program, steps, inputs, state)
    rates = Rates(program)
    signals, picked = _signals(program, observe)
    environment: dict[Expr, Array] = dict(_parameters(program, values))
    waveforms = any(block.mode == "waveform" for block in program.inputs)
    environment |= drive(0)
    leaves = [State(block.name, block.size) for block in program.states]
    environment |= {Time(): np.array([first_step * dt]), TimeStep(): np.array([dt])}
    if state is None:
        started = [evaluate([block.initial], environment)[0] for block in program.states]
    else:
        started = [np.asarray(x, dtype=np.float64) for x in state]
    if len(started) != len(leaves):
        raise ValueError(f"the program has {len(leaves)} state blocks, not {len(started)}")
    current = [np.array(np.broadcast_to(x, (batch, leaf.size))) for x, leaf in zip(started, leaves, strict=True)]

    derivatives = [block.derivative for block in program.states]
    order = list(postorder(*derivatives, *(o.value for o in signals)))
    fixed: dict[Expr, Array] = {
        node: environment[node]
        for node in order
        if isinstance(node, Parameter | Input | TimeStep) and node in environment
    }
    for node in order:
        if not rates(node) & Rate.TIME and node not in fixed:
            fixed[node] = _value(node, fixed)
    moving = [n for n in order if rates(n) & Rate.TIME and not isinstance(n, State | Time | Input)]

    rows = np.empty((steps + 1, batch, len(picked)))
    for n in range(steps + 1):
        here = fixed | dict(zip(leaves, current, strict=True))
        here[Time()] = np.array([(first_step + n) * dt])
        if waveforms:
            here |= drive(min(n, steps - 1))
        for node in moving:
            here[node] = _value(node, here)
        found = [np.broadcast_to(here[o.value], (batch, len(o.lanes))) for o in signals]
        for column, (block, lane) in enumerate(picked):
            rows[n, :, column] = found[block][:, lane]
        if n < steps:
            with np.errstate(all="ignore"):  # a run may diverge
                current = [x + dt * here[f] for x, f in zip(current, derivatives, strict=True)]
    return rows, tuple(current)


def signal_names(program: Program) -> tuple[str, ...]:
    """Return every observable signal, in the order of the blocks and their lanes."""
    return tuple(name for block in program.observables for name in block.lanes)


def evaluate(expressions: Iterable[Expr], environment: Mapping[Expr, Any]) -> list[Array]:
    """Return the values of ``expressions``.

    ``environment`` maps leaves (or any inner expression) to arrays: parameters ``(lanes,)``, all else
    ``(batch, lanes)``, ``Time()`` to shape ``(1,)``.  Raises ``ValueError`` for a leaf it does not have.
    """
    roots = list(expressions)
    known: dict[Expr, Array] = {e: np.asarray(v, dtype=np.float64) for e, v in environment.items()}
    for node in postorder(*roots):
        if node not in known:
            known[node] = _value(node, known)
    return [known[root] for root in roots]


def _inputs(
    program: Program, steps: int, inputs: Any, state: Sequence[Any] | None
) -> tuple[Callable[[int], dict[Expr, Array]], int]:
    modes = {block.mode for block in program.inputs}
    features = sum(block.size for block in program.inputs)
    if len(modes) > 1:
        raise ValueError("amplitude and waveform inputs cannot be mixed in one program")
    if inputs is None:
        if "waveform" in modes:
            raise ValueError("this circuit is driven by whole waveforms: inputs of shape (steps, batch, features)")
        given = np.ones((len(np.atleast_2d(state[0])) if state else 1, features))
    else:
        given = np.asarray(inputs, dtype=np.float64)
    expected = ("steps", "batch", features) if "waveform" in modes else ("batch", features)
    if given.ndim != len(expected) or given.shape[-1] != features or ("waveform" in modes and len(given) != steps):
        raise ValueError(f"inputs of shape {given.shape} where {expected} is needed")

    def drive(step: int) -> dict[Expr, Array]:
        row = given[step] if "waveform" in modes else given
        ends = np.cumsum([block.size for block in program.inputs])
        return {
            Input(block.name, block.size): row[:, end - block.size : end]
            for block, end in zip(program.inputs, ends, strict=True)
        }

    return drive, given.shape[-2]


def _parameters(program: Program, values: Mapping[str, Any] | None) -> dict[Expr, Array]:
    replaced = dict(values or {})
    result: dict[Expr, Array] = {}
    for block in program.parameters:
        value = np.asarray(replaced.pop(block.name, block.values), dtype=np.float64)
        if value.shape != (len(block.values),):
            raise ValueError(f"parameter {block.name!r} has shape {(len(block.values),)}, not {value.shape}")
        result[Parameter(block.name, len(value))] = value
    if replaced:
        raise ValueError(f"the program has no parameter block {min(replaced)!r}")
    return result


def _signals(program: Program, observe: Sequence[str] | None) -> tuple[list[Observable], list[tuple[int, int]]]:
    place = {name: (b, lane) for b, block in enumerate(program.observables) for lane, name in enumerate(block.lanes)}
    names = list(place) if observe is None else list(observe)
    missing = [name for name in names if name not in place]
    if missing:
        raise ValueError(f"there is no signal {missing[0]!r} to observe")
    used = sorted({place[name][0] for name in names})
    return [program.observables[b] for b in used], [(used.index(place[n][0]), place[n][1]) for n in names]


def rule_of(node: Expr) -> Callable[..., Array]:
    """Return what computes ``node`` from the values of its operands, in order; ``ValueError`` for a leaf."""
    rule = _RULES.get(type(node))
    if rule is None:
        raise ValueError(f"no value for {type(node).__name__} {getattr(node, 'name', '')!r}")
    return partial(rule, node)


def _value(node: Expr, known: Mapping[Expr, Array]) -> Array:
    rule = _RULES.get(type(node))
    if rule is None:
        name = f" {node.name!r}" if hasattr(node, "name") else ""
        raise ValueError(f"no value for {type(node).__name__}{name}")
    with np.errstate(all="ignore"):
        return rule(node, *(known[child] for child in node.children))


def _aligned(node: Expr, children: Sequence[Expr], values: Sequence[Array]) -> list[Array]:
    """Insert lane axes after the batch axis, so that one lane broadcasts against a matrix."""
    result = []
    for child, value in zip(children, values, strict=True):
        missing = len(node.shape) - len(child.shape)
        batch = value.ndim - len(child.shape)
        result.append(value.reshape(value.shape[:batch] + (1,) * missing + value.shape[batch:]))
    return result


def _const(node: Const) -> Array:
    return np.array([node.value])


def _unary(node: Unary, x: Array) -> Array:
    return np.asarray(UNARY[node.op](x), dtype=np.float64)


def _binary(node: Binary, a: Array, b: Array) -> Array:
    return np.asarray(BINARY[node.op](*_aligned(node, node.children, (a, b))), dtype=np.float64)


def _select(node: Select, condition: Array, then: Array, otherwise: Array) -> Array:
    condition, then, otherwise = _aligned(node, node.children, (condition, then, otherwise))
    return np.where(condition != 0, then, otherwise)


def _gather(node: Gather, x: Array) -> Array:
    return x[..., node.index.array]


def _scatter_add(node: ScatterAdd, x: Array) -> Array:
    x = np.broadcast_to(x, (*x.shape[:-1], len(node.index)))
    result = np.zeros((*x.shape[:-1], node.lanes))
    where: Any = (..., node.index.array)
    np.add.at(result, where, x)
    return result


def _common_batch(parts: Sequence[Array], children: Sequence[Expr], sizes: Sequence[int]) -> list[Array]:
    lead = np.broadcast_shapes(*(p.shape[: p.ndim - len(c.shape)] for p, c in zip(parts, children, strict=True)))
    return [np.broadcast_to(p, (*lead, *c.shape[:-1], size)) for p, c, size in zip(parts, children, sizes, strict=True)]


def _concat(node: Concat, *parts: Array) -> Array:
    return np.concatenate(_common_batch(parts, node.parts, [p.shape[-1] for p in node.parts]), axis=-1)


def _columns(node: Columns, *parts: Array) -> Array:
    return np.stack(_common_batch(parts, node.parts, [node.shape[0]] * len(parts)), axis=-1)


def _assemble(node: Assemble, values: Array) -> Array:
    values = np.broadcast_to(values, (*values.shape[:-1], len(node.rows)))
    result = np.zeros((*values.shape[:-1], *node.shape))
    where: Any = (..., node.rows.array, node.columns.array)
    np.add.at(result, where, values)
    return result


def _matvec(node: MatVec, x: Array, matrix: Array) -> Array:
    return x @ matrix if matrix.ndim == 2 else (x[..., None, :] @ matrix)[..., 0, :]


def _solve(node: Solve, matrix: Array, b: Array) -> Array:
    try:
        if matrix.ndim == 2:
            return np.linalg.solve(matrix, b.T).T
        right = np.broadcast_to(b, (*np.broadcast_shapes(matrix.shape[:-2], b.shape[:-1]), node.size))
        return np.linalg.solve(matrix, right[..., None])[..., 0]
    except np.linalg.LinAlgError:  # one singular matrix must not spoil the others
        lead = np.broadcast_shapes(matrix.shape[:-2], b.shape[:-1])
        if not lead:
            return np.full(b.shape, np.nan)
        matrices, rights = np.broadcast_to(matrix, (*lead, *node.matrix.shape)), np.broadcast_to(b, (*lead, node.size))
        return np.stack([_solve(node, m, right) for m, right in zip(matrices, rights, strict=True)])


def _newton(node: Newton, guess: Array, *operands: Array) -> Array:
    order = [n for n in postorder(node.step) if not isinstance(n, Hole)]
    holes = {n.number: n for n in postorder(node.step) if isinstance(n, Hole)}
    given: dict[Expr, Array] = {holes[k]: x for k, x in enumerate(operands, start=2) if k in holes}

    def step(z: Array, point: Array) -> Array:
        here = dict(given)
        here |= {holes[k]: x for k, x in ((0, z), (1, point)) if k in holes}
        for inner in order:
            here[inner] = _value(inner, here)
        return here[node.step]

    with np.errstate(all="ignore"):
        return iterate(step, np.broadcast_to(guess, (*guess.shape[:-1], node.size)), node.systems)


def _interpolate(node: Interpolate, x: Array, xs: Array, ys: Array) -> Array:
    x = np.broadcast_to(x, (*x.shape[:-1], node.shape[0]))
    result = np.empty(x.shape)
    for lane in range(node.shape[0]):
        row = min(lane, len(xs) - 1), min(lane, len(ys) - 1)
        result[..., lane] = np.interp(x[..., lane], xs[row[0]], ys[row[1]])
    return result


def _transpose(node: Transpose, matrix: Array) -> Array:
    return np.swapaxes(matrix, -1, -2)


def _outer(node: Outer, a: Array, b: Array) -> Array:
    return a[..., :, None] * b[..., None, :]


def _entries(node: Entries, matrix: Array) -> Array:
    return matrix[..., node.rows.array, node.columns.array]


_RULES: dict[type[Expr], Callable[..., Array]] = {
    Const: _const,
    Unary: _unary,
    Binary: _binary,
    Select: _select,
    Gather: _gather,
    ScatterAdd: _scatter_add,
    Concat: _concat,
    Columns: _columns,
    Assemble: _assemble,
    MatVec: _matvec,
    Solve: _solve,
    Newton: _newton,
    Response: response,
    Interpolate: _interpolate,
    Transpose: _transpose,
    Outer: _outer,
    Entries: _entries,
}
