"""Train a compiled deck on a data set into a run folder, go on with a run, evaluate one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from netc.cache import DeckCache
from netc.data import Dataset
from netc.diagnostics import NetcError
from netc.discretise import INTEGRATORS
from netc.emit import emit_torch
from netc.runtime.load import instantiate
from netc.training import checkpoint, memory, timing
from netc.training.activity import hidden_mean
from netc.training.contract import CircuitModule, Compilation, check_runnable, check_trainable, membranes
from netc.training.engines import TorchEngine, choose
from netc.training.inputs import check_kind, steps_a_frame
from netc.training.interruption import StopRequest, TrainingInterrupted
from netc.training.options import FREE_ON_RESUME, TrainingOptions
from netc.training.pairs import find_pairs
from netc.training.parallel import Workers, restarted
from netc.training.penalties import penalties
from netc.training.progress import Reporter
from netc.training.result import TrainingResult
from netc.training.run_folder import CONFIG, DECK, RESULT, VERSIONS, RunFolder, deck_digest, versions
from netc.training.session import Session, load_parameters
from netc.training.variation import Variation


def train(
    compilation: Compilation,
    dataset: Dataset,
    options: TrainingOptions | None = None,
    *,
    directory: Path | str,
    resume: bool = False,
    console: Console | None = None,
) -> TrainingResult:
    """Train a circuit with Adam through all of its physics, epoch by epoch, then test it.

    Trained values move between their bounds: Adam works on the normalised position in [0, 1], which is
    clamped after each update.  A checkpoint is written at the start, after every epoch and when Ctrl-C or SIGTERM
    asks to stop; a resumed run gives the numbers an uninterrupted one gives on the same number of threads.

    Args:
        compilation: the compiled deck.
        dataset: features in [0, 1], one for each input of the deck.
        options: see :class:`TrainingOptions`.
        directory: the run folder; made if need be.
        resume: go on with the run in ``directory``.
        console: where progress goes; standard error when ``None``.

    Raises:
        NetcError: options, deck, data or run folder do not fit, or the circuit diverges.
        TrainingInterrupted: stopped by a signal, after saving.
    """
    options = options if options is not None else TrainingOptions()
    options.check()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    workers = Workers.join(torch.device(options.device))
    folder = RunFolder(Path(directory), writes=workers.number == 0)
    resume = resume or (restarted() and checkpoint.exists(folder.directory))
    if not resume and checkpoint.exists(folder.directory):
        raise NetcError(
            f"{folder.directory} already holds a run",
            hint="go on with it by --resume, or pass another folder with --out",
        )
    workers.wait()  # before one of them makes the folder
    torch.manual_seed(options.seed)
    reporter = Reporter(console if folder.writes else Console(quiet=True))
    session = _session(compilation, dataset, options, check_trainable, reporter.say, workers)
    config = _config(compilation, dataset, session)
    for line in _stability(compilation, options, session.steps.dt):
        reporter.say(f"warning: {line}")
    if resume:
        state, warning = checkpoint.load(folder.directory)
        if warning:
            reporter.say(f"warning: {warning}")
        _check_same_run(folder.read_json(CONFIG), config)
        session.restore(state)
    folder.create()
    _choose_chunk(session, reporter)
    config["deck"]["file"] = folder.write_deck(compilation)
    folder.write_json(CONFIG, config)
    folder.write_json(VERSIONS, versions())
    folder.write_metrics(session.position.history)
    if not resume:
        folder.save(session.state())
    with StopRequest() as stop, reporter:
        _learn(session, folder, reporter, stop)
        result = _test(session, dataset, folder, reporter, stop)
    folder.write_json(RESULT, result.to_json())
    workers.leave()
    return result


def evaluate(
    directory: Path | str,
    dataset: Dataset,
    *,
    compilation: Compilation | None = None,
    cache: DeckCache | None = None,
    threads: int | None = None,
    batch: int | None = None,
    backend: str | None = None,
    disable_passes: Sequence[str] = (),
    console: Console | None = None,
) -> TrainingResult:
    """Test the circuit of a run folder with its newest readable checkpoint.

    Args:
        directory: the run folder.
        dataset: only its test samples are used; need not be the set of the training.
        compilation: the compiled deck; the folder's own copy is compiled when ``None``.
        cache: where that may be compiled already.
        threads: CPU threads.
        batch: samples at once; those of the training when ``None``.
        backend: ``auto``, ``torch`` or ``cpp``; that of the training when ``None``.
        disable_passes: names of passes to leave out besides those left out in the training.
        console: where progress goes; standard error when ``None``.

    Raises:
        NetcError: the folder is no run, its checkpoints are damaged, or the data do not fit.
    """
    folder, reporter = RunFolder(Path(directory)), Reporter(console)
    if threads is not None:
        torch.set_num_threads(threads)
    config = folder.read_json(CONFIG)
    options = TrainingOptions.from_json(_entry(config, "options"))
    options = replace(
        options,
        batch=options.batch if batch is None else batch,
        backend=options.backend if backend is None else backend,
        disable_passes=tuple(dict.fromkeys((*options.disable_passes, *disable_passes))),
    )
    options.check()
    compilation = compilation if compilation is not None else _compile_copy(folder, config, options, cache, reporter)
    session, state = _restored(folder, dataset, compilation, options, reporter)
    with StopRequest() as stop, reporter:
        result = _test(session, dataset, folder, reporter, stop)
    data = config["data"]
    held = int(data.get("validation_samples", 0))
    return replace(
        result,
        samples=int(data["train_samples"]) - held,
        validation_samples=held,
        epochs=int(state["epoch"]),
    )


def load_trained(
    directory: Path | str, *, compilation: Compilation | None = None, last: bool = False
) -> tuple[CircuitModule, TrainingOptions, timing.Steps]:
    """Return the circuit of a run folder with its learnt values, and how it was simulated.

    The values are those of the epoch that was best on the validation samples, where some were held out and ``last`` is
    not set, else those of the last update.

    Raises:
        NetcError: the folder is no run, or its checkpoints are damaged.
    """
    folder = RunFolder(Path(directory))
    config = folder.read_json(CONFIG)
    options = TrainingOptions.from_json(_entry(config, "options"))
    compilation = compilation if compilation is not None else _compile_copy(folder, config, options)
    state, _ = checkpoint.load(folder.directory)
    module: CircuitModule = compilation.module(options.torch_dtype)
    best = state.get("best")
    load_parameters(module, state["parameters"] if best is None or last else best["parameters"])
    return module, options, timing.resolve(compilation.program.timing, options)


def _session(
    compilation: Compilation,
    dataset: Dataset,
    options: TrainingOptions,
    check: Callable[[CircuitModule, Dataset], None],
    notify: Callable[[str], None],
    workers: Workers | None = None,
) -> Session:
    program = compilation.program
    check_kind(program, dataset)
    if dataset.changing and options.clip_sample is not None:
        raise NetcError(
            "--clip-sample is for features that do not change over time",
            hint=f"leave them out for {dataset.name}",
        )
    module: CircuitModule = compilation.module(options.torch_dtype)
    module.to(torch.device(options.device))
    check(module, dataset)
    nodes = membranes(module, options.activity_nodes)
    steps = timing.resolve(program.timing, options)
    found = penalties(program, compilation.circuit if options.energy_weight else None, options, steps, nodes)
    if found is not None:
        with_more: Any = instantiate(emit_torch(found.observed), options.torch_dtype)  # what penalties read, besides
        module = with_more
        module.to(torch.device(options.device))
    hold = steps_a_frame(steps.count, dataset)
    engine = choose(program, module, options, steps, notify, len(dataset.train_y), found, hold)
    variation = None
    if options.devices.acts(program):
        variation = Variation(engine, module, program, options.devices, options.samples_per_draw)
    pairs = find_pairs(program, compilation.circuit) if options.lower_pairs else None
    return Session(module, engine, dataset, options, steps, nodes, found, workers or Workers(), variation, pairs)


def _stability(compilation: Compilation, options: TrainingOptions, dt: float) -> list[str]:
    """Return warnings of steps too long; raises :class:`NetcError` where they are so with the values as they stand."""
    if options.integrator == "euler":
        return timing.check_stable(compilation.program, dt)
    strategy = INTEGRATORS.get(options.integrator)
    if strategy is None or math.isinf(strategy.reach):
        return []  # auto has tried its steps
    return timing.check_stable(compilation.continuous, dt, strategy.reach)


def _config(compilation: Compilation, dataset: Dataset, session: Session) -> dict[str, Any]:
    return {
        "options": session.options.to_json(),
        "simulation": {"steps": session.steps.count, "dt": session.steps.dt},
        "data": {**dataset.describe(), "validation_samples": len(session.validating)},
        "deck": {"path": str(compilation.path), "sha256": deck_digest(compilation), "dialect": compilation.dialect},
        "features": session.module.FEATURES,
        "outputs": len(session.module.OUTPUTS),
        "trained_values": sum(p.numel() for p in session.module.parameters()),
        "weights": "checkpoint.pt: 'best' (of the validation samples), where some were held out, else 'parameters'",
        "prediction": "largest log-softmax of the output membranes, averaged over all time steps",
    }


def _entry(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = config.get(name)
    if not isinstance(value, dict):
        raise NetcError(f"{CONFIG} of the run is damaged: it has no {name}")
    return value


def _check_same_run(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse to go on with other options, data or another deck than the run was begun with."""
    changed = []
    before, now = TrainingOptions.from_json(_entry(stored, "options")).to_json(), wanted["options"]
    for name in sorted(set(before) | set(now)):
        if name not in FREE_ON_RESUME and before.get(name) != now.get(name):
            changed.append(f"{name} was {before.get(name)}, is {now.get(name)}")
    for part in ("name", "train_samples", "md5", "events", "images"):
        if _entry(stored, "data").get(part) != wanted["data"][part]:
            changed.append(f"data {part} was {_entry(stored, 'data').get(part)}, is {wanted['data'][part]}")
    if _entry(stored, "simulation") != wanted["simulation"]:
        changed.append(f"simulation was {stored['simulation']}, is {wanted['simulation']}")
    if _entry(stored, "deck").get("sha256") != wanted["deck"]["sha256"]:
        changed.append("the deck has another text")
    if changed:
        raise NetcError(
            f"this is not the run that was begun: {'; '.join(changed)}",
            hint="resume with the options it was started with, or start anew in another folder with --out",
        )


