"""Make the reference waveforms anew: ``python -m tests.conformance.remake [NAME ...] [--missing]``.

Each deck runs in ngspice with reltol 1e-6, abstol 1e-15, vntol 1e-9 and a maximum step of 1/2000 of the run, then of a
half, a quarter and so on.  ngspice's own error is estimated from the last two (Richardson: a third of their difference,
for the trapezoidal rule is of order 2); a reference is taken once that is below a fifth of what netc may be off.
Steps of ngspice that are no error of its method, such as a switch that opens one step late, shrink as well, if slower.

Besides, ngspice runs the deck as it stands, with its own tolerances and steps and, for decks of other dialects, in its
compatibility mode.  That is far less exact, but nothing of netc has touched the text: a deck that netc misreads shows.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeGuard

import numpy as np

from netc.diagnostics import NetcError
from netc.elaborate.circuit import Branch, Circuit
from netc.ir.interpret import evaluate
from netc.ir.nodes import Expr, Slot, Time, postorder
from netc.ngspice.bridge import Waveforms, run, signal_name
from netc.ngspice.compare import signal_scale
from netc.ngspice.locate import find_ngspice
from netc.ngspice.netlist import ngspice_text
from netc.ngspice.rawfile import read_raw
from tests.conformance.suite import MODELS, REFERENCES, ConformanceDeck, Reference, decks, sample_times

COARSEST = 2000
FINEST = 512_000
SHARE_OF_LIMIT = 0.2
SUSPICIOUS = 0.03
"""Difference between the reference and the deck as it stands from which on somebody should look."""

_MODES = {"ngspice": "", "ltspice": "ltpsa", "pspice": "psa", "hspice": "hsa"}


def is_linear(circuit: Circuit) -> bool:
    """Whether every element is linear and none changes with time but the independent sources."""
    chance = np.random.default_rng(0)
    return all(_is_linear(circuit, branch, chance) for branch in {b.law: b for b in circuit.branches}.values())


def _is_linear(circuit: Circuit, branch: Branch, chance: np.random.Generator) -> bool:
    leaves = [leaf for leaf in postorder(branch.law.template) if isinstance(leaf, Slot | Time)]
    signals = [leaf for leaf in leaves if isinstance(leaf, Slot) and leaf.kind in ("voltage", "current")]
    if not signals:
        return True
    if branch.law.kind in "RCL":
        return False
    values: dict[Expr, float] = {leaf: circuit.number(branch.values[leaf.index]) for leaf in leaves if _is_value(leaf)}

    def law(time: float, at: np.ndarray) -> float:
        known: dict[Expr, np.ndarray] = {leaf: np.array([values.get(leaf, time)]) for leaf in leaves}
        known |= {leaf: np.array([x]) for leaf, x in zip(signals, at, strict=True)}
        return float(np.asarray(evaluate([branch.law.template], known)[0]).reshape(-1)[0])

    with np.errstate(all="ignore"):
        for scale in np.repeat([1e-3, 0.1, 1.0, 10.0], 5):
            a, b = chance.normal(0, scale, (2, len(signals)))
            one, two = chance.uniform(0, 1e-3, 2)
            parts = [law(one, a) - law(one, 0 * a), law(two, b) - law(two, 0 * b)]
            if not abs(law(one, a + b) - law(one, 0 * a) - sum(parts)) <= 1e-9 * max(map(abs, parts)):
                return False
    return True


def _is_value(leaf: Slot | Time) -> TypeGuard[Slot]:
    return isinstance(leaf, Slot) and leaf.kind == "value"


def reference_of(deck: ConformanceDeck, *, finest: int = FINEST, share: float = SHARE_OF_LIMIT) -> Reference:
    """Run ngspice with ever shorter steps until its own error is small enough.

    Raises:
        NetcError: ngspice fails, or its error stays too large.
    """
    times, names, linear = sample_times(deck.timing), deck.signals, is_linear(deck.compilation.circuit)
    version = find_ngspice().version or ""
    parts, before, found = COARSEST, None, None
    while parts <= finest:
        waveforms = _tight(deck, names, deck.timing.tstop / parts)
        scales = np.array([signal_scale(waveforms.values[name]) for name in names])
        values = _sampled(waveforms, times, names)
        if before is not None:
            error = float(np.max(np.sqrt(np.mean((values - before) ** 2, axis=0)) / scales)) / 3
            found = Reference(times, names, values, scales, linear, error, version)
            if error <= share * found.limit:
                return found
        before, parts = values, parts * 2
    assert found is not None
    raise NetcError(f"the error of ngspice is still {found.error:.2g} of a signal's range with steps of 1/{parts // 2}")


def _tight(deck: ConformanceDeck, names: tuple[str, ...], tmax: float) -> Waveforms:
    timing = replace(deck.timing, tstart=0.0, tmax=tmax)
    return run(ngspice_text(deck.compilation.deck, timing, nodes=names), nodes=names, engine="batch", timeout=120.0)


def _sampled(waveforms: Waveforms, times: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    return np.stack([np.interp(times, waveforms.times, waveforms.values[name]) for name in names], axis=1)


def as_it_stands(deck: ConformanceDeck, reference: Reference) -> dict[str, float]:
    """Return the NRMSE between the reference and ngspice on the deck's own file, by signal; none that is not there.

    Raises:
        NetcError: ngspice gives no waveform.
    """
    executable = find_ngspice().executable
    assert executable is not None
    with tempfile.TemporaryDirectory(prefix="netc-conformance-") as name:
        folder = Path(name)
        raw, text = folder / "out.raw", deck.path.read_bytes()
        commands = [f"codemodel {path}" for path in find_ngspice().code_models]
        if mode := _MODES[deck.dialect]:
            commands.append(f"set ngbehavior={mode}")
        commands.append(f"set sourcepath = ( {deck.path.parent} {MODELS} )")
        (folder / "spinit").write_text("\n".join(["* settings", *commands]) + "\n", encoding="utf-8")
        copy = deck.path
        arguments = ["-r", str(raw)]
        if re.search(rb"^\s*\.endc", text, re.MULTILINE | re.IGNORECASE):
            copy, arguments = folder / "deck.cir", []
            ended = re.sub(rb"(?im)^\s*(plot|print|write|wrdata|gnuplot|quit|hardcopy)\b.*$", b"", text)
            copy.write_bytes(re.sub(rb"(?im)^\s*\.endc", f"write {raw} all\n.endc".encode(), ended))
        environment = {"SPICE_SCRIPTS": str(folder), "HOME": str(folder), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
        command = [executable, "-b", *arguments, str(copy)]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=120, check=False)
        if not raw.is_file() or not raw.stat().st_size:
            said = (done.stderr + done.stdout).decode("utf-8", "replace").strip().splitlines()
            raise NetcError(f"no waveform: {' | '.join(said[-3:])}")
        try:
            vectors, rows = read_raw(raw)
        except ValueError:  # a header and nothing behind it
            raise NetcError("no points in ngspice's raw file") from None
    table = {signal_name(vector): row for vector, row in zip(vectors, rows, strict=True)}
    kept = reference.times >= table["time"][0]
    found = {}
    for column, (signal, scale) in enumerate(zip(reference.names, reference.scales, strict=True)):
        if signal in table:
            mine = np.interp(reference.times, table["time"], table[signal])
            found[signal] = float(np.sqrt(np.mean((mine - reference.values[:, column])[kept] ** 2)) / scale)
    return found


def main(arguments: list[str], say: Callable[[str], None] = print) -> int:
    """Make references of all decks, or of those named; return 1 where one could not be made."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.remake", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="decks; all when none is named")
    parser.add_argument("--missing", action="store_true", help="only decks without a reference")
    asked = parser.parse_args(arguments)
    suite, failures = decks(), 0
    REFERENCES.mkdir(exist_ok=True)
    for name in asked.names or suite:
        deck = suite[name]
        if asked.missing and deck.reference_file.exists():
            continue
        try:
            reference = reference_of(deck)
        except NetcError as error:
            failures += 1
            say(f"{name}: {error}")
            continue
        reference.write(deck.reference_file)
        kind = "linear" if reference.linear else "non-linear"
        say(f"{name}: {kind}, own error {reference.error:.1g}{_doubt(deck, reference)}")
    if not asked.names:
        for file in REFERENCES.glob("*.npz"):
            if file.stem not in suite:
                file.unlink()
                say(f"{file.stem}: removed, there is no such deck")
    return min(failures, 1)


def _doubt(deck: ConformanceDeck, reference: Reference) -> str:
    try:
        found = as_it_stands(deck, reference)
    except (NetcError, subprocess.TimeoutExpired) as error:
        return f"; as it stands: {error}"
    if not found:
        return "; as it stands it gives none of the signals"
    worst = max(found, key=lambda name: found[name])
    mark = "LOOK: " if found[worst] > SUSPICIOUS else ""
    return f"; {mark}as it stands it differs by {found[worst]:.2g} at {worst}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
