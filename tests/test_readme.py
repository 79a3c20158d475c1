"""What the README and docs/ say works: their commands run, their decks and programs too, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from netc.cli.main import COMMANDS, main

from netc.compiler import compile_deck
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
    if words[1] in ("validate", "doctor") and not find_ngspice().engines:
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
    names: dict[str, object] = {}
    exec(compile(program, "README.md", "exec"), names)  # our own text
    circuit = names["circuit"]
    before, after = module.values()["r_r"], circuit.values()["r_r"]  # type: ignore[attr-defined]  # an nn.Module
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
