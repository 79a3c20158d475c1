"""``netc variability``."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import BACKENDS, FILE, cache_option, say, write_text
from .devices import device_option, noise_law_option, nominal_option

if TYPE_CHECKING:
    from netc.training.monte_carlo import Trials
    from netc.variability import Devices

_OVER = {"spread": "spread", "read_noise": "read noise", "stuck_at": "stuck devices", "levels": "levels"}
_COLUMNS = ("run", *_OVER, "chips", "accuracy_mean", "accuracy_std", "accuracy_min", "accuracy_max")


@click.command("variability")
@click.argument("runs", type=FILE, nargs=-1, required=True, metavar="RUN...")
@device_option("spread", several=True)
@device_option("read-noise", several=True)
@device_option("stuck-at", several=True)
@device_option("levels", several=True)
@noise_law_option
@nominal_option
@click.option("--chips", type=click.IntRange(min=1), default=20, show_default=True, metavar="M", help="Chips to draw.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the draws.")
@click.option(
    "--samples-per-draw",
    "each",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Samples that share a draw of what changes from use to use; 1: each has its own, which takes longer.",
)
@click.option("--data", "data_name", metavar="NAME", help="Data set.  [that of the training]")
@click.option("--data-dir", type=FILE, metavar="DIR", help="Where the data are, or go.")
@click.option("--limit-test", type=click.IntRange(min=1), help="Use only the first N test samples.")
@click.option("--last", is_flag=True, help="Values of the last epoch, not of the one best on validation samples.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [all]")
@click.option("--backend", type=BACKENDS, help="PyTorch, or a fused C++ kernel.  [as in training]")
@click.option("--out", type=FILE, metavar="DIR", help="Where curve.json, .csv and .png go.  [RUN/variability]")
@cache_option
def command(
    runs: tuple[Path, ...],
    noise_law: str,
    nominal: bool,
    chips: int,
    seed: int,
    each: int,
    data_name: str | None,
    data_dir: Path | None,
    limit_test: int | None,
    last: bool,
    threads: int | None,
    backend: str | None,
    out: Path | None,
    no_cache: bool,
    **given: tuple[Any, ...],
) -> None:
    """Test trained runs on chips whose devices are not alike: accuracy over many draws, and its curve.

    One of --spread, --read-noise, --stuck-at and --levels may be a list, which the curve goes over.  Spread that the
    deck declares counts as well, unless --nominal.  Chips of several runs are drawn alike.  The last line of stdout is
    a JSON object: for each of "runs" the "ideal" accuracy and "points" with "accuracy_mean", "accuracy_std",
    "accuracy_min" and "accuracy_max" over the chips.

    \b
    Examples:
      netc variability runs/mnist --spread 10%
      netc variability runs/plain runs/aware --spread 0,5%,10%,20% --chips 50 --out runs/curve
    """
    from netc.cache import DeckCache
    from netc.data import load
    from netc.report.variability import accuracy_curves
    from netc.training.monte_carlo import MonteCarlo
    from netc.training.saved import open_run
    from netc.variability import Devices

    lists = [name for name in _OVER if len(given[name]) > 1]
    if len(lists) > 1:
        flags = " and ".join("--" + name.replace("_", "-") for name in lists)
        raise click.UsageError(f"{flags} are lists: a curve goes over one of them")
    over = lists[0] if lists else next((name for name in _OVER if given[name][0] not in (None, 0.0)), "spread")
    fixed: dict[str, Any] = {name: values[0] for name, values in given.items()}
    settings = [
        Devices(law=noise_law, seed=seed, declared=not nominal, **{**fixed, over: value}) for value in given[over]
    ]
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    names = [str(run) for run in runs]
    if len(set(names)) < len(names):
        raise click.UsageError("a run is named twice")
    found: dict[str, list[Trials]] = {}
    ideal: dict[str, float] = {}
    datasets: dict[str, Any] = {}
    for run in runs:
        saved = open_run(run, last=last, cache=None if no_cache else DeckCache())
        name = data_name or saved.data
        presented = saved.presented if name == saved.data else None
        key = json.dumps([name, presented])
        if key not in datasets:
            datasets[key] = load(name, directory=data_dir, limit_train=1, limit_test=limit_test, presented=presented)
        test = MonteCarlo(saved, datasets[key], backend=backend, notify=say)
        ideal[str(run)] = test.run(Devices(declared=False), 1).mean
        say(f"{run}: {100 * ideal[str(run)]:.2f} % with ideal devices")
        for devices in settings:
            trials = test.run(devices, chips, each=each)
            found.setdefault(str(run), []).append(trials)
            say(f"{run}: {_line(trials)}")
    folder = out or runs[0] / "variability"
    result = {
        "over": over,
        "data": [json.loads(key)[0] for key in datasets],
        "runs": [
            {"run": run, "ideal": ideal[run], "points": [trials.to_json() for trials in points]}
            for run, points in found.items()
        ],
        "directory": str(folder),
    }
    write_text(folder / "curve.json", json.dumps(result, indent=2) + "\n")
    write_text(folder / "curve.csv", _table(found))
    accuracy_curves(
        [getattr(devices, over) or 0 for devices in settings],
        {run: [trials.accuracies for trials in points] for run, points in found.items()},
        folder / "curve.png",
        label=_OVER[over],
        share=over != "levels",
        ideal=ideal,
        title=_words(Devices(**{**fixed, over: None if over == "levels" else 0.0})),
    )
    say(f"wrote {folder / 'curve.json'}, curve.csv and curve.png")
    click.echo(json.dumps(result, allow_nan=False))


def _line(trials: Trials) -> str:
    count = len(trials.accuracies)
    rest = f" +- {100 * trials.deviation:.2f}, worst {100 * min(trials.accuracies):.2f}" if count > 1 else ""
    what = _words(trials.devices) or "devices as the deck has them"
    return f"{what}: {100 * trials.mean:.2f} %{rest} ({count} chip{'s' * (count > 1)})"


def _words(devices: Devices) -> str:
    shares = [f"{_OVER[n]} {100 * getattr(devices, n):g} %" for n in _OVER if n != "levels" and getattr(devices, n)]
    return ", ".join([*shares, *([f"{devices.levels} levels"] if devices.levels else [])])


def _table(found: dict[str, list[Trials]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for run, points in found.items():
        writer.writerows({"run": run, **trials.to_json()} for trials in points)
    return text.getvalue()
