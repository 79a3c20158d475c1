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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from netc.compiler import compile_deck
from netc.data import Dataset
from netc.diagnostics import Diagnostic, NetcError, Severity
from netc.elaborate.circuit import Circuit
from netc.export import Devices, export, set_values, trained_values
from netc.ir.program import Timing
from netc.ngspice.locate import Installation, find_ngspice, require_engine
from netc.ngspice.netlist import ngspice_text
from netc.ngspice.task import Judge, Reading, Stimuli
from netc.report import waveforms
from netc.signoff.merge import MergedStimuli
from netc.signoff.store import Found, Store
from netc.signoff.summary import Draw, Signoff
from netc.signoff.workers import Bench, measure_all
from netc.training.contract import check_runnable, membranes
from netc.training.saved import SavedRun, Simulator

FOLDER = "signoff"
DECK, WORST = "trained.cir", "worst.png"
_AT_ONCE = 32  # samples that netc runs together


@dataclass(frozen=True, slots=True)
class Settings:
    """How a sign-off is done.

    Attributes:
        samples: of the test set, the first ones.
        devices: how programmed devices differ from what was learnt.
        draws: Monte Carlo draws of ``devices``.
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
    reltol: float = 1e-4
    max_step: float = 2.0
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
    _check(saved, dataset, settings)
    amplitudes = np.asarray(dataset.test_x[: settings.samples], dtype=np.float64)
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
    program = saved.compilation.program
    learnt = trained_values(saved.module, program)
    times = np.arange(saved.steps.count + 1) * saved.steps.dt
    folder = saved.directory / FOLDER
    draws: list[Draw] = []
    try:
        for number in range(settings.draws):
            set_values(saved.module, settings.devices.programmed(program, learnt, number))
            deck = folder / (DECK if settings.draws == 1 else f"draw-{number:03d}.cir")
            bench = _bench(saved, deck, judge, times, settings, engine, installation)
            ours = _ours(simulate, judge, amplitudes, times)
            drawn, found = _measured(bench, number, amplitudes, labels, ours, settings, progress)
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
        "merged_resistors": bench.stimuli.merged if isinstance(bench.stimuli, MergedStimuli) else 0,
    }
    return Signoff(tuple(draws), judge.outputs, spent, how)


def _check(saved: SavedRun, dataset: Dataset, settings: Settings) -> None:
    check_runnable(saved.module, dataset)
    circuit = saved.compilation.circuit
    for driven in circuit.driven:
        if driven.mode != "amplitude":
            span = circuit.branches[driven.branch].span
            message = "the inputs of this deck are whole waveforms: only amplitudes can be signed off"
            raise NetcError([Diagnostic(Severity.ERROR, message, span)], circuit.sources)
    if len(dataset.test_x.shape) != 2:
        raise NetcError(f"samples of {dataset.name} change over time: only those of one number a feature can be run")
    if settings.samples > len(dataset.test_y):
        raise NetcError(f"{dataset.name} has {len(dataset.test_y)} test samples here, not {settings.samples}")
    if saved.options.integrator not in ("euler", "heun", "rk4") and circuit.timing is None:
        raise NetcError("the deck has no .tran")


def _bench(
    saved: SavedRun,
    path: Path,
    judge: Judge,
    times: np.ndarray,
    settings: Settings,
    engine: str,
    installation: Installation,
) -> Bench:
    """Export the values as they stand and prepare ngspice's netlist from what was written."""
    export(saved.compilation, trained_values(saved.module, saved.compilation.program), path)
    deck = compile_deck(path, dialect=saved.compilation.dialect).deck
    circuit: Circuit = saved.compilation.circuit
    dt, stop = float(times[1]), float(times[-1])
    timing = replace(
        circuit.timing or Timing(dt, stop, uic=True), tstep=dt, tstop=stop, tstart=0.0, tmax=settings.max_step * dt
    )
    reltol = settings.reltol
    text = ngspice_text(
        deck,
        timing,
        nodes=judge.names,
        options=settings.options,
        tolerances=f"reltol={reltol!r} abstol={reltol * 1e-9!r} vntol={reltol * 1e-3!r}",
    )
    driven = {circuit.branches[d.branch].name: circuit.branches[d.branch].law.kind for d in circuit.driven}
    kept: dict[str, object] = {"threshold": judge.threshold, "grid": times.tobytes(), "merged": settings.merge_rows}
    kept |= {"outputs": judge.outputs, "membranes": judge.membranes}
    store = Store.of(path.parent, text, kept)
    stimuli = MergedStimuli(text, driven) if settings.merge_rows else Stimuli(text, driven)
    return Bench(stimuli, judge, times, store, engine, settings.timeout, installation)


def _ours(simulate: Simulator, judge: Judge, amplitudes: np.ndarray, times: np.ndarray) -> list[Reading]:
    """Return what netc makes of every sample."""
    readings = []
    for first in range(0, len(amplitudes), _AT_ONCE):
        volts = simulate(amplitudes[first : first + _AT_ONCE], judge.names).cpu().numpy().astype(np.float64)
        if not np.isfinite(volts).all():
            raise NetcError("the circuit diverges in netc", hint="train with a smaller --dt")
        for k in range(volts.shape[1]):
            readings.append(judge.read(times, {n: volts[:, k, c] for c, n in enumerate(judge.names)}))
    return readings


def _measured(
    bench: Bench,
    draw: int,
    amplitudes: np.ndarray,
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
        known = {number: bench.store.load(number, sample, shape) for number, sample in enumerate(amplitudes)}
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
    if not measure_all(bench, amplitudes, missing, settings.jobs, done, progress.wanted):
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
