"""Files, encodings, logical lines, title, control blocks, includes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netc.diagnostics import NetcError, Severity
from netc.parse import ast, dump, parse_deck, parse_text, write_deck
from netc.parse.dispatch import CARDS
from netc.parse.dump import show


def messages(deck: ast.Deck) -> list[str]:
    return [d.message for d in deck.diagnostics]


# ------------------------------------------------------------------ files and encodings

CARD = "t\nC1 a 0 1\N{MICRO SIGN} ; comment\n"


@pytest.mark.parametrize(
    "data",
    [
        CARD.encode("utf-8"),
        CARD.encode("utf-8-sig"),
        CARD.encode("latin-1"),
        CARD.encode("utf-16"),
        b"\xfe\xff" + CARD.encode("utf-16-be"),
        CARD.replace("\n", "\r\n").encode("utf-8"),
        CARD.replace("\n", "\r").encode("utf-8"),
        CARD.rstrip("\n").encode("utf-8"),
    ],
)
def test_encodings_and_line_ends(tmp_path, data: bytes) -> None:
    path = tmp_path / "d.cir"
    path.write_bytes(data)
    deck = parse_deck(path)
    assert deck.title == "t"
    assert deck.cards[0].value.value == 1e-6
    assert (deck.cards[0].span.line, deck.cards[0].span.column) == (2, 1)


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "is empty"), (b" \n\n", "is empty"), (b"\x7fELF\0\1\2", "binary file"), (b"\xff\xfe\0", "binary file")],
)
def test_files_that_are_no_decks(tmp_path, data: bytes, words: str) -> None:
    path = tmp_path / "d.cir"
    path.write_bytes(data)
    with pytest.raises(NetcError, match=words) as caught:
        parse_deck(path)
    assert len(caught.value.diagnostics) == 1


def test_missing_file_and_directory(tmp_path) -> None:
    with pytest.raises(NetcError, match="does not exist"):
        parse_deck(tmp_path / "nothing.cir")
    with pytest.raises(NetcError, match="is a directory"):
        parse_deck(tmp_path)
    with pytest.raises(NetcError):
        parse_deck("nul\0byte.cir")


# ------------------------------------------------------------------ logical lines


@pytest.mark.parametrize(
    "line",
    ["V1 n 0 5 $ x", "V1 n 0 5 $x", "V1 n 0 5;x", "V1 n 0 5 ; x", "V1 n 0 5//x", "V1 n 0 5 // x", "V1 n 0 5 $"],
)
def test_comments_at_the_end_of_a_line(line: str) -> None:
    assert dump(parse_text(f"t\n{line}\n")).splitlines()[2] == "V v1 n 0 dc 5.0  ; deck.cir:2"


def test_comment_signs_inside_names_are_none() -> None:
    assert parse_text("t\nR1 a$b 0 1k\n").cards[0].nodes == ("a$b", "0")


def test_whole_lines_of_comment() -> None:
    deck = parse_text("t\n* R1 a 0 1\n$ R2 a 0 1\n; R3 a 0 1\n// R4 a 0 1\n\n  * R5 a 0 1\n*.netcode\nR6 a 0 1\n")
    assert [card.name for card in deck.cards] == ["r6"]


def test_spans_through_continuations() -> None:
    text = "t\nB1 a 0\n\n* between\n+ v = x ; tail\n  +   + yy*\n+zzz\nR1 a 0 1\n"
    first, second = parse_text(text).cards
    total = first.expression
    assert isinstance(total, ast.Binary)
    assert (total.left.span.line, total.left.span.column) == (5, 7)
    product = total.right
    assert isinstance(product, ast.Binary)
    assert (product.left.span.line, product.left.span.column, product.left.span.length) == (6, 9, 2)
    assert (product.right.span.line, product.right.span.column, product.right.span.length) == (7, 2, 3)
    assert (first.span.line, first.span.length, second.span.line) == (2, 6, 8)


def test_error_in_a_continuation_points_there() -> None:
    with pytest.raises(NetcError) as caught:
        parse_text("t\nV1 a 0\n+ PULSE(0 1\n+   2*x)\n")
    assert "deck.cir:4:5: error" in str(caught.value)
    assert "    4 | +   2*x)" in str(caught.value)


def test_directive_between_continuations_comes_after_the_card() -> None:
    deck = parse_text("t\nR1 a\n*.netc train R1\n+ 0 1k\n")
    assert [type(card) for card in deck.cards] == [ast.Passive, ast.Directive]


def test_continuation_of_nothing() -> None:
    with pytest.raises(NetcError, match="no line before this one"):
        parse_text("t\n+ R1 a 0 1\n")


# ------------------------------------------------------------------ title, .end, .ends


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("title", ["R1 a 0 1k", "V1 in 0 SIN(0 1 1k)", "X1 a b sub", ".tran 1u 1m", "E1 a 0 b 0 2"])
def test_title_that_looks_like_a_card(title: str, fast: bool) -> None:
    deck = parse_text(f"{title}\nR2 a 0 1\n", fast=fast)
    assert deck.title == title
    assert len(deck.cards) == 1
    assert deck.diagnostics[0].span.line == 1
    assert "title" in deck.diagnostics[0].message


@pytest.mark.parametrize(
    "title", ["RC low pass", "* R1 a 0 1k", "Crossbar with loads", "", "xbar of memristors", "Test"]
)
def test_title_that_is_a_title(title: str) -> None:
    assert not parse_text(f"{title}\nR2 a 0 1\n").diagnostics


def test_title_card_overrides() -> None:
    assert parse_text("first\n.title Second One\nR1 a 0 1\n").title == "Second One"


def test_cards_after_end_are_read_with_a_warning() -> None:
    deck = parse_text("t\nR1 a 0 1\n.end\n\nR2 a 0 1\nR3 a 0 1\n")
    assert len(deck.cards) == 3
    assert [(d.severity, d.span.line) for d in deck.diagnostics] == [(Severity.WARNING, 5)]


def test_ends_with_the_wrong_name() -> None:
    deck = parse_text("t\n.subckt a p\nR1 p 0 1\n.subckt b q\nR2 q 0 1\n.ends a\n.ends\n")
    assert "names 'a' but closes 'b'" in messages(deck)[0]
    outer = deck.cards[0]
    assert [type(card).__name__ for card in outer.cards] == ["Passive", "Subcircuit"]


# ------------------------------------------------------------------ control blocks and other analyses


def test_control_block_gives_its_tran() -> None:
    deck = parse_text("t\nR1 a 0 1\n.control\nset x=1\ntran 1u 2m uic\nshell rm x\nplot v(a)\n.endc\n.end\n")
    tran = deck.cards[-1]
    assert isinstance(tran, ast.Tran)
    assert tran.from_control and tran.uic
    assert tran.arguments[1].value == 2e-3
    assert [d.severity for d in deck.diagnostics] == [Severity.NOTE]


def test_control_block_yields_to_a_tran_card() -> None:
    deck = parse_text("t\n.control\ntran 1u 2m\n.endc\n.tran 1n 1u\n")
    assert [card.from_control for card in deck.cards] == [False]


def test_control_block_with_variables_warns() -> None:
    deck = parse_text("t\nR1 a 0 1\n.control\nlet x=1\ntran $&x 1m\n.endc\n")
    assert len(deck.cards) == 1
    assert any("variables" in message for message in messages(deck))


def test_other_analyses() -> None:
    with pytest.raises(NetcError, match="--lenient"):
        parse_text("t\n.ac dec 10 1 1k\n")
    deck = parse_text("t\n.ac dec 10 1 1k\n.noise v(a) v1\n.op\n.meas ac x max v(a)\n.print ac v(a)\n", lenient=True)
    assert not deck.cards
    assert len(deck.diagnostics) == 5
    with pytest.raises(NetcError):
        parse_text("t\n.unknown\n", lenient=True)


@pytest.mark.parametrize(
    ("text", "signals"),
    [
        (".print tran v(a)-v(b)", ["v(a)", "v(b)"]),
        (".plot tran v(a) (0,5)", ["v(a)"]),
        (".print par('2*v(a,b)') vdb(c)", ["v(a,b)"]),
        (".save v(a) @m1[id] i(r1)", ["v(a)", "i(r1)"]),
        (".save @m1[id]", None),
    ],
)
def test_what_cannot_be_observed_is_left_out_with_a_warning(text: str, signals: list[str] | None) -> None:
    deck = parse_text(f"t\n{text}\n")
    assert [d.severity for d in deck.diagnostics] == [Severity.WARNING]
    if signals is None:
        assert not deck.cards
    else:
        assert [show(s) for s in deck.cards[0].signals] == signals


def test_macro_is_a_subcircuit() -> None:
    assert dump(parse_text("t\n.macro s a\nR1 a 0 1\n.eom\n")) == dump(parse_text("t\n.subckt s a\nR1 a 0 1\n.ends\n"))


@pytest.mark.parametrize(
    "command", ["altermod q1 bf=3", "alter r1=$x", "alter r1 = 2*k", "alter @m1[w]=1u", "alter r9=1"]
)
def test_control_block_that_would_change_the_circuit_is_refused(command) -> None:
    text = f"t\nR1 a 0 1\n.control\n{command}\nforeach x 1 2\ntran 1u 1m\nend\n.endc\n"
    with pytest.raises(NetcError, match="is not supported") as caught:
        parse_text(text)
    assert [d.span.line for d in caught.value.diagnostics] == [4]


def test_lenient_leaves_the_circuit_as_it_is() -> None:
    text = "t\nR1 a 0 1\n.control\nalter r1=$x\nforeach x 1 2\ntran 1u 1m\nend\n.endc\n"
    said = messages(parse_text(text, lenient=True))
    assert any("alter is not carried out" in message for message in said)
    assert any("in a loop" in message for message in said)


@pytest.mark.parametrize(
    "command, line",
    [
        ("alter r1=5", "R1 a 0 5"),
        ("alter R1 5k", "R1 a 0 5k"),
        ("alter @r1[resistance] = 5", "R1 a 0 5"),
        ("alter @v1[dc] = 3", "V1 a 0 3"),
        ("alter v1 dc 3", "V1 a 0 3"),
        ("alter @v1[pulse] = [ 0 1 2u ]", "V1 a 0 1 pulse(0 1 2u)"),
        ("alterparam p = 5\nreset", ".param p=5"),
        ("alterparam p = 5", ".param p=1"),
        ("alter r1=5\nreset", "R1 a 0 1"),
        ("tran 1u 1m\nalter r1=5", "R1 a 0 1"),
    ],
)
def test_a_control_block_changes_the_circuit_of_its_first_analysis(command, line) -> None:
    body = {"r": "R1 a 0 1", "v": "V1 a 0 1", ".": ".param p=1"}
    text = "t\n" + "\n".join(body.values()) + f"\n.control\n{command}\ntran 1u 1m\n.endc\n"
    expected = "t\n" + "\n".join({**body, line[0].lower(): line}.values()) + "\n.tran 1u 1m\n"
    assert write_deck(parse_text(text)) == write_deck(parse_text(expected))


# ------------------------------------------------------------------ includes


def test_include_keeps_the_place_of_its_cards(tmp_path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "main.cir").write_text('t\n.include "sub/a.lib"\nR9 a 0 1\n')
    (tmp_path / "sub" / "a.lib").write_text("R1 a 0 1\n.inc b.lib\n.end\n")
    (tmp_path / "sub" / "b.lib").write_text("R2 a 0\n+ 2\n")
    deck = parse_deck(tmp_path / "main.cir")
    cards = list(deck.walk())
    assert [card.name for card in cards] == ["r1", "r2", "r9"]
    assert cards[1].span.file == str(tmp_path / "sub" / "b.lib")
    assert (cards[1].value.span.line, cards[1].value.span.column) == (2, 3)
    assert not deck.diagnostics
    assert set(deck.sources) == {str(tmp_path / name) for name in ("main.cir", "sub/a.lib", "sub/b.lib")}


def test_an_include_is_relative_to_the_file_it_stands_in(tmp_path, monkeypatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "main.cir").write_text("t\n.include sub/a.lib\n")
    (tmp_path / "sub" / "a.lib").write_text(".include b.lib\n")
    (tmp_path / "sub" / "b.lib").write_text("R1 a 0 1\n")
    (tmp_path / "b.lib").write_text("R2 a 0 1\n")
    deck = parse_deck(tmp_path / "main.cir")
    assert [card.name for card in deck.walk()] == ["r1"]
    assert not deck.diagnostics
    monkeypatch.chdir(tmp_path)
    deck = parse_deck("main.cir")
    assert [card.name for card in deck.walk()] == ["r1"]
    assert "ngspice would read the one in the current folder" in messages(deck)[0]


def test_error_in_an_included_file_shows_its_line(tmp_path) -> None:
    (tmp_path / "a.lib").write_text("* fine\nR1 a\n")
    with pytest.raises(NetcError) as caught:
        parse_text("t\n.include a.lib\nR2 b\n", directory=tmp_path)
    assert "a.lib:2:4: error" in str(caught.value)
    assert "deck.cir:3:4: error" in str(caught.value)


def test_library_section(tmp_path) -> None:
    (tmp_path / "a.lib").write_text(".lib tt\nR1 a 0 1\n.endl tt\n.lib ff\nR2 a 0 1\n.endl\n")
    deck = parse_text("t\n.lib 'a.lib' FF\n", directory=tmp_path)
    assert [card.name for card in deck.walk()] == ["r2"]
    with pytest.raises(NetcError, match="no section 'ss'"):
        parse_text("t\n.lib a.lib ss\n", directory=tmp_path)


def test_library_without_section_is_an_include(tmp_path) -> None:
    (tmp_path / "a.lib").write_text("R1 a 0 1\n")
    deck = parse_text("t\n.lib a.lib\n", directory=tmp_path)
    assert [card.name for card in deck.walk()] == ["r1"]
    assert "read as .include" in messages(deck)[0]


def test_recursive_include(tmp_path) -> None:
    (tmp_path / "a.lib").write_text(".include b.lib\n")
    (tmp_path / "b.lib").write_text(".include a.lib\n")
    with pytest.raises(NetcError, match=r"a\.lib includes itself"):
        parse_text("t\n.include a.lib\n", directory=tmp_path)
    (tmp_path / "main.cir").write_text("t\n.include main.cir\n")
    with pytest.raises(NetcError, match=r"main\.cir includes itself"):
        parse_deck(tmp_path / "main.cir")


def test_includes_cannot_multiply_without_end(tmp_path) -> None:
    for k in range(40):
        (tmp_path / f"{k}.lib").write_text(f".include {k + 1}.lib\n.include {k + 1}.lib\n")
    (tmp_path / "40.lib").write_text("* leaf\n")
    with pytest.raises(NetcError, match="too many files"):
        parse_text("t\n.include 0.lib\n", directory=tmp_path)


def test_includes_stay_where_the_user_allowed_them(tmp_path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    home.mkdir()
    other.mkdir()
    (other / "a.lib").write_text("R1 a 0 1\n")
    for name in ("../other/a.lib", str(other / "a.lib")):
        with pytest.raises(NetcError, match="outside") as caught:
            parse_text(f't\n.include "{name}"\n', directory=home)
        assert "-I" in str(caught.value)
        assert len(parse_text(f't\n.include "{name}"\n', directory=home, include_directories=[other]).cards) == 1
    (home / "link.lib").symlink_to(other / "a.lib")
    with pytest.raises(NetcError, match="outside"):
        parse_text("t\n.include link.lib\n", directory=home)
    deck = parse_text("t\n.include a.lib\n", directory=home, include_directories=[other])
    assert [card.name for card in deck.walk()] == ["r1"]


def test_models_of_netc_can_be_included_by_name(tmp_path) -> None:
    deck = parse_text("t\n.include knowm_mss.lib\n", directory=tmp_path)
    assert deck.cards[0].cards[0].span.file == "netc/models/knowm_mss.lib"


@pytest.mark.parametrize("name", ["missing.lib", ".", '""', '"a b"', "a\tb"])
def test_includes_that_are_no_files(tmp_path, name: str) -> None:
    with pytest.raises(NetcError, match=r"deck\.cir:2"):
        parse_text(f"t\n.include {name}\n", directory=tmp_path)


# ------------------------------------------------------------------ whatever comes


def test_printed_deck_has_no_control_characters() -> None:
    assert "\x1b" not in dump(parse_text("\x1b[31mtitle\x07\nR1 a 0 1\n"))


words = ".subckt .ends .control .endc .include .lib *.netc v( i( pulse pwl( r1 value params: e1 b1 x1 1k 2.5meg all"
fragments = st.sampled_from(
    [*CARDS, *words.split(), "\n", "\n+", *" \t;$={}'()\",+-?:\0\x1c\N{NO-BREAK SPACE}", "//", "**"]
)
soup = st.lists(st.one_of(fragments, st.text(max_size=3)), max_size=40).map("".join)


@settings(max_examples=300, deadline=None)
@given(soup, st.booleans(), st.booleans())
def test_any_text_is_a_deck_or_a_clear_error(text: str, fast: bool, lenient: bool) -> None:
    try:
        deck = parse_text("t\n" + text, fast=fast, lenient=lenient)
    except NetcError as error:
        assert error.diagnostics
        assert all(d.span is None or d.span.line >= 1 for d in error.diagnostics)
        return
    dump(deck)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_deck_or_a_clear_error(tmp_path_factory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.cir"
    path.write_bytes(data)
    try:
        dump(parse_deck(path))
    except NetcError as error:
        assert error.diagnostics


@pytest.mark.parametrize("end", ["r=0", "td=20u", "r = 0 td=20u"])
@pytest.mark.parametrize("points", ["0 0 1u 1", "0,0 1u,1", "{a} 0 1u 1"])
def test_points_without_parentheses_may_be_followed_by_settings(points: str, end: str) -> None:
    with_them, without = (f"t\nV1 a 0 pwl{form}\nR1 a 0 1\n" for form in (f"({points} {end})", f" {points} {end}"))
    waves = [parse_text(text).cards[0].waveform for text in (with_them, without)]
    assert [show(v) for v in waves[1].arguments] == [show(v) for v in waves[0].arguments]
    assert [(n, show(v)) for n, v in waves[1].parameters] == [(n, show(v)) for n, v in waves[0].parameters]


def test_lines_that_ngspice_takes_for_comments() -> None:
    deck = parse_text("t\nR1 a 0 1k\n=====\n[1] a reference\n+ that goes on\n.end\n")
    assert len(deck.cards) == 1
    assert [d.span.line for d in deck.diagnostics if "for a comment" in d.message] == [3, 4]
    with pytest.raises(NetcError, match="neither an element nor a card"):
        parse_text("t\nR1 a 0 1k\n=====\n", dialect="ltspice")
