"""From a deck as users write it to ngspice: the parser's cards carry the author's lines over."""

from pathlib import Path

import numpy as np
import pytest

from netc.ir.program import Timing
from netc.ngspice.bridge import run
from netc.ngspice.locate import find_ngspice
from netc.ngspice.netlist import ngspice_text
from netc.parse import parse_deck
from netc.parse.ast import Number, Tran

pytestmark = [
    pytest.mark.ngspice,
    pytest.mark.skipif(not find_ngspice().engines, reason="ngspice is not installed"),
]
TIMING = Timing(tstep=1e-5, tstop=2e-3, tmax=5e-6)


def test_shell_commands_of_a_deck_are_never_run(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    path = tmp_path / "deck.cir"
    path.write_text(
        f"""*ng_script shell touch {touched}
*# shell touch {touched}
V1 in 0 SIN(0 1 1k)
R1 in out 1k ; .control
C1 out 0 1u
* .control
.tran 10u 2m
.control
shell touch {touched}
tran 1u 1m
system touch {touched}
write {touched}
.endc
.end
.control
shell touch {touched}
.endc
"""
    )
    text = ngspice_text(parse_deck(path), TIMING)
    assert "touch" not in text
    for engine in find_ngspice().engines:
        assert run(text, engine=engine).times[-1] == pytest.approx(2e-3)
    assert [entry.name for entry in tmp_path.iterdir()] == ["deck.cir"]


def test_a_deck_in_pieces_runs_as_the_whole(tmp_path: Path) -> None:
    (tmp_path / "parts.lib").write_text(
        "* a library\n.lib other\n.param tau=9\n.endl other\n.lib cells\n.param tau=0.5m\n"
        ".func half(v) {v/2}\n.include cell.inc\n.endl cells\n"
    )
    (tmp_path / "cell.inc").write_text(
        ".subckt cell a b params: r=1k\nR1 a m {r}\n* a note\n+ tc1=0\nC1 m b\n"
        "+ {tau/r}\nB1 q 0 v=half(v(m))\n.ends wrong\n"
    )
    path = tmp_path / "deck.cir"
    path.write_text(
        "A deck\n.LIB 'parts.lib' cells\nv1 IN 0 sin(0 1 1k) $ drive\nXn in 0 cell r=2k\n.options reltol=0.1\n"
        ".ic v(xn.m)=0\n.print tran v(in)\n.tran 10u 2m\n.end\n"
    )
    whole = """t
V1 in 0 sin(0 1 1k)
R1 in m 2k
C1 m 0 0.25u
.options reltol=1e-6 abstol=1e-15 vntol=1e-9
.tran 1e-05 0.002 0 5e-06
.end
"""
    pieces = run(ngspice_text(parse_deck(path), TIMING))
    reference = run(whole)
    grid = np.linspace(0, 2e-3, 101)
    expected = np.interp(grid, reference.times, reference.values["m"])
    assert np.interp(grid, pieces.times, pieces.values["xn.m"]) == pytest.approx(expected, abs=1e-5)
    assert np.interp(grid, pieces.times, pieces.values["xn.q"]) == pytest.approx(expected / 2, abs=1e-5)


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "netlists").glob("*.cir")), ids=lambda p: p.stem)
def test_ngspice_runs_every_shipped_netlist_as_netc_hands_it_over(path: Path) -> None:
    deck = parse_deck(path)
    tran = next(card for card in deck.walk() if isinstance(card, Tran))
    step = tran.arguments[0]
    assert isinstance(step, Number)
    text = ngspice_text(deck, Timing(tstep=step.value, tstop=20 * step.value, uic=tran.uic))
    waveforms = run(text, engine="batch")
    assert len(waveforms.times) > 5
    assert all(np.isfinite(values).all() for values in waveforms.values.values())
