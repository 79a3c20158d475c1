"""The agreement table of the README: ``python -m tests.conformance.table`` runs the suite and writes it."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.conformance.catalogue import CONSTRUCTS, decks_of
from tests.conformance.suite import HERE, ConformanceDeck, decks, simulated

README = HERE.parents[1] / "README.md"
BEGIN, END = "<!-- conformance: begin -->", "<!-- conformance: end -->"
HEADER = "| construct | decks | worst NRMSE | at |"


def worst_of(suite: Mapping[str, ConformanceDeck]) -> dict[str, tuple[float, str]]:
    """Return the largest NRMSE of each deck and the signal it is found at."""
    found = {}
    for name, deck in suite.items():
        reference = deck.reference
        distance = reference.distance(simulated(deck, reference))
        signal = max(distance, key=distance.__getitem__)
        found[name] = distance[signal], signal
    return found


def table(worst: Mapping[str, tuple[float, str]]) -> str:
    """Return the rows in Markdown, one a construct, in the order of the catalogue."""
    lines = [HEADER, "|---|---|---|---|"]
    for construct in CONSTRUCTS:
        names = decks_of(construct, worst)
        name = max(names, key=lambda deck: worst[deck][0])
        lines.append(f"| {construct} | {len(names)} | {percent(worst[name][0])} | `{name}` |")
    largest = max(value for value, _ in worst.values())
    lines.append(f"| **all** | **{len(worst)}** | **{percent(largest)}** | |")
    return "\n".join(lines)


def percent(share: float) -> str:
    """Return a share with two digits, in percent; what is below 0.0001% is no matter of netc's."""
    return "< 0.0001%" if share < 1e-6 else f"{float(f'{100 * share:.2g}'):.6f}".rstrip("0").rstrip(".") + "%"


def replaced(text: str, rows: str) -> str:
    """Return the README's ``text`` with ``rows`` between the markers.

    Raises:
        ValueError: the markers are not there.
    """
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"there is no {BEGIN} ... {END}")
    return pattern.sub(lambda _: f"{BEGIN}\n{rows}\n{END}", text)


def main(arguments: list[str], readme: Path = README) -> int:
    """Run the suite; write the table between the markers of the README, or print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.table", description=__doc__)
    parser.add_argument("--print", action="store_true", dest="shown", help="print the table, leave the README alone")
    asked = parser.parse_args(arguments)
    rows = table(worst_of(decks()))
    if asked.shown:
        print(rows)
    else:
        readme.write_text(replaced(readme.read_text(encoding="utf-8"), rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
