"""Which value a name has, where: netc and ngspice must agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from netc.elaborate.circuit import Branch, Circuit
from tests.elaborate.helpers import branch_of, circuit_of, errors_of, messages_of, ngspice_operating_point, number_of

# body, then the value of the source that drives each node; a resistor at each node keeps ngspice content
CASES = {
    "order of .param does not matter": (".param a={b*2}\n.param b=1\nva a 0 {a}\n", {"a": 2}),
    "the last .param counts": (".param a=1\n.param a=2\nva a 0 {a}\n", {"a": 2}),
    "the last .param counts in what is derived": (".param a=1 b={a}\n.param a=2\nva a 0 {b}\n", {"a": 2}),
    "an override is read outside": (
        ".param p=5\n.subckt s n p=1\nvs n 0 {p}\n.ends\nx1 a s p={p*2}\nx2 b s\n",
        {"a": 10, "b": 1},
    ),
    "an override of the same name passes through": (
        ".subckt s n p=1\nvs n 0 {p}\n.ends\n.subckt o n p=2\nx1 n s p={p}\n.ends\nx1 a o p=9\nx2 b o\n",
        {"a": 9, "b": 2},
    ),
    "a default follows an override": (
        ".subckt s n p=1 q={p*3}\nvs n 0 {q}\n.ends\nx1 a s p=2\nx2 b s\n",
        {"a": 6, "b": 3},
    ),
    "defaults in any order": (
        ".subckt s n q={p*3} p=1\nvs n 0 {q}\n.ends\nx1 a s p=2\nx2 b s\n",
        {"a": 6, "b": 3},
    ),
    "a parameter hides the global one": (
        ".param p=7\n.subckt s n p=1 q={p*3}\nvs n 0 {q}\n.ends\nx1 a s p=2\nx2 b s\nvc c 0 {p}\n",
        {"a": 6, "b": 3, "c": 7},
    ),
    ".param in a body": (
        ".subckt s n p=1\n.param q={p*3}\nvs n 0 {q}\n.ends\nx1 a s p=2\nx2 b s\nx3 c s q=100\n",
        {"a": 6, "b": 3, "c": 100},
    ),
    ".param in a body, after its use, hides the global one": (
        ".param p=50\n.subckt s n\nvs n 0 {p}\n.param p=3\n.ends\nx1 a s\nvb b 0 {p}\n",
        {"a": 3, "b": 50},
    ),
    ".param in a body outranks the header": (
        ".subckt s n p=3\n.param p=7\nvs n 0 {p}\n.ends\nx1 a s\nx2 b s p=9\n",
        {"a": 7, "b": 9},
    ),
    "parameters of the instance around are seen": (
        ".subckt i n\nvs n 0 {p}\n.ends\n.subckt o n p=4\nxi n i\n.ends\nx1 a o p=9\nx2 b o\n",
        {"a": 9, "b": 4},
    ),
    "and hide the global ones": (
        ".param p=50\n.subckt i n\nvs n 0 {p}\n.ends\n.subckt o n p=4\nxi n i\n.ends\nx1 a o p=9\nx2 b i\n",
        {"a": 9, "b": 50},
    ),
    "a global .param is read outside": (
        ".param a={b}\n.subckt s n b=3\nvs n 0 {a}\n.ends\n.param b=1\nx1 q s\n",
        {"q": 1},
    ),
    "a subcircuit inside hides the one outside": (
        ".subckt i n\nvs n 0 1\n.ends\n.subckt o n p=6\n.subckt i n\nvs n 0 {p}\n.ends\n"
        "xi n i\n.ends\nx1 a o\nx2 b i\n",
        {"a": 6, "b": 1},
    ),
    "functions call functions": (
        ".func f(x) {x*2}\n.func g(x,k) {f(x)+k}\nva a 0 {g(2,1)}\n",
        {"a": 5},
    ),
    "a formal hides a parameter": (".param k=3\n.func f(k) {k*2}\nva a 0 {f(5)}\nvb b 0 {k}\n", {"a": 10, "b": 3}),
    "a function reads the parameters where it is called": (
        ".func f(x) {x*k}\n.param k=3\n.subckt s n k=10\nvs n 0 {f(1)}\n.ends\nx1 a s\nvb b 0 {f(1)}\n",
        {"a": 10, "b": 3},
    ),
    "a function inside a subcircuit hides the one outside": (
        ".func f(x) {x*2}\n.subckt s n k=3\n.func f(x) {x*k}\nvs n 0 {f(1)}\n.ends\nx1 a s\nvb b 0 {f(1)}\n",
        {"a": 3, "b": 2},
    ),
    "the last .func counts": (".func f(x) {x}\n.func f(x) {x*2}\nva a 0 {f(5)}\n", {"a": 10}),
    "powers of numbers": (
        ".param x=-2\nva a 0 {pow(x,3)}\nvb b 0 {x^3}\nvc c 0 {pwr(x,3)}\nvd d 0 {2^3^2}\nve e 0 {-2^2}\n",
        {"a": -8, "b": 8, "c": 8, "d": 64, "e": -4},
    ),
    "functions of numbers": (
        "va a 0 {int(-2.7)}\nvb b 0 {sqr(3)}\nvc c 0 {max(1,3)}\nvd d 0 {nint(2.5)}\nve e 0 {1>2?3:4}\n",
        {"a": -2, "b": 9, "c": 3, "d": 2, "e": 4},
    ),
}


def source_at(circuit: Circuit, node: str) -> Branch:
    """Return the only voltage source between ``node`` and ground."""
    net = circuit.nets.index(node)
    (source,) = [b for b in circuit.branches if b.law.kind == "V" and b.nets == (net, 0)]
    return source


@pytest.mark.parametrize("name", CASES)
def test_value(name: str) -> None:
    body, expected = CASES[name]
    circuit = circuit_of(body)
    found = {node: number_of(circuit, source_at(circuit, node).values[0]) for node in expected}
    assert found == pytest.approx(expected)


@pytest.mark.ngspice
@pytest.mark.parametrize("name", CASES)
def test_value_in_ngspice(name: str, tmp_path: Path) -> None:
    body, expected = CASES[name]
    loads = "\n".join(f"rload{node} {node} 0 1" for node in expected)
    assert ngspice_operating_point(tmp_path, body + loads, list(expected)) == pytest.approx(expected)


def test_leaves_are_the_independent_numbers() -> None:
    circuit = circuit_of(
        ".param a=5 b={a*2} unused=3\n.subckt s n p=1 q={p*3} r=7\n.param t=2\n"
        "r1 n 0 {p}\nr2 n 0 {q}\nr3 n 0 {r}\nr4 n 0 {t}\nr5 n 0 {b}\n.ends\nx1 k s r=8\nx2 k s r={a}\nv1 k 0 1\n"
    )
    values = {name: parameter.value for name, parameter in circuit.parameters.items()}
    assert values == {"s.p": 1, "s.t": 2, "a": 5, "x1.r": 8}
    for element in ("r1", "r2", "r4", "r5"):
        first, second = (branch_of(circuit, f"{x}.{element}").values[0] for x in ("x1", "x2"))
        assert first is second, element


def test_local_definitions_have_lexical_leaves() -> None:
    circuit = circuit_of(
        ".subckt o n\n.subckt i n p=2\nr1 n 0 {p}\n.ends\nx1 n i\nx2 n i p=3\n.ends\nxa k o\nxb k o\nv1 k 0 1\n"
    )
    assert set(circuit.parameters) == {"o.i.p", "o.x2.p"}
    assert circuit.instances == {"o": ["xa", "xb"], "o.i": ["xa.x1", "xa.x2", "xb.x1", "xb.x2"]}


def test_a_subcircuit_and_an_instance_of_one_name_keep_apart() -> None:
    circuit = circuit_of(".subckt x1 n p=2\nr1 n 0 {p}\n.ends\nx1 k x1 p=3\nx2 k x1\nv1 k 0 1\n")
    assert number_of(circuit, branch_of(circuit, "x1.r1").values[0]) == 3
    assert number_of(circuit, branch_of(circuit, "x2.r1").values[0]) == 2


def test_flat_names() -> None:
    circuit = circuit_of(
        ".global vdd\n.subckt i a b\nr1 a m 1\nr2 m b 1\nr3 m vdd 1\n.ends\n.subckt o a\nx1 a gnd i\n.ends\n"
        "x2 in o\nv1 in 0 1\nv2 vdd 0 1\n"
    )
    assert [b.name for b in circuit.branches] == ["x2.x1.r1", "x2.x1.r2", "x2.x1.r3", "v1", "v2"]
    assert sorted(circuit.nets) == ["0", "in", "vdd", "x2.x1.m"]
    assert circuit.nets[0] == "0"


def test_warnings_about_parameters() -> None:
    again = circuit_of(".param a=1\n.param a=2\nr1 k 0 {a}\nv1 k 0 1\n")
    assert messages_of(again, "warning") == ["parameter 'a' is defined twice: the last one counts"]
    hidden = circuit_of(
        ".subckt s n p=1 q=2\nr1 n 0 {q+p}\n.ends\n.subckt o n p=5\nx1 n s q={p}\n.ends\nx1 k o\nv1 k 0 1\n"
    )
    assert any("ngspice may read" in message for message in messages_of(hidden, "warning"))


E_ = "v1 k 0 1\n"


@pytest.mark.parametrize(
    ("body", "line", "message", "hint"),
    [
        ("v1 k 0 1\nr1 k 0 {resi}\n.param resist=1\n", 2, "undefined parameter 'resi'", "'resist'"),
        (E_ + "x1 k mam\n.subckt mem n\nr1 n 0 1\n.ends\n", 2, "undefined subcircuit 'mam'", "'mem'"),
        (E_ + "x1 k 0 s\n.subckt s n\nr1 n 0 1\n.ends\n", 2, "'s' has 1 port, 2 nodes given", "n"),
        (E_ + "x1 k s ran=1\n.subckt s n ron=1\nr1 n 0 {ron}\n.ends\n", 2, "has no parameter 'ran'", "'ron'"),
        (
            E_ + "x1 k s\n.subckt s n\nx1 n t\n.ends\n.subckt t n\nx1 n s\n.ends\n",
            7,
            "contains itself: s -> t -> s",
            "",
        ),
        (E_ + "x1 k s\nx1 k s\n.subckt s n\nr1 n 0 1\n.ends\n", 3, "two instances named 'x1'", ""),
        (E_ + "r1 k 0 1\nr1 k 0 2\n", 3, "two elements named 'r1'", ""),
        (E_ + "x1 k s\n.subckt s n\nr1 n 0 1\n.ends\n.subckt s n\nr1 n 0 2\n.ends\n", 6, "'s' is defined twice", ""),
        (E_ + "r1 k 0 {a}\n.param a={b} b={c} c={a}\n", 3, "defined by itself: a -> b -> c -> a", ""),
        (E_ + ".param a={nowhere}\n", 2, "undefined parameter 'nowhere'", ""),
        (E_ + ".param a={1/(2-2)}\n", 2, "not a finite number", ""),
        (E_ + ".param a={pi}\n", 2, "undefined parameter 'pi'", "only in B"),
        (E_ + "r1 k 0 {f(1)}\n.func f(x) {g(x)}\n.func g(x) {f(x)}\n", 3, "calls itself: f -> g -> f", ""),
        (E_ + "r1 k 0 {f(1)}\n.func f(x,y) {x+y}\n", 2, "f() takes 2 arguments, 1 given", ""),
        (E_ + ".param a={v(k)}\n", 2, "a number is needed here", ""),
        (E_ + "x1 k s\n.subckt s n\nr1 n 0 1\n.tran 1u 1m\n.ends\n", 5, ".tran has no effect inside", ""),
    ],
)
def test_located_errors(body: str, line: int, message: str, hint: str) -> None:
    found = errors_of(body)
    assert any(at == line and message in text and hint in tip for at, text, tip in found), found


def test_a_long_chain_of_parameters() -> None:
    chain = "".join(f".param p{n + 1}={{p{n}+1}}\n" for n in range(500))
    circuit = circuit_of(f".param p0=1\n{chain}r1 k 0 {{p500}}\nv1 k 0 1\n")
    assert number_of(circuit, branch_of(circuit, "r1").values[0]) == 501
    backwards = "".join(f".param p{n + 1}={{p{n}+1}}\n" for n in reversed(range(500)))
    assert errors_of(f"{backwards}.param p0=1\nr1 k 0 {{p500}}\nv1 k 0 1\n")


def test_an_unused_parameter_of_a_subcircuit_must_be_right_too() -> None:
    assert errors_of("x1 k s\nv1 k 0 1\n.subckt s n q={nowhere}\nr1 n 0 1\n.ends\n") == [
        (3, "undefined parameter 'nowhere'", "")
    ]


def test_all_errors_together_and_each_once() -> None:
    found = errors_of(
        "r1 k 0 {a}\nr2 k 0 {b}\nx1 k s\nx2 k s\nx3 k t\n.subckt s n\nr1 n 0 {c}\nr1 n 0 2\n.ends\nv1 k 0 1\n"
    )
    assert [line for line, _, _ in found] == [1, 2, 5, 7, 8]
