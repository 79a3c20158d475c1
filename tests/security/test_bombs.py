"""Small decks that would grow without bound end at once, with a sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from netc.compiler import compile_deck
from netc.diagnostics import MOST_ERRORS, NetcError

RC = "V1 in 0 1\nR1 in out 1k\nC1 out 0 1u\n.tran 1u 1m uic\n"


def doubling(levels: int) -> str:
    calls = "".join(f".func f{k}(x) {{f{k - 1}(x)+f{k - 1}(x*2)}}\n" for k in range(1, levels))
    return f"t\n.func f0(x) {{x+x*x}}\n{calls}"


def laughs(element: str, width: int, levels: int) -> str:
    inner = "".join(
        f".subckt s{k} a\n" + "".join(f"x{j} a s{k - 1}\n" for j in range(width)) + ".ends\n" for k in range(1, levels)
    )
    return f"t\n.subckt s0 a\n{element}\n.ends\n{inner}X0 in s{levels - 1}\n{RC}"


def deep(levels: int) -> str:
    opened = "".join(f".subckt s{k} a\n" for k in range(levels))
    return f"t\n{opened}R1 a 0 1k\n" + ".ends\n" * levels + RC


BOMBS = {
    "calls of functions": (doubling(60) + f"B1 b 0 v=f59(v(in))\n{RC}", "expand into more than"),
    "calls in numbers": (doubling(60) + f".param q={{f59(1)}}\nR9 in 0 {{q}}\n{RC}", "expand into more than"),
    "instances": (laughs("R1 a 0 1k", 10, 10), "subcircuits of the deck expand into"),
    "instances of nothing": (laughs("* nothing", 2, 60), "subcircuits of the deck expand into"),
    "definitions in definitions": (deep(3000), ""),
    "long names times instances": (
        f"t\n.subckt s a\nR{'n' * 2000} a 0 1k\n.ends\n" + "".join(f"x{k} in s\n" for k in range(50)) + RC,
        "longer than 1000 characters",
    ),
    "errors": ("t\n" + "".join(f"T{k} a b c\n" for k in range(20_000)) + RC, "too many errors"),
    "undefined names": ("t\n" + "".join(f"Rx{k} in b {{u{k}}}\n" for k in range(5000)) + RC, "too many errors"),
    "a long card": (f"t\nR2 in 0 {'9' * 3_000_000}\n{RC}", "longer than 2,000,000 characters"),
    "a long sum": (f"t\nB1 b 0 v={'+'.join(['2*v(in)'] * 30_000)}\n{RC}", "more than 20,000"),
    "brackets": (f"t\nB1 b 0 v={'(' * 9000}v(in){')' * 9000}\n{RC}", "nested deeper"),
    "signs": (f"t\nB1 b 0 v={'-' * 9000}v(in)\n{RC}", "nested deeper"),
    "exponents": (f"t\nR2 in 0 1e{'9' * 9000}\n{RC}", "too large for a number"),
    "powers": (f"t\n.param q={{10^(10^10)}}\nR2 in 0 {{q}}\n{RC}", "not a finite number"),
    "a chain of sources": (
        "t\n"
        + "".join(f"E{k} n{k + 1} 0 n{k} 0 1.1\n" for k in range(1000))
        + f"R2 in n0 1\nR3 n0 0 1\nC9 n1000 z 1u\nR9 z 0 1\n{RC}",
        "too long a chain",
    ),
    "steps": ("t\nV1 in 0 1\nR1 in out 1k\nC1 out 0 1u\n.tran 1e-300 1e300 uic\n", "more than 1e+15 steps"),
    "an operating point": (
        "t\nV1 in 0 1\n" + "".join(f"R{k} in n{k} 1k\nC{k} n{k} 0 1u\n" for k in range(4000)) + ".tran 1u 1m\n",
        "operating point of 4,000 states",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_ends_with_a_sentence(name: str, tmp_path: Path) -> None:
    text, message = BOMBS[name]
    file = tmp_path / "deck.cir"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(NetcError) as caught:
        _ = compile_deck(file).source
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400_000 and len(caught.value.diagnostics) <= MOST_ERRORS + 1


def test_functions_of_functions_are_no_recursion(tmp_path: Path) -> None:
    """An argument stands where it is written, not where it is used."""
    file = tmp_path / "deck.cir"
    file.write_text(
        f"t\n.func sq(x) {{x*x}}\n.func p4(x) {{sq(sq(x))}}\nB1 b 0 v=p4(sq(v(in)))\nR2 b 0 1\n{RC}", encoding="utf-8"
    )
    assert compile_deck(file).source


def test_a_capacitor_on_one_node_leaves_the_operating_point(tmp_path: Path) -> None:
    """Given initial values sort states into other families than operating points do."""
    file = tmp_path / "deck.cir"
    file.write_text(
        "t\nV1 s 0 1\nR1 s a 1k\nC1 a 0 1u\nR2 a b 1k\nR3 b 0 2k\nC2 b 0 1u ic=0.2\nC3 0 0 1u\n.tran 1u 1m\n",
        encoding="utf-8",
    )
    circuit = compile_deck(file).module()
    assert circuit(1, 1e-6, observe=["a", "b"])[0][0, 0].tolist() == pytest.approx([0.75, 0.5])


def test_blocks_come_behind_what_they_read(tmp_path: Path) -> None:
    """The slope of d passes through the sensed current of vs, which follows from another node's slope."""
    file = tmp_path / "deck.cir"
    file.write_text(
        "t\ncg3 d 0 1u\ncg4 e 0 1u\nr0 a e 1k\nc1 a d 1u\nh2 0 a vs 1\nvs s 0 1\nrs s e 1k\nrd d 0 1k\n.tran 1u 20u\n",
        encoding="utf-8",
    )
    assert compile_deck(file).module()(3, 1e-6)[0].isfinite().all()


