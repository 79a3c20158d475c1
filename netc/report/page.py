"""A run on one page: figures and pictures in a single HTML file, and the same figures as JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import torch

from netc.data import Dataset
from netc.diagnostics import NetcError, printable
from netc.kernels.circuit import kernel_for
from netc.report import energy
from netc.report.hardware import Assumptions, estimate
from netc.report.run import conductances, draw_run
from netc.report.style import scale
from netc.training import inputs
from netc.training.run_folder import RESULT, VERSIONS, RunFolder
from netc.training.saved import SavedRun
from netc.training.unroll import mean_log_probabilities

PAGE, FIGURES = "report.html", "report.json"

_PICTURES = {
    "learning_curve": "Loss, accuracy and activity by epoch",
    "membranes": "Spikes of hidden neurons, and output membranes, of a few test samples",
    "conductances": "Conductances at the start and trained",
    "weights": "What neurons of the first layer look for",
    "signoff": "The worst sample in ngspice",
}


_SIGNED_OFF = (
    *("samples", "failed", "class_agreement", "accuracy_ngspice", "accuracy_netc", "nrmse", "nrmse_worst"),
    *("spikes_netc", "spikes_ngspice", "same_spike_count", "reltol", "max_step_s", "whole_circuit"),
)


def predicted(saved: SavedRun, dataset: Dataset) -> np.ndarray:
    """Return the class of every test sample, ``(samples,)``."""
    options, steps, module = saved.options, saved.steps, saved.module
    kernel = kernel_for(
        options.backend,
        saved.compilation.program,
        options.torch_dtype,
        notify=lambda _: None,
        loss=True,
        device=options.device,
        disable=options.kernel_passes,
    )
    hold = inputs.steps_a_frame(steps.count, dataset)
    found = []
    for first in range(0, len(dataset.test_y), options.batch):
        features = torch.from_numpy(np.ascontiguousarray(dataset.test_x[first : first + options.batch]))
        given = inputs.held(inputs.in_time(features.to(options.torch_dtype)), hold)
        count = inputs.length(given, steps.count)
        with torch.no_grad():
            if kernel is not None:
                scores = kernel.log_probabilities(module, given, count, steps.dt, options.logit_scale)
            else:
                scores = mean_log_probabilities(
                    module, given, steps=count, dt=steps.dt, logit_scale=options.logit_scale, chunk=200
                )
        found.append(scores.argmax(dim=-1))
    return torch.cat(found).numpy()


def confusion(labels: np.ndarray, guesses: np.ndarray, classes: int) -> list[list[int]]:
    """Return how many samples of each class (rows) were taken for each class (columns)."""
    table = np.zeros((classes, classes), dtype=int)
    np.add.at(table, (labels, guesses), 1)
    rows: list[list[int]] = table.tolist()
    return rows


def figures(saved: SavedRun, dataset: Dataset, energy_samples: int = 2) -> dict[str, Any]:
    """Return all that the page says, as plain JSON values; energy is that of the first ``energy_samples``, if any.

    Raises:
        NetcError: the run has not been finished.
    """
    folder = RunFolder(saved.directory)
    result = folder.read_json(RESULT)
    program = saved.compilation.program
    guesses = predicted(saved, dataset)
    classes = max(len(dataset.classes), len(saved.module.OUTPUTS))
    banks = conductances(program, saved.module)
    layers = _layers(banks, saved.module.FEATURES)
    found: dict[str, Any] = {
        "title": program.title,
        "result": result,
        "versions": folder.read_json(VERSIONS),
        "options": saved.options.to_json(),
        "data": dataset.describe(),
        "encoding": None if dataset.images is None else dataset.images.words(),
        "classes": [dataset.classes[k] if k < len(dataset.classes) else f"output {k + 1}" for k in range(classes)],
        "confusion": confusion(dataset.test_y, guesses, classes),
        "accuracy": float(np.mean(guesses == dataset.test_y)),
        "circuit": {
            "states": sum(state.size for state in program.states),
            "trained_values": sum(p.numel() for p in saved.module.parameters()),
            "features": saved.module.FEATURES,
            "outputs": list(saved.module.OUTPUTS),
        },
        "conductances": {
            name: {"devices": int(g.size), "least": float(g.min()), "mean": float(g.mean()), "largest": float(g.max())}
            for name, g in banks.items()
        },
        "hardware": _hardware(layers, saved.steps.count, float(result.get("hidden_activity", 0.0))),
        "energy": None,
        "signoff": _agreement(saved.directory / "signoff" / "result.json"),
    }
    if energy_samples and saved.options.integrator == "euler":
        found["energy"] = energy.measure(saved, dataset, min(energy_samples, len(dataset.test_y)))
    return found


def _agreement(path: Path) -> dict[str, Any] | None:
    """Return what the last sign-off found, if there was one."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return None
    except ValueError as error:
        raise NetcError(f"{path} is damaged: {error}", hint="run netc signoff again") from error
    return {name: found.get(name) for name in _SIGNED_OFF}


