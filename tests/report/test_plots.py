"""Pictures are written whole, whatever names are in them, and are not empty (they have colours)."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch

import netc.data
from netc.diagnostics import NetcError, Span
from netc.ir.program import Bounds, Coordinate, ParameterBlock, Program
from netc.report import conductance_histograms, draw_run, learning_curve, maps, membranes, waveforms
from netc.report.run import conductances, receptive_fields
from netc.report.style import safe, scale
from netc.training import TrainingOptions, train
from tests.training.mif_circuit import HandMade, MifNetwork

HOSTILE = ("$\\frac{$", "i(v$1$)", "_^{}\\", "a\nb\x1b[31m", "n" * 500, "")


@pytest.fixture(autouse=True)
def _no_warnings() -> None:
    warnings.simplefilter("error", UserWarning)


def _colours(path: Path) -> int:
    picture = matplotlib.image.imread(path)
    return len(np.unique((picture[..., :3] * 255).astype(np.uint8).reshape(-1, 3), axis=0))


@pytest.mark.parametrize("count", [0, 1, 2, 6])
def test_waveforms_with_and_without_reference(tmp_path: Path, count: int) -> None:
    times, dense = np.linspace(0, 1e-2, 101), np.linspace(0, 1e-2, 301)
    values = {name: np.sin(900 * times + k) for k, name in enumerate(HOSTILE[:count])}
    reference = {name: np.sin(900 * dense + k) for k, name in enumerate(HOSTILE[:count])}
    waveforms(times, values, tmp_path / "a.png", title=HOSTILE[0])
    waveforms(times, values, tmp_path / "b.png", reference_times=dense, reference=reference, title=HOSTILE[3])
    if count:
        assert _colours(tmp_path / "b.png") > _colours(tmp_path / "a.png") > 10
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_waveforms_of_nothing_but_nan(tmp_path: Path) -> None:
    waveforms(np.linspace(0, 1, 5), {"n": np.full(5, np.nan)}, tmp_path / "a.png")
    assert (tmp_path / "a.png").exists()


def test_learning_curve_of_one_epoch(tmp_path: Path) -> None:
    line = {"epoch": 1, "loss": 2.0, "train_accuracy": 0.5, "test_accuracy": None, "activity": {"m1": 0.0}}
    learning_curve([line], tmp_path / "a.png", title=HOSTILE[0])
    learning_curve([line, {**line, "epoch": 2, "test_accuracy": 0.7}], tmp_path / "b.png")
    assert _colours(tmp_path / "b.png") > _colours(tmp_path / "a.png")


def test_conductances_and_maps(tmp_path: Path) -> None:
    banks = {name: np.linspace(1e-5, 1e-3, 60).reshape(12, 5) for name in HOSTILE}
    conductance_histograms(banks, tmp_path / "a.png", initial=banks)
    conductance_histograms({"same": np.full(4, 1e-4)}, tmp_path / "b.png")
    maps(banks, tmp_path / "c.png")
    maps({name: bank - 5e-4 for name, bank in banks.items()}, tmp_path / "d.png", axes_names=("to", "from"))
    maps({}, tmp_path / "e.png")
    assert _colours(tmp_path / "d.png") > 50


@pytest.mark.parametrize("neurons", [0, 7])
def test_membranes(tmp_path: Path, neurons: int) -> None:
    random = np.random.RandomState(0)
    times = np.linspace(0, 1e-2, 50)
    membranes(
        times,
        random.rand(50, 3, neurons),
        random.rand(50, 3, 4),
        [0, 1, 2],
        ["$a$", "b", "c"],
        tmp_path / "a.png",
        predicted=[0, 2, 3],
        threshold=0.5,
    )
    assert _colours(tmp_path / "a.png") > 50


def test_unwritable_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NetcError, match="cannot write"):
        maps({}, tmp_path / "file" / "a.png")


def test_names_and_units() -> None:
    assert safe("a\nb") == "a\N{REPLACEMENT CHARACTER}b" and len(safe("x" * 99)) == 32
    assert scale(np.array([0.05, -0.3]), "V") == (1e-3, "mV")
    assert scale(np.array([0.0, np.nan]), "V") == (1.0, "V")
    assert scale(np.array([2e-4]), "S") == (1e-6, "\N{MICRO SIGN}S")


class _WithBlocks(HandMade):
    """The hand-made network, its parameters described as a compiled deck describes them: resistances by lane."""

    @property
    def program(self) -> Program:  # type: ignore[override]  # the base keeps its own in a cache
        blocks = []
        for layer in range(len(self.sizes) - 1):
            rows, columns = self.sizes[layer : layer + 2]
            for sign, name in (("p", "plus"), ("m", "minus")):
                lanes = tuple(f"r{layer + 1}_{i}_{j}{sign}" for i in range(1, rows + 1) for j in range(1, columns + 1))
                block = ParameterBlock(
                    f"r_{name}_{layer}",
                    "R",
                    "ohm",
                    np.ones(len(lanes)),
                    lanes,
                    (Span("x", 1),) * len(lanes),
                    Bounds(1e3, 1e5, Coordinate.RECIPROCAL),
                )
                blocks.append(block)
        return replace(HandMade.program.func(self), parameters=tuple(blocks))  # type: ignore[attr-defined]

    def module(self, dtype: torch.dtype = torch.float32) -> MifNetwork:
        return _Resistances(self.sizes, dtype)


class _Resistances(MifNetwork):
    """``values()`` in ohms, as an emitted module gives them."""

    def values(self) -> dict[str, torch.Tensor]:
        return {name: 1 / value for name, value in super().values().items()}

    def forward(self, *arguments, **options):  # type: ignore[no-untyped-def]
        return super().forward(*arguments, **options, values=super().values())


def test_pictures_of_a_run(tmp_path: Path) -> None:
    data = netc.data.load("digits", limit_train=100, limit_test=20)
    circuit = _WithBlocks((64, 5, 10))
    train(circuit, data, TrainingOptions(epochs=2, batch=50, threads=1), directory=tmp_path)
    done = draw_run(tmp_path, circuit, data)
    assert [p.name for p in done] == ["learning_curve.png", "conductances.png", "weights.png", "membranes.png"]
    assert all(_colours(p) > 20 for p in done)


def test_banks_are_matrices_in_the_order_of_their_numbers() -> None:
    circuit = _WithBlocks((64, 12, 10))
    module = circuit.module(torch.float64)
    banks = conductances(circuit.program, module)
    assert sorted(banks) == ["r1_#_#m", "r1_#_#p", "r2_#_#m", "r2_#_#p"]
    expected = MifNetwork.values(module)["r_plus_0"].detach().numpy()
    np.testing.assert_allclose(banks["r1_#_#p"], expected, rtol=1e-12)
    fields = receptive_fields(banks)
    assert len(fields) == 12
    minus = MifNetwork.values(module)["r_minus_0"].detach().numpy()
    np.testing.assert_allclose(fields["neuron 11"], (expected - minus)[:, 10].reshape(8, 8), rtol=1e-9)


def test_damaged_metrics(tmp_path: Path) -> None:
    data = netc.data.load("digits", limit_train=10, limit_test=5)
    with pytest.raises(NetcError, match="cannot read"):
        draw_run(tmp_path, HandMade(), data)
    (tmp_path / "metrics.jsonl").write_text("{")
    with pytest.raises(NetcError, match="is damaged"):
        draw_run(tmp_path, HandMade(), data)
