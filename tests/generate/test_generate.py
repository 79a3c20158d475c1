"""Generated decks: what they say, and that ngspice and the intended equations agree on them."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netc.compiler import compile_deck
from netc.diagnostics import NetcError
from netc.generate import generate, write
from netc.generate.cards import engineering
from netc.ir.interpret import simulate as simulate_program
from netc.runtime.transient import solve
from tests.netlists.plain_ngspice import MifNeurons, alpha, nrmse, simulate


def _cards(text: str, pattern: str) -> list[str]:
    return re.findall(rf"(?m)^{pattern}.*$", text)


def _resistances(text: str, crossbar: int, suffix: str = "") -> np.ndarray:
    """Synapses of a crossbar, ohm, shape (word lines, neurons)."""
    found = re.findall(rf"(?m)^r{crossbar}_(\d+)_(\d+){suffix} \S+ \S+ (\S+)$", text)
    values = np.zeros((max(int(i) for i, _, _ in found), max(int(j) for _, j, _ in found)))
    for i, j, value in found:
        values[int(i) - 1, int(j) - 1] = float(value)
    return values


def test_same_arguments_give_the_same_text() -> None:
    assert generate((5, 4, 3)) == generate([5, 4, 3])
    assert generate((5, 4, 3), seed=1) != generate((5, 4, 3), seed=2)


def test_counts_of_the_buffered_form() -> None:
    text = generate((5, 4, 3))
    assert len(_cards(text, r"r\d_")) == 2 * (5 * 4 + 4 * 3)
    assert len(_cards(text, r"ein\d+ ")) == 5
    assert len(_cards(text, r"e2_")) == 4
    assert len(_cards(text, "vb")) == len(_cards(text, r"f\d_")) == 2 * (4 + 3)
    assert len(_cards(text, "xn")) == 4 + 3
    names = [line.split()[0] for line in text.splitlines()[1:] if re.match("[a-z]", line)]
    assert len(names) == len(set(names))


def test_natural_order() -> None:
    text = generate((12, 11, 2))
    assert [card.split()[0] for card in _cards(text, "ein")] == [f"ein{i}" for i in range(1, 13)]
    assert [card.split()[0] for card in _cards(text, "xn1_")] == [f"xn1_{j}" for j in range(1, 12)]


def test_directives_bound_every_synapse() -> None:
    text = generate((5, 4, 3), ron=2e3, roff=50e3)
    assert _cards(text, r"\*\.netc") == [
        "*.netc input ein*",
        "*.netc output m2_*",
        "*.netc train r1_* min=2k max=50k",
        "*.netc train r2_* min=2k max=50k",
    ]
    for crossbar, suffix in ((1, "p"), (1, "m"), (2, "p"), (2, "m")):
        values = _resistances(text, crossbar, suffix)
        assert values.min() >= 2e3 and values.max() <= 50e3


def test_initial_weights() -> None:
    """w = (G+ - G-) / (1/Ron - 1/Roff) is uniform within +-scale / sqrt(fan-in), and pairs share a middle."""
    text = generate((100, 50), init_scale=1.5)
    plus, minus = 1 / _resistances(text, 1, "p"), 1 / _resistances(text, 1, "m")
    full = 1 / 1e3 - 1 / 100e3
    weights = (plus - minus) / full
    assert np.abs(weights).max() <= 0.15 + 1e-4
    assert weights.std() == pytest.approx(0.15 / np.sqrt(3), rel=0.05)
    np.testing.assert_allclose((plus + minus) / 2, (1 / 1e3 + 1 / 100e3) / 2, rtol=1e-4)


def test_mirror_gains() -> None:
    full = 1 / 1e3 - 1 / 100e3
    text = generate((5, 4, 3), input_current=7e-6, transconductance=1e-3, read_voltage=50e-3)
    assert 50e-3 * full * _gain(text, 1) == pytest.approx(7e-6, rel=1e-6)
    assert full * _gain(text, 2) == pytest.approx(1e-3, rel=1e-6)
    assert _gain(generate((5, 4, 3), attenuation=(0.25, 0.5)), 2) == 0.5


def _gain(text: str, crossbar: int) -> float:
    digits = _cards(text, rf"f{crossbar}_1p ")[0].split()[-1]
    return float(digits.removesuffix("m")) * (1e-3 if digits.endswith("m") else 1)


def test_deck_is_self_contained() -> None:
    text = generate((3, 2))
    assert not re.search(r"(?mi)^\.(include|lib)", text)
    assert text.splitlines()[-1] == ".end"
    assert text.count(".subckt") == text.count(".ends") == 2


@given(st.floats(1e-14, 1e8))
@settings(max_examples=200, deadline=None)
def test_engineering_notation_reads_back(value: float) -> None:
    scale = {"meg": 1e6, "k": 1e3, "": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15}
    match = re.fullmatch(r"([0-9.]+)([a-z]*)", engineering(value))
    assert match
    digits, suffix = match.groups()
    assert float(digits) * scale[suffix] == pytest.approx(value, rel=1e-6)
    assert 1 <= float(digits) <= 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": (5,)}, "two layers or more"),
        ({"layers": (5, 0)}, "whole number from 1"),
        ({"layers": (5, 2.5)}, "whole number from 1"),
        ({"layers": (100_000, 100_000)}, "more than"),
        ({"ron": -1.0}, "ron must be a positive number"),
        ({"ron": float("nan")}, "ron must be a positive number"),
        ({"ron": 1e3, "roff": 1e3}, "must be greater than ron"),
        ({"init_scale": -1.0}, "init_scale"),
        ({"attenuation": (1.0,)}, "2 positive numbers"),
        ({"attenuation": (1.0, 1.0), "passive": True}, "no mirrors"),
        ({"line_capacitance": 1e-12}, "source_resistance and sense_resistance"),
        ({"line_capacitance": 1e-12, "sense_resistance": 1.0}, "line_capacitance"),
        ({"crossing_capacitance": 1e-15}, "wire_resistance or sense_resistance"),
        ({"wire_resistance": -1.0}, "wire_resistance must be zero"),
        ({"selector": "2t"}, "one of none, 1t1r, diode"),
        ({"gate_voltage": 0.0}, "gate_voltage must be a positive"),
        ({"neurons": False, "line_resistance": 1.0}, "must be passive"),
        ({"neurons": False, "passive": True}, "needs a sense_resistance"),
        ({"buffers": "both"}, "one of linear, rectified"),
        ({"buffers": "rectified", "passive": True}, "has no buffers"),
        ({"readout": "guess"}, "one of neurons, integrators"),
        ({"readout": "integrators", "passive": True}, "buffered networks with neurons"),
        ({"readout": "integrators", "readout_capacitance": 0.0}, "readout_capacitance must be a positive"),
        ({"pulse_width": 10e-6}, "two steps"),
        ({"pulse_period": 0.1e-3}, "too short"),
        ({"steps": 0}, "steps must be a whole number"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"neuron": {"colour": 1.0}}, "no parameter 'colour'"),
    ],
)
def test_bad_values_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(NetcError, match=message):
        generate(**{"layers": (4, 3, 2), **arguments})


def test_all_bad_values_are_reported_together() -> None:
    with pytest.raises(NetcError) as caught:
        generate((4, 2), ron=-1.0, step=0.0, steps=0)
    assert len(caught.value.diagnostics) == 3


def test_write_makes_the_folder(tmp_path: Path) -> None:
    path = write(tmp_path / "deep" / "network.cir", generate((3, 2)))
    assert path.read_text() == generate((3, 2))
    with pytest.raises(NetcError, match="cannot write"):
        write(path / "below_a_file.cir", "")


@pytest.mark.ngspice
@pytest.mark.parametrize("passive", [False, True])
def test_ngspice_agrees_with_the_intended_equations(passive: bool, tmp_path: Path) -> None:
    layers = (8, 4, 2)
    text = generate(layers, passive=passive, seed=3)
    waves = simulate(text, tmp_path)
    suffixes = ("",) if passive else ("p", "m")
    banks = [[1 / _resistances(text, crossbar, suffix) for suffix in suffixes] for crossbar in (1, 2)]
    dt, steps = 10e-6, 1000
    word = alpha(steps, dt, 1e-3) * (0.5 if passive else 50e-3)
    neurons, membranes = MifNeurons(6), np.zeros((steps + 1, 6))
    for n in range(steps):
        lines = (np.full(8, word[n]), neurons.voltage[:4])
        if passive:
            first = banks[0][0] * (lines[0][:, None] - neurons.voltage[:4])
            second = banks[1][0] * (lines[1][:, None] - neurons.voltage[4:])
            current = np.concatenate([first.sum(0) - second.sum(1), second.sum(0)])
        else:
            current = np.concatenate([_gain(text, k + 1) * lines[k] @ (banks[k][0] - banks[k][1]) for k in (0, 1)])
        neurons.step(current, dt)
        membranes[n + 1] = neurons.voltage
    for k, name in enumerate(["v(m1_1)", "v(m1_2)", "v(m1_3)", "v(m1_4)", "v(m2_1)", "v(m2_2)"]):
        assert nrmse(waves, name, np.arange(steps + 1) * dt, membranes[:, k]) < 0.01, name


@pytest.mark.ngspice
def test_rectified_buffers_pass_what_is_positive(tmp_path: Path) -> None:
    text = generate((8, 4, 2), seed=3, input_current=60e-6, buffers="rectified")
    waves = simulate(text, tmp_path)
    hidden = np.stack([waves[f"v(m1_{j})"] for j in range(1, 5)])
    driven = np.stack([waves[f"v(w2_{j})"] for j in range(1, 5)])
    assert hidden.min() < -10e-3 and hidden.max() > 50e-3
    np.testing.assert_allclose(driven, np.maximum(hidden, 0), atol=1e-6)


@pytest.mark.ngspice
def test_integrators_forget_after_their_time_constant(tmp_path: Path) -> None:
    text = generate((8, 4, 2), seed=3, readout="integrators", readout_resistance=500.0, readout_capacitance=2e-6)
    assert len(_cards(text, r"xn1_")) == 4 and not _cards(text, r"xn2_")
    waves = simulate(text, tmp_path)
    weights = 1 / _resistances(text, 2, "p") - 1 / _resistances(text, 2, "m")
    times = np.arange(1001) * 10e-6
    hidden = np.stack([np.interp(times, waves["time"], waves[f"v(m1_{j})"]) for j in range(1, 5)], axis=1)
    current = _gain(text, 2) * hidden @ weights
    volts = np.zeros((1001, 2))
    keep = np.exp(-10e-6 / (500.0 * 2e-6))
    for n in range(1000):
        volts[n + 1] = keep * volts[n] + (1 - keep) * 500.0 * (current[n] + current[n + 1]) / 2
    for k in (0, 1):
        assert nrmse(waves, f"v(m2_{k + 1})", times, volts[:, k]) < 0.002


@pytest.mark.ngspice
def test_line_parasitics_and_neuron_parameters_run(tmp_path: Path) -> None:
    """A slow line lags, and a shorter memory changes the waveform."""
    plain = simulate(generate((4, 3, 2)), tmp_path)
    slow = simulate(generate((4, 3, 2), line_capacitance=100e-9, line_resistance=1e3), tmp_path)
    assert np.argmax(slow["v(w1_1)"]) != np.argmax(plain["v(w1_1)"])
    assert "v(b1_1p)" in slow
    passive = simulate(generate((4, 3, 2), passive=True, line_capacitance=10e-9, neuron={"k": 0.1}), tmp_path)
    assert np.isfinite(passive["v(m2_1)"]).all()


def _run(text: str, folder: Path) -> dict[str, np.ndarray]:
    """Signals of netc by name, on ngspice's grid of a read at rest."""
    path = folder / "netc.cir"
    path.write_text(text)
    compiled = compile_deck(path)
    rows, _ = simulate_program(compiled.program, 0, 1e-6, observe=compiled.signals)
    return dict(zip(compiled.signals, rows[0, 0], strict=True))


