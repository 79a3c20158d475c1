"""One page about many runs, made of their folders and nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from netc.data.images import ImageOptions
from netc.diagnostics import NetcError
from netc.recipes.run import ABOUT
from netc.report.seeds import learning_curves
from netc.report.variability import accuracy_curves
from netc.signoff.run import FOLDER as SIGNED
from netc.training.run_folder import CONFIG, METRICS, RESULT, VERSIONS, RunFolder


@dataclass(frozen=True, slots=True)
class Run:
    """What one run folder says.

    Attributes:
        place: the folder, from where results were looked for.
        about: ``recipe.json``.
        config: ``config.json``.
        versions: ``versions.json``.
        result: ``result.json``; ``None`` of a run that is not finished.
        epochs: lines of ``metrics.jsonl``.
        signed: what ``netc signoff`` found, where it was run.
    """

    place: str
    about: Mapping[str, Any]
    config: Mapping[str, Any]
    versions: Mapping[str, Any]
    result: Mapping[str, Any] | None
    epochs: Sequence[Mapping[str, Any]]
    signed: Mapping[str, Any] | None


def read(directory: Path) -> list[Run]:
    """Return the runs of recipes below a folder, by recipe and seed.

    Raises:
        NetcError: there are none, or a file of one cannot be read.
    """
    found = []
    for file in sorted(directory.rglob(ABOUT)):
        folder = RunFolder(file.parent)
        if not (file.parent / CONFIG).exists():
            continue  # stopped before its first update
        done = (file.parent / RESULT).exists()
        signed = RunFolder(file.parent / SIGNED)
        found.append(
            Run(
                file.parent.relative_to(directory).as_posix(),
                folder.read_json(ABOUT),
                folder.read_json(CONFIG),
                folder.read_json(VERSIONS),
                folder.read_json(RESULT) if done else None,
                _lines(file.parent / METRICS),
                signed.read_json("result.json") if (signed.directory / "result.json").exists() else None,
            )
        )
    if not found:
        raise NetcError(f"there are no runs of recipes in {directory}", hint="make some: netc recipe mnist --seeds 5")
    return sorted(found, key=lambda r: (str(r.about["recipe"]), json.dumps(_variant(r)), int(r.about["seed"])))


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise NetcError(f"cannot read {path}: {error}") from error


def _variant(run: Run) -> list[Any]:
    """Return what makes runs of one recipe different from each other, besides the seed."""
    return [run.about["changed"], run.about["data"], run.about["file"]]


def results(directory: Path, pictures: Path | None = None) -> str:
    """Return the page as Markdown.

    Args:
        directory: below it are run folders, and ``curve.json`` of ``netc variability`` where that was run.
        pictures: a folder beside the page for its pictures; without it there are none.

    Raises:
        NetcError: as :func:`read` does.
    """
    groups: dict[str, list[Run]] = {}
    for found in read(directory):
        groups.setdefault(json.dumps([found.about["recipe"], *_variant(found)], sort_keys=True), []).append(found)
    lines = [
        "# Results",
        "",
        "<!-- written by netc recipe --results; do not edit -->",
        "",
        "Every figure is read from a run folder. The best epoch was chosen on training samples that were held out and",
        "never learnt from; the test set was looked at once, after that. Activity is the share of time that hidden",
        "membranes are above the 110 mV at which their devices switch, spikes are upward crossings of it, both over",
        "all test samples.",
        "",
        _heading(
            "recipe", "test (%)", "seeds", "hidden activity (%)", "spikes per hidden neuron", "epochs", "wall time"
        ),
        *(_row(runs) for runs in groups.values()),
        "",
        "Mean and standard deviation over seeds (of the sample, with n - 1).",
    ]
    drawn: set[str] = set()
    for runs in groups.values():
        lines += ["", *_section(runs)]
        if pictures is not None:
            name = str(runs[0].about["recipe"])
            name = next(n for n in chain([name], (f"{name}-{k}" for k in count(2))) if n not in drawn)
            drawn.add(name)
            learning_curves({str(r.about["seed"]): r.epochs for r in runs}, pictures / f"{name}.png", title=name)
            lines += ["", f"![learning curves of {name}]({pictures.name}/{name}.png)"]
    lines += _signed([run for runs in groups.values() for run in runs])
    lines += _chips(directory, pictures)
    return "\n".join([*lines, ""])


def _heading(*names: str) -> str:
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"


def _row(runs: Sequence[Run]) -> str:
    done = [r.result for r in runs if r.result is not None]
    name = _title(runs[0])
    if not done:
        return f"| {name} | not finished | {len(runs)} | | | | |"
    columns = [
        name,
        _spread([100 * r["test_accuracy"] for r in done], 2),
        str(len(done)) + (f" of {len(runs)}" if len(done) < len(runs) else ""),
        _spread([100 * r["hidden_activity"] for r in done], 2),
        _spread([_hidden_spikes(r) for r in done], 2),
        _spread([float(r["epochs"]) for r in done], 0),
        _duration(fmean(r["train_seconds"] for r in done)),
    ]
    return "| " + " | ".join(columns) + " |"


def _title(run: Run) -> str:
    changed = ", ".join(f"{name} = {value}" for name, value in run.about["changed"].items())
    data = run.config["data"]
    few = [
        f"{data[f'{kind}_samples']:,} of {data[f'{kind}_available']:,} {kind}ing samples"
        for kind in ("train", "test")
        if data[f"{kind}_samples"] < data[f"{kind}_available"]
    ]
    more = "; ".join(x for x in (changed, *few) if x)
    return f"{run.about['recipe']}" + (f" ({more})" if more else "")


def _hidden_spikes(result: Mapping[str, Any]) -> float:
    """Return the spikes of all layers but the last, which is the output's."""
    spikes = list(result["spikes_per_neuron"].values())
    return fmean(spikes[:-1] or spikes)