def _choose_chunk(session: Session, reporter: Reporter) -> None:
    """Have the emitted module recompute where its backward pass would not fit into memory, and say so."""
    options, steps, engine = session.options, session.steps, session.engine
    if not isinstance(engine, TorchEngine):
        reporter.say("running a fused C++ kernel, which keeps states only now and then for the backward pass")
        return
    samples = session.features(session.train_x, session.learning[: options.batch])
    batch = min(options.batch, len(session.learning))
    per_step = engine.bytes_per_step(samples, batch)
    free = memory.available_bytes(session.device)
    chunk = memory.choose_chunk(steps.count, per_step, free) if options.chunk is None else options.chunk
    kept = per_step * (min(chunk, steps.count) or steps.count)
    reporter.say(
        f"an update ({batch} samples, {steps.count} steps of {steps.dt * 1e6:g} us) keeps {memory.megabytes(kept)}"
        + (f" of {memory.megabytes(free)} free" if free is not None else "")
        + (f", recomputing by {chunk} steps" if 0 < chunk < steps.count else "")
    )
    engine.chunk = chunk


def _learn(session: Session, folder: RunFolder, reporter: Reporter, stop: StopRequest) -> None:
    at, options = session.position, session.options
    reporter.begin("training", options.epochs * session.batches, at.epoch * session.batches + at.batch)
    while at.epoch < options.epochs and not session.stopped_early:
        while at.batch < session.batches:
            session.update()
            spikes = f", {100 * at.history[-1]['hidden_activity']:.1f} % active" if at.history else ""
            reporter.batch(
                f"epoch {at.epoch + 1}/{options.epochs}",
                at.epoch * session.batches + at.batch,
                f"loss {at.sums.loss / at.sums.seen:.4f}, {100 * at.sums.correct / at.sums.seen:.1f} %{spikes}",
            )
            if session.workers.any(stop.wanted):
                raise _interrupted(session, folder)
        metrics = session.finish_epoch()
        # the checkpoint first: metrics are rewritten from it when a run is resumed
        folder.save(session.state())
        folder.write_metrics(at.history)
        reporter.epoch(options.epochs, metrics)
        if session.workers.any(stop.wanted):
            raise _interrupted(session, folder)
    if at.epoch < options.epochs and at.best is not None:
        reporter.say(
            f"stopped after epoch {at.epoch}: none was better on validation samples than epoch {at.best.epoch}"
        )