def test_includes_are_counted(tmp_path: Path) -> None:
    for k in range(30):
        body = f".include i{k + 1}.inc\n" * 2 if k < 29 else "* end\n"
        (tmp_path / f"i{k}.inc").write_text(body, encoding="utf-8")
    (tmp_path / "deck.cir").write_text(f"t\n.include i0.inc\n{RC}", encoding="utf-8")
    with pytest.raises(NetcError, match="too many files are included"):
        _ = compile_deck(tmp_path / "deck.cir").deck


def test_includes_stay_where_they_may(tmp_path: Path) -> None:
    outside = tmp_path / "secret.inc"
    outside.write_text("R9 in 0 1\n", encoding="utf-8")
    home = tmp_path / "home"
    home.mkdir()
    (home / "link.inc").symlink_to(outside)
    (home / "up").symlink_to(tmp_path)
    for name in ("link.inc", "up/secret.inc", "../secret.inc", str(outside), "/dev/zero", "/proc/self/environ"):
        (home / "deck.cir").write_text(f't\n.include "{name}"\n{RC}', encoding="utf-8")
        with pytest.raises(NetcError, match=r"outside|not found"):
            _ = compile_deck(home / "deck.cir").deck


def test_a_sparse_bank_stays_sparse(tmp_path: Path) -> None:
    """30,000 resistors between 30,000 and 30,000 nodes: a dense matrix would take 7 GB."""
    size = 30_000
    cards = [f"R{k} a{k} b{k * 7919 % size} 1k\nC{k} a{k} 0 1u\nCb{k} b{k} 0 1u\nRb{k} b{k} 0 1k" for k in range(size)]
    file = tmp_path / "deck.cir"
    file.write_text("t\nV1 in 0 1\nRi in a0 1\n" + "\n".join(cards) + "\n.tran 1u 1m uic\n", encoding="utf-8")
    script = (
        "import sys, resource; from netc.compiler import compile_deck\n"
        "compile_deck(sys.argv[1]).module()(3, 1e-6, observe=['a0'])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(file)], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 1.5e9


def test_a_repeated_constant_keeps_its_lanes(tmp_path: Path) -> None:
    """Capacitors between all pairs of nodes: the solve's right side has constants in most lanes."""
    file = tmp_path / "deck.cir"
    loops = "".join(f"C{a}_{b} n{a} n{b} 1u\n" for a in range(20) for b in range(a))
    file.write_text(f"t\nV1 in 0 1\nR1 in n0 1\n{loops}Cg n0 0 1u\n.tran 1u 1m uic\n", encoding="utf-8")
    assert compile_deck(file).module()(3, 1e-6)[0].isfinite().all()
