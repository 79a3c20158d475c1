"""Pictures: each function takes figures and a path, and writes one PNG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from netc.report.style import BLUE, GREEN, GREY, ORANGE, PALETTE, RED, figure, in_style, safe, scale

Array = NDArray[np.float64]
MOST_SIGNALS = 6


def unit_of(signal: str) -> str:
    """Return the unit of a signal by its name: ``i(...)`` is a current, all else a voltage."""
    return "A" if signal.startswith("i(") or signal.endswith("#branch") else "V"


@in_style
def waveforms(
    times: Array,
    values: Mapping[str, Array],
    path: Path | str,
    *,
    reference_times: Array | None = None,
    reference: Mapping[str, Array] | None = None,
    title: str = "",
    most: int = MOST_SIGNALS,
) -> None:
    """Draw signals over time, over those of ngspice where given, the difference (netc - ngspice) below.

    Args:
        times: ``(rows,)`` seconds.
        values: by signal, ``(rows,)`` volts or amperes; the first ``most`` are drawn.
        path: the PNG.
        reference_times: ngspice's times, ``(k,)`` seconds.
        reference: by signal, ``(k,)``.
        title: the deck's title.
        most: signals at the most.
    """
    names = list(values)[:most]
    compared = reference is not None and reference_times is not None
    columns = 1 if len(names) == 1 else 2
    rows = max(1, math.ceil(len(names) / columns))
    second, time_unit = scale(times, "s")
    with figure(path, 4.6 * columns + 0.6, (3.2 if compared else 2.2) * rows + 0.5) as drawn:
        left_out = f" ({len(names)} of {len(values)} signals)" if len(names) < len(values) else ""
        drawn.suptitle(safe(title, 70) + left_out, fontsize=10)
        parts = drawn.subfigures(rows, columns, squeeze=False).flatten()
        for part, name in zip(parts, names, strict=False):
            unit = unit_of(name)
            if not (compared and reference is not None and reference_times is not None and name in reference):
                axes = part.subplots()
                factor, shown = scale(values[name], unit)
                axes.plot(times / second, values[name] / factor, color=BLUE)
                bottom = axes
            else:
                axes, bottom = part.subplots(2, 1, sharex=True, height_ratios=(3, 1.5))
                factor, shown = scale(reference[name], unit)
                axes.plot(reference_times / second, reference[name] / factor, color=ORANGE, lw=2.6, label="ngspice")
                axes.plot(times / second, values[name] / factor, color=BLUE, ls="--", label="netc")
                axes.legend(loc="upper right", bbox_to_anchor=(1, 1.28), ncols=2)
                difference = values[name] - np.interp(times, reference_times, reference[name])
                small, small_unit = scale(difference, unit)
                bottom.plot(times / second, difference / small, color=RED, lw=0.9)
                bottom.set_ylabel(f"difference\n({small_unit})")
            axes.set_title(safe(name), loc="left")
            axes.set_ylabel(f"{'current' if unit == 'A' else 'voltage'} ({shown})")
            bottom.set_xlabel(f"time ({time_unit})")


@in_style
def learning_curve(history: Sequence[Mapping[str, Any]], path: Path | str, *, title: str = "") -> None:
    """Draw loss, accuracy and activity by epoch.

    Args:
        history: lines of ``metrics.jsonl``.
        path: the PNG.
        title: what was trained on what.
    """
    epochs = [line["epoch"] for line in history]
    tested = [(line["epoch"], 100 * line["test_accuracy"]) for line in history if line.get("test_accuracy") is not None]
    marker = "o" if len(epochs) < 40 else ""
    with figure(path, 9.6, 3.1) as drawn:
        drawn.suptitle(safe(title, 90), fontsize=10)
        loss, accuracy, busy = drawn.subplots(1, 3)
        loss.plot(epochs, [line["loss"] for line in history], color=BLUE, marker=marker, ms=3, label="training")
        judged = [line for line in history if line.get("validation_loss") is not None]
        when = [line["epoch"] for line in judged]
        if judged:
            loss.plot(
                when,
                [line["validation_loss"] for line in judged],
                color=ORANGE,
                marker=marker,
                ms=3,
                label="validation",
            )
            loss.legend(loc="upper right")
        loss.set_ylabel("loss (nats per time step)")
        accuracy.plot(
            epochs,
            [100 * line["train_accuracy"] for line in history],
            color=BLUE,
            marker=marker,
            ms=3,
            label="training",
        )
        if judged:
            held = [100 * line["validation_accuracy"] for line in judged]
            accuracy.plot(when, held, color=ORANGE, marker=marker, ms=3, label="validation")
        if tested:
            accuracy.plot(*zip(*tested, strict=True), color=GREEN, marker="s", ms=4, label="test")
        accuracy.set_ylabel("accuracy (%)")
        accuracy.legend(loc="lower right")
        for color, layer in zip((BLUE, ORANGE, GREEN), history[-1]["activity"], strict=False):
            share = [100 * line["activity"][layer] for line in history]
            busy.plot(epochs, share, color=color, marker=marker, ms=3, label=safe(layer))
        busy.set_ylabel("time above threshold (%)")
        busy.legend(loc="upper left")
        busy.set_ylim(bottom=0)
        for axes in (loss, accuracy, busy):
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


@in_style
def conductance_histograms(
    learnt: Mapping[str, Array], path: Path | str, *, initial: Mapping[str, Array] | None = None, title: str = ""
) -> None:
    """Draw how many devices have which conductance, a panel for each bank.

    Args:
        learnt: conductances in siemens by bank, any shape.
        path: the PNG.
        initial: the same before training.
        title: what was trained on what.
    """
    names = list(learnt)[:MOST_SIGNALS]
    columns = min(3, max(1, len(names)))
    rows = max(1, math.ceil(len(names) / columns))
    with figure(path, 3.4 * columns + 0.4, 2.6 * rows + 0.4) as drawn:
        drawn.suptitle(safe(title, 28 * columns), fontsize=10)
        panels = drawn.subplots(rows, columns, squeeze=False).flatten()
        for axes, name in zip(panels, names, strict=False):
            after = learnt[name].reshape(-1)
            before = initial[name].reshape(-1) if initial is not None and name in initial else after[:0]
            factor, unit = scale(np.concatenate([before, after]), "S")
            edges = np.histogram_bin_edges(np.concatenate([before, after]) / factor, bins=50)
            if before.size:
                axes.hist(before / factor, edges, color=ORANGE, alpha=0.55, label="before training")
            axes.hist(after / factor, edges, color=BLUE, histtype="step", lw=1.4, label="learnt")
            axes.set_title(f"{safe(name)}: {after.size} devices", loc="left")
            axes.set_xlabel(f"conductance ({unit})")
            axes.set_ylabel("devices")
            axes.margins(y=0.25)
            axes.legend(loc="upper right", fontsize=7)
        for axes in panels[len(names) :]:
            axes.set_axis_off()


@in_style
def maps(
    pictures: Mapping[str, Array],
    path: Path | str,
    *,
    unit: str = "S",
    quantity: str = "conductance",
    axes_names: tuple[str, str] = ("", ""),
    title: str = "",
) -> None:
    """Draw matrices as coloured maps on one common scale, symmetric about 0 where there are negative values.

    Args:
        pictures: matrices by name, SI units.
        path: the PNG.
        unit: SI unit.
        quantity: what the colours mean.
        axes_names: what runs along x and along y; nothing is labelled where empty.
        title: what was trained on what.
    """
    names = list(pictures)
    columns = min(5, max(1, len(names)))
    rows = max(1, math.ceil(len(names) / columns))
    every = np.concatenate([pictures[name].reshape(-1) for name in names]) if names else np.zeros(1)
    factor, shown = scale(every, unit)
    top = float(np.abs(every).max()) / factor or 1.0
    signed = bool((every < 0).any())
    with figure(path, 1.9 * columns + 1.2, 2.0 * rows + 0.5) as drawn:
        drawn.suptitle(safe(title, 22 * columns + 12), fontsize=10)
        panels = drawn.subplots(rows, columns, squeeze=False).flatten()
        image = None
        for axes, name in zip(panels, names, strict=False):
            image = axes.imshow(
                pictures[name] / factor,
                cmap="RdBu_r" if signed else "cividis",
                vmin=-top if signed else 0,
                vmax=top,
                aspect="auto",
                interpolation="nearest",
            )
            axes.set_title(safe(name, 18), loc="left")
            axes.grid(False)
            axes.set_xlabel(axes_names[0])
            axes.set_ylabel(axes_names[1])
            if not any(axes_names):
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
        for axes in panels[len(names) :]:
            axes.set_axis_off()
        if image is not None:
            drawn.colorbar(image, ax=list(panels), label=f"{quantity} ({shown})", fraction=0.05)


@in_style
def membranes(
    times: Array,
    hidden: Array,
    outputs: Array,
    labels: Sequence[int],
    classes: Sequence[str],
    path: Path | str,
    *,
    predicted: Sequence[int],
    threshold: float,
    title: str = "",
) -> None:
    """Draw what membranes do for a few samples: the hidden ones as a map with spikes marked, the outputs as curves.

    Args:
        times: ``(rows,)`` seconds.
        hidden: ``(rows, samples, neurons)`` volts; may have no neurons, the outputs are mapped then.
        outputs: ``(rows, samples, classes)`` volts.
        labels: class numbers, one a sample.
        classes: class names.
        path: the PNG.
        predicted: class numbers.
        threshold: volts; a spike is an upward crossing.
        title: what was trained on what.
    """
    samples = len(labels)
    neuron = "hidden" if hidden.shape[-1] else "output"
    hidden = hidden if hidden.shape[-1] else outputs
    second, time_unit = scale(times, "s")
    volt, unit = scale(outputs, "V")
    hidden_volt, hidden_unit = scale(hidden, "V")
    with figure(path, 2.9 * samples + 0.9, 5.0) as drawn:
        drawn.suptitle(safe(title, 28 * samples), fontsize=10)
        panels = drawn.subplots(2, samples, squeeze=False, sharex=True, sharey="row", height_ratios=(1, 1.2))
        for k in range(samples):
            raster, waves = panels[0, k], panels[1, k]
            rising = (hidden[1:, k] > threshold) & (hidden[:-1, k] <= threshold)
            rows, neurons = np.nonzero(rising)
            image = raster.imshow(
                hidden[:, k].T / hidden_volt,
                extent=(times[0] / second, times[-1] / second, hidden.shape[-1] + 0.5, 0.5),
                cmap="cividis",
                vmin=float(hidden.min(initial=0.0)) / hidden_volt,
                vmax=float(hidden.max(initial=0.0)) / hidden_volt,
                aspect="auto",
                interpolation="nearest",
            )
            raster.plot(times[rows + 1] / second, neurons + 1, ls="", marker="|", ms=5, color=RED)
            raster.grid(False)
            raster.set_title(f"{safe(classes[labels[k]], 18)}: {len(rows)} {neuron} spikes", loc="left")
            for number in range(outputs.shape[-1]):
                waves.plot(times / second, outputs[:, k, number] / volt, color=GREY, lw=0.6, alpha=0.7)
            right, chosen = labels[k], predicted[k]
            name = safe(classes[right], 14)
            waves.plot(times / second, outputs[:, k, right] / volt, color=BLUE, lw=1.5, label=f"right: {name}")
            if chosen != right:
                name = safe(classes[chosen], 14) if chosen < len(classes) else f"output {chosen + 1}"
                waves.plot(times / second, outputs[:, k, chosen] / volt, color=RED, lw=1.5, label=f"chosen: {name}")
            waves.axhline(threshold / volt, color=PALETTE[2], lw=0.8, ls=":")
            waves.margins(y=0.2)
            waves.legend(loc="upper left", fontsize=7, ncols=2, columnspacing=1.0, handlelength=1.2)
            waves.set_xlabel(f"time ({time_unit})")
        drawn.colorbar(image, ax=list(panels[0]), label=f"{neuron} membrane ({hidden_unit})", pad=0.01, aspect=12)
        panels[0, 0].set_ylabel(f"{neuron} neuron")
        panels[0, 0].yaxis.set_major_locator(MaxNLocator(integer=True))
        panels[1, 0].set_ylabel(f"output membrane ({unit})")
