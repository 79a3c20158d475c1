"""S and W: switches controlled by a voltage or by the current of an element.

ngspice jumps between RON and ROFF: on above VT + VH, off below VT - VH, and between the two as before.  netc gives the
resistance R = ROFF (RON / ROFF)^x, which a gradient can pass through.  Without hysteresis x goes from 0 to 1 along
3 u^2 - 2 u^3 within a thousandth of VT on both sides of VT; call that s(v - VT, VT / 1000).

In LTspice a negative VH asks for such a transition, between VT - |VH| and VT + |VH|.

With hysteresis a switch has to go all the way once it has begun, even where its own resistance takes the control back
between the thresholds (a relaxation oscillator).  Two states follow each other with the time constant tau, 1e-4 of a
step of ``.tran``: y, which moves to 1 above VT + VH, to 0 below VT - VH and between them to whichever it is nearer to,
and z, which moves to y; x = s(z - 1/2, 1/4).  When y passes 1/2, z has done 15 % of its way and x has not begun.
"""

from __future__ import annotations

from netc.elaborate.devices.device import Assembly, Device, Form
from netc.ir.build import ONE, ZERO, add, binary, div, mul, select, sub, unary
from netc.ir.nodes import Const, Expr

_WIDTH = 1e-3  # of the transition of a switch without hysteresis, relative to the threshold
_SCALE = {"S": 1.0, "W": 1e-3}  # V, A: of a threshold at 0
_SHORTEST = 1e-9  # s, where there is no .tran
_ROWS = 1000  # steps of a run at least
_DELAY = 0.0001  # time constant of a switch with hysteresis, as a share of a step
_LATCH = 0.1  # half the range around 1/2 in which such a switch has not decided yet
_REST = 0.25  # half of what the second state moves while the resistance does


def _expand(assembly: Assembly) -> None:
    model = assembly.model
    threshold, hysteresis = model["t"], model["h"]
    started_on = "on" in assembly.prepared.flags
    if assembly.prepared.control is not None:  # ngspice looks at the current first where there is none yet
        upper, lower = add(threshold, hysteresis), sub(threshold, hysteresis)
        started_on = assembly.number(upper) < 0 or (started_on and assembly.number(lower) <= 0)
    smooth = assembly.context.dialect == "ltspice" and assembly.number(hysteresis) < 0
    if assembly.number(hysteresis) < 0 and not smooth:
        assembly.context.error(
            f"the hysteresis of model {assembly.prepared.model.name!r} is below 0, which is not supported",
            assembly.prepared.model.span,
            "ngspice then switches on at the lower and off at the upper threshold; use a positive one, or a B source",
        )
        assembly.good = False
        return
    for name in ("ron", "roff"):
        if not assembly.number(model[name]) > 0:
            assembly.context.error(f"{name}= of a switch must be above 0 ohms", assembly.prepared.model.span)
            assembly.good = False
            return
    width = _WIDTH * max(abs(assembly.number(threshold)), _SCALE[assembly.prepared.card.kind])
    form = Form()
    if smooth:
        width = -assembly.number(hysteresis)
    if smooth or assembly.number(hysteresis) == 0:
        share = _smooth(sub(_control(assembly, form), form.value(threshold)), width)
    else:
        follower = form.current(_memory(assembly, threshold, hysteresis, started_on))
        share = _smooth(sub(add(1.0, follower) if started_on else follower, 0.5), _REST)
    first, second = assembly.nodes[:2]
    on, off = unary("log", form.value(model["ron"])), unary("log", form.value(model["roff"]))
    conductance = unary("exp", sub(mul(share, sub(off, on)), off))
    name = assembly.add("r", "I", (first, second), mul(form.voltage(first, second), conductance), form)
    assembly.terminal(name)


def _control(assembly: Assembly, form: Form) -> Expr:
    if assembly.prepared.control is not None:
        return form.current(assembly.prepared.control)
    return form.voltage(assembly.nodes[2], assembly.nodes[3])


def _smooth(distance: Expr, width: float) -> Expr:
    u = binary("min", binary("max", add(0.5, div(distance, 2.0 * width)), 0.0), 1.0)
    return mul(mul(u, u), sub(3.0, mul(2.0, u)))


def _memory(assembly: Assembly, threshold: Expr, hysteresis: Expr, started_on: bool) -> str:
    """Add the states y and z of a switch with hysteresis and name z; less by 1 if on at first, so as to start at 0."""
    constant = _DELAY * _step(assembly)
    on, off = (ZERO, Const(-1.0)) if started_on else (ONE, ZERO)
    form = Form()
    decided = form.current(f"{assembly.name}#on")
    control = _control(assembly, form)
    middle, half = form.value(threshold), form.value(hysteresis)
    nearer = add(off, _smooth(sub(decided, add(off, 0.5)), _LATCH))
    above, below = binary("gt", control, add(middle, half)), binary("lt", control, sub(middle, half))
    target = select(above, on, select(below, off, nearer))
    assembly.signal("on", "S", mul(sub(target, decided), 1.0 / constant), form)
    form = Form()
    decided, follower = form.current(f"{assembly.name}#on"), form.current(f"{assembly.name}#follower")
    return assembly.signal("follower", "S", mul(sub(decided, follower), 1.0 / constant), form)


def _step(assembly: Assembly) -> float:
    timing = assembly.context.timing
    if timing is None:
        return _SHORTEST
    return min(timing.tmax or timing.tstep, timing.tstop / _ROWS)


_CARD = frozenset({"m"})

VOLTAGE_CONTROLLED = Device(
    what="voltage-controlled switch",
    nodes=(4, 4),
    types={"sw": 1.0},
    model={"t": 0.0, "h": 0.0, "ron": 1.0, "roff": 1e12},
    on_card=_CARD,
    expand=_expand,
    aliases={"vt": "t", "vh": "h"},
)
"""A switch: ``S1 a b control+ control- model [on|off]``."""

CURRENT_CONTROLLED = Device(
    what="current-controlled switch",
    nodes=(2, 2),
    types={"csw": 1.0},
    model={"t": 0.0, "h": 0.0, "ron": 1.0, "roff": 1e12},
    on_card=_CARD,
    expand=_expand,
    aliases={"it": "t", "ih": "h"},
    sensed=True,
)
"""A switch: ``W1 a b element model [on|off]``."""
