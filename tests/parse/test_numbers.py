"""Numbers as ngspice 39 reads them: the values here were printed by ``ngspice -b``."""

import shutil
import subprocess

import pytest

from netc.diagnostics import NetcError
from netc.parse import ast, parse_expression, parse_text

PLAIN = {
    "1M": 1e-3,
    "1meg": 1e6,
    "1MEG": 1e6,
    "1MegOhm": 1e6,
    "1F": 1e-15,
    "10pF": 1e-11,
    "1mil": 25.4e-6,
    "4k7": 4000.0,
    "1_000": 1.0,
    ".5": 0.5,
    "5.": 5.0,
    "5.k": 5000.0,
    "1e3k": 1e6,
    "1e": 1.0,
    "1d3": 1e3,
    "1x": 1.0,
    "1T": 1e12,
    "1g": 1e9,
    "1a": 1.0,
    "5V": 5.0,
    "1s": 1.0,
    "1.2.3": 1.2,
    "1e-3m": 1e-6,
    "+5": 5.0,
    "-5": -5.0,
    "1u": 1e-6,
    "1\N{MICRO SIGN}": 1e-6,
    "1Ohm": 1.0,
    "1.e3": 1e3,
    "100Hz": 100.0,
    "1k5k": 1000.0,
    "1ma": 1e-3,
    "1milli": 25.4e-6,
    "1e3meg": 1e9,
}
ODD = {"1M", "1F", "4k7", "1_000", "1e", "1.2.3", "1k5k"}


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("text", PLAIN)
def test_value_on_an_element(text: str, fast: bool) -> None:
    deck = parse_text(f"t\nV1 n 0 {text}\n", fast=fast)
    source = deck.cards[0]
    assert isinstance(source, ast.IndependentSource)
    assert isinstance(source.dc, ast.Number)
    assert source.dc.value == pytest.approx(PLAIN[text], rel=1e-15)
    assert bool(deck.diagnostics) == (text in ODD)


@pytest.mark.ngspice
@pytest.mark.skipif(shutil.which("ngspice") is None, reason="ngspice is not installed")
def test_table_is_what_ngspice_reads(tmp_path) -> None:
    lines = ["t", *(f"V{k} n{k} 0 {text}" for k, text in enumerate(PLAIN))]
    prints = "\n".join(f"print v(n{k})" for k in range(len(PLAIN)))
    path = tmp_path / "numbers.cir"
    path.write_text("\n".join([*lines, ".control", "op", prints, ".endc", ".end", ""]), "utf-8")
    run = subprocess.run(["ngspice", "-b", str(path)], capture_output=True, text=True, timeout=60, errors="replace")
    found = dict(line.split(" = ") for line in run.stdout.splitlines() if line.startswith("v(n"))
    for k, (text, value) in enumerate(PLAIN.items()):
        assert float(found[f"v(n{k})"]) == pytest.approx(value, rel=1e-5), text


@pytest.mark.parametrize("text", ["4k7", "1_000", "1.2.3", "1mil", "1d3", "0x10", "1k5k", "1e999"])
def test_refused_in_an_expression(text: str) -> None:
    with pytest.raises(NetcError):
        parse_expression(text)


@pytest.mark.parametrize("text", ["0x10", "1D-3", "1e999", "1k*2", "--5", "1+2"])
def test_refused_on_an_element(text: str) -> None:
    with pytest.raises(NetcError, match=r"deck.cir:2:8"):
        parse_text(f"t\nR1 a 0 {text}\n")


def test_suffix_rounds_once() -> None:
    assert parse_expression("10p") == ast.Number(1e-11, parse_expression("10p").span)
    assert parse_expression("0.1m").value == 1e-4
