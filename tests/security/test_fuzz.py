"""Random decks through the whole pipeline: a sentence or a module that agrees with the interpreter, never a traceback.

A longer run by hand: ``NETC_FUZZ_EXAMPLES=20000 pytest tests/security/test_fuzz.py``.
"""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netc.compiler import Compilation, compile_deck
from netc.diagnostics import NetcError
from netc.ir.interpret import simulate
from netc.runtime.stability import analyse
from tests.security.random_decks import decks

EXAMPLES = int(os.environ.get("NETC_FUZZ_EXAMPLES", "60"))
LIMITS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES == 60,
    database=None,
    suppress_health_check=list(HealthCheck),
)
STEPS, DT = 12, 1e-6


def outcome(text: str) -> str | None:
    """Return the emitted source of a deck, ``None`` if it is refused; any other exception is a defect."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "deck.cir"
        file.write_text(text, encoding="utf-8")
        try:
            compilation = compile_deck(file)
            source = compilation.source
            assert compile_deck(file).source == source
            _compare(compilation)
        except NetcError:
            return None
        return source


def _compare(compilation: Compilation) -> None:
    program = compilation.program
    # a step that is not stable makes a difference of one rounding a thousand times larger every time it is taken
    dt = min(DT, 0.5 * analyse(program).limit)
    try:
        with np.errstate(all="ignore"):
            expected = simulate(program, STEPS, dt)[0]
    except np.linalg.LinAlgError:
        return
    try:
        found = compilation.module(torch.float64)(STEPS, dt)[0].detach().numpy()
    except RuntimeError as error:
        if "singular" in str(error):
            return
        raise
    assert found.shape == expected.shape
    # many a random circuit runs away, and rounding with it: compare while it is tame
    tame = np.abs(np.nan_to_num(expected, nan=np.inf)).max(axis=(1, 2), initial=0.0) < 1e6
    rows = int(np.argmin(tame)) if not tame.all() else len(tame)
    scale = np.abs(expected[:rows]).max(initial=1.0)
    np.testing.assert_allclose(found[:rows], expected[:rows], rtol=1e-9, atol=1e-9 * scale)


@LIMITS
@given(decks())
def test_random_circuits(text: str) -> None:
    outcome(text)


@LIMITS
@given(decks(), st.integers(0, 2**32 - 1))
def test_damaged_decks(text: str, seed: int) -> None:
    """Characters lost, doubled or replaced by hostile ones."""
    chance = random.Random(seed)
    characters = list(text)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(characters))
        characters[place] = chance.choice(["", characters[place] * 2, *"'\"{}()=+-*,;$\\\n\r\x0b\x85\u2028\x1b% .0e"])
    outcome("".join(characters))


@LIMITS
@given(st.binary(max_size=300))
def test_arbitrary_bytes(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "deck.cir"
        file.write_bytes(content)
        try:
            _ = compile_deck(file).source
        except NetcError as error:
            assert str(error)
