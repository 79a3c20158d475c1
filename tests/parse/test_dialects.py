"""Decks of other simulators: the tree they give has ngspice's meaning."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netc.diagnostics import NetcError
from netc.elaborate import elaborate
from netc.parse import ast, dump, parse_text, write_deck
from netc.parse.dialects import DIALECTS


def lines(text: str, dialect: str) -> list[str]:
    deck = parse_text(f"t\n{text}\n", dialect=dialect)
    return [line.split("  ; ")[0] for line in dump(deck).splitlines()[2:]]


def value(expression: str, dialect: str) -> float:
    """Return what a parameter evaluates to."""
    circuit = elaborate(parse_text(f"t\n.param p={{{expression}}}\nV1 a 0 {{p}}\nR1 a 0 1\n", dialect=dialect))
    return circuit.number(circuit.branches[0].values[0])


NUMBERS = {
    ("ltspice", "4k7"): 4700.0,
    ("ltspice", "2u2"): 2.2e-6,
    ("ltspice", "1Meg5"): 1.5e6,
    ("ltspice", "3\N{GREEK SMALL LETTER MU}3"): 3.3e-6,
    ("ltspice", "1F"): 1e-15,
    ("ltspice", "10nF"): 1e-8,
    ("pspice", "1meg"): 1e6,
    ("hspice", "2x"): 2e6,
    ("hspice", "3a"): 3e-18,
    ("hspice", "1mil"): 25.4e-6,
    ("hspice", "1m"): 1e-3,
    ("hspice", "1meg"): 1e6,
}


@pytest.mark.parametrize(("dialect", "text"), NUMBERS)
def test_numbers(dialect: str, text: str) -> None:
    card = parse_text(f"t\nV1 n 0 {text}\n", dialect=dialect).cards[-1]
    assert isinstance(card, ast.IndependentSource) and isinstance(card.dc, ast.Number)
    assert card.dc.value == pytest.approx(NUMBERS[dialect, text], rel=1e-14)


VALUES = {
    ("ltspice", "if(0.4, 1, 2)"): 2,
    ("ltspice", "if(0.6, 1, 2)"): 1,
    ("ltspice", "0.4 ? 1 : 2"): 2,
    ("ltspice", "0.6 & 1 | 0"): 1,
    ("ltspice", "0.4 & 1"): 0,
    ("ltspice", "~0.4"): 1,
    ("ltspice", "(-2)**3"): -8,
    ("ltspice", "(-2)**2"): 4,
    ("ltspice", "2**-1"): 0.5,
    ("ltspice", "pow(-2, -3)"): -0.125,
    ("ltspice", "pow(-2, 2.5)"): 0,
    ("ltspice", "pow(2, 2.5)"): 2**2.5,
    ("ltspice", "pwr(-2, 3)"): 8,
    ("ltspice", "pwrs(-2, 3)"): -8,
    ("ltspice", "limit(5, 3, 1)"): 3,
    ("ltspice", "limit(5, 1+0, 3+0)"): 3,
    ("ltspice", "u(0)"): 0,
    ("ltspice", "stp(1)"): 1,
    ("ltspice", "uramp(-2) + uramp(2)"): 2,
    ("ltspice", "buf(0.6) + 2*inv(0.6)"): 1,
    ("ltspice", "atan2(1, -1)"): math.atan2(1, -1),
    ("ltspice", "atan2(-1, 0)"): math.atan2(-1, 0),
    ("ltspice", "atan2(-1, -2)"): math.atan2(-1, -2),
    ("ltspice", "hypot(3, 4)"): 5,
    ("ltspice", "int(-2.7)"): -2,
    ("ltspice", "round(-2.5)"): -3,
    ("ltspice", "cbrt(-8)"): -2,
    ("ltspice", "pi + e"): math.pi + math.e,
    ("ltspice", "arctan(1) + arcsin(1)"): math.pi * 0.75,
    ("pspice", "if(0.4, 1, 2)"): 1,
    ("pspice", "(-2)**3"): -8,
    ("pspice", "(-2)^3"): -8,
    ("pspice", "pwr(-2, 3)"): 8,
    ("pspice", "pwrs(-2, 3)"): -8,
    ("pspice", "limit(5, 1, 3)"): 3,
    ("pspice", "stp(0)"): 0,
    ("pspice", "pi"): math.pi,
    ("hspice", "pow(-2, 3.7)"): -8,
    ("hspice", "pow(2, 3.7)"): 8,
    ("hspice", "(-2)**3.7"): -8,
    ("hspice", "2**3.7"): 2**3.7,
    ("hspice", "2^3"): 8,
    ("hspice", "pwr(-2, 3)"): -8,
    ("hspice", "log(-2)"): -math.log(2),
    ("hspice", "log10(-100)"): -2,
    ("hspice", "sqrt(-4)"): -2,
    ("hspice", "sign(3, -1)"): -3,
    ("hspice", "db(10)"): 20,
    ("hspice", "int(2.7)"): 2,
}


@pytest.mark.parametrize(("dialect", "text"), VALUES)
def test_values(dialect: str, text: str) -> None:
    assert value(text, dialect) == pytest.approx(VALUES[dialect, text], rel=1e-14, abs=1e-14)


def test_a_function_of_the_deck_comes_first() -> None:
    assert lines(".func u(x) {x*3}\nB1 a 0 v=u(2)", "ltspice")[1] == "B b1 a 0 v=u(2.0)"
    assert lines(".param pi=3\nB1 a 0 v=pi", "ltspice")[1] == "B b1 a 0 v=pi"


CARDS = {
    ("ltspice", "R1 a$b 0 1 ; $ x"): ["R r1 a$b 0 1.0"],
    ("pspice", "R1 $g_vcc 0 1"): ["R r1 $g_vcc 0 1.0"],
    ("ltspice", ".tran 10m"): [".tran (0.01 / 1000.0) 0.01"],
    ("ltspice", ".tran 0 10m 0 10u"): [".tran 1e-05 0.01 0.0 1e-05"],
    ("pspice", ".tran 0 10m SKIPBP"): [".tran (0.01 / 1000.0) 0.01 uic"],
    ("ltspice", "V1 a 0 PWL(0 0 +1u 1 +2u 3)"): ["V v1 a 0 PWL(0.0 0.0 (0.0 + 1e-06) 1.0 ((0.0 + 1e-06) + 2e-06) 3.0)"],
    ("ngspice", "V1 a 0 PWL(0 0 +1u 1)"): ["V v1 a 0 PWL(0.0 0.0 1e-06 1.0)"],
    ("ltspice", "V1 a 0 5 Rser=2"): ["V v1 v1_rser 0 dc 5.0", "R r_v1_rser a v1_rser 2.0"],
    ("ltspice", "V1 a 0 5 Rser=0"): ["V v1 a 0 dc 5.0"],
    ("ltspice", "C1 a b 1u Rser=2 Lser=3 Rpar=4 Cpar=5 IC=1"): [
        "C c1 c1_lser b 1e-06 ic=1.0",
        "R r_c1_rser a c1_rser 2.0",
        "L l_c1_lser c1_rser c1_lser 3.0",
        "R r_c1_rpar a b 4.0",
        "C c_c1_cpar a b 5.0",
    ],
    ("pspice", ".model s VSWITCH(Ron=1 Roff=1meg Von=2 Voff=1)"): [
        ".model s sw ron=1.0 roff=1000000.0 vt=((2.0 + 1.0) / 2.0) vh=((2.0 - 1.0) / 2.0)"
    ],
    ("hspice", "R1 a 0 'r*2' $ note"): [".options temp=25.0 tnom=25.0", "R r1 a 0 (r * 2.0)"],
    ("pspice", "B1 a 0 v=TEMP"): ["B b1 a 0 v=temper"],
    ("ngspice", 'B1 a 0 v="1+2"'): ["B b1 a 0 v=(1.0 + 2.0)"],
    ("ltspice", "B1 a 0 I=((v(b)"): ["B b1 a 0 i=v(b)"],
    ("ltspice", "G1 a 0 value={(v(b)*(1+2)}"): ["G g1 a 0 i=(v(b) * (1.0 + 2.0))"],
    ("ltspice", "R1 a 0 R='(2*(x+1'"): ["R r1 a 0 (2.0 * (x + 1.0))"],
    ("ltspice", "V1 a 0 5 AC 1 Rser=1"): ["V v1 v1_rser 0 dc 5.0", "R r_v1_rser a v1_rser 1.0"],
    ("ltspice", "B1 a 0 V=1 Rpar=1k"): ["B b1 a 0 v=1.0", "R r_b1_rpar a 0 1000.0"],
    ("ltspice", "B1 a 0 V=table(v(b),0,1,2,3)"): ["B b1 a 0 v=pwl(min(max(v(b), 0.0), 2.0), 0.0, 1.0, 2.0, 3.0)"],
    ("ltspice", ".ic V(a)=1 I(L1)=2\nL1 a 0 1m"): [".ic v(a)=1.0", "L l1 a 0 0.001 ic=2.0"],
    ("ltspice", "L1 a 0 1m IC=3\n.ic I(L1)=2"): ["L l1 a 0 0.001 ic=2.0"],
    ("pspice", ".PARAM a=1, b={max(2,3)}"): [".param a=1.0 b=max(2.0, 3.0)"],
    ("pspice", ".TRAN/OP 1u 1m"): [".tran 1e-06 0.001"],
    ("hspice", "G1 a 0 VCCS b 0 2m"): [".options temp=25.0 tnom=25.0", "G g1 a 0 (b 0) 0.002"],
    ("hspice", ".macro s a\n.eom"): [".options temp=25.0 tnom=25.0", ".subckt s a"],
}


@pytest.mark.parametrize(("dialect", "text"), CARDS)
def test_cards(dialect: str, text: str) -> None:
    assert lines(text, dialect) == CARDS[dialect, text]


def test_inside_subcircuits_and_branches() -> None:
    body = ".subckt s a k={if(1,2,3)}\nB1 a 0 v=stp(k)\n.ends\n.if (1)\nB2 a 0 v=if(1,2,3)\n.endif"
    shown = lines(body, "ltspice")
    assert shown[0] == ".subckt s a k=((1.0 > 0.5) ? 2.0 : 3.0)"
    assert shown[1] == "  B b1 a 0 v=((k > 0.0) ? 1.0 : 0.0)"
    assert shown[-1] == "  B b2 a 0 v=((1.0 > 0.5) ? 2.0 : 3.0)"


def test_hspice_has_parameters_in_conditions() -> None:
    text = "t\n.param m=2\n.if m==2\n.param r=5\n.elseif (m==3)\n.param r=6\n.endif\n.if (r==5)\nR1 a 0 'r'\n.endif\n"
    circuit = elaborate(parse_text(text + "V1 a 0 1\n", dialect="hspice"))
    assert [circuit.number(branch.values[0]) for branch in circuit.branches] == [5, 1]


def test_hspice_hides_local_parameters() -> None:
    text = ".param w=1\n.subckt s a w=2\nR1 a 0 'w'\n.ends\nX1 b s\n"
    text += "X2 b t\n.subckt t a\n.param w=3\nR1 a 0 'w'\n.ends\nX3 b s w=4\nV1 b 0 1\n"
    for option, expected in ("", [1, 1, 1]), (".option parhier=local\n", [2, 3, 4]):
        deck = parse_text(f"t\n{text}{option}", dialect="hspice")
        circuit = elaborate(deck)
        assert [circuit.number(b.values[0]) for b in circuit.branches if b.values and "r1" in b.name] == expected
        assert bool(deck.diagnostics) == (not option)


REFUSED = {
    ("pspice", "B1 a 0 v=if(v(a)>1 ^ v(b)>2, 1, 2)"): None,
    ("pspice", "B1 a 0 v=(v(a)>1) ^ (v(b)>2)"): "exclusive or",
    ("ngspice", "B1 a 0 v=v(a)>1 & v(b)>2"): "--dialect ltspice or pspice",
    ("ngspice", ".unprot"): "--dialect hspice",
    ("ngspice", ".model a ako:b d(is=1f)"): "--dialect ltspice or pspice",
    ("ltspice", ".ic I(L9)=2"): "no inductor 'l9'",
    ("ngspice", ".ic I(L9)=2"): "only voltages can be set here",
    ("ltspice", ".tran 0 1 0 1m steady"): "",
    ("ltspice", ".ic I(L1)=2\nL1 a 0 1m\n.tran 1m"): "add uic",
}


@pytest.mark.parametrize(("dialect", "text"), REFUSED)
def test_refused(dialect: str, text: str) -> None:
    said = REFUSED[dialect, text]
    if said is None:
        parse_text(f"t\n{text}\n", dialect=dialect)
        return
    with pytest.raises(NetcError) as caught:
        parse_text(f"t\n{text}\n", dialect=dialect)
    assert said in str(caught.value)
    assert all(d.span and d.span.line == 2 for d in caught.value.diagnostics)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("V1 a 0 {cbrt(2)}", "ltspice"),
        ("V1 a 0 {pwrs(1,2)}", "ltspice or pspice"),
        ("B1 a 0 v=db(2)", "hspice"),
        ("V1 a 0 1\nC1 a 0 1n rser=1", "ltspice"),
        ("V1 a 0 1\n.tran 0 1m", "ltspice or pspice"),
        ("V1 a 0 1\n.tran 1m", "ltspice"),
    ],
)
def test_what_another_dialect_knows_is_said(text: str, names: str) -> None:
    with pytest.raises(NetcError) as caught:
        elaborate(parse_text(f"t\n{text}\nR1 a 0 1\n"))
    assert f"--dialect {names}" in str(caught.value)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_plain_cards_are_the_same_in_all(dialect: str) -> None:
    text = "R1 a b 10k\nC1 b 0 1n IC=1\n.param x=2*3 y={x+1}\nB1 c 0 v=v(a)*exp(x)\n"
    text += "X1 a b s\n.subckt s p q\nR1 p q 1\n.ends"
    shown = [line for line in lines(text, dialect) if not line.startswith(".options")]
    assert shown == lines(text, "ngspice")


cards = st.lists(
    st.text("RVCBGEX.ab01 =(){}'\"+-*,;$^&|kmu\n", max_size=30)
    | st.builds(
        "{} {}".format,
        st.sampled_from(["V1 a 0", "B1 a 0 v=", ".param p=", ".meas tran m", ".if", ".tran", "C1 a b 1u", ".print"]),
        st.text("ab01 =(){}'+-*,;$^&|kmuv", max_size=25),
    ),
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(cards, st.sampled_from(sorted(DIALECTS)))
def test_any_text_is_a_deck_or_a_clear_error(found: list[str], dialect: str) -> None:
    try:
        deck = parse_text("\n".join(["t", *found, ""]), dialect=dialect)
        write_deck(deck)
    except NetcError as error:
        assert error.diagnostics


def test_hspice_multiplies_instances_in_instances() -> None:
    text = ".subckt c a\nR1 a 0 1k\n.ends\n.subckt q a\nX1 a c m=2\n.ends\nX1 b q m=3\nV1 b 0 1\n"
    circuit = elaborate(parse_text(f"t\n{text}", dialect="hspice"))
    resistor = next(branch for branch in circuit.branches if branch.name == "x1.x1.r1")
    assert [circuit.number(value) for value in resistor.values] == [1000, 6]
    with pytest.raises(NetcError, match="ngspice forgets one"):
        elaborate(parse_text(f"t\n{text}"))


@pytest.mark.parametrize(
    ("dialect", "text", "plain"),
    [
        ("hspice", "E1 a 0 pwl(1) b 0 0,0 1v,2v", "E1 a 0 value={pwl(min(max(v(b,0),0),1),0,0,1,2)}"),
        ("hspice", "E1 a 0 vcvs b 0 2 max=3 min=-1", "E1 a 0 value={max(min(2*v(b,0),3),-1)}"),
        ("hspice", "V1 a 0 pwl 0 0 1u 1 r", "V1 a 0 pwl(0 0 1u 1 r=0)"),
        ("hspice", "V1 a 0 pwl(0 0 1u 1 r)", "V1 a 0 pwl(0 0 1u 1 r=0)"),
        ("ltspice", "E1 a 0 b 0 table=(0 0, 1 2)", "E1 a 0 value={pwl(min(max(v(b,0),0),1),0,0,1,2)}"),
        ("ltspice", "V1 a 0 SINE(0 1 1k 0 0 0 0)", "V1 a 0 sin(0 1 1k 0 0 0)"),
        ("ltspice", "C1 a b Q=2n*x", "C1 a b Q=2n*v(a,b)"),
        ("ltspice", ".param x 2m", ".param x=2m"),
        ("ltspice", "V1 a 0 3\n.tran 0 1m 0 1u startup", "V1 a 0 pwl(0 0 2e-05 3)\n.tran 1u 1m 0 1u"),
        ("pspice", ".model r res(r=1 dev=5% tc1=1m)\nR1 a 0 r 2k", ".model r res(tc1=1m)\nR1 a 0 r 2k"),
        ("pspice", ".model c cap(c=3 tc1=1m)\nC1 a 0 c 2n", ".model c c(tc1=1m)\nC1 a 0 c {2n*3}"),
        ("pspice", ".model b d(isr=1f)\n.model c d(isr=1f nr=3)", ".model b d(isr=1f nr=2)\n.model c d(isr=1f nr=3)"),
        ("pspice", ".model b d(is=1f rs=2)\n.model c ako:b d(rs=3)", ".model b d(is=1f rs=2)\n.model c d(is=1f rs=3)"),
        ("pspice", ".model b d(is=1f rs=2)\n.model c ako: b", ".model b d(is=1f rs=2)\n.model c d(is=1f rs=2)"),
    ],
)
def test_written_in_ngspices_words(dialect: str, text: str, plain: str) -> None:
    found = write_deck(parse_text(f"t\n{text}\n", dialect=dialect))
    expected = write_deck(parse_text(f"t\n{plain}\n"))
    assert [line for line in found.splitlines() if not line.startswith(".options")] == expected.splitlines()


def test_pulses_and_sines_that_end() -> None:
    text = "V1 a 0 PULSE(0 1 1m 1u 1u 8u 20u 2)\nV2 b 0 SINE(1 2 1k 0 0 90 3)\nI3 0 c SINE(1 2 1k 0 0 90 3)\n"
    found = write_deck(parse_text(f"t\n{text}", dialect="ltspice"))
    deck = parse_text(found)
    pulses = next(card for card in deck.cards if isinstance(card, ast.IndependentSource) and card.name == "v1")
    assert pulses.waveform is not None and len(pulses.waveform.arguments) == 16
    sources = {card.name: card for card in deck.cards if isinstance(card, ast.BehaviouralSource)}
    assert {name: card.quantity for name, card in sources.items()} == {"b_v2": "v", "b_i3": "i"}
    with pytest.raises(NetcError, match="number of cycles"):
        parse_text("t\nV1 a 0 PULSE(0 1 1m 1u 1u 8u 20u {n})\n", dialect="ltspice")


def test_points_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "points.txt").write_text("0 0\n1u, 2\n\n* comment\n+1u 3k ; more\n")
    for source in ("PWL file=points.txt", 'PWL(file="points.txt")', "PWL file='points.txt' rser=0"):
        deck = parse_text(f"t\nV1 a 0 {source}\n", dialect="ltspice", directory=tmp_path)
        (card,) = deck.cards
        assert isinstance(card, ast.IndependentSource) and card.waveform is not None
        assert [part.value for part in card.waveform.arguments if isinstance(part, ast.Number)] == [
            *(0, 0, 1e-6, 2, 2e-6, 3000),
        ]
    for bad in ("PWL file=nothing.txt", "PWL file=../points.txt", "SINE(0 1) PWL file=points.txt"):
        with pytest.raises(NetcError):
            parse_text(f"t\nV1 a 0 {bad}\n", dialect="ltspice", directory=tmp_path)
    (tmp_path / "points.txt").write_text("0 0 0\n")
    with pytest.raises(NetcError, match=r"line 1 of points\.txt is not a time and a value"):
        parse_text("t\nV1 a 0 PWL file=points.txt\n", dialect="ltspice", directory=tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("V1 a 0 1\n.tran 1n 1u sweep x 1 2", "sweep of .tran"),
        (".data d x\n1k\n2k\n.enddata", ".data is not supported"),
        (".alter\ngarbage (", "runs after .alter"),
    ],
)
def test_several_runs_are_refused_once(text: str, said: str) -> None:
    with pytest.raises(NetcError, match=said) as caught:
        parse_text(f"t\n{text}\n.end\n", dialect="hspice")
    assert len(caught.value.diagnostics) == 1


def test_analyses_beside_a_transient_are_ignored() -> None:
    deck = parse_text("t\nR1 a 0 1\n.ac dec 10 1 1k\n.tran 1u 1m\n.end\n")
    assert [d.message for d in deck.diagnostics] == ["the analysis .ac is not supported: netc runs transients; ignored"]
    for text in (".ac dec 10 1 1k", ".step param x 1 2 1\n.tran 1u 1m"):
        with pytest.raises(NetcError, match="netc runs transients"):
            parse_text(f"t\nR1 a 0 1\n{text}\n")


def test_couplings_of_several_are_written_in_pairs() -> None:
    text = "L1 a 0 1m\nL2 b 0 1m\nL3 c 0 1m\nK1 L1 L2 L3 0.9\n"
    written = write_deck(parse_text(f"t\n{text}", dialect="ltspice")).splitlines()
    assert written[4:7] == ["k1 l1 l2 0.9", "k1_2 l1 l3 0.9", "k1_3 l2 l3 0.9"]


def test_optional_ports_of_pspice() -> None:
    text = ".SUBCKT RC IN OUT OPTIONAL: G=0 H=$G_HIGH PARAMS: R=1k\nR1 IN OUT {R}\nR2 G H 1\n.ENDS\n"
    text += "X1 A B RC PARAMS: R=2k\nX2 A B C RC\nX3 A B C D RC\n"
    deck = parse_text(f"t\n{text}", dialect="pspice")
    nodes = [card.nodes[2:] for card in deck.cards if isinstance(card, ast.Instance)]
    assert nodes == [("0", "$g_high"), ("c", "$g_high"), ("c", "d")]


def test_ltspice_ratings_and_missing_libraries_change_nothing() -> None:
    text = "t\nL1 a b 1m Ipk=2 Irms=1\nC1 b 0 1u V=25\nR1 a 0 1k tol=1 pwr=0.1 noiseless\n"
    text += ".lib C:\\LTC\\lib\\cmp\\standard.dio\n"
    deck = parse_text(text, dialect="ltspice")
    found = [card for card in deck.cards if isinstance(card, ast.Passive)]
    assert [(card.name, card.parameters) for card in found] == [("l1", ()), ("c1", ()), ("r1", ())]
    assert ["its models are missing" in d.message for d in deck.diagnostics] == [True]
    with pytest.raises(NetcError, match="is not found"):
        parse_text(text.replace("standard.dio", "mine.lib"), dialect="ltspice")


def test_a_voltage_may_name_an_element_but_a_node_of_that_name_counts() -> None:
    text = "t\nC1 a b 1u\nR1 c1x 0 1k\nB1 o 0 V=V(C1)+V(R1)\nR2 r1 0 1k\n.print tran V(C1)\n"
    deck = parse_text(text, dialect="pspice")
    source = next(card for card in deck.cards if isinstance(card, ast.BehaviouralSource))
    assert isinstance(source.expression, ast.Binary)
    left, right = source.expression.left, source.expression.right
    assert isinstance(left, ast.Voltage) and (left.positive, left.negative) == ("a", "b")
    assert isinstance(right, ast.Voltage) and (right.positive, right.negative) == ("r1", None)
    output = next(card for card in deck.cards if isinstance(card, ast.Output))
    assert [(s.positive, s.negative) for s in output.signals if isinstance(s, ast.Voltage)] == [("a", "b")]


def test_a_voltage_source_of_ltspice_may_have_a_resistance() -> None:
    deck = parse_text("t\nB1 a 0 V=time Rser=100\nR1 a 0 1k\n", dialect="ltspice")
    assert [card.name for card in deck.cards] == ["b1", "r_b1_rser", "r1"]


@pytest.mark.parametrize(
    ("dialect", "wave", "points"),
    [
        ("pspice", "PWL (0s,0v) (1ms,1v)", [0.0, 0.0, 1e-3, 1.0]),
        ("pspice", "PWL REPEAT FOREVER (0,0) (1m,1) (2m 0) ENDREPEAT", [0.0, 0.0, 1e-3, 1.0, 2e-3, 0.0]),
        ("ltspice", "PWL REPEAT FOREVER (0 0 1m 1 2m 0) ENDREPEAT", [0.0, 0.0, 1e-3, 1.0, 2e-3, 0.0]),
    ],
)
def test_points_of_a_waveform_in_parentheses_of_their_own(dialect: str, wave: str, points: list[float]) -> None:
    deck = parse_text(f"t\nV1 a 0 {wave}\nR1 a 0 1k\n", dialect=dialect)
    found = deck.cards[0]
    assert isinstance(found, ast.IndependentSource) and found.waveform is not None
    values = [argument.value for argument in found.waveform.arguments if isinstance(argument, ast.Number)]
    assert values == points
    assert [name for name, _ in found.waveform.parameters] == (["r"] if "REPEAT" in wave else [])


def test_names_of_nodes_in_brackets() -> None:
    deck = parse_text("t\nR1 N1 0 1k\n.PRINT TRAN V([N1]) V([N1],[N2])\n.IC V([N1])=1\n", dialect="pspice")
    output = next(card for card in deck.cards if isinstance(card, ast.Output))
    assert [(s.positive, s.negative) for s in output.signals if isinstance(s, ast.Voltage)] == [
        ("n1", None),
        ("n1", "n2"),
    ]
