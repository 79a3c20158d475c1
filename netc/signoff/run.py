"""Run a trained network's own netlist in ngspice on test samples, beside netc.

The run's trained values are written into its deck (:mod:`netc.export`), the deck is parsed again, and ngspice runs the
whole of it for every sample: the author's lines, every device, the sample as stimulus (:mod:`netc.ngspice.task`).  netc
runs the same samples with the same values.  With draws of device values both see the same devices.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from netc.data import Dataset
from netc.diagnostics import Diagnostic, NetcError, Severity
from netc.export import Devices, set_values, trained_values
from netc.ngspice.locate import find_ngspice, require_engine
from netc.ngspice.task import Judge, Reading
from netc.report import waveforms
from netc.signoff.merge import MergedStimuli
from netc.signoff.netlists import ChipASample, OneChip, Writer
from netc.signoff.store import Found, Store
from netc.signoff.summary import Draw, Signoff
from netc.signoff.workers import Bench, measure_all
from netc.training import inputs
from netc.training.contract import check_runnable, membranes
from netc.training.saved import SavedRun, Simulator
from netc.variability import draw

FOLDER = "signoff"
DECK, WORST = "trained.cir", "worst.png"
_AT_ONCE = 32  # samples that netc runs together
_RECORDINGS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Settings:
    """How a sign-off is done.

    Attributes:
        samples: of the test set, the first ones.
        devices: how programmed devices differ from what was learnt.
        draws: chips, each a draw of ``devices``; where devices change from use to use, each sample has its own.
        jobs: processes at once.
        reltol: ngspice's relative tolerance; ``abstol`` is 1e-9 of it in amperes, ``vntol`` 1e-3 of it in volts.
        max_step: ngspice's largest step, in steps of netc's.
        engine: ``auto`` (``ngspice -b``, PySpice where there is none), ``batch`` or ``pyspice``.
        timeout: seconds after which a process is killed.
        options: more options for ngspice, such as ``klu``.
        merge_rows: merge rows that ideal sources drive; ngspice then runs an equivalent, not the whole circuit.
        resume: take over results of an earlier sign-off of the same values.
        threshold: membrane voltage (V) that counts as a spike; that of the training when ``None``.
    """

    samples: int = 100
    devices: Devices = field(default_factory=Devices)
    draws: int = 1
    jobs: int = 1
    reltol: float = 1e-3
    max_step: float = 8.0
    engine: str = "auto"
    timeout: float = 3600.0
    options: str = ""
    merge_rows: bool = False
    resume: bool = True
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Whom to tell what; each may be called often.

    Attributes:
        say: a sentence.
        begin: the number of samples in all, and of those known from before.
        sample: draw and number of a sample, and one line about it.
        wanted: asks whether to stop.
    """

    say: Callable[[str], None] = lambda text: None
    begin: Callable[[int, int], None] = lambda total, known: None
    sample: Callable[[int, int, str], None] = lambda draw, number, line: None
    wanted: Callable[[], bool] = lambda: False


class Stopped(KeyboardInterrupt):
    """The sign-off was asked to stop; what was finished is kept."""


