"""Circuits unlike the layered network: every variant that takes them finds the same."""

import numpy as np
import pytest

from netc.bench import CIRCUITS, VARIANTS, Task, Unavailable, make_task, run
from netc.bench.registry import default_variants
from netc.ir.interpret import simulate
from netc.ngspice import find_ngspice

SIZES = {"fig3-passive": (9, 6, 4), "rlc-ladder": None, "mss-crossbar": None, "1t1r": (3, 2, 2)}


@pytest.fixture(scope="module", params=CIRCUITS)
def task(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Task:
    folder = tmp_path_factory.mktemp(request.param)
    return make_task(request.param, folder, layers=SIZES[request.param], batch=3, steps=40)


def test_variants_agree(task: Task) -> None:
    names = [name for name in default_variants(layered=False) if not VARIANTS[name].forward_only]
    done = run(task, names, repeat=1, memory=False, peaks=False, notify=lambda line: None)
    assert not done.disagreements
    assert done.variants["torch-loop"].cpu_ms and done.variants["netc-torch"].loss is not None


def test_every_state_moves(task: Task) -> None:
    """A circuit at rest would be no test of speed: values that do not change can be left out."""
    program = task.compilation().program
    steps = 300
    start = simulate(program, steps=0, dt=task.dt)[1]
    end = simulate(program, steps=steps, dt=task.dt)[1]
    for block, before, after in zip(program.states, start, end, strict=True):
        assert np.isfinite(after).all()
        assert (np.asarray(after) != np.asarray(before)).all(), block.name


def test_variants_with_equations_of_the_network_say_so(task: Task) -> None:
    for name in ("torch-eager", "jax", "handwritten", "brian2-forward"):
        with pytest.raises(Unavailable, match="written for the layered network"):
            VARIANTS[name].build(task)


@pytest.mark.ngspice
def test_ngspice_runs_the_deck(task: Task) -> None:
    if not find_ngspice().engines:
        pytest.skip("ngspice is not installed")
    if task.title.startswith("mss-crossbar"):
        pytest.skip("ngspice takes half a minute for 4096 devices")
    assert VARIANTS["ngspice-forward"].build(task)().samples == 1
