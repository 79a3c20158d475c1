"""A run as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netc.bench.measure import Figures, Run
from netc.bench.roofline import Roofline

BASES = ("torch-eager-hoisted", "torch-loop")
"""What ratios are against: the first of them that was measured."""


def as_json(run: Run, roofline: Roofline | None, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{"variants": ..., "roofline": ..., "machine": ..., "problem": ...}``."""
    task = run.task
    keys = (
        "cpu_ms",
        "wall_ms",
        "extra_mb",
        "compile_s",
        "loss",
        "gradient_error",
        "samples",
        "forward_only",
        "missing",
    )
    return {
        "variants": {name: {key: getattr(f, key) for key in keys} for name, f in run.variants.items()},
        "roofline": _roofline_json(run, roofline),
        "machine": dict(machine),
        "problem": {
            "circuit": task.title,
            "layers": list(task.layers),
            "batch": task.batch,
            "steps": task.steps,
            "threads": task.threads,
            "repeat": run.repeat,
        },
        "disagreements": run.disagreements,
    }


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


def base_of(run: Run) -> str:
    """Return the variant that ratios are against."""
    return next((n for n in BASES if n in run.variants and run.variants[n].cpu_ms), BASES[0])


def as_markdown(run: Run, roofline: Roofline | None, machine: Mapping[str, Any]) -> str:
    """Return a table, ratios in its first column of numbers."""
    task = run.task
    base_name = base_of(run)
    base = run.variants.get(base_name, Figures()).cpu_ms
    lines = [
        f"{task.title}, batch {task.batch}, {task.steps} steps, {_count(task.threads, 'thread')}, "
        f"median of {run.repeat}, float32; load average {machine.get('load')}",
        "",
        f"| variant | against {base_name} | CPU ms | wall ms | extra MB | compile CPU s | loss |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, f in run.variants.items():
        if f.missing is not None:
            lines.append(f"| {name} | {f.missing} | | | | | |")
            continue
        ratio = f"{base / f.cpu_ms:.2f}x" if base and f.cpu_ms and not f.forward_only else ""
        if f.forward_only and f.cpu_ms is not None and f.samples:
            ratio = f"forward only: {1e6 * f.cpu_ms / task.steps / f.samples:.4g} ns a step and sample"
        loss = f"{f.loss:.6f}" if f.loss is not None else ""
        numbers = (_number(f.cpu_ms), _number(f.wall_ms), _number(f.extra_mb), _number(f.compile_s))
        lines.append(f"| {name} | {ratio} | {' | '.join(numbers)} | {loss} |")
    if roofline is not None:
        lines += ["", *_roofline_lines(run, roofline)]
    lines += [f"disagreement: {line}" for line in run.disagreements]
    return "\n".join(lines) + "\n"


def _roofline_lines(run: Run, roofline: Roofline) -> list[str]:
    reached = [
        f"{name} {roofline.percent(f.cpu_ms):.0f} %"
        for name, f in run.variants.items()
        if f.cpu_ms is not None and not f.forward_only
    ]
    return [
        f"Roofline, one thread: peak {roofline.peaks.flops / 1e9:.0f} Gflop/s and "
        f"{roofline.peaks.exponentials / 1e9:.1f} Gexp/s; a step takes {roofline.flops_per_step / 1e9:.2f} Gflop and "
        f"{roofline.exponentials_per_step / 1e9:.4f} Gexp, at least {roofline.floor_ms:.1f} ms.",
        f"Reached: {', '.join(reached)}.",
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
