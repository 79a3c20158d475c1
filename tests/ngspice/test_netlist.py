import pytest

from netc.diagnostics import NetcError, Span
from netc.ir.program import Timing
from netc.ngspice.bridge import run
from netc.ngspice.locate import find_ngspice
from netc.ngspice.netlist import TOLERANCES, current_vector, ngspice_text
from netc.parse.ast import Deck, Directive, Include, Options, Output, Param, Subcircuit, Tran

TIMING = Timing(tstep=1e-5, tstop=5e-3, tmax=2e-6)


def card(line: int, file: str = "a.cir") -> Param:
    """Any card that stands on ``line``; the text comes from the source, not from the card."""
    return Param((), Span(file, line))


def deck(text: str, *cards: object, **included: str) -> Deck:
    sources = {"a.cir": text.splitlines()} | {name: body.splitlines() for name, body in included.items()}
    return Deck("a.cir", "title", cards, sources)  # type: ignore[arg-type]  # a tuple of cards


def body(text: str) -> list[str]:
    """The lines between the title and what netc adds at the end."""
    lines = text.splitlines()
    assert lines[0] == "* netc"
    assert lines[-3:] == [f".options {TOLERANCES}", ".tran 1e-05 0.005 0 2e-06", ".end"]
    return lines[1:-3]


def test_lines_go_over_word_for_word_with_their_continuations() -> None:
    text = "title\nR1  A b\n\n* note\n+ 1K ; one\n  + TC1=0\nC1 b 0 1u\n+ ic=0\nV1 a 0 1"
    made = ngspice_text(deck(text, card(2), card(7), card(9)), TIMING)
    assert body(made) == ["R1  A b", "+ 1K", "+ TC1=0", "C1 b 0 1u", "+ ic=0", "V1 a 0 1"]


def test_only_cards_go_over() -> None:
    text = (
        "*ng_script\n*# shell touch x\nR1 a 0 1k\n.control\nshell touch x\n.endc\n.tran 1 2\n.print v(a)\n"
        "*.netc output a\n.end\n.control\nshell touch x\n.endc"
    )
    tran, output = Tran((), False, Span("a.cir", 7)), Output("print", (), Span("a.cir", 8))
    directive = Directive("output", ("a",), (), Span("a.cir", 9))
    made = ngspice_text(deck(text, card(3), tran, output, directive), TIMING)
    assert body(made) == ["R1 a 0 1k"]


def test_included_files_are_inlined() -> None:
    text = 'title\n.include "lib.inc"\nX1 a 0 cell'
    inside = Subcircuit("cell", ("a", "b"), (), (card(2, "lib.inc"),), Span("lib.inc", 1))
    include = Include("lib.inc", None, (inside,), Span("a.cir", 2))
    made = ngspice_text(deck(text, include, card(3), **{"lib.inc": ".subckt cell a b\nR1 a b 1k\n.ends cell"}), TIMING)
    assert body(made) == [".subckt cell a b", "R1 a b 1k", ".ends", "X1 a 0 cell"]


def test_one_line_with_two_cards_goes_over_once() -> None:
    made = ngspice_text(deck("title\n.param a=1 f(x)={x+a}", card(2), card(2)), TIMING)
    assert body(made) == [".param a=1 f(x)={x+a}"]


def test_options_of_the_author_stay_but_for_the_tolerances() -> None:
    text = "title\n.options RELTOL=1e-2 method = gear interp vntol={1e-3 * 2}\n+ gmin=1e-13, abstol=1\n.option acct"
    options = [Options((), Span("a.cir", 2)), Options((), Span("a.cir", 4))]
    assert body(ngspice_text(deck(text, *options), TIMING)) == [".options method=gear gmin=1e-13"]


def test_control_characters_cannot_make_a_line() -> None:
    text = "title\nR1 a 0 1k\x0b.control\x85.shell\u2028*# shell\x0c"
    source = Deck("a.cir", "title", (card(2),), {"a.cir": text.split("\n")})
    assert body(ngspice_text(source, TIMING)) == ["R1 a 0 1k .control .shell *# shell"]


def test_initial_conditions_and_signals() -> None:
    timing = Timing(tstep=1e-5, tstop=5e-3, tstart=1e-3, uic=True)
    lines = ngspice_text(deck("t"), timing, nodes=["out", "xn.x1", "i(v1)", "i(xn.r1)"]).splitlines()
    assert lines[-3:] == [
        ".save v(out) v(xn.x1) v1#branch @r.xn.r1[i]",
        ".tran 1e-05 0.005 0 1e-05 uic",
        ".end",
    ]
    assert current_vector("x1.x2.l3") == "l.x1.x2.l3#branch"


@pytest.mark.parametrize("name", ["a b", "a)\n.control", "i(v1) shell", "a;b", "", "a=b", 'a"'])
def test_a_signal_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(NetcError, match="cannot be asked"):
        ngspice_text(deck("t"), TIMING, nodes=[name])


def test_a_line_that_is_gone_is_an_error() -> None:
    with pytest.raises(NetcError, match="gone"):
        ngspice_text(deck("t", card(7)), TIMING)


@pytest.mark.ngspice
@pytest.mark.skipif(not find_ngspice().engines, reason="ngspice is not installed")
def test_signals_of_every_kind_come_back() -> None:
    text = """title
.subckt cell a b params: g=1m
R1 a m 1k
C1 m b 1u
L1 b b2 1m
Rb b2 0 1k
G1 a b value={g*v(a,b)}
G2 a b a b 1m
E1 e 0 value={2*v(a)}
V9 e f 0
R9 f 0 1k
F1 a 0 V9 0.1
H1 h 0 V9 10
B1 a 0 i=v(a)*1e-3
.ends
I1 0 in SIN(0 1m 1k)
Xn in o/1 cell
R2 o/1 0 1k"""
    cell = Subcircuit("cell", (), (), tuple(card(n) for n in range(3, 15)), Span("a.cir", 2))
    names = ["in", "o/1", "xn.m", "i(xn.r1)", "i(xn.c1)", "i(xn.l1)", "i(xn.g1)", "i(xn.g2)", "i(xn.e1)", "i(xn.v9)"]
    names += ["i(xn.f1)", "i(xn.h1)", "i(xn.b1)", "i(i1)"]
    made = ngspice_text(deck(text, cell, card(16), card(17), card(18)), TIMING, nodes=names)
    one = run(made, nodes=names, engine="pyspice").values
    two = run(made, nodes=names, engine="batch").values
    assert all((one[name] == two[name]).all() for name in names)
    assert one["i(xn.r1)"] == pytest.approx(one["i(xn.c1)"], abs=1e-9)
    assert one["i(xn.b1)"] == pytest.approx(one["in"] * 1e-3, abs=1e-9)
    assert one["i(xn.g1)"] == pytest.approx((one["in"] - one["o/1"]) * 1e-3, abs=1e-9)
    assert one["i(xn.g2)"] == pytest.approx(one["i(xn.g1)"], abs=1e-9)
    assert one["i(xn.f1)"] == pytest.approx(one["i(xn.v9)"] * 0.1, abs=1e-9)
    assert one["i(xn.e1)"] == pytest.approx(-one["i(xn.v9)"], abs=1e-9)