def signoff(saved: SavedRun, dataset: Dataset, settings: Settings, progress: Progress | None = None) -> Signoff:
    """Classify test samples in netc and in ngspice.

    Results of each sample, the exported deck and a picture of the worst sample go into ``signoff`` in the run folder.

    Args:
        saved: the run.
        dataset: its test samples are used.
        settings: how.
        progress: whom to tell.

    Raises:
        NetcError: data or deck do not fit, or ngspice is absent; what fails for one sample is reported in the result.
        Stopped: ``progress.wanted`` said so.
    """
    progress = progress if progress is not None else Progress()
    started = time.perf_counter()
    settings.devices.check()
    hold = _check(saved, dataset, settings)
    samples = np.asarray(dataset.test_x[: settings.samples], dtype=np.float64)
    labels = dataset.test_y[: settings.samples].tolist()
    installation = find_ngspice()
    engine = "batch" if settings.engine == "auto" and installation.executable else settings.engine
    require_engine(installation, engine)
    options = saved.options
    threshold = options.spike_threshold if settings.threshold is None else settings.threshold
    judge = Judge(
        tuple(saved.module.OUTPUTS), membranes(saved.module, options.activity_nodes), options.logit_scale, threshold
    )
    simulate = saved.simulator(progress.say)
    program, devices = saved.compilation.program, settings.devices
    learnt = trained_values(saved.module, program)
    times = np.arange(saved.steps.count + 1) * saved.steps.dt
    folder = saved.directory / FOLDER
    writer = _writer(saved, judge, times, settings, hold)
    each = devices.changes_by_sample(program)
    base = writer.text(learnt, folder / DECK) if each else ""
    draws: list[Draw] = []
    merged = 0
    try:
        for number in range(settings.draws):
            chip: OneChip | ChipASample
            if each:
                values, ours = {}, []
                for sample, features in enumerate(samples):
                    set_values(saved.module, draw(program, learnt, devices, number, sample))
                    values[sample] = trained_values(saved.module, program)
                    ours += _ours(simulate, judge, features[None], times, hold)
                chip, text = ChipASample(writer, values, folder), f"{base}\n{devices} {number}"
            else:
                set_values(saved.module, draw(program, learnt, devices, number))
                deck = folder / (DECK if settings.draws == 1 else f"draw-{number:03d}.cir")
                text = writer.text(trained_values(saved.module, program), deck)
                stimuli = writer.stimuli(text)
                chip, merged = OneChip(stimuli), stimuli.merged if isinstance(stimuli, MergedStimuli) else 0
                ours = _ours(simulate, judge, samples, times, hold)
            store = _store(folder, text, judge, times, settings)
            bench = Bench(chip, judge, times, store, engine, settings.timeout, installation)
            drawn, found = _measured(bench, number, samples, labels, ours, settings, progress)
            draws.append(drawn)
            _draw_worst(drawn, ours, found, judge, times, folder, draws)
    finally:
        set_values(saved.module, learnt)
    spent = time.perf_counter() - started
    how: dict[str, Any] = {
        "engine": engine,
        "reltol": settings.reltol,
        "max_step_s": float(settings.max_step * times[1]),
        "whole_circuit": not settings.merge_rows,
        "merged_resistors": merged,
    }
    return Signoff(tuple(draws), judge.outputs, spent, how)


def _check(saved: SavedRun, dataset: Dataset, settings: Settings) -> int:
    """Refuse what cannot be signed off; return how many steps a frame lasts, 0 where samples are amplitudes."""
    check_runnable(saved.module, dataset)
    circuit = saved.compilation.circuit
    if settings.samples > len(dataset.test_y):
        raise NetcError(f"{dataset.name} has {len(dataset.test_y)} test samples here, not {settings.samples}")
    if saved.options.integrator not in ("euler", "heun", "rk4") and circuit.timing is None:
        raise NetcError("the deck has no .tran")
    wanted = "waveform" if dataset.changing else "amplitude"
    for driven in circuit.driven:
        if driven.mode != wanted:
            span = circuit.branches[driven.branch].span
            message = f"samples of {dataset.name} are {wanted}s, but this source is driven as {driven.mode}"
            raise NetcError([Diagnostic(Severity.ERROR, message, span)], circuit.sources)
    if not dataset.changing:
        return 0
    if settings.merge_rows:
        raise NetcError("--merge-rows is for samples of one number a feature", hint="leave it out")
    hold = inputs.steps_a_frame(saved.steps.count, dataset)
    if dataset.test_x.shape[1] * hold != saved.steps.count:
        raise NetcError(
            f"test recordings last {dataset.test_x.shape[1] * hold} steps, those of the training {saved.steps.count}: "
            "only recordings of that length can be signed off"
        )
    return hold


def _writer(saved: SavedRun, judge: Judge, times: np.ndarray, settings: Settings, hold: int) -> Writer:
    reltol = settings.reltol
    return Writer(
        saved,
        judge.names,
        times,
        settings.max_step,
        f"reltol={reltol!r} abstol={reltol * 1e-9!r} vntol={reltol * 1e-3!r}",
        settings.options,
        settings.merge_rows,
        hold,
    )


def _store(folder: Path, text: str, judge: Judge, times: np.ndarray, settings: Settings) -> Store:
    """Return where results of this netlist go."""
    kept: dict[str, object] = {"threshold": judge.threshold, "grid": times.tobytes(), "merged": settings.merge_rows}
    kept |= {"outputs": judge.outputs, "membranes": judge.membranes}
    return Store.of(folder, text, kept)


