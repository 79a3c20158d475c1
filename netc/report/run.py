"""The pictures of a run folder."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from netc.data import Dataset
from netc.diagnostics import NetcError
from netc.ir.program import Program
from netc.report import plots
from netc.report.plots import Array
from netc.training import inputs, load_trained
from netc.training.contract import CircuitModule, Compilation
from netc.training.contract import membranes as membranes_of
from netc.training.unroll import mean_log_probabilities

_SAMPLES = 4
_FIELDS = 15


def draw_run(directory: Path | str, compilation: Compilation, dataset: Dataset) -> list[Path]:
    """Draw learning curve, conductances and membranes of a finished run into its folder.

    Args:
        directory: the run folder.
        compilation: the deck the run was trained from.
        dataset: its first test samples are shown.

    Returns:
        The pictures.

    Raises:
        NetcError: the folder is no run, or cannot be written.
    """
    folder = Path(directory)
    history = _history(folder / "metrics.jsonl")
    title = f"{compilation.program.title}, trained on {len(dataset.train_y)} samples of {dataset.name}"
    done = []
    if history:
        done.append(folder / "learning_curve.png")
        plots.learning_curve(history, done[-1], title=title)
    module, options, steps = load_trained(folder, compilation=compilation)
    learnt = conductances(compilation.program, module)
    if learnt:
        done.append(folder / "conductances.png")
        before = conductances(compilation.program, compilation.module(options.torch_dtype))
        plots.conductance_histograms(learnt, done[-1], initial=before, title=title)
    if fields := receptive_fields(learnt):
        done.append(folder / "weights.png")
        plots.maps(fields, done[-1], quantity="difference of a pair", title=f"First crossbar. {title}")

    shown = membranes_of(module, options.activity_nodes)
    hidden = [n for n in shown if n not in module.OUTPUTS]
    features = torch.from_numpy(dataset.test_x[:_SAMPLES]).to(options.torch_dtype)
    samples = inputs.held(inputs.in_time(features), inputs.steps_a_frame(steps.count, dataset))
    count = inputs.length(samples, steps.count)
    with torch.no_grad():
        voltages, _ = module(count, steps.dt, samples, observe=(*hidden, *module.OUTPUTS))
        scores = mean_log_probabilities(module, samples, steps=count, dt=steps.dt, logit_scale=options.logit_scale)
    traces = voltages.numpy().astype(np.float64)
    done.append(folder / "membranes.png")
    plots.membranes(
        np.arange(count + 1, dtype=np.float64) * steps.dt,
        traces[..., : len(hidden)],
        traces[..., len(hidden) :],
        dataset.test_y[:_SAMPLES].tolist(),
        dataset.classes,
        done[-1],
        predicted=scores.argmax(dim=-1).tolist(),
        threshold=options.spike_threshold,
        title=title,
    )
    return done


def conductances(program: Program, module: CircuitModule) -> dict[str, Array]:
    """Return trained conductances in siemens by bank.

    A bank holds the lanes spelt alike but for their last two numbers, ``r1_12_3p`` and ``r1_7_2p``; where these fill
    a rectangle the bank is a matrix of that order, else a vector.
    """
    values = {name: value.detach().double().cpu().numpy().reshape(-1) for name, value in module.values().items()}
    banks: dict[str, list[tuple[int, int, float]]] = {}
    for block in program.parameters:
        if block.trained is None or block.role != "R":
            continue
        for lane, ohms in zip(block.lanes, values[block.name], strict=True):
            name, row, column = _place(lane)
            banks.setdefault(name, []).append((row, column, 1.0 / float(ohms)))
    return {name: _matrix(entries) for name, entries in sorted(banks.items())}


def receptive_fields(banks: Mapping[str, Array]) -> dict[str, Array]:
    """Return, for the first pair of banks ``...p`` and ``...m``, the inputs of a few neurons as square pictures."""
    for name, plus in banks.items():
        minus = banks.get(name[:-1] + "m")
        side = math.isqrt(plus.shape[0])
        if name.endswith("p") and minus is not None and plus.shape == minus.shape and plus.ndim == 2:
            if side * side != plus.shape[0]:
                return {}
            weights = plus - minus
            return {f"neuron {k + 1}": weights[:, k].reshape(side, side) for k in range(min(_FIELDS, plus.shape[1]))}
    return {}


def _place(lane: str) -> tuple[str, int, int]:
    parts = re.split(r"(\d+)", lane)
    numbers = range(1, len(parts), 2)
    if len(numbers) < 2:
        return re.sub(r"\d+", "#", lane), int(parts[1]) if numbers else 0, 0
    row, column = (int(parts[k][:9]) for k in numbers[-2:])
    for k in numbers[-2:]:
        parts[k] = "#"
    return "".join(parts), row, column


def _matrix(entries: Sequence[tuple[int, int, float]]) -> Array:
    rows = sorted({row for row, _, _ in entries})
    columns = sorted({column for _, column, _ in entries})
    flat = np.array([value for _, _, value in sorted(entries)])
    return flat.reshape(len(rows), len(columns)) if len(flat) == len(rows) * len(columns) else flat


def _history(path: Path) -> list[dict[str, float]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise NetcError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise NetcError(f"{path} is damaged: {error}") from error
