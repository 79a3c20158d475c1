"""ngspice, forward only, one sample: the whole deck with its own amplitudes."""

from __future__ import annotations

from netc.bench.problem import Task
from netc.bench.registry import Outcome, Step, Unavailable
from netc.diagnostics import NetcError
from netc.ir.program import Timing
from netc.ngspice import find_ngspice, ngspice_text, run


def build(task: Task) -> Step:
    """Return a run of ngspice in a process of its own, its step at most ``dt``."""
    if not find_ngspice().engines:
        raise Unavailable("ngspice is not installed")
    compilation = task.compilation()
    names = compilation.program.outputs
    timing = Timing(task.dt, task.dt * task.steps, tmax=task.dt, uic=True)
    text = ngspice_text(compilation.deck, timing, nodes=names)

    def step() -> Outcome:
        try:
            run(text, nodes=names, timeout=600)
        except NetcError as error:
            raise Unavailable(f"ngspice failed: {error}") from error
        return Outcome(None, samples=1)

    return step
