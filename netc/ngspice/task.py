"""The error of the task: samples of a data set through the whole network, in netc and in ngspice.

A feature multiplies what its source gives.  The gain of a linear source, or the value of a constant one, is multiplied
on its own line.  Any other source is moved to a node of its own, and a controlled source with the sample's amplitude as
gain takes its place.  Everything else runs as the author wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from netc.diagnostics import NetcError
from netc.ir.program import Timing
from netc.ngspice.bridge import DEFAULT_TIMEOUT, run
from netc.ngspice.compare import HYSTERESIS, signal_scale, spike_times
from netc.ngspice.netlist import ngspice_text
from netc.parse.ast import Deck
from netc.parse.numbers import read_plain

Forward = Callable[[np.ndarray, Sequence[str]], tuple[np.ndarray, np.ndarray]]
"""``forward(amplitudes (batch, features), names)`` gives times ``(rows,)`` and values ``(rows, batch, names)``."""

_ELEMENT = re.compile(r"(\S+?)[\s,]+([^\s,()=]+)[\s,]+([^\s,()=]+)(.*)", re.DOTALL)
_GAIN = re.compile(
    r"((?:[eg]\S*(?:[ \t]+[\w.#!:-]+){4}|[fh]\S*(?:[ \t]+[\w.#!:-]+){3})[ \t]+)([-+.\w]+)", re.IGNORECASE
)
_CONSTANT = re.compile(r"([vi]\S*(?:[ \t]+[\w.#!:-]+){2}[ \t]+(?:dc[ \t]+)?)([-+.\w]+)", re.IGNORECASE)
_PREFIX = "netc_drive"


@dataclass(frozen=True, slots=True)
class SampleAgreement:
    """One sample in both simulators.

    Attributes:
        label: what it is.
        classes: what it is taken for, (netc, ngspice).
        spikes: of all membranes together, (netc, ngspice).
        nrmse: by output, root-mean-square difference over the range in ngspice.
        by_membrane: spikes of each membrane in netc and in ngspice, ``(2, membranes)``.
    """

    label: int
    classes: tuple[int, int]
    spikes: tuple[int, int]
    nrmse: dict[str, float] = field(default_factory=dict)
    by_membrane: np.ndarray = field(default_factory=lambda: np.zeros((2, 0), dtype=np.int64))


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


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What a sample does to a network in one simulator.

    Attributes:
        outputs: volts, float64, ``(rows, classes)``.
        spikes: of each membrane, ``(membranes,)``.
    """

    outputs: np.ndarray
    spikes: np.ndarray


@dataclass(frozen=True, slots=True)
class Judge:
    """How a sample's waveforms are read.

    Attributes:
        outputs: nodes in class order; the class is the largest mean of log-softmax over time, as in training.
        membranes: nodes whose spikes count.
        logit_scale: what multiplies voltages before the softmax, 1/V.
        threshold: what a spike crosses, volts.
    """

    outputs: tuple[str, ...]
    membranes: tuple[str, ...]
    logit_scale: float
    threshold: float

    @property
    def names(self) -> tuple[str, ...]:
        """All nodes it looks at."""
        return tuple(dict.fromkeys([*self.outputs, *self.membranes]))

    def read(self, times: np.ndarray, found: Mapping[str, np.ndarray]) -> Reading:
        """Read waveforms by node, ``(rows,)`` each, on a grid of ``times`` in seconds."""
        outputs = np.stack([np.asarray(found[name], dtype=np.float64) for name in self.outputs], axis=1)
        spikes = [_spikes(times, found[name], self.threshold) for name in self.membranes]
        return Reading(outputs, np.array(spikes, dtype=np.int64))

    def compare(self, label: int, ours: Reading, theirs: Reading) -> SampleAgreement:
        """Compare what netc and ngspice make of a sample, on the same grid."""
        nrmse = {}
        for column, name in enumerate(self.outputs):
            difference = ours.outputs[:, column] - theirs.outputs[:, column]
            nrmse[name] = float(np.sqrt(np.mean(difference**2))) / signal_scale(theirs.outputs[:, column])
        return SampleAgreement(
            int(label),
            (self.winner(ours), self.winner(theirs)),
            (int(ours.spikes.sum()), int(theirs.spikes.sum())),
            nrmse,
            np.stack([ours.spikes, theirs.spikes]),
        )

    def winner(self, reading: Reading) -> int:
        """Return the class."""
        logits = self.logit_scale * reading.outputs[1:]
        logits = logits - logits.max(axis=1, keepdims=True)
        return int(np.argmax((logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).mean(axis=0)))


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
    """Run every sample through both, one after another, and compare the class found and the spikes.

    Args:
        deck: the parsed deck.
        forward: netc's side.
        timing: how long a sample takes.
        driven: sources in feature order, with the kind of their law, ``V`` or ``I``.
        outputs, membranes, logit_scale, threshold: see :class:`Judge`.
        amplitudes: ``(samples, features)``.
        labels: ``(samples,)``.
        dt: ngspice's largest step, seconds.
        engine, timeout: see :func:`netc.ngspice.bridge.run`.

    Raises:
        NetcError: where a driven source cannot be scaled in ngspice's netlist, or ngspice fails.
    """
    judge = Judge(tuple(outputs), tuple(membranes), logit_scale, threshold)
    names = judge.names
    times, values = forward(amplitudes, names)
    stimuli = Stimuli(ngspice_text(deck, replace(timing, tstart=0.0, tmax=dt), nodes=names), driven)
    samples = []
    for k, (row, label) in enumerate(zip(amplitudes, labels, strict=True)):
        waveforms = run(stimuli.scaled(row), nodes=names, timeout=timeout, engine=engine)
        ours = {name: values[:, k, column] for column, name in enumerate(names)}
        theirs = {name: np.interp(times, waveforms.times, waveforms.values[name]) for name in names}
        samples.append(judge.compare(label, judge.read(times, ours), judge.read(times, theirs)))
    return TaskAgreement(tuple(samples))


