"""Compiling and caching: concurrent builds, missing and failing compilers, names that must not become code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from netc.emit.schedule import schedule
from netc.ir.nodes import Assemble, Entries, Index, MatVec, Outer, State
from netc.ir.program import Program
from netc.kernels import build, library
from netc.kernels.file import NAMES, source
from netc.kernels.loops import backward, loops
from netc.kernels.source import LoopSource
from netc.kernels.text import Tables
from netc.runtime.load import instantiate
from tests.emit import programs
from tests.kernels.test_agreement import Values

SOURCE = 'extern "C" int answer() { return 42; }\n'


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/netc/kernels"


def text_of(program: Program) -> str:
    tables, parts = Tables(), []
    for name, loop in zip(NAMES, loops(schedule(program)), strict=True):
        if loop is not None:
            parts.append(LoopSource(name, loop, backward(loop, loop.reads), tables))
    return source(parts, tables, "float")


def test_a_file_is_compiled_once(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = library.load(SOURCE)
    assert first is not None and first.answer() == 42
    files = {path: path.stat().st_mtime_ns for path in own_cache.iterdir()}
    assert len(files) == 1, "nothing but the library is left"
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("compiled again"))
    assert library.load(SOURCE) is not None
    assert {path: path.stat().st_mtime_ns for path in own_cache.iterdir()} == files


def test_another_compiler_or_source_compiles_anew(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = library.compiler()
    assert found is not None
    assert library.load(SOURCE) is not None
    assert library.load(SOURCE.replace("42", "43")) is not None
    other = tmp_path / "other-c++"
    other.symlink_to(found)
    monkeypatch.setenv("CXX", str(other))
    assert library.load(SOURCE) is not None
    assert len(list(own_cache.iterdir())) == 3


def test_processes_may_compile_at_once(own_cache: Path) -> None:
    code = f"from netc.kernels import library; print(library.load({SOURCE!r}).answer())"
    runs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [run.communicate(timeout=120)[0].strip() for run in runs] == ["42"] * 4
    assert len(list(own_cache.iterdir())) == 1


def test_without_a_compiler_there_is_a_notice_and_no_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    notices: list[str] = []
    assert build(programs.mif(), notify=notices.append) is None
    assert len(notices) == 1 and "no C++ compiler" in notices[0] and "\n" not in notices[0]


def test_a_failing_compiler_gives_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    script = tmp_path / "broken"
    script.write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\necho "x.cpp:1: error: no luck" >&2\nexit 1\n')
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    notices: list[str] = []
    assert build(programs.mif(), notify=notices.append) is None
    assert len(notices) == 1 and "no luck" in notices[0]
    assert not list(own_cache.iterdir()), "no rubbish is left"


@pytest.mark.skipif(shutil.which("clang++") is None, reason="clang++ is not there")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_clang_gives_the_same_numbers(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for name in (library.compiler(), shutil.which("clang++")):
        monkeypatch.setenv("CXX", str(name))
        kernel = build(programs.network(), dtype, threads=1)
        assert kernel is not None
        module = instantiate(programs.network(), dtype)
        inputs, labels = torch.linspace(0, 1, 3 * module.FEATURES).reshape(3, -1), torch.tensor([0, 1, 0])
        loss = kernel.loss(module, inputs.to(dtype), labels, 50, 2e-5, 20.0)
        found.append([loss.detach(), *torch.autograd.grad(loss, list(module.parameters()))])
    close = 1e-5 if dtype is torch.float32 else 1e-11
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=close * float(one.abs().max()))


def test_a_cache_that_cannot_be_written_gives_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    notices: list[str] = []
    assert build(programs.mif(), notify=notices.append) is None
    assert len(notices) == 1


def test_what_kernels_do_not_cover_is_said() -> None:
    program = programs.mif()
    state = program.states[0]
    leaf, lanes = State(state.name, len(state.lanes)), Index(np.arange(len(state.lanes)))
    moving = MatVec(leaf, Assemble(leaf, lanes, lanes, (len(lanes), len(lanes))))
    notices: list[str] = []
    changed = replace(program, states=(replace(state, derivative=moving), *program.states[1:]))
    assert build(changed, notify=notices.append) is None
    assert len(notices) == 1 and "a matrix that changes" in notices[0]


def test_a_kind_of_node_without_a_rule_is_said() -> None:
    program = programs.mif()
    state = program.states[0]
    strange = Outer(State(state.name, len(state.lanes)), State(state.name, len(state.lanes)))
    value = Entries(strange, Index([0]), Index([0]))
    observables = (replace(program.observables[0], value=value), *program.observables[1:])
    notices: list[str] = []
    assert build(replace(program, observables=observables), notify=notices.append) is None
    assert len(notices) == 1 and "no rule for Entries, Outer" in notices[0]


def test_the_same_program_gives_the_same_text() -> None:
    code = (
        "import hashlib; from tests.emit import programs; from tests.kernels.test_library import text_of;"
        "print(hashlib.sha256(text_of(programs.network()).encode()).hexdigest())"
    )
    root = Path(__file__).resolve().parents[2]
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_no_name_of_a_deck_is_in_the_text() -> None:
    program = programs.network()
    evil = '";system("id");//'
    renamed = replace(
        program,
        title=evil,
        states=tuple(replace(s, lanes=tuple(evil + n for n in s.lanes), unit=evil) for s in program.states),
        observables=tuple(replace(o, lanes=tuple(evil + n for n in o.lanes), name=evil) for o in program.observables),
        outputs=tuple(evil + n for n in program.outputs),
        parameters=tuple(replace(p, unit=evil, lanes=tuple(evil for _ in p.lanes)) for p in program.parameters),
    )
    assert text_of(renamed) == text_of(program)
    assert not any(block.name in text_of(program) for block in program.states)


def test_an_exponential_is_shared_only_where_arguments_lie_close() -> None:
    program = programs.mif(lanes=3)
    kernel = build(program, torch.float64, threads=1)
    assert kernel is not None
    module = instantiate(program, torch.float64)
    for on in (0.11, 30.0):  # in units of 25 mV: apart by 4, and by 1200
        values = {**module.values(), "on_1": torch.tensor([on], dtype=torch.float64)}
        found = kernel.simulate(Values(values), 50, 1e-5)
        expected = module(50, 1e-5, values=values)[0]
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-15)
