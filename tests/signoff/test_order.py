"""Cards in another order are the same circuit."""

from __future__ import annotations

import numpy as np
import pytest

from netc.ngspice.bridge import run
from netc.ngspice.locate import find_ngspice
from netc.signoff.order import ordered


def _crossbar(rows: int, columns: int, extra: str = "") -> str:
    lines = ["* crossbar", ".subckt cell a", "rin a 0 1k", ".ends"]
    for row in range(rows):
        lines.append(f"v{row} w{row} 0 PULSE(0 {0.01 * row:.3g} 1u 1u 1u 5u 20u)")
        lines += [f"R{row}_{k} w{row} B{k} {1000 + 7 * row + 13 * k}" for k in range(columns)]
    lines += [f"c{k} b{k} 0 1n" for k in range(columns)] + ["xc b0 cell", "rlong b1 0", "+ 1k"]
    return "\n".join([*lines, *extra.split(), ".tran 0.5u 20u 0 0.5u uic", ".end", ""])


def test_every_line_is_there_once_and_resistors_come_last() -> None:
    text = _crossbar(40, 30)
    found = ordered(text)
    assert found != text and sorted(found.split("\n")) == sorted(text.split("\n"))
    lines = found.split("\n")
    assert lines[0] == "* crossbar" and lines[-2:] == [".end", ""]
    assert all(line.startswith("R") for line in lines[-1202:-2])
    assert lines[lines.index("rlong b1 0") + 1] == "+ 1k" and lines[lines.index(".subckt cell a") + 1] == "rin a 0 1k"
    columns = [line.split()[2] for line in lines[-1202:-2]]
    assert len(set(columns[:16])) == 1 and len(set(columns[:256])) == 16  # tiles of 16 columns by 16 rows


def test_conditional_and_small_netlists_stay() -> None:
    assert ordered(_crossbar(40, 20)) == _crossbar(40, 20)
    text = _crossbar(40, 30, ".if(1) .endif")
    assert ordered(text) == text


@pytest.mark.ngspice
@pytest.mark.skipif(not find_ngspice().engines, reason="ngspice is not installed")
def test_ngspice_finds_the_same_waveforms() -> None:
    text = _crossbar(40, 30)
    before, after = run(text), run(ordered(text))
    assert before.times.shape == after.times.shape
    for name, values in before.values.items():
        np.testing.assert_allclose(after.values[name], values, rtol=1e-9, atol=1e-15)
