"""Commands take decks that were compiled before from the cache, and say the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.runner import NETLISTS, RC, TRAN, netc


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "netc" / "decks"


@pytest.mark.parametrize("arguments", [("simulate",), ("compile",), ("compile", "--emit", "ir")])
def test_the_second_run_gives_the_same_without_reading(
    arguments: tuple[str, ...], rc: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rc.write_text(rc.read_text().replace(".end", ".options method=gear\n.end"))
    first = netc(*arguments, rc)
    assert first.code == 0
    assert "gear" in first.err
    kept = 2 if arguments == ("simulate",) else 1  # simulate also keeps the system that Euler is checked with
    assert len(list(cache.iterdir())) == kept
    monkeypatch.setattr("netc.parse.parse_deck", None)
    assert netc(*arguments, rc) == first


def test_no_cache_neither_reads_nor_writes(rc: Path, cache: Path) -> None:
    first = netc("simulate", rc, "--no-cache")
    assert not cache.exists()
    assert netc("simulate", rc) == first
    entries = list(cache.iterdir())
    assert entries
    for entry in entries:
        entry.write_bytes(b"damaged")
    assert netc("simulate", rc, "--no-cache") == first
    assert {entry.read_bytes() for entry in entries} == {b"damaged"}
    assert netc("simulate", rc) == first
    assert all(entry.read_bytes() != b"damaged" for entry in entries)


def test_another_deck_of_the_same_name_is_another(rc: Path) -> None:
    first = netc("simulate", rc)
    rc.write_text("a title\n" + RC.replace("1k", "2k") + TRAN)
    second = netc("simulate", rc)
    assert first.code == second.code == 0
    assert first.out != second.out


def test_errors_are_told_every_time(rc: Path, cache: Path) -> None:
    rc.write_text(rc.read_text().replace("1k", "1q q"))
    assert netc("simulate", rc).refused() == netc("simulate", rc).refused()
    assert not cache.exists()


def test_train_and_evaluate_say_where_the_deck_is_from(tmp_path: Path) -> None:
    deck = tmp_path / "digits.cir"
    shutil.copy(NETLISTS / "digits.cir", deck)
    small = ("--data", "digits", "--steps", "10", "--limit-train", "16", "--limit-test", "10", "--epochs", "1")
    options = (*small, "--backend", "torch", "--out")
    first = netc("train", deck, *options, tmp_path / "1")
    second = netc("train", deck, *options, tmp_path / "2")
    third = netc("train", deck, *options, tmp_path / "3", "--no-cache")
    assert first.code == second.code == third.code == 0
    assert "deck compiled" in first.err
    assert "compiled deck from cache" in second.err
    assert "deck compiled" in third.err
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / n / "deck").iterdir()} for n in "12")
    assert one == two
    assert (tmp_path / "1" / "circuit.py").read_text() == (tmp_path / "2" / "circuit.py").read_text()
    assert (tmp_path / "1" / "config.json").read_text() == (tmp_path / "2" / "config.json").read_text()
    evaluated = netc("evaluate", tmp_path / "2", "--data", "digits", "--limit-test", "10")
    assert evaluated.code == 0
    assert "compiled deck from cache" in evaluated.err
    anew = netc("evaluate", tmp_path / "2", "--data", "digits", "--limit-test", "10", "--no-cache")
    assert "compiled deck from cache" not in anew.err


def test_a_deck_that_has_moved_is_named_where_it_is(tmp_path: Path) -> None:
    text = "a title\nV1 in 0 1\nR1 in out 1k5%\nC1 out 0 1u\n" + TRAN
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "deck.cir"
        path.write_text(text)
        told = netc("compile", path, "-o", tmp_path / "deck.py").err
        assert f"{path}:3:11: warning: '1k5%' reads as 1000" in told
        assert "    3 | R1 in out 1k5%" in told


def test_doctor_tells_the_folder(rc: Path, cache: Path) -> None:
    netc("compile", rc)
    line = next(x for x in netc("doctor").out.splitlines() if x.startswith("compiled decks"))
    assert str(cache) in line
    assert " 1 of 0.0 MB" in line
