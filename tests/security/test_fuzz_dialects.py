"""Random cards in every dialect through parser, translator, elaboration and back to text.

A deck gives a circuit or a sentence; never a traceback, never a wait, never a gigabyte.  What ``netc convert`` writes
is read again, and written the same.  A longer run by hand: ``NETC_FUZZ_EXAMPLES=20000 pytest tests/security``.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netc.compiler import compile_deck
from netc.diagnostics import NetcError
from netc.parse import parse_deck, write_deck
from netc.parse.dialects import DIALECTS
from tests.security.random_cards import card_heaps

EXAMPLES = int(os.environ.get("NETC_FUZZ_EXAMPLES", "120"))
LIMITS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES == 120,
    database=None,
    suppress_health_check=list(HealthCheck),
)
DIALECT = st.sampled_from(sorted(DIALECTS))
SECONDS = 20.0
GIGABYTE = 1 << 30
LIBRARY = ".lib tt\nr8 a 0 1k\n.endl tt\n.lib ff\n.include deck.cir\n.endl\n"


@contextmanager
def no_longer_than(seconds: float) -> Iterator[None]:
    """Raise where the process computes for more than ``seconds``."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"still at work after {seconds:g} s")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def outcome(text: str, dialect: str, *, lenient: bool) -> bool:
    """Return whether the deck is one; any exception but a sentence is a defect."""
    with tempfile.TemporaryDirectory() as name, no_longer_than(SECONDS):
        folder = Path(name)
        (folder / "other.lib").write_text(LIBRARY, encoding="utf-8")
        file = folder / "deck.cir"
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
        try:
            deck = parse_deck(file, dialect=dialect, lenient=lenient)
        except NetcError as error:
            assert str(error)
            _elaborated(file, dialect, lenient=lenient)
            return False
        written = write_deck(deck)
        again = folder / "written.cir"
        again.write_text(written, encoding="utf-8")
        try:
            back = parse_deck(again, lenient=lenient)
        except NetcError as error:
            raise AssertionError(f"what netc writes it does not read: {error}\n{written}") from None
        assert write_deck(back) == written
        return _elaborated(file, dialect, lenient=lenient)


def _elaborated(file: Path, dialect: str, *, lenient: bool) -> bool:
    try:
        return bool(compile_deck(file, dialect=dialect, lenient=lenient).circuit.nets)
    except NetcError as error:
        assert str(error)
        return False


@LIMITS
@given(card_heaps(), DIALECT, st.booleans())
def test_random_cards(text: str, dialect: str, lenient: bool) -> None:
    outcome(text, dialect, lenient=lenient)


@LIMITS
@given(
    card_heaps(), st.sampled_from(sorted(DIALECTS)), st.lists(st.tuples(st.integers(0), st.characters()), max_size=8)
)
def test_damaged_cards(text: str, dialect: str, damage: list[tuple[int, str]]) -> None:
    for place, character in damage:
        at = place % (len(text) + 1)
        text = text[:at] + character + text[at + place % 3 :]
    outcome(text.encode("utf-8", "replace").decode("utf-8"), dialect, lenient=False)


HOGS = {
    "conditions in conditions": ".if (1)\n" * 20_000 + "r9 a 0 1k\n" + ".endif\n" * 20_000,
    "many branches": ".if (0)\n" + ".elseif (0)\nr9 a 0 1k\n" * 1500 + ".endif\n",
    "an open condition": ".if (1)\n" * 5000,
    "a library that includes itself": ".lib deck.cir tt\n.lib tt\n.lib deck.cir tt\n.endl tt\n",
    "measures of measures": ".meas tran m0 max v(a)\n"
    + "".join(f".meas tran m{k} param='m{k - 1}*m{k - 1}'\n" for k in range(1, 3000)),
    "a polynomial of too many": "e9 z 0 poly(60) " + "a 0 " * 60 + "1 " * 50_000 + "\n",
    "a polynomial of nothing": "e9 z 0 poly(999999999999) a 0 1\n",
    "a long table": "g9 a 0 table {v(a)} = " + " ".join(f"({k},{k})" for k in range(2000)) + "\n",
    "a long piecewise line": "v9 z 0 pwl(" + " ".join(f"{k}u {k % 7}" for k in range(60_000)) + ") r=0\nr9 z 0 1\n",
    "derivatives of derivatives": f"b9 z 0 v={'ddt(' * 300}v(a){')' * 300}\nr9 z 0 1\n",
    "integrals of integrals": f"b9 z 0 v={'idt(' * 300}v(a){')' * 300}\nr9 z 0 1\n",
    "coupled with each other": "".join(f"l{k} a n{k} 1m\nr{k + 9} n{k} 0 1\n" for k in range(150))
    + "k1 "
    + " ".join(f"l{k}" for k in range(150))
    + " 0.001\n",
    "instances in parallel": "x9 a b s m=1e30\n.subckt s a b\nr1 a b 1\n.ends\n",
    "random numbers in functions": ".func f(x) {agauss(x,1,3)+agauss(x,1,3)}\n"
    + "".join(f".func f{k}(x) {{f{k - 1 if k else ''}(x)+f{k - 1 if k else ''}(x)}}\n" for k in range(30))
    + "r9 a 0 {f29(1)}\n",
    "continuations": "r9 a 0\n" + "+\n" * 200_000 + "+ 1k\n",
    "transistors": "".join(f"m{k} a b n{k} 0 mm\nr{k + 9} n{k} 0 1k\n" for k in range(300)) + ".model mm nmos\n",
}
_WORKER = """
import resource, sys
from pathlib import Path
from netc.compiler import compile_deck
from netc.diagnostics import NetcError
from netc.parse import parse_deck, write_deck
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for dialect in sys.argv[2:]:
    try:
        write_deck(parse_deck(Path(sys.argv[1]), dialect=dialect))
        compile_deck(sys.argv[1], dialect=dialect).circuit
    except NetcError as error:
        assert len(str(error)) < 400_000
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.parametrize("name", HOGS)
def test_what_asks_for_much_gets_little(name: str, tmp_path: Path) -> None:
    """Each in a process of its own, so that its memory can be told."""
    file = tmp_path / "deck.cir"
    head = "* hog\nv1 a 0 sin(0 1 1k)\nr1 a b 1k\nc1 b 0 1n\n"
    file.write_text(head + HOGS[name] + ".tran 1u 1m\n.end\n", encoding="utf-8")

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (120, 120))

    done = subprocess.run(
        [sys.executable, "-c", _WORKER, str(file), "ngspice", "ltspice"],
        capture_output=True,
        text=True,
        preexec_fn=limited,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < GIGABYTE
