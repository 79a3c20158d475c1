"""M: the MOS transistor of level 1 (H. Shichman and D. A. Hodges, IEEE J. Solid-State Circuits SC-3, 285, 1968).

With v_ds >= 0 (else drain and source change parts), v_on = V_TO + GAMMA (sqrt(PHI - v_bs) - sqrt(PHI)) and
beta = KP W / (L - 2 LD):

    i_d = 0                                                            v_gs <= v_on
    i_d = beta / 2 (v_gs - v_on)^2 (1 + LAMBDA v_ds)                   v_gs - v_on <= v_ds
    i_d = beta v_ds (v_gs - v_on - v_ds / 2) (1 + LAMBDA v_ds)         otherwise

Bulk junctions, overlap capacitances, and with TOX those of J. E. Meyer (RCA Review 32, 42, 1971).
"""

from __future__ import annotations

import math

from netc.elaborate.devices.device import BOLTZMANN_PER_CHARGE, Assembly, Device, Form
from netc.elaborate.devices.junction import (
    capacitance_at,
    depletion,
    exponential,
    gmin,
    largest_exponent,
    potential_at,
    saturation_at,
    thermal_voltage,
)
from netc.ir.build import ONE, ZERO, add, binary, div, mul, neg, select, sub, unary
from netc.ir.nodes import Const, Expr

_OXIDE = 3.9 * 8.854214871e-12  # F/m
_SILICON = 11.70 * 8.854214871e-12
_CHARGE = 1.6021766208e-19
_INTRINSIC = 1.45e16  # 1/m^3
_MAGIC = 0.025  # V: the least saturation voltage of Meyer's capacitances in ngspice
_DEFAULT_SIZE = 1e-4  # m
_POWERS = {"l": 1, "w": 1, "pd": 1, "ps": 1, "ad": 2, "as": 2}
"""With which power of ``.option scale=`` a size grows."""


