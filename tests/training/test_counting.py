"""Spikes counted beside the circuit are those counted in stored voltages."""

from __future__ import annotations

from pathlib import Path

import torch

from netc.compiler import compile_deck
from netc.generate import generate, write
from netc.training import TrainingOptions
from netc.training.activity import count, with_counters
from netc.training.contract import membranes
from netc.training.engines import choose
from netc.training.timing import Steps


def test_kernel_pytorch_and_stored_voltages_count_alike(tmp_path: Path) -> None:
    deck = write(tmp_path / "network.cir", generate((6, 8, 4), seed=1, input_current=200e-6, steps=500))
    compilation = compile_deck(deck)
    steps, samples = Steps(500, 10e-6), torch.rand(5, 6, generator=torch.Generator().manual_seed(0))
    found = {}
    for backend in ("cpp", "torch"):
        module: object = compilation.module(torch.float32)
        engine = choose(compilation.program, module, TrainingOptions(backend=backend), steps, print, 5)  # type: ignore[arg-type]  # emitted
        nodes = membranes(engine.module)  # type: ignore[attr-defined]  # both have one
        scores, found[backend] = engine.tally(samples, nodes, 0.11)
        assert torch.allclose(scores, engine.scores(samples))
        rows, _ = engine.module(500, 10e-6, samples, observe=nodes)  # type: ignore[attr-defined]
        stored = count(rows.detach(), 0.11)
        assert torch.equal(found[backend].spikes, stored.spikes) and torch.equal(found[backend].above, stored.above)
        assert found[backend].samples == 5
    assert found["cpp"].spikes.sum() > 5, "there is something to count"
    low = with_counters(compilation.program, nodes, -1.0)
    assert low is None, "membranes that start above the threshold are counted in stored voltages"
