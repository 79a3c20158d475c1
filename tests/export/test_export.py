"""Trained values in the author's own text: read back to the last bit, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from netc.compiler import Compilation, compile_deck
from netc.diagnostics import NetcError
from netc.export import export, set_values, trained_values
from netc.export.values import by_lane, trained_blocks
from netc.generate import generate
from netc.ir.program import Coordinate, Program

TAIL = ".tran 10u 1m uic\n.end\n"


def written(folder: Path, text: str, name: str = "deck.cir") -> Compilation:
    path = folder / name
    path.write_bytes(text.encode())
    return compile_deck(path)


def anywhere(program: Program, seed: int = 0) -> dict[str, np.ndarray]:
    """Values drawn over the whole range of each block, float64 with all their digits."""
    random = np.random.default_rng(seed)
    found = {}
    for block in trained_blocks(program):
        assert block.trained is not None
        low, high = block.trained.minimum, block.trained.maximum
        at = random.random(len(block.values))
        if block.trained.coordinate is Coordinate.RECIPROCAL:
            found[block.name] = 1 / (1 / high + (1 / low - 1 / high) * at)
        else:
            found[block.name] = low + (high - low) * at
    return found


def read_back(path: Path) -> dict[str, float]:
    circuit = compile_deck(path).circuit
    found: dict[str, float] = {}
    for trained in circuit.trained:
        if trained.branch is not None:
            branch = circuit.branches[trained.branch]
            value = branch.values[0]
            assert isinstance(value, float)
            found[branch.name] = value
        elif trained.parameter is not None:
            found[trained.parameter] = circuit.parameters[trained.parameter].value
    return found


def round_trip(compilation: Compilation, output: Path, seed: int = 0) -> dict[str, float]:
    values = anywhere(compilation.program, seed)
    export(compilation, values, output)
    elements, parameters = by_lane(compilation.program, values)
    wanted = elements | parameters
    assert wanted
    found = read_back(output)
    assert {n: v.hex() for n, v in found.items()} == {n: v.hex() for n, v in wanted.items()}
    return wanted


PLAIN = (
    "* A deck with habits  \r\n"
    "V1 in 0 PULSE(0 1 10u 1u 1u 300u 1m)   $ the input\r\n"
    "\r\n"
    "* Resistors ; in several spellings\r\n"
    "R1\tin  A  10Kohm ; trained\r\n"
    "rSecond in a\r\n"
    "* between\r\n"
    "+  R=4.7k\r\n"
    "R3 a 0 '2.2K'\r\n"
    "+ \r\n"
    "C1 a 0 100nF IC=0.1\r\n"
    "G1 0 b a 0 -1.5m\r\n"
    "Rb b 0 1k\r\n"
    "E1 c 0 b 0 2 \r\n"
    "Rc c 0 1k\r\n"
    "V2 d 0 DC 0.5 AC 1\r\n"
    "Rd d 0 1k\r\n"
    "*.netc train R1 rsecond r3 min=1k max=50k\r\n"
    "*.netc train C1 min=10n max=1u\r\n"
    "*.netc train G1 min=-5m max=5m\r\n"
    "*.netc train e1 v2 min=-1 max=3\r\n"
    ".TRAN 10u 1m UIC"
)


def test_only_numbers_change_and_they_read_back_to_the_last_bit(tmp_path: Path) -> None:
    values = round_trip(written(tmp_path, PLAIN), tmp_path / "trained.cir")
    expected = PLAIN
    for old, name in (
        ("10Kohm", "r1"),
        ("=4.7k", "rsecond"),
        ("2.2K", "r3"),
        ("100nF", "c1"),
        ("-1.5m", "g1"),
        ("c 0 b 0 2 ", "e1"),
        ("DC 0.5", "v2"),
    ):
        kept = {"e1": "c 0 b 0 ", "v2": "DC ", "rsecond": "="}.get(name, "")
        assert old in expected
        expected = expected.replace(old, kept + repr(values[name]) + (" " if name == "e1" else ""))
    assert (tmp_path / "trained.cir").read_bytes() == expected.encode()


def test_what_did_not_move_keeps_its_spelling(tmp_path: Path) -> None:
    compilation = written(tmp_path, PLAIN)
    at_start = {b.name: b.values for b in trained_blocks(compilation.program)}
    export(compilation, at_start, tmp_path / "same.cir")
    assert (tmp_path / "same.cir").read_bytes() == PLAIN.encode()


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "utf-8"])
def test_encodings_stay(encoding: str, tmp_path: Path) -> None:
    mark = {"utf-16-le": b"\xff\xfe", "utf-8": b"\xef\xbb\xbf"}.get(encoding, b"")
    text = "* für ein µ\nV1 a 0 1\nR1 a b 5k $ größer\nC1 b 0 1u\n*.netc train R1 min=1k max=9k\n" + TAIL
    path = tmp_path / "deck.cir"
    path.write_bytes(mark + text.encode(encoding))
    value = round_trip(compile_deck(path), tmp_path / "out.cir")["r1"]
    assert (tmp_path / "out.cir").read_bytes() == mark + text.replace("5k", repr(value)).encode(encoding)


CELLS = """* cells
V1 p 0 1
.subckt cell a b
* a device and its line
R1 a m 10k
R2 m b 2k
C1 m 0 1n
.ends cell
.subckt pair a b
Xl a c cell ; left
xr c
+ b cell
.ends
X1 p q pair
X2 q r pair
X3 r 0 cell
X4 p 0 pair
*.netc train x*.r1 min=1k max=100k
*.netc train X1.xl.r2 min=1k max=3k
"""


def test_instances_trained_apart_get_definitions_of_their_own(tmp_path: Path) -> None:
    compilation = written(tmp_path, CELLS + TAIL)
    values = round_trip(compilation, tmp_path / "out.cir")
    assert len(values) == 8
    text = (tmp_path / "out.cir").read_text()
    assert text.count("* a device and its line") == 7  # one for each r1
    assert text.count(".subckt pair") == 3
    assert "* cells\nV1 p 0 1\n" in text
    circuit = compile_deck(tmp_path / "out.cir").circuit
    assert [b.name for b in circuit.branches] == [b.name for b in compilation.circuit.branches]
    untrained = {b.name: b.values[0] for b in circuit.branches}
    assert untrained["x2.xl.r2"] == 2000.0


def test_equal_instances_share_a_definition(tmp_path: Path) -> None:
    compilation = written(tmp_path, CELLS + TAIL)
    values = anywhere(compilation.program)
    for block in trained_blocks(compilation.program):
        for k, lane in enumerate(block.lanes):
            if lane.endswith("r1"):
                values[block.name][k] = 5e3 if lane.startswith("x1") else 7e3
            else:
                values[block.name][k] = 2000.0
    found = export(compilation, values, tmp_path / "out.cir")
    assert set(found.unrolled) == {"cell__2", "pair__2"}
    assert read_back(tmp_path / "out.cir") == {
        **{f"x{k}.x{s}.r1": 5e3 if k == 1 else 7e3 for k in (1, 2, 4) for s in "lr"},
        "x3.r1": 7e3,
        "x1.xl.r2": 2e3,
    }


def test_an_instance_that_is_not_trained_keeps_its_value(tmp_path: Path) -> None:
    cells = ".subckt cell a b\nR1 a b 10k\n.ends\nX1 p q cell\nX2 q 0 cell\n"
    deck = f"* t\nV1 p 0 1\n{cells}*.netc train x1.r1 min=1k max=99k\n"
    compilation = written(tmp_path, deck + TAIL)
    value = round_trip(compilation, tmp_path / "out.cir")["x1.r1"]
    found = {b.name: b.values[0] for b in compile_deck(tmp_path / "out.cir").circuit.branches}
    assert (found["x1.r1"], found["x2.r1"]) == (value, 10e3)


PARAMETERS = """* parameters
.param base=3k
+ other = {2*base} gain=-2
V1 p 0 1
.subckt cell a b params: r=1k c=1n
.param inner=4k
R1 a m {r}
R2 m b {inner+base}
C1 m 0 {c}
.ends
X1 p q cell r=2k
X2 q 0 cell c = 2n
R3 p 0 {other}
E1 e 0 q 0 {gain}
R4 e 0 1k
*.netc train base cell.inner cell.r x1.r min=1k max=9k
*.netc train x2.c cell.c min=0.1n max=9n
*.netc train gain min=-3 max=-1
"""


def test_parameters_are_written_where_they_are_defined(tmp_path: Path) -> None:
    compilation = written(tmp_path, PARAMETERS + TAIL)
    values = round_trip(compilation, tmp_path / "out.cir")
    assert len(values) == 7
    text = (tmp_path / "out.cir").read_text()
    assert f".param base={values['base']!r}\n+ other = {{2*base}} gain={values['gain']!r}\n" in text
    assert f"X2 q 0 cell c = {values['x2.c']!r}\n" in text
    before, after = compilation.circuit, compile_deck(tmp_path / "out.cir").circuit
    r3 = next(b for b in after.branches if b.name == "r3")
    assert after.number(r3.values[0]) == 2 * values["base"]
    assert [b.name for b in after.branches] == [b.name for b in before.branches]


def test_included_files_are_copied_beside_the_deck(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "cells.lib").write_bytes(
        b"* cells\r\n.include deeper.inc\r\n.subckt cell a b\r\nR1 a b 5k\r\nR2 b 0 {rr}\r\n.ends\r\n"
    )
    (tmp_path / "parts" / "deeper.inc").write_text(".param rr=3k\n")
    deck = (
        "* t\n.include 'parts/cells.lib' $ mine\n.include mif_neuron.lib\nV1 p 0 1\nX1 p q cell\nR q 0 1k\n"
        "X2 q mif_neuron\n*.netc train x1.r1 rr min=1k max=9k\n"
    )
    values = round_trip(written(tmp_path, deck + TAIL), tmp_path / "out" / "trained.cir")
    there = {p.name for p in (tmp_path / "out" / "trained.files").iterdir()}
    assert there == {"cells.lib", "deeper.inc", "mif_neuron.lib", "mif_memristor.lib"}
    assert '.include "trained.files/cells.lib" $ mine\n' in (tmp_path / "out" / "trained.cir").read_text()
    cells = (tmp_path / "out" / "trained.files" / "cells.lib").read_bytes()
    assert cells == (
        b'* cells\r\n.include "deeper.inc"\r\n.subckt cell a b\r\nR1 a b ' + repr(values["x1.r1"]).encode()
        + b"\r\nR2 b 0 {rr}\r\n.ends\r\n"
    )  # fmt: skip
    assert not list((tmp_path / "out").glob(".*"))


NESTED = (
    ".subckt out a b\n.subckt in a b\nR1 a b 5k\n.ends\nX1 a c in\nX2 c b in\n.ends\nX1 p 0 out\n"
    "*.netc train x1.*.r1 min=1k max=9k\n"
)
COPIED = (
    ".subckt cell a b r=1k\nR1 a c 5k\nR2 c b {r}\n.ends\nX1 p q cell\nX2 q 0 cell\n*.netc train x*.r1 cell.r "
    "min=1k max=9k\n"
)


@pytest.mark.parametrize(
    ("body", "message", "line"),
    [
        ("R1 p 0 5k m=2\n*.netc train R1 min=1k max=9k\n", "m= takes part in it", 3),
        ("R1 p 0 {2k+3k}\n*.netc train R1 min=1k max=9k\n", "is computed from others", 3),
        (".model dev r r=5k\nR1 p 0 dev\n*.netc train R1 min=1k max=9k\n", "a model takes part in it", 4),
        ("R1 p 0 1k\nV2 q 0\nR2 q 0 1k\n*.netc train V2 min=-1 max=1\n", "is not written on its line", 4),
        (".param a=2k b={a+1k}\nR1 p 0 {a}\nR2 p 0 {b}\n*.netc train b min=1k max=9k\n", "no element or param", 6),
        (NESTED, "a definition inside of another", 5),
        (COPIED, "cell.r is learnt as one value", 3),
    ],
)
def test_what_cannot_be_written_back_is_refused(body: str, message: str, line: int, tmp_path: Path) -> None:
    compilation = written(tmp_path, "* t\nV1 p 0 1\n" + body + TAIL)
    with pytest.raises(NetcError, match=message) as refused:
        export(compilation, anywhere(compilation.program), tmp_path / "out.cir")
    span = refused.value.diagnostics[0].span
    assert span is not None and span.line == line
    assert {p.name for p in tmp_path.iterdir()} == {"deck.cir"}


def test_a_file_included_twice_and_trained_apart_is_refused(tmp_path: Path) -> None:
    (tmp_path / "body.inc").write_text("R1 a b 5k\n")
    deck = (
        "* t\nV1 p 0 1\n.subckt one a b\n.include body.inc\n.ends\n.subckt two a b\n.include body.inc\n.ends\n"
        "X1 p q one\nX2 q 0 two\n*.netc train x*.r1 min=1k max=9k\n"
    )
    compilation = written(tmp_path, deck + TAIL)
    with pytest.raises(NetcError, match="included more than once"):
        export(compilation, anywhere(compilation.program), tmp_path / "out.cir")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_module_of_the_new_deck_has_the_very_values(dtype: torch.dtype, tmp_path: Path) -> None:
    """And so the same accuracy; positions of float64 may differ in the last bit."""
    compilation = written(tmp_path, generate(layers=(64, 16, 10)))
    program, module = compilation.program, compilation.module(dtype)
    set_values(module, anywhere(program))
    values = trained_values(module, program)
    export(compilation, values, tmp_path / "out.cir")
    again = compile_deck(tmp_path / "out.cir")
    learnt = trained_values(again.module(dtype), again.program)
    for block in trained_blocks(again.program):
        assert block.values.tobytes() == values[block.name].tobytes()
        if dtype is torch.float32:
            assert learnt[block.name].tobytes() == values[block.name].tobytes()
        np.testing.assert_allclose(learnt[block.name], values[block.name], rtol=1e-13)


def test_the_whole_network_of_the_paper_survives_bit_for_bit(tmp_path: Path) -> None:
    compilation = written(tmp_path, generate(layers=(784, 100, 10)))
    assert len(round_trip(compilation, tmp_path / "out.cir")) == 158_800
