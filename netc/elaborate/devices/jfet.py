"""J: the junction field-effect transistor (Shichman and Hodges 1968).

With v_ds >= 0 (else drain and source change parts), v = v_gs - VTO:

    i_d = BETA v^2 (1 + LAMBDA v_ds)  where 0 < v <= v_ds,    BETA v_ds (2 v - v_ds) (1 + LAMBDA v_ds)  where v > v_ds
"""

from __future__ import annotations

from netc.elaborate.devices.device import Assembly, Device, Form
from netc.elaborate.devices.junction import (
    capacitance_at,
    depletion,
    forward_or_reverse,
    gmin,
    largest_exponent,
    potential_at,
    saturation_at,
    thermal_voltage,
)
from netc.ir.build import ONE, ZERO, add, binary, div, mul, neg, select, sub
from netc.ir.nodes import Const


def _behind(assembly: Assembly, label: str, node: str, name: str) -> str:
    resistance = div(assembly.model[name], assembly.area)
    if not assembly.number(resistance) > 0:
        return node
    inner = assembly.inner(label, node)
    assembly.resistor(name, (node, inner), resistance)
    return inner


def _gate_junction(assembly: Assembly, gate: str, node: str, label: str, stored: str) -> None:
    model, sign = assembly.model, assembly.sign
    kelvin, nominal = assembly.temperatures
    form = Form()
    v = mul(sign, form.voltage(gate, node))
    saturation = mul(model["is"], assembly.area)
    if kelvin is not nominal:
        saturation = saturation_at(saturation, kelvin, nominal, Const(1.11), ZERO, ONE)
    scale = form.value(mul(model["n"], thermal_voltage(kelvin)))
    diffused = forward_or_reverse(v, scale, largest_exponent(assembly, form, saturation))
    current = add(mul(form.value(saturation), diffused), mul(gmin(assembly, form), v))
    assembly.add(f"g{label}", "I", (gate, node), mul(sign, current), form)
    zero_bias = mul(model[stored], assembly.area)
    if assembly.number(zero_bias) > 0:
        form = Form()
        v = mul(sign, form.voltage(gate, node))
        grading = model["m"]
        moved = form.value(capacitance_at(zero_bias, model["pb"], grading, kelvin, nominal))
        potential = form.value(potential_at(model["pb"], kelvin, nominal))
        layer = depletion(v, moved, potential, form.value(grading), form.value(model["fc"], ""))
        assembly.add(f"cg{label}", "C", (gate, node), layer, form)


def _expand(assembly: Assembly) -> None:
    outer_drain, gate, outer_source = assembly.nodes
    drain = _behind(assembly, "drain", outer_drain, "rd")
    source = _behind(assembly, "source", outer_source, "rs")
    model, sign = assembly.model, assembly.sign
    scale = thermal_voltage(assembly.temperatures[0])
    critical = assembly.critical(scale, mul(model["is"], assembly.area))
    assembly.limit((drain, gate, source), sign, scale, critical, model["vto"])
    form = Form()
    drain_source = mul(sign, form.voltage(drain, source))
    forward = binary("ge", drain_source, 0.0)
    positive = select(forward, drain_source, neg(drain_source))  # abs has no slope at 0
    over = sub(
        select(forward, mul(sign, form.voltage(gate, source)), mul(sign, form.voltage(gate, drain))),
        form.value(model["vto"]),
    )
    beta = mul(form.value(mul(model["beta"], assembly.area)), add(1.0, mul(form.value(model["lambda"]), positive)))
    reach = binary("min", positive, over)
    current = select(binary("gt", over, 0.0), mul(beta, mul(reach, sub(mul(2.0, over), reach))), ZERO)
    assembly.add("ds", "I", (drain, source), mul(sign, select(forward, current, neg(current))), form)
    _gate_junction(assembly, gate, source, "s", "cgs")
    _gate_junction(assembly, gate, drain, "d", "cgd")


DEVICE = Device(
    what="junction field-effect transistor",
    nodes=(3, 3),
    types={"njf": 1.0, "pjf": -1.0},
    model={
        "vto": -2.0,
        "beta": 1e-4,
        "lambda": 0.0,
        "rd": 0.0,
        "rs": 0.0,
        "cgs": 0.0,
        "cgd": 0.0,
        "pb": 1.0,
        "is": 1e-14,
        "n": 1.0,
        "m": 0.5,
        "fc": 0.5,
        "tnom": None,
    },
    on_card=frozenset({"area", "m", "ic", "temp", "dtemp"}),
    expand=_expand,
    aliases={"vt0": "vto"},
    unsupported=frozenset({"b", "tcv", "vtotc", "bex", "betatce", "xti", "eg", "isr", "nr", "alpha", "vk"}),
    harmless=frozenset({"kf", "af", "nlev", "gdsnoi", "mfg"}),
    area=True,
)
"""A transistor: ``J1 drain gate source model [area]``."""
