"""Decks for the tests of the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.runner import RC, TRAN


@pytest.fixture
def deck(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a deck (a title is put before it) and returns its path."""

    def write(cards: str) -> Path:
        path = tmp_path / "deck.cir"
        path.write_text(f"a title\n{cards}")
        return path

    return write


@pytest.fixture
def rc(deck: Callable[[str], Path]) -> Path:
    """An RC circuit that is fine."""
    return deck(RC + TRAN)
