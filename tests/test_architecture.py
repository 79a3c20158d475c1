"""The order of packages in docs/architecture.md holds, and the lists that name packages are complete."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "netc"
LONGEST_FILE = 500
INSTALLED_AS = {"netc.cli": "cli", "netc.models": "models", "netc.netlists": "netlists"}


def table() -> list[str]:
    """Return the names in the first column of the table, top to bottom, without folder and suffix."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `netc/(\w+)(?:\.py|/)` \|", text, re.MULTILINE)


def modules() -> list[Path]:
    return sorted(LIBRARY.rglob("*.py"))


def stage_of(path: Path) -> str:
    """Return which row of the table a file of the library belongs to."""
    return path.relative_to(LIBRARY).with_suffix("").parts[0]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and full name of every module a file imports, also inside functions and behind TYPE_CHECKING."""
    package = (
        [LIBRARY.name, *path.relative_to(LIBRARY).parent.parts] if path.is_relative_to(LIBRARY) else ["netc", "cli"]
    )
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*home, *([node.module] if node.module else [])])
            # `from netc import ir` names a module by its alias
            yield from ((node.lineno, f"{base}.{alias.name}" if base == "netc" else base) for alias in node.names)


def stages_imported(path: Path) -> Iterator[tuple[int, str]]:
    for line, name in imports(path):
        parts = name.split(".")
        if parts[0] == "netc" and len(parts) > 1:
            yield line, parts[1]


def test_the_table_lists_every_part_of_the_library_once() -> None:
    there = {stage_of(path) for path in modules()} - {"__init__"}
    assert sorted(table()) == sorted(there)


def test_each_stage_imports_only_stages_above_it() -> None:
    place = {name: row for row, name in enumerate(table())}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules()
        if stage_of(path) in place
        for line, name in stages_imported(path)
        if name != stage_of(path) and place.get(name, len(place)) >= place[stage_of(path)]
    ]
    assert not wrong, "\n".join(wrong)


def test_the_check_sees_every_form_of_import(tmp_path: Path) -> None:
    file = tmp_path / "sample.py"
    file.write_text("import netc.data\nfrom netc import emit\n\ndef f():\n    from netc.training import train\n")
    assert {name for _, name in stages_imported(file)} == {"data", "emit", "training"}


def test_the_library_does_not_know_the_command_line() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in modules()
        for line, name in stages_imported(path)
        if name == "cli"
    ]
    assert not wrong, wrong


def test_pyspice_is_imported_only_by_the_worker_process() -> None:
    users = {
        str(path.relative_to(ROOT))
        for path in [*modules(), *(ROOT / "cli").glob("*.py")]
        for _, name in imports(path)
        if name.split(".")[0] == "PySpice"
    }
    assert users <= {"netc/ngspice/worker.py"}


def test_pyproject_lists_every_package() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in LIBRARY.rglob("__init__.py")}
    assert sorted(setuptools["packages"]) == sorted({*there, *INSTALLED_AS})
    for package, folder in INSTALLED_AS.items():
        assert setuptools["package-dir"][package] == folder
        assert (ROOT / folder / "__init__.py").is_file()


def test_every_folder_with_code_is_a_package() -> None:
    folders = {path.parent for path in modules()}
    assert all((folder / "__init__.py").is_file() for folder in folders)


def test_no_file_is_longer_than_the_limit() -> None:
    files = [*LIBRARY.rglob("*"), *(ROOT / "cli").rglob("*")]
    long = {
        str(path.relative_to(ROOT)): count
        for path in files
        if path.suffix in (".py", ".lark", ".j2")
        and (count := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST_FILE
    }
    assert not long
