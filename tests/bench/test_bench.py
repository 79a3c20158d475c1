"""All ways to compute a training step find the same; the command reports them."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from netc.bench import VARIANTS, Problem, Task, Unavailable, make_problem, run
from netc.bench.count import Cost, of_node, training_cost
from netc.bench.measure import GRADIENT_TOLERANCE, on_processors
from netc.bench.memory import extra_memory
from netc.bench.registry import Outcome, Step, default_variants
from netc.bench.report import as_json, as_markdown
from netc.diagnostics import NetcError
from netc.ir.nodes import Const, State, Unary

QUICK = [n for n in default_variants(layered=True) if not VARIANTS[n].forward_only and n != "torch-compile"]


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return make_problem(tmp_path_factory.mktemp("bench"), layers=(20, 9, 7), batch=19, steps=60)


@pytest.mark.parametrize("name", QUICK)
def test_every_variant_finds_the_same_loss_and_gradients(name: str, problem: Problem) -> None:
    reference = VARIANTS["torch-eager-hoisted"].build(problem)()
    try:
        found = VARIANTS[name].build(problem)()
    except Unavailable as reason:
        pytest.skip(str(reason))
    assert found.loss == pytest.approx(reference.loss, rel=1e-5)
    assert found.gradients is not None and reference.gradients is not None
    for mine, theirs in zip(found.gradients(), reference.gradients(), strict=True):
        assert np.abs(theirs).max() > 0
        assert np.linalg.norm(mine - theirs) <= GRADIENT_TOLERANCE * np.linalg.norm(theirs)


def test_the_handwritten_kernel_splits_samples_among_threads(tmp_path: Path) -> None:
    one = make_problem(tmp_path, layers=(12, 8, 10), batch=50, steps=25, threads=1)
    two = make_problem(tmp_path, layers=(12, 8, 10), batch=50, steps=25, threads=3)
    try:
        first, second = (VARIANTS["handwritten"].build(p)() for p in (one, two))
    except Unavailable as reason:
        pytest.skip(str(reason))
    assert first.loss == pytest.approx(second.loss, rel=1e-12)
    assert first.gradients is not None and second.gradients is not None
    for a, b in zip(first.gradients(), second.gradients(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * np.abs(a).max())


def test_a_run_times_what_is_there_and_says_why_something_is_not(tmp_path: Path) -> None:
    deep = make_problem(tmp_path, layers=(6, 5, 4, 3), batch=4, steps=10)
    said: list[str] = []
    done = run(deep, ["torch-eager-hoisted", "torch-eager", "handwritten"], repeat=1, memory=False, notify=said.append)
    assert not done.disagreements
    assert done.variants["handwritten"].missing == "written for networks with one hidden layer"
    assert all((done.variants[n].cpu_ms or 0) > 0 for n in ("torch-eager", "torch-eager-hoisted"))
    text = as_markdown(done, {"load": None})
    assert "| torch-eager-hoisted | 1.00x |" in text and "written for networks" in text
    assert as_json(done, {})["variants"]["torch-eager"]["loss"] == done.variants["torch-eager"].loss


def test_a_slow_variant_runs_once(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    from netc.bench.variants import ngspice_forward

    calls: list[int] = []

    def build(task: Task) -> Step:
        def step() -> Outcome:
            calls.append(1)
            return Outcome(None, samples=1)

        return step

    monkeypatch.setattr(ngspice_forward, "build", build)
    done = run(problem, ["ngspice-forward"], repeat=3, memory=False, peaks=False, notify=lambda line: None)
    assert len(calls) == 1 and done.variants["ngspice-forward"].cpu_ms is not None


def test_a_wrong_variant_is_told(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    from netc.bench.variants import torch_eager

    right = torch_eager.euler_step
    monkeypatch.setattr(torch_eager, "euler_step", lambda s, i, w, dt, n, f: right(s, 1.01 * i, w, dt, n, f))
    done = run(problem, ["netc-torch", "torch-eager"], repeat=1, memory=False, notify=lambda line: None)
    assert any(line.startswith("torch-eager: loss") for line in done.disagreements)


def test_a_variant_that_fails_does_not_end_the_run(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    from netc.bench.variants import torch_eager

    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("of its own")

    monkeypatch.setattr(torch_eager, "euler_step", broken)
    names = ["torch-eager-hoisted", "torch-loop"]
    done = run(problem, names, repeat=1, memory=False, peaks=False, notify=lambda line: None)
    assert done.variants["torch-eager-hoisted"].missing == "failed: ZeroDivisionError: of its own"
    assert done.disagreements and done.variants["torch-loop"].cpu_ms
    assert "against torch-loop" in as_markdown(done, {})


def test_unknown_variants_are_refused_together(problem: Problem) -> None:
    with pytest.raises(NetcError) as caught:
        run(problem, ["netc-cpp", "tensorflow", "julia"], notify=lambda line: None)
    assert len(caught.value.diagnostics) == 2


def test_extra_memory_sees_trajectories(tmp_path: Path) -> None:
    large = make_problem(tmp_path, layers=(8, 64, 4), batch=256, steps=60)
    found = extra_memory(large, "torch-eager-hoisted")
    if found is None:
        pytest.skip("this system does not tell a process's peak memory")
    least = 1e-6 * 4 * large.batch * 64 * 3 * large.steps  # states of the hidden layer alone
    assert found > least


def test_costs_are_those_counted_by_hand() -> None:
    v = State("v", 5)
    assert of_node(Unary("sigmoid", v)) == Cost(10, 5)
    assert of_node(Const(1.0)) == Cost()


def test_the_cost_of_a_network_grows_with_its_neurons(tmp_path: Path) -> None:
    costs = []
    for hidden in (10, 20):
        program = make_problem(tmp_path, layers=(6, hidden, 4), batch=1, steps=1).compilation().program
        costs.append(training_cost(program))
    # one exponential a neuron, and one a class for the softmax
    assert [c.exponentials for c in costs] == [10 + 4 + 4, 20 + 4 + 4]
    assert costs[1].flops - costs[0].flops > 10 * (6 * 4 + 50)


def test_further_threads_are_timed_in_the_same_run(tmp_path: Path) -> None:
    task = make_problem(tmp_path, layers=(6, 5, 3), batch=4, steps=10)
    names = ["torch-eager-hoisted", "jax"]
    done = run(task, names, repeat=1, more_threads=(2,), memory=False, peaks=False, notify=lambda line: None)
    assert done.scaling("torch-eager-hoisted", 2) and done.scaling("jax", 2) is None
    assert "starts with its threads" in (done.more[2]["jax"].missing or "")
    found = as_json(done, {})
    assert found["threads"]["2"]["torch-eager-hoisted"]["wall_ms"] > 0
    assert found["scaling"]["2"]["torch-eager-hoisted"] > 0
    assert "2 threads, in the same run" in as_markdown(done, {})


def test_threads_and_processors_are_given_back() -> None:
    before = torch.get_num_threads(), os.sched_getaffinity(0)
    with on_processors(1):
        assert torch.get_num_threads() == 1 == len(os.sched_getaffinity(0))
    assert (torch.get_num_threads(), os.sched_getaffinity(0)) == before


def test_memory_that_cannot_be_measured_says_why(problem: Problem) -> None:
    broken = replace(problem, source="raise RuntimeError('no such module')")
    with pytest.raises(Unavailable) as caught:
        extra_memory(broken, "netc-torch")
    assert "status 1" in str(caught.value) and "no such module" in str(caught.value)


def test_a_step_that_is_killed_is_told_from_one_that_fails(problem: Problem) -> None:
    broken = replace(problem, source="import os; os.kill(os.getpid(), 9)")
    with pytest.raises(Unavailable, match="SIGKILL, as when memory runs out"):
        extra_memory(broken, "netc-torch")
