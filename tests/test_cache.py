"""Compiled decks are kept from run to run, and only as long as compiling anew would give the same."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import netc.cache
from netc.cache import DeckCache, Request, decks_folder
from netc.compiler import Compilation, compile_deck
from netc.ir.serial import dump, load

DECK = """low pass
V1 in 0 SIN(0 1 1k)
R1 in out {r}
C1 out 0 100n
.param r=1k
.include part.lib
.tran 10u 1m uic
"""
ALONE = """divider and capacitor
V1 in 0 1
R1 in out 1k
C1 out 0 100n
*.netc input V1 mode=waveform
*.netc output out
*.netc train R1 min=100 max=10k
.tran 10u 1m uic
.options method=gear
"""


@pytest.fixture
def cache(tmp_path: Path) -> DeckCache:
    return DeckCache(tmp_path / "cache" / "decks")


@pytest.fixture
def deck(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    (home / "part.lib").write_text("R2 out 0 10k\n")
    (home / "deck.cir").write_text(DECK)
    return home / "deck.cir"


def compiled(path: Path, cache: DeckCache | None, **options: object) -> Compilation:
    compilation = compile_deck(path, cache=cache, **options)  # type: ignore[arg-type]  # whatever a test gives
    _ = compilation.program
    return compilation


def test_the_second_run_reads_no_deck(deck: Path, cache: DeckCache, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compiled(deck, cache)
    assert not first.from_cache
    monkeypatch.setattr("netc.parse.parse_deck", None)
    second = compiled(deck, cache)
    assert second.from_cache
    assert second.source == first.source
    assert second.signals == first.signals == ("in", "out")
    assert {k: list(v) for k, v in second.sources.items()} == {k: list(v) for k, v in first.sources.items()}
    assert list(second.sources) == list(first.sources)
    assert second.diagnostics == first.diagnostics


def test_remarks_are_made_again(tmp_path: Path, cache: DeckCache) -> None:
    path = tmp_path / "alone.cir"
    path.write_text(ALONE)
    first, second = (compiled(path, cache) for _ in range(2))
    assert second.from_cache
    assert first.diagnostics
    assert second.diagnostics == first.diagnostics
    shown = [d.render(second.sources) for d in second.diagnostics]
    assert shown == [d.render(first.sources) for d in first.diagnostics]
    assert "gear" in shown[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda home: (home / "deck.cir").write_text(DECK.replace("100n", "200n")),
        lambda home: (home / "part.lib").write_text("R2 out 0 20k\n"),
        lambda home: (home / "part.lib").unlink(),
        lambda home: ((home / "part.lib").unlink(), (home / "part.lib").mkdir()),
    ],
)
def test_a_changed_file_is_compiled_anew(deck: Path, cache: DeckCache, change: Callable[[Path], object]) -> None:
    compiled(deck, cache)
    change(deck.parent)
    assert not compile_deck(deck, cache=cache).from_cache


def test_a_file_that_comes_first_now_is_seen(deck: Path, cache: DeckCache, tmp_path: Path) -> None:
    library, nearer = tmp_path / "library", deck.parent / "part.lib"
    library.mkdir()
    nearer.rename(library / "part.lib")
    assert not compiled(deck, cache, include_directories=[library]).from_cache
    assert compiled(deck, cache, include_directories=[library]).from_cache
    nearer.write_text("R2 out 0 5\n")
    again = compiled(deck, cache, include_directories=[library])
    assert not again.from_cache
    assert 5.0 in [float(v) for block in again.program.parameters for v in block.values]


def test_options_that_matter_are_told_apart(deck: Path, cache: DeckCache, tmp_path: Path) -> None:
    compiled(deck, cache)
    for options in ({"lenient": True}, {"disable": ("dead",)}, {"include_directories": [tmp_path]}):
        assert not compiled(deck, cache, **options).from_cache
        assert compiled(deck, cache, **options).from_cache


def test_another_version_of_netc_compiles_anew(deck: Path, cache: DeckCache, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled(deck, cache)
    monkeypatch.setattr(netc.cache, "own_source", lambda: "another")
    assert not compiled(deck, cache).from_cache


def test_a_deck_that_stands_alone_may_move(tmp_path: Path, cache: DeckCache) -> None:
    (tmp_path / "a.cir").write_text(ALONE)
    (tmp_path / "b.cir").write_text(ALONE)
    compiled(tmp_path / "a.cir", cache)
    moved = compiled(tmp_path / "b.cir", cache)
    assert moved.from_cache
    assert moved.source == compiled(tmp_path / "b.cir", None).source
    assert {s.file for block in moved.program.parameters for s in block.spans} == {str(tmp_path / "b.cir")}
    assert list(moved.sources) == [str(tmp_path / "b.cir")]


def test_a_deck_with_includes_may_not_move(deck: Path, cache: DeckCache, tmp_path: Path) -> None:
    compiled(deck, cache)
    other = tmp_path / "other"
    other.mkdir()
    (other / "deck.cir").write_text(DECK)
    (other / "part.lib").write_text("R2 out 0 30k\n")
    assert not compile_deck(other / "deck.cir", cache=cache).from_cache


def test_the_undriven_program_is_kept_too(tmp_path: Path, cache: DeckCache, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "alone.cir"
    path.write_text(ALONE)
    first = compile_deck(path, cache=cache).undriven
    assert not first.inputs
    monkeypatch.setattr("netc.parse.parse_deck", None)
    assert dump(compile_deck(path, cache=cache).undriven) == dump(first)


@pytest.mark.parametrize(
    "damage", [lambda d: b"", lambda d: d[:-1], lambda d: b"x" * len(d), lambda d: dump(("foreign",))]
)
def test_a_damaged_or_foreign_entry_is_replaced(
    deck: Path, cache: DeckCache, damage: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = compiled(deck, cache).source
    (entry,) = cache.folder.iterdir()
    good = entry.read_bytes()
    entry.write_bytes(damage(good))
    again = compiled(deck, cache)
    assert not again.from_cache
    assert again.source == wanted
    assert entry.read_bytes() == good
    assert capsys.readouterr() == ("", "")


def test_a_folder_in_the_place_of_an_entry_is_no_failure(deck: Path, cache: DeckCache) -> None:
    compiled(deck, cache)
    (entry,) = cache.folder.iterdir()
    entry.unlink()
    entry.mkdir()
    assert not compiled(deck, cache).from_cache


def test_a_place_that_cannot_be_written_is_no_failure(deck: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not compiled(deck, DeckCache(tmp_path / "file" / "decks")).from_cache


def test_a_broken_deck_is_not_kept(deck: Path, cache: DeckCache) -> None:
    from netc.diagnostics import NetcError

    deck.write_text(DECK + "T1 a 0 b 0 z0=50\n")
    for _ in range(2):
        with pytest.raises(NetcError, match="t1"):
            _ = compile_deck(deck, cache=cache).program
    assert not cache.folder.exists()


def test_the_folder_stays_within_its_limit(tmp_path: Path, cache: DeckCache) -> None:
    paths = []
    for number in range(5):
        paths.append(tmp_path / f"{number}.cir")
        paths[-1].write_text(ALONE.replace("1k", f"{number + 1}k"))
    compiled(paths[0], cache)
    size = cache.size()[1]
    small = replace(cache, limit=3 * size + size // 2)
    for number, path in enumerate(paths[1:3]):
        compiled(path, small)
        os.utime(max(small.folder.iterdir(), key=lambda p: p.stat().st_mtime_ns), (1000 + number, 1000 + number))
    assert compiled(paths[0], small).from_cache  # used last
    for path in paths[3:]:
        compiled(path, small)
    assert small.size()[1] <= small.limit
    assert compile_deck(paths[0], cache=small).from_cache
    assert not compile_deck(paths[1], cache=small).from_cache


def test_there_are_never_too_many_entries(tmp_path: Path, cache: DeckCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netc.cache, "MOST", 3)
    for number in range(5):
        (tmp_path / f"{number}.cir").write_text(ALONE.replace("1k", f"{number + 1}k"))
        compiled(tmp_path / f"{number}.cir", cache)
    assert cache.size()[0] == 3
    assert compile_deck(tmp_path / "4.cir", cache=cache).from_cache


def test_writers_at_the_same_time_do_no_harm(deck: Path, cache: DeckCache) -> None:
    compilation = compiled(deck, None)
    request = Request(deck)
    from netc.cache import Compiled

    whole = Compiled(compilation.program, compilation.signals, (), compilation.sources)

    def work(number: int) -> bool:
        if number % 2:
            cache.store(request, whole, compilation.deck.searches)
            return True
        found = cache.find(request)
        return found is None or dump(found.program) == dump(whole.program)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(64)))
    assert [p.suffix for p in cache.folder.iterdir()] == [".deck"]


def test_the_place_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert decks_folder() == tmp_path / "netc" / "decks"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert decks_folder() == tmp_path / ".cache" / "netc" / "decks"


def test_an_entry_holds_nothing_that_could_be_executed(deck: Path, cache: DeckCache) -> None:
    compiled(deck, cache)
    (entry,) = cache.folder.iterdir()
    searches, signals, diagnostics, program = load(entry.read_bytes())
    assert searches[-1][2].endswith("part.lib")
    assert signals == ("in", "out")
    assert diagnostics == ()
    assert program.title == "low pass"
