"""``netc simulate`` without ``--integrator``: explicit Euler is checked, and replaced or remarked upon."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path

from tests.cli.runner import Outcome, netc

Write = Callable[[str], Path]

COARSE = "V1 in 0 SIN(0 1 1k)\nR1 in out 1k\nC1 out 0 1u\n.tran 50u 3m uic\n.end\n"
STEEP = "V1 in 0 PULSE(0 1 1.01u 1n 1n 0.2u)\nR1 in out 1k\nC1 out 0 1n\n.tran 1u 4u uic\n.end\n"


def last(done: Outcome) -> list[float]:
    assert done.code == 0, done.err
    return [float(x) for x in list(csv.reader(io.StringIO(done.out)))[-1]]


def exact(time: float) -> float:
    """Voltage of a low-pass of 1 ms driven by a sine of 1 kHz."""
    w, tau = 2 * math.pi * 1e3, 1e-3
    gain = 1 / (1 + (w * tau) ** 2)
    return gain * (math.sin(w * time) - w * tau * math.cos(w * time) + w * tau * math.exp(-time / tau))


def test_steps_of_the_deck_that_are_too_coarse_are_replaced(deck: Write) -> None:
    path = deck(COARSE)
    done = netc("simulate", path)
    assert "is off by" in done.err and "--integrator auto takes the steps" in done.err
    assert abs(last(done)[2] - exact(3e-3)) < 1e-4
    kept = netc("simulate", path, "--integrator", "euler")
    assert "is off by" not in kept.err
    assert abs(last(kept)[2] - exact(3e-3)) > 1e-3


def test_a_step_that_was_asked_for_is_kept_with_a_remark(deck: Write) -> None:
    path = deck(COARSE)
    done = netc("simulate", path, "--dt", "50u")
    assert "is off by" in done.err and "--integrator auto is not" in done.err
    assert last(done) == last(netc("simulate", path, "--integrator", "euler"))


def test_a_pulse_between_two_steps_is_not_missed(deck: Write) -> None:
    done = netc("simulate", deck(STEEP))
    assert "--integrator auto takes the steps" in done.err
    after = [float(row[2]) for row in list(csv.reader(io.StringIO(done.out)))[1:]]
    assert max(after) > 0.05


def test_a_good_step_is_left_alone(deck: Write) -> None:
    path = deck(COARSE.replace("50u", "1u"))
    done = netc("simulate", path)
    assert done.err.count("note") == 0
    assert done.out == netc("simulate", path, "--integrator", "euler").out
