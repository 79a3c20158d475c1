"""Rows merged on request: the same circuit to ngspice, and only where it is the same."""

from __future__ import annotations

import numpy as np
import pytest

from netc.diagnostics import NetcError
from netc.ngspice.bridge import run
from netc.ngspice.locate import find_ngspice
from netc.ngspice.task import Stimuli
from netc.signoff.merge import MergedStimuli

needs_ngspice = pytest.mark.skipif(not find_ngspice().engines, reason="ngspice is not installed")

DECK = """* t
Va alpha 0 PULSE(0 1 10u 1u 1u 300u 1)
Vb beta 0 SIN(0 1 3k)
E1 w1 0 alpha 0 1.5
E2 w2 0 alpha 0 1
e3 W3 0 alpha 0 -2
E4 w4 0 beta 0 1
E5 w5 0 alpha 0 1
E6 w6 0 alpha 0 1
R11 w1 a 1k
R21 a w2 3k
R31 w3 a 2k
R12 w1 b 7k
R22 w2 b 9k
R41 w4 a 5k
R51 w5 a 4k
R61 w6 a 6k
+ tc1=0
C1 a 0 50n IC=0
C2 b 0 20n IC=0
Rab a b 10k
B1 0 b i=1e-5*v(w5)
.options reltol=1e-6 abstol=1e-15 vntol=1e-9
.save v(a) v(b)
.tran 2e-06 0.0006 0 2e-06 uic
.end
"""
DRIVEN = {f"e{k}": "V" for k in range(1, 7)}


@needs_ngspice
@pytest.mark.ngspice
def test_the_merged_circuit_is_the_same(sample: tuple[float, ...] = (0.5, 1.0, 0.25, 0.75, 0.1, 0.9)) -> None:
    whole, merged = Stimuli(DECK, DRIVEN), MergedStimuli(DECK, DRIVEN)
    assert merged.merged == 6  # R11 R21 R31 into a, R12 R22 into b, R41 by itself
    grid = np.linspace(5e-6, 6e-4, 200)
    found = []
    for stimuli in (whole, merged):
        waves = run(stimuli.scaled(sample), nodes=["a", "b"])
        found.append([np.interp(grid, waves.times, waves.values[n]) for n in ("a", "b")])
    assert np.ptp(found[0]) > 0.1
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-9)


def test_what_else_reads_a_row_keeps_it() -> None:
    lines = MergedStimuli(DECK, DRIVEN).scaled([1.0] * 6).lower().split("\n")
    for kept in ("e5 w5 0 alpha 0 1.0", "r51 w5 a 4k", "r61 w6 a 6k", "+ tc1=0", "rab a b 10k"):
        assert kept in lines  # a behavioural source reads w5; the resistor at w6 is more than a number
    assert not any(line.startswith(("r11 ", "e1 ", "e4 ")) for line in lines)
    assert lines[-2:] == [".end", ""]


@pytest.mark.parametrize(
    "change",
    [
        (".save v(a)", ".save v(a) v(w1)"),
        ("Rab a b 10k", "Rab a b 10k\nX1 w1 cell"),
        ("Rab a b 10k", "Rab a b 10k\nRw w1 w2 1k"),
        ("Rab a b 10k", "Rab a b 10k\nB2 c 0 v=i(R11)"),
        ("E1 w1 0 alpha 0 1.5", "E1 w1 0 w2 0 1.5\nE9 w1 0 alpha 0 1"),
    ],
)
def test_rows_that_something_else_touches_stay(change: tuple[str, str]) -> None:
    lines = MergedStimuli(DECK.replace(*change), DRIVEN).scaled([1.0] * 6).split("\n")
    assert "R11 w1 a 1k" in lines and "R12 w1 b 7k" in lines


def test_nothing_to_merge_is_said() -> None:
    with pytest.raises(NetcError, match="no resistors can be merged"):
        MergedStimuli("* t\nV1 a 0 1\nR1 a b 1\n.tran 1u 1m\n.end\n", {"v1": "V"})