def _read_at(text: str, volts: str) -> str:
    """The deck with constant sources in the place of the alpha waveform, a read at rest."""
    text = re.sub(r"(?m)^(valpha|ralpha|calpha|ebuf|ealpha).*\n", "", text)
    text = re.sub(r"(?m)^ein(\d+) (\S+) 0 alpha 0 1$", rf"vin\1 \2 0 {volts}", text)
    return text.replace("*.netc input ein*\n", "")


@pytest.mark.parametrize("passive", [False, True])
def test_wires_join_every_crossing_to_both_ends(passive: bool) -> None:
    text = generate((4, 3, 2), passive=passive, wire_resistance=2.5, source_resistance=50.0, sense_resistance=30.0)
    lines = 1 if passive else 2
    crossings = lines * (4 * 3 + 3 * 2)
    assert len(_cards(text, "rww")) == len(_cards(text, "rbw")) == crossings
    assert all(card.endswith(" 2.5") for card in _cards(text, "r[wb]w"))
    assert len(_cards(text, r"rb\d_")) == lines * (3 + 2)
    assert len(_cards(text, r"rw\d_")) == (4 if passive else 4 + 3)
    # every node between two ends is where two things or more meet
    pins = [pin for card in text.splitlines() if re.match("[rcvefx]", card) for pin in card.split()[1:3]]
    assert all(pins.count(pin) >= 2 for pin in pins if re.match(r"[wb]\d", pin))


