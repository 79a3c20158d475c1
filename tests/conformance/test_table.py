"""The README's table lists what the suite covers; the suite covers what the catalogue lists."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

import pytest

from tests.conformance.catalogue import CONSTRUCTS, decks_of
from tests.conformance.suite import decks
from tests.conformance.table import BEGIN, END, HEADER, README, percent, replaced, table

NAMES = tuple(decks())


def test_every_deck_covers_a_construct() -> None:
    covered = {name for construct in CONSTRUCTS for name in decks_of(construct, NAMES)}
    assert set(NAMES) == covered


@pytest.mark.parametrize("construct", CONSTRUCTS)
def test_every_pattern_has_a_deck(construct: str) -> None:
    for pattern in CONSTRUCTS[construct]:
        assert any(fnmatchcase(name, pattern) for name in NAMES), pattern


def test_the_readme_lists_the_constructs() -> None:
    inside = README.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip().splitlines()
    assert inside[0] == HEADER
    rows = [re.split(r"\s*\|\s*", row.strip("| ")) for row in inside[2:]]
    listed = {construct: (int(count.strip("*")), deck.strip("` ")) for construct, count, _, deck in rows[:-1]}
    assert list(listed) == list(CONSTRUCTS)
    for construct, (count, deck) in listed.items():
        names = decks_of(construct, NAMES)
        assert count == len(names) and deck in names, f"run python -m tests.conformance.table: {construct}"
    assert rows[-1][1] == f"**{len(NAMES)}**"


def test_the_table_replaces_what_stands_between_the_markers() -> None:
    rows = table(dict.fromkeys(NAMES, (1e-5, "out")))
    text = replaced(f"before\n{BEGIN}\nold\n{END}\nafter\n", rows)
    assert "old" not in text and text.startswith("before\n") and text.endswith("\nafter\n") and rows in text
    assert replaced(text, rows) == text
    with pytest.raises(ValueError, match="there is no"):
        replaced("no markers", rows)


def test_percentages() -> None:
    assert [percent(x) for x in (4.2e-3, 1.234e-5, 9e-7, 0.0)] == ["0.42%", "0.0012%", "< 0.0001%", "< 0.0001%"]
