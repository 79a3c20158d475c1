"""Q: the bipolar transistor (H. K. Gummel and H. C. Poon, Bell Syst. Tech. J. 49, 827, 1970), as SPICE has it.

With i_f = IS (exp(v_be / (NF VT)) - 1), i_r = IS (exp(v_bc / (NR VT)) - 1), leakage currents i_e (ISE, NE) and
i_c (ISC, NC), and the normalised base charge q_b:

    q_1 = 1 / (1 - v_bc / VAF - v_be / VAR),    q_2 = i_f / IKF + i_r / IKR,    q_b = q_1 (1 + sqrt(1 + 4 q_2)) / 2
    i_C = (i_f - i_r) / q_b - i_r / BR - i_c,   i_B = i_f / BF + i_e + i_r / BR + i_c

The base resistance falls from RB to RBM with q_b (or, with IRB, with the current); junctions store depletion charge and
TF i_f (1 + X) / q_b, TR i_r, X = XTF (i_f / (i_f + ITF))^2 exp(v_bc / (1.44 VTF)).
"""

from __future__ import annotations

from netc.elaborate.devices.device import Assembly, Device, Form
from netc.elaborate.devices.junction import (
    capacitance_at,
    depletion,
    exponential,
    forward_or_reverse,
    gmin,
    largest_exponent,
    potential_at,
    thermal_voltage,
)
from netc.ir.build import ONE, ZERO, add, binary, div, mul, neg, select, sub, unary
from netc.ir.derivative import tangent
from netc.ir.nodes import Expr

_VTF_FACTOR = 1.44


class _Transistor:
    """One transistor: its inner nodes and its parameters at its temperature."""

    def __init__(self, assembly: Assembly) -> None:
        self.assembly, self.model, self.area, self.sign = assembly, assembly.model, assembly.area, assembly.sign
        self.kelvin, self.nominal = assembly.temperatures
        collector, base, emitter, *rest = assembly.nodes
        self.outer_base = base
        self.substrate = rest[0] if rest else "0"
        self.collector = self._behind("collector", collector, "rc")
        self.emitter = self._behind("emitter", emitter, "re")
        self.base = base if not assembly.number(self.model["rb"]) > 0 else assembly.inner("base", base)

    def _behind(self, label: str, node: str, name: str) -> str:
        resistance = div(self.model[name], self.area)
        if not self.assembly.number(resistance) > 0:
            return node
        inner = self.assembly.inner(label, node)
        self.assembly.resistor(name, (node, inner), resistance)
        return inner

    def be(self, form: Form) -> Expr:
        """Return the voltage from base to emitter, with the polarity of an npn transistor."""
        return mul(self.sign, form.voltage(self.base, self.emitter))

    def bc(self, form: Form) -> Expr:
        """Return the voltage from base to collector, with the polarity of an npn transistor."""
        return mul(self.sign, form.voltage(self.base, self.collector))

    def scaled(self, name: str) -> Expr:
        """Return a current of the model for this area."""
        return mul(self.model[name], self.area)

    @property
    def _energy(self) -> Expr:
        ratio = div(self.kelvin, self.nominal)
        heat = div(mul(sub(ratio, 1.0), self.model["eg"]), thermal_voltage(self.kelvin))
        return add(heat, mul(self.model["xti"], unary("log", ratio)))

    def transport(self) -> Expr:
        """Return IS at the transistor's temperature."""
        saturation = self.scaled("is")
        return saturation if self.kelvin is self.nominal else mul(saturation, unary("exp", self._energy))

    def gain(self, name: str) -> Expr:
        """Return BF or BR at the transistor's temperature."""
        beta = self.model[name]
        if self.kelvin is self.nominal:
            return beta
        return mul(beta, binary("pow", div(self.kelvin, self.nominal), self.model["xtb"]))

    def leakage(self, name: str, emission: str) -> Expr:
        """Return ISE or ISC at the transistor's temperature."""
        current = self.scaled(name)
        if self.kelvin is self.nominal:
            return current
        ratio = binary("pow", div(self.kelvin, self.nominal), neg(self.model["xtb"]))
        return mul(current, mul(ratio, unary("exp", div(self._energy, self.model[emission]))))

    def forward(self, form: Form) -> Expr:
        """Return i_f."""
        return self._ideal(form, self.be(form), "nf", self.transport())

    def reverse(self, form: Form) -> Expr:
        """Return i_r."""
        # ngspice 39 multiplies by the area twice here: once for the transistor, once for its base
        return self._ideal(form, self.bc(form), "nr", mul(self.transport(), self.area))

    def _ideal(self, form: Form, v: Expr, emission: str, current: Expr) -> Expr:
        scale = form.value(mul(self.model[emission], thermal_voltage(self.kelvin)))
        largest = largest_exponent(self.assembly, form, current)
        saturated = mul(form.value(current), forward_or_reverse(v, scale, largest))
        return add(saturated, mul(gmin(self.assembly, form), v))

    def leaked(self, form: Form, v: Expr, name: str, emission: str) -> Expr:
        """Return i_e or i_c."""
        if not self.assembly.number(self.model[name]) > 0:
            return ZERO
        scale = form.value(mul(self.model[emission], thermal_voltage(self.kelvin)))
        current = self.leakage(name, emission)
        largest = largest_exponent(self.assembly, form, current)
        return mul(form.value(current), forward_or_reverse(v, scale, largest))

    def charge(self, form: Form, forward: Expr, reverse: Expr) -> Expr:
        """Return q_b."""
        early: Expr = ONE
        if self._finite("vaf"):
            early = sub(early, div(self.bc(form), form.value(self.model["vaf"])))
        if self._finite("var"):
            early = sub(early, div(self.be(form), form.value(self.model["var"])))
        high: Expr = ZERO
        if self._finite("ikf"):
            high = add(high, div(forward, form.value(self.scaled("ikf"))))
        if self._finite("ikr"):
            high = add(high, div(reverse, form.value(self.scaled("ikr"))))
        if high is ZERO:
            return div(1.0, early)
        inside = binary("max", add(1.0, mul(4.0, high)), 0.0)
        above = binary("gt", inside, 0.0)
        root = select(above, unary("sqrt", select(above, inside, ONE)), ZERO)
        return div(mul(0.5, add(1.0, root)), early)

    def _finite(self, name: str) -> bool:
        return self.assembly.has(name) and self.assembly.number(self.model[name]) != 0


