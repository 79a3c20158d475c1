"""Decks that are wrong: exit code 2, one clear sentence, where it is about a line the line with a caret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.runner import RC, TRAN, netc

Write = Callable[[str], Path]

_FILTER = ".subckt filter a b\nR1 a b 1k\n.ends\n"

# what the deck is wrong in, its cards, where, and words the sentence must have
LOCATED = {
    "missing include": (".include nowhere.lib\n" + RC, "2:10", "'nowhere.lib' is not found"),
    "missing include of what is used": (
        ".include filter.lib\nX1 in out filter\nR9 out 0 {rload}\n" + RC,
        "2:10",
        "is not found",
    ),
    "recursive include": (".include deck.cir\n" + RC, "2:10", "includes itself"),
    "recursive subcircuit": (
        ".subckt a p\nX1 p b\n.ends\n.subckt b p\nX1 p a\nR1 p 0 1k\n.ends\nXA in a\n" + RC,
        "6:1",
        "a -> b -> a",
    ),
    "undefined parameter": (".param rload=1k\nR2 out 0 {rloda}\n" + RC, "3:11", "undefined parameter 'rloda'"),
    "undefined subcircuit": ("X1 in out filtre\n" + _FILTER + RC, "2:1", "undefined subcircuit 'filtre'"),
    "wrong port count": ("X1 in out 0 filter\n" + _FILTER + RC, "2:1", "has 2 ports, 3 nodes given"),
    "duplicate element": (RC + "r1 out 0 1k\n", "5:1", "two elements named 'r1'"),
    "duplicate subcircuit": (_FILTER + _FILTER + "X1 in out filter\n" + RC, "5:1", "'filter' is defined twice"),
    ".subckt without .ends": (RC + ".subckt f a b\nR1 a b 1\n", "5:1", "has no .ends"),
    ".ends without .subckt": (RC + ".ends\n", "5:1", ".ends without .subckt"),
    "0 ohms": (RC + "R2 out 0 0\n", "5:1", "r2 has 0 ohms"),
    "0 ohms by parameter": (".param z=0\n" + RC + "R2 out 0 {z*3}\n", "6:1", "r2 has 0 ohms"),
    "no number": (RC + "R2 out 0 abc%\n", "5:10", "expected a value, found 'abc%'"),
    "no number for IC": (RC + "C2 out 0 1u IC=hello\n", "5:16", "'hello'"),
    "200 parentheses": (RC + "B1 x 0 v=" + "(" * 200 + "v(out)" + ")" * 200 + "\n", "5:", "nested"),
    "200 calls": (RC + "B1 x 0 v=" + "abs(1+" * 200 + "v(out)" + ")" * 200 + "\n", "5:", "nested"),
    "200 signs": (RC + "B1 x 0 v=" + "-" * 200 + "v(out)\n", "5:", "nested"),
    "200 conditions": (RC + "B1 x 0 v=" + "v(out)>1?2:" * 200 + "v(out)\n", "5:", "nested"),
    "50,000 parentheses": (RC + "B1 x 0 v=" + "(" * 50_000 + "v(out)" + ")" * 50_000 + "\n", "5:", "nested"),
    "unsupported element": (RC + "T1 out 0 in 0 Z0=50 TD=1n\n", "5:1", "transmission lines are not supported"),
    "unknown card": (RC + ".frobnicate\n", "5:1", "unknown card .frobnicate"),
    "another analysis": (RC + ".step r1 1 2 1\n", "5:1", "--lenient"),
    "floating nets": (RC + "C5 a b 1u\n", "5:1", "'a', 'b' float"),
    "loop of sources": (RC + "V2 in 0 2\n", "5:1", "form a loop"),
    "current source cut-set": (RC + "I1 0 z 1m\nI2 z 0 1m\n", "5:1", "nothing fixes the voltage of net 'z'"),
}


@pytest.mark.parametrize("what", LOCATED)
def test_located(deck: Write, what: str) -> None:
    cards, place, words = LOCATED[what]
    path = deck(cards + TRAN)
    told = netc("compile", path).refused()
    assert f"{path}:{place}" in told
    assert words in told
    assert "^" in told
    assert told.count("error: ") == 1, "one sentence for one fault"


def test_a_sum_of_thousands_works(deck: Write) -> None:
    assert netc("compile", deck(RC + "B1 x 0 v=" + "+".join(["v(out)"] * 3000) + "\n" + TRAN)).code == 0


NO_DECK = {
    "empty": (b"", "is empty"),
    "blank": (b"\n\n \n", "is empty"),
    "binary": (bytes(range(256)) * 8, "is a binary file"),
    "zeros": (b"\0" * 100, "is a binary file"),
    "pickle": (b"\x80\x04\x95" + bytes(range(100)), "is a binary file"),
    "title only": (b"only a title\n", "has no elements"),
    "no elements": (b"title\n.tran 1u 1m\n.end\n", "has no elements"),
}


@pytest.mark.parametrize("what", NO_DECK)
@pytest.mark.parametrize("name", ["compile", "simulate", "validate"])
def test_no_deck(tmp_path: Path, what: str, name: str) -> None:
    content, words = NO_DECK[what]
    path = tmp_path / "x.cir"
    path.write_bytes(content)
    assert words in netc(name, path).refused()


@pytest.mark.parametrize("name", ["compile", "info", "simulate", "validate", "check-grad"])
def test_no_file(tmp_path: Path, name: str) -> None:
    assert f"{tmp_path} is a directory" in netc(name, tmp_path).refused()
    assert "does not exist" in netc(name, tmp_path / "nosuch.cir").refused()


def test_all_errors_of_a_deck_together(deck: Write) -> None:
    path = deck(
        RC
        + "R2 out 0 {nothing}\nX1 in out nosuch\nQ1 a b c npn\nR3 out 0 0\nR4 out 0 %1\n.step param x 1 2 1\n"
        + "R1 in 0 1\n"
        + TRAN
    )
    told = netc("simulate", path).refused()
    lines = [line.split(":")[1] for line in told.splitlines() if ": error: " in line]
    assert lines == ["5", "6", "7", "8", "9", "10", "11"], told
    assert told.splitlines()[-1] == "7 errors"


def test_what_of_a_number_is_not_read_is_remarked(deck: Write) -> None:
    path = deck(RC + "R2 out 0 1k5%\n" + TRAN)
    done = netc("simulate", path)
    assert done.code == 0
    assert f"{path}:5:10: warning: '1k5%' reads as 1000" in done.err


def test_a_first_line_that_is_an_element_is_remarked(tmp_path: Path) -> None:
    path = tmp_path / "deck.cir"
    path.write_text("R9 in out 1k\n" + RC + TRAN)
    done = netc("simulate", path)
    assert done.code == 0
    assert f"{path}:1:1: warning: SPICE takes the first line for the title" in done.err


def test_lenient_turns_other_analyses_into_warnings(deck: Write) -> None:
    done = netc("simulate", deck(RC + ".ac dec 10 1 1k\n.noise v(out) V1 dec 1 1 10\n" + TRAN), "--lenient")
    assert done.code == 0
    assert done.err.count("warning: the analysis") == 2


def test_a_control_block_gives_its_tran_and_runs_nothing(deck: Write, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    path = deck(RC + f".control\ntran 10u 50u uic\nshell touch {mark}\n.endc\n.end\n")
    done = netc("simulate", path)
    assert done.code == 0
    assert "note: the .control block is skipped, but for its tran" in done.err
    assert len(done.out.splitlines()) == 1 + 6
    assert not mark.exists()


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "deck.cir"
    path.write_text("title \x1b[2J\nR1 in out \x1b[31m%\n" + RC + TRAN)
    assert "\x1b" not in netc("simulate", path).refused()
    path.write_text("title \x1b[2J\n" + RC + TRAN)
    assert "\x1b" not in netc("info", path).out


@pytest.mark.parametrize("name", ["simulate", "validate", "check-grad"])
def test_no_tran(deck: Write, name: str) -> None:
    told = netc(name, deck(RC)).refused()
    assert "has no .tran" in told
    assert "hint: " in told


def test_simulate_takes_its_times_from_options_where_there_is_no_tran(deck: Write) -> None:
    done = netc("simulate", deck(RC), "--tstop", "1m", "--dt", "250u")
    assert done.code == 0
    assert [line.split(",")[0] for line in done.out.splitlines()] == [
        "time",
        "0",
        "0.00025",
        "0.0005",
        "0.00075",
        "0.001",
    ]


def test_a_run_that_diverges_names_step_node_and_remedy(deck: Write) -> None:
    path = deck("C1 a 0 1u IC=1\nB1 0 a i=v(a)^3\n.tran 1u 1m uic\n.end\n")
    told = netc("simulate", path).refused()
    assert "diverges at step 5 (t = 5e-06 s) at node a" in told
    assert "--dt" in told
    assert "nan" not in told.lower()


def test_a_step_beyond_the_euler_limit(deck: Write) -> None:
    path = deck("V1 in 0 1\nR1 in out 1\nC1 out 0 1n IC=0\n.tran 1u 10u uic\n.end\n")
    done = netc("simulate", path)
    assert done.code == 0
    assert "v(out) needs dt <= 2 ns" in done.err
    assert "sub-steps" in done.err
    assert abs(float(done.out.splitlines()[-1].split(",")[2]) - 1) < 1e-6

    done = netc("validate", path)
    assert done.code == 0
    assert "explicit Euler fails" in done.err and "--integrator auto takes the steps" in done.err

    done = netc("validate", "--integrator", "euler", path)
    assert done.code == 1
    assert "v(out) needs dt <= 2 ns" in done.err
    assert "diverges at step" in done.err
    assert "try --dt 1ns" in done.err
