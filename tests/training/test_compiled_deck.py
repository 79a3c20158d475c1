"""Training of a deck that netc generated and compiled."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import netc.data
from netc.compiler import Compilation, compile_deck
from netc.diagnostics import NetcError
from netc.generate import generate, write
from netc.report import draw_run
from netc.training import TrainingOptions, evaluate, train

DATA = netc.data.load("digits", limit_train=200, limit_test=60)
OPTIONS = TrainingOptions(epochs=6, batch=20, threads=1, learning_rate=0.02)


def _quiet() -> Console:
    return Console(file=io.StringIO())


@pytest.fixture(scope="module")
def compilation(tmp_path_factory: pytest.TempPathFactory) -> Compilation:
    text = generate((64, 10, 10), steps=60, step=50e-6, pulse_width=0.1e-3, pulse_period=1e-3)
    body, directives = text.split("*.netc", 1)
    folder = tmp_path_factory.mktemp("decks")
    write(folder / "parts/words.inc", "*.netc" + directives.split(".tran", 1)[0])
    deck = body + ".include ../parts/words.inc\n.tran" + directives.split(".tran", 1)[1]
    return compile_deck(write(folder / "top/network.cir", deck), include_directories=[folder])


def test_a_compiled_network_learns_digits(tmp_path: Path, compilation: Compilation) -> None:
    result = train(compilation, DATA, OPTIONS, directory=tmp_path / "run", console=_quiet())
    assert result.test_accuracy > 0.4, "chance is 0.1"
    assert (result.steps, result.dt) == (60, 50e-6)
    metrics = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert metrics[-1]["loss"] < metrics[0]["loss"] / 2

    # from the folder's own copy of the deck and of what it includes, wherever the folder is by now
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    again = evaluate(moved, DATA, console=_quiet())
    assert again.test_accuracy == result.test_accuracy and again.test_loss == result.test_loss

    pictures = draw_run(moved, compilation, DATA)
    assert [p.name for p in pictures] == ["learning_curve.png", "conductances.png", "weights.png", "membranes.png"]


def test_an_unstable_step_is_refused_with_names(tmp_path: Path, compilation: Compilation) -> None:
    with pytest.raises(NetcError) as caught:
        train(compilation, DATA, replace(OPTIONS, dt=1e-3), directory=tmp_path / "run", console=_quiet())
    assert "v(m1_" in str(caught.value) and "needs dt <=" in str(caught.value) and "--dt" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_the_kernel_and_pytorch_train_alike(tmp_path: Path, compilation: Compilation) -> None:
    results = {}
    for backend in ("cpp", "torch"):
        options = replace(OPTIONS, epochs=2, dtype="float64", backend=backend)
        results[backend] = train(compilation, DATA, options, directory=tmp_path / backend, console=_quiet())
        assert results[backend].backend == backend
    assert results["cpp"].test_loss == pytest.approx(results["torch"].test_loss, rel=1e-9)
    assert results["cpp"].spikes_per_neuron == results["torch"].spikes_per_neuron


def test_without_a_compiler_pytorch_runs_and_cpp_is_refused(
    tmp_path: Path, compilation: Compilation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)
    said = io.StringIO()
    options = replace(OPTIONS, epochs=1)
    result = train(compilation, DATA, options, directory=tmp_path / "auto", console=Console(file=said))
    assert result.backend == "torch" and "C++" in said.getvalue()
    with pytest.raises(NetcError, match="no fused kernel"):
        train(compilation, DATA, replace(options, backend="cpp"), directory=tmp_path / "cpp", console=_quiet())
