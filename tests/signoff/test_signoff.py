"""A trained network, its own netlist in ngspice: figures, failures, going on."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import netc.data
from netc.compiler import compile_deck
from netc.data import Dataset
from netc.diagnostics import NetcError
from netc.export import Devices, trained_values
from netc.generate import generate
from netc.ngspice.locate import Installation, find_ngspice
from netc.ngspice.task import Judge, Stimuli
from netc.signoff import Settings, signoff
from netc.signoff.run import Progress, Stopped
from netc.signoff.store import Found, Store
from netc.training import TrainingOptions, train
from netc.training.saved import SavedRun, accuracy, open_run
from tests.cli.runner import netc as command

needs_ngspice = pytest.mark.skipif(not find_ngspice().engines, reason="ngspice is not installed")
pytestmark = [needs_ngspice, pytest.mark.ngspice]

STEPS = 150


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return netc.data.load("digits", limit_train=64, limit_test=40)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> Path:
    folder = tmp_path_factory.mktemp("signoff")
    text = generate(layers=(64, 4, 10), steps=STEPS).replace("\n", "\r\n")
    (folder / "deck.cir").write_bytes(text.encode())
    options = TrainingOptions(epochs=1, batch=32, threads=1, logit_scale=100.0, backend="torch")
    train(compile_deck(folder / "deck.cir"), digits, options, directory=folder / "run")
    return folder / "run"


@pytest.fixture()
def saved(run: Path, tmp_path: Path) -> SavedRun:
    return replace(open_run(run), directory=tmp_path)


def test_a_saved_run_has_the_accuracy_of_training(run: Path, digits: Dataset) -> None:
    told = json.loads((run / "result.json").read_text())["test_accuracy"]
    saved = open_run(run)
    assert accuracy(saved, digits, saved.simulator(lambda text: None)) == told


def test_both_agree_and_the_numbers_are_those_of_the_samples(saved: SavedRun, digits: Dataset) -> None:
    lines: list[str] = []
    found = signoff(saved, digits, Settings(samples=3, jobs=2), Progress(sample=lambda d, n, line: lines.append(line)))
    figures = found.to_json()
    assert (figures["samples"], figures["failed"], figures["class_agreement"]) == (3, 0, 1.0)
    assert figures["whole_circuit"] is True
    assert 0 < figures["nrmse"] < 0.02 and figures["nrmse"] <= figures["nrmse_worst"] < 0.03
    classes = [s.classes[1] for s in found.samples]
    assert figures["accuracy_ngspice"] == np.mean(
        [c == label for c, label in zip(classes, digits.test_y, strict=False)]
    )
    assert len(lines) == 3 and all("class" in line for line in lines)
    assert json.loads(json.dumps(figures)) == figures
    there = {path.name for path in (saved.directory / "signoff").iterdir()}
    assert {"trained.cir", "worst.png"} <= there


def test_a_sample_that_was_done_is_not_run_again(saved: SavedRun, digits: Dataset) -> None:
    ran: list[int] = []
    progress = Progress(sample=lambda draw, number, line: ran.append(number))
    settings = Settings(samples=2, jobs=1, engine="batch")
    first = signoff(saved, digits, settings, progress).to_json()
    assert ran == [0, 1]
    kept = sorted((saved.directory / "signoff").rglob("*.npz"))
    kept[0].write_bytes(kept[0].read_bytes()[:100])  # as after a power cut
    ran.clear()
    again = signoff(saved, digits, replace(settings, samples=3), progress)
    assert ran == [0, 2]
    assert [s.nrmse for s in again.samples[:1]] == [pytest.approx(again.samples[0].nrmse)]
    assert first["class_agreement"] == again.class_agreement
    ran.clear()
    signoff(saved, digits, replace(settings, reltol=1e-4), progress)  # other tolerances are another question
    assert ran == [0, 1]


def test_a_stopped_sign_off_goes_on(saved: SavedRun, digits: Dataset) -> None:
    ran: list[int] = []
    progress = Progress(sample=lambda draw, number, line: ran.append(number), wanted=lambda: bool(ran))
    with pytest.raises(Stopped):
        signoff(saved, digits, Settings(samples=4, jobs=1), progress)
    assert 1 <= len(ran) < 4
    whole = signoff(
        saved, digits, Settings(samples=4, jobs=2), Progress(sample=lambda draw, number, line: ran.append(number))
    )
    assert len(ran) == len(set(ran))  # none again; one that was under way when it stopped may be finished unseen
    assert len(whole.samples) == 4


def _unreliable(folder: Path, behaviour: str) -> Installation:
    """An ngspice that misbehaves the first time it is asked for each deck, or always."""
    real = find_ngspice()
    script = folder / "ngspice"
    script.write_text(f'#!/bin/sh\n{behaviour}\nexec {real.executable} "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return replace(real, executable=script)


@pytest.mark.skipif(find_ngspice().executable is None, reason="there is no ngspice command")
@pytest.mark.parametrize("how", ["kill -9 $$", "sleep 60"])
def test_a_worker_that_dies_or_hangs_is_tried_again(
    how: str, saved: SavedRun, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "once"
    bad = _unreliable(tmp_path, f"if mkdir {mark} 2>/dev/null; then {how}; fi")
    monkeypatch.setattr("netc.signoff.run.find_ngspice", lambda: bad)
    found = signoff(saved, digits, Settings(samples=2, jobs=1, engine="batch", timeout=20 if "kill" in how else 5))
    assert mark.is_dir()
    assert (len(found.samples), found.failures) == (2, 0)


@pytest.mark.skipif(find_ngspice().executable is None, reason="there is no ngspice command")
def test_a_worker_that_always_dies_is_reported(
    saved: SavedRun, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = _unreliable(tmp_path, "kill -9 $$")
    monkeypatch.setattr("netc.signoff.run.find_ngspice", lambda: bad)
    found = signoff(saved, digits, Settings(samples=2, jobs=2, engine="batch"))
    assert found.failures == 2 and not found.samples
    assert "SIGKILL" in found.draws[0].failed[0]
    assert found.to_json()["class_agreement"] is None


def test_draws_of_device_values_are_the_same_in_both(saved: SavedRun, digits: Dataset) -> None:
    learnt = trained_values(saved.module, saved.compilation.program)
    noisy = Settings(samples=2, draws=2, jobs=2, devices=Devices(program_noise=0.2, stuck_at=0.02))
    found = signoff(saved, digits, noisy)
    assert [len(draw.samples) for draw in found.draws] == [2, 2]
    assert max(value for s in found.samples for value in s.nrmse.values()) < 0.08
    decks = [(saved.directory / "signoff" / f"draw-{k:03d}.cir").read_text() for k in (0, 1)]
    assert decks[0] != decks[1]
    assert len(found.to_json()["draws"]) == 2
    after = trained_values(saved.module, saved.compilation.program)
    assert all((after[name] == learnt[name]).all() for name in learnt)


def test_wrong_values_do_not_pass(saved: SavedRun, digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check can fail: ngspice is given other stimuli than netc."""
    scaled = Stimuli.scaled
    monkeypatch.setattr(Stimuli, "scaled", lambda self, row: scaled(self, np.asarray(row)[::-1]))
    assert signoff(saved, digits, Settings(samples=2)).to_json()["nrmse"] > 0.1


