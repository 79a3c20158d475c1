"""What the stages right of the front end hand to each other: a differential-algebraic system, then a Program."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from netc.diagnostics import Span
from netc.ir.nodes import Expr


class Coordinate(Enum):
    """In which coordinate a trained value is linear: resistances are learnt as conductances."""

    LINEAR = "linear"
    RECIPROCAL = "reciprocal"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Physical bounds of a trained value, in the unit of the netlist value."""

    minimum: float
    maximum: float
    coordinate: Coordinate


@dataclass(frozen=True, slots=True)
class Spread:
    """How a value differs from what the netlist says, from device to device or from use to use.

    Attributes:
        share: standard deviation, relative to the value.
        amount: standard deviation in the unit of the value, added to that.
        law: ``normal``, ``lognormal`` or ``uniform``.
        cycle: drawn anew for every use of the device; else once for a device.
        reciprocal: whether it is 1 / value, the conductance of a resistor, that has the distribution.
    """

    share: float
    amount: float = 0.0
    law: str = "normal"
    cycle: bool = False
    reciprocal: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ParameterBlock:
    """Lanes of values that may be differentiated.

    ``role`` is one of ``R C L gain source model initial`` (what check-grad reports by); ``lanes`` are names
    such as ``xn1.r1`` or, for a parameter shared by all, its own name.  ``values`` are float64, SI units.
    ``spreads`` are those that the deck declares of each lane.
    """

    name: str
    role: str
    unit: str
    values: np.ndarray
    lanes: tuple[str, ...]
    spans: tuple[Span, ...]
    trained: Bounds | None = None
    spreads: tuple[Spread, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class InputBlock:
    """What data drive, ``size`` features in order: ``mode`` is ``amplitude`` or ``waveform``."""

    name: str
    mode: str
    lanes: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of features."""
        return len(self.lanes)


@dataclass(frozen=True, slots=True, eq=False)
class StateBlock:
    """States of one form: ``d state / dt = derivative``, ``state(0) = initial``.

    ``lanes`` are what a user calls them: the node of a grounded capacitor, else the element name.  ``carried`` ones
    are no states of the circuit: a value of the last step, from which the search for the next one starts.
    """

    name: str
    unit: str
    lanes: tuple[str, ...]
    initial: Expr
    derivative: Expr
    spans: tuple[Span, ...]
    carried: bool = False

    @property
    def size(self) -> int:
        """Number of lanes."""
        return len(self.lanes)


@dataclass(frozen=True, slots=True, eq=False)
class AlgebraicBlock:
    """Unknowns of one or more families that must be solved together.

    ``unknowns[i]`` (an :class:`~netc.ir.nodes.Unknown`) has the residual ``residuals[i] = 0``.  Where
    ``explicit`` is set there is one unknown and it equals that expression, which does not contain it.
    Blocks come in dependency order: an earlier block never needs a later one.  ``guesses``, where there are any, say
    from where the search for each of the unknowns starts; else it is the value of the last step.
    """

    unknowns: tuple[Expr, ...]
    residuals: tuple[Expr, ...]
    explicit: Expr | None
    lanes: tuple[tuple[str, ...], ...]
    spans: tuple[tuple[Span, ...], ...]
    guesses: tuple[Expr, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Observable:
    """Named signals computed from states and time: node voltages and, on request, branch currents."""

    name: str
    unit: str
    lanes: tuple[str, ...]
    value: Expr


@dataclass(frozen=True, slots=True)
class Penalty:
    """A term of the loss beside that of the outputs: what an observable comes to over a sample, times a weight.

    The term is the mean over samples and over steps 0 to the last but one of ``weight * observable``, summed over
    lanes: an integral by explicit Euler.  ``weight`` names an amplitude input with as many lanes as the observable, so
    that its gradient is what the observable comes to.
    """

    weight: str
    observable: str


@dataclass(frozen=True, slots=True)
class Timing:
    """The deck's ``.tran`` in seconds; ``None`` where it has none."""

    tstep: float
    tstop: float
    tstart: float = 0.0
    tmax: float | None = None
    uic: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A whole circuit: ``x' = f(x, z, u, p)``, and, while ``algebraic`` is not empty, ``0 = g(x, z, u, p)``.

    ``observables`` cover every node; ``selected`` are the signals ``.save``/``.print`` name (all when empty);
    ``outputs`` the signals the loss reads, in class order.
    """

    title: str
    parameters: tuple[ParameterBlock, ...]
    inputs: tuple[InputBlock, ...]
    states: tuple[StateBlock, ...]
    algebraic: tuple[AlgebraicBlock, ...]
    observables: tuple[Observable, ...]
    outputs: tuple[str, ...]
    selected: tuple[str, ...]
    timing: Timing | None
    uic: bool = False
    notes: tuple[str, ...] = field(default=())
    penalties: tuple[Penalty, ...] = ()

    @property
    def dynamic(self) -> tuple[StateBlock, ...]:
        """The states of the circuit, without those that are only carried from step to step."""
        return tuple(block for block in self.states if not block.carried)