def _interrupted(session: Session, folder: RunFolder) -> TrainingInterrupted:
    folder.save(session.state())
    at = session.position
    return TrainingInterrupted(
        f"stopped after epoch {at.epoch} and {at.batch} of {session.batches} batches, and saved; "
        f"go on with the same command and --resume (run folder {folder.directory})",
        folder.directory,
    )


def _test(
    session: Session, dataset: Dataset, folder: RunFolder, reporter: Reporter, stop: StopRequest
) -> TrainingResult:
    at = session.position
    which = f" with the values of epoch {at.best.epoch}" if at.best is not None else ""
    reporter.say(f"testing on {len(dataset.test_y)} of {dataset.test_available} {dataset.name} test samples{which}")
    session.use_best()
    score = session.score(session.test_x, session.test_y, stop=lambda: stop.wanted)
    if score is None:
        raise TrainingInterrupted(
            f"stopped while testing; test the run with: netc evaluate {folder.directory}", folder.directory
        )
    spikes, shares = score.activity.by_layer()
    return TrainingResult(
        test_accuracy=score.accuracy,
        test_loss=score.loss,
        train_seconds=at.seconds,
        epochs=at.epoch,
        samples=len(session.learning),
        test_samples=len(session.test_y),
        best_epoch=at.best.epoch if at.best is not None else None,
        validation_accuracy=at.best.accuracy if at.best is not None else None,
        validation_samples=len(session.validating),
        spikes_per_neuron=spikes,
        activity=shares,
        hidden_activity=hidden_mean(shares, session.nodes, session.module.OUTPUTS),
        seed=session.options.seed,
        steps=session.steps.count,
        dt=session.steps.dt,
        backend=session.engine.name,
        data=dataset.name,
        data_order=dataset.order,
        train_available=dataset.train_available,
        test_available=dataset.test_available,
        directory=str(folder.directory),
    )