def test_merged_rows_give_the_same_and_say_so(saved: SavedRun, digits: Dataset) -> None:
    whole, merged = (signoff(saved, digits, Settings(samples=1, merge_rows=how)) for how in (False, True))
    assert merged.to_json()["whole_circuit"] is False and merged.to_json()["merged_resistors"] == 64 * 4 * 2
    for name, error in whole.samples[0].nrmse.items():
        assert merged.samples[0].nrmse[name] == pytest.approx(error, rel=1e-4)


def test_a_result_of_another_sample_is_not_taken(tmp_path: Path) -> None:
    store = Store.of(tmp_path, "text", {})
    reading = Judge(("a",), ("a",), 1.0, 0.5).read(np.arange(3.0), {"a": np.array([0.0, 1.0, 0.0])})
    store.save(0, np.ones(4), Found(reading, 1.5))
    assert store.load(0, np.ones(4), (3, 1, 1)) is not None
    assert store.load(0, np.zeros(4), (3, 1, 1)) is None
    assert store.load(0, np.ones(4), (4, 1, 1)) is None
    assert store.load(1, np.ones(4), (3, 1, 1)) is None
    assert Store.of(tmp_path, "other", {}).folder != store.folder
    assert not [name for name in os.listdir(store.folder) if name.startswith(".")]


def test_more_samples_than_there_are_is_refused(saved: SavedRun, digits: Dataset) -> None:
    with pytest.raises(NetcError, match="40 test samples here, not 41"):
        signoff(saved, digits, Settings(samples=41))


def test_the_commands(run: Path, tmp_path: Path) -> None:
    done = command("signoff", run, "--samples", "2", "--jobs", "2")
    assert done.code == 0, done.err
    figures = json.loads(done.out.splitlines()[-1])
    assert {"samples", "class_agreement", "accuracy_ngspice", "accuracy_netc", "nrmse", "seconds"} <= set(figures)
    assert "sample 0: label" in done.err and "worst.png" in done.err
    assert command("signoff", run, "--samples", "2", "--min-agreement", "1.1").code == 1
    refused = command("signoff", run, "--monte-carlo", "3").refused()
    assert "nothing to draw" in refused
    assert "not a run folder" in command("signoff", tmp_path).refused()

    out = tmp_path / "trained.cir"
    done = command("export", run, "-o", out, "--data", "digits", "--limit-test", "40")
    assert done.code == 0, done.err
    told = json.loads((run / "result.json").read_text())["test_accuracy"]
    assert json.loads(done.out.splitlines()[-1])["test_accuracy"] == told
    assert out.read_bytes() == (run / "signoff" / "trained.cir").read_bytes()
    lines = out.read_bytes().split(b"\n")
    assert lines[-1] == b"" and all(line.endswith(b"\r") for line in lines[:-1])  # as the deck was written
    worse = command("export", run, "-o", out, "--levels", "2", "--stuck-at", "0.5", "--data", "digits")
    assert json.loads(worse.out.splitlines()[-1])["test_accuracy"] < told + 0.2
    assert "must be at least 2" in command("export", run, "-o", out, "--levels", "1").refused()
