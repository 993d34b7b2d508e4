#!/usr/bin/env python3
"""The install cell of every chapter: install_cell.template, filled in with name, version and address of pyproject.toml.

Without options it says which chapters have another cell. Exit code: 0 none, 1 at least one.
"""

from __future__ import annotations

import argparse
import re
import string
import sys
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Check the chapters, or write the cell into them; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the cell into notebooks/*.py; then jupytext --sync")
    parser.add_argument("--print", action="store_true", help="print the cell, to begin a chapter with")
    parser.add_argument("chapter", nargs="*", type=Path, help="py:percent files (default: notebooks/*.py)")
    arguments = parser.parse_args()
    cell, faults = install_cell(), []
    if arguments.print:
        print(cell)
        return 0
    for chapter in arguments.chapter or sorted(ROOT.glob("notebooks/*.py")):
        text = chapter.read_text(encoding="utf-8")
        present = first_code_cell(text)
        if present == cell:
            continue
        if 'find_spec("helpers")' not in present:
            faults.append(f"{chapter}: no install cell. Put the output of --print before the first code cell.")
        elif arguments.write:
            chapter.write_text(text.replace(present, cell, 1), encoding="utf-8")
        else:
            faults.append(f"{chapter}: another install cell than install_cell.template gives. Write it with --write.")
    print("\n".join(faults) or "Every chapter begins with the install cell.", file=sys.stderr if faults else sys.stdout)
    return 1 if faults else 0


def install_cell() -> str:
    """Return the cell as it stands in notebooks/*.py."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    template = string.Template(Path(__file__).with_suffix(".template").read_text(encoding="utf-8"))
    return template.substitute(
        name=project["name"], version=project["version"], repository=project["urls"]["Repository"]
    ).strip()


def first_code_cell(text: str) -> str:
    """Return the first code cell of a py:percent text, its head included; empty if there is none."""
    found = re.search(r"^# %%(?! *\[markdown\]).*?(?=^# %%|\Z)", text, re.MULTILINE | re.DOTALL)
    return found.group(0).strip() if found else ""


if __name__ == "__main__":
    sys.exit(main())
