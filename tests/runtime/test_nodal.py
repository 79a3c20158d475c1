"""Where ngspice's search for an operating point ends, and what is said of a point that is not the only one."""

from pathlib import Path

import pytest

from netc.compiler import Compilation, compile_deck
from netc.diagnostics import NetcError, Severity
from netc.ir.interpret import simulate
from netc.runtime.limiting import drain_step, gate_step, junction_step
from netc.runtime.nodal import Nodal

LATCH = """* two inverters in a ring
.model n nmos level=1 vto=0.6 kp=120u lambda=0.03
.model p pmos level=1 vto=-0.6 kp=40u lambda=0.03
vdd vdd 0 2.5
mp1 q qb vdd vdd p w=3u l=0.35u
mn1 q qb 0 0 n w=1.2u l=0.35u
mp2 qb q vdd vdd p w=3u l=0.35u
mn2 qb q 0 0 n w=1.2u l=0.35u
c1 q 0 10f
c2 qb 0 10f
.tran 10p 10n
.end
"""

# values by ngspice 39, .op
SCHMITT = """emitter coupled Schmitt trigger
vcc 1 0 12
vin in 0 sin(4 4 1k)
rb in b1 1k
q1 c1 b1 e q
q2 c2 b2 e q
rc1 1 c1 4.7k
rc2 1 c2 2.2k
re e 0 1k
r1 c1 b2 10k
cs c1 b2 100p
r2 b2 0 15k
.model q npn is=2e-15 bf=150 br=2 vaf=100 cje=10p cjc=4p tf=0.5n rb=100
.tran 2u 4m 0 2u
.end
"""


def compiled(folder: Path, text: str) -> Compilation:
    path = folder / "deck.cir"
    path.write_text(text)
    return compile_deck(path)


def warnings(compilation: Compilation) -> list[str]:
    assert compilation.system.states
    return [d.message for d in compilation.diagnostics if d.severity is Severity.WARNING]


def test_a_latch_is_found_where_ngspice_finds_it_and_said_to_be_unstable(tmp_path: Path) -> None:
    latch = compiled(tmp_path, LATCH)
    (warning,) = warnings(latch)
    assert "not stable" in warning and "q at" in warning and "qb at" in warning
    found = Nodal(latch._circuit_at_rest, {}).search()
    assert found is not None and found[0]["q"] == pytest.approx(1.22067, abs=1e-4)  # ngspice: 1.22067 both


@pytest.mark.parametrize("card", [".ic v(q)=0 v(qb)=2.5", ".nodeset v(q)=0 v(qb)=2.5"])
def test_a_latch_that_is_told_where_to_start_is_not_remarked_on(tmp_path: Path, card: str) -> None:
    latch = compiled(tmp_path, LATCH.replace(".tran", f"{card}\n.tran"))
    assert not warnings(latch)
    rows, _ = simulate(latch.undriven, steps=0, dt=1.0, observe=("q", "qb"))
    assert rows[0, 0] == pytest.approx([0.0, 2.5], abs=1e-3)


def test_a_latch_is_remarked_on_where_ic_holds_another_part(tmp_path: Path) -> None:
    apart = "r9 z 0 1k\nc9 z 0 1p\n.ic v(z)=0\n.tran"
    (warning,) = warnings(compiled(tmp_path, LATCH.replace(".tran", apart)))
    assert "not stable" in warning
    joined = "r9 z q 100k\nc9 z 0 1p\n.ic v(z)=0\n.tran"
    assert not warnings(compiled(tmp_path, LATCH.replace(".tran", joined)))


def test_a_trigger_starts_between_its_thresholds_as_in_ngspice(tmp_path: Path) -> None:
    trigger = compiled(tmp_path, SCHMITT)
    assert any("not stable" in w for w in warnings(trigger))
    rest = trigger._at_rest
    assert rest is not None
    assert rest[1]["c1"] == pytest.approx(6.86914, abs=1e-5) and rest[1]["c2"] == pytest.approx(6.55457, abs=1e-5)


def test_a_circuit_with_two_stable_points_names_both(tmp_path: Path) -> None:
    text = """a tunnel diode as a memory
v1 a 0 0.5
r1 a d 250
b1 d 0 i=0.02*v(d)*exp(1-v(d)/0.08)/0.08*0.1 + 1e-9*(exp(v(d)/0.03)-1)
c1 d 0 1p
.tran 1p 10n
.end
"""
    memory = compiled(tmp_path, text)
    said = warnings(memory)
    assert len(said) == 1 and "more than one operating point" in said[0] and "d at" in said[0]


def test_an_amplifier_has_one_operating_point_and_nothing_is_said(tmp_path: Path) -> None:
    text = """common emitter
vcc vcc 0 9
vin in 0 sin(0 1m 1k)
rs in s 100
cin s b 10u
rb1 vcc b 47k
rb2 b 0 10k
rc vcc c 4.7k
re e 0 1k
q1 c b e q
.model q npn is=1e-15 bf=200 cje=5p cjc=3p tf=0.3n vaf=60
.tran 10u 2m
.end
"""
    assert not warnings(compiled(tmp_path, text))


def test_an_initial_condition_against_an_inductor_is_refused_and_one_that_fits_is_not(tmp_path: Path) -> None:
    text = """tank
v1 vcc 0 9
l1 vcc c 10u
r1 c 0 1k
c1 c 0 1n
.ic v(c)={}
.tran 10n 1u
.end
"""
    with pytest.raises(NetcError, match=r"\.ic wants 'c' at 10 V"):
        assert compiled(tmp_path, text.format(10)).system
    started = compiled(tmp_path, text.format(9))
    assert started._at_rest is not None and started._at_rest[0]["l1"] == pytest.approx(9e-3)


def test_junctions_and_gates_move_as_far_as_in_spice() -> None:
    assert junction_step(0.6, 0.59, 0.026, 0.7) == (0.6, False)
    new, held = junction_step(5.0, 0.6, 0.026, 0.7)
    assert held and 0.6 < new < 0.8
    assert junction_step(5.0, -1.0, 0.026, 0.7)[1]
    assert junction_step(-20.0, 0.5, 0.026, 0.7) == (-1.5, True)
    assert junction_step(-20.0, -2.0, 0.026, 0.7) == (-5.0, True)
    assert gate_step(9.0, 0.0, 0.7) == pytest.approx(1.2)
    assert gate_step(9.0, 1.0, 0.7) == pytest.approx(4.7)
    assert gate_step(-9.0, 1.0, 0.7) == pytest.approx(0.2)
    assert gate_step(0.0, 9.0, 0.7) == pytest.approx(2.7)
    assert drain_step(9.0, 1.0) == 4.0 and drain_step(-9.0, 1.0) == -0.5
    assert drain_step(30.0, 5.0) == 17.0 and drain_step(0.0, 5.0) == 2.0