def _direct(t: _Transistor) -> None:
    form = Form()
    forward, reverse = t.forward(form), t.reverse(form)
    transported = div(sub(forward, reverse), t.charge(form, forward, reverse))
    t.assembly.add("ce", "I", (t.collector, t.emitter), mul(t.sign, transported), form)

    form = Form()
    ideal = div(t.forward(form), form.value(t.gain("bf")))
    current = add(ideal, t.leaked(form, t.be(form), "ise", "ne"))
    t.assembly.add("be", "I", (t.base, t.emitter), mul(t.sign, current), form)

    form = Form()
    ideal = div(t.reverse(form), form.value(t.gain("br")))
    current = add(ideal, t.leaked(form, t.bc(form), "isc", "nc"))
    t.assembly.add("bc", "I", (t.base, t.collector), mul(t.sign, current), form)


def _base_resistance(t: _Transistor) -> None:
    if t.base == t.outer_base:
        return
    model, assembly = t.model, t.assembly
    whole = div(model["rb"], t.area)
    least = div(model["rbm"], t.area) if assembly.has("rbm") else whole
    if not assembly.has("rbm"):
        assembly.resistor("rb", (t.outer_base, t.base), whole)
        return
    form = Form()
    forward, reverse = t.forward(form), t.reverse(form)
    low = form.value(least)
    resistance = add(low, div(sub(form.value(whole), low), t.charge(form, forward, reverse)))
    across = form.voltage(t.outer_base, t.base)
    assembly.add("rb", "I", (t.outer_base, t.base), div(across, resistance), form)


def _layer(t: _Transistor, form: Form, v: Expr, stored: Expr, potential: str, grading: str) -> Expr:
    """Return the capacitance of a depletion layer of this transistor."""
    model = t.model
    if not t.assembly.number(stored) > 0:
        return ZERO
    moved = capacitance_at(stored, model[potential], model[grading], t.kelvin, t.nominal)
    at = form.value(potential_at(model[potential], t.kelvin, t.nominal))
    return depletion(v, form.value(moved), at, form.value(model[grading]), form.value(model["fc"], ""))


def _diffused(t: _Transistor, form: Form) -> Expr:
    """Return the charge TF i_f (1 + X) / q_b, coulombs."""
    model, assembly = t.model, t.assembly
    forward, reverse = t.forward(form), t.reverse(form)
    excess: Expr = ZERO
    if assembly.number(model["xtf"]) > 0:
        excess = form.value(model["xtf"])
        if assembly.has("vtf") and assembly.number(model["vtf"]) != 0:
            excess = mul(excess, exponential(div(t.bc(form), mul(_VTF_FACTOR, form.value(model["vtf"])))))
        if assembly.number(model["itf"]) > 0:
            share = div(forward, add(forward, form.value(t.scaled("itf"))))
            excess = mul(excess, mul(share, share))
        excess = select(binary("gt", t.be(form), 0.0), excess, ZERO)
    charge = t.charge(form, forward, reverse)
    return div(mul(mul(form.value(model["tf"]), forward), add(1.0, excess)), charge)


