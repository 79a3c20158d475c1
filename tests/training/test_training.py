"""Training of a hand-written memristive network on real digits."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

import netc.data
from netc.diagnostics import NetcError
from netc.training import TrainingOptions, activity, batches, checkpoint, evaluate, load_trained, memory, session, train
from netc.training.contract import membranes
from netc.training.options import SCHEDULES
from netc.training.unroll import mean_log_probabilities, negative_log_likelihood
from tests.training.mif_circuit import HandMade, MifNetwork

DATA = netc.data.load("digits", limit_train=300, limit_test=100)
QUICK = TrainingOptions(epochs=1, batch=50, threads=1)


def _quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def test_loss_is_the_one_written_out_by_hand() -> None:
    module = MifNetwork((64, 5, 10), torch.float64)
    samples, labels = torch.from_numpy(DATA.train_x[:7]).double(), torch.from_numpy(DATA.train_y[:7])
    scores = mean_log_probabilities(module, samples, steps=12, dt=5e-5, logit_scale=80.0)
    voltages = module(12, 5e-5, samples, observe=module.OUTPUTS)[0].detach().numpy()
    total = 0.0
    summed = np.zeros((7, 10))
    for sample in range(7):
        for step in range(1, 13):
            logits = 80.0 * voltages[step, sample]
            log_softmax = logits - np.log(np.exp(logits).sum())
            total -= log_softmax[labels[sample]]
            summed[sample] += log_softmax
    assert negative_log_likelihood(scores, labels).item() == pytest.approx(total / (12 * 7), rel=1e-12)
    np.testing.assert_allclose(scores.detach().numpy(), summed / 12, rtol=1e-12)


@pytest.mark.parametrize("chunk", [1, 5, 7, 20, 100])
def test_recomputing_changes_no_gradient(chunk: int) -> None:
    samples, labels = torch.from_numpy(DATA.train_x[:6]).double(), torch.from_numpy(DATA.train_y[:6])
    gradients = []
    for size in (0, chunk):
        module = MifNetwork((64, 5, 10), torch.float64)
        scores = mean_log_probabilities(module, samples, steps=20, dt=5e-5, logit_scale=100.0, chunk=size)
        negative_log_likelihood(scores, labels).backward()
        gradients.append([p.grad for p in module.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-15)


def test_it_learns_digits_and_leaves_a_run_folder(tmp_path: Path) -> None:
    whole = netc.data.load("digits", limit_train=600)
    options = TrainingOptions(epochs=5, batch=50, threads=1, test_every=5, learning_rate=0.02)
    circuit = HandMade(steps=60, dt=100e-6)
    console = _quiet()
    result = train(circuit, whole, options, directory=tmp_path / "run", console=console)
    assert result.test_accuracy > 0.7, "chance is 0.1"
    assert (result.samples, result.test_samples, result.epochs, result.steps) == (600, 360, 5, 60)
    assert json.loads(result.line())["data"] == "digits"

    folder = tmp_path / "run"
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [m["epoch"] for m in metrics] == [1, 2, 3, 4, 5]
    assert metrics[-1]["loss"] < metrics[0]["loss"]
    assert metrics[-1]["test_accuracy"] == result.test_accuracy and metrics[0]["test_accuracy"] is None
    assert 0 <= metrics[-1]["at_bounds"] < 1 and metrics[-1]["hidden_activity"] > 0
    config = json.loads((folder / "config.json").read_text())
    assert config["options"]["seed"] == 0 and config["simulation"] == {"steps": 60, "dt": 100e-6}
    assert config["data"]["train_samples"] == 600 and config["data"]["train_available"] == 1437
    assert config["data"]["md5"] and config["trained_values"] == 2 * (64 * 16 + 16 * 10)
    assert json.loads((folder / "versions.json").read_text())["torch"] == torch.__version__
    assert json.loads((folder / "result.json").read_text()) == result.to_json()
    assert (folder / "circuit.py").read_text() == "# emitted\n"
    assert (folder / config["deck"]["file"]).read_text() == "hand-made network\n.include part.lib\n.end\n"
    assert (folder / "deck/models/part.lib").exists() and (folder / "deck/hand/made.cir").exists()

    text = console.file.getvalue()
    assert text.count("hidden activity") == 5 and "keeps" in text

    again = evaluate(folder, whole, compilation=circuit, console=_quiet())
    assert again.to_json() == result.to_json()
    part = evaluate(folder, whole.limited(None, 30), compilation=circuit, batch=7, console=_quiet())
    assert part.test_samples == 30 and part.samples == 600

    module, _, steps = load_trained(folder, compilation=circuit)
    fresh = circuit.module()
    assert steps.count == 60
    for (name, learnt), initial in zip(module.named_parameters(), fresh.parameters(), strict=True):
        assert not torch.equal(learnt, initial), name
        assert learnt.min().item() >= 0 and learnt.max().item() <= 1


def test_same_seed_same_numbers_other_seed_others(tmp_path: Path) -> None:
    runs = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        options = replace(QUICK, seed=seed, input_dropout=0.2)
        circuit = HandMade((64, 6, 10))
        train(circuit, DATA, options, directory=tmp_path / name, console=_quiet())
        runs.append(torch.cat([p.reshape(-1) for p in circuit.modules[0].parameters()]))
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


def test_the_best_epoch_is_chosen_on_samples_held_out_and_kept_beside_the_last(tmp_path: Path) -> None:
    whole = netc.data.load("digits", limit_train=400, limit_test=60)
    options = TrainingOptions(epochs=6, batch=50, threads=1, learning_rate=0.1, validation=0.25, patience=2)
    circuit, folder = HandMade(steps=40, dt=100e-6), tmp_path / "run"
    result = train(circuit, whole, options, directory=folder, console=_quiet())
    assert (result.samples, result.validation_samples) == (300, 100)
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    best = max(metrics, key=lambda m: (m["validation_accuracy"], -m["validation_loss"]))
    assert result.best_epoch == best["epoch"] and result.validation_accuracy == best["validation_accuracy"]
    assert all(m["test_accuracy"] is None for m in metrics), "the test set is looked at once, at the end"
    assert len(metrics) == 6 or len(metrics) == best["epoch"] + 2
    state, _ = checkpoint.load(folder)
    for name, kept in (("best", state["best"]["parameters"]), ("last", state["parameters"])):
        module, _, _ = load_trained(folder, compilation=circuit, last=name == "last")
        for stored, value in zip(kept.values(), module.parameters(), strict=True):
            assert torch.equal(stored, value)
    again = evaluate(folder, whole, compilation=circuit, console=_quiet())
    assert again.to_json() == result.to_json()


def test_order_of_samples_is_a_permutation_of_its_own_each_epoch() -> None:
    orders = [batches.permutation(100, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0), (0, 0))]
    assert torch.equal(orders[0], orders[3])
    assert not torch.equal(orders[0], orders[1]) and not torch.equal(orders[0], orders[2])
    assert torch.equal(orders[0].sort().values, torch.arange(100))


def test_dropout_keeps_the_mean() -> None:
    ones = torch.ones(200, 100)
    dropped = batches.drop(ones, 0.25, 0, 0, 0)
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float(dropped.mean()) == pytest.approx(1, abs=0.02)
    assert torch.equal(batches.drop(ones, 0, 0, 0, 0), ones)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules(schedule: str) -> None:
    options = TrainingOptions(schedule=schedule, learning_rate=0.1)
    rates = [options.learning_rate_at(p) for p in (0, 0.5, 1)]
    expected = {"cosine": [0.1, 0.05, 0], "exponential": [0.1, 0.01, 0.001], "constant": [0.1, 0.1, 0.1]}
    assert rates == pytest.approx(expected[schedule], abs=1e-12)


def test_a_rate_goes_where_it_is_told_and_rises_at_first() -> None:
    falling = TrainingOptions(schedule="exponential", learning_rate=1e-2, learning_rate_final=1e-4)
    assert [falling.learning_rate_at(p) for p in (0, 0.5, 1)] == pytest.approx([1e-2, 1e-3, 1e-4])
    cosine = TrainingOptions(learning_rate=0.2, learning_rate_final=0.1)
    assert [cosine.learning_rate_at(p) for p in (0, 0.5, 1)] == pytest.approx([0.2, 0.15, 0.1])
    warm = TrainingOptions(schedule="constant", learning_rate=0.1, epochs=10, warmup=2)
    assert [warm.learning_rate_at(p) for p in (0, 0.1, 0.2, 1)] == pytest.approx([0, 0.05, 0.1, 0.1])


def test_activity_by_hand() -> None:
    trace = torch.tensor([0.0, 0.2, 0.2, 0.0, 0.2, 0.0])
    quiet = torch.zeros(6)
    counted = activity.count(torch.stack([trace, quiet], dim=-1)[:, None, :], 0.1)
    mean = counted.mean(5, ("m1_1", "m1_2"))
    assert mean.spikes_per_neuron == 1.0 and mean.share_of_time == pytest.approx(3 / 10)


def test_layers_are_named_by_their_membranes() -> None:
    nodes = ("m1_1", "m1_2", "m2_1")
    found = activity.Counts(torch.tensor([1.0, 3.0, 8.0]), torch.tensor([10.0, 20.0, 40.0]), 2).mean(10, nodes)
    spikes, shares = found.by_layer()
    assert spikes == {"m1": 1.0, "m2": 4.0} and shares == {"m1": 0.75, "m2": 2.0}
    assert activity.hidden_mean(shares, nodes, ("m2_1",)) == 0.75
    assert activity.hidden_mean({"m2": 2.0}, ("m2_1",), ("m2_1",)) == 2.0


@pytest.mark.parametrize("limits", [(None, 1.0), (1.0, None), (1.0, 2.0), (None, None)])
def test_clipping_shortens_and_keeps_directions(limits: tuple[float | None, float | None]) -> None:
    largest, each = limits
    gradients = [torch.tensor([3.0, 4.0]), torch.tensor([0.3, 0.4])]
    parameters = [torch.nn.Parameter(torch.zeros(2)) for _ in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    assert session.clip(parameters, largest, each) == pytest.approx((25 + 0.25) ** 0.5)
    found = [p.grad for p in parameters if p.grad is not None]
    for one, gradient in zip(found, gradients, strict=True):
        assert torch.allclose(one / one.norm(), gradient / gradient.norm())
        assert each is None or one.norm() <= each + 1e-5
    assert largest is None or float(torch.stack([g.norm() for g in found]).norm()) <= largest + 1e-5
    if largest is None and each is not None:
        assert found[1].norm().item() == pytest.approx(0.5), "a block below the limit stays as it is"


def test_membranes_are_found_by_spelling() -> None:
    module = MifNetwork((3, 4, 2))
    module.NODES = (*module.NODES, "alpha", "xn1.x1", "w1_2")
    assert membranes(module) == ("m1_1", "m1_2", "m1_3", "m1_4", "m2_1", "m2_2")
    assert membranes(module, ["m1_*", "w*"]) == ("m1_1", "m1_2", "m1_3", "m1_4", "w1_2")
    with pytest.raises(NetcError, match="no node fits 'q"):
        membranes(module, ["q*"])


def test_memory_is_measured_and_decides() -> None:
    module = MifNetwork((64, 16, 10))
    samples = torch.from_numpy(DATA.train_x)
    per_step = memory.bytes_per_step(module, samples, 50, 5e-5)
    whole = memory.kept_bytes(module, samples[:50], 40, 5e-5)
    assert whole == pytest.approx(40 * per_step, rel=0.15)
    assert memory.choose_chunk(1000, 1e6, 4_000_000_000) == 0
    assert memory.choose_chunk(1000, 1e6, 1_000_000_000) == 32
    assert memory.choose_chunk(1000, 1e6, None) == 0
    with pytest.raises(NetcError, match=r"needs 32\.0 MB, but only 20\.0 MB"):
        memory.choose_chunk(1000, 1e6, 20_000_000)
    assert memory.available_bytes(torch.device("cpu"))


def test_divergence_names_step_node_epoch_and_remedy(tmp_path: Path) -> None:
    circuit = HandMade((64, 6, 10), steps=400, dt=1e-3)
    with pytest.raises(NetcError) as caught:
        train(circuit, DATA, QUICK, directory=tmp_path / "run", console=_quiet())
    message = str(caught.value)
    assert "diverges in epoch 1, batch 1 of 6: m2_" in message and "step" in message and "--dt" in message
    assert (tmp_path / "run/checkpoint.pt").exists()


class _Untrainable(HandMade):
    def module(self, dtype: torch.dtype = torch.float32) -> MifNetwork:
        module = super().module(dtype)
        module.FEATURES, module.OUTPUTS = 0, ()
        return module.requires_grad_(False)


@pytest.mark.parametrize(
    ("circuit", "words"),
    [
        (HandMade((63, 4, 10)), ["63 inputs", "64 features"]),
        (HandMade((64, 4, 9)), ["9 outputs", "10 classes"]),
        (_Untrainable(), ["no input for data", "no output for the loss"]),
        (HandMade(mode="waveform"), ["whole waveforms"]),
    ],
)
def test_decks_that_do_not_fit(tmp_path: Path, circuit: HandMade, words: list[str]) -> None:
    with pytest.raises(NetcError) as caught:
        train(circuit, DATA, QUICK, directory=tmp_path / "run", console=_quiet())
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "run").exists(), "nothing is left behind"


def test_options_are_checked_all_at_once() -> None:
    with pytest.raises(NetcError) as caught:
        TrainingOptions(epochs=0, batch=-1, learning_rate=float("nan"), schedule="x", device="moon").check()
    for word in ("--epochs", "--batch", "--lr", "schedule 'x'", "device 'moon'"):
        assert word in str(caught.value)


def test_options_survive_json() -> None:
    options = TrainingOptions(epochs=3, activity_nodes=("m*",), dt=1e-5)
    assert TrainingOptions.from_json(json.loads(json.dumps(options.to_json()))) == options
    with pytest.raises(NetcError, match="unknown option 'colour'"):
        TrainingOptions.from_json({"colour": 1})
    with pytest.raises(NetcError, match="cannot be read"):
        TrainingOptions.from_json({"epochs": "many"})


def test_a_run_is_not_overwritten_nor_mixed(tmp_path: Path) -> None:
    circuit = HandMade((64, 4, 10))
    train(circuit, DATA, QUICK, directory=tmp_path, console=_quiet())
    with pytest.raises(NetcError, match=r"already holds a run(.|\n)*--resume"):
        train(circuit, DATA, QUICK, directory=tmp_path, console=_quiet())
    with pytest.raises(NetcError) as caught:
        other = replace(QUICK, learning_rate=0.5, seed=9)
        train(circuit, DATA.limited(100, None), other, directory=tmp_path, resume=True, console=_quiet())
    for word in ("learning_rate was 0.01, is 0.5", "seed was 0, is 9", "train_samples was 300, is 100"):
        assert word in str(caught.value)
    with pytest.raises(NetcError, match="another text"):
        changed = HandMade((64, 4, 10), text=("other", ".end"))
        train(changed, DATA, QUICK, directory=tmp_path, resume=True, console=_quiet())
    longer = train(circuit, DATA, replace(QUICK, epochs=2), directory=tmp_path, resume=True, console=_quiet())
    assert longer.epochs == 2


def test_resume_falls_back_from_a_truncated_checkpoint(tmp_path: Path) -> None:
    circuit = HandMade((64, 4, 10))
    options = replace(QUICK, epochs=2)
    whole = train(circuit, DATA, options, directory=tmp_path, console=_quiet())
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-100])
    console = _quiet()
    again = train(circuit, DATA, options, directory=tmp_path, resume=True, console=console)
    assert "warning" in console.file.getvalue() and "is damaged" in console.file.getvalue()
    assert again.test_accuracy == whole.test_accuracy and again.test_loss == whole.test_loss


def test_folders_that_are_no_runs(tmp_path: Path) -> None:
    with pytest.raises(NetcError, match="is not a run folder"):
        evaluate(tmp_path, DATA, compilation=HandMade(), console=_quiet())
    with pytest.raises(NetcError, match="holds no checkpoint"):
        train(HandMade(), DATA, QUICK, directory=tmp_path / "none", resume=True, console=_quiet())
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(NetcError, match="is damaged"):
        evaluate(tmp_path, DATA, compilation=HandMade(), console=_quiet())
    (tmp_path / "file").write_text("")
    with pytest.raises(NetcError, match="cannot write into"):
        train(HandMade(), DATA, QUICK, directory=tmp_path / "file", console=_quiet())


def test_duration_comes_from_the_deck_unless_given(tmp_path: Path) -> None:
    circuit = HandMade((64, 4, 10), steps=30, dt=1e-5)
    result = train(circuit, DATA, QUICK, directory=tmp_path / "a", console=_quiet())
    assert (result.steps, result.dt) == (30, 1e-5)
    result = train(circuit, DATA, replace(QUICK, dt=2e-5), directory=tmp_path / "b", console=_quiet())
    assert (result.steps, result.dt) == (15, 2e-5)
    result = train(circuit, DATA, replace(QUICK, steps=3), directory=tmp_path / "c", console=_quiet())
    assert (result.steps, result.dt) == (3, 1e-5)
