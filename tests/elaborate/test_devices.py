"""Devices with a model: what their branches compute, against ngspice's operating point, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from netc.compiler import compile_deck
from netc.ir.interpret import simulate
from tests.elaborate.helpers import branch_of, circuit_of, errors_of, law_of, messages_of, ngspice_operating_point

MODELS = """\
.model dm d(is=1e-13 n=1.3 rs=5 bv=6 ibv=1m ikf=10m)
.model nm nmos(vto=0.7 kp=80u gamma=0.5 lambda=0.03 phi=0.7 rd=50 rsh=20)
.model pm pmos(vto=-0.8 kp=40u gamma=0.4 lambda=0.05)
.model ns nmos(nsub=2e16 tox=30n uo=550 ld=0.1u)
.model ps pmos(nsub=1e16 tox=30n uo=250 tpg=-1)
.model qn npn(is=1e-15 bf=120 br=3 vaf=60 var=20 ikf=20m ikr=10m ise=1e-13 ne=1.7 isc=1e-12 nc=1.5 rb=100 rc=10 re=1)
.model qp pnp(is=1e-15 bf=60 vaf=40 xtb=1.2 eg=1.1)
.model jn njf(vto=-2 beta=1.2m lambda=0.02 rd=10 rs=10)
.model jp pjf(vto=-1.5 beta=1m)
.model sm sw(vt=1 ron=10 roff=10k)
.model wm csw(it=1m ih=0.1m ron=10 roff=10k)
"""
CIRCUITS = {
    "diode forward": "V1 a 0 2\nR1 a b 1k\nD1 b 0 dm\nC1 b 0 1n\n",
    "diode in high injection": "V1 a 0 2\nR1 a b 10\nD1 b 0 dm area=2\nC1 b 0 1n\n",
    "diode reverse": "V1 a 0 -3\nR1 a b 1meg\nD1 b 0 dm\nC1 b 0 1n\n",
    "diode in breakdown": "V1 a 0 -12\nR1 a b 1k\nD1 b 0 dm area=3 m=2\nC1 b 0 1n\n",
    "hot diode": "V1 a 0 2\nR1 a b 1k\nD1 b 0 dm temp=120\nC1 b 0 1n\n",
    "nmos saturated": "V1 a 0 3\nVg g 0 1.5\nR1 a b 1k\nM1 b g 0 0 nm w=20u l=2u nrs=2\nC1 b 0 1n\n",
    "nmos linear, body": "V1 a 0 3\nVg g 0 3\nVs s 0 0.5\nR1 a b 20k\nM1 b g s 0 nm w=20u l=2u\nC1 b 0 1n\n",
    "nmos turned": "V1 a 0 3\nVg g 0 3\nR1 a b 5k\nM1 0 g b 0 nm w=20u l=2u\nC1 b 0 1n\n",
    "hot nmos": "V1 a 0 3\nVg g 0 1.5\nR1 a b 1k\nM1 b g 0 0 nm w=20u l=2u temp=100\nC1 b 0 1n\n",
    "pmos": "V1 a 0 3\nVg g 0 1\nR1 b 0 5k\nM1 b g a a pm w=20u l=2u m=2\nC1 b 0 1n\n",
    "doped nmos": "V1 a 0 3\nVg g 0 2\nR1 a b 1k\nM1 b g 0 0 ns w=20u l=2u\nC1 b 0 1n\n",
    "doped pmos": "V1 a 0 3\nVg g 0 0.2\nR1 b 0 5k\nM1 b g a a ps w=20u l=2u\nC1 b 0 1n\n",
    "hot doped nmos": "V1 a 0 3\nVg g 0 2\nR1 a b 1k\nM1 b g 0 0 ns w=20u l=2u temp=90\nC1 b 0 1n\n",
    "npn active": "V1 a 0 5\nR1 a b 1k\nR2 a c 200k\nQ1 b c 0 qn\nC1 b 0 1n\nC2 c 0 1n\n.nodeset v(b)=4 v(c)=0.6\n",
    "npn saturated": "V1 a 0 5\nR1 a b 1k\nR2 a c 5k\nQ1 b c 0 qn\nC1 b 0 1n\nC2 c 0 1n\n.nodeset v(b)=0.1 v(c)=0.7\n",
    "npn reversed": "V1 a 0 5\nR1 a b 1k\nR2 a c 20k\nQ1 0 c b qn 2\nC1 b 0 1n\nC2 c 0 1n\n.nodeset v(b)=4 v(c)=0.6\n",
    "pnp": "V1 a 0 5\nR1 b 0 1k\nR2 c 0 200k\nQ1 b c a qp\nC1 b 0 1n\nC2 c 0 1n\n",
    "hot pnp": "V1 a 0 5\nR1 b 0 1k\nR2 c 0 200k\nQ1 b c a qp temp=90 m=2\nC1 b 0 1n\nC2 c 0 1n\n",
    "njf": "V1 a 0 5\nVg g 0 -0.5\nR1 a b 500\nJ1 b g 0 jn\nC1 b 0 1n\n",
    "pjf": "V1 a 0 5\nVg g 0 5.5\nR1 b 0 1k\nJ1 b g a jp 2\nC1 b 0 1n\n",
    "switch on": "V1 a 0 5\nVc c 0 1.2\nR1 a b 1k\nS1 b 0 c 0 sm\nC1 b 0 1n\n",
    "switch off": "V1 a 0 5\nVc c 0 0.9\nR1 a b 1k\nS1 b 0 c 0 sm\nC1 b 0 1n\n",
    "current switch": "V1 a 0 5\nVc c 0 -2\nRc c 0 1k\nR1 a b 1k\nW1 b 0 Vc wm\nC1 b 0 1n\n",
    "current switch, started on": "V1 a 0 5\nVc c 0 -1\nRc c 0 1k\nR1 a b 1k\nW1 b 0 Vc wm on\nC1 b 0 1n\n",
    "current switch, started off": "V1 a 0 5\nVc c 0 -1\nRc c 0 1k\nR1 a b 1k\nW1 b 0 Vc wm\nC1 b 0 1n\n",
}


@pytest.mark.ngspice
@pytest.mark.parametrize("name", CIRCUITS)
def test_operating_point(name: str, tmp_path: Path) -> None:
    body = CIRCUITS[name] + MODELS
    nodes = ["b"] + (["c"] if "C2 c" in body else [])
    path = tmp_path / "netc.cir"
    path.write_text(f"title\n{body}.tran 1n 10n\n.end\n")
    rows, _ = simulate(compile_deck(path).program, 0, 1e-9, observe=nodes)
    wanted = ngspice_operating_point(tmp_path, body, nodes)
    for node, found in zip(nodes, rows[0, 0], strict=True):
        assert found == pytest.approx(wanted[node], rel=2e-3, abs=2e-3), node  # ngspice stops at 1e-3


def test_ten_devices_are_one_law() -> None:
    lines = "".join(f"D{k} a{k} 0 dm\nC{k} a{k} 0 1n\nR{k} a{k} in 1k\n" for k in range(10))
    circuit = circuit_of(f"V1 in 0 1\n{lines}{MODELS}")
    assert len({id(b.law) for b in circuit.branches if b.law.letter == "D"}) == 2  # the junction and the resistance


def test_the_current_of_a_diode_with_charge_is_that_of_all_its_branches() -> None:
    circuit = circuit_of("V1 in 0 1\nR1 in a 1k\nD1 a 0 dc\nB1 0 b i=2*i(D1)\nR2 b 0 1\n.model dc d(is=1e-12 cjo=1p)\n")
    source = branch_of(circuit, "b1")
    meter = circuit.branches[source.currents[0]]
    assert (meter.name, meter.law.kind) == ("d1", "V")
    inside = meter.nets[1]
    assert [b.nets[0] for b in circuit.branches if b.name.startswith("d1#")] == [inside, inside]
    assert circuit.nets[inside] == "d1#terminal"


def test_inner_nodes_are_not_observed(tmp_path: Path) -> None:
    path = tmp_path / "deck.cir"
    path.write_text(f"title\nV1 in 0 1\nR1 in a 1k\nD1 a 0 dm\nC1 a 0 1n\n{MODELS}.tran 1n 10n\n.end\n")
    assert compile_deck(path).signals == ("in", "a")


def test_a_diode_never_overflows() -> None:
    circuit = circuit_of(f"V1 a 0 1\nD1 a 0 dx\nR1 a 0 1\n.model dx d(is=1e-14)\n{MODELS}")
    assert 1e3 < law_of(circuit, "d1#dc", {"a": 1000.0}) < 1e9
    assert law_of(circuit, "d1#dc", {"a": -1000.0}) == pytest.approx(-1e-14 - 1e-9)


def test_gmin_is_an_option() -> None:
    circuit = circuit_of("V1 a 0 1\nD1 a 0 dx\n.model dx d(is=1e-14)\n.options gmin=1e-9\n")
    assert law_of(circuit, "d1#dc", {"a": -10.0}) == pytest.approx(-1e-14 - 1e-8)


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        ("D1 a 0 dd\n", 1, "undefined model 'dd' of d1"),
        ("D1 a 0\n", 1, "wants 2 nodes and then a model"),
        ("D1 a 0 nm\n", 1, "model 'nm' is of type 'nmos': no model of a diode"),
        ("M1 a b 0 0 big\n.model big nmos level=8\n", 2, "the level of model 'big' is 8"),
        ("M1 a b 0 0 nch w=1u l=0.5u\n.model nch.1 nmos lmin=1u\n", 1, "no bin of the model of m1 fits l=5e-07"),
        ("M1 a b 0 0 nm q=1\n", 1, "unknown parameter 'q' of a MOS transistor"),
        ("M1 a b 0 0 nm l=1u w=1u,2u\n", 1, "w= takes one value"),
        ("M1 a b 0 0 lat l=1u\n.model lat nmos ld=0.5u\n", 1, "has no length"),
        ("D1 a 0 di\n.model di d(is=1e-14 ikr=1e-12)\n", 2, "'ikr' of a diode model changes the waveform"),
        ("Q1 a b 0 qi\n.model qi npn(ptf=30)\n", 2, "'ptf' of a bipolar transistor model changes"),
        ("S1 a 0 b 0 sn\n.model sn sw(vt=1 vh=-0.5)\n", 2, "the hysteresis of model 'sn' is below 0"),
        ("S1 a 0 b 0 sz\n.model sz sw(ron=0)\n", 2, "ron= of a switch must be above 0"),
        ("D1 a 0 dm on off 3 x\n", 1, "'x' has no meaning after the model"),
        ("L1 a 0 1m\nL2 b 0 1m\nK1 L1 L2 1.5\n", 3, "must be between -1 and 1"),
        ("L1 a 0 1m\nK1 L1 R9 0.5\n", 2, "couples 'r9', which is no inductor"),
        ("L1 a 0 1m\nK1 L1 L1 0.5\n", 2, "couples an inductor with itself"),
        ("L1 a 0 1m\nL2 b 0 1m\nK1 L1 L2 0.5\nK2 L2 L1 0.4\n", 4, "couples the inductors of k1 again"),
        ("B1 a b i=2*i(Q1)\nQ1 a b 0 qn\n", 1, "there is no element 'q1' whose current"),
    ],
)
def test_located_errors(body: str, line: int, message: str) -> None:
    found = errors_of(body + "R9 a b 1k\nRx b 0 1k\n" + MODELS)
    assert [(number, message in text) for number, text, _ in found] == [(line, True)], found


def test_an_unknown_model_parameter_is_named() -> None:
    circuit = circuit_of("V1 a 0 1\nD1 a 0 dx\n.model dx d(is=1e-14 njj=1)\n")
    assert any("'njj'" in message for message in messages_of(circuit, "warning"))


def test_parameters_of_other_levels_are_noted() -> None:
    """Measured: at level 1 ngspice 39 gives the same waveforms with and without them, and says that it ignores them."""
    names = ["nfs", "xj", "delta", "ucrit", "uexp", "utra", "vmax", "neff", "eta", "theta", "kappa"]
    circuit = circuit_of(
        f"V1 a 0 1\nM1 a a 0 0 nx\n.model nx nmos(kp=1m {' '.join(f'{n}=2' for n in names)} kf=1e-20)\n"
    )
    notes = messages_of(circuit, "note")
    for name in names:
        assert any(f"'{name}' of a MOS transistor model has no effect in level 1" in note for note in notes), name
    assert not any("'kf'" in note for note in notes) and not messages_of(circuit, "warning")
