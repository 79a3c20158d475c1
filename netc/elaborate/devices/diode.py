"""D: the junction diode of SPICE (level 1).

    a --RS-- a' --|>|-- k      i = IS (exp(v / (N VT)) - 1) + gmin v,    C = C_depletion(v) + TT di/dv

Below -3 N VT the current goes to -IS as -IS (1 + (3 N VT / (e v))^3); below the breakdown voltage it is
-IS exp(-(BV + v) / (NBV VT)), NBV being N unless given, BV moved so that the current at -BV is IBV.  Recombination adds
ISR (exp(v / (NR VT)) - 1) ((1 - v / VJ)^2 + 0.005)^(M / 2) above -3 N VT.  With IKF the current is divided by
1 + sqrt(i / IKF).

In LTspice a model with RON, ROFF, VFWD, VREV or RREV is another diode: its slope is 1 / ROFF below VFWD, 1 / RON above
and 1 / RREV below -VREV, changing within EPSILON above VFWD (REVEPSILON below -VREV); the current ends at ILIMIT
(REVILIMIT) as tanh.  So has it ngspice's LTspice mode, but for a jump at VFWD + EPSILON where there is no ILIMIT.
"""

from __future__ import annotations

import math

from netc.elaborate.devices.device import Assembly, Device, Form
from netc.elaborate.devices.junction import (
    capacitance_at,
    charging,
    depletion,
    exponential,
    forward_or_reverse,
    gmin,
    largest_exponent,
    potential_at,
    power,
    saturation_at,
    thermal_voltage,
)
from netc.ir.build import ONE, ZERO, add, binary, div, mul, neg, select, sub, unary
from netc.ir.derivative import tangent
from netc.ir.nodes import Const, Expr

_ITERATIONS = 25
_REGIONS = frozenset({"ron", "roff", "vfwd", "vrev", "rrev"})
_HIGH = 1e-18  # A: where ngspice begins to look at the knee


def _expand(assembly: Assembly) -> None:
    if assembly.ideal.keys() & _REGIONS:
        _expand_ideal(assembly)
        return
    model, area = assembly.model, assembly.area
    kelvin, nominal = assembly.temperatures
    anode, cathode = assembly.nodes
    inner = anode
    series = div(model["rs"], area)
    if assembly.number(series) > 0:
        inner = assembly.inner("internal", anode)
        assembly.terminal(assembly.resistor("rs", (anode, inner), series))
    junction = (inner, cathode)
    voltage_scale = thermal_voltage(kelvin)
    saturation = mul(saturation_at(model["is"], kelvin, nominal, model["eg"], model["xti"], model["n"]), area)

    def current(form: Form) -> Expr:
        v = form.voltage(*junction)
        saturated = form.value(saturation)
        largest = largest_exponent(assembly, form, saturation)
        result = mul(saturated, forward_or_reverse(v, form.value(mul(model["n"], voltage_scale)), largest))
        if assembly.has("isr"):
            above = binary("ge", v, form.value(mul(-3.0, mul(model["n"], voltage_scale))))
            result = add(result, select(above, _recombination(assembly, form, v), ZERO))
        if assembly.has("bv"):
            edge = form.value(_breakdown(assembly, saturation, voltage_scale))
            scale = form.value(mul(model.get("nbv", model["n"]), voltage_scale))
            beyond = neg(mul(saturated, exponential(neg(div(add(edge, v), scale)), largest)))
            result = select(binary("ge", v, neg(edge)), result, beyond)
        if assembly.has("ikf"):
            knee = form.value(mul(model["ikf"], area))
            high = binary("gt", result, _HIGH)
            safe = select(high, result, ONE)
            result = select(high, div(result, add(1.0, unary("sqrt", div(safe, knee)))), result)
        return result

    emission = mul(model["n"], voltage_scale)
    breakdown = _breakdown(assembly, saturation, voltage_scale) if assembly.has("bv") else math.inf
    beyond = mul(model.get("nbv", model["n"]), voltage_scale)
    assembly.limit(junction, emission, assembly.critical(emission, saturation), beyond, breakdown)
    form = Form()
    direct = current(form)
    direct = add(direct, mul(gmin(assembly, form), form.voltage(*junction)))
    branches = [assembly.add("dc", "I", junction, direct, form)]

    stored = mul(capacitance_at(model["cjo"], model["vj"], model["m"], kelvin, nominal), area)
    transit = model["tt"]
    if assembly.number(stored) > 0 or assembly.number(transit) > 0:
        form = Form()
        own = form.voltage(*junction)
        capacitance: Expr = Const(0.0)
        if assembly.number(stored) > 0:
            potential = form.value(potential_at(model["vj"], kelvin, nominal))
            capacitance = depletion(
                own, form.value(stored), potential, form.value(model["m"]), form.value(model["fc"], "")
            )
        if assembly.number(transit) > 0:
            slope = tangent(current(form), {own: ONE})
            capacitance = add(capacitance, mul(form.value(transit), slope))
        branches.append(charging(assembly, form, "c", junction, capacitance))
    if inner == anode:
        for name in branches:
            assembly.terminal(name)


