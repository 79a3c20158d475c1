"""Nothing in a deck makes ngspice run a command, or read or write a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from netc.compiler import compile_deck
from netc.diagnostics import NetcError
from netc.ngspice.bridge import run
from netc.ngspice.locate import find_ngspice
from netc.ngspice.netlist import ngspice_text

BODY = "V1 in 0 1\nR1 in out 1k\nC1 out 0 1u\n"
TRAN = ".tran 1u 20u uic\n"
SHELL = "shell touch CANARY"

DECKS = {
    "control": f"t\n{BODY}{TRAN}.control\n{SHELL}\n.endc\n",
    "control in capitals": f"t\n{BODY}{TRAN}.CONTROL\n{SHELL}\n.ENDC\n",
    "control over two lines": f"t\n{BODY}{TRAN}.con\n+trol\n{SHELL}\n.endc\n",
    "control after a tab": f"t\n{BODY}{TRAN}.control\tx\n{SHELL}\n.endc\n",
    "control in the title": f".control\n{SHELL}\n.endc\n{BODY}{TRAN}",
    "command comment": f"t\n{BODY}*# {SHELL}\n{TRAN}",
    "command in the title": f"*# {SHELL}\n{BODY}{TRAN}",
    "command between continuations": f"t\nV1 in 0 1\nR1 in out\n*# {SHELL}\n+ 1k\nC1 out 0 1u\n{TRAN}",
    "command after a title card": f"t\n{BODY}.title x\n+ *# {SHELL}\n{TRAN}",
    "script": f"t\n*ng_script\n{BODY}{TRAN}",
    "vertical tab": f"t\n{BODY}R2 in 0 1k\x0b.control\x0b{SHELL}\x0b.endc\n{TRAN}",
    "form feed": f"t\n{BODY}R2 in 0 1k\x0c*# {SHELL}\n{TRAN}",
    "next line": f"t\n{BODY}R2 in 0 1k ; \x85*# {SHELL}\n{TRAN}",
    "line separator": f"t\n{BODY}R2 in 0 1k $ \u2028.control\u2028{SHELL}\u2028.endc\n{TRAN}",
    "carriage return": f"t\n{BODY}R2 in 0 1k ; x\r.control\r{SHELL}\r.endc\n{TRAN}",
    "backslash": f"t\n{BODY}R2 in 0 1k\\\\\nR3 in 0 1k\n{TRAN}",
    "backslash in a comment": f"t\n{BODY}R2 in 0 1k ; \\\\\nR3 in 0 1k\n{TRAN}",
    "options": f"t\n{BODY}.options rawfile=CANARY post=1 filetype=ascii seed=1\n{TRAN}",
    "options in quotes": f"t\n{BODY}.options a='x\n+ .control\n+ {SHELL}'\n{TRAN}",
    "print to a file": f"t\n{BODY}.print tran v(out) > CANARY\n{TRAN}",
    "subcircuit called control": f"t\n.subckt .control a\nR9 a 0 1\n.ends\nX1 in .control\n{BODY}{TRAN}",
    "subcircuit called include": f"t\n.subckt .include a\nR9 a 0 1\n.ends\nX1 in .include\n{BODY}{TRAN}",
    "node of backticks": f"t\n{BODY}R2 `touch${{IFS}}CANARY` in 1\nR3 `touch$IFS`CANARY 0 1\n{TRAN}",
    "format fields": f"t\n{BODY}R2 %s%n%s%n in 1\nR3 %s%n%s%n 0 1\n{TRAN}",
    "global": f"t\n{BODY}.global `touch` $HOME\n{TRAN}",
    "a node that crashes ngspice": f"t\n{BODY}R2 temper 0 1k\n{TRAN}",
    **{
        f"card {card}": f"t\n{BODY}{card}\n{TRAN}"
        for card in (
            ".exec touch CANARY",
            ".shell touch CANARY",
            ".write CANARY",
            ".codemodel CANARY",
            ".pre_codemodel CANARY",
            ".hdl CANARY",
            ".csparam x=1",
            ".include /etc/passwd",
            ".lib /etc/passwd x",
            "V9 z 0 PWL file=/etc/passwd",
            "A1 in out m",
            ".model m filesource(file=1)",
            "& .control",
        )
    },
}


@pytest.mark.skipif(not find_ngspice().engines, reason="needs ngspice")
@pytest.mark.parametrize("name", DECKS)
def test_no_command_is_run(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    file = tmp_path / "deck.cir"
    file.write_bytes(DECKS[name].replace("CANARY", str(canary)).encode())
    try:
        compilation = compile_deck(file)
        timing = compilation.circuit.timing
        assert timing is not None
        text = ngspice_text(compilation.deck, timing)
        assert not any(line.lstrip().lower().startswith((".control", "*#", "shell")) for line in text.splitlines())
        run(text, engine="batch" if "batch" in find_ngspice().engines else "auto", timeout=30)
    except NetcError:
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["deck.cir"]


def test_a_comment_cannot_join_cards(tmp_path: Path) -> None:
    file = tmp_path / "deck.cir"
    file.write_text(DECKS["backslash in a comment"], encoding="utf-8")
    compilation = compile_deck(file)
    assert compilation.circuit.timing is not None
    assert "\\" not in ngspice_text(compilation.deck, compilation.circuit.timing)
    file.write_text(DECKS["backslash"], encoding="utf-8")
    compilation = compile_deck(file)
    assert compilation.circuit.timing is not None
    with pytest.raises(NetcError, match="backslash"):
        ngspice_text(compilation.deck, compilation.circuit.timing)
