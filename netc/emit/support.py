"""Functions that emitted modules carry with them: the emitter copies the ones a circuit needs, as they stand here.

Only :mod:`torch` and the standard library, so that an emitted file needs neither netc nor numpy.
"""

# mypy: disable-error-code="no-untyped-call,no-any-return"
# (torch leaves some functions without annotations; the rest of the file is copied into decks' modules as it is)
from __future__ import annotations

import base64
import csv
import difflib
import functools
import json
import sys
import types
import warnings
import zlib
from collections.abc import Sequence
from typing import Any

import torch

Tensors = tuple[torch.Tensor, ...]


def unpacked(given: str) -> bytes:
    """Undo base64 and zlib."""
    return zlib.decompress(base64.b64decode(given))


def floats(given: str | Sequence[float]) -> torch.Tensor:
    """Return float64 numbers; text is packed little-endian doubles."""
    if isinstance(given, str):
        return torch.frombuffer(bytearray(unpacked(given)), dtype=torch.float64)
    return torch.tensor(given, dtype=torch.float64)


def integers(given: str) -> torch.Tensor:
    """Return lane numbers; text is packed little-endian 64-bit integers."""
    return torch.frombuffer(bytearray(unpacked(given)), dtype=torch.int64)


def words(given: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return names; text is a packed JSON list."""
    return given if isinstance(given, tuple) else tuple(json.loads(unpacked(given)))


def to_position(value: torch.Tensor, minimum: float, maximum: float, reciprocal: bool) -> torch.Tensor:
    """Where a value stands between its bounds, 0 to 1; linear in 1 / value (from 1 / maximum up) if reciprocal."""
    if reciprocal:
        return (1.0 / value - 1.0 / maximum) / (1.0 / minimum - 1.0 / maximum)
    return (value - minimum) / (maximum - minimum)


def from_position(position: torch.Tensor, minimum: float, maximum: float, reciprocal: bool) -> torch.Tensor:
    """The value at a position between its bounds, in float64; the inverse of to_position."""
    position = position.to(torch.float64)
    if reciprocal:
        return 1.0 / (1.0 / maximum + (1.0 / minimum - 1.0 / maximum) * position)
    return minimum + (maximum - minimum) * position


def exp(x: torch.Tensor) -> torch.Tensor:
    """e**x, held at a finite value before it overflows, so that gradients stay finite."""
    return torch.exp(x.clamp(max=700.0 if x.dtype == torch.float64 else 80.0))


def concat(*parts: torch.Tensor) -> torch.Tensor:
    """Lanes one after the other; leading axes (time, batch) broadcast."""
    leading = torch.broadcast_shapes(*(p.shape[:-1] for p in parts))
    return torch.cat([p.expand(*leading, p.shape[-1]) for p in parts], -1)


def columns(*parts: torch.Tensor) -> torch.Tensor:
    """A matrix (..., lanes, columns) from its columns, which broadcast."""
    return torch.stack(torch.broadcast_tensors(*parts), -1)


def spread(x: torch.Tensor, lanes: int) -> torch.Tensor:
    """The same value in every lane: (..., 1) seen as (..., lanes) without a copy."""
    return x.expand(*x.shape[:-1], lanes)


def scatter_add(x: torch.Tensor, index: torch.Tensor, lanes: int) -> torch.Tensor:
    """Add lane k of x (..., k) into lane index[k] of (..., lanes)."""
    x = x.expand(*x.shape[:-1], index.numel())
    return x.new_zeros(*x.shape[:-1], lanes).index_add(-1, index, x)


def assemble(x: torch.Tensor, index: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """A matrix (..., rows, columns), zero but for x[..., k] added at flat place index[k]."""
    x = x.expand(*x.shape[:-1], index.numel())
    flat = x.new_zeros(*x.shape[:-1], rows * columns).index_add(-1, index, x)
    return flat.unflatten(-1, (rows, columns))


def interpolate(x: torch.Tensor, xs: torch.Tensor, ys: torch.Tensor) -> torch.Tensor:
    """Piecewise linear through (xs, ys), each (lanes, points), held at the ends; x is (..., lanes) or (..., 1)."""
    lanes, points = torch.broadcast_shapes(xs.shape, ys.shape, (x.shape[-1], 1))
    xs, ys = xs.expand(lanes, points).contiguous(), ys.expand(lanes, points)
    if points == 1:
        return ys[:, 0] + 0.0 * x
    at = x.expand(*x.shape[:-1], lanes).reshape(-1, lanes).T.to(xs.dtype).contiguous()
    right = torch.searchsorted(xs.detach(), at.detach(), right=True).clamp(1, points - 1)
    x0, x1 = xs.gather(1, right - 1), xs.gather(1, right)
    y0, y1 = ys.gather(1, right - 1), ys.gather(1, right)
    step = x1 > x0
    part = torch.where(step, (at - x0) / torch.where(step, x1 - x0, 1.0), (at >= x1).to(at.dtype)).clamp(0.0, 1.0)
    return (y0 + part * (y1 - y0)).T.reshape(*x.shape[:-1], lanes)


def vector_matrix(x: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """x (..., n) times a matrix (..., n, m) of its own for every sample or time: (..., m)."""
    return (x.unsqueeze(-2) @ matrix).squeeze(-2)


def solve(matrix: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """y with matrix @ y = b; leading axes (time, batch) broadcast."""
    leading = torch.broadcast_shapes(matrix.shape[:-2], b.shape[:-1])
    b = b.expand(*leading, b.shape[-1])
    return torch.linalg.solve_ex(matrix.expand(*leading, *matrix.shape[-2:]), b.unsqueeze(-1))[0].squeeze(-1)


def newton(step: Any, guess: torch.Tensor, systems: int, *operands: torch.Tensor) -> torch.Tensor:
    """z with step(z, z, ...) = 0 by damped Newton from guess, then from 0, NaN where neither finds it; no gradient.

    step(z, point, ...) is -J(point)**-1 g(z), in float64.  A step is halved until the correction that the same
    Jacobian wants at its end is smaller (P. Deuflhard's natural monotonicity test).  Lane k belongs to system
    k % systems, and every system of every sample goes its own way.
    """

    def largest(x: torch.Tensor) -> torch.Tensor:
        sizes = x.abs().unflatten(-1, (-1, systems)).amax(-2)
        return torch.where(sizes.isfinite(), sizes, torch.inf)

    def spread(x: torch.Tensor) -> torch.Tensor:
        return x.repeat(*(1,) * (x.ndim - 1), z.shape[-1] // systems)

    with torch.no_grad():
        given = [x.to(torch.float64) if x.is_floating_point() else x for x in operands]
        z = guess.to(torch.float64)
        move = step(z, z, *given)
        z = z.expand(move.shape)
        active = torch.ones_like(largest(z), dtype=torch.bool)
        for start in (z, torch.zeros_like(z)):
            z, open_here = torch.where(spread(active), start, z), active
            for _ in range(200):
                move = step(z, z, *given)
                wanted = largest(move)
                open_here = open_here & wanted.isfinite()
                part, longest = torch.ones_like(wanted), torch.zeros_like(wanted)
                for _ in range(40):
                    trial = z + spread(part) * move
                    more = step(trial, z, *given)
                    error = largest(more)
                    longest = torch.where((longest == 0) & error.isfinite(), part, longest)
                    tight = 1e-9 * largest(trial) + 1e-12
                    found = (error <= tight) | (torch.maximum(error, wanted) <= 1e3 * tight)
                    halve = open_here & ~found & (error > (1 - part / 4) * wanted)
                    if not halve.any():
                        break
                    part = torch.where(halve, part / 2, part)
                jump = z + spread(torch.where(halve, longest, part)) * move
                z = torch.where(spread(open_here), torch.where(spread(found), trial + more, jump), z)
                active, open_here = active & ~(open_here & found), open_here & ~found & (longest > 0)
                if not open_here.any():
                    break
            if not active.any():
                break
        return torch.where(spread(active), torch.nan, z).to(guess.dtype)


def check_steps(steps: Any, dt: Any, first_step: Any) -> tuple[int, float, int]:
    """Return the three as int, float and int; ValueError where they make no simulation."""
    if isinstance(steps, bool) or int(steps) != steps or steps < 1:
        raise ValueError(f"steps must be a whole number of at least 1, not {steps!r}")
    if not 0.0 < float(dt) < float("inf"):
        raise ValueError(f"dt must be a positive number of seconds, not {dt!r}")
    if int(first_step) != first_step or first_step < 0:
        raise ValueError(f"first_step must be a whole number of at least 0, not {first_step!r}")
    return int(steps), float(dt), int(first_step)


def check_inputs(inputs: Any, shape: Sequence[int | None], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return inputs of the given shape (None: any size); None means amplitudes of 1, the deck's own sources."""
    if inputs is None:
        if len(shape) == 3:
            raise ValueError(f"this circuit is driven by whole waveforms: inputs (steps, batch, {shape[-1]})")
        return torch.ones(1, int(shape[-1] or 0), dtype=dtype, device=device)
    given = torch.as_tensor(inputs, dtype=dtype, device=device)
    if given.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, given.shape, strict=True)):
        names = ("steps", "batch", "features")[-len(shape) :]
        asked = ", ".join(name if n is None else f"{name} = {n}" for name, n in zip(names, shape, strict=True))
        raise ValueError(f"inputs have shape {tuple(given.shape)} where ({asked}) is needed")
    return given


