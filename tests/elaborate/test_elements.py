"""Elements, their laws, names and nodes; cards about the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from netc.elaborate import dump
from netc.ir.program import Timing
from tests.elaborate.helpers import (
    branch_of,
    circuit_of,
    errors_of,
    law_of,
    messages_of,
    ngspice_operating_point,
    number_of,
)


def test_laws_of_linear_elements() -> None:
    circuit = circuit_of(
        "v1 a 0 2\ni1 0 b 3\nr1 a b 1k\nc1 b 0 1u\nl1 b c 1m\nr2 c 0 5\n"
        "e1 d 0 a b 2\ng1 d 0 a b 3\nf1 d 0 v1 4\nh1 e 0 v1 5\nr3 d e 1\n"
    )
    branches = {b.name: b for b in circuit.branches}
    assert {n: (b.law.kind, b.law.letter, b.law.roles) for n, b in branches.items()} == {
        "v1": ("V", "V", ("source",)),
        "i1": ("I", "I", ("source",)),
        "r1": ("R", "R", ("R",)),
        "c1": ("C", "C", ("C",)),
        "l1": ("L", "L", ("L",)),
        "r2": ("R", "R", ("R",)),
        "e1": ("V", "E", ("gain",)),
        "g1": ("I", "G", ("gain",)),
        "f1": ("I", "F", ("gain",)),
        "h1": ("V", "H", ("gain",)),
        "r3": ("R", "R", ("R",)),
    }
    assert branches["r1"].law is branches["r3"].law
    assert law_of(circuit, "e1", {"a": 3, "b": 1}) == 4
    assert law_of(circuit, "g1", {"a": 3, "b": 1}) == 6
    assert law_of(circuit, "f1", amperes={"v1": 2}) == 8
    assert law_of(circuit, "h1", amperes={"v1": 2}) == 10
    assert all(isinstance(value, float) for b in circuit.branches for value in b.values)


def test_expressions_of_one_form_share_a_law_and_others_do_not() -> None:
    circuit = circuit_of(
        ".param k=3\nv1 a 0 1\n"
        "b1 0 o i=2*v(a)+exp(v(o)/5)\nb2 a o i=7*v(o)+exp(v(a)/6)\nb3 0 a i={k*v(o)+exp(v(a)/k)}\n"
        "b4 0 o i=2*v(a)-exp(v(o)/5)\nb5 0 o v=2*v(a)+exp(v(o)/5)\nr1 o 0 1\n"
    )
    laws = [branch_of(circuit, f"b{n}").law for n in range(1, 6)]
    assert laws[0] is laws[1]
    assert len({id(law) for law in laws}) == 4  # one parameter used twice is another form
    assert law_of(circuit, "b2", {"a": 0.0, "o": 2.0}) == 15.0


def test_two_instances_share_laws_and_parameters() -> None:
    circuit = circuit_of(
        ".subckt mem p q ron=100\nb1 p q i=v(p,q)/ron*v(x)\nc1 x 0 1 ic=0.5\nb2 0 x i=1-v(x)\n.ends\n"
        "v1 a 0 1\nx1 a 0 mem\nx2 0 a mem\nx3 a 0 mem ron=7\n.tran 1u 1m uic\n"
    )
    first, second, third = (branch_of(circuit, f"x{n}.b1") for n in (1, 2, 3))
    assert first.law is second.law is third.law
    assert first.values[0] is second.values[0]
    assert third.values[0] is not first.values[0]
    assert branch_of(circuit, "x2.c1").initial == 0.5
    assert law_of(circuit, "x2.b1", {"a": 3.0, "x2.x": 0.5}) == -3.0 / 100 * 0.5


def test_behavioural_resistor_is_a_current() -> None:
    circuit = circuit_of("v1 a 0 1\nr1 a b r={100+10*v(a)}\nr2 b 0 1\n")
    branch = branch_of(circuit, "r1")
    assert (branch.law.kind, branch.law.letter) == ("I", "R")
    assert law_of(circuit, "r1", {"a": 10.0, "b": 4.0}) == 6.0 / 200.0


def test_a_function_can_make_a_resistor_behavioural() -> None:
    circuit = circuit_of(".func f(x) {x*v(a)}\nv1 a 0 1\nr1 a b r={f(2)}\nr2 b 0 1\n")
    assert law_of(circuit, "r1", {"a": 10.0, "b": 4.0}) == 6.0 / 20.0


def test_currents_of_any_element() -> None:
    circuit = circuit_of(
        ".subckt s n\nr1 n m 1\nv9 m p 0\nr2 p 0 1\nb1 0 q i=i(r2)\nr3 q 0 1\n.ends\n"
        "x1 a s\nv1 a 0 1\nb1 o 0 v=i(x1.r2)+i(b2)+i(v.x1.v9)\nb2 o 0 i=1\n"
    )
    names = [b.name for b in circuit.branches]
    assert branch_of(circuit, "x1.b1").currents == (names.index("x1.r2"),)
    assert branch_of(circuit, "b1").currents == tuple(names.index(n) for n in ("x1.r2", "b2", "x1.v9"))


def test_an_element_outside_cannot_be_read() -> None:
    found = errors_of(".subckt s n\nb1 n 0 i=i(v1)\n.ends\nx1 a s\nv1 a 0 1\n")
    assert found[0][0] == 2
    assert "outside of the subcircuit" in found[0][2]


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("resistor", "extra"),
    [
        ("10 m=2", ""),
        ("10 tc1=0.01 temp=37", ""),
        ("10 tc1=0.1 tc2=0.01", ".temp 30\n.options tnom=25"),
        ("10 tc1=0.1 dtemp=10", ""),
        ("10 scale=2", ""),
        ("rm 10", ".model rm r rsh=1 tc1=0.1 tnom=20\n.temp 30"),
        ("rm l=10u w=2u", ".model rm r rsh=5"),
        ("rm", ".model rm r r=5"),
        ("{k*2} m={k}", ".param k=3"),
    ],
)
def test_resistor_parameters_agree_with_ngspice(resistor: str, extra: str, tmp_path: Path) -> None:
    body = f"i1 0 a 1\nr1 a 0 {resistor}\n{extra}\n"
    circuit = circuit_of(body)
    wanted = ngspice_operating_point(tmp_path, body, ["a"])["a"]
    assert number_of(circuit, branch_of(circuit, "r1").values[0]) == pytest.approx(wanted, rel=1e-6)


def test_multiplicity_of_capacitors_and_inductors() -> None:
    circuit = circuit_of("c1 a 0 2u m=3\nl1 a 0 6 m=3\n")
    assert [branch.values[0] for branch in circuit.branches] == pytest.approx([6e-6, 2.0])


def test_a_bare_name_is_a_parameter() -> None:
    circuit = circuit_of(".param k=3\nv1 a 0 1\nr1 a 0 k\n")
    assert number_of(circuit, branch_of(circuit, "r1").values[0]) == 3


def test_models_inside_subcircuits_use_their_parameters() -> None:
    circuit = circuit_of(".subckt s n ron=5\n.model rm r r={ron}\nr1 n 0 rm\n.ends\nx1 a s\nx2 a s ron=7\nv1 a 0 1\n")
    assert [number_of(circuit, branch_of(circuit, f"x{n}.r1").values[0]) for n in (1, 2)] == [5, 7]


def test_initial_conditions() -> None:
    circuit = circuit_of(
        ".param g=4\n.subckt s n q=3\nc1 n 0 1u\nc2 m 0 1u\nr1 n m 1\n.ic v(n)={q} v(m)={g}\n.ends\n"
        "x1 a s q=2\nx2 b s\nr1 a b 1\n.nodeset v(b)=0.5\n.tran 1u 1m\n"
    )
    initial = {circuit.nets[net]: number_of(circuit, value) for net, (value, _) in circuit.initial_voltages.items()}
    assert initial == {"a": 2, "x1.m": 4, "b": 3, "x2.m": 4}
    assert {circuit.nets[net]: value for net, (value, _) in circuit.nodeset.items()} == {"b": 0.5}


def test_ic_of_a_capacitor_needs_uic() -> None:
    deck = "c1 a 0 1u ic=2\nr1 a 0 1k\n.tran 1u 1m"
    assert any("only with uic" in m for m in messages_of(circuit_of(deck + "\n"), "warning"))
    assert not messages_of(circuit_of(deck + " uic\n"), "warning")


def test_timing_options_and_temperature() -> None:
    circuit = circuit_of(
        ".param t=1m\nr1 a 0 {temper}\nv1 a 0 1\n.options reltol=1e-4 acct\n.temp 50\n.tran 1u {2*t} 0.1m 5u uic\n"
    )
    assert circuit.timing == Timing(1e-6, 2e-3, 1e-4, 5e-6, True)
    assert circuit.options["reltol"] == 1e-4
    assert circuit.temperature == 50
    assert branch_of(circuit, "r1").values == (50.0,)
    twice = circuit_of("r1 a 0 1\nv1 a 0 1\n.tran 1u 1m\n.tran 1u 2m\n")
    assert twice.timing is not None and twice.timing.tstop == 2e-3
    assert any("the last one counts" in m for m in messages_of(twice, "warning"))


def test_options_that_netc_does_not_have() -> None:
    deck = "r1 a 0 1k\nv1 a 0 1\n.tran 1u 1m\n"
    circuit = circuit_of(deck + ".options method=gear reltol=1e-4 nopage post=2 filetype=ascii temp={20+5}\n")
    assert circuit.options["method"] is None
    assert circuit.temperature == 25
    assert messages_of(circuit, "note") == [
        "method, reltol: no effect in netc, which takes explicit Euler steps of one length"
    ]
    assert not messages_of(circuit, "warning")
    assert messages_of(circuit_of(deck + ".options sparkle\n"), "warning") == [
        "the option 'sparkle' is not known to netc and has no effect"
    ]
    refused = errors_of(deck + ".options rshunt=1e12 temp\n")
    assert [message for _, message, _ in refused] == [
        "the option 'temp' needs a temperature, as in temp=27",
        "the option 'rshunt' is not supported yet",
    ]


def test_nodes_without_elements_are_left_out() -> None:
    circuit = circuit_of(
        ".global vdd\n.subckt s p q\nr1 p 0 1k\n.ends\nv1 a 0 1\nx1 a open s\nr2 a b 1\nc1 b 0 1n\n"
        ".ic v(b)=2\n*.netc output b\n.tran 1u 1m uic\n"
    )
    assert circuit.nets == ["0", "a", "b"]
    assert [circuit.nets[net] for net in circuit.initial_voltages] == ["b"]
    assert [circuit.nets[net] for net in circuit.outputs] == ["b"]
    assert [tuple(circuit.nets[n] for n in branch.nets) for branch in circuit.branches] == [
        ("a", "0"),
        ("a", "0"),
        ("a", "b"),
        ("b", "0"),
    ]
    assert messages_of(circuit, "note") == ["no element is connected to 2 nodes, left out: 'vdd', 'open'"]


def test_what_ngspice_refuses_to_sense_is_said() -> None:
    deck = "v1 a 0 1\nr1 a b 1\nr2 b 0 1\ne1 e 0 b 0 1\nr3 e 0 1\nf1 0 x {} 2\nr4 x 0 1\n.tran 1u 1m\n"
    assert not messages_of(circuit_of(deck.format("e1")), "warning")
    assert any("ngspice refuses 'r1'" in m for m in messages_of(circuit_of(deck.format("r1")), "warning"))


def test_nodeset_with_uic_is_remarked() -> None:
    deck = "v1 a 0 1\nr1 a b 1\nc1 b 0 1\n.nodeset v(b)=1\n.tran 1u 1m"
    assert not messages_of(circuit_of(deck + "\n"), "note")
    assert any("no effect with uic" in m for m in messages_of(circuit_of(deck + " uic\n"), "note"))


def test_selected_signals() -> None:
    circuit = circuit_of(
        ".subckt s n\nr1 n m 1\nr2 m 0 1\n.ends\nx1 a s\nv1 a 0 1\n.save v(a) v(x1.m) i(v1)\n.print tran v(a)\n"
    )
    assert circuit.selected == ["a", "x1.m", "i(v1)"]
    lenient = circuit_of("r1 a 0 1\nv1 a 0 1\n.save v(b)\n", lenient=True)
    assert lenient.selected == []
    assert any("no node 'b'" in m for m in messages_of(lenient, "warning"))


V_ = "v1 a 0 1\n"


@pytest.mark.parametrize(
    ("body", "line", "message", "hint"),
    [
        (V_ + "r1 a 0 0\n", 2, "r1 has 0 ohms", "0 V source"),
        (V_ + ".param r=2\nr1 a 0 {r-2}\n", 3, "r1 has 0 ohms", ""),
        (V_ + "c1 a 0 0\n", 2, "the capacitance of c1 must be above 0", ""),
        (V_ + "l1 a 0 {-1}\n", 2, "the inductance of l1 must be above 0", ""),
        (V_ + "r1 a 0 10 foo=2\n", 2, "unknown parameter 'foo' of a resistor", ""),
        (V_ + "r1 a 0 rval\n.param rvel=3\n", 2, "undefined parameter 'rval'", "'rvel'"),
        (V_ + "r1 a 0 rval 3\n", 2, "undefined model 'rval'", ""),
        (V_ + "r1 a 0 rm\n.model rm c cap=1\n", 2, "no model of a resistor", ""),
        (V_ + "r1 a 0 rm\n.model rm r tc1=1\n", 2, "r1 has no value", "r= in the model"),
        (V_ + "r1 a 0 1\n.tran 0 1m\n", 3, "the step of .tran must be above 0", ""),
        (V_ + "r1 a 0 1\n.tran 1u -1m\n", 3, "the stop time of .tran must be above 0", ""),
        (V_ + "r1 a 0 1\n.tran 1u 1m 2m\n", 3, "not before it stops", ""),
        (V_ + "r1 a 0 1\n.ic v(b)=1\n", 3, "no node 'b'", ""),
        (V_ + "r1 a 0 1\n.ic v(0)=1\n", 3, "ground", ""),
        (V_ + "f1 a 0 v2 1\n", 2, "no element 'v2'", "'v1'"),
        (V_ + "e1 b 0 a nowhere 1\nr1 b 0 1\n", 2, "no node 'nowhere'", ""),
    ],
)
def test_located_errors(body: str, line: int, message: str, hint: str) -> None:
    found = errors_of(body)
    assert any(at == line and message in text and hint in tip for at, text, tip in found), found


def test_a_suffix_apart_from_its_number_is_explained() -> None:
    assert errors_of("r1 a 0 10 k\nv1 a 0 1\n") == [
        (1, "undefined model 'k'", "a suffix or unit is written without a space: 10k")
    ]


def test_a_deck_that_grows_without_bound_ends_with_a_sentence() -> None:
    levels = "".join(f".subckt s{n} a\nx1 a s{n + 1}\nx2 a s{n + 1}\n.ends\n" for n in range(60))
    found = errors_of(f"{levels}.subckt s60 a\nr1 a 0 1\n.ends\nv1 a 0 1\nx2 a s0\n")
    assert found[0][0] == 0 and "subcircuits of the deck expand into" in found[0][1]


def test_deep_nesting_ends_with_a_sentence() -> None:
    levels = "".join(f".subckt s{n} a\nx1 a s{n + 1}\n.ends\n" for n in range(150))
    found = errors_of(f"{levels}.subckt s150 a\nr1 a 0 1\n.ends\nv1 a 0 1\nx2 a s0\n")
    assert "nested more than 100 deep" in found[0][1]


def test_dump_is_deterministic_and_short() -> None:
    lines = ["v1 a 0 1"] + [f"r{n} a n{n % 7} {n}" for n in range(1, 3000)] + [f"c{n} n{n} 0 1" for n in range(7)]
    text = "\n".join(lines) + "\n.tran 1u 1m\n"
    first, second = dump(circuit_of(text)), dump(circuit_of(text))
    assert first == second
    assert len(first.splitlines()) < 80
    assert "R x 2999: R = p0" in first
    assert "... 2979 more" in first


def test_graph_has_nets_and_branches() -> None:
    graph = circuit_of("v1 a 0 1\nr1 a b 1\nr2 a b 2\nc1 b 0 1\n").graph()
    assert set(graph.nodes) == {"0", "a", "b"}
    assert graph.number_of_edges("a", "b") == 2


def test_signals_that_do_not_exist_are_left_out_with_a_warning_as_in_ngspice() -> None:
    found = circuit_of(V_ + "r1 a 0 1\n.save v(a) v(b) i(r2)\n")
    assert found.selected == ["a"]
    assert [d.message for d in found.diagnostics] == [
        "there is no node 'b' to observe",
        "there is no element 'r2' to observe",
    ]