def test_resistances_of_sources_and_senses_follow_that_of_lines() -> None:
    both = generate((3, 2), line_resistance=40.0)
    assert generate((3, 2), source_resistance=40.0, sense_resistance=40.0) == both
    assert _cards(generate((3, 2), line_resistance=40.0, sense_resistance=5.0), "rb1_1p") == ["rb1_1p b1_1p s1_1p 5"]


def test_selectors_stand_in_series_with_the_same_synapses() -> None:
    plain = _resistances(generate((4, 3), seed=5), 1, "p")
    for selector, letter in (("1t1r", "m"), ("diode", "d")):
        text = generate((4, 3), seed=5, selector=selector)
        np.testing.assert_array_equal(_resistances(text, 1, "p"), plain)
        assert len(_cards(text, f"{letter}s1_")) == 2 * 4 * 3
        assert len(_cards(text, r"\.model select ")) == 1
    assert len(_cards(generate((4, 3, 2), passive=True, selector="1t1r"), r"vg\d_")) == 4 + 3


def test_capacitance_of_lines_and_crossings() -> None:
    text = generate((4, 3), wire_resistance=1.0, line_capacitance=1e-12, crossing_capacitance=2e-15)
    assert _cards(text, "cw1_2 ") == ["cw1_2 w1_2_1p 0 1p IC=0"]
    assert _cards(text, "cb1_2m ") == ["cb1_2m b1_4_2m 0 1p IC=0"]
    assert _cards(text, "cx1_4_3p ") == ["cx1_4_3p w1_4_3p b1_4_3p 2f IC=0"]


