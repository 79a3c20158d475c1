"""One training step of one network, done in every way there is, measured in one run."""

from netc.bench.measure import Figures, Run, run
from netc.bench.problem import Problem, make_problem
from netc.bench.registry import VARIANTS, Unavailable

__all__ = ["VARIANTS", "Figures", "Problem", "Run", "Unavailable", "make_problem", "run"]
