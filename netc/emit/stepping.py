"""Functions that emitted modules carry with them to run through time, as those of :mod:`netc.emit.support`."""

# mypy: disable-error-code="no-untyped-call,no-any-return"
# (torch leaves some functions without annotations; the rest of the file is copied into decks' modules as it is)
from __future__ import annotations

import functools
import types
import warnings
from collections.abc import Sequence
from typing import Any

import torch

Tensors = tuple[torch.Tensor, ...]


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
    joined: list[Any] = []
    for part in zip(*parts, strict=True):  # each stretch begins with the row the one before ended with
        joined.append(None if part[0] is None else torch.cat((part[0], *(rows[1:] for rows in part[1:]))))
    return state, joined


def march(
    step: Any, block: int, dt: float, count: int, state: Tensors, keep: Sequence[bool], held: Tensors, rows: Tensors
) -> tuple[Tensors, list[Any]]:
    """Take ``count`` steps; return the state and, for what is in ``keep``, its history (count + 1, ...), else None.

    ``step(dt, state, held, now)`` returns the next state, where ``now`` are the rows of its number.  With a
    ``block`` so many steps at a time are one compiled graph.
    """
    kept = tuple(k for k, wanted in enumerate(keep) if wanted)
    whole = count - count % block if block else 0
    parts = [[state[k].unsqueeze(0)] for k in kept]
    if whole:
        state, histories = run_blocks(step, block, dt, whole, state, kept, held, rows)
        parts = [[history] for history in histories]
    if whole < count:
        held = tuple(x.view_as(x) for x in held)  # so that their gradients are added up a stretch at a time
        after: list[list[torch.Tensor]] = [[] for _ in kept]
        for _, *now in zip(range(whole, count), *(r[whole:].unbind() for r in rows), strict=False):
            state = step(dt, state, held, now)
            for part, k in zip(after, kept, strict=True):
                part.append(state[k])
        parts = [[*part, torch.stack(more)] for part, more in zip(parts, after, strict=True)]
    joined = iter([part[0] if len(part) == 1 else torch.cat(part) for part in parts])
    return state, [next(joined) if wanted else None for wanted in keep]


def run_blocks(
    step: Any, size: int, dt: float, count: int, state: Tensors, kept: Sequence[int], held: Tensors, rows: Tensors
) -> tuple[Tensors, Tensors]:
    """Take a whole number of blocks of ``size`` steps; return the state and the histories of the states ``kept``."""
    tensors = tuple(x.contiguous() for x in (*state, *held, *rows))  # each way to lie in memory compiles anew
    plan = (step, size, dt, kept), count, (len(state), len(state) + len(held))
    if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
        found = Blocks.apply(plan, *tensors)
    else:
        found = blocks_ahead(plan, tensors, None)
    return found[: len(state)], found[len(state) :]


def blocks_ahead(plan: Any, tensors: Tensors, starts: list[torch.Tensor] | None) -> Tensors:
    """Run all blocks; return states and histories.  ``starts`` gets the states before each block that are not kept."""
    (step, size, dt, kept), count, (states, helds) = plan
    tensors = tuple(x.detach() for x in tensors)
    state, held, rows = tensors[:states], tensors[states:helds], tensors[helds:]
    ahead = block_ahead(step, size, dt, kept)
    histories = tuple(state[k].new_empty((count + 1, *state[k].shape)) for k in kept)
    for history, k in zip(histories, kept, strict=True):
        history[0] = state[k]
    with torch.no_grad():
        for first in range(0, count, size):
            if starts is not None:
                starts += [x for k, x in enumerate(state) if k not in kept]
            now = tuple(r[first : first + size] for r in rows)
            state = ahead(state, held, now, tuple(h[first + 1 : first + 1 + size] for h in histories))
    return (*state, *histories)


