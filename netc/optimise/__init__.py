"""Rewrites a differential-algebraic system into the program that is emitted.

One pass a file, each ``run(program) -> program`` and each keeping the meaning
(:func:`netc.ir.interpret.simulate`) to rounding; the list below is the order.  That equal expressions are computed
once is no pass: they are one object from the start (:mod:`netc.ir.nodes`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from netc.ir.program import Program
from netc.ir.verify import verify
from netc.optimise import (
    compose_linear,
    dead,
    matrices,
    separate_inputs,
    sigmoids,
    simplify,
    solve_algebraic,
    uniform_parameters,
)


class Pass(NamedTuple):
    """A pass: its name, what it does, and whether a program can do without."""

    name: str
    run: Callable[[Program], Program]
    description: str
    optional: bool = True


_SIMPLIFY = Pass("simplify", simplify.run, "fold constants, hoist divisions, group what does not change with time")

PASSES: tuple[Pass, ...] = (
    Pass("solve_algebraic", solve_algebraic.run, "solve algebraic equations; nothing runs without", optional=False),
    Pass("uniform_parameters", uniform_parameters.run, "a parameter that is the same for all lanes becomes one lane"),
    Pass("sigmoids", sigmoids.run, "logistic functions written out become sigmoid, which does not overflow"),
    _SIMPLIFY,
    Pass("matrices", matrices.run, "banks of conductances between two families of nets become dense matrices"),
    Pass("compose_linear", compose_linear.run, "chains of linear operators become one matrix, once a parameter set"),
    _SIMPLIFY,
    Pass(
        "separate_inputs",
        separate_inputs.run,
        "a waveform common to all inputs, and with it the product, leaves the loop",
    ),
    _SIMPLIFY,
    Pass("dead", dead.run, "parameter blocks that nothing reads are dropped"),
)
OPTIONAL: dict[str, str] = {p.name: p.description for p in PASSES if p.optional}
"""Passes that can be left out, and what they do."""


def optimise(
    program: Program,
    *,
    passes: Collection[str] | None = None,
    disable: Collection[str] = (),
    keep_lanes: Collection[str] = (),
) -> Program:
    """Return ``program`` after the passes.

    Args:
        program: as lowered.
        passes: names of the passes to run, in the order of :data:`PASSES`; all when ``None``.
        disable: names of passes not to run.
        keep_lanes: parameter blocks whose lanes stay apart even where they are all equal.

    Raises:
        NetcError: for algebraic equations that cannot be solved.
        ValueError: for a pass that does not exist, or a program that breaks an invariant.
    """
    known = {p.name for p in PASSES}
    unknown = (set(passes or ()) | set(disable)) - known
    if unknown:
        raise ValueError(f"there is no pass {min(unknown)!r}; there are {', '.join(sorted(known))}")
    wanted = (known if passes is None else set(passes)) - set(disable)
    verify(program)
    for name, run, *_ in PASSES:
        if name in wanted:
            program = uniform_parameters.run(program, keep=keep_lanes) if name == "uniform_parameters" else run(program)
            verify(program)
    return program