def _expand_ideal(assembly: Assembly) -> None:
    """Add LTspice's diode of straight lines, joined by parabolas where epsilon= or revepsilon= is given."""
    given, nodes = assembly.ideal, (assembly.nodes[0], assembly.nodes[1])
    if assembly.number(given.get("ron", ONE)) <= 0 or assembly.number(given.get("roff", ONE)) <= 0:
        assembly.context.error("ron= and roff= of a diode must be above 0 ohms", assembly.prepared.model.span)
        assembly.good = False
        return
    form = Form()
    v = form.voltage(*nodes)
    on = given.get("ron", ONE)
    off = form.value(div(1.0, given["roff"])) if "roff" in given else gmin(assembly, form)
    current = mul(off, v)
    sides = [(v, given.get("vfwd", ZERO), on, given.get("epsilon", ZERO), given.get("ilimit"), ONE)]
    if "vrev" in given:
        back = given.get("rrev", on)
        sides.append((neg(v), given["vrev"], back, given.get("revepsilon", ZERO), given.get("revilimit"), Const(-1.0)))
    for across, threshold, resistance, width, limit, sign in sides:
        conducting, edge = form.value(div(1.0, resistance)), form.value(threshold)
        steeper, beyond = sub(conducting, off), binary("max", sub(across, edge), 0.0)
        parabola: Expr = ZERO
        half: Expr = ZERO
        straight = beyond
        if assembly.number(width) > 0:
            span = form.value(width)
            bent = binary("min", beyond, span)
            parabola, straight = mul(steeper, div(mul(bent, bent), mul(2.0, span))), sub(beyond, bent)
            edge, half = add(edge, span), mul(steeper, div(span, 2.0))
        more = mul(steeper, straight)
        if limit is not None:
            most = form.value(limit)
            left = sub(most, add(mul(off, edge), half))
            more = sub(mul(left, unary("tanh", div(mul(conducting, straight), most))), mul(off, straight))
        current = add(current, mul(sign, add(parabola, more)))
    name = assembly.add("dc", "I", nodes, current, form)
    assembly.terminal(name)


def _recombination(assembly: Assembly, form: Form, v: Expr) -> Expr:
    """Return the current of recombination in the depletion layer, as ngspice has it."""
    model = assembly.model
    kelvin, nominal = assembly.temperatures
    saturation = mul(
        saturation_at(model["isr"], kelvin, nominal, model["eg"], model["xti"], model["nr"]), assembly.area
    )
    ratio = div(v, form.value(mul(model["nr"], thermal_voltage(kelvin))))
    carried = sub(exponential(ratio, largest_exponent(assembly, form, saturation)), 1.0)
    left = sub(1.0, div(v, form.value(potential_at(model["vj"], kelvin, nominal))))
    layer = power(add(mul(left, left), 0.005), form.value(div(model["m"], 2.0), ""))
    return mul(mul(form.value(saturation), carried), layer)


def _breakdown(assembly: Assembly, saturation: Expr, voltage_scale: Expr) -> Expr:
    """Return the voltage at which the exponential of the breakdown has its -IS, as ngspice moves BV.

    The fixed point of x = BV - NBV VT log(1 + IBV / IS - x / VT), from x = BV - NBV VT log(1 + IBV / IS).
    """
    model = assembly.model
    given, at = model["bv"], model["ibv"]  # the same for every area, as in ngspice
    scale = mul(model.get("nbv", model["n"]), voltage_scale)
    least = div(mul(saturation, given), voltage_scale)
    if assembly.number(at) < assembly.number(least):
        return given
    ratio = div(at, saturation)
    result = sub(given, mul(scale, unary("log", add(1.0, ratio))))
    for _ in range(_ITERATIONS):
        inside = sub(add(ratio, 1.0), div(result, voltage_scale))
        if not assembly.number(inside) > 0:
            break
        before = assembly.number(result)
        result = sub(given, mul(scale, unary("log", inside)))
        if math.isclose(assembly.number(result), before, rel_tol=1e-12):
            break
    return result


_NO_EFFECT = "kf af iave vpk irms diss mfg type vp lm lp wm wp xom xoi xm xp bv_max fv_max id_max te_max pd_max rth0"

DEVICE = Device(
    what="diode",
    nodes=(2, 2),
    types={"d": 1.0},
    model={
        "is": 1e-14,
        "rs": 0.0,
        "n": 1.0,
        "tt": 0.0,
        "cjo": 0.0,
        "vj": 1.0,
        "m": 0.5,
        "eg": 1.11,
        "xti": 3.0,
        "fc": 0.5,
        "bv": None,
        "ibv": 1e-3,
        "nbv": None,
        "ikf": None,
        "isr": None,
        "nr": 1.0,
        "tnom": None,
    },
    on_card=frozenset({"area", "ic", "temp", "dtemp", "m", "pj"}),
    expand=_expand,
    aliases={
        "js": "is",
        "cj0": "cjo",
        "cj": "cjo",
        "pb": "vj",
        "mj": "m",
        "vb": "bv",
        "ib": "ibv",
        "nz": "nbv",
        "ik": "ikf",
        "pt": "xti",
        "tref": "tnom",
    },
    ideal=_REGIONS | frozenset({"epsilon", "revepsilon", "ilimit", "revilimit"}),
    unsupported=frozenset(
        {"ikr", "tcv"}
        | {
            "jsw",
            "cjsw",
            "cjp",
            "php",
            "mjsw",
            "ns",
            "trs",
            "trs1",
            "trs2",
            "tlev",
            "tlevc",
            "cta",
            "ctp",
            "tm1",
            "tm2",
        }
        | {"jtun", "jtunsw", "vtrans", "ttt1", "ttt2"}
    ),
    harmless=frozenset(_NO_EFFECT.split()),
    area=True,
)
"""A diode: ``D1 anode cathode model [area]``."""
