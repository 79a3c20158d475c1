import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from netc.diagnostics import NetcError
from netc.ngspice.bridge import Waveforms, run, signal_name
from netc.ngspice.locate import find_ngspice, require_engine
from tests.ngspice.decks import KNOWM, MIF, RC, RLC

INSTALLATION = find_ngspice()
pytestmark = [
    pytest.mark.ngspice,
    pytest.mark.skipif(len(INSTALLATION.engines) < 2, reason="ngspice or libngspice is not installed"),
]
TIGHT = ".options reltol=1e-6 abstol=1e-15 vntol=1e-9\n.tran"
ENDLESS = RC.replace(".tran 10u 5m 0 10u", ".tran 1n 100 0 1n")


@pytest.mark.parametrize("engine", ["pyspice", "batch"])
def test_rc_follows_the_closed_form(engine: str) -> None:
    waveforms = run(RC.replace(".tran", TIGHT), engine=engine)
    t, tau, w = waveforms.times, 1e-3, 2 * np.pi * 1e3
    exact = (np.sin(w * t) - w * tau * np.cos(w * t) + w * tau * np.exp(-t / tau)) / (1 + (w * tau) ** 2)
    assert np.abs(waveforms.values["out"] - exact).max() < 1e-4
    assert waveforms.engine == engine
    assert set(waveforms.values) == {"in", "out", "i(v1)"}


def test_rlc_follows_the_closed_form() -> None:
    waveforms = run(RLC.replace(".tran", TIGHT))
    t = waveforms.times
    damping = 100 / (2 * 10e-3)
    w = np.sqrt(1 / (10e-3 * 1e-6) - damping**2)
    exact = 1 - np.exp(-damping * t) * (np.cos(w * t) + damping / w * np.sin(w * t))
    assert np.abs(waveforms.values["out"] - exact).max() < 1e-3
    assert np.allclose(waveforms.values["i(l1)"], -waveforms.values["i(v1)"], atol=1e-9)


def test_knowm_device_gives_the_published_extremes() -> None:
    waveforms = run(KNOWM.replace(".tran", TIGHT))
    current = waveforms.values["i(v1)"]
    assert current.min() == pytest.approx(-0.999998e-3, rel=1e-4)
    assert current.max() == pytest.approx(0.411754e-3, rel=3e-4)
    assert waveforms.values["x"].min() == pytest.approx(0, abs=1e-6)
    assert waveforms.values["x"].max() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("deck", [RC, RLC, KNOWM, MIF], ids=["rc", "rlc", "knowm", "mif"])
def test_both_engines_give_the_same_bits(deck: str) -> None:
    one, two = run(deck, engine="pyspice"), run(deck, engine="batch")
    assert np.array_equal(one.times, two.times)
    assert set(one.values) == set(two.values)
    for name, values in one.values.items():
        assert np.array_equal(values, two.values[name]), name


@pytest.mark.parametrize("engine", ["pyspice", "batch"])
def test_uic_has_no_row_at_zero(engine: str) -> None:
    waveforms = run(MIF, engine=engine)
    assert waveforms.times[0] > 0
    assert waveforms.times[-1] == pytest.approx(20e-3)
    assert np.all(np.diff(waveforms.times) >= 0)


def test_only_the_wanted_signals_come_back() -> None:
    assert set(run(RC, nodes=["out", "i(v1)"]).values) == {"out", "i(v1)"}
    with pytest.raises(NetcError, match="no signal called 'nowhere'"):
        run(RC, nodes=["out", "nowhere"])


@pytest.mark.parametrize("engine", ["pyspice", "batch"])
def test_a_run_that_takes_too_long_is_killed(engine: str) -> None:
    with pytest.raises(NetcError, match=r"did not finish within 1.5 s"):
        run(ENDLESS, engine=engine, timeout=1.5)
    assert not _children()


def test_a_killed_worker_is_reported() -> None:
    failures: list[NetcError] = []

    def job() -> None:
        try:
            run(ENDLESS, engine="pyspice", timeout=60)
        except NetcError as error:
            failures.append(error)

    thread = threading.Thread(target=job)
    thread.start()
    deadline = time.monotonic() + 30
    while not _children() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)
    for child in _children():
        os.kill(child, signal.SIGKILL)
    thread.join(30)
    assert not thread.is_alive()
    assert "SIGKILL" in str(failures[0])


def test_auto_falls_back_to_batch_and_says_so() -> None:
    waveforms = run(RC, installation=replace(INSTALLATION, library="/nowhere/libngspice.so"))
    assert waveforms.engine == "batch"
    assert "PySpice" in waveforms.notes[0]
    assert len(waveforms.times) > 100


def test_a_process_that_outgrows_its_limit_stops() -> None:
    with pytest.raises(NetcError, match=r"ngspice (was ended|stopped)"):
        run(ENDLESS, engine="batch", memory_limit=40 << 20, timeout=60)


