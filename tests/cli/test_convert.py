"""``netc convert``, and ``--dialect`` on every command that reads a deck."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.runner import netc

LTSPICE = """V1 in 0 SINE(0 1 1k) Rser=10
R1 in out 4k7
C1 out 0 10n IC=0
B1 b 0 V=if(V(out)>0.1, pow(V(out),3), V(out)**2) ; comment
R2 b 0 1Meg
.meas top MAX V(out)
.tran 0 1m 0 2u uic
"""


def test_converted_text_goes_to_stdout_and_compiles(deck: Callable[[str], Path], tmp_path: Path) -> None:
    found = netc("convert", deck(LTSPICE), "--dialect", "ltspice")
    assert found.code == 0
    assert found.out.splitlines()[0] == "a title"
    assert "r1 in out 4700" in found.out.splitlines()
    assert found.out.endswith(".end\n")
    again = tmp_path / "again.cir"
    again.write_text(found.out)
    assert netc("info", again).code == 0


def test_converted_text_goes_to_a_file(deck: Callable[[str], Path], tmp_path: Path) -> None:
    target = tmp_path / "new" / "deck.cir"
    found = netc("convert", deck(LTSPICE), "--dialect", "ltspice", "-o", target)
    assert (found.code, found.out) == (0, "")
    assert target.read_text().startswith("a title\n")


def test_what_cannot_be_converted_is_refused(deck: Callable[[str], Path]) -> None:
    assert "has no form in ngspice" in netc("convert", deck("B1 a 0 v=delay(v(b),1)\n")).refused()
    assert "--dialect ltspice or pspice" in netc("convert", deck("B1 a 0 v=1&2\n")).refused()
    assert "does not exist" in netc("convert", "nothing.cir").refused()


@pytest.mark.parametrize("command", ["compile", "info", "simulate", "check-grad"])
def test_every_command_knows_the_dialect(command: str, deck: Callable[[str], Path]) -> None:
    path = deck(LTSPICE)
    more = ["--dt", "1u", "--steps", "3"] if command == "check-grad" else []
    assert netc(command, path, "--dialect", "ltspice", *more).code == 0
    assert "rser" in netc(command, path, *more).refused()


def test_a_dialect_nobody_knows(deck: Callable[[str], Path]) -> None:
    found = netc("info", deck(LTSPICE), "--dialect", "smartspice")
    assert found.code == 2 and "'ltspice'" in found.err


def test_the_cache_tells_dialects_apart(deck: Callable[[str], Path], monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = deck("V1 a 0 1\nR1 a b 1k5\nC1 b 0 1u\n.tran 1u 3u uic\n")
    first = netc("simulate", path)
    second = netc("simulate", path, "--dialect", "ltspice")
    assert first.code == second.code == 0
    assert first.out != second.out
    assert netc("simulate", path).out == first.out


def test_measures_without_the_analysis(deck: Callable[[str], Path], tmp_path: Path) -> None:
    target = tmp_path / "m.json"
    found = netc("simulate", deck(LTSPICE), "--dialect", "ltspice", "--json", target)
    assert "top = " in found.err
    assert 0.1 < json.loads(target.read_text())["measures"]["top"]["value"] < 1


@pytest.mark.ngspice
def test_validate_runs_the_translated_deck(deck: Callable[[str], Path]) -> None:
    found = netc("validate", deck(LTSPICE), "--dialect", "ltspice")
    assert found.code == 0, found.err


def test_what_ngspice_may_run_otherwise_is_said(deck: Callable[[str], Path]) -> None:
    text = ".subckt c a\nR1 a 0 1k\n.ends\n.subckt q a\nX1 a c m=2\n.ends\nX1 b q m=3\nV1 b 0 1\n.tran 1n 1u\n"
    found = netc("convert", deck(text), "--dialect", "hspice")
    assert found.code == 0
    assert "ngspice forgets one of the two" in found.err
    assert "ngspice may run what was written otherwise" in found.err


def test_other_simulators_draw_no_random_numbers(deck: Callable[[str], Path]) -> None:
    text = ".param x=agauss(3,1,1) y=limit(2,1)\nV1 b 0 'x*y'\nR1 b 0 1\n.tran 1n 1u\n"
    assert ".param x=3" in netc("convert", deck(text), "--dialect", "hspice").out
    assert "agauss(3,1,1)" in netc("convert", deck(text)).out
