"""One card a line against the printed tree, through the fast path and without it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netc.diagnostics import NetcError
from netc.parse import dump, parse_text

GOLDEN = {
    "R1 A B 10k": "R r1 a b 10000.0",
    "R1 (a,gnd) 1k tc1=1m tc2=-{x}": "R r1 a 0 1000.0 tc1=0.001 tc2=(-x)",
    "R1 a b rval": "R r1 a b rval",
    "R1 a b R='v(a)*{k}'": "R r1 a b (v(a) * k)",
    "C1 a 0 c = 1n ic=0.5": "C c1 a 0 1e-09 ic=0.5",
    "L1 a 0 1u IC={i0} m=2": "L l1 a 0 1e-06 ic=i0 m=2.0",
    "V1 a 0": "V v1 a 0",
    "V1 a 0 5": "V v1 a 0 dc 5.0",
    "V1 a 0 DC=5": "V v1 a 0 dc 5.0",
    "V1 a 0 dc 2 sin(0 1 1k)": "V v1 a 0 dc 2.0 SIN(0.0 1.0 1000.0)",
    "V1 a 0 SINE 0V 0.5V 100Hz AC 1 90": "V v1 a 0 SIN(0.0 0.5 100.0)",
    "V1 a 0 AC 1": "V v1 a 0",
    "I1 0 a PULSE(0,-1,{td},'2*tr')": "I i1 0 a PULSE(0.0 -1.0 td (2.0 * tr))",
    "V1 a 0 pwl(0 0 1u 1) r=0 td=1n": "V v1 a 0 PWL(0.0 0.0 1e-06 1.0 r=0.0 td=1e-09)",
    "V1 a 0 EXP(0 1 1u)": "V v1 a 0 EXP(0.0 1.0 1e-06)",
    "E1 a 0 c d 2": "E e1 a 0 (c d) 2.0",
    "E1 3 0 1 0 2.5 ": "E e1 3 0 (1 0) 2.5",
    "G1 3 0 (1 2) {g}": "G g1 3 0 (1 2) g",
    "X1 1 2 0 3sub": "X x1 1 2 0 3sub",
    "E1 a 0 (c,d) {g}": "E e1 a 0 (c d) g",
    "G1 a 0 c d 1m": "G g1 a 0 (c d) 0.001",
    "F1 a 0 Vs -0.14": "F f1 a 0 (vs) -0.14",
    "H1 a 0 R1 1k": "H h1 a 0 (r1) 1000.0",
    "E1 a 0 VALUE {V(b)*2}": "E e1 a 0 v=(v(b) * 2.0)",
    "E1 a 0 vol='v(b)*{2}'": "E e1 a 0 v=(v(b) * 2.0)",
    "G1 a 0 value=v(b)*2": "G g1 a 0 i=(v(b) * 2.0)",
    "G1 a 0 cur = 'i(G2)'": "G g1 a 0 i=i(g2)",
    "B1 a 0 V = -2^2 + time": "B b1 a 0 v=((-(2.0 ^ 2.0)) + time)",
    "B1 a 0 i={v(a) > 0 ? 1 : 2}": "B b1 a 0 i=((v(a) > 0.0) ? 1.0 : 2.0)",
    "X1 a gnd c sub": "X x1 a 0 c sub",
    "X1 a b sub PARAMS: p=1 q={2*r}": "X x1 a b sub p=1.0 q=(2.0 * r)",
    "X1 a b sub p = 2*3 q=r": "X x1 a b sub p=(2.0 * 3.0) q=r",
    ".param a=1+ 2 b = 3 c='a*b'": ".param a=(1.0 + 2.0) b=3.0 c=(a * b)",
    ".params a={1}": ".param a=1.0",
    ".param f(x,y)=x*y": ".func f(x, y) (x * y)",
    ".func f(V) {V*2}": ".func f(v) (v * 2.0)",
    ".func f(x) = {x}": ".func f(x) x",
    ".func f(x) 'x'": ".func f(x) x",
    ".func f() = 1+1": ".func f() (1.0 + 1.0)",
    ".model m R(tc1=1m, rsh=2)": ".model m r tc1=0.001 rsh=2.0",
    ".model m D is=1e-14": ".model m d is=1e-14",
    ".ic v(a)=1 v(x.y) = {b}": ".ic v(a)=1.0 v(x.y)=b",
    ".nodeset V(a)=.5": ".nodeset v(a)=0.5",
    ".tran 1u 1m": ".tran 1e-06 0.001",
    ".tran 1u {10*t} 0 1n UIC": ".tran 1e-06 (10.0 * t) 0.0 1e-09 uic",
    ".options reltol=1e-4 acct method=gear": ".options reltol=0.0001 acct method=gear",
    ".temp 27": ".temp 27.0",
    ".global vdd vss": ".global vdd vss",
    ".save all": ".save all",
    ".save V(a) v(a,b) i(V1) n @r1[i] v1#branch": ".save v(a) v(a,b) i(v1) v(n) i(r1) i(v1)",
    ".print tran v(a)": ".print v(a)",
    "*.NETC train R* xbar1.R* min=1k max={k*2} as=log": "*.netc train r* xbar1.r* min=1000.0 max=(k * 2.0) as=log",
}


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("text", GOLDEN)
def test_golden(text: str, fast: bool) -> None:
    lines = dump(parse_text(f"t\n{text}\n", fast=fast)).splitlines()
    assert lines[2:] == [GOLDEN[text] + "  ; deck.cir:2"]


def test_models_are_told_from_parameters() -> None:
    text = "t\nR1 a b m1\nR2 a b p1\n.subckt s a\nR3 a 0 m1 2k\nR4 a 0 1k m1\nR5 a 0 p1 m1\n.ends\n.model m1 R(tc1=0)\n"
    deck = parse_text(text)
    first, second, subcircuit = deck.cards[:3]
    assert (first.model, first.value) == ("m1", None)
    assert (second.model, second.value.name) == (None, "p1")
    assert [c.model for c in subcircuit.cards] == ["m1"] * 3
    assert [getattr(c.value, "value", None) for c in subcircuit.cards] == [2000.0, 1000.0, None]


word = st.text("abR01_.:#!/+-", min_size=1, max_size=5)
number = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "-", "+"]),
        st.sampled_from(["1", "12.5", ".5", "7.", "0", "1_0", "1.2.3", "x"]),
        st.sampled_from(["", "k", "meg", "M", "m", "p", "mil", "e3", "e-12", "E+400", "d3", "F", "kOhm", "4"]),
    ),
)
gap = st.sampled_from([" ", "  ", "\t", ",", " , "])
plain = st.one_of(
    st.tuples(st.sampled_from("RCLVIrclvi"), word, gap, word, gap, word, gap, number),
    st.tuples(st.sampled_from("EGeg"), word, gap, word, gap, word, gap, word, gap, word, gap, number),
    st.tuples(st.sampled_from("FHfh"), word, gap, word, gap, word, gap, word, gap, number),
    st.tuples(st.just("X"), word, gap, word, gap, word, gap, st.sampled_from(["mif", "params:", "a=1", "gnd"])),
).map("".join)


@given(st.lists(plain, max_size=4))
def test_fast_path_builds_the_same_tree(cards: list[str]) -> None:
    text = "\n".join(["t", *cards, ""])
    results = []
    for fast in (True, False):
        try:
            deck = parse_text(text, fast=fast)
            results.append((deck.cards, deck.diagnostics))
        except NetcError as error:
            results.append(str(error))
    assert results[0] == results[1]


def test_fast_path_is_taken() -> None:
    from netc.parse.fast import FastReader
    from netc.parse.lines import logical_lines

    cards = ["R1_2 w1 b2p 12.5k", "Ein7 w7 0 alpha 0 0.05", "F3 mem3 0 Vs3 -0.14", "X3 mem3 mif", "V1 a gnd 1e-3"]
    read = [FastReader().read(line) for line in logical_lines(cards, "deck.cir")]
    assert None not in read


REFUSED = {
    "R1 a": "expected a node, but the line ends",
    "R1 a b": "r1 has no value",
    "R1 a b 2*x": "'2*x' is not a number",
    "R1 a b 1 2": "more than one value",
    "R1 a b 1k r=2": "more than one value",
    "C1 a 0 1n ic=1 ic=2": "given twice",
    "R1 a 0 {2*(x}": "'(' is not closed before this '}'",
    "V1 a 0 1 dc 2": "more than one DC value",
    "V1 a 0 TRNOISE(1 1n)": "TRNOISE is not supported yet",
    "V1 a 0 PULSE(0 1": "'(' is never closed",
    "E1 a 0 POLY(2) b 0 0 1": "POLY(2) wants 2 pairs of nodes",
    "E1 a 0 POLY(1.5) b 0 0 1": "a whole number from 1",
    "E1 a 0 TABLE {v(a)} = (0,1)": "TABLE wants two or more pairs",
    "E1 a 0 LAPLACE {v(a)} = {1/(1+s)}": "LAPLACE is not supported yet",
    "E1 a 0 v={v(b)}": "value= or vol=",
    "G1 a 0 i = v(b)": "value= or cur=",
    "E1 a 0 cur='1'": "'cur=' does not belong on E",
    "E1 a 0 b 0 1 m=2": "'m=' is not supported on this element",
    "V1 a 0 1 m=2": "'m=' has no meaning on a voltage source",
    "B1 a 0 x=1": "expected v= or i=",
    "X1": "names no subcircuit",
    "T1 a 0 b 0": "transmission lines are not supported yet",
    "K1 L1 0.5": "couples fewer than two inductors",
    "12 a b": "neither an element nor a card",
    ".param a = 10 k": "written without a space: 10k",
    "B1 a 0 v=10 mV": "written without a space: 10mv",
    "E1 a 0 b 0 10 meg": "written without a space: 10meg",
    "V1 a 0 PWL(file=waves.txt)": "file= of PWL is not supported yet",
    "F1 a 0 POLY(2) V1": "POLY(2) wants 2 elements",
    ".param a=1, b=2": "without commas",
    ".param a=": "expected a value",
    ".ic a=1": "expected v(node)",
    ".ic i(l1)=1": "only voltages can be set here",
    ".func f x = 2": "expected a function",
    ".func f(x,x) = 2": "given twice",
    ".tran": "expected a value",
    ".tran 1 2 3 4 5": "one to four values",
    ".foo 1": "unknown card .foo",
    ".ac dec 10 1 1k": "--lenient",
    ".if (1)": ".if has no .endif",
    ".endif": ".endif without .if",
    ".else": ".else without .if",
    ".if\n.endif": ".if has no condition",
    ".if a==1\n.endif": "stands in parentheses",
    ".ends": ".ends without .subckt",
    ".subckt s a a\n.ends": "port 'a' is given twice",
    ".subckt s a": ".subckt s has no .ends",
    ".control": ".control has no .endc",
    ".endc": ".endc without .control",
    ".include": "names no file",
    ".lib a b c": "more than one file name",
    "*.netc": "the directive has no word",
    "C1 a 0 \N{MINUS SIGN}5": "a Unicode minus sign",
    "C1 a 0 1\N{GREEK SMALL LETTER MU}": "not the micro sign",
    "R1\N{NO-BREAK SPACE}a 0 1": "a no-break space",
    "\N{NO-BREAK SPACE}": "neither an element nor a card",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused_with_a_place_and_human_words(text: str) -> None:
    with pytest.raises(NetcError) as caught:
        parse_text(f"t\n{text}\n")
    message = str(caught.value)
    assert REFUSED[text] in message
    assert message.startswith("deck.cir:2:")
    assert "^" in message
    assert not any(token in message for token in ("RPAR", "WORD", "NUMBER", "$END", "Token", "EQUAL", "SIGNED"))


def test_caret_points_at_the_value() -> None:
    with pytest.raises(NetcError) as caught:
        parse_text("t\n  R1 a\tb 2*x\n")
    assert str(caught.value).splitlines()[:3] == [
        "deck.cir:2:10: error: '2*x' is not a number",
        "    2 |   R1 a b 2*x",
        "                 ^^^",
    ]


def test_all_errors_together_in_order() -> None:
    with pytest.raises(NetcError) as caught:
        parse_text("t\nR1 a\nR2 a b 1k\n.foo\nB1 a 0 v=(1\n.subckt s a\nT1 a b c\n.ends\n")
    assert [d.span.line for d in caught.value.diagnostics] == [2, 4, 5, 7]
