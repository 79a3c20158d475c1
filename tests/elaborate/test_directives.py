"""netc's own words."""

from __future__ import annotations

import pytest

from netc.elaborate.circuit import Driven
from netc.elaborate.directives import matching, natural
from tests.elaborate.helpers import circuit_of, errors_of

DECK = (
    ".param gain=2 free=3\n"
    ".subckt n m\nc1 m 0 1u\nr1 m 0 {free}\n.ends\n"
    "v1 a 0 1\nv2 b 0 {gain}\nv10 c 0 1\ne1 w 0 a 0 2\nb1 q 0 v=v(a)*2\n"
    "r1 a b 1k\nr2 b c 50k\nr10 w q 2k\nr3 a m1 1\nr4 a m2 1\nr5 a m10 1\nx1 m1 n\nx2 m2 n\nx10 m10 n\n.tran 1u 1m\n"
)


def test_inputs_keep_the_order_of_directives_and_sort_naturally() -> None:
    circuit = circuit_of(DECK + "*.netc input e1\n*.netc input v*\n")
    names = [b.name for b in circuit.branches]
    assert circuit.driven == [
        Driven(names.index("e1"), "amplitude"),
        Driven(names.index("v1"), "amplitude"),
        Driven(names.index("v2"), "amplitude"),
        Driven(names.index("v10"), "amplitude"),
    ]


def test_sources_by_expression_and_long_tables_can_be_inputs() -> None:
    points = " ".join(f"{k}u {k % 2}" for k in range(17))
    circuit = circuit_of(DECK + f"v3 p 0 pwl({points})\nr9 p 0 1k\n*.netc input b1 v3\n")
    assert [circuit.branches[d.branch].name for d in circuit.driven] == ["b1", "v3"]


def test_outputs() -> None:
    circuit = circuit_of(DECK + "*.netc output m*\n*.netc output w\n")
    assert [circuit.nets[net] for net in circuit.outputs] == ["m1", "m2", "m10", "w"]


def test_training_of_elements_and_parameters() -> None:
    circuit = circuit_of(DECK + "*.netc train r1 r2 min=1k max=100k\n*.netc train gain x*.c1 min=1n max=10\n")
    found = [
        (t.parameter if t.branch is None else circuit.branches[t.branch].name, t.minimum, t.maximum)
        for t in circuit.trained
    ]
    assert found == [
        ("r1", 1e3, 1e5),
        ("r2", 1e3, 1e5),
        ("gain", 1e-9, 10),
        ("x1.c1", 1e-9, 10),
        ("x2.c1", 1e-9, 10),
        ("x10.c1", 1e-9, 10),
    ]
    assert "gain" in circuit.parameters


def test_bounds_may_be_expressions() -> None:
    circuit = circuit_of(DECK + ".param low=500\n*.netc train r1 min={low} max={low*10}\n")
    assert (circuit.trained[0].minimum, circuit.trained[0].maximum) == (500, 5000)


@pytest.mark.parametrize(
    ("directive", "message", "hint"),
    [
        ("inptu v1", "unknown directive 'inptu'", "'input'"),
        ("input v1 mod=waveform", "has no key 'mod'", "'mode'"),
        ("input v1 mode=what", "mode= is amplitude or waveform", ""),
        ("input z*", "no source matches 'z*'", ""),
        ("input r1", "no source matches 'r1'", "sources only"),
        ("input v11", "no source matches 'v11'", "'v1'"),
        ("input q1", "no source matches 'q1'", ""),
        ("input v1\n*.netc input v2 mode=waveform", "mode=waveform, those before of mode=amplitude", "the same way"),
        ("input v1 v*", "v1 is an input already", ""),
        ("output m11", "no node matches 'm11'", "'m1"),
        ("output m1 m?", "m1 is an output already", ""),
        ("train r1 max=2k", "needs min=", ""),
        ("train r1 min=3k max=2k", "min= must be below max=", ""),
        ("train r1 min=2k max=3k", "r1 is 1000, outside of its bounds 2000 to 3000", ""),
        ("train r1 min=-1 max=3k", "min= must be above 0", ""),
        ("train x1.r1 min=1 max=9", "expression of parameters", "train the parameter"),
        ("train z9 min=1 max=9", "no element or parameter to train matches 'z9'", ""),
        ("train b1 min=1 max=9", "to train matches 'b1'", "only plain values"),
        ("train r1 r? min=1 max=100k", "r1 is trained already", ""),
    ],
)
def test_located_errors(directive: str, message: str, hint: str) -> None:
    found = errors_of(f"{DECK}*.netc {directive}\n")
    last = DECK.count("\n") + 1
    assert any(line >= last and message in text and hint in tip for line, text, tip in found), found
    if not hint:
        assert not any("did you mean" in tip for _, _, tip in found)


def test_a_directive_inside_a_subcircuit_is_refused() -> None:
    found = errors_of(".subckt s n\nr1 n 0 1\n*.netc output n\n.ends\nx1 a s\nv1 a 0 1\n")
    assert [(line, "inside a subcircuit" in text) for line, text, _ in found] == [(3, True)]


def test_natural_order_and_globs() -> None:
    assert sorted(["x10.r1", "x2.r1", "x2.r10", "x2.r9", "2", "a"], key=natural) == [
        "2",
        "a",
        "x2.r1",
        "x2.r9",
        "x2.r10",
        "x10.r1",
    ]
    assert matching("x[12]", ["x1", "x2", "x3", "x[12]"]) == ["x[12]"]
    assert matching("x[12]", ["x1", "x2", "x3"]) == ["x1", "x2"]
