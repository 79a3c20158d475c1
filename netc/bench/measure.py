"""Builds variants, checks that they agree, and times them in turn."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from netc.bench.memory import extra_memory
from netc.bench.problem import Task
from netc.bench.registry import VARIANTS, Outcome, Step, Unavailable
from netc.bench.roofline import Roofline, roofline
from netc.diagnostics import Diagnostics

LOSS_TOLERANCE = 1e-4
"""Relative; what each variant's loss may differ from the first one's."""

GRADIENT_TOLERANCE = 2e-3
"""Relative to the norm; rounding of float32 over a thousand steps, in another order in every variant."""

Notify = Callable[[str], None]


@dataclass(slots=True)
class Figures:
    """What was measured of one variant; ``None`` where it was not.

    Attributes:
        cpu_ms: median over repeats of processor time, all threads, child processes included; slow variants run once.
        wall_ms: median of elapsed time.
        extra_mb: see :mod:`netc.bench.memory`; 10^6 bytes.
        compile_s: processor seconds until the first step can run, compilers included, with empty caches.
        loss: the loss of the step.
        gradient_error: of the worst crossbar or block, relative to its norm, against the first variant with gradients.
        samples: how many samples the time is for.
        forward_only: whether there is no backward pass in it.
        missing: why there are no figures.
        memory_missing: why ``extra_mb`` is not known.
    """

    cpu_ms: float | None = None
    wall_ms: float | None = None
    extra_mb: float | None = None
    compile_s: float | None = None
    loss: float | None = None
    gradient_error: float | None = None
    samples: int | None = None
    forward_only: bool = False
    missing: str | None = None
    memory_missing: str | None = None


@dataclass(slots=True)
class Run:
    """All that was measured.

    Attributes:
        task: the training step.
        repeat: how often each variant was timed.
        variants: figures by name, with the task's threads.
        more: figures by name, by further numbers of threads.
        disagreements: a line for each variant that finds something else.
        roofline: what the processor could do; ``None`` without a compiler.
    """

    task: Task
    repeat: int
    variants: dict[str, Figures] = field(default_factory=dict)
    more: dict[int, dict[str, Figures]] = field(default_factory=dict)
    disagreements: list[str] = field(default_factory=list)
    roofline: Roofline | None = None

    def scaling(self, name: str, threads: int) -> float | None:
        """Return how many times less wall time ``name`` takes with ``threads`` than with the task's threads."""
        one, many = self.variants.get(name, Figures()), self.more.get(threads, {}).get(name, Figures())
        return one.wall_ms / many.wall_ms if one.wall_ms and many.wall_ms else None


def check_names(names: Sequence[str]) -> None:
    """Refuse variants that do not exist.

    Raises:
        NetcError: with one line for each.
    """
    found = Diagnostics()
    for name in names:
        if name not in VARIANTS:
            found.error(f"there is no variant {name!r}", hint=f"variants are {', '.join(VARIANTS)}")
    found.raise_if_failed()


def run(
    task: Task,
    names: Sequence[str],
    *,
    repeat: int = 3,
    more_threads: Sequence[int] = (),
    memory: bool = True,
    peaks: bool = True,
    notify: Notify,
) -> Run:
    """Build all variants, run each once to compare what it finds, then time them in turn, ``repeat`` times.

    Args:
        task: the training step.
        names: of :data:`~netc.bench.registry.VARIANTS`.
        repeat: how often each is timed.
        more_threads: further numbers of threads, for variants that can change theirs in a process.
        memory: measure memory too, each variant in a process of its own.
        peaks: measure what the processor can do.
        notify: takes lines on what is going on.
    """
    check_names(names)
    result = Run(task, repeat)
    steps: dict[tuple[int, str], Step] = {}
    references: list[Outcome] = []
    for threads in (task.threads, *more_threads):
        first = threads == task.threads
        table = result.variants if first else result.more.setdefault(threads, {})
        for name in names:
            if not first and not VARIANTS[name].any_threads:
                table[name] = Figures(missing=f"starts with its threads: use --threads {threads} alone")
                continue
            notify(f"building {name}" + ("" if first else f" with {threads} threads"))
            with on_processors(threads):
                figures, step = _build(replace(task, threads=threads), name, references, result.disagreements)
            table[name] = figures
            if step is not None and not VARIANTS[name].slow:
                steps[threads, name] = step
    for (threads, name), pairs in _times(steps, repeat, notify).items():
        figures = result.variants[name] if threads == task.threads else result.more[threads][name]
        figures.cpu_ms = 1e3 * statistics.median(cpu for cpu, _ in pairs)
        figures.wall_ms = 1e3 * statistics.median(wall for _, wall in pairs)
    if memory:
        with on_processors(task.threads):
            _memory(result, notify)
    if peaks:
        try:
            with on_processors(1):
                result.roofline = roofline(task)
        except Unavailable as reason:
            notify(f"no roofline: {reason}")
    return result


