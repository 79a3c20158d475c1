"""The error of the task: samples of a data set through the whole network, in netc and in ngspice.

A feature scales the waveform of the source it drives.  For ngspice that source is moved to a node of its own and a
controlled source with the sample's amplitude as gain takes its place; everything else runs as the author wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from netc.diagnostics import NetcError
from netc.ir.program import Timing
from netc.ngspice.bridge import DEFAULT_TIMEOUT, run
from netc.ngspice.compare import HYSTERESIS, spike_times
from netc.ngspice.netlist import ngspice_text
from netc.parse.ast import Deck

Forward = Callable[[np.ndarray, Sequence[str]], tuple[np.ndarray, np.ndarray]]
"""``forward(amplitudes (batch, features), names)`` gives times ``(rows,)`` and values ``(rows, batch, names)``."""

_ELEMENT = re.compile(r"(\S+?)[\s,]+([^\s,()=]+)[\s,]+([^\s,()=]+)(.*)", re.DOTALL)
_PREFIX = "netc_drive"


@dataclass(frozen=True, slots=True)
class SampleAgreement:
    """One sample: its label, the classes found (netc, ngspice) and the spikes of all membranes (netc, ngspice)."""

    label: int
    classes: tuple[int, int]
    spikes: tuple[int, int]


@dataclass(frozen=True, slots=True)
class TaskAgreement:
    """All samples."""

    samples: tuple[SampleAgreement, ...]

    @property
    def same_class(self) -> int:
        """Number of samples of which both find the same class, right or wrong."""
        return sum(s.classes[0] == s.classes[1] for s in self.samples)

    @property
    def spike_difference(self) -> float:
        """The mean difference of the number of spikes of a sample."""
        return float(np.mean([abs(s.spikes[0] - s.spikes[1]) for s in self.samples]))


def compare_task(
    deck: Deck,
    forward: Forward,
    timing: Timing,
    driven: Mapping[str, str],
    outputs: Sequence[str],
    membranes: Sequence[str],
    amplitudes: np.ndarray,
    labels: Sequence[int],
    *,
    dt: float,
    logit_scale: float,
    threshold: float,
    engine: str = "auto",
    timeout: float = DEFAULT_TIMEOUT,
) -> TaskAgreement:
    """Run every sample through both and compare the class found and the spikes.

    Args:
        deck: the parsed deck.
        forward: netc's side.
        timing: how long a sample takes.
        driven: sources in feature order, with the kind of their law, ``V`` or ``I``.
        outputs: nodes in class order; the class is the largest mean of log-softmax over time, as in training.
        membranes: nodes whose spikes count.
        amplitudes: ``(samples, features)``.
        labels: ``(samples,)``.
        dt: ngspice's largest step, seconds.
        logit_scale: what multiplies voltages before the softmax, 1/V.
        threshold: what a spike crosses, volts.
        engine, timeout: see :func:`netc.ngspice.bridge.run`.

    Raises:
        NetcError: where a driven source cannot be scaled in ngspice's netlist, or ngspice fails.
    """
    names = tuple(dict.fromkeys([*outputs, *membranes]))
    times, values = forward(amplitudes, names)
    text = ngspice_text(deck, replace(timing, tstart=0.0, tmax=dt), nodes=names)
    samples = []
    for k, (row, label) in enumerate(zip(amplitudes, labels, strict=True)):
        waveforms = run(scaled(text, driven, row), nodes=names, timeout=timeout, engine=engine)
        mine = {name: values[:, k, column] for column, name in enumerate(names)}
        theirs = {name: np.interp(times, waveforms.times, waveforms.values[name]) for name in names}
        classes = tuple(_class(found, outputs, logit_scale) for found in (mine, theirs))
        counts = tuple(sum(_spikes(times, found[n], threshold) for n in membranes) for found in (mine, theirs))
        samples.append(SampleAgreement(int(label), (classes[0], classes[1]), (counts[0], counts[1])))
    return TaskAgreement(tuple(samples))


def scaled(text: str, driven: Mapping[str, str], amplitudes: Sequence[float] | np.ndarray) -> str:
    """Return ngspice's netlist with the sources ``driven`` (name to ``V`` or ``I``) multiplied by ``amplitudes``.

    Raises:
        NetcError: for a source inside a subcircuit, or one whose current another element senses.
    """
    if _PREFIX in text.lower():
        raise NetcError(f"the deck uses names that begin with {_PREFIX}, which netc needs for this comparison")
    lines = text.split("\n")
    first_word: dict[str, int] = {}
    depth = 0
    for number, line in enumerate(lines):
        word = line.split(None, 1)[0].lower() if line.strip() else ""
        depth += (word == ".subckt") - (word == ".ends")
        if not depth and word and not word.startswith("+"):
            first_word.setdefault(word.rstrip(","), number)
    sensed = {word for line in lines for word in _sensed(line)}
    for k, ((name, kind), amplitude) in enumerate(zip(driven.items(), amplitudes, strict=True)):
        place = first_word.get(name)
        match = _ELEMENT.fullmatch(lines[place]) if place is not None else None
        if place is None or match is None:
            raise NetcError(f"the driven source {name!r} is not an element of the deck itself, so it cannot be scaled")
        if name in sensed:
            raise NetcError(f"another element senses the current of the driven source {name!r}")
        _, one, two, rest = match.groups()
        own = f"{_PREFIX}{k}"
        last = place + 1
        while last < len(lines) and lines[last].startswith("+"):
            last += 1
        gain = repr(float(amplitude))
        if kind == "V":
            lines[place] = f"{match.group(1)} {own} 0{rest}"
            more = [f"e{own} {one} {two} {own} 0 {gain}"]
        else:
            lines[place] = f"{match.group(1)} 0 {own}{rest}"
            more = [f"r{own} {own} 0 1", f"g{own} {one} {two} {own} 0 {gain}"]
        lines[last - 1] = "\n".join([lines[last - 1], *more])
    return "\n".join(lines)


def _sensed(line: str) -> list[str]:
    """Return the names of sources whose current a line reads: ``i(vname)``, or the fourth word of F, H and W."""
    words = line.lower().replace(",", " ").split()
    found = re.findall(r"\bi\(\s*([^\s()]+)\s*\)", line.lower()) if words and not words[0].startswith(".") else []
    if words and words[0][0] in "fhw" and len(words) > 3:
        found += words[3:]
    return found


def _class(found: Mapping[str, np.ndarray], outputs: Sequence[str], scale: float) -> int:
    logits = scale * np.stack([found[name] for name in outputs], axis=1)[1:]
    logits = logits - logits.max(axis=1, keepdims=True)
    return int(np.argmax((logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).mean(axis=0)))


def _spikes(times: np.ndarray, values: np.ndarray, threshold: float) -> int:
    room = min(float(values.max()) - threshold, threshold - float(values.min())) / 2
    return len(spike_times(times, values, threshold, max(0.0, min(HYSTERESIS * float(np.ptp(values)), room))))