class _Transistor:
    """One transistor: its nodes and what its geometry and model give."""

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        self.model, self.sign = assembly.model, assembly.sign
        self.kelvin, self.nominal = assembly.temperatures
        self.width, self.length = self._card("w", _DEFAULT_SIZE), self._card("l", _DEFAULT_SIZE)
        self.effective = sub(self.length, mul(2.0, self.model["ld"]))
        self.oxide = div(_OXIDE, self.model["tox"]) if assembly.has("tox") else ZERO
        drain, self.gate, source, self.bulk = assembly.nodes
        self.drain = self._behind("drain", drain, "rd", "nrd")
        self.source = self._behind("source", source, "rs", "nrs")
        self._doping()

    def _card(self, name: str, default: float) -> Expr:
        """Return a length, an area or a number of squares of the card, as ``.option scale=`` makes it."""
        if name not in self.assembly.card:
            return Const(self.assembly.context.sizes.get(name, default))
        return mul(self.assembly.card[name][0], self.assembly.context.scale ** _POWERS.get(name, 0))

    def _behind(self, label: str, node: str, own: str, squares: str) -> str:
        """Return the inner node behind the resistance of drain or source."""
        resistance = self.model[own]
        if not self.assembly.has(own) and self.assembly.has("rsh"):
            resistance = mul(self.model["rsh"], self._card(squares, 1.0))
        if not self.assembly.number(resistance) > 0:
            return node
        inner = self.assembly.inner(label, node)
        self.assembly.resistor(f"r{label[0]}", (node, inner), resistance)
        return inner

    def _doping(self) -> None:
        """Threshold, body factor, surface potential and transconductance, from the doping where they are not given."""
        model, assembly, sign = self.model, self.assembly, self.sign
        phi, gamma, threshold = model["phi"], model["gamma"], model["vto"]
        if assembly.has("nsub") and assembly.has("tox"):
            thermal = mul(BOLTZMANN_PER_CHARGE, self.nominal)
            if not assembly.has("phi"):
                doping = mul(model["nsub"], 1e6 / _INTRINSIC)
                phi = binary("max", mul(mul(2.0, thermal), unary("log", doping)), 0.1)
            if not assembly.has("gamma"):
                charge = mul(model["nsub"], 2.0 * _SILICON * _CHARGE * 1e6)
                gamma = div(unary("sqrt", charge), self.oxide)
            if not assembly.has("vto"):
                fermi = mul(0.5 * sign, phi)
                at = assembly.number(self.nominal)
                gap = 1.16 - 7.02e-4 * at * at / (at + 1108.0)
                kind = assembly.number(model["tpg"])
                gate = 3.2 if kind == 0 else 3.25 + 0.5 * gap - sign * kind * 0.5 * gap
                step = sub(gate - 3.25 - 0.5 * gap, fermi)
                flat = sub(step, div(mul(model["nss"], 1e4 * _CHARGE), self.oxide))
                threshold = add(flat, mul(sign, add(mul(gamma, unary("sqrt", phi)), phi)))
        factor = model["kp"]
        if assembly.has("tox") and not assembly.has("kp"):
            factor = mul(mul(model["uo"], 1e-4), self.oxide)
        self.phi_nominal, self.gamma, self.threshold = phi, gamma, threshold
        self.phi = potential_at(phi, self.kelvin, self.nominal)
        self._threshold_at(threshold)
        self.beta = div(mul(factor, self.width), self.effective)
        if self.kelvin is not self.nominal:
            ratio = div(self.kelvin, self.nominal)
            self.beta = div(self.beta, mul(ratio, unary("sqrt", ratio)))

    def _threshold_at(self, threshold: Expr) -> None:
        """Flat-band and threshold voltage at the transistor's temperature, of the polarity of an n channel."""
        root = mul(self.gamma, unary("sqrt", self.phi_nominal))
        built_in = sub(threshold, mul(self.sign, root))
        if self.kelvin is not self.nominal:

            def gap(kelvin: Expr) -> Expr:
                return sub(1.16, div(mul(7.02e-4, mul(kelvin, kelvin)), add(kelvin, 1108.0)))

            shift = mul(0.5, sub(gap(self.nominal), gap(self.kelvin)))
            moved = mul(0.5 * self.sign, sub(self.phi, self.phi_nominal))
            built_in = add(add(built_in, shift), moved)
        self.built_in = mul(self.sign, built_in)

    def saturation(self, area: str) -> Expr:
        """Return the saturation current of the junction with this area, at the transistor's temperature."""
        model, surface, result = self.model, self._card(area, 0.0), self.model["is"]
        if self.assembly.number(model["js"]) > 0 and self.assembly.number(surface) > 0:
            result = mul(model["js"], surface)
        return saturation_at(result, self.kelvin, self.nominal, Const(1.11), ZERO, ONE)

    def limit(self) -> None:
        """Say how far the search for an operating point moves this transistor at once."""
        scale = thermal_voltage(self.kelvin)
        critical = [self.assembly.critical(scale, self.saturation(area)) for area in ("as", "ad")]
        numbers = (self.threshold, self.built_in, self.gamma, self.phi)
        self.assembly.limit((self.drain, self.gate, self.source, self.bulk), self.sign, scale, *critical, *numbers)

    def v(self, form: Form, positive: str, negative: str) -> Expr:
        """Return a voltage with the polarity of an n channel."""
        return mul(self.sign, form.voltage(positive, negative))

    def body(self, bulk: Expr, phi: Expr) -> Expr:
        """Return sqrt(PHI - v_bs), continued by its tangent above 0."""
        root = unary("sqrt", sub(phi, binary("min", bulk, 0.0)))
        return binary("max", sub(root, div(binary("max", bulk, 0.0), mul(2.0, root))), 0.0)

    def turned(self, form: Form) -> tuple[Expr, Expr, Expr, Expr]:
        """Return whether drain and source keep their parts, and v_ds >= 0, v_gs, v_bs as the channel sees them."""
        drain_source = self.v(form, self.drain, self.source)
        forward = binary("ge", drain_source, 0.0)
        gate = select(forward, self.v(form, self.gate, self.source), self.v(form, self.gate, self.drain))
        bulk = select(forward, self.v(form, self.bulk, self.source), self.v(form, self.bulk, self.drain))
        return forward, select(forward, drain_source, neg(drain_source)), gate, bulk  # abs has no slope at 0

    def overdrive(self, form: Form, gate: Expr, bulk: Expr) -> Expr:
        """Return v_gs - v_on."""
        phi = form.value(self.phi)
        threshold = add(form.value(self.built_in), mul(form.value(self.gamma), self.body(bulk, phi)))
        return sub(gate, threshold)


def _channel(t: _Transistor) -> None:
    form = Form()
    forward, drain_source, gate, bulk = t.turned(form)
    over = t.overdrive(form, gate, bulk)
    beta = mul(form.value(t.beta), add(1.0, mul(form.value(t.model["lambda"]), drain_source)))
    reach = binary("min", drain_source, over)
    current = mul(beta, mul(reach, sub(over, mul(0.5, reach))))
    current = select(binary("gt", over, 0.0), current, ZERO)
    signed = mul(t.sign, select(forward, current, neg(current)))
    t.assembly.add("ds", "I", (t.drain, t.source), signed, form)


def _bulk_junction(t: _Transistor, node: str, label: str, area: str, rim: str, own: str) -> None:
    assembly, model = t.assembly, t.model
    surface, saturation = t._card(area, 0.0), t.saturation(area)
    pins = (t.bulk, node)
    form = Form()
    v = t.v(form, *pins)
    scale = form.value(thermal_voltage(t.kelvin))
    ratio = div(v, scale)
    rise = select(
        binary("gt", ratio, -3.0),
        sub(exponential(ratio, largest_exponent(assembly, form, saturation)), 1.0),
        Const(-1.0),
    )
    current = add(mul(form.value(saturation), rise), mul(gmin(assembly, form), v))
    assembly.add(f"b{label}", "I", pins, mul(t.sign, current), form)

    bottom = model[own] if assembly.has(own) else mul(model["cj"], surface)
    side = mul(model["cjsw"], t._card(rim, 0.0))
    form = Form()
    v = t.v(form, *pins)
    capacitance: Expr = ZERO
    for stored, grading in ((bottom, model["mj"]), (side, model["mjsw"])):
        if assembly.number(stored) > 0:
            moved = capacitance_at(stored, model["pb"], grading, t.kelvin, t.nominal)
            potential = form.value(potential_at(model["pb"], t.kelvin, t.nominal))
            layer = depletion(v, form.value(moved), potential, form.value(grading), form.value(model["fc"], ""))
            capacitance = add(capacitance, layer)
    if capacitance is not ZERO:
        assembly.add(f"cb{label}", "C", pins, capacitance, form)


