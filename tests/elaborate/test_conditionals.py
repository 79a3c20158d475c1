"""``.if`` to ``.endif``: decided for each instance, as ngspice 39 does (measured)."""

import pytest

from netc.diagnostics import NetcError
from netc.elaborate import elaborate
from netc.elaborate.circuit import Circuit
from netc.parse import parse_text

TOP = """t
.param mode={mode}
.if ((mode==1) && 1)
R1 a 0 1k
.elseif (mode==2)
R1 a 0 2k
.options temp=60
.else
.if (mode > 5)
R1 a 0 6k
.model m r(r=11)
.else
R1 a 0 m
.model m r(r=3k)
.endif
.endif
V1 a 0 1
"""
INSTANCES = """t
.subckt s p params: k=1
.if (k==1)
R1 p 0 1
.elseif (k==2)
X1 p q
.else
R1 p 0 3
C1 p 0 1n
.ic v(p)={k}
.endif
.ends
.subckt q a
R1 a 0 7
.ends
X1 a s
X2 b s k=2
X3 c s k=3
X4 d s k=3
V1 a 0 1
"""


def circuit(text: str) -> Circuit:
    return elaborate(parse_text(text))


def values(found: Circuit) -> dict[str, float]:
    return {b.name: found.number(b.values[0]) for b in found.branches}


@pytest.mark.parametrize(("mode", "value"), [(1, 1e3), (2, 2e3), (3, 3e3), (6, 6e3)])
def test_first_branch_that_holds(mode: int, value: float) -> None:
    found = circuit(TOP.replace("{mode}", str(mode)))
    assert values(found)["r1"] == value
    assert found.temperature == (60 if mode == 2 else 27)


def test_each_instance_decides_for_itself() -> None:
    found = circuit(INSTANCES)
    assert values(found) == {
        "x1.r1": 1,
        "x2.x1.r1": 7,
        "x3.r1": 3,
        "x3.c1": 1e-9,
        "x4.r1": 3,
        "x4.c1": 1e-9,
        "v1": 1,
    }
    assert [found.nets[net] for net in found.initial_voltages] == ["c", "d"]


def test_a_condition_needs_its_parameters() -> None:
    with pytest.raises(NetcError, match="undefined parameter 'x'") as caught:
        circuit("t\n.if (x)\nR1 a 0 1\n.endif\nR2 a 0 1\n")
    assert caught.value.diagnostics[0].span.line == 2


def test_no_branch_may_hold() -> None:
    assert list(values(circuit("t\n.if (0)\nR1 a 0 1\n.endif\nR2 a 0 1\n"))) == ["r2"]


def test_a_subcircuit_may_not_contain_itself_under_a_condition() -> None:
    with pytest.raises(NetcError, match="contains itself"):
        circuit("t\n.subckt s a params: n=3\n.if (n)\nX1 a s n={n-1}\n.endif\nR1 a 0 1\n.ends\nX1 a s\n")


def test_parameters_and_functions_count_in_every_case_as_in_ngspice() -> None:
    deck = "t\n.param c=1\n.if (c)\n.param a=1\n.func f(x) {2*x}\n.else\n.param a=3\n.func f(x) {4*x}\n.endif\n"
    found = circuit(deck + "R1 a 0 {a}\nR2 a 0 {f(5)}\n")
    assert values(found) == {"r1": 3.0, "r2": 20.0}
    warned = [d for d in found.diagnostics if "whatever the condition" in d.message]
    assert [d.span.line for d in warned] == [4]


@pytest.mark.parametrize("card", [".subckt s a\n.ends", ".global a"])
def test_cards_that_ngspice_takes_in_every_case(card: str) -> None:
    with pytest.raises(NetcError, match=r"may not stand between \.if and \.endif") as caught:
        parse_text(f"t\n.if (1)\n{card}\n.endif\n")
    assert caught.value.diagnostics[0].span.line == 3
