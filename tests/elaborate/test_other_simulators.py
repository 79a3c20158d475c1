"""What LTspice and HSPICE have and ngspice does not: ideal diodes, smooth switches, bins, scaled sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netc.compiler import Compilation, compile_deck
from netc.diagnostics import NetcError
from netc.ir.interpret import simulate
from netc.parse.write import write_deck

DIODES = """* two diodes of straight lines
V1 a 0 PWL(0 -3 5 2)
D1 a 0 DI
D2 a 0 DJ
.model DI D(Ron=1 Roff=100 Vfwd=0.4 epsilon=0.2 Vrev=2 Rrev=2 revepsilon=0.1)
.model DJ D(Ron=1 Roff=100 Vfwd=0.4 epsilon=0.2 ilimit=0.5)
C1 a 0 1p
.save v(a) i(d1) i(d2)
.tran 0.1 5
.end
"""
# i(d1), i(d2) of ngspice 39 with ngbehavior=ltpsa, a dc sweep
MEASURED = {
    -2.2: (-0.12 + 0.0245, -0.022),  # ngspice jumps to -0.12 where the parabola ends
    -2.1: (-0.0455, -0.021),
    -1.0: (-0.01, -0.01),
    0.4: (0.004, 0.004),
    0.5: (0.02975, 0.02975),
    0.6: (0.105, 0.105),
    0.7: (0.205, 0.182963),
    0.8: (0.305, 0.255080),
    1.5: (1.005, 0.478988),
}


def compiled(folder: Path, text: str, dialect: str = "ngspice") -> Compilation:
    path = folder / "deck.cir"
    path.write_text(text)
    return compile_deck(path, dialect=dialect)


def test_ltspices_ideal_diode_is_the_one_of_ngspices_ltspice_mode(tmp_path: Path) -> None:
    deck = compiled(tmp_path, DIODES, "ltspice")
    rows, _ = simulate(deck.undriven, steps=50, dt=0.1, observe=deck.signals)
    for volts, wanted in MEASURED.items():
        row = rows[np.argmin(np.abs(rows[:, 0, 0] - volts)), 0]
        assert row[0] == pytest.approx(volts, abs=1e-9)
        assert row[1:] == pytest.approx(wanted, rel=2e-5), volts
    with pytest.raises(NetcError, match="ideal diode"):
        write_deck(deck.deck)


def test_an_ideal_diode_is_ltspices_alone(tmp_path: Path) -> None:
    with pytest.raises(NetcError, match="--dialect ltspice") as refused:
        assert compiled(tmp_path, DIODES).circuit
    assert sum("ideal diode" in d.message for d in refused.value.diagnostics) == 2  # one for each model


def test_a_negative_hysteresis_is_a_smooth_switch_in_ltspice(tmp_path: Path) -> None:
    text = (
        "* t\nV1 a 0 PWL(0 0 2 2)\nV2 s 0 1\nS1 s 0 a 0 m\n.model m SW(Ron=1 Roff=10k Vt=1 Vh=-0.5)\n"
        ".save v(a) i(v2)\n.tran 0.1 2\n.end\n"
    )
    deck = compiled(tmp_path, text, "ltspice")
    rows, _ = simulate(deck.undriven, steps=20, dt=0.1, observe=deck.signals)
    assert -rows[4, 0, 1] == pytest.approx(1e-4)
    assert -rows[10, 0, 1] == pytest.approx(1e-2)  # half-way, the geometric mean
    assert -rows[16, 0, 1] == pytest.approx(1.0)
    with pytest.raises(NetcError, match="smoothly"):
        write_deck(deck.deck)
    with pytest.raises(NetcError, match="hysteresis"):
        assert compiled(tmp_path, text).circuit


BINS = """* t
V1 d 0 3
V2 g 0 2
M1 d1 g 0 0 nch w=10u l=1u
M2 d2 g 0 0 nch w=10u l=5u
M3 d3 g 0 0 nch w=10u l={}
Va d d1 0
Vb d d2 0
Vc d d3 0
R1 d 0 1k
C1 d 0 1p
.model nch.1 nmos (level=1 vto=.7 kp=100u lmin=0.5u lmax=2u wmin=1u wmax=100u)
.model nch.2 nmos (level=1 vto=.5 kp=100u lmin=2u lmax=20u wmin=1u wmax=100u)
.save i(va) i(vb) i(vc)
.tran 1u 2u
.end
"""


def test_a_transistor_takes_the_bin_its_size_is_in(tmp_path: Path) -> None:
    deck = compiled(tmp_path, BINS.format("2u"))
    rows, _ = simulate(deck.undriven, steps=1, dt=1e-6, observe=deck.signals)
    wanted = [0.5e-4 * 10 * 1.3**2, 0.5e-4 * 2 * 1.5**2, 0.5e-4 * 5 * 1.5**2]
    assert rows[1, 0] == pytest.approx(wanted, rel=1e-6)


def test_a_size_in_no_bin_is_refused_where_it_stands(tmp_path: Path) -> None:
    with pytest.raises(NetcError, match=r"no bin of the model of m3 fits l=5e-05 and w=1e-05") as refused:
        assert compiled(tmp_path, BINS.format("50u")).circuit
    assert refused.value.diagnostics[0].span is not None


def test_the_option_scale_multiplies_the_sizes_of_transistors(tmp_path: Path) -> None:
    text = (
        "* t\n{}V1 d 0 3\nV2 g 0 2\nM1 d1 g 0 0 n {}\nVa d d1 0\nR1 d 0 1k\nC1 d 0 1p\n"
        ".model n nmos level=1 vto=.7 kp=100u ld=0.1u tox=20n\n.save i(va)\n.tran 1u 2u\n.end\n"
    )
    plain = compiled(tmp_path, text.format("", "w=10u l=2u ad=4p as=4p"), "hspice")
    first, _ = simulate(plain.undriven, steps=1, dt=1e-6, observe=plain.signals)
    scaled = compiled(tmp_path, text.format(".option scale=1u\n", "w=10 l=2 ad=4 as=4"), "hspice")
    second, _ = simulate(scaled.undriven, steps=1, dt=1e-6, observe=scaled.signals)
    assert second[1, 0] == pytest.approx(first[1, 0], rel=1e-12)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("G1 a 0 VCR c 0 1k", "VCR is not supported yet"),
        ("G1 a 0 VCR PWL(1) c 0 0 1k 1 10k", "VCR is not supported yet"),
        ("E1 o 0 OPAMP a o", "OPAMP is not supported yet"),
        ("E1 o 0 DELAY a 0 TD=1u", "DELAY is not supported yet"),
    ],
)
def test_hspices_own_sources_are_refused_by_name(tmp_path: Path, card: str, message: str) -> None:
    with pytest.raises(NetcError, match=message):
        assert compiled(tmp_path, f"* t\nV1 a 0 1\nV2 c 0 1\n{card}\nR1 o 0 1k\n.tran 1u 2u\n.end\n", "hspice").circuit


def test_milliseconds_on_a_tran_card_are_not_remarked_on(tmp_path: Path) -> None:
    deck = compiled(tmp_path, "* t\nV1 A 0 1\nR1 A B 1K\nC1 B 0 1U\n.TRAN 1U 1M\n.END\n")
    assert deck.dae and not deck.diagnostics