@dataclass(frozen=True, slots=True)
class _Source:
    """Lines ``first`` to ``last`` (from 0) of a driven source, and how it is scaled.

    ``plain``: the text before its number, and the number.  Else the first line with the source at a node of its own,
    and the lines that put it, scaled, where it was; their last word is the amplitude.
    """

    first: int
    last: int
    plain: tuple[str, float] | None
    moved: str = ""
    more: str = ""


class Stimuli:
    """ngspice's netlist, read once, for any sample."""

    def __init__(self, text: str, driven: Mapping[str, str]) -> None:
        """Find the sources ``driven`` (name to ``V`` or ``I``, in feature order) in ngspice's netlist.

        Raises:
            NetcError: for a source inside a subcircuit, or one that another element senses and that has to be moved.
        """
        if _PREFIX in text.lower():
            raise NetcError(f"the deck uses names that begin with {_PREFIX}, which netc needs for this comparison")
        self._lines = text.split("\n")
        first_word: dict[str, int] = {}
        depth = 0
        for number, line in enumerate(self._lines):
            word = line.split(None, 1)[0].lower() if line.strip() else ""
            depth += (word == ".subckt") - (word == ".ends")
            if not depth and word and not word.startswith("+"):
                first_word.setdefault(word.rstrip(","), number)
        sensed = {word for line in self._lines for word in _sensed(line)}
        self._sources = [
            self._source(k, name, kind, first_word.get(name), name in sensed)
            for k, (name, kind) in enumerate(driven.items())
        ]

    def _source(self, k: int, name: str, kind: str, place: int | None, sensed: bool) -> _Source:
        match = _ELEMENT.fullmatch(self._lines[place]) if place is not None else None
        if place is None or match is None:
            raise NetcError(f"the driven source {name!r} is not an element of the deck itself, so it cannot be scaled")
        last = place
        while last + 1 < len(self._lines) and self._lines[last + 1].startswith("+"):
            last += 1
        line = self._lines[place]
        if last == place and (plain := _GAIN.fullmatch(line) or _CONSTANT.fullmatch(line)):
            literal = read_plain(plain[2].lower())
            if not literal.problem and not literal.oddity:
                return _Source(place, last, (plain[1], literal.value))
        if sensed:
            raise NetcError(f"another element senses the current of the driven source {name!r}")
        _, one, two, rest = match.groups()
        own = f"{_PREFIX}{k}"
        if kind == "V":
            return _Source(place, last, None, f"{match.group(1)} {own} 0{rest}", f"e{own} {one} {two} {own} 0")
        more = f"r{own} {own} 0 1\ng{own} {one} {two} {own} 0"
        return _Source(place, last, None, f"{match.group(1)} 0 {own}{rest}", more)

    def scaled(self, amplitudes: Sequence[float] | np.ndarray) -> str:
        """Return the netlist with each driven source multiplied by its amplitude, shape ``(features,)``."""
        lines = list(self._lines)
        for source, amplitude in zip(self._sources, amplitudes, strict=True):
            if source.plain is not None:
                before, number = source.plain
                lines[source.first] = f"{before}{number * float(amplitude)!r}"
            else:
                lines[source.first] = source.moved
                lines[source.last] += f"\n{source.more} {float(amplitude)!r}"
        return "\n".join(lines)


def scaled(text: str, driven: Mapping[str, str], amplitudes: Sequence[float] | np.ndarray) -> str:
    """Return ngspice's netlist for one sample; see :class:`Stimuli`."""
    return Stimuli(text, driven).scaled(amplitudes)


def _sensed(line: str) -> list[str]:
    """Return the names of sources whose current a line reads: ``i(vname)``, or the fourth word of F, H and W."""
    words = line.lower().replace(",", " ").split()
    found = re.findall(r"\bi\(\s*([^\s()]+)\s*\)", line.lower()) if words and not words[0].startswith(".") else []
    if words and words[0][0] in "fhw" and len(words) > 3:
        found += words[3:]
    return found


def _spikes(times: np.ndarray, values: np.ndarray, threshold: float) -> int:
    room = min(float(values.max()) - threshold, threshold - float(values.min())) / 2
    return len(spike_times(times, values, threshold, max(0.0, min(HYSTERESIS * float(np.ptp(values)), room))))
