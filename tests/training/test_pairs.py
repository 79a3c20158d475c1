"""Common mode of conductances that count against each other."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

import netc.data
from netc.compiler import compile_deck
from netc.diagnostics import NetcError
from netc.generate import generate, write
from netc.training import TrainingOptions, train
from netc.training.pairs import find_pairs
from netc.training.saved import open_run

MIRRORS = """two lines, sensed by what MIRRORS say
v1 w 0 1
rp w p 2k
rm w q 3k
{senses}
fp 0 out {plus}
fm {minus}
rl out 0 1k
cl out 0 1n ic=0
*.netc input v1
*.netc output out
*.netc train r[pm] min=1k max=10k
.tran 1u 100u uic
.end
"""
SENSES = "vp p 0 0\nvm q 0 0"


def pairs_of(path: Path, text: str) -> Any:
    path.write_text(text, encoding="utf-8")
    compilation = compile_deck(path)
    found = find_pairs(compilation.program, compilation.circuit)
    lanes = {b.name: b.lanes for b in compilation.program.parameters}
    return {
        (lanes[first][a], lanes[second][b])
        for (first, second), (plus, minus) in found.places.items()
        for a, b in zip(plus.tolist(), minus.tolist(), strict=True)
    }


def test_each_synapse_of_a_network_is_a_pair(tmp_path: Path) -> None:
    found = pairs_of(tmp_path / "n.cir", generate((3, 2, 2), steps=20))
    every = [(1, i, j) for i in (1, 2, 3) for j in (1, 2)] + [(2, i, j) for i in (1, 2) for j in (1, 2)]
    expected = {frozenset((f"r{c}_{i}_{j}p", f"r{c}_{i}_{j}m")) for c, i, j in every}
    assert {frozenset(pair) for pair in found} == expected


@pytest.mark.parametrize(
    ("senses", "plus", "minus"),
    [
        (SENSES, "vp 2", "out 0 vm 2"),
        (SENSES, "vp 2", "0 out vm -2"),
        ("vp p 0 0\nvm 0 q 0", "vp 2", "0 out vm 2"),
    ],
    ids=["pins", "gain", "sense"],
)
def test_mirrors_oppose_by_pins_gain_or_sense(tmp_path: Path, senses: str, plus: str, minus: str) -> None:
    found = pairs_of(tmp_path / "n.cir", MIRRORS.format(senses=senses, plus=plus, minus=minus))
    assert found == {("rp", "rm")}


@pytest.mark.parametrize(
    ("senses", "plus", "minus"),
    [
        (SENSES, "vp 2", "0 out vm 2"),
        (SENSES, "vp 2", "out 0 vm 1"),
        ("vp p 0 0.1\nvm q 0 0", "vp 2", "out 0 vm 2"),
        (SENSES, "vp 2\nb2 0 out i=i(vp)*i(vp)", "out 0 vm 2"),
    ],
    ids=["same", "other gain", "not at ground", "read by more"],
)
def test_others_are_no_pairs(tmp_path: Path, senses: str, plus: str, minus: str) -> None:
    with pytest.raises(NetcError, match="--lower-pairs needs pairs"):
        pairs_of(tmp_path / "n.cir", MIRRORS.format(senses=senses, plus=plus, minus=minus))


def test_a_passive_network_is_refused(tmp_path: Path) -> None:
    deck = write(tmp_path / "n.cir", generate((64, 4, 10), passive=True, steps=20))
    with pytest.raises(NetcError, match="needs pairs of trained resistors"):
        learnt(deck, tmp_path / "run", lower_pairs=True)


def test_the_waveforms_stay(tmp_path: Path) -> None:
    deck = write(tmp_path / "n.cir", generate((4, 3, 2), seed=3, steps=200, input_current=60e-6))
    compilation = compile_deck(deck)
    module: Any = compilation.module(torch.float64)
    given = torch.rand(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before, _ = module(200, 1e-5, given)
    pairs = find_pairs(compilation.program, compilation.circuit)
    pairs.lower(module)
    after, _ = module(200, 1e-5, given)
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-12)
    for (first, second), (plus, minus) in pairs.places.items():
        positions = getattr(module, module.BLOCKS[first][0])[plus], getattr(module, module.BLOCKS[second][0])[minus]
        assert torch.minimum(*positions).abs().max() == 0.0


@pytest.fixture(scope="module")
def deck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = generate((64, 12, 10), seed=1, input_current=60e-6, steps=150)
    return write(tmp_path_factory.mktemp("deck") / "network.cir", text)


def learnt(deck: Path, folder: Path, **more: Any) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Return weights, in siemens, by block, and the metrics of the epochs."""
    data = netc.data.load("digits", limit_train=200, limit_test=20)
    choice = {"epochs": 2, "batch": 50, "threads": 1, "learning_rate": 0.004, "dtype": "float64", **more}
    console = Console(file=io.StringIO())
    train(compile_deck(deck), data, TrainingOptions(**choice), directory=folder, console=console)
    run = open_run(folder)
    pairs = find_pairs(run.compilation.program, run.compilation.circuit)
    values = run.module.values()
    conductance = {name: 1 / values[name].detach().numpy() for names in pairs.places for name in names}
    weights = {a: conductance[a][plus] - conductance[b][minus] for (a, b), (plus, minus) in pairs.places.items()}
    return weights, [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_what_is_learnt_is_the_same(deck: Path, tmp_path: Path) -> None:
    plain, _ = learnt(deck, tmp_path / "plain")
    lowered, metrics = learnt(deck, tmp_path / "lowered", lower_pairs=True)
    for name, weights in plain.items():
        np.testing.assert_allclose(lowered[name], weights, rtol=0, atol=1e-6 * np.abs(weights).max())
    assert metrics[-1]["at_bounds"] > 0.45  # one of each pair


def test_spread_costs_less_without_common_mode(deck: Path, tmp_path: Path) -> None:
    more = {"spread": 0.2, "epochs": 6, "learning_rate": 0.02, "validation": 50.0}
    _, plain = learnt(deck, tmp_path / "plain", **more)
    _, lowered = learnt(deck, tmp_path / "lowered", lower_pairs=True, **more)
    assert lowered[-1]["loss"] < plain[-1]["loss"]