def _spread(values: Sequence[float], digits: int) -> str:
    text = f"{fmean(values):.{digits}f}"
    return text if len(values) < 2 else f"{text} +- {stdev(values):.{max(1, digits)}f}"


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _section(runs: Sequence[Run]) -> list[str]:
    first = runs[0]
    data, simulation = first.config["data"], first.config["simulation"]
    held = data.get("validation_samples", 0)
    lines = [
        f"## {_title(first)}",
        "",
        str(first.about["description"]),
        "",
        f"Data: {data['name']}, {data['train_samples'] - held:,} samples learnt from, {held:,} held out, "
        f"{data['test_samples']:,} tested; {simulation['steps']:,} steps of {simulation['dt'] * 1e6:g} us; "
        f"{first.config['trained_values']:,} trained conductances{_driven(data)}.",
        "",
        _heading(
            "seed", "test (%)", "validation (%)", "best epoch", "training (%)", "activity (%)", "spikes", "wall time"
        ),
    ]
    lines += [_line(r) for r in runs]
    machines = dict.fromkeys(_machine(r) for r in runs)
    return [*lines, "", f"Machine: {'; '.join(machines)}{_load(runs)}."]


def _line(run: Run) -> str:
    result = run.result
    if result is None:
        last = run.epochs[-1] if run.epochs else None
        so_far = f"not finished, {len(run.epochs)} epochs" + (
            f", validation {100 * last['validation_accuracy']:.2f}" if last and last.get("validation_accuracy") else ""
        )
        return f"| {run.about['seed']} | {so_far} | | | | | | |"
    best = result["best_epoch"] or result["epochs"]
    learnt = next((line["train_accuracy"] for line in run.epochs if line["epoch"] == best), math.nan)
    validated = result["validation_accuracy"]
    columns = [
        str(run.about["seed"]),
        f"{100 * result['test_accuracy']:.2f}",
        "-" if validated is None else f"{100 * validated:.2f}",
        f"{best} of {result['epochs']}",
        f"{100 * learnt:.2f}",
        ", ".join(f"{name} {100 * value:.2f}" for name, value in result["activity"].items()),
        ", ".join(f"{name} {value:.2f}" for name, value in result["spikes_per_neuron"].items()),
        _duration(result["train_seconds"]),
    ]
    return "| " + " | ".join(columns) + " |"


