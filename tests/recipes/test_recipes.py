"""Recipes are read, run, gone on with, and told of."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from netc.cli.variability import command
from rich.console import Console

import netc.data
from netc.diagnostics import NetcError
from netc.generate.design import Design
from netc.recipes import load, names, results, run
from netc.recipes.recipe import Recipe, parse
from netc.recipes.run import read_data
from netc.signoff.run import Settings, signoff
from netc.training.saved import open_run

TEXT = """description = "digits, small"
data = "digits"
[network]
layers = [64, 8, 10]
steps = 200
alpha_time = 0.64e-3
pulse_period = 1e-3
[training]
epochs = 2
batch = 64
validation = 0.2
"""


def small() -> Recipe:
    return parse("small", TEXT, "recipes/small.toml")


def go(folder: Path, seed: int = 0, **changed: object) -> dict[str, object]:
    data = netc.data.load("digits", limit_train=200, limit_test=50)
    console = Console(file=io.StringIO())
    return dict(run(small(), seed, folder, data, changed=changed, console=console).result)


def test_every_recipe_is_whole() -> None:
    assert {"mnist", "mnist-paper", "fashion-mnist", "fashion-mnist-paper"} <= set(names())
    for name in names():
        recipe = load(name)
        Design(**recipe.network).check()
        options = recipe.options(3)
        assert options.seed == 3 and options.validation > 0, "chosen on samples held out"
        assert recipe.description and recipe.data


def test_the_papers_network_is_the_papers() -> None:
    for name in ("mnist-paper", "fashion-mnist-paper"):
        recipe = load(name)
        design, options = Design(**recipe.network), recipe.options(0)
        assert design.layers == [784, 100, 10] and (options.batch, options.steps) == (128, 1000)
        assert design.pulse_period == pytest.approx(100 * design.step)


def test_what_is_wrong_with_a_recipe_is_said_with_its_line() -> None:
    text = TEXT.replace("steps = 200", "stepz = 200").replace("batch = 64", "bach = 64")
    with pytest.raises(NetcError) as caught:
        parse("small", text, "recipes/small.toml")
    places = [(d.span.line if d.span else 0, d.message) for d in caught.value.diagnostics]
    assert [line for line, _ in places] == [5, 10] and "stepz" in places[0][1] and "bach" in places[1][1]
    with pytest.raises(NetcError, match="recipes are"):
        load("no-such")


def test_a_missing_data_set_is_located() -> None:
    recipe = parse("small", TEXT.replace('"digits"', '"no-such-set"'), "recipes/small.toml")
    with pytest.raises(NetcError) as caught:
        read_data(recipe)
    (found,) = caught.value.diagnostics
    assert found.span is not None and (found.span.file, found.span.line) == ("recipes/small.toml", 2)


def test_a_run_is_done_once_and_not_mixed(tmp_path: Path) -> None:
    first = go(tmp_path / "seed-0")
    assert first["epochs"] == 2 and first["validation_samples"] == 40 and first["samples"] == 160
    assert (tmp_path / "seed-0" / "deck" / "network.cir").exists()
    before = (tmp_path / "seed-0" / "checkpoint.pt").stat().st_mtime_ns
    assert go(tmp_path / "seed-0") == first
    assert (tmp_path / "seed-0" / "checkpoint.pt").stat().st_mtime_ns == before, "nothing is trained again"
    with pytest.raises(NetcError, match="another changed"):
        go(tmp_path / "seed-0", epochs=3)


def test_a_stopped_run_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    whole = go(tmp_path / "whole")
    go(tmp_path / "part")
    (tmp_path / "part" / "result.json").unlink()
    # the reserve is the checkpoint of one epoch before
    (tmp_path / "part" / "checkpoint.previous.pt").replace(tmp_path / "part" / "checkpoint.pt")
    again = go(tmp_path / "part")
    for name in ("test_accuracy", "test_loss", "validation_accuracy", "best_epoch", "activity"):
        assert again[name] == whole[name]


@pytest.mark.ngspice
def test_the_page_shows_what_else_was_found(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    go(runs / "seed-0")
    saved = open_run(runs / "seed-0")
    found = signoff(saved, netc.data.load("digits", limit_train=1), Settings(samples=2))
    (runs / "seed-0" / "signoff" / "result.json").write_text(json.dumps(found.to_json()))
    options = ["--spread", "0,10%", "--chips", "2", "--limit-test", "8"]
    curve = CliRunner().invoke(command, [str(runs / "seed-0"), *options, "--out", str(runs / "curve")])
    assert curve.exit_code == 0, curve.output
    page = results(runs, tmp_path / "pictures")
    row = next(line for line in page.splitlines() if line.startswith("| small") and "| whole |" in line)
    assert row.split(" | ")[2:4] == ["2", f"{100 * found.class_agreement:.2f}"]
    points = json.loads((runs / "curve" / "curve.json").read_text())["runs"][0]["points"]
    assert f"| 10% | 2 | {100 * points[1]['accuracy_mean']:.2f} +- " in page
    linked = re.findall(r"\]\(pictures/(\S+)\)", page)
    assert sorted(linked) == sorted(p.name for p in (tmp_path / "pictures").iterdir()) and len(linked) == 2


def test_the_page_has_mean_and_deviation_of_the_folders(tmp_path: Path) -> None:
    accuracies = [float(str(go(tmp_path / f"seed-{seed}", seed=seed)["test_accuracy"])) for seed in (0, 1)]
    mean = 100 * sum(accuracies) / 2
    deviation = 100 * abs(accuracies[0] - accuracies[1]) / 2**0.5
    page = results(tmp_path)
    row = next(line for line in page.splitlines() if line.startswith("| small"))
    assert f"{mean:.2f} +- {deviation:.2f}" in row and str(tmp_path) not in page
    assert "200 of 1,437 training samples" in row
    stored = json.loads((tmp_path / "seed-1" / "recipe.json").read_text())
    assert stored["seed"] == 1 and stored["file"] == TEXT and stored["machine"]["processors"]
    with pytest.raises(NetcError, match="no runs"):
        results(tmp_path / "seed-0" / "deck")