@pytest.mark.parametrize("engine", ["pyspice", "batch", "auto"])
@pytest.mark.parametrize(
    ("card", "sentence"),
    [
        ("Xn in out nothere", "unknown subckt: xn in out nothere"),
        ("Dx in out nomodel", "could not find a valid modelname"),
        ("Bx z 0 v=1+(2", "syntax error"),
        ("R5 out 0 {undefined}", r"Undefined parameter \[undefined\]"),
        ("Va a 0 1\nVb a 0 2\n", "singular|Timestep too small"),
        ("Bx z 0 v=sqrt(-1-v(in)*10)", "out of range for sqrt"),
    ],
)
def test_a_rejected_netlist_gives_ngspices_own_sentence(engine: str, card: str, sentence: str) -> None:
    with pytest.raises(NetcError, match=sentence):
        run(RC.replace(".tran", f"{card}\n.tran"), engine=engine, timeout=30)


@pytest.mark.parametrize("engine", ["pyspice", "batch"])
def test_a_netlist_without_analysis_is_an_error(engine: str) -> None:
    with pytest.raises(NetcError, match=r"no \.tran"):
        run(RC.replace(".tran 10u 5m 0 10u\n", ""), engine=engine)


@pytest.mark.parametrize("engine", ["pyspice", "batch"])
def test_gmin_stepping_and_a_node_called_error_are_no_errors(engine: str) -> None:
    deck = RC.replace("out", "error_out").replace(".tran", "C7 float1 float2 1u\n.tran")
    waveforms = run(deck, engine=engine)
    assert "error_out" in waveforms.values
    assert waveforms.times[-1] == pytest.approx(5e-3)


@pytest.mark.parametrize(
    "command",
    [
        ".control\nshell touch x\n.endc",
        "*# shell touch x",
        ".include /etc/passwd",
        " .LIB a b",
        "*ng_script",
        ".exec x",
    ],
)
def test_commands_are_refused(command: str) -> None:
    with pytest.raises(NetcError, match="refused to pass"):
        run(RC.replace(".tran", f"{command}\n.tran"))


def test_settings_of_the_user_have_no_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touched = tmp_path / "touched"
    (tmp_path / ".spiceinit").write_text(f"shell touch {touched}\nset ngbehavior=ltpsa\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for engine in ("pyspice", "batch"):
        run(RC, engine=engine)
    assert not touched.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".spiceinit"]


def test_two_runs_at_once_do_not_mix() -> None:
    results: dict[str, Waveforms] = {}
    jobs = {"rc": RC, "mif": MIF}
    threads = [threading.Thread(target=lambda n=n, d=d: results.update({n: run(d)})) for n, d in jobs.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for name, deck in jobs.items():
        alone = run(deck)
        assert np.array_equal(results[name].times, alone.times)
        assert all(np.array_equal(results[name].values[k], v) for k, v in alone.values.items())


def test_memory_of_this_process_stays_bounded() -> None:
    deck = RC.replace(".tran 10u 5m 0 10u", ".tran 1u 50m 0 1u")  # 1.6 MB of waveforms a run
    run(deck, engine="batch")
    before = _resident_bytes()
    for _ in range(6):
        run(deck, engine="pyspice")
        run(deck, engine="batch")
    assert _resident_bytes() - before < 10e6


def test_names_of_vectors() -> None:
    names = ["V(Out)", "xn.x1", "v.xn.v1#branch", "v1#branch", "i(v1)", "i(@r.xn.r1[i])", "@c1[i]", "v(x.i(1))"]
    assert [signal_name(name) for name in names] == [
        "out", "xn.x1", "i(xn.v1)", "i(v1)", "i(v1)", "i(xn.r1)", "i(c1)", "x.i(1)",
    ]  # fmt: skip


def test_what_is_absent_is_named() -> None:
    nothing = replace(INSTALLATION, executable=None, library=None, pyspice=None)
    with pytest.raises(NetcError, match="apt-get install ngspice"):
        require_engine(nothing, "auto")
    with pytest.raises(NetcError, match="executable"):
        require_engine(nothing, "batch")
    with pytest.raises(NetcError, match="shared library"):
        require_engine(nothing, "pyspice")
    with pytest.raises(NetcError, match="pip install PySpice"):
        require_engine(replace(nothing, library="libngspice.so.0"), "pyspice")
    with pytest.raises(NetcError, match="unknown ngspice engine"):
        require_engine(INSTALLATION, "hspice")


def test_a_named_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "usr" / "bin" / "ngspice"
    library = tmp_path / "usr" / "lib" / "x86_64-linux-gnu" / "libngspice.so.0"
    binary.parent.mkdir(parents=True)
    library.parent.mkdir(parents=True)
    binary.write_text("#!/bin/sh\necho '** ngspice-99.1 : Circuit level simulation program'\n")
    binary.chmod(0o755)
    library.write_bytes(b"")
    monkeypatch.setenv("NETC_NGSPICE_DIR", str(tmp_path))
    found = find_ngspice()
    assert (found.executable, found.library, found.version) == (str(binary), str(library), "99.1")
    assert str(library.parent) in found.library_folders


def _children() -> list[int]:
    """The simulators this process has started and that still run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            command = (folder / "cmdline").read_text()
        except (OSError, IndexError):
            continue
        if parent == os.getpid() and ("worker.py" in command or "ngspice" in command):
            found.append(int(folder.name))
    return found


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