def test_ideal_transistors_and_wires_change_little(tmp_path: Path) -> None:
    """With wires and gates that hardly resist, a cell is its synapse again."""
    given = {"layers": (3, 2), "passive": True, "neurons": False, "sense_resistance": 100.0, "read_voltage": 0.1}
    plain = _run(_read_at(generate(**given), "0.1"), tmp_path)
    near = _run(_read_at(generate(**given, wire_resistance=1e-6), "0.1"), tmp_path)
    select = _run(_read_at(generate(**given, selector="1t1r", gate_voltage=3e4), "0.1"), tmp_path)
    for name in ("m1_1", "m1_2"):
        assert near[name] == pytest.approx(plain[name], rel=1e-6)
        assert select[name] == pytest.approx(plain[name], rel=1e-3)
        assert plain[name] > 1e-3


@pytest.mark.ngspice
@pytest.mark.parametrize("selector", ["none", "1t1r", "diode"])
def test_physical_crossbars_agree_with_ngspice(selector: str, tmp_path: Path) -> None:
    text = generate(
        (5, 4),
        passive=True,
        neurons=False,
        selector=selector,
        wire_resistance=3.0,
        source_resistance=20.0,
        sense_resistance=100.0,
        ron=1e3,
        steps=2,
    )
    text = _read_at(text, "0.3")
    expected = simulate(text, tmp_path)
    for name, value in _run(text, tmp_path).items():
        if name.startswith(("w", "b", "m")):
            assert value == pytest.approx(expected[f"v({name})"][-1], rel=1e-6, abs=1e-12), name


def test_capacitance_of_crossings_as_small_as_real_ones_is_solved(tmp_path: Path) -> None:
    """Femtofarads among siemens: a read by backward Euler ends where it does without them."""
    given = {"layers": (4, 3), "wire_resistance": 2.0, "line_resistance": 30.0, "steps": 20}
    ends = []
    for capacitance in (0.0, 1e-15):
        path = write(tmp_path / "deck.cir", generate(**given, crossing_capacitance=capacitance))
        program = compile_deck(path, integrator="backward-euler").program
        ends.append(simulate_program(program, 20, 1e-5, observe=["m1_1", "b1_2_3m", "w1_4_1p"])[0][-1, 0])
    np.testing.assert_allclose(*ends, rtol=1e-4)


def test_capacitance_of_crossings_is_solved_by_steps_chosen_by_their_error(tmp_path: Path) -> None:
    sizes = {"layers": (4, 3), "wire_resistance": 2.0, "line_resistance": 30.0, "steps": 20}
    ends = []
    for capacitance in (0.0, 1e-15):
        path = write(tmp_path / "deck.cir", generate(**sizes, crossing_capacitance=capacitance))
        found = solve(compile_deck(path).system, np.arange(21) * 1e-5, ["m1_1", "b1_2_3m", "w1_4_1p"])
        ends.append(found.values[-1])
    np.testing.assert_allclose(*ends, rtol=1e-4)


def test_frames_drive_the_word_lines_themselves() -> None:
    text = generate((5, 4, 3), drive="frames", read_voltage=0.2)
    assert len(_cards(text, r"vin\d")) == 5 and "ein5 w1_5 0 in5 0 200m" in text and "alpha" not in text
    assert "*.netc input vin* mode=waveform" in text
    with pytest.raises(NetcError, match="drive must be one of alpha, frames"):
        generate((5, 4, 3), drive="films")