def _gate(t: _Transistor) -> None:
    """Overlaps, and Meyer's capacitances of the channel."""
    assembly, model = t.assembly, t.model
    overlaps = {
        "gs": (t.source, mul(model["cgso"], t.width)),
        "gd": (t.drain, mul(model["cgdo"], t.width)),
        "gb": (t.bulk, mul(model["cgbo"], t.effective)),
    }
    for label, (node, overlap) in overlaps.items():
        form = Form()
        capacitance: Expr = ZERO
        if assembly.number(overlap) > 0:
            capacitance = form.value(overlap)
        if assembly.has("tox"):
            capacitance = add(capacitance, _meyer(t, form, label))
        if capacitance is not ZERO:
            assembly.add(f"c{label}", "C", (t.gate, node), capacitance, form)


def _meyer(t: _Transistor, form: Form, which: str) -> Expr:
    forward, drain_source, gate, bulk = t.turned(form)
    over = t.overdrive(form, gate, bulk)
    phi = form.value(t.phi)
    whole = form.value(mul(mul(t.oxide, t.width), t.effective))
    weak = div(over, phi)  # -1/2 .. 0 from depletion to threshold
    if which == "gb":
        below = mul(whole, neg(binary("max", weak, -1.0)))
        return select(binary("lt", over, 0.0), below, ZERO)
    saturation = binary("max", over, _MAGIC)
    linear = binary("gt", saturation, drain_source)
    span = select(linear, sub(mul(2.0, saturation), drain_source), ONE)
    first = select(linear, div(sub(saturation, drain_source), span), ZERO)
    second = select(linear, div(saturation, span), ONE)
    full = mul(2.0 / 3.0, whole)
    height = mul(full, select(binary("gt", over, 0.0), ONE, binary("max", add(1.0, mul(2.0, weak)), 0.0)))
    source = mul(height, sub(1.0, mul(first, first)))
    drain = mul(height, sub(1.0, mul(second, second)))
    return select(forward, *((source, drain) if which == "gs" else (drain, source)))


def _expand(assembly: Assembly) -> None:
    t = _Transistor(assembly)
    if not assembly.number(t.effective) > 0 or not math.isfinite(assembly.number(t.beta)):
        assembly.context.error(
            f"the channel of {assembly.name} has no length: l= less twice ld= is not above 0",
            assembly.prepared.card.span,
        )
        assembly.good = False
        return
    t.limit()
    _channel(t)
    _bulk_junction(t, t.drain, "d", "ad", "pd", "cbd")
    _bulk_junction(t, t.source, "s", "as", "ps", "cbs")
    _gate(t)


DEVICE = Device(
    what="MOS transistor",
    binned=True,
    nodes=(4, 4),
    types={"nmos": 1.0, "pmos": -1.0},
    model={
        "vto": 0.0,
        "kp": 2e-5,
        "gamma": 0.0,
        "phi": 0.6,
        "lambda": 0.0,
        "rd": 0.0,
        "rs": 0.0,
        "rsh": 0.0,
        "cbd": 0.0,
        "cbs": 0.0,
        "is": 1e-14,
        "js": 0.0,
        "pb": 0.8,
        "cgso": 0.0,
        "cgdo": 0.0,
        "cgbo": 0.0,
        "cj": 0.0,
        "mj": 0.5,
        "cjsw": 0.0,
        "mjsw": 0.5,
        "fc": 0.5,
        "tox": None,
        "ld": 0.0,
        "uo": 600.0,
        "nsub": None,
        "nss": 0.0,
        "tpg": 1.0,
        "tnom": None,
    },
    on_card=frozenset({"m", "l", "w", "ad", "as", "pd", "ps", "nrd", "nrs", "temp", "dtemp", "ic"}),
    expand=_expand,
    aliases={"vt0": "vto", "u0": "uo"},
    # No difference in a waveform of ngspice 39 at level 1, which passes over the latter with a warning.
    harmless=frozenset({"kf", "af", "lmin", "lmax", "wmin", "wmax", "gdsnoi", "nlev"}),
    elsewhere=frozenset({"nfs", "xj", "delta", "ucrit", "uexp", "utra", "vmax", "neff", "eta", "theta", "kappa"}),
)
"""A transistor: ``M1 drain gate source bulk model l= w=``."""
