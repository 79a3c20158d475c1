"""One training step of one circuit, done in every way there is, measured in one run."""

from netc.bench.circuits import CIRCUITS, LAYERED, make_task
from netc.bench.measure import Figures, Run, run
from netc.bench.problem import Problem, Task, make_problem
from netc.bench.registry import VARIANTS, Unavailable

__all__ = [
    "CIRCUITS",
    "LAYERED",
    "VARIANTS",
    "Figures",
    "Problem",
    "Run",
    "Task",
    "Unavailable",
    "make_problem",
    "make_task",
    "run",
]
