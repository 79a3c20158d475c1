"""Decks written for ngspice: it reads them, and netc reads back the same circuit."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from netc.diagnostics import NetcError
from netc.parse import ast, dump, parse_deck, parse_text, write_deck
from netc.parse.dialects import Dialect
from netc.parse.foreign import NETC
from netc.parse.translate import rewritten
from netc.parse.write import flat

DECKS = sorted((Path(__file__).parents[1] / "agreement" / "decks").glob("*.cir"))
MODELS = Path(__file__).parents[2] / "models"


def tree(cards: Sequence[ast.Card]) -> list[str]:
    """Return cards printed without places, and without those that say what to observe."""
    text = dump(ast.Deck("", "", tuple(cards), {}))
    text = re.sub(r"\((-[0-9.e-]+)\)", r"\1", text)  # a negative number is read back as a minus and a number
    lines = [line.split("  ; ")[0] for line in text.splitlines()[2:]]
    return [line for line in lines if not line.startswith((".save", ".print", ".plot"))]


@pytest.mark.parametrize("path", DECKS, ids=lambda path: path.stem)
def test_what_is_written_reads_back_the_same(path: Path) -> None:
    deck = parse_deck(path, include_directories=[MODELS])
    again = parse_text(write_deck(deck))
    assert tree(again.cards) == tree(rewritten(flat(deck.cards), Dialect("netc", functions=NETC)))
    assert write_deck(parse_text(write_deck(again))) == write_deck(again)


WRITTEN = {
    "R1 a 0 10k": "r1 a 0 10000",
    "R1 a 0 {2*x}": "r1 a 0 r={(2*x)}",
    "C1 a 0 Q={v(a)*1n} IC=1": "c1 a 0 q={(v(a)*1e-09)} ic=1",
    "R1 a 0 m\n.model m r(r=5)": "r1 a 0 m",
    "C1 a 0 1u m\n.model m c(tc1=1m)": "c1 a 0 m 1e-06",
    "V1 a 0 dc 2 SIN(0 1 {f})": "v1 a 0 dc 2 sin(0 1 {f})",
    "E1 a 0 value={v(b)^2}": "e1 a 0 vol={(v(b)^2)}",
    "G1 a 0 b 0 1m": "g1 a 0 b 0 0.001",
    "G1 a 0 POLY(2) b 0 c 0 0 1 2": "g1 a 0 poly(2) b 0 c 0 0 1 2",
    "B1 a 0 v=if(v(b)>1,2,3)": "b1 a 0 v=((v(b) > 1) ? (2) : (3))",
    "B1 a 0 v=limit(v(b),1,2)": "b1 a 0 v=min(max(v(b),1),2)",
    "B1 a 0 v=table(v(b),0,1,2,3)": "b1 a 0 v=pwl(min(max(v(b),0),2),0,1,2,3)",
    "B1 a 0 v=atan2(v(b),1)": "b1 a 0 v=((1 == 0) ? ((sgn(v(b))*1.5707963267948966)) : ",
    ".func f(x) = x*2": ".func f(x) {(x*2)}",
    ".param a=1+2 b='a'": ".param a={(1 + 2)} b={a}",
    ".tran 1u {10*t} uic": ".tran 1e-06 {(10*t)} uic",
    ".print tran v(a,b) i(R1) i(V2)": ".save v(a) v(b) @r1[i] i(v2)",
    "*.netc train R* min=1k max=2k": "*.netc train r* min=1000 max=2000",
    "D1 a 0 dm 2 ic=0.5": "d1 a 0 dm 2 ic=0.5",
    "K1 L1 L2 0.9": "k1 l1 l2 0.9",
    ".options method=gear temp=40": ".options method=gear temp=40",
}


@pytest.mark.parametrize("text", WRITTEN)
def test_written(text: str) -> None:
    assert write_deck(parse_text(f"t\n{text}\n")).splitlines()[1].startswith(WRITTEN[text])


def test_an_integral_becomes_a_capacitor() -> None:
    text = write_deck(parse_text("t\nB1 a 0 v=sdt(v(b)*2,3)\n.end\n"))
    assert text.splitlines()[1:-1] == [
        "b1 a 0 v=v(netc_integral1)",
        "b_netc_integral1 0 netc_integral1 i=(v(b)*2)",
        "c_netc_integral1 netc_integral1 0 1 ic=3",
        ".ic v(netc_integral1)=3",
    ]


def test_conditions_with_parameters() -> None:
    text = "t\n.param m=2\n.if m==1\n.param r=5\n.elseif (m==2)\n.param r=6\nR1 a 0 1\n.else\n.param r=7\n.endif\n"
    lines = write_deck(parse_text(text, dialect="hspice")).splitlines()
    assert ".param r={((m == 1) ? (5) : (((m == 2) ? (6) : (7))))}" in lines
    assert lines[-6:] == [".if ((m == 1))", ".elseif ((m == 2))", "r1 a 0 1", ".else", ".endif", ".end"]
    with pytest.raises(NetcError, match="not given in every case"):
        write_deck(parse_text("t\n.param m=2\n.if m==1\n.param r=5\n.endif\n", dialect="hspice"))


@pytest.mark.parametrize("text", ["R1 a$b 0 1", "B1 a 0 v=delay(v(b),1)", "B1 a 0 v=sdt(1,2,3)"])
def test_no_form_in_ngspice(text: str) -> None:
    with pytest.raises(NetcError) as caught:
        write_deck(parse_text(f"t\n{text}\n", dialect="pspice"))
    assert caught.value.diagnostics[0].span is not None


VALUES = {
    "ltspice": "if(0.6,1,2)+(-2)**3+pow(-2,2.3)+pwrs(-2,3)+limit(5,1,3)+u(2)+atan2(-1,-2)+hypot(3,4)+int(-2.7)"
    "+round(2.5)+buf(0.6)+cbrt(-8)",
    "pspice": "if(0.6,1,2)+(-2)**3+pwr(-2,3)+pwrs(-2,3)+limit(5,1,3)+stp(2)+arctan(1)",
    "hspice": "pow(-2,3.7)+(-2)**3.7+pwr(-2,3)+log(-2)+log10(-100)+sqrt(-4)+sign(3,-1)+db(10)",
}


@pytest.mark.ngspice
@pytest.mark.skipif(shutil.which("ngspice") is None, reason="ngspice is not installed")
@pytest.mark.parametrize("dialect", VALUES)
def test_ngspice_computes_the_same_between_signals_and_in_parameters(dialect: str, tmp_path: Path) -> None:
    from netc.elaborate import elaborate

    expression = VALUES[dialect]
    text = f"t\n.param p={{{expression}}}\n.func f(x) {{({expression})*x}}\nV1 a 0 {{p}}\nB1 b 0 v={expression}\n"
    deck = parse_text(text + "B2 c 0 v=f(1)\n.end\n", dialect=dialect)
    wanted = elaborate(deck)
    value = wanted.number(wanted.branches[0].values[0])
    path = tmp_path / "d.cir"
    path.write_text(write_deck(deck).replace(".end\n", ".control\nop\nprint v(a) v(b) v(c)\n.endc\n.end\n"))
    done = subprocess.run(["ngspice", "-b", str(path)], capture_output=True, text=True, timeout=60)
    printed = re.findall(r"v\([abc]\) = (\S+)", done.stdout)
    assert [float(number) for number in printed] == pytest.approx([value] * 3, rel=1e-5), done.stdout + done.stderr
