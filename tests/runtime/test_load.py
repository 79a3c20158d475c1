from __future__ import annotations

import traceback

import pytest
import torch

from netc.emit import emit_torch
from netc.runtime.load import instantiate, load
from tests.emit import programs


def test_a_traceback_shows_the_emitted_line() -> None:
    circuit = load(emit_torch(programs.rc())).Circuit()
    try:
        circuit(3, 1e-5, state=(1, 2, 3))
    except ValueError as error:
        assert "v_1, = state" in "".join(traceback.format_exception(error))
    else:
        pytest.fail("three states were taken for one")


def test_modules_do_not_share_anything() -> None:
    first, second = load(emit_torch(programs.rc())), load(emit_torch(programs.rc()))
    assert first.Circuit is not second.Circuit


def test_instantiate_takes_source_or_program() -> None:
    for given in (programs.rc(), emit_torch(programs.rc())):
        assert instantiate(given, torch.float64).precision.dtype == torch.float64
