"""Names of a deck never become code, commands or terminal control: refused in a sentence, or harmless."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from netc.compiler import Compilation, compile_deck
from netc.diagnostics import Diagnostic, NetcError, Severity, Span
from netc.elaborate import dump as dump_circuit
from netc.ir.printer import format_program
from netc.parse import dump as dump_deck
from netc.report import waveforms
from netc.report.summary import summarise
from netc.runtime.stability import analyse

PLAIN = """* title
.param PAR=1k
.func fun(x) {x*2}
.subckt SUB a b PP=1
R1 a NODE {PAR*PP}
C1 NODE b 1u
.ends
V1 in 0 sin(0 1 1k)
REL in n2 1k
C2 n2 0 1u
XI n2 0 SUB
B1 q 0 v=fun(v(n2))
R9 q 0 1
.tran 1u 20u uic
*.netc train REL min=1 max=10k
*.netc input V1
*.netc output n2
"""

HOSTILE = [
    '"""',
    "'''",
    "a\\",
    "a\\n",
    "\\N{BULLET}",
    "a\rimport os",
    "a\x0bimport",
    "a\x85b",
    "a\u2028import_os",
    "__import__('os').system('touch${IFS}owned')",
    "__import__",
    "{0}{x!r}",
    "%s%n",
    "`touch${IFS}owned`",
    "\u0430\u0431",  # Cyrillic lookalikes
    "\N{LATIN SMALL LIGATURE FI}le",
    "a\0b",
    "a\x1b[31mred",
    "a\x1b]0;x\x07",
    "[red]x[/red]",
    "[link=http://e]x[/link]",
    "@SUM",
    "a|b",
    "$x^{2}$",
    "$^$",
    "_" * 150,
    "n" * 900,
    "n" * 5000,
    "a\u202eb",
    *("self", "torch", "class", "None", "steps", "keep_0", "t_1", "found", "precision", "prepare", "_", "__init__"),
    *("#", "*", "!", "..", "../../etc", "&", "?", "[", "x;import", "x#y"),
]
PLACES = {"* title": "", "PAR": "", "fun": "", "SUB": "", "NODE": "", "REL": "R", "n2": "", "XI": "X", "V1": "V"}


def compiled(text: str, folder: Path) -> Compilation:
    file = folder / "deck.cir"
    file.write_bytes(text.encode("utf-8"))
    return compile_deck(file)


def skeleton(source: str) -> str:
    """Return the code with strings blanked and identifiers numbered in the order they appear."""
    seen: dict[str, str] = {}
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
        for field in ("id", "attr", "arg", "name"):
            name = getattr(node, field, None)
            if isinstance(name, str):
                setattr(node, field, seen.setdefault(name, f"n{len(seen)}"))
    return ast.dump(tree)


def unfit(text: str) -> list[str]:
    """Characters that would act on a terminal."""
    return [c for c in text if not c.isprintable() and c != "\n"]


@pytest.mark.parametrize("place", PLACES)
def test_names_change_no_statement(place: str, tmp_path: Path) -> None:
    plain = compiled(PLAIN, tmp_path)
    expected, values = skeleton(plain.source), plain.module(torch.float64)(20, 1e-6)[0]
    accepted = 0
    for hostile in HOSTILE:
        wish = PLACES[place] + hostile
        text = PLAIN.replace(place, wish) if place[0] == "*" else wish.join(re.split(rf"\b{place}\b", PLAIN))
        try:
            compilation = compiled(text, tmp_path)
            source = compilation.source
        except NetcError as error:
            assert not unfit(str(error)), hostile
            continue
        accepted += 1
        assert source.isascii() and not unfit(source), hostile
        if len(hostile) < 200:  # long names are packed, which is another statement
            assert skeleton(source) == expected, hostile
        assert torch.equal(compilation.module(torch.float64)(20, 1e-6)[0], values), hostile
        shown = [
            dump_deck(compilation.deck),
            dump_circuit(compilation.circuit),
            format_program(compilation.dae),
            format_program(compilation.program),
            summarise(compilation.circuit, compilation.dae, compilation.program, analyse(compilation.program)),
            *(d.render(compilation.deck.sources) for d in compilation.diagnostics),
        ]
        assert not unfit("".join(shown)), hostile
    assert accepted > 5


def test_the_emitted_file_does_nothing_but_simulate(tmp_path: Path) -> None:
    text = '""" + open("owned", "w").close() + """\n' + PLAIN.partition("\n")[2].replace("n2", '__import__[os]|"x'[:14])
    file = tmp_path / "module.py"
    file.write_text(compiled(text, tmp_path).source, encoding="utf-8")
    before = sorted(p.name for p in tmp_path.iterdir())
    subprocess.run([sys.executable, "-I", str(file)], cwd=tmp_path, check=True, capture_output=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize("character", ["\x1b", "\x07", "\x7f", "\x85", "\u2028", "\u202e"])
def test_control_characters_in_cards_are_refused_by_name(character: str, tmp_path: Path) -> None:
    with pytest.raises(NetcError, match=f"control character, U\\+{ord(character):04X}"):
        _ = compiled(f"title\nv1 a{character}b 0 1\nr1 a{character}b 0 1\n.tran 1u 1m\n", tmp_path).deck


def test_pictures_read_no_markup(tmp_path: Path) -> None:
    times = np.linspace(0.0, 1.0, 5)
    for name in ("$\\frac{a}{$", "$", "\\x", "a\x1b[31m", "n" * 3000, "\N{BULLET}{0}%s"):
        waveforms(times, {name: times}, tmp_path / "picture.png", title=name)
        assert (tmp_path / "picture.png").stat().st_size > 1000


def test_messages_stay_short_and_printable() -> None:
    text = Diagnostic(
        Severity.ERROR, "x" * 10**6 + "\x1b[31m\r", Span("a\x1b.cir", 1, 5), hint="y\u2028" * 10**6
    ).render({"a\x1b.cir": ["\x1b" * 10**6]})
    assert len(text) < 5000 and not unfit(text)