def find_places(
    families: Sequence[Sequence[str]], nodes: Sequence[str], observe: Sequence[str] | None
) -> dict[int, list[tuple[int, int]]]:
    """Return for every family that is asked for its [(lane, column of the result), ...]."""
    if isinstance(observe, str):
        raise ValueError(f"observe must be a list of names, not the text {observe!r}")
    places = {name: (f, lane) for f, names in enumerate(families) for lane, name in enumerate(names)}
    wanted: dict[int, list[tuple[int, int]]] = {}
    for column, name in enumerate(nodes if observe is None else observe):
        if name not in places:
            close = difflib.get_close_matches(str(name), nodes, 3)
            raise ValueError(f"no node {name!r}" + (f"; close: {', '.join(close)}" if close else ""))
        family, lane = places[name]
        wanted.setdefault(family, []).append((lane, column))
    return wanted


def collect(
    found: dict[int, torch.Tensor],
    wanted: dict[int, list[tuple[int, int]]],
    families: Sequence[Sequence[str]],
    steps: int,
    batch: int,
) -> torch.Tensor:
    """Put the lanes asked for side by side: (steps + 1, batch, columns), in the order they were asked for."""
    parts: list[torch.Tensor] = []
    order: list[int] = []
    for family, places in wanted.items():
        size = len(families[family])
        part = found[family].expand(steps + 1, batch, size)
        lanes = [lane for lane, _ in places]
        if lanes != list(range(size)):
            part = part.index_select(-1, torch.tensor(lanes, device=part.device))
        parts.append(part)
        order += [column for _, column in places]
    if not parts:
        return torch.zeros(steps + 1, batch, 0)
    result = torch.cat(parts, -1) if len(parts) > 1 else parts[0].contiguous()
    if order != sorted(order):
        inverse = sorted(range(len(order)), key=order.__getitem__)
        result = result.index_select(-1, torch.tensor(inverse, device=result.device))
    return result


