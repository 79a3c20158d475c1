"""What the README and docs/ say works: their commands run, their decks and programs too, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from netc.cli.main import COMMANDS, main

from netc.compiler import compile_deck
from netc.diagnostics import NetcError
from netc.ngspice import find_ngspice

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LARGEST_PICTURE = 150_000  # bytes


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of the README that are marked ``language``."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines() if line.strip()]


def reason_to_skip(words: list[str]) -> str | None:
    if words[:3] == ["netc", "data", "fetch"] or "mnist" in words:
        return "network"
    if words[1] in ("validate", "doctor", "signoff") and not find_ngspice().engines:
        return "no ngspice"
    return None


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the decks and models of the checkout, and in it the process."""
    for folder in ("netlists", "models"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_run_one_after_another(checkout: Path) -> None:
    run = 0
    for line in commands():
        words = shlex.split(line, comments=True)
        if reason_to_skip(words):
            continue
        if words[0] == "netc":
            with pytest.raises(SystemExit) as ended:
                main(words[1:])
            assert ended.value.code == 0, line
        else:
            assert words[0] == "python", f"not a command the test knows: {line}"
            subprocess.run([sys.executable, *words[1:]], check=True, capture_output=True, timeout=120)
        run += 1
    assert run >= 10
    for file in ("mif.py", "mif.csv", "rc.csv", "rc.png", "runs/small/result.json"):
        assert (checkout / file).stat().st_size > 0


def test_every_command_has_an_example() -> None:
    shown = {shlex.split(line, comments=True)[1] for line in commands() if line.startswith("netc ")}
    assert shown == set(COMMANDS)


def test_the_deck_compiles_and_the_program_trains_it(checkout: Path) -> None:
    (deck,) = blocks("spice")
    (program,) = blocks("python")
    Path("two.cir").write_text(deck, encoding="utf-8")
    compilation = compile_deck("two.cir")
    module = compilation.module()
    assert module.FEATURES == 2 and module.OUTPUTS == ("m1", "m2")
    assert [str(d) for d in compilation.diagnostics] == []
    names: dict[str, Any] = {}
    exec(compile(program, "README.md", "exec"), names)  # our own text
    before, after = module.values()["r_r"], names["circuit"].values()["r_r"]
    assert (before != after).all()


@pytest.mark.ngspice
def test_ngspice_runs_the_deck_as_it_stands(checkout: Path) -> None:
    executable = find_ngspice().executable
    if executable is None:
        pytest.skip("no ngspice")
    Path("two.cir").write_text(blocks("spice")[0], encoding="utf-8")
    found = subprocess.run(
        [executable, "-b", "-r", "two.raw", "two.cir"], capture_output=True, text=True, errors="replace", timeout=60
    )
    assert found.returncode == 0, found.stderr
    assert Path("two.raw").stat().st_size > 10_000


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.M)
    }
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if path.startswith("http"):
            continue
        assert not path or (document.parent / path).is_file(), target
        assert path or anchor in headings, target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_named_exist(document: Path) -> None:
    """Paths in back quotes that start with a folder of the checkout are there."""
    text = document.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:netc|cli|docs|models|netlists|scripts|tests)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path


def test_pictures_are_small() -> None:
    for picture in (ROOT / "docs" / "images").glob("*"):
        assert picture.stat().st_size < LARGEST_PICTURE, picture.name


def test_every_deck_is_in_the_table_of_agreement_or_named() -> None:
    for deck in (ROOT / "netlists").glob("*.cir"):
        assert f"`{deck.stem}`" in README or f"netlists/{deck.name}" in README, deck.name


