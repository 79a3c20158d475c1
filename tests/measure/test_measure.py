"""``.measure``: on waveforms known in closed form, and on a circuit against the results ngspice prints."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from netc.elaborate import elaborate
from netc.elaborate.circuit import Circuit
from netc.measure import Result, evaluate, observed
from netc.parse import parse_text
from tests.cli.runner import netc

TIMES = np.linspace(0.0, 2e-3, 2001)
SIGNALS = {
    "a": np.sin(2e3 * math.pi * TIMES),
    "b": np.cos(2e3 * math.pi * TIMES),
    "ramp": TIMES * 1e3,
    "i(r1)": TIMES,
}


def circuit(measures: str, dialect: str = "ngspice") -> Circuit:
    cards = "V1 a 0 1\nR1 a b 1\nR2 b ramp 1\nR3 ramp 0 1\n.param level=0.5\n"
    return elaborate(parse_text(f"t\n{cards}{measures}\n.tran 1u 2m\n", dialect=dialect))


def results(measures: str, dialect: str = "ngspice") -> dict[str, Result]:
    found = circuit(measures, dialect).measures
    return {result.name: result for result in evaluate(found, TIMES, SIGNALS)}


VALUES = {
    "when v(a)=0.5": 1 / 12e3,
    "when v(a)=level rise=2": 1e-3 + 1 / 12e3,
    "when v(a)={level} fall=1": 5 / 12e3,
    "when v(a)=0.5 cross=3": 1e-3 + 1 / 12e3,
    "when v(a)=0.5 fall=last": 1e-3 + 5 / 12e3,
    "when v(a)=0.5 td=0.2m": 5 / 12e3,
    "when v(a)=v(b) rise=1": 1 / 8e3,
    "when v(a)=v(b) fall=1": 5 / 8e3,
    "when v(a)=0 fall=1": 0.5e-3,
    "when v(a)=0 rise=1": 0.0,
    "find v(ramp) at=0.3m": 0.3,
    "find v(ramp) when v(a)=0.5": 1 / 12,
    "find v(b,a) at=1m": 1.0,
    "find i(r1) at=1.5m": 1.5e-3,
    "find par('v(ramp)*2+level') at=1m": 2.5,
    "trig v(a) val=0 fall=1 targ v(b) val=0 rise=1": 0.25e-3,
    "trig at=0.1m targ v(a) val=0.5 fall=1": 5 / 12e3 - 1e-4,
    "deriv v(a) at=1m": 2e3 * math.pi,
    "derivative v(ramp) at=0": 1e3,
    "deriv v(b) when v(a)=0 fall=1": 0.0,
    "min v(a)": -1.0,
    "max v(a) from=0.5m to=1m": 0.0,
    "min_at v(a)": 0.75e-3,
    "max_at v(a)": 0.25e-3,
    "pp v(a)": 2.0,
    "avg v(ramp) from=0.5m to=1.5m": 1.0,
    "avg v(a) from=0 to=0.5m": 2 / math.pi,
    "rms v(a)": math.sqrt(0.5),
    "integ v(ramp)": 2e-3,
    "integral v(ramp) from=0 to=1m": 0.5e-3,
    "avg v(ramp) trig v(a) val=0 fall=1 targ v(b) val=0 rise=1": 0.625,
    "param='level*3'": 1.5,
}


@pytest.mark.parametrize("text", VALUES)
def test_values(text: str) -> None:
    found = results(f".measure tran m {text}")["m"]
    assert found.value == pytest.approx(VALUES[text], rel=2e-5, abs=1e-8), found.reason


def test_results_are_names_in_later_measures() -> None:
    text = ".meas tran first when v(a)=0.5\n.meas tran gap param='first*2'\n.meas tran x find v(ramp) at=gap"
    found = results(text)
    assert found["gap"].value == pytest.approx(1 / 6e3, rel=1e-5)
    assert found["x"].value == pytest.approx(1 / 6, rel=1e-5)


def test_ltspice_writes_expressions_and_leaves_the_analysis_out() -> None:
    text = ".meas m AVG V(ramp)*2 TRIG V(a)=0 FALL=1 TARG V(b)=0 RISE=1\n.meas TRAN n PARAM m*2\n"
    found = results(text + ".meas o FIND V(ramp)-V(a) AT=1m", "ltspice")
    found |= results(".meas p avg v(ramp) FROM 0.5m TO 1.5m\n.meas td find v(ramp) when v(a) = 0.5 RISE 1", "ltspice")
    assert found["p"].value == pytest.approx(1.0, rel=1e-5)
    assert found["td"].value == pytest.approx(1 / 12, rel=1e-5)
    assert found["m"].value == pytest.approx(1.25, rel=1e-5)
    assert found["n"].value == pytest.approx(2.5, rel=1e-5)
    assert found["o"].value == pytest.approx(1.0, rel=1e-5)


FAILED = {
    "when v(a)=5": "the level is not crossed",
    "when v(a)=0.5 rise=7": "the level is crossed 2 times",
    "find v(a) at=1": "outside of what was simulated",
    "max v(a) from=2 to=1": "nothing lies between",
    "param='nothing'": None,
    "when v(a)=0 rise=0": "counted from 1",
    "param='1/(level-0.5)'": "not a finite number",
}


@pytest.mark.parametrize("text", FAILED)
def test_failures_have_reasons(text: str) -> None:
    reason = FAILED[text]
    found = results(f".measure tran m {text}")
    if reason is None:
        assert found == {}
        return
    assert found["m"].value is None
    assert reason in found["m"].reason


def test_what_depends_on_a_failure_fails() -> None:
    found = results(".meas tran x when v(a)=5\n.meas tran y param='x+1'")
    assert found["y"].value is None and "'x'" in found["y"].reason


LEFT_OUT = {
    ".meas tran m max v(nowhere)": "no node 'nowhere'",
    ".meas tran m max i(r9)": "no element 'r9'",
    ".meas tran m err1 v(a) v(b)": "no measurement 'err1'",
    ".meas tran m deriv v(a)": "where to find it",
    ".meas tran m find v(a)": "where to find it",
    ".meas tran m trig v(a) val=1": "both trig and targ",
    ".meas tran m when v(a)": "has no level",
    ".meas m max v(a)": "--dialect ltspice",
    ".meas ac m max v(a)": "another analysis",
    ".meas tran m max v(a) rise=1": "does not belong here",
    ".meas tran m max ddt(v(a))": "derivative",
}


@pytest.mark.parametrize("text", LEFT_OUT)
def test_a_measure_that_cannot_be_read_is_left_out_with_a_warning(text: str) -> None:
    found = circuit(text)
    assert found.measures == []
    said = [f"{d.message} {d.hint}" for d in found.diagnostics if d.span and d.span.line == 7]
    assert len(said) == 1 and LEFT_OUT[text] in said[0]


DECK = """measures
V1 in 0 sin(0 1 1k)
R1 in out 1k
C1 out 0 0.1u
.param lim=0.3
.meas tran t1 when v(out)=0.5
.meas tran t2 when v(out)=0.5 rise=2
.meas tran t3 when v(out)=0.5 fall=last
.meas tran t4 when v(out)=0.5 cross=3
.meas tran d1 trig v(in) val=0.5 rise=1 targ v(out) val=0.5 rise=1
.meas tran d2 trig at=1m targ v(out) val=0 fall=2 td=1m
.meas tran d3 trig v(out) val='lim' rise=1 targ v(out) val='lim*2' rise=1
.meas tran f2 find v(in) when v(out)=0.2 rise=2
.meas tran f3 find i(v1) when v(out)=0.2 cross=last
.meas tran m1 min v(out) from=1m to=2m
.meas tran m2 max v(out) from=1m to=2m
.meas tran m3 pp v(out) from=1m to=2m
.meas tran m4 avg v(out) from=0 to=0.5m
.meas tran m5 rms v(out) from=1m to=2m
.meas tran m6 integ v(out) from=0 to=0.4m
.meas tran m7 min_at v(out) from=1m to=2m
.meas tran m8 max_at v(out)
.meas tran q1 param='m3*2+lim'
.meas tran q2 max par('v(in)-v(out)')
.meas tran q6 find par('v(in)*2') at=1.1m
.meas tran f7 when v(out)=0.5 td=1.5m
.tran 1u 3m 0 1u
.end
"""


@pytest.mark.ngspice
@pytest.mark.skipif(shutil.which("ngspice") is None, reason="ngspice is not installed")
def test_simulate_measures_what_ngspice_does(tmp_path: Path) -> None:
    path = tmp_path / "deck.cir"
    path.write_text(DECK)
    done = subprocess.run(["ngspice", "-b", str(path)], capture_output=True, text=True, timeout=60)
    wanted = {name: float(value) for name, value in re.findall(r"^(\w+) +=\s+(\S+)", done.stdout, re.MULTILINE)}
    ran = netc("simulate", path, "--dt", "0.2u", "-o", tmp_path / "m.csv", "--json", tmp_path / "m.json", "--no-cache")
    assert ran.code == 0, ran.err
    found = json.loads((tmp_path / "m.json").read_text())["measures"]
    assert len(found) == DECK.count(".meas")
    for name, result in found.items():
        assert result["value"] == pytest.approx(wanted[name], rel=2e-3), name
        assert f"{name} = " in ran.out


def test_currents_that_only_a_measure_needs_are_simulated(tmp_path: Path) -> None:
    path = tmp_path / "deck.cir"
    path.write_text("t\nV1 a 0 2\nR1 a b 1\nC1 b 0 1\n.meas tran m find i(R1) at=1u\n.tran 1u 2u uic\n.save v(b)\n")
    ran = netc("simulate", path, "--no-cache")
    assert ran.out.splitlines()[0] == "time,b"
    assert "m = 1.999998" in ran.err
    assert observed(elaborate(parse_text(path.read_text())).measures) == ["i(r1)"]
