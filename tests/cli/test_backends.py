"""``--backend``: the same waveforms and results from PyTorch and from a kernel, and a word where there is none."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from netc.kernels.library import compiler
from tests.cli.runner import NETLISTS, Outcome, netc

needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C++ compiler")


def rows(done: Outcome) -> tuple[list[str], list[list[float]]]:
    assert done.code == 0, done.err
    head, *body = csv.reader(io.StringIO(done.out))
    return head, [[float(x) for x in row] for row in body]


@needs_compiler
@pytest.mark.parametrize("name", ["mif", "mif_table3"])
def test_simulate_gives_the_same_waveforms(name: str) -> None:
    deck, short = NETLISTS / f"{name}.cir", ("--tstop", "1m")
    head, torch = rows(netc("simulate", deck, *short, "--backend", "torch"))
    same, cpp = rows(netc("simulate", deck, *short, "--backend", "cpp"))
    assert head == same
    assert len(torch) == len(cpp) > 10
    largest = [max(abs(row[k]) for row in torch) for k in range(len(head))]
    for a, b in zip(torch, cpp, strict=True):
        assert all(abs(x - y) <= 1e-9 * top for x, y, top in zip(a, b, largest, strict=True))


@needs_compiler
def test_a_divergence_is_told_alike(deck: Callable[[str], Path]) -> None:
    path = deck("C1 a 0 1u IC=1\nB1 0 a I=1m*v(a)*v(a)\n.tran 10u 20m uic\n.end\n")
    told = [netc("simulate", path, "--backend", backend).refused() for backend in ("torch", "cpp")]
    assert told[0] == told[1]
    assert "diverges at step" in told[0]


def test_a_short_run_is_not_worth_a_compiler(rc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netc.kernels.circuit.build", None)
    assert netc("simulate", rc).code == 0


def test_without_a_compiler(
    rc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    told = netc("simulate", rc, "--backend", "cpp").refused()
    assert "there is no fused kernel: no C++ compiler found" in told
    assert "PyTorch runs" not in told
    monkeypatch.setattr("netc.cli.simulate._OPERATIONS", 0)
    done = netc("simulate", rc)
    assert done.code == 0
    assert done.err.count("no C++ compiler found") == 1
    assert done.out == netc("simulate", rc, "--backend", "torch").out


def test_steps_chosen_by_their_error_have_no_kernel(rc: Path) -> None:
    told = netc("simulate", rc, "--integrator", "auto", "--backend", "cpp").refused()
    assert "no fused kernel for steps that are chosen by their error" in told
    assert netc("simulate", rc, "--integrator", "auto").code == 0


def test_evaluate_runs_on_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = ("--data", "digits", "--limit-test", "40")
    out = tmp_path / "run"
    options = ("--steps", "50", "--limit-train", "32", "--epochs", "1", "--backend", "torch", "--out", out)
    trained = netc("train", NETLISTS / "digits.cir", *small, *options)
    assert trained.code == 0, trained.err
    found = [json.loads(trained.out.splitlines()[-1])]
    for backend in ("torch", "cpp") if compiler() else ("torch",):
        done = netc("evaluate", out, *small, "--backend", backend)
        assert done.code == 0, done.err
        found.append(json.loads(done.out.splitlines()[-1]))
        assert found[-1]["backend"] == backend
    for other in found[1:]:
        assert other["test_accuracy"] == found[0]["test_accuracy"]
        assert other["test_loss"] == pytest.approx(found[0]["test_loss"], rel=1e-5)
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no C++ compiler found" in netc("evaluate", out, *small, "--backend", "cpp").refused()
    again = netc("evaluate", out, *small, "--backend", "auto")
    assert json.loads(again.out.splitlines()[-1])["backend"] == "torch"
    assert again.err.count("no C++ compiler found") == 1
