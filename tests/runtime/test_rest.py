"""Operating points of the whole system at once: devices that a plain Newton step would throw far off."""

from __future__ import annotations

from pathlib import Path

import pytest

from netc.compiler import Compilation, compile_deck
from netc.runtime.rest import at_rest

NPN = ".model n npn(is=1e-16 bf=100 vaf=60 cje=1p cjc=1p)\n"


def compiled(folder: Path, text: str) -> Compilation:
    path = folder / "deck.cir"
    path.write_text("* title\n" + text + ".tran 1u 10u\n.end\n")
    return compile_deck(path)


def signals(folder: Path, text: str) -> dict[str, float]:
    deck = compiled(folder, text)
    found = at_rest(deck._dae_at_rest, deck._guess)
    assert found is not None
    return found[1]


def test_a_diode_takes_what_the_resistor_leaves(tmp_path: Path) -> None:
    found = signals(tmp_path, "V1 a 0 100\nR1 a k 1\nD1 k 0 d\n.model d d(is=1e-14)\nC1 k 0 1n\n")
    assert found["k"] == pytest.approx(0.9529, abs=1e-3)  # 0.02585 log(99 / 1e-14)


def test_a_current_source_finds_its_way_through_transistors_that_are_off_at_first(tmp_path: Path) -> None:
    deck = (
        f"{NPN}Vp p 0 10\nVm m 0 -10\nR1 p c1 5k\nR2 p c2 5k\nQ1 c1 0 e n\nQ2 c2 0 e n\nIt e m 1m\n"
        "C1 c1 0 1p\nC2 c2 0 1p\n"
    )
    found = signals(tmp_path, deck)
    assert found["c1"] == pytest.approx(found["c2"], rel=1e-9)
    assert found["c1"] == pytest.approx(10 - 5e3 * 0.5e-3 * 100 / 101, abs=0.05)
    assert -0.8 < found["e"] < -0.7


def test_a_latch_goes_where_nodeset_sends_it(tmp_path: Path) -> None:
    latch = (
        f"{NPN}Vp p 0 5\nR1 p a 1k\nR2 p b 1k\nRa a x 10k\nRb b y 10k\nQ1 a y 0 n\nQ2 b x 0 n\nC1 a 0 1p\nC2 b 0 1p\n"
    )
    low = signals(tmp_path, latch + ".nodeset v(a)=0 v(b)=5\n")
    high = signals(tmp_path, latch + ".nodeset v(a)=5 v(b)=0\n")
    assert low["a"] < 0.2 < 4 < low["b"]
    assert high["b"] < 0.2 < 4 < high["a"]


def test_an_amplifier_of_one_transistor_starts_at_its_bias(tmp_path: Path) -> None:
    deck = compiled(
        tmp_path,
        f"{NPN}Vc c 0 12\nR1 c b 47k\nR2 b 0 10k\nRc c o 4.7k\nRe e 0 1k\nCe e 0 10u\nQ1 o b e n\nC1 in b 1u\n"
        "Vi in 0 0\n",
    )
    found = at_rest(deck._dae_at_rest, {})
    assert found is not None
    current = (12 - found[1]["o"]) / 4.7e3
    assert found[1]["e"] == pytest.approx(1e3 * current * 1.01, rel=0.02)
    assert found[1]["b"] - found[1]["e"] == pytest.approx(0.77, abs=0.05)


def test_what_has_no_solution_is_not_found(tmp_path: Path) -> None:
    deck = compiled(tmp_path, "B1 a 0 v='v(b) > 0.5 ? 0 : 1'\nR1 a b 1k\nC1 b 0 1n\n")
    assert at_rest(deck._dae_at_rest, {}) is None
