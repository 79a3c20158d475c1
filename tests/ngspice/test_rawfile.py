from pathlib import Path

import numpy as np
import pytest

from netc.diagnostics import NetcError
from netc.ngspice.rawfile import read_raw

HEADER = """Title: x
Date: today
Plotname: Transient Analysis
Flags: real
No. Variables: 2
No. Points: {points}
Variables:
\t0\ttime\ttime
\t1\tv(out)\tvoltage
"""
ROWS = np.array([[0.0, 1e-3, 2e-3], [0.5, -1.25, 3e-15]])


def binary(points: int = 3) -> bytes:
    return HEADER.format(points=points).encode() + b"Binary:\n" + ROWS.T.astype("<f8").tobytes()


def decimal() -> bytes:
    rows = "".join(f" {n}\t{t:.15e}\n\t{v:.15e}\n\n" for n, (t, v) in enumerate(ROWS.T))
    return HEADER.format(points=3).encode() + b"Values:\n" + rows.encode()


@pytest.mark.parametrize("data", [binary(), decimal()], ids=["binary", "decimal"])
def test_reads(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(data)
    names, values = read_raw(path)
    assert names == ["time", "v(out)"]
    assert np.array_equal(values, ROWS)


def test_the_transient_plot_is_found_among_others(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    other = binary().replace(b"Transient Analysis", b"Operating Point")
    path.write_bytes(other + binary() + other)
    assert np.array_equal(read_raw(path)[1], ROWS)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "no transient"),
        (b"Title: x\n", "no transient"),
        (binary(points=4), "cut short"),
        (binary()[:-1], "cut short"),
        (decimal()[:-30], "cut short"),
        (decimal().replace(b"5.0", b"5,0"), "not a number"),
        (binary().replace(b"Flags: real", b"Flags: complex"), "complex"),
        (binary().replace(b"Variables: 2", b"Variables: 3"), "announces 3 variables and lists 2"),
        (binary().replace(b"No. Points: 3", b"No. Points: many"), "no readable header"),
        (binary().replace(b"Transient", b"AC"), "no transient"),
    ],
)
def test_what_is_no_raw_file_is_refused(tmp_path: Path, data: bytes, sentence: str) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(data)
    with pytest.raises(NetcError, match=sentence):
        read_raw(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NetcError, match="cannot read"):
        read_raw(tmp_path / "none.raw")