def _machine(run: Run) -> str:
    found = run.about.get("machine", {})
    return (
        f"{found.get('processor', 'unknown processor')}, {found.get('processors', '?')} processors, "
        f"threads used: {run.versions['threads']}, torch {run.versions['torch']}, Python {run.versions['python']}"
    )


def _load(runs: Sequence[Run]) -> str:
    """Return how busy the machine was when runs began: wall times of a busy one are long."""
    loads = [load[0] for run in runs if (load := run.about.get("machine", {}).get("load"))]
    if not loads:
        return ""
    return f"; load average at the start {f'{min(loads):.1f} to ' if len(loads) > 1 else ''}{max(loads):.1f}"


def _signed(runs: Sequence[Run]) -> list[str]:
    """Return what ngspice made of the whole networks."""
    found = [(run, run.signed) for run in runs if run.signed is not None]
    if not found:
        return []
    lines = [
        "",
        "## Sign-off",
        "",
        "The first test samples, classified again by ngspice with the trained values in the deck (`netc signoff`).",
        "NRMSE is that of the output waveforms, time the median over samples in one process of ngspice.",
        "",
        _heading(
            *("recipe", "seed", "samples", "same class (%)", "ngspice right (%)", "netc right (%)", "NRMSE (%)"),
            *("spikes a membrane apart", "time a sample", "circuit"),
        ),
    ]
    for run, signed in found:
        percent = [
            "-" if signed[name] is None else f"{100 * signed[name]:.2f}"
            for name in ("class_agreement", "accuracy_ngspice", "accuracy_netc", "nrmse")
        ]
        apart, seconds = signed["spike_difference"], signed["seconds_a_sample"]
        columns = [
            *(_title(run), str(run.about["seed"]), str(signed["samples"]), *percent),
            "-" if apart is None else f"{apart:.4f}",
            "-" if seconds is None else f"{seconds:.1f} s",
            "whole" if signed["whole_circuit"] else "rows merged",
        ]
        lines.append("| " + " | ".join(columns) + " |")
    return lines


def _chips(directory: Path, pictures: Path | None) -> list[str]:
    """Return how accuracy falls with what ``netc variability`` varied."""
    lines: list[str] = []
    for file in sorted(directory.rglob("curve.json")):
        curve = RunFolder(file.parent).read_json(file.name)
        over = str(curve["over"])
        if not lines:
            lines += ["", "## Devices that are not alike", "", "Test accuracy over chips drawn by `netc variability`."]
        lines += ["", _heading("run", over.replace("_", " "), "chips", "test (%)", "worst chip (%)")]
        for run in curve["runs"]:
            lines.append(f"| {run['run']} | ideal | | {100 * run['ideal']:.2f} | |")
            for point in run["points"]:
                value = point[over] if over == "levels" else f"{100 * point[over]:g}%"
                mean, deviation, worst = (100 * point[f"accuracy_{name}"] for name in ("mean", "std", "min"))
                text = f"{mean:.2f}" if point["chips"] == 1 else f"{mean:.2f} +- {deviation:.2f}"
                lines.append(f"| {run['run']} | {value} | {point['chips']} | {text} | {worst:.2f} |")
        if pictures is not None:
            name = "-".join(["chips", *file.parent.relative_to(directory).parts])
            accuracy_curves(
                [point[over] or 0 for point in curve["runs"][0]["points"]],
                {run["run"]: [point["accuracies"] for point in run["points"]] for run in curve["runs"]},
                pictures / f"{name}.png",
                label=over.replace("_", " "),
                share=over != "levels",
                ideal={run["run"]: run["ideal"] for run in curve["runs"]},
            )
            lines += ["", f"![accuracy over {over}]({pictures.name}/{name}.png)"]
    return lines


def _driven(data: Mapping[str, Any]) -> str:
    images = data.get("images")
    return f"; driven with {ImageOptions(**images).words()}" if images else ""
