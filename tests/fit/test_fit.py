"""Fits: parameters that made a measurement are found again; ngspice plays the device that was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from netc.diagnostics import NetcError
from netc.fit import FitOptions, Measurement, find_model, fit, read_measurement, rewritten
from netc.fit.device import Bank
from netc.fit.scales import Scale, choose
from netc.ngspice import run

MODELS = Path(__file__).resolve().parents[2] / "models"
VTEAM = MODELS / "vteam.lib"
TRUE = {"ron": 1800.0, "roff": 20e3, "voff": 0.5, "koff": 120.0, "kon": -300.0, "x0": 0.4}


def _measured(noise: float, points: int = 240) -> Measurement:
    """Return what ngspice says of a device under two periods of a growing sine."""
    time = np.linspace(0.0, 40e-3, points)
    voltage = np.sin(2 * np.pi * 50 * time) * np.where(time < 20e-3, 0.9, 1.2)
    corners = " ".join(f"{t:.9g} {v:.9g}" for t, v in zip(time, voltage, strict=True))
    given = " ".join(f"{name}={value!r}" for name, value in TRUE.items())
    body = VTEAM.read_text(encoding="utf-8")
    text = f"device\n{body}\nv1 p 0 PWL({corners})\nx1 p 0 vteam {given}\n.tran 20u 40m 0 20u uic\n.end\n"
    found = run(text, nodes=["i(v1)"])
    current = -np.interp(time, found.times, found.values["i(v1)"])
    current += np.random.default_rng(1).normal(0.0, noise * np.ptp(current), points)
    return Measurement("ngspice", "sweep", time, voltage, time, current)


def test_parameters_are_found_again_from_noisy_currents() -> None:
    fixed = {"von": -0.4, "aoff": 3.0, "aon": 3.0, "pw": 2.0}
    result = fit(find_model(VTEAM), [_measured(0.005)], FitOptions(fixed=fixed, starts=4, iterations=80))
    assert result.start_nrmse > 0.1
    assert 0.004 < result.nrmse < 0.006  # the noise, and nothing else
    assert result.step_error < 1e-3
    for name, value in TRUE.items():
        found = result.parameters[name]
        assert abs(found.value - value) < 4 * found.error, name
        assert found.error < 0.2 * abs(value) and not found.remark, name


def test_the_gradient_of_a_bank_is_that_of_differences() -> None:
    model = find_model(VTEAM)
    time = np.linspace(0.0, 20e-3, 60)
    measurement = Measurement("x", "sweep", time, 1.1 * np.sin(2 * np.pi * 50 * time), time, time)
    names = tuple(TRUE)
    bank = Bank(model, names, {}, 3)
    assert not bank.unread
    start = torch.tensor([[TRUE[n] for n in names]], dtype=torch.float64) * torch.tensor([[1.0], [1.1], [0.9]])

    def cost(values: torch.Tensor) -> torch.Tensor:
        return (bank.currents(values, measurement, 500) * 1e3).square().sum(1)

    at = start.clone().requires_grad_()
    torch.autograd.backward(cost(at).sum())
    assert at.grad is not None
    for k in range(len(names)):
        shift = torch.zeros_like(start)
        shift[:, k] = start[:, k].abs() * 1e-6
        expected = (cost(start + shift) - cost(start - shift)) / (2 * shift[:, k])
        torch.testing.assert_close(at.grad[:, k], expected, rtol=1e-5, atol=1e-9 * float(expected.abs().max()))


def test_copies_do_not_disturb_each_other() -> None:
    model = find_model(VTEAM)
    time = np.linspace(0.0, 20e-3, 40)
    measurement = Measurement("x", "sweep", time, np.sin(2 * np.pi * 50 * time), time, time)
    values = torch.tensor([[1e3, 0.2], [2e3, 0.7]], dtype=torch.float64)
    both = Bank(model, ("ron", "x0"), {}, 2).currents(values, measurement, 400)
    one = Bank(model, ("ron", "x0"), {}, 1)
    for k in range(2):
        torch.testing.assert_close(both[k : k + 1], one.currents(values[k : k + 1], measurement, 400))


def test_what_the_data_do_not_tell_is_said() -> None:
    time = np.linspace(0.0, 1e-3, 50)
    voltage = 0.2 * np.sin(2 * np.pi * 1e3 * time)  # below both thresholds: nothing moves
    model = find_model(VTEAM)
    current = voltage / (1e3 + 99e3 * 0.5)
    options = FitOptions(only=("ron", "koff"), starts=2, iterations=40)
    result = fit(model, [Measurement("x", "sweep", time, voltage, time, current)], options)
    assert result.parameters["koff"].remark == "not determined by these data"
    assert result.nrmse < 1e-3


def test_pulses_are_read_and_fitted(tmp_path: Path) -> None:
    model = find_model(VTEAM)
    rows = [(0.8, 1e-3)] * 10 + [(-0.8, 1e-3)] * 10
    file = tmp_path / "pulses.csv"
    file.write_text("amplitude (V),width (ms),conductance\n" + "".join(f"{v},{w * 1e3},1e-4\n" for v, w in rows))
    empty = read_measurement(file, read_voltage=0.05)
    assert empty.kind == "pulses" and len(empty.current) == 20 and empty.duration == pytest.approx(40e-3)
    np.testing.assert_allclose(empty.driven_at(empty.sampled), 0.05)
    np.testing.assert_allclose(empty.driven_at(empty.sampled - 1e-3), [v for v, _ in rows])
    np.testing.assert_allclose(empty.current, 5e-6)
    true = torch.tensor([[130.0, -260.0]], dtype=torch.float64)
    bank = Bank(model, ("koff", "kon"), {}, 1)
    answers = bank.currents(true, empty, 8000)[0].numpy()
    measured = Measurement("pulses", "pulses", empty.time, empty.voltage, empty.sampled, answers)
    result = fit(model, [measured], FitOptions(only=("koff", "kon"), starts=2, iterations=40, steps=8000))
    assert result.parameters["koff"].value == pytest.approx(130.0, rel=1e-3)
    assert result.parameters["kon"].value == pytest.approx(-260.0, rel=1e-3)


def test_only_the_defaults_of_a_library_change(tmp_path: Path) -> None:
    model = find_model(VTEAM)
    text = rewritten(model, {"ron": 1234.5, "kon": -77.0})
    before = VTEAM.read_text(encoding="utf-8")
    assert text == before.replace("Ron=1k ", "Ron=1234.5 ").replace("kon=-200 ", "kon=-77 ")
    copy = tmp_path / "fitted.lib"
    copy.write_text(text)
    assert find_model(copy).parameters == {**model.parameters, "ron": 1234.5, "kon": -77.0}


def test_the_command_writes_library_picture_and_json(tmp_path: Path) -> None:
    measured = _measured(0.0, 120)
    rows = zip(measured.time * 1e3, measured.voltage, measured.current * 1e6, strict=True)
    (tmp_path / "iv.csv").write_text("t [ms],V,I (uA),note\n" + "".join(f"{t},{v},{i},x\n" for t, v, i in rows))
    words = "fit vteam --data iv.csv --fit ron,x0 --starts 2 --iterations 20 -o new.lib --plot iv.png --fix roff=20k"
    fixes = "--fix voff=0.5 --fix koff=120 --fix kon=-300 --bounds ron=100,10k"
    done = subprocess.run(
        [sys.executable, "-m", "netc.cli", *words.split(), *fixes.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["parameters"]["ron"]["value"] == pytest.approx(1800.0, rel=0.01) and said["nrmse"] < 0.005
    assert (tmp_path / "iv.png").stat().st_size > 10_000
    found = find_model(tmp_path / "new.lib").parameters
    assert found["roff"] == 20e3 and found["ron"] == pytest.approx(said["parameters"]["ron"]["value"], rel=1e-8)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time,voltage,current\n0,1,x\n1,1\n", r"iv.csv:2:1: error: 'x' is no number"),
        ("time,voltage,current\n0,1,1\n1,1\n", r"iv.csv:3:1: error: 2 cells where the first line has 3"),
        ("time,voltage,current\n0,1,1\n1,1,1\n\n1,1,2\n", r"iv.csv:5:1: error: time does not rise here"),
        ("voltage,width,conductance\n1,0,1\n", "a pulse has to last longer than 0 s"),
        ("voltage,current\n0,1\n1,1\n2,2\n", "has no column time"),
        ("time,voltage\n0,1\n", "has no column current"),
        ("time (h),voltage,current\n0,1,1\n", "gives time in 'h'"),
        ("v,voltage,current\n0,1,1\n", "two columns of the same meaning"),
        ("time,voltage,current\n", "has no readings"),
        ("", "is empty"),
    ],
)
def test_files_that_are_wrong_are_refused_where_they_are(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "iv.csv"
    file.write_text(text)
    with pytest.raises(NetcError, match=said):
        read_measurement(file)


def test_a_sweep_may_have_a_rate_in_the_place_of_times(tmp_path: Path) -> None:
    file = tmp_path / "iv.csv"
    file.write_text("voltage (mV),current (nA)\n0,0\n500,1\n500,1\n-500,2\n")
    found = read_measurement(file, sweep_rate=2.0)
    np.testing.assert_allclose(found.time, [0.0, 0.25, 0.75])
    np.testing.assert_allclose(found.current, [0.0, 1e-9, 2e-9])


def test_ranges() -> None:
    scales = choose({"r": 1e3, "k": -200.0, "x0": 0.0, "a": 3.0}, ("r", "k", "x0", "a"), {"a": (1.0, 5.0)})
    assert scales["r"].by_ratio and scales["k"].low == -20e3 and not scales["a"].by_ratio
    for name, value in (("r", 1e3), ("k", -200.0), ("a", 3.0), ("x0", 0.2)):
        scale = scales[name]
        place = scale.place(value)
        assert float(scale.value(torch.tensor(place, dtype=torch.float64))) == pytest.approx(value)
    assert Scale(1.0, 100.0).slope(0.5) == pytest.approx(10.0 * np.log(100.0))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (FitOptions(only=("rom",)), "no parameter 'rom'"),
        (FitOptions(bounds={"ron": (2e3, 5e3)}), "leaves out where it starts"),
        (FitOptions(bounds={"ron": (5e3, 2e3)}), "lower end must come first"),
        (FitOptions(fixed={"nix": 1.0}), "no parameter 'nix'"),
        (FitOptions(starts=0), "--starts must be at least 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: FitOptions, said: str) -> None:
    time = np.linspace(0.0, 1.0, 5)
    with pytest.raises(NetcError, match=said):
        fit(find_model(VTEAM), [Measurement("x", "sweep", time, time, time, time)], options)


def test_libraries_without_a_device_of_two_pins_are_refused(tmp_path: Path) -> None:
    library = tmp_path / "a.lib"
    library.write_text(".subckt one a b c\nR1 a b 1\n.ends\n")
    with pytest.raises(NetcError, match="one has 3 pins"):
        find_model(library)
    library.write_text(".subckt one a b\nR1 a b 1\n.ends\n.subckt two a b\nR1 a b 1\n.ends\n")
    with pytest.raises(NetcError, match="several subcircuits"):
        find_model(library)
    assert find_model(library, "TWO").name == "two"
    library.write_text("* nothing\n")
    with pytest.raises(NetcError, match="no subcircuit of its own"):
        find_model(library)
