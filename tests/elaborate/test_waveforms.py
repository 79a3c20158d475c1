"""Independent sources against ngspice, defaults from .tran included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.elaborate.helpers import circuit_of, errors_of, law_of, messages_of, ngspice_transient

TRAN = "0.05m 1m 0 1u"
# away from the corners, where interpolating ngspice's own points would blur the comparison
POINTS = np.array([0.003, 0.013, 0.03, 0.07, 0.12, 0.17, 0.23, 0.33, 0.47, 0.58, 0.71, 0.86, 0.97]) * 1e-3

WAVEFORMS = [
    "pulse(1 3)",
    "pulse(1 3 0.1m)",
    "pulse(1 3 0.1m 0.02m)",
    "pulse(1 3 0.1m 0 0 0.2m)",
    "pulse(0 1 0 0.01m 0.02m 0.1m 0.2m)",
    "pulse(0 1 0.06m 0.01m 0.02m 0.1m 0.2m)",
    "sin(1 2)",
    "sin(1 2 3k)",
    "sin(1 2 2k 0.2m 1000 90)",
    "sin(0 2 2k 0 500)",
    "exp(1 3)",
    "exp(1 3 0.2m)",
    "exp(1 3 0 0.1m 0.5m 0.2m)",
    "exp(3 1 0.15m 0.05m 0.6m 0.1m)",
    "pwl(0.1m 1 0.3m 2 0.4m -1)",
    "pwl(0 1 0.3m 2) td=0.2m",
    "dc 2 sin(0 1 2k)",
    "dc 2",
]


@pytest.mark.ngspice
@pytest.mark.parametrize("waveform", WAVEFORMS)
def test_waveform_agrees_with_ngspice(waveform: str, tmp_path: Path) -> None:
    body = f"v1 a 0 {waveform}\nr1 a 0 1\n"
    circuit = circuit_of(f"{body}.tran {TRAN}\n")
    wanted = ngspice_transient(tmp_path, body, "a", TRAN, POINTS)
    found = [law_of(circuit, "v1", time=float(time)) for time in POINTS]
    assert found == pytest.approx(wanted, abs=2e-3)


def test_arguments_are_slots() -> None:
    circuit = circuit_of(
        ".param f=1k\nv1 a 0 sin(0 1 {f})\nv2 b 0 sin(5 7 2k)\nv3 c 0 sin(0 1 1k 0)\nr1 a b 1\nr2 b c 1\n.tran 1u 1m\n"
    )
    first, second, third = (branch.law for branch in circuit.branches[:3])
    assert first is second
    assert first is not third
    assert first.roles == ("source", "source", "source")
    assert first.units == ("V", "V", "Hz")
    assert third.roles == ("source", "source", "source", "")


def test_pwl_holds_its_ends() -> None:
    circuit = circuit_of("i1 0 a pwl(1m 2 2m 5)\nr1 a 0 1\n.tran 1u 3m\n")
    assert [law_of(circuit, "i1", time=t) for t in (0.0, 1.5e-3, 9.0)] == pytest.approx([2, 3.5, 5])
    assert law_of(circuit_of("i1 0 a pwl(1m 2)\nr1 a 0 1\n"), "i1", time=0.0) == 2


def test_a_dc_value_beside_a_waveform_is_noted() -> None:
    circuit = circuit_of("v1 a 0 dc 2 sin(0 1 1k)\nr1 a 0 1\n.tran 1u 1m\n")
    assert any("dc value is not used" in message for message in messages_of(circuit, "note"))


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("v1 a 0 pulse(1)", "PULSE takes 2 to 8 arguments, 1 given"),
        ("v1 a 0 pulse(0 1 0 1u 1u 1u 2u 3 4)", "PULSE takes 2 to 8 arguments, 9 given"),
        ("v1 a 0 pwl(0 1 2)", "the last time has no value"),
        ("v1 a 0 pwl(0 1 2m 3 1m 4)", "must ascend: 0.001 s follows 0.002 s"),
        ("v1 a 0 pwl(0 1 1m 3 0.5m 4)", "must ascend"),
        ("v1 a 0 pwl(0 1 1m 2) q=0", "q= of PWL is not supported yet"),
        ("v1 a 0 pulse(0 1)", "there is no .tran"),
        ("v1 a 0 {time}", "undefined parameter 'time'"),
    ],
)
def test_located_errors(card: str, message: str) -> None:
    found = errors_of(f"{card}\nr1 a 0 1\n")
    assert any(line == 1 and message in text for line, text, _ in found), found
