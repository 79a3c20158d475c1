"""``netc validate`` steps as ``netc simulate`` does: by error where explicit Euler is not right."""

from __future__ import annotations

from pathlib import Path

from tests.cli.runner import netc

STIFF = """* a divider with a parasitic capacitance
v1 a 0 sin(0 1 1k)
r1 a b 1k
r2 b 0 1k
c1 b 0 10p
.tran 10u 1m
.end
"""


def test_a_deck_too_stiff_for_euler_is_validated_by_variable_steps(tmp_path: Path) -> None:
    deck = tmp_path / "stiff.cir"
    deck.write_text(STIFF)
    result = netc("validate", deck)
    assert result.code == 0, result.err
    assert "so --integrator auto takes the steps" in result.err
    assert "the steps are chosen by their error" in result.out


def test_euler_that_is_right_stays_and_its_order_is_measured(tmp_path: Path) -> None:
    deck = tmp_path / "rc.cir"
    deck.write_text(STIFF.replace("10p", "200n").replace(".tran 10u", ".tran 0.2u"))
    result = netc("validate", deck)
    assert result.code == 0, result.err
    assert "auto" not in result.err and "order in dt 1.0" in result.out