class Blocks(torch.autograd.Function):
    """All blocks as one operation; the backward pass runs each block again from the state at its start."""

    @staticmethod
    def forward(ctx: Any, plan: Any, *tensors: torch.Tensor) -> Any:
        """Return the states at the end and the histories of those that are kept."""
        starts: list[torch.Tensor] = []
        found = blocks_ahead(plan, tensors, starts)
        states = plan[2][0]
        ctx.plan = plan
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors[states:], *found[states:], *starts)
        return found

    @staticmethod
    def backward(ctx: Any, *seeds: Any) -> Any:
        """Pull the gradients back block by block, the last one first."""
        (step, size, dt, kept), count, (states, helds) = ctx.plan
        wanted = ctx.needs_input_grad[1:]
        end = len(wanted) - states
        saved = tuple(x.detach() for x in ctx.saved_tensors)
        held, rows = saved[: helds - states], saved[helds - states : end]
        histories, starts = saved[end : end + len(kept)], saved[end + len(kept) :]

        def state_before(first: int) -> Tensors:
            others = iter(starts[first // size * (states - len(kept)) :])
            return tuple(histories[kept.index(k)][first] if k in kept else next(others) for k in range(states))

        of_held = tuple(k for k in range(len(held)) if wanted[states + k])
        of_rows = tuple(k for k in range(len(rows)) if wanted[helds + k])
        along = {k: seed.contiguous() for k, seed in zip(kept, seeds[states:], strict=True) if seed is not None}
        back = block_back(step, size, dt, tuple(along), of_held, of_rows)
        pairs = zip(seeds[:states], state_before(0), strict=True)
        state = tuple(torch.zeros_like(x) if seed is None else seed.contiguous() for seed, x in pairs)
        totals = tuple(torch.zeros_like(held[k]) for k in of_held)
        found = tuple(torch.zeros_like(rows[k]) for k in of_rows)
        with torch.no_grad():
            for first in range(count - size, -1, -size):
                now, outs = (tuple(r[first : first + size] for r in part) for part in (rows, found))
                seed = tuple(s[first + 1 : first + 1 + size] for s in along.values())
                state, totals = back(state_before(first), held, now, state, seed, totals, outs)
        result: list[Any] = [None] * len(wanted)
        for k in range(states):
            result[k] = state[k] + along[k][0] if k in along else state[k]
        for k, total in zip(of_held, totals, strict=True):
            result[states + k] = total
        for k, row in zip(of_rows, found, strict=True):
            result[helds + k] = row
        return None, *result


@functools.lru_cache(maxsize=64)
def block_ahead(step: Any, size: int, dt: float, kept: tuple[int, ...]) -> Any:
    """Return a function, to be compiled, that takes ``size`` steps and writes the states ``kept`` to ``outs``."""

    def ahead(state: Tensors, held: Tensors, rows: Tensors, outs: Tensors) -> Tensors:
        for n in range(size):
            state = step(dt, state, held, tuple(r[n] for r in rows))
            for out, k in zip(outs, kept, strict=True):
                out[n].copy_(state[k])
        return state

    return Compiled(ahead)


@functools.lru_cache(maxsize=64)
def block_back(
    step: Any, size: int, dt: float, seeded: tuple[int, ...], of_held: tuple[int, ...], of_rows: tuple[int, ...]
) -> Any:
    """Return a function, to be compiled, that takes ``size`` steps again and pulls gradients back through them.

    ``end`` are those of the states after the block, ``along`` those of the histories of the states ``seeded``.  The
    gradients of some of ``held`` are added to ``totals``, those of some ``rows`` are written to ``outs``.
    """

    def back(
        state: Tensors, held: Tensors, rows: Tensors, end: Tensors, along: Tensors, totals: Tensors, outs: Tensors
    ) -> Any:
        def run(state: Tensors, some_held: Tensors, some_rows: Tensors) -> Any:
            all_held, all_rows = list(held), list(rows)
            for k, x in zip(of_held, some_held, strict=True):
                all_held[k] = x
            for k, x in zip(of_rows, some_rows, strict=True):
                all_rows[k] = x
            histories: list[list[torch.Tensor]] = [[] for _ in seeded]
            for n in range(size):
                state = step(dt, state, tuple(all_held), tuple(r[n] for r in all_rows))
                for history, k in zip(histories, seeded, strict=True):
                    history.append(state[k])
            return state, tuple(torch.stack(h) for h in histories)

        vjp: Any = torch.func.vjp  # its annotation forgets what it returns
        _, pull = vjp(run, state, tuple(held[k] for k in of_held), tuple(rows[k] for k in of_rows))
        states, helds, rowss = pull((end, along))
        for out, x in zip(outs, rowss, strict=True):
            out.copy_(x)
        return states, tuple(t + x for t, x in zip(totals, helds, strict=True))

    return Compiled(back)


class Compiled:
    """A function under torch.compile from its first call on; as it is, after a warning, where that fails."""

    def __init__(self, plain: Any) -> None:
        """Give ``plain`` code of its own: torch limits how often it compiles the same."""
        code, closure = plain.__code__.replace(), plain.__closure__
        self.plain = types.FunctionType(code, plain.__globals__, plain.__name__, None, closure)
        self.fast: Any = None
        self.failed = False

    def __call__(self, state: Tensors, *given: Any) -> Any:
        """Return what the function returns."""
        if not self.failed:
            try:
                if self.fast is None:
                    # on a CPU: take the vector unit it has without trying out each, in this process
                    on_cpu = state[0].device.type == "cpu"
                    options: Any = (
                        {"cpp.vec_isa_ok": True, "compile_threads": 1, "size_asserts": False} if on_cpu else {}
                    )
                    self.fast = torch.compile(self.plain, fullgraph=True, dynamic=False, options=options)
                return self.fast(state, *given)
            except Exception as error:  # torch and compilers fail in many ways
                self.failed = True
                reason = (str(error).strip().splitlines() or [""])[0]
                warnings.warn(f"torch.compile failed, running without: {type(error).__name__}: {reason}", stacklevel=2)
        return self.plain(state, *given)
