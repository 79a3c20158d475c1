"""Semiconductor junctions as SPICE computes them: current, depletion charge, dependence on temperature.

Equations of the ngspice manual ("Junction Diodes"); L. W. Nagel, SPICE2, ERL-M520, Berkeley 1975.
"""

from __future__ import annotations

import math

from netc.elaborate.devices.device import BOLTZMANN_PER_CHARGE, Assembly, Form
from netc.ir.build import add, binary, div, mul, neg, select, sub, unary
from netc.ir.nodes import Const, Expr

LARGEST_CURRENT = 1e3
"""Amperes: where the current of a junction goes on along its tangent; no circuit reaches it but while it is solved."""

_LARGEST_EXPONENT = 80.0

_REFERENCE = 300.15  # K
_SLOPE_OF_CAPACITANCE = 4e-4  # 1/K


def exponential(x: Expr, largest: Expr | float = _LARGEST_EXPONENT) -> Expr:
    """Return exp(x), continued along its tangent above ``largest``.

    It never overflows, and Newton's method does not have to come back down an exponential one unit a step.
    """
    within = unary("exp", binary("min", x, largest))
    return mul(within, add(1.0, binary("max", sub(x, largest), 0.0)))


def largest_exponent(assembly: Assembly, form: Form, saturation: Expr) -> Expr:
    """Return the slot of the exponent at which a junction with this saturation current carries too much."""
    current = assembly.number(saturation)
    most = math.log(LARGEST_CURRENT / current) if current > 0 else _LARGEST_EXPONENT
    return form.value(Const(min(max(most, 1.0), _LARGEST_EXPONENT)), "")


def power(base: Expr, exponent: Expr | float) -> Expr:
    """Return a positive base to an exponent."""
    return binary("pow", base, exponent)


def forward_or_reverse(voltage: Expr, scale: Expr, largest: Expr) -> Expr:
    """Return i / i_s of a junction: exp(v/s) - 1, and below -3 s the cubic that goes to -1."""
    ratio = div(voltage, scale)
    cube = div(3.0 / math.e, binary("min", ratio, -3.0))
    return select(
        binary("ge", ratio, -3.0),
        sub(exponential(ratio, largest), 1.0),
        neg(add(1.0, mul(cube, mul(cube, cube)))),
    )


def depletion(voltage: Expr, capacitance: Expr, potential: Expr, grading: Expr, share: Expr) -> Expr:
    """Return the capacitance of a depletion layer; linear in the voltage above ``share`` of the potential.

    C = C_0 (1 - v / V_J)^-M,    above FC V_J:  C_0 (1 - FC)^-(1 + M) (1 - FC (1 + M) + M v / V_J)
    """
    corner = mul(share, potential)
    inside = power(sub(1.0, div(binary("min", voltage, corner), potential)), neg(grading))
    beyond = mul(
        power(sub(1.0, share), neg(add(1.0, grading))),
        add(sub(1.0, mul(share, add(1.0, grading))), mul(grading, div(voltage, potential))),
    )
    return mul(capacitance, select(binary("lt", voltage, corner), inside, beyond))


def thermal_voltage(kelvin: Expr) -> Expr:
    """Return k T / q."""
    return mul(BOLTZMANN_PER_CHARGE, kelvin)


def saturation_at(current: Expr, kelvin: Expr, nominal: Expr, gap: Expr, exponent: Expr, emission: Expr) -> Expr:
    """Return a saturation current at another temperature: ``gap`` in eV."""
    if kelvin is nominal:
        return current
    ratio = div(kelvin, nominal)
    energy = div(mul(sub(ratio, 1.0), gap), mul(emission, thermal_voltage(kelvin)))
    return mul(current, unary("exp", add(energy, mul(div(exponent, emission), unary("log", ratio)))))


def _band_gap(kelvin: Expr) -> Expr:
    return sub(1.16, div(mul(7.02e-4, mul(kelvin, kelvin)), add(kelvin, 1108.0)))


def _potential_factor(kelvin: Expr) -> Expr:
    gap = _band_gap(kelvin)
    bend = add(
        neg(div(gap, mul(2.0 * BOLTZMANN_PER_CHARGE, kelvin))),
        Const(1.1150877 / (2.0 * BOLTZMANN_PER_CHARGE * _REFERENCE)),
    )
    logarithm = mul(1.5, unary("log", div(kelvin, _REFERENCE)))
    return mul(mul(-2.0, thermal_voltage(kelvin)), add(logarithm, bend))


def potential_at(potential: Expr, kelvin: Expr, nominal: Expr) -> Expr:
    """Return a junction potential at another temperature, volts."""
    if kelvin is nominal:
        return potential
    return add(_potential_factor(kelvin), mul(div(kelvin, _REFERENCE), _reference_potential(potential, nominal)))


def _reference_potential(potential: Expr, nominal: Expr) -> Expr:
    return div(sub(potential, _potential_factor(nominal)), div(nominal, _REFERENCE))


def capacitance_at(capacitance: Expr, potential: Expr, grading: Expr, kelvin: Expr, nominal: Expr) -> Expr:
    """Return a junction's capacitance at 0 V at another temperature, farads."""
    if kelvin is nominal:
        return capacitance
    reference = _reference_potential(potential, nominal)

    def factor(temperature: Expr, at: Expr) -> Expr:
        rise = mul(_SLOPE_OF_CAPACITANCE, sub(temperature, _REFERENCE))
        return add(1.0, mul(grading, sub(rise, div(sub(at, reference), reference))))

    return mul(div(capacitance, factor(nominal, potential)), factor(kelvin, potential_at(potential, kelvin, nominal)))


def charging(assembly: Assembly, form: Form, label: str, nodes: tuple[str, str], template: Expr) -> str:
    """Add a branch with the capacitance ``template``."""
    initial = assembly.card.get("ic")
    single = initial[0] if initial is not None and len(initial) == 1 else None
    return assembly.add(label, "C", nodes, template, form, initial=single)


def gmin(assembly: Assembly, form: Form) -> Expr:
    """Return the slot of the conductance that ngspice puts across every junction, siemens."""
    return form.value(Const(assembly.context.gmin), "")