def stretches(circuit: Any, advance: Any, steps: int, state: Tensors) -> tuple[Tensors, list[Any]]:
    """Run ``advance(first, last, state)`` through all steps, ``circuit.stretch`` at a time; join what it returns.

    Where ``circuit.recompute`` says so, the backward pass keeps the states between stretches only and runs each
    stretch again (Chen et al. 2016, arXiv 1604.06174).
    """
    from torch.utils.checkpoint import checkpoint

    again = circuit.recompute and torch.is_grad_enabled()
    parts = []
    for first in range(0, steps, circuit.stretch):
        last = min(first + circuit.stretch, steps)
        if again:
            state, rows = checkpoint(advance, first, last, state, use_reentrant=False, preserve_rng_state=False)
        else:
            state, rows = advance(first, last, state)
        parts.append(rows)
    columns = zip(*parts, strict=True)  # each stretch begins with the row the last one ended with
    return state, [None if c[0] is None else torch.cat((c[0], *(rows[1:] for rows in c[1:]))) for c in columns]


def march(
    step: Any, block: int, dt: float, count: int, state: Tensors, keep: Sequence[bool], held: Tensors, rows: Tensors
) -> tuple[Tensors, list[Any]]:
    """Take ``count`` steps; return the state and, for what is in ``keep``, its history (count + 1, ...), else None.

    ``step(dt, state, held, now)`` returns the next state, where ``now`` are the rows of its number.  With a
    ``block`` so many steps at a time are one compiled graph.
    """
    whole = count - count % block if block else 0
    parts: list[list[torch.Tensor]] = [[x.unsqueeze(0)] for x in state]
    if whole:
        state, histories = run_blocks(step, block, dt, whole, state, keep, held, rows)
        parts = [[h] for h in histories]
    after: list[list[torch.Tensor]] = [[] for _ in state]
    for _, *now in zip(range(whole, count), *(r[whole:].unbind() for r in rows)):
        state = step(dt, state, held, now)
        for kept, rows_after, x in zip(keep, after, state, strict=True):
            if kept:
                rows_after.append(x)
    joined: list[Any] = []
    for kept, part, more in zip(keep, parts, after, strict=True):
        if not kept:
            joined.append(None)
        elif whole == count:
            joined.append(part[0])
        else:
            joined.append(torch.cat((*part, torch.stack(more))))
    return state, joined