def _build(task: Task, name: str, references: list[Outcome], disagreements: list[str]) -> tuple[Figures, Step | None]:
    """Build a variant, run it once and compare it; the first outcome with a loss becomes the reference."""
    figures = Figures(forward_only=VARIANTS[name].forward_only)
    start = processor_seconds()
    try:
        step = VARIANTS[name].build(task)
        figures.compile_s = processor_seconds() - start
        wall = time.perf_counter()
        outcome = step()
        if VARIANTS[name].slow:
            spent = processor_seconds() - start - figures.compile_s
            figures.cpu_ms, figures.wall_ms = 1e3 * spent, 1e3 * (time.perf_counter() - wall)
    except Unavailable as reason:
        figures.missing, figures.compile_s = str(reason), None
        return figures, None
    except Exception as error:  # others' libraries fail in ways of their own; the rest of the run goes on
        said = (str(error).strip().splitlines() or [""])[0]
        figures.missing, figures.compile_s = f"failed: {type(error).__name__}: {said[:200]}", None
        disagreements.append(f"{name}: {figures.missing}")
        return figures, None
    figures.loss, figures.samples = outcome.loss, outcome.samples or task.batch
    if outcome.loss is not None:
        if not references:
            references.append(outcome)
        disagreements += _compare(name, figures, outcome, references[0])
    return figures, step


def _times(
    steps: dict[tuple[int, str], Step], repeat: int, notify: Notify
) -> dict[tuple[int, str], list[tuple[float, float]]]:
    """Return processor and wall seconds of every step, taken in turn."""
    times: dict[tuple[int, str], list[tuple[float, float]]] = {key: [] for key in steps}
    for number in range(repeat):
        notify(f"timing, {number + 1} of {repeat}")
        for (threads, name), step in steps.items():
            with on_processors(threads):
                times[threads, name].append(_time(step))
    return times


def _time(step: Step) -> tuple[float, float]:
    gc.collect()
    cpu, wall = processor_seconds(), time.perf_counter()
    step()
    return processor_seconds() - cpu, time.perf_counter() - wall


def _memory(result: Run, notify: Notify) -> None:
    for name, figures in result.variants.items():
        if figures.missing is None and not VARIANTS[name].slow:
            notify(f"memory of {name}")
            try:
                figures.extra_mb = extra_memory(result.task, name)
            except Unavailable as reason:
                figures.memory_missing = str(reason)
                notify(f"memory of {name} is not known: {reason}")


def _compare(name: str, figures: Figures, outcome: Outcome, reference: Outcome) -> list[str]:
    """Note how far gradients are from the reference's; return what is out of tolerance."""
    found = []
    assert outcome.loss is not None and reference.loss is not None
    error = abs(outcome.loss - reference.loss) / abs(reference.loss)
    if not error <= LOSS_TOLERANCE:
        found.append(f"{name}: loss {outcome.loss:.8g}, not {reference.loss:.8g}")
    if outcome.gradients is not None and reference.gradients is not None:
        pairs = zip(outcome.gradients(), reference.gradients(), strict=True)
        figures.gradient_error = max(float(np.linalg.norm(a - b) / (np.linalg.norm(b) or 1.0)) for a, b in pairs)
        if not figures.gradient_error <= GRADIENT_TOLERANCE:
            found.append(f"{name}: gradients differ by {figures.gradient_error:.2g} of their norm")
    return found


@contextmanager
def on_processors(count: int) -> Iterator[None]:
    """Run on ``count`` processors only, where a process may choose; libraries then start no more threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(count)
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if allowed and count < len(allowed):
        os.sched_setaffinity(0, sorted(allowed)[:count])
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if allowed:
            os.sched_setaffinity(0, allowed)


def processor_seconds() -> float:
    """Return processor time of this process and of its children that have ended, seconds."""
    used = os.times()
    return time.process_time() + used.children_user + used.children_system
