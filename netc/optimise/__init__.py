"""Rewrites a differential-algebraic system into the program that is emitted.

One pass a file, each ``run(program) -> program`` and each keeping the meaning
(:func:`netc.ir.interpret.simulate`) to rounding; the list below is the order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

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

PASSES: tuple[tuple[str, Callable[[Program], Program]], ...] = (
    ("solve_algebraic", solve_algebraic.run),
    ("uniform_parameters", uniform_parameters.run),
    ("sigmoids", sigmoids.run),
    ("simplify", simplify.run),
    ("matrices", matrices.run),
    ("compose_linear", compose_linear.run),
    ("simplify", simplify.run),
    ("separate_inputs", separate_inputs.run),
    ("simplify", simplify.run),
    ("dead", dead.run),
)


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
    known = {name for name, _ in PASSES}
    unknown = (set(passes or ()) | set(disable)) - known
    if unknown:
        raise ValueError(f"there is no pass {min(unknown)!r}; there are {', '.join(sorted(known))}")
    wanted = (known if passes is None else set(passes)) - set(disable)
    verify(program)
    for name, run in PASSES:
        if name in wanted:
            program = uniform_parameters.run(program, keep=keep_lanes) if name == "uniform_parameters" else run(program)
            verify(program)
    return program