def _layers(banks: Mapping[str, np.ndarray], features: int) -> list[int]:
    """Return the layer sizes of a network whose synapses are pairs ``...p`` and ``...m``; nothing for others."""
    sizes = [features]
    for name, bank in banks.items():
        if name.endswith("p") and bank.ndim == 2 and name[:-1] + "m" in banks and bank.shape[0] == sizes[-1]:
            sizes.append(bank.shape[1])
    return sizes if len(sizes) > 1 else []


def _hardware(layers: Sequence[int], steps: int, activity: float) -> dict[str, Any] | None:
    """Return the figures by the paper's assumptions, and with the run's own activity in the place of 2 %."""
    if not layers:
        return None
    paper, own = Assumptions(), Assumptions(activity=activity)
    by_paper, by_run = estimate(layers, steps, paper), estimate(layers, steps, own)
    return {
        "layers": list(layers),
        "assumptions": asdict(paper),
        "activity": activity,
        "cells": by_paper.cells,
        "tiles": by_paper.tiles,
        "memristive": asdict(by_paper.memristive),
        "mixed": asdict(by_paper.mixed),
        "ratio": asdict(by_paper.mixed.over(by_paper.memristive)),
        "memristive_at_own_activity": asdict(by_run.memristive),
    }


def write(saved: SavedRun, dataset: Dataset, target: Path | None = None, energy_samples: int = 2) -> Path:
    """Write the page and its figures, into the run folder where no ``target`` is given; return the page's path.

    Raises:
        NetcError: the run has not been finished, or a file cannot be written.
    """
    if not any((saved.directory / f"{name}.png").is_file() for name in _PICTURES):
        draw_run(saved.directory, saved.compilation, dataset)
    found = figures(saved, dataset, energy_samples)
    places = {name: saved.directory / f"{name}.png" for name in _PICTURES}
    places["signoff"] = saved.directory / "signoff" / "worst.png"
    pictures = [
        {"name": name, "caption": caption, "data": base64.b64encode(places[name].read_bytes()).decode("ascii")}
        for name, caption in _PICTURES.items()
        if places[name].is_file()
    ]
    page = target or saved.directory / PAGE
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(_render(found, pictures), encoding="utf-8")
        page.with_suffix(".json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise NetcError(f"cannot write {page}: {error.strerror or error}") from error
    return page


def _render(found: Mapping[str, Any], pictures: Sequence[Mapping[str, str]]) -> str:
    # names come from decks and data: every one is escaped
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("netc.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = lambda text: printable(str(text))
    environment.filters["si"] = _si
    largest = max((n for row in found["confusion"] for n in row), default=1)
    return environment.get_template("report.html.j2").render(found, pictures=pictures, largest=max(1, largest))


def _si(value: float, unit: str) -> str:
    factor, shown = scale(np.array([value]), unit)
    return f"{value / factor:.3g} {shown}"