def run_blocks(
    step: Any, size: int, dt: float, count: int, state: Tensors, keep: Sequence[bool], held: Tensors, rows: Tensors
) -> tuple[Tensors, list[Any]]:
    """What :func:`march` does, for a whole number of blocks of ``size`` steps."""
    state = tuple(x.contiguous() for x in state)
    held, rows = tuple(x.contiguous() for x in held), tuple(x.contiguous() for x in rows)
    plan = (step, size, dt, tuple(keep)), count, (len(state), len(held), len(rows))
    if torch.is_grad_enabled() and any(x.requires_grad for x in (*state, *held, *rows)):
        found = Blocks.apply(plan, *state, *held, *rows)
    else:
        found = blocks_ahead(plan, (state, held, rows), None)
    histories = iter(found[len(state) :])
    return tuple(found[: len(state)]), [next(histories) if k else None for k in keep]


def blocks_ahead(plan: Any, tensors: Any, starts: list[torch.Tensor] | None) -> tuple[torch.Tensor, ...]:
    """Run all blocks; ``starts`` gets what the backward pass needs besides histories: other states at each start."""
    (step, size, dt, keep), count, _ = plan
    state, held, rows = (tuple(x.detach() for x in part) for part in tensors)
    ahead = block_ahead(step, size, dt, keep)
    histories = [torch.empty(count + 1, *x.shape, dtype=x.dtype, device=x.device) for x, k in zip(state, keep) if k]
    for history, x in zip(histories, (x for x, k in zip(state, keep) if k)):
        history[0] = x
    with torch.no_grad():
        for first in range(0, count, size):
            if starts is not None:
                starts += [x for x, k in zip(state, keep) if not k]
            now = tuple(r[first : first + size] for r in rows)
            state = ahead(state, held, now, tuple(h[first + 1 : first + 1 + size] for h in histories))
    return (*state, *histories)