FRAME = "title\nV1 in 0 SIN(0 1 1k)\nR1 in out 1k\nC1 out 0 100n\n{}\n.tran 1u 1m uic\n.end\n"
SUPPORTED = (
    "R2 out 0 R={1k+v(out)}",
    "R2 out 0 1k tc1=1m tc2=1u m=2 scale=2 dtemp=3",
    ".model rm r(rsh=100)\nR2 out 0 rm l=10u w=1u",
    ".model cm c(cap=1u)\nR2 out x 1k\nC2 x 0 cm IC=0.1",
    "L1 out 0 1m IC=1u",
    ".options scale=1u\n.model n.1 nmos(lmin=1u lmax=5u)\nM1 out in 0 0 n w=4 l=2",
    "V2 x 0 dc 1 ac 1 0\nR2 x 0 1",
    "V2 x 0 PWL(0 0 1m 1) td=1u\nR2 x 0 1",
    "E1 x 0 vol={2*v(out)}\nR2 x 0 1",
    "G1 x 0 cur='2*v(out,in)'\nR2 x 0 1",
    "F1 0 x R1 2\nR2 x 0 1",
    "B1 0 x i=i(R1)+i(C1)+i(V1)+time*pi*e+temper\nR2 x 0 1",
    "B1 x 0 v=v(out)>0 && !(v(in)<>1) ? limit(v(out),0,1) : uramp(v(out))**2^nint(v(in))\nR2 x 0 1",
    ".param a={sqr(2)+int(2.5)+arctan(1)}\nR2 out 0 {a}",
    ".subckt s a b\n.param r=1k\nR1 a b {r}\n.ends\nX1 out 0 s r=2k\nX2 out 0 s params: r=3k",
    ".control\nrun\n.endc",
    ".meas tran x max v(out)\n.four 1k v(out)\n.op\n.probe v(out)\n.width out=80\n.backanno",
    ".if (1)\nR2 out 0 1k\n.endif",
    "*.netc input V1\n*.netc output out\n*.netc train R1 C1 min=1n max=1meg",
    "B1 0 x i=v(x)*v(out)\nR2 x 0 1",
    "B1 0 x i=v(x)^3\nR2 x 0 1",
    "B1 x 0 v=ddt(v(out))\nR2 x 0 1",
    "B1 x 0 v=idt(v(out))+sdt(v(in))\nR2 x 0 1",
    "B1 x 0 v=pwl(v(out),0,0,1,1)+table(v(out),0,0,1,1)\nR2 x 0 1",
    "R2 out 0 {agauss(1k,10,3)}",
    ".model dm d is=1e-14 rs=1 cjo=1p\nD1 out 0 dm",
    ".model nm nmos level=1 vto=0.5\nM1 out in 0 0 nm w=10u l=1u",
    ".model qm npn\nQ1 out in 0 qm",
    ".model jm njf\nJ1 out in 0 jm",
    ".model sm sw vt=0.5\nS1 out 0 in 0 sm",
    ".model wm csw it=1m\nW1 out 0 V1 wm",
    "V2 x 0 SFFM(0 1 1k 1 100)\nR2 x 0 1",
    "V2 x 0 PWL(0 0 1m 1) r=0\nR2 x 0 1",
    ".subckt s a b\nR1 a b 1k\n.ends\nX1 out 0 s m=2",
    "B1 0 x i=v(out) tc1=1m\nR2 x 0 1",
    "I2 0 x 1 m=2\nR2 x 0 1",
    "F1 0 x POLY(1) V1 0 2\nR2 x 0 1",
    "E1 x 0 TABLE {v(out)}=(0,0) (1,1)\nR2 x 0 1",
    "E1 x 0 POLY(1) out 0 0 1\nR2 x 0 1",
    "L1 out 0 1m\nL2 in x 1m\nR2 x 0 1\nK1 L1 L2 0.9",
    "C2 out 0 Q={1u*v(out)}",
    "C2 out 0 C={1u+1u*v(out)^2}",
    ".options scale=1",
)
REFUSED = (
    "R2 out 0 0",
    *(f"{letter}1 out in 0 0 model" for letter in "ANOPTUYZ"),
    ".step 1 2 3",
    ".options rshunt=1e12",
    ".if (1)\n.global p\n.endif",
    ".unheardof",
    *(f"B1 x 0 v={name}(v(out))\nR2 x 0 1" for name in ("delay", "random")),
    "B1 x 0 v=v(out)%2\nR2 x 0 1",
    "*.netc train B1 min=1 max=2",
)

BESIDE_A_TRAN = ("ac", "dc", "noise", "tf", "sens", "pz", "disto", "sp")


@pytest.mark.parametrize("cards", SUPPORTED)
def test_what_the_tables_call_supported_compiles(cards: str, tmp_path: Path) -> None:
    deck = tmp_path / "deck.cir"
    deck.write_text(FRAME.format(cards), encoding="utf-8")
    assert "class Circuit" in compile_deck(deck).source


@pytest.mark.parametrize("cards", REFUSED)
def test_what_the_tables_call_refused_is(cards: str, tmp_path: Path) -> None:
    deck = tmp_path / "deck.cir"
    deck.write_text(FRAME.format(cards), encoding="utf-8")
    with pytest.raises(NetcError):
        _ = compile_deck(deck).program


@pytest.mark.parametrize("analysis", BESIDE_A_TRAN)
def test_other_analyses_are_passed_over_beside_a_tran_only(analysis: str, tmp_path: Path) -> None:
    deck = tmp_path / "deck.cir"
    text = FRAME.format(f".{analysis} 1 2 3")
    deck.write_text(text, encoding="utf-8")
    compilation = compile_deck(deck)
    assert "class Circuit" in compilation.source
    assert any(f".{analysis}" in str(d) for d in compilation.diagnostics)
    deck.write_text(text.replace(".tran 1u 1m uic\n", ""), encoding="utf-8")
    with pytest.raises(NetcError):
        _ = compile_deck(deck).program