def _stored(t: _Transistor) -> None:
    model, assembly = t.model, t.assembly
    form = Form()
    capacitance = _layer(t, form, t.be(form), t.scaled("cje"), "vje", "mje")
    own, other = form.voltage(t.base, t.emitter), form.voltage(t.base, t.collector)
    if assembly.number(model["tf"]) > 0:
        diffused = _diffused(t, form)
        slope = tangent(diffused, {own: ONE})
        capacitance = add(capacitance, mul(t.sign, slope))
        across = tangent(diffused, {other: ONE})
        if across is not ZERO:
            _transcapacitance(t)
    if capacitance is not ZERO:
        assembly.add("cbe", "C", (t.base, t.emitter), capacitance, form)

    shared = model["xcjc"]
    form = Form()
    capacitance = _layer(t, form, t.bc(form), mul(t.scaled("cjc"), shared), "vjc", "mjc")
    if assembly.number(model["tr"]) > 0:
        own = form.voltage(t.base, t.collector)
        slope = tangent(t.reverse(form), {own: ONE})
        capacitance = add(capacitance, mul(t.sign, mul(form.value(model["tr"]), slope)))
    if capacitance is not ZERO:
        assembly.add("cbc", "C", (t.base, t.collector), capacitance, form)

    form = Form()
    outside = mul(t.sign, form.voltage(t.outer_base, t.collector))
    capacitance = _layer(t, form, outside, mul(t.scaled("cjc"), sub(1.0, shared)), "vjc", "mjc")
    if capacitance is not ZERO:
        assembly.add("cbx", "C", (t.outer_base, t.collector), capacitance, form)

    form = Form()
    below = mul(t.sign, form.voltage(t.substrate, t.collector))
    if assembly.number(model["cjs"]) > 0:
        stored = form.value(t.scaled("cjs"))
        ratio = sub(1.0, div(binary("min", below, 0.0), form.value(model["vjs"])))
        reverse = mul(stored, binary("pow", ratio, neg(form.value(model["mjs"]))))
        rising = mul(stored, add(1.0, mul(form.value(model["mjs"]), div(below, form.value(model["vjs"])))))
        layer = select(binary("lt", below, 0.0), reverse, rising)
        assembly.add("csub", "C", (t.substrate, t.collector), layer, form)


def _transcapacitance(t: _Transistor) -> None:
    """The part of the base's charging current that the voltage of the collector causes."""
    form = Form()
    rate = t.assembly.signal("dbc", "D", form.voltage(t.base, t.collector), form)
    form = Form()
    slope = tangent(_diffused(t, form), {form.voltage(t.base, t.collector): ONE})
    t.assembly.add("cx", "I", (t.base, t.emitter), mul(slope, mul(t.sign, form.current(rate))), form)


def _expand(assembly: Assembly) -> None:
    t = _Transistor(assembly)
    scale = thermal_voltage(t.kelvin)
    assembly.limit((t.collector, t.base, t.emitter), t.sign, scale, assembly.critical(scale, t.transport()))
    _direct(t)
    _base_resistance(t)
    _stored(t)


DEVICE = Device(
    what="bipolar transistor",
    nodes=(3, 4),
    types={"npn": 1.0, "pnp": -1.0},
    model={
        "is": 1e-16,
        "bf": 100.0,
        "nf": 1.0,
        "vaf": None,
        "ikf": None,
        "ise": 0.0,
        "ne": 1.5,
        "br": 1.0,
        "nr": 1.0,
        "var": None,
        "ikr": None,
        "isc": 0.0,
        "nc": 2.0,
        "rb": 0.0,
        "rbm": None,
        "re": 0.0,
        "rc": 0.0,
        "cje": 0.0,
        "vje": 0.75,
        "mje": 0.33,
        "tf": 0.0,
        "xtf": 0.0,
        "vtf": None,
        "itf": 0.0,
        "cjc": 0.0,
        "vjc": 0.75,
        "mjc": 0.33,
        "xcjc": 1.0,
        "tr": 0.0,
        "cjs": 0.0,
        "vjs": 0.75,
        "mjs": 0.0,
        "xtb": 0.0,
        "eg": 1.11,
        "xti": 3.0,
        "fc": 0.5,
        "tnom": None,
    },
    on_card=frozenset({"area", "m", "ic", "temp", "dtemp"}),
    expand=_expand,
    aliases={
        "va": "vaf",
        "ik": "ikf",
        "vb": "var",
        "pe": "vje",
        "me": "mje",
        "pc": "vjc",
        "mc": "mjc",
        "ps": "vjs",
        "psub": "vjs",
        "ms": "mjs",
        "ccs": "cjs",
        "csub": "cjs",
        "pt": "xti",
        "tref": "tnom",
    },
    unsupported=frozenset(
        {"irb", "ptf", "iss", "ns", "rco", "vo", "gamma", "qco", "nkf", "nk", "tlev", "tlevc", "subs"}
    )
    | frozenset({"tbf1", "tbf2", "tbr1", "tbr2", "tre1", "tre2", "trc1", "trc2", "trb1", "trb2", "cjcp", "cco"}),
    harmless=frozenset({"kf", "af", "vceo", "icrating", "mfg", "type", "quasimod"}),
    area=True,
)
"""A transistor: ``Q1 collector base emitter [substrate] model [area]``."""