class Blocks(torch.autograd.Function):
    """All blocks as one operation; the backward pass runs each block again from the state at its start."""

    @staticmethod
    def forward(ctx: Any, plan: Any, *tensors: torch.Tensor) -> Any:
        """Return the states at the end and the histories of those that are kept."""
        states, helds, _ = plan[2]
        starts: list[torch.Tensor] = []
        parts = tensors[:states], tensors[states : states + helds], tensors[states + helds :]
        found = blocks_ahead(plan, parts, starts)
        ctx.plan = plan
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors[states:], *found[states:], *starts)
        return found

    @staticmethod
    def backward(ctx: Any, *seeds: Any) -> Any:
        """Pull the gradients back block by block, last one first."""
        (step, size, dt, keep), count, (states, helds, rowss) = ctx.plan
        saved = tuple(x.detach() for x in ctx.saved_tensors)
        held, rows, rest = saved[:helds], saved[helds : helds + rowss], saved[helds + rowss :]
        histories, starts = rest[: sum(keep)], rest[sum(keep) :]
        others = len(keep) - sum(keep)

        def begin(first: int) -> Tensors:
            kept, other = (h[first] for h in histories), iter(starts[first // size * others :])
            return tuple(next(kept) if k else next(other) for k in keep)

        needs = ctx.needs_input_grad[1 + states :]
        needs = needs[:helds], needs[helds:]
        end, along = seeds[:states], tuple(None if s is None else s.contiguous() for s in seeds[states:])
        back = block_back(step, size, dt, keep, tuple(s is not None for s in along), needs)
        state = tuple(torch.zeros_like(x) if s is None else s.contiguous() for s, x in zip(end, begin(0)))
        totals = tuple(torch.zeros_like(x) for x, n in zip(held, needs[0]) if n)
        found = tuple(torch.zeros_like(x) for x, n in zip(rows, needs[1]) if n)
        with torch.no_grad():
            for first in range(count - size, -1, -size):
                seed = tuple(s[first + 1 : first + 1 + size] for s in along if s is not None)
                now, outs = (tuple(r[first : first + size] for r in part) for part in (rows, found))
                state, totals = back(begin(first), held, now, state, seed, totals, outs)
        given = iter(along)
        first_rows = [next(given) if k else None for k in keep]
        state = tuple(x if r is None else x + r[0] for x, r in zip(state, first_rows))
        total, row = iter(totals), iter(found)
        return (
            None,
            *state,
            *(next(total) if n else None for n in needs[0]),
            *(next(row) if n else None for n in needs[1]),
        )


@functools.lru_cache(maxsize=64)
def block_ahead(step: Any, size: int, dt: float, keep: tuple[bool, ...]) -> Any:
    """Return a function, to be compiled, that takes ``size`` steps and writes the kept states to ``outs``."""

    def ahead(state: Tensors, held: Tensors, rows: Tensors, outs: Tensors) -> Tensors:
        for n in range(size):
            state = step(dt, state, held, tuple(r[n] for r in rows))
            for out, x in zip(outs, [x for x, k in zip(state, keep) if k]):
                out[n].copy_(x)
        return tuple(state)

    return Compiled(ahead)


@functools.lru_cache(maxsize=64)
def block_back(step: Any, size: int, dt: float, keep: tuple[bool, ...], given: tuple[bool, ...], needs: Any) -> Any:
    """Return a function, to be compiled, that takes the steps again and pulls gradients back through them.

    ``given`` says which histories have gradients, ``needs`` which of the held and of the rows want theirs: added to
    ``totals``, and written to ``outs``.
    """

    def back(
        state: Tensors, held: Tensors, rows: Tensors, end: Tensors, along: Tensors, totals: Tensors, outs: Tensors
    ) -> Any:
        def run(state: Tensors, some_held: Tensors, some_rows: Tensors) -> Any:
            changed_held, changed_rows = iter(some_held), iter(some_rows)
            now_held = tuple(next(changed_held) if n else x for n, x in zip(needs[0], held))
            now_rows = tuple(next(changed_rows) if n else x for n, x in zip(needs[1], rows))
            kept: list[list[torch.Tensor]] = [[] for _ in given]
            for n in range(size):
                state = step(dt, state, now_held, tuple(r[n] for r in now_rows))
                for history, x in zip(kept, [x for x, k in zip(state, keep) if k]):
                    history.append(x)
            return tuple(state), tuple(torch.stack(h) for h, g in zip(kept, given) if g)

        some_held = tuple(x for n, x in zip(needs[0], held) if n)
        some_rows = tuple(x for n, x in zip(needs[1], rows) if n)
        _, pull = torch.func.vjp(run, state, some_held, some_rows)
        states, helds, rowss = pull((end, along))
        for out, x in zip(outs, rowss):
            out.copy_(x)
        return states, tuple(t + x for t, x in zip(totals, helds))

    return Compiled(back)


class Compiled:
    """A function under torch.compile from its first call on; as it is, after a warning, where that fails."""

    def __init__(self, plain: Any) -> None:
        """Give ``plain`` code of its own: torch limits how often it compiles the same."""
        self.plain = types.FunctionType(
            plain.__code__.replace(), plain.__globals__, plain.__name__, None, plain.__closure__
        )
        self.fast: Any = None
        self.failed = False

    def __call__(self, state: Tensors, *given: Any) -> Any:
        """Return what the function returns."""
        if not self.failed:
            try:
                if self.fast is None:
                    # on a CPU: take the vector unit it has without trying out each, in this process
                    options = {"cpp.vec_isa_ok": True, "compile_threads": 1} if state[0].device.type == "cpu" else {}
                    self.fast = torch.compile(self.plain, fullgraph=True, dynamic=False, options=options)
                return self.fast(state, *given)
            except Exception as error:  # torch and compilers fail in many ways
                self.failed = True
                reason = (str(error).strip().splitlines() or [""])[0]
                warnings.warn(f"torch.compile failed, running without: {type(error).__name__}: {reason}", stacklevel=2)
        return self.plain(state, *given)


def main(circuit: Any, tstep: float, tstop: float, arguments: Sequence[str]) -> None:
    """Run the deck's own transient; print a table, or write a CSV file when its name is given."""
    steps = max(1, round(tstop / tstep))
    with torch.no_grad():
        rows = circuit(steps, tstep)[0][:, 0].tolist()
    if arguments:
        with open(arguments[0], "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["time", *circuit.NODES])
            writer.writerows([n * tstep, *row] for n, row in enumerate(rows))
        print(f"wrote {steps + 1} rows to {arguments[0]}", file=sys.stderr)
        return
    print(f"{steps} steps of {tstep:g} s")
    print(f"{'node':24s} {'final':>14s} {'minimum':>14s} {'maximum':>14s}")
    for name, column in zip(circuit.NODES, zip(*rows, strict=True), strict=True):
        shown = "".join(c if c.isprintable() else "?" for c in name)
        print(f"{shown:24s} {column[-1]:14.6g} {min(column):14.6g} {max(column):14.6g}")
