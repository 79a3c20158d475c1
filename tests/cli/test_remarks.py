"""What commands say besides their result: counts, start times, limits, kinks, remedies."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

import netc.report
from netc.ngspice.locate import find_ngspice
from tests.cli.runner import netc as run

SINE = "V1 in 0 SIN(0 1 1k)\nR1 in out 1k\nC1 out 0 1u\n"
RUNAWAY = "C1 x 0 1u IC=2\nB1 0 x i=v(x)*v(x)*v(x)\n.tran 10u 1m uic\n"


def test_rows_are_written_from_the_start_time_on(deck: Callable[[str], Path], tmp_path: Path) -> None:
    path = deck(SINE + ".tran 10u 2m 1m\n")
    done = run("simulate", path)
    rows = list(csv.reader(done.out.splitlines()))
    whole = list(csv.reader(run("simulate", deck(SINE + ".tran 10u 2m\n")).out.splitlines()))
    assert rows == [whole[0], *whole[101:]]
    assert float(rows[1][0]) == 1e-3
    path = deck(SINE + ".tran 10u 2m 1m\n")
    assert "starts to save at 0.001 s" in run("simulate", path, "--tstop", "0.5m").refused()


def test_info_counts_in_words_that_agree(deck: Callable[[str], Path]) -> None:
    text = run("info", deck(SINE + "*.netc input V1\n*.netc output out\n.tran 1m 1m\n")).out
    for words in ("3 nets with ground, 3 elements", "1 in 1 array\n", "1 feature (", "1 node: out", "1 step, "):
        assert words in text


def test_info_marks_limits_of_the_coupled_system(deck: Callable[[str], Path]) -> None:
    series = "V1 in 0 1\nR1 in a 10\nL1 a b 1m\nC1 b 0 1u\n.tran 1u 1m\n"
    assert "(eigenvalue of the coupled system)" in run("info", deck(series)).out
    worst = "C1 x 0 1u IC=0\nB1 x 0 i=1m*v(x)*v(x)\nB2 0 x i=1m*limit(1-v(x),0,1)\n.tran 1u 1m uic\n"
    assert "(eigenvalue" not in run("info", deck(worst)).out


def test_a_divergence_names_a_state_only_where_the_step_was_too_long_for_it(deck: Callable[[str], Path]) -> None:
    done = run("simulate", deck(RUNAWAY + "R1 y 0 1k\nC2 y 0 1n IC=1\n"))
    assert "diverges" in done.refused()
    assert "v(y) needs dt <= 2 us (5 x smaller)" in done.err  # what is done; it is x that runs away
    assert "the state v(y)" not in done.err and "use a smaller --dt" in done.err


def test_edges_on_a_step_are_named(deck: Callable[[str], Path]) -> None:
    pulse = "V1 in 0 PULSE(0 1 {td} 1u 1u 50u 100u)\n.param td=10u\nR1 in out 1k\nC1 out 0 100n\n.tran 1u 100u\n"
    done = run("check-grad", deck(pulse))
    assert done.code == 0
    assert "no derivative to compare with, the edge of a waveform falls on a step: td" in done.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--line-capacitance", "1p"), "--line-capacitance has no effect"),
        (("--pulse-width", "1u"), "--pulse-width (1e-06 s) must be two steps"),
        (("--pulse-period", "50u"), "--pulse-period (5e-05 s) is too short for --pulse-width"),
        (("--roff", "10"), "--roff (10 ohm) must be greater than --ron (1000 ohm)"),
        (("--passive", "--attenuation", "1"), "a passive network has no mirrors, so no attenuation"),
    ],
)
def test_generate_speaks_of_its_options(options: tuple[str, ...], message: str, tmp_path: Path) -> None:
    assert message in run("generate", "--layers", "4,2", *options, "-o", tmp_path / "n.cir").refused()


def test_generate_takes_the_values_of_the_input(tmp_path: Path) -> None:
    path = tmp_path / "n.cir"
    values = ("--read-voltage", "20m", "--alpha-time", "1m", "--pulse-width", "200u", "--pulse-period", "2m")
    assert run("generate", "--layers", "4,2", *values, "-o", path).code == 0
    text = path.read_text()
    assert "alpha peak of 20mV" in text
    assert "calpha1 a1 0 100n" in text
    assert "PULSE(0 1 9.999u 1n 1n 199.999u 2m)" in text


@pytest.mark.ngspice
@pytest.mark.skipif(not find_ngspice().engines, reason="ngspice is not installed")
def test_validate_draws_outputs_first_then_the_worst(
    deck: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(netc.report, "waveforms", lambda times, values, path, **_: drawn.extend(values))
    cards = "V2 flat 0 1\nR9 flat 0 1\n" + SINE + "R2 in q 1k\nC2 q 0 10n\n*.netc output q\n.tran 10u 3m\n"
    assert run("validate", deck(cards), "--tol", "0.5", "--plot", tmp_path / "a.png").code == 0
    assert drawn == ["q", "out", "in"]


def test_a_circuit_that_rests_is_said_to(deck: Callable[[str], Path]) -> None:
    tank = "V1 in 0 1\nR1 in a 1k\nL1 a 0 1m\nC1 a 0 1u\nB1 0 a i=2m*tanh(v(a))\n.tran 1u 100u"
    assert "nothing that is written moves" in run("simulate", deck(f"{tank}\n")).err
    assert "nothing that is written moves" not in run("simulate", deck(f"{tank} uic\n")).err
    assert "nothing that is written moves" not in run("simulate", deck(SINE + "C2 in out 1n\n.tran 10u 1m\n")).err
