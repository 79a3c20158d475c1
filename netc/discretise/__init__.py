"""Ways to take a time step: each rewrites the differential-algebraic system into one that steps by it.

One strategy a file, registered below by one line.  The result has the form of any other system (see
:class:`~netc.discretise.strategy.Integrator`), so the passes, the interpreter, PyTorch and kernels need not know.
"""

from __future__ import annotations

from netc.diagnostics import NetcError
from netc.discretise.backward_euler import BACKWARD_EULER
from netc.discretise.bdf2 import BDF2
from netc.discretise.euler import EULER
from netc.discretise.exponential import EXPONENTIAL
from netc.discretise.heun import HEUN
from netc.discretise.rk4 import RK4
from netc.discretise.strategy import Integrator
from netc.discretise.trapezoidal import TRAPEZOIDAL
from netc.ir.program import Program

INTEGRATORS: dict[str, Integrator] = {
    strategy.name: strategy
    for strategy in (
        EULER,
        HEUN,
        RK4,
        EXPONENTIAL,
        BACKWARD_EULER,
        TRAPEZOIDAL,
        BDF2,
    )
}
"""All strategies by name."""

DEFAULT = EULER.name


def discretise(dae: Program, name: str) -> Program:
    """Return ``dae`` rewritten to step by the integrator ``name``; explicit Euler is ``dae`` itself.

    Raises:
        NetcError: for a name that is no integrator.
    """
    strategy = INTEGRATORS.get(name)
    if strategy is None:
        raise NetcError(f"there is no integrator {name!r}", hint=f"one of {', '.join(INTEGRATORS)}")
    return strategy.run(dae)


__all__ = ["DEFAULT", "INTEGRATORS", "Integrator", "discretise"]
