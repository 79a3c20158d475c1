"""Passes are listed and left out from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netc.kernels import PASSES
from netc.optimise import OPTIONAL
from tests.cli.runner import NETLISTS, netc

NAMES = [*OPTIONAL, *(name for name, _ in PASSES)]


def test_all_passes_are_listed_with_a_line_each() -> None:
    done = netc("compile", "--list-passes")
    assert done.code == 0
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == ["solve_algebraic", *NAMES, "hash-consing"]
    assert all(len(line.split()) > 4 for line in lines)
    always = [line.split()[0] for line in lines if line.split()[1] == "always"]
    assert always == ["solve_algebraic", "hash-consing"]


@pytest.mark.parametrize(
    "arguments",
    [("compile",), ("simulate",), ("train", "--data", "digits")],
)
def test_a_pass_that_does_not_exist_is_refused_with_those_that_do(arguments: tuple[str, ...], rc: Path) -> None:
    for name in ("hoist", "solve_algebraic", "hash-consing"):
        told = netc(*arguments, rc, "--disable-pass", name).refused()
        assert f"there is no pass '{name}'" in told
        assert all(known in told.replace("\n", " ") for known in NAMES)


def test_evaluate_refuses_it_too(tmp_path: Path) -> None:
    told = netc("evaluate", tmp_path, "--data", "digits", "--disable-pass", "hoist").refused()
    assert "there is no pass 'hoist'" in told


def test_what_is_left_out_shows_in_the_program() -> None:
    deck = NETLISTS / "fig3_buffered.cir"
    whole = netc("compile", deck, "--emit", "ir")
    without = netc("compile", deck, "--emit", "ir", "--disable-pass", "matrices", "--disable-pass", "simplify")
    assert whole.code == without.code == 0
    assert "matvec" in whole.out
    assert "matvec" not in without.out


def test_waveforms_do_not_change(rc: Path) -> None:
    whole = netc("simulate", rc).out.splitlines()
    for name in NAMES:
        without = netc("simulate", rc, "--disable-pass", name).out.splitlines()
        assert without[0] == whole[0]
        for a, b in zip(whole[1:], without[1:], strict=True):
            assert [float(x) for x in a.split(",")] == pytest.approx([float(x) for x in b.split(",")], rel=1e-12)


def test_a_run_remembers_what_it_was_trained_without(tmp_path: Path) -> None:
    small = ("--data", "digits", "--steps", "20", "--limit-train", "32", "--limit-test", "20", "--epochs", "1")
    left_out = ("--disable-pass", "separate_inputs", "--disable-pass", "checkpoints")
    out = tmp_path / "run"
    done = netc("train", NETLISTS / "digits.cir", *small, *left_out, "--backend", "torch", "--out", out)
    assert done.code == 0, done.err
    stored = json.loads((out / "config.json").read_text())["options"]
    assert stored["disable_passes"] == ["separate_inputs", "checkpoints"]
    told = netc(
        "train", NETLISTS / "digits.cir", *small[:-1], "2", "--backend", "torch", "--out", out, "--resume"
    ).refused()
    assert "disable_passes" in told
    tested = netc("evaluate", out, "--data", "digits", "--limit-test", "20", "--disable-pass", "dead")
    assert tested.code == 0, tested.err
    accuracies = [json.loads(x.out.splitlines()[-1])["test_accuracy"] for x in (done, tested)]
    assert accuracies[0] == accuracies[1]
