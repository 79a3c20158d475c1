"""Subcircuits that no instance reaches may hold what netc does not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from netc.diagnostics import MOST_ERRORS, NetcError
from netc.parse import ast, parse_deck, parse_text

_LIBRARY = ".subckt good a b\nR1 a b 1k\n.ends\n.subckt bad a b\nX1 a b worse\n.ends\n"
_WORSE = ".subckt worse a b\nU1 a b c\n.ends\n"
_DECK = "t\n.include lib.inc\nV1 a 0 1\nX1 a 0 {}\nR1 a 0 1\n.tran 1u 1m\n"


def _write(folder: Path, library: str, instance: str) -> Path:
    (folder / "lib.inc").write_text(library)
    deck = folder / "deck.cir"
    deck.write_text(_DECK.format(instance))
    return deck


def test_an_unused_subcircuit_may_be_wrong(tmp_path: Path) -> None:
    deck = parse_deck(_write(tmp_path, _LIBRARY + _WORSE, "good"))
    names = [card.name for card in deck.walk() if isinstance(card, ast.Subcircuit)]
    assert names == ["good", "bad"]


def test_a_subcircuit_used_by_a_used_one_may_not(tmp_path: Path) -> None:
    with pytest.raises(NetcError, match="u1: "):
        parse_deck(_write(tmp_path, _LIBRARY + _WORSE, "bad"))


def test_libraries_may_hold_many_unsupported_parts(tmp_path: Path) -> None:
    many = "".join(f".subckt u{n} a\nU1 a\n.ends\n" for n in range(MOST_ERRORS + 5))
    parse_deck(_write(tmp_path, _LIBRARY + _WORSE + many, "good"))


def test_where_more_is_wrong_the_decks_own_subcircuits_are_reported() -> None:
    with pytest.raises(NetcError) as caught:
        parse_text("t\nR1 a\n.subckt s a\nT1 a b c\n.ends\n")
    assert [d.span.line for d in caught.value.diagnostics if d.span] == [2, 4]


def test_other_simulators_do_not_read_on_after_the_end() -> None:
    text = "t\nV1 a 0 1\nR1 a 0 1\n.tran 1u 1m\n.end\ngarbage (\n"
    deck = parse_text(text, dialect="ltspice")
    assert [d.message for d in deck.diagnostics] == ["this stands after .end, and is not read"]


def test_parameters_may_be_announced_after_the_first() -> None:
    deck = parse_text("t\n.subckt s a b g=1 params: h=2\nR1 a b 1\n.ends\nX1 a 0 s params: g=3 h=4\n")
    head, instance = deck.cards
    assert isinstance(head, ast.Subcircuit) and [name for name, _ in head.parameters] == ["g", "h"]
    assert isinstance(instance, ast.Instance) and [name for name, _ in instance.parameters] == ["g", "h"]
