"""A run as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netc.bench.measure import Figures, Run
from netc.bench.roofline import Roofline

BASES = ("torch-eager-hoisted", "torch-loop")
"""What ratios are against: the first of them that was measured."""

_KEYS = (
    "cpu_ms",
    "wall_ms",
    "extra_mb",
    "compile_s",
    "loss",
    "gradient_error",
    "samples",
    "forward_only",
    "missing",
    "memory_missing",
)


def as_json(run: Run, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{"variants": ..., "roofline": ..., "machine": ..., "problem": ...}``.

    With further numbers of threads also ``"threads": {"2": {name: figures}}`` and ``"scaling": {"2": {name: ratio}}``.
    """
    task = run.task
    found: dict[str, Any] = {
        "variants": _table(run.variants),
        "roofline": _roofline_json(run, run.roofline),
        "machine": dict(machine),
        "problem": {
            "circuit": task.title,
            "layers": list(task.layers),
            "batch": task.batch,
            "steps": task.steps,
            "threads": task.threads,
            "repeat": run.repeat,
            "disable": list(task.disable),
        },
        "disagreements": run.disagreements,
    }
    if run.more:
        found["threads"] = {str(threads): _table(table) for threads, table in run.more.items()}
        found["scaling"] = {
            str(threads): {name: run.scaling(name, threads) for name in table} for threads, table in run.more.items()
        }
    return found


def _table(figures: Mapping[str, Figures]) -> dict[str, dict[str, Any]]:
    return {name: {key: getattr(f, key) for key in _KEYS} for name, f in figures.items()}


def _roofline_json(run: Run, roofline: Roofline | None) -> dict[str, Any]:
    if roofline is None:
        return {}
    return {
        "peak_gflops": roofline.peaks.flops / 1e9,
        "peak_gexp": roofline.peaks.exponentials / 1e9,
        "gflop": roofline.flops_per_step / 1e9,
        "gexp": roofline.exponentials_per_step / 1e9,
        "floor_ms": roofline.floor_ms,
        "percent": {
            name: roofline.percent(f.cpu_ms)
            for name, f in run.variants.items()
            if f.cpu_ms is not None and not f.forward_only
        },
    }


def base_of(figures: Mapping[str, Figures]) -> str:
    """Return the variant that ratios are against."""
    return next((name for name in BASES if name in figures and figures[name].cpu_ms), BASES[0])


def as_markdown(run: Run, machine: Mapping[str, Any]) -> str:
    """Return a table for each number of threads, ratios in the first column of numbers."""
    task = run.task
    left_out = f", without {', '.join(task.disable)}" if task.disable else ""
    lines = [
        f"{task.title}{left_out}, batch {task.batch}, {task.steps} steps, {_count(task.threads, 'thread')}, "
        f"median of {run.repeat}, float32; load average {machine.get('load')}",
        "",
        *_rows(run, run.variants),
    ]
    lines += _memory_lines(run)
    if run.roofline is not None:
        lines += ["", *_roofline_lines(run, run.roofline)]
    for threads, table in run.more.items():
        timed = {name: f for name, f in table.items() if f.cpu_ms is not None}
        lines += ["", f"{_count(threads, 'thread')}, in the same run:", "", *_rows(run, timed)]
        gains = ((name, run.scaling(name, threads)) for name in timed)
        told = [f"{name} {gain:.2f}x" for name, gain in gains if gain is not None]
        if told:
            lines += ["", f"Wall time, {_count(task.threads, 'thread')} against {threads}: {', '.join(told)}."]
        left = [name for name, f in table.items() if f.cpu_ms is None and run.variants[name].missing is None]
        if left:
            lines += [f"Not timed with {threads}: {', '.join(left)}, which start with their threads."]
    if run.disagreements:
        lines += ["", *(f"disagreement: {line}" for line in run.disagreements)]
    return "\n".join(lines) + "\n"


def _rows(run: Run, figures: Mapping[str, Figures]) -> list[str]:
    base_name = base_of(figures)
    base = figures.get(base_name, Figures()).cpu_ms
    lines = [
        f"| variant | against {base_name} | CPU ms | wall ms | extra MB | compile CPU s | loss |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, f in figures.items():
        if f.missing is not None:
            lines.append(f"| {name} | {f.missing} | | | | | |")
            continue
        ratio = f"{base / f.cpu_ms:.2f}x" if base and f.cpu_ms and not f.forward_only else ""
        if f.forward_only and f.cpu_ms is not None and f.samples:
            ratio = f"forward only: {1e6 * f.cpu_ms / run.task.steps / f.samples:.4g} ns a step and sample"
        loss = f"{f.loss:.6f}" if f.loss is not None else ""
        numbers = (_number(f.cpu_ms), _number(f.wall_ms), _number(f.extra_mb), _number(f.compile_s))
        lines.append(f"| {name} | {ratio} | {' | '.join(numbers)} | {loss} |")
    return lines


def _memory_lines(run: Run) -> list[str]:
    told = [
        f"Memory of {name} is not known: {f.memory_missing}." for name, f in run.variants.items() if f.memory_missing
    ]
    return ["", *told] if told else []


def _roofline_lines(run: Run, roofline: Roofline) -> list[str]:
    reached = [
        f"{name} {roofline.percent(f.cpu_ms):.0f} %"
        for name, f in run.variants.items()
        if f.cpu_ms is not None and not f.forward_only
    ]
    errors = [f.gradient_error for f in run.variants.values() if f.gradient_error is not None]
    lines = [
        f"Roofline, one thread: peak {roofline.peaks.flops / 1e9:.0f} Gflop/s and "
        f"{roofline.peaks.exponentials / 1e9:.1f} Gexp/s; a step takes {roofline.flops_per_step / 1e9:.2f} Gflop and "
        f"{roofline.exponentials_per_step / 1e9:.4f} Gexp, at least {roofline.floor_ms:.1f} ms.",
        f"Reached: {', '.join(reached)}.",
    ]
    if len(errors) > 1:
        lines.append(f"Gradients: none further than {max(errors):.1g} of its norm from the first variant's.")
    return lines


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