def _ours(simulate: Simulator, judge: Judge, samples: np.ndarray, times: np.ndarray, hold: int) -> list[Reading]:
    """Return what netc makes of every sample."""
    readings = []
    at_once = _RECORDINGS_AT_ONCE if hold else _AT_ONCE
    for first in range(0, len(samples), at_once):
        given = samples[first : first + at_once]
        if hold:
            given = given.swapaxes(0, 1).repeat(hold, axis=0)
        volts = simulate(given, judge.names).cpu().numpy().astype(np.float64)
        if not np.isfinite(volts).all():
            raise NetcError("the circuit diverges in netc", hint="train with a smaller --dt")
        for k in range(volts.shape[1]):
            readings.append(judge.read(times, {n: volts[:, k, c] for c, n in enumerate(judge.names)}))
    return readings


def _measured(
    bench: Bench,
    draw: int,
    given: np.ndarray,
    labels: list[int],
    ours: list[Reading],
    settings: Settings,
    progress: Progress,
) -> tuple[Draw, dict[int, Found]]:
    """Run in ngspice what is not known yet, and compare."""
    shape = (len(bench.times), len(bench.judge.outputs), len(bench.judge.membranes))
    found: dict[int, Found] = {}
    failed: dict[int, str] = {}
    if settings.resume:
        known = {number: bench.store.load(number, sample, shape) for number, sample in enumerate(given)}
        found = {number: result for number, result in known.items() if result is not None}
    progress.begin(len(labels), len(found))

    def done(number: int, result: Found | NetcError) -> None:
        if isinstance(result, NetcError):
            failed[number] = result.diagnostics[0].message
            progress.sample(draw, number, f"failed: {failed[number]}")
            return
        found[number] = result
        progress.sample(draw, number, _line(bench.judge, labels[number], ours[number], result))

    missing = [number for number in range(len(labels)) if number not in found]
    before = _processor_seconds()
    if not measure_all(bench, given, missing, settings.jobs, done, progress.wanted):
        raise Stopped(f"stopped after {len(found)} of {len(labels)} samples of draw {draw}, which are kept")
    samples = {n: bench.judge.compare(labels[n], ours[n], found[n].reading) for n in sorted(found)}
    seconds = {number: result.seconds for number, result in sorted(found.items())}
    spent = (_processor_seconds() - before) / len(missing) if missing else None
    return Draw(draw, samples, seconds, dict(sorted(failed.items())), spent), found


def _processor_seconds() -> float:
    """Return what processes that have ended took of the processors."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _line(judge: Judge, label: int, ours: Reading, result: Found) -> str:
    agreement = judge.compare(label, ours, result.reading)
    error = math.fsum(agreement.nrmse.values()) / len(agreement.nrmse)
    return (
        f"label {label}, class {agreement.classes[0]}/{agreement.classes[1]}, "
        f"spikes {agreement.spikes[0]}/{agreement.spikes[1]}, NRMSE {error:.2%}, {result.seconds:.1f} s"
    )


def _draw_worst(
    drawn: Draw,
    ours: list[Reading],
    found: dict[int, Found],
    judge: Judge,
    times: np.ndarray,
    folder: Path,
    draws: list[Draw],
) -> None:
    """Draw the worst sample, if it is of this draw: the outputs of both classes found, then those that differ most."""
    worst = Signoff(tuple(draws), judge.outputs, 0.0, {}).worst
    if worst is None or worst[0] != drawn.number:
        return
    number = worst[1]
    sample = drawn.samples[number]
    first = [judge.outputs[k] for k in (*sample.classes, sample.label) if k < len(judge.outputs)]
    order = dict.fromkeys([*first, *sorted(judge.outputs, key=lambda name: -sample.nrmse[name])])
    column = {name: k for k, name in enumerate(judge.outputs)}
    waveforms(
        times,
        {name: ours[number].outputs[:, column[name]] for name in order},
        folder / WORST,
        reference_times=times,
        reference={name: found[number].reading.outputs[:, column[name]] for name in order},
        title=f"sample {number}: label {sample.label}, netc says {sample.classes[0]}, ngspice {sample.classes[1]}",
    )
