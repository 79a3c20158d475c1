"""Where the waveforms of a circuit have edges and kinks, so that no solver steps over one.

Every operation on the time alone that bends or jumps (comparisons, ``min``, ``max``, ``abs``, rounding, points of a
table) is followed to where its operands cross.  Operations are taken innermost first, so that between the crossings
found so far the operands are smooth, as a rule straight; a crossing is then bracketed by samples and halved down to
rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from netc.diagnostics import NetcError
from netc.ir import build
from netc.ir.interpret import Array
from netc.ir.nodes import Binary, Expr, Interpolate, State, Time, Unary, Unknown, postorder
from netc.ir.sparsity import FLAT_BINARY
from netc.runtime.evaluator import Evaluator
from netc.runtime.system import System

MOST = 500_000
"""Most edges in one run."""

_WITHIN = np.array([1e-9, 0.09, 0.21, 0.37, 0.5, 0.63, 0.79, 0.91, 1.0 - 1e-9])
_HALVINGS = 80
_SAMPLES = 4_000_000
_ROUNDING = frozenset({"floor", "ceil", "round"})
_LOGIC = frozenset({"and", "or"})


def breakpoints(system: System, exprs: Sequence[Expr], tstop: float) -> Array:
    """Return the times from 0 to ``tstop``, both included, between which all waveforms are smooth, ascending.

    Args:
        system: whose expressions these are.
        exprs: what is integrated and observed.
        tstop: seconds.

    Raises:
        NetcError: for more than :data:`MOST` edges.
    """
    points = np.array([0.0, tstop])
    moving: set[Expr] = set()
    for node in postorder(*exprs):
        if isinstance(node, State | Unknown) or any(child in moving for child in node.children):
            moving.add(node)
    timed: set[Expr] = set()
    for node in postorder(*exprs):
        if node in moving or not (isinstance(node, Time) or any(child in timed for child in node.children)):
            continue
        timed.add(node)
        for difference, whole in _differences(node, system):
            points = _merged(points, _crossings(system.of_time([difference]), points, whole), tstop)
            if len(points) > MOST:
                raise NetcError(
                    f"the sources of this deck have more than {MOST:,} edges in {tstop:g} s",
                    hint="simulate a shorter time with --tstop",
                )
    return points


def _differences(node: Expr, system: System) -> Iterator[tuple[Expr, bool]]:
    """Yield what crosses 0, or (with true) any whole number, where ``node`` bends or jumps."""
    if isinstance(node, Binary) and node.op in ("min", "max", *FLAT_BINARY) and node.op not in _LOGIC:
        yield build.sub(node.a, node.b), False
    elif isinstance(node, Unary) and node.op in ("abs", "sign"):
        yield node.x, False
    elif isinstance(node, Unary) and node.op in _ROUNDING:
        yield build.add(node.x, 0.5) if node.op == "round" else node.x, True
    elif isinstance(node, Interpolate):
        (xs,) = system.of_time([node.xs])(np.zeros((1, 1)))
        for column in np.unique(xs.reshape(-1, xs.shape[-1]), axis=0).T:
            for value in np.unique(column):
                yield build.sub(node.x, float(value)), False


def _crossings(evaluate: Evaluator, points: Array, whole: bool) -> Array:
    found = [np.zeros(0)]
    chunk = max(1, _SAMPLES // (len(_WITHIN) * max(1, _lanes(evaluate))))
    for start in range(0, len(points) - 1, chunk):
        part = points[start : start + chunk + 1]
        samples = part[:-1, None] + np.diff(part)[:, None] * _WITHIN
        values = _at(evaluate, samples.ravel()).reshape(*samples.shape, -1)
        low, high = values[:, :-1], values[:, 1:]
        with np.errstate(invalid="ignore"):
            if whole:
                crossed = np.floor(low) != np.floor(high)
            else:
                crossed = (low * high < 0) | ((low == 0) != (high == 0))
        segment, sample, lane = np.nonzero(crossed & np.isfinite(low) & np.isfinite(high))
        for k in range(0, len(segment), _SAMPLES):
            chosen = segment[k : k + _SAMPLES], sample[k : k + _SAMPLES], lane[k : k + _SAMPLES]
            found.append(_halved(evaluate, samples, low, high, chosen, whole))
    return np.concatenate(found)


def _lanes(evaluate: Evaluator) -> int:
    return int(evaluate(np.zeros((1, 1)))[0].shape[-1])


def _at(evaluate: Evaluator, times: Array) -> Array:
    (value,) = evaluate(times[:, None])
    return np.broadcast_to(value, (len(times), value.shape[-1]))


def _halved(evaluate: Evaluator, samples: Array, low: Array, high: Array, chosen: Any, whole: bool) -> Array:
    segment, sample, lane = chosen
    a, b = samples[segment, sample], samples[segment, sample + 1]
    at_a, at_b = low[segment, sample, lane], high[segment, sample, lane]
    target = np.zeros(len(a))
    if whole:
        first, last = np.minimum(np.floor(at_a), np.floor(at_b)) + 1, np.maximum(np.floor(at_a), np.floor(at_b))
        count = (last - first + 1).astype(np.int64)
        if count.sum() > MOST:
            raise NetcError("the sources of this deck have too many edges", hint="simulate a shorter time with --tstop")
        a, b, at_a, lane = (np.repeat(x, count) for x in (a, b, at_a, lane))
        target = np.repeat(first, count) + np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    below = at_a < target if whole else at_a
    times, group = np.unique(np.stack([a, b, target, lane]), axis=1, return_inverse=True)
    a, b, target, lane = times[0], times[1], times[2], times[3].astype(np.int64)
    first_of = np.zeros(len(a), dtype=np.int64)
    first_of[group] = np.arange(len(group))
    side = below[first_of]
    step = max(1, _SAMPLES // max(1, _lanes(evaluate)))
    for start in range(0, len(a), step):
        here = slice(start, start + step)
        for _ in range(_HALVINGS):
            middle = 0.5 * (a[here] + b[here])
            value = _at(evaluate, middle)[np.arange(len(middle)), lane[here]]
            left = (value < target[here]) == side[here] if whole else np.sign(value) == np.sign(side[here])
            a[here], b[here] = np.where(left, middle, a[here]), np.where(left, b[here], middle)
    return np.asarray(b)


def _merged(points: Array, more: Array, tstop: float) -> Array:
    more = np.unique(more[(more > 0) & (more < tstop)])
    if not len(more):
        return points
    joined = np.sort(np.concatenate([points, more]))
    # what differs by rounding is one edge
    gap = np.diff(joined) > 1e-13 * tstop + 8 * np.spacing(joined[1:])
    kept = np.concatenate([[True], gap])
    kept[-1] = True
    joined = joined[kept]
    if len(joined) > 1 and joined[-1] - joined[-2] <= 1e-13 * tstop:
        joined = np.delete(joined, -2) if len(joined) > 2 else joined
    return joined
