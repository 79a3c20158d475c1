"""Energy by kind of element: what netc integrates is what ngspice does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netc.compiler import compile_deck
from netc.ir.interpret import simulate
from netc.lower import lower
from netc.ngspice.bridge import run
from netc.ngspice.locate import find_ngspice
from netc.ngspice.netlist import ngspice_text
from netc.optimise import optimise
from netc.report.energy import STATE, Group, groups, summary, switching

_DECK = """two devices and a neuron
v1 w 0 PULSE(0 0.5 95u 10u 10u 2m 5m)
r1 w m 10k
r2 w m 40k
c1 m 0 100n IC=0
gm m 0 cur={v(m)*(v(x)/1k+(1-v(x))/100k)}
cx x 0 1 IC=0
bx 0 x i=((1-v(x))*u(v(m)-0.2)-v(x)*0.5)/1m
e1 o 0 m 0 1
ro o 0 5k
.tran 1u 5m 0 1u uic
.end
"""


@pytest.fixture()
def deck(tmp_path: Path) -> Path:
    path = tmp_path / "deck.cir"
    path.write_text(_DECK)
    return path


def _energies(path: Path) -> dict[str, float]:
    compilation = compile_deck(path)
    program = compilation.start(optimise(lower(compilation.circuit, powers=True)))
    names = [lane for o in program.observables if o.unit == "W" for lane in o.lanes]
    power, _ = simulate(program, 5000, 1e-6, observe=names)
    return dict(zip(names, np.trapezoid(power[:, 0], dx=1e-6, axis=0).tolist(), strict=True))


def test_what_is_delivered_is_taken_up(deck: Path) -> None:
    found = _energies(deck)
    assert set(found) == {"p(v#)", "p(r#)", "p(c#)", "p(gm)", "p(cx)", "p(bx)", "p(e#)", "p(ro)"}
    assert abs(sum(found.values())) < 1e-9 * max(map(abs, found.values()))
    assert found["p(v#)"] < 0 < min(found["p(r#)"], found["p(gm)"], found["p(ro)"])
    assert found["p(e#)"] == pytest.approx(-found["p(ro)"], rel=1e-9)


@pytest.mark.ngspice
@pytest.mark.skipif(not find_ngspice().engines, reason="ngspice is not installed")
def test_ngspice_integrates_to_the_same(deck: Path) -> None:
    found = _energies(deck)
    compilation = compile_deck(deck)
    assert compilation.circuit.timing is not None
    text = ngspice_text(compilation.deck, compilation.circuit.timing, nodes=["w", "m", "x", "o", "i(v1)", "i(e1)"])
    waves = run(text)
    v, i = waves.values, {k: waves.values[f"i({k})"] for k in ("v1", "e1")}
    across = v["w"] - v["m"]
    powers = {
        "p(r#)": across**2 * (1 / 10e3 + 1 / 40e3),
        "p(gm)": v["m"] ** 2 * (v["x"] / 1e3 + (1 - v["x"]) / 100e3),
        "p(v#)": v["w"] * i["v1"],
        "p(ro)": v["o"] ** 2 / 5e3,
        "p(e#)": v["o"] * i["e1"],
    }
    for name, power in powers.items():
        assert found[name] == pytest.approx(np.trapezoid(power, waves.times), rel=5e-3), name


def test_kinds_and_states(deck: Path) -> None:
    found = groups(compile_deck(deck).circuit)
    assert found["p(r#)"] == ("other resistors", 2) and found["p(c#)"] == ("capacitors", 1)
    assert found["p(cx)"] == found["p(bx)"] == (STATE, 1)
    assert found["p(gm)"][0].startswith("memristors") and found["p(v#)"] == ("sources", 1)
    each = [Group("r", "other resistors", 2, 3e-6), Group("v", "sources", 1, -3e-6), Group("cx", STATE, 1, 0.5)]
    told = summary(each, 1, 2.0)
    assert told["taken_up"] == 3e-6 and told["mean_power"] == 1.5e-6 and told["balance"] == 0.5


def test_a_device_switches_when_its_state_rises_through_a_half() -> None:
    up = np.array([0.0, 0.6, 0.4, 0.7, 0.7])
    told = switching(np.stack([up, np.zeros(5)], axis=-1)[:, None, :], endurance=1e6)
    assert told is not None and told["events_busiest"] == 2 and told["events_a_device"] == 1
    assert told["never_switched"] == 0.5 and told["samples_to_wear_out"] == 5e5
    assert switching(np.zeros((5, 1, 0))) is None
