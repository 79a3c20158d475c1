"""Energy of an inference: voltage times current of every element, as simulated, integrated over a sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.data import Dataset
from netc.elaborate.circuit import Circuit
from netc.ir.interpret import simulate
from netc.lower import lower
from netc.lower.lower import power_name
from netc.optimise import optimise
from netc.training import inputs
from netc.training.saved import SavedRun

STATE = "equations of device states"
SWITCHED = 0.5  # of a device's state, which goes from 0 to 1: crossing it upwards is a switching event
ENDURANCE = 1e9  # switching events a device lasts for; assumed
_SOURCES = "VIEFGHB"


@dataclass(frozen=True, slots=True)
class Group:
    """Elements whose names differ by numbers only.

    Attributes:
        pattern: of the names.
        kind: what they are.
        elements: how many.
        energy: they took up over a sample, mean of the samples, J; negative for what delivers.
    """

    pattern: str
    kind: str
    elements: int
    energy: float


def groups(circuit: Circuit) -> dict[str, tuple[str, int]]:
    """Return kind and number of the elements behind each power (:func:`netc.lower.lower.power_name`)."""
    states = state_nets(circuit)
    trained = {t.branch for t in circuit.trained if t.branch is not None}
    kinds: dict[str, str] = {}
    count: Counter[str] = Counter()
    for number, branch in enumerate(circuit.branches):
        if branch.law.kind in ("D", "S"):
            continue
        name = power_name(branch.name)
        count[name] += 1
        law = branch.law
        kind = _kind(law.letter, law.kind, bool(branch.voltages), number in trained)
        kinds[name] = STATE if states & set(branch.nets) else kind
    return {name: (kinds[name], count[name]) for name in kinds}


def state_nets(circuit: Circuit) -> set[int]:
    """Return nets that stand for a device's state: 1 F to ground, driven by currents from ground, and nothing else."""
    ends: dict[int, list[int]] = {}
    for number, branch in enumerate(circuit.branches):
        for net in branch.nets:
            ends.setdefault(net, []).append(number)
    found = set()
    for net, members in ends.items():
        branches = [circuit.branches[k] for k in members]
        farad = any(b.law.kind == "C" and len(b.values) == 1 and circuit.number(b.values[0]) == 1.0 for b in branches)
        grounded = all(0 in b.nets and b.law.kind in ("C", "I", "R") for b in branches)
        if net and farad and grounded and any(b.law.kind == "I" for b in branches):
            found.add(net)
    return found


def _kind(letter: str, kind: str, controlled: bool, trained: bool) -> str:
    if trained and kind == "R":
        return "trained resistors (synapses)"
    if letter in "DMQJ":
        return "diodes and transistors"
    if letter in "GB" and kind == "I":
        return "memristors and other controlled currents"
    plain = {"R": "other resistors", "C": "capacitors", "L": "inductors"}
    if kind in plain and letter not in _SOURCES:
        return "memristors and other controlled resistors" if kind == "R" and controlled else plain[kind]
    return "sources" if letter in "VI" else "controlled sources (buffers, mirrors)"


def measure(saved: SavedRun, dataset: Dataset, samples: int) -> dict[str, Any]:
    """Return the energy of the first test samples by kind of element, as plain JSON values.

    netc's own equations give voltage and current of every element at every step; their product is integrated by the
    trapezoidal rule.

    Args:
        saved: the run.
        dataset: its test samples are used.
        samples: how many.
    """
    compilation = saved.compilation
    found = groups(compilation.circuit)
    program = compilation.start(optimise(lower(compilation.circuit, powers=True)))
    given = np.asarray(dataset.test_x[:samples], dtype=np.float64)
    steps = saved.steps.count
    if given.ndim > 2:
        hold = inputs.steps_a_frame(steps, dataset)
        given = given.swapaxes(0, 1).repeat(hold, axis=0)
        steps = len(given)
    names = [lane for o in program.observables if o.unit == "W" for lane in o.lanes]
    learnt = {block.name for block in compilation.program.parameters if block.trained is not None}
    values = {
        name: value.detach().double().cpu().numpy() for name, value in saved.module.values().items() if name in learnt
    }
    states = [compilation.circuit.nets[net] for net in sorted(state_nets(compilation.circuit))]
    rows, _ = simulate(program, steps, saved.steps.dt, given, observe=[*names, *states], values=values)
    power, traces = rows[..., : len(names)], rows[..., len(names) :]
    energy = np.trapezoid(power, dx=saved.steps.dt, axis=0).mean(axis=0)
    each = [Group(name[2:-1], *found[name], float(joules)) for name, joules in zip(names, energy, strict=True)]
    return {**summary(each, int(power.shape[1]), steps * saved.steps.dt), "switching": switching(traces)}


def switching(states: np.ndarray, endurance: float = ENDURANCE) -> dict[str, Any] | None:
    """Return how often device states ``(rows, samples, devices)`` rise through one half; ``None`` without devices."""
    if not states.shape[-1]:
        return None
    events = ((states[1:] >= SWITCHED) & (states[:-1] < SWITCHED)).sum(axis=0)
    mean = events.mean(axis=0)
    busiest = float(mean.max())
    return {
        "devices": int(states.shape[-1]),
        "events_a_device": float(mean.mean()),
        "events_busiest": busiest,
        "never_switched": float((mean == 0).mean()),
        "highest_state": float(states.max()),
        "threshold": SWITCHED,
        "endurance": endurance,
        "samples_to_wear_out": endurance / busiest if busiest else None,
    }


def summary(each: Sequence[Group], samples: int, seconds: float) -> dict[str, Any]:
    """Return sums by kind and the groups themselves; ``dissipated`` is what everything but states and sources took."""
    kinds: dict[str, dict[str, float]] = {}
    for group in each:
        kind = kinds.setdefault(group.kind, {"elements": 0, "joules": 0.0})
        kind["elements"] += group.elements
        kind["joules"] += group.energy
    real = {name: kind["joules"] for name, kind in kinds.items() if name != STATE}
    dissipated = sum(joules for name, joules in real.items() if "source" not in name)
    return {
        "samples": samples,
        "seconds": seconds,
        "by_kind": dict(sorted(kinds.items(), key=lambda entry: -abs(entry[1]["joules"]) * (entry[0] != STATE))),
        "groups": [
            {"names": g.pattern, "kind": g.kind, "elements": g.elements, "joules": g.energy}
            for g in sorted(each, key=lambda g: -abs(g.energy) * (g.kind != STATE))
        ],
        "taken_up": dissipated,
        "mean_power": dissipated / seconds,
        "balance": sum(g.energy for g in each),
        "assumptions": [
            "voltage times current of every element in netc's solution at its own step, by the trapezoidal rule",
            "sources and controlled sources are ideal: a real buffer or mirror takes more than it delivers",
            "a node of 1 F that only current sources drive is a device's state, an equation, and takes no energy",
            "no energy of clocks, of programming, of reading out, or of anything the deck does not have",
        ],
    }