def _restored(
    folder: RunFolder, dataset: Dataset, compilation: Compilation, options: TrainingOptions, reporter: Reporter
) -> tuple[Session, dict[str, Any]]:
    state, warning = checkpoint.load(folder.directory)
    if warning:
        reporter.say(f"warning: {warning}")
    # nothing is held out: the training samples at hand need not be those of the training
    options = replace(options, validation=0.0, patience=0, augment=(), spike_target=(), energy_weight=0.0)
    options = replace(options, spread=0.0, read_noise=0.0, stuck_at=0.0, levels=None, nominal=True)
    session = _session(compilation, dataset, options, check_runnable, reporter.say)
    session.restore(state)
    return session, state


def _compile_copy(
    folder: RunFolder,
    config: Mapping[str, Any],
    options: TrainingOptions,
    cache: DeckCache | None = None,
    reporter: Reporter | None = None,
) -> Compilation:
    from netc.compiler import compile_deck

    root = (folder.directory / DECK).resolve()
    deck = _entry(config, "deck")
    name = deck.get("file")
    path = (folder.directory / str(name)).resolve()
    if not path.is_relative_to(root):
        raise NetcError(f"{CONFIG} of the run is damaged: its deck is not in {root}")
    compilation = compile_deck(
        path,
        include_directories=[root],
        disable=options.program_passes,
        dialect=str(deck.get("dialect", "ngspice")),
        cache=cache,
        integrator=options.integrator,
        step=options.dt,
    )
    if reporter is not None and compilation.from_cache:
        reporter.say("compiled deck from cache")
    return compilation
