#!/usr/bin/env python3
"""Ask uv whether the stacks of env/ still resolve, for Linux on x86-64. Nothing is installed; only metadata is fetched.

A stack is a requirements file that says in its head for which Python versions it is and with which part of this
repository it is installed ("# Python: 3.11 3.12", "# Together with: .[workbook]"). The compiled packages are not asked
about: they are sdists whose metadata takes a torch. A stack lists what they say they need, and a file *-kernels.txt
beside it names their wheels; tests/env holds both against the releases.

Why uv and not pip: pip decides about markers such as python_version for the Python it runs on, whatever its
--python-version says, and on a conflict it tries versions for more than ten minutes before it says so.

Exit code: 0 all resolve, 1 one does not, 3 no package index was reached.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

import tomllib

ENV = Path(__file__).resolve().parent
PLATFORM = "x86_64-manylinux_2_35"  # the glibc of Ubuntu 22.04
SHOWN = ("torch", "numpy", "mne", "transformers")


def main() -> int:
    """Print a line for each stack and Python; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stack", nargs="*", type=Path, help="requirements files (default: the stacks of env/)")
    stacks = parser.parse_args().stack or [file for file in sorted(ENV.glob("*/*.txt")) if pythons(file)]
    uv = shutil.which("uv", path=Path(sys.executable).parent) or shutil.which("uv")
    if uv is None:
        parser.error(f"found no uv, which resolves: {sys.executable} -m pip install uv")
    for file in stacks:
        if not file.is_file() or not pythons(file):
            parser.error(f'{file} is no stack: it needs a line such as "# Python: 3.11 3.12"')
    conflicts = []
    for file in stacks:
        for python in pythons(file):
            answer, text = resolve(uv, file, python)
            shown = f"{answer}: {text}" if answer == "resolves" else answer
            print(f"{f'{file.parent.name}/{file.name}':24s} {python:6s} {shown}", flush=True)
            if answer == "no index reached":
                print(f"Nothing is known about the stacks that are not listed as resolving.\n{text}", file=sys.stderr)
                return 3
            if answer == "conflict":
                conflicts.append(f"{file}, Python {python}\n{text}")
    print(*conflicts, sep="\n", end="\n" * bool(conflicts), file=sys.stderr)
    return 1 if conflicts else 0


def pythons(file: Path) -> list[str]:
    """Return the Python versions that a requirements file says it is for; none if it is no stack."""
    found = re.search(r"^# Python: ([\d. ]+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return found.group(1).split() if found else []


def resolve(uv: str, file: Path, python: str) -> tuple[str, str]:
    """Resolve one stack for one Python.

    Returns
    -------
    answer : str
        `resolves`, `conflict` or `no index reached`.
    text : str
        What the stack holds, or what uv said.
    """
    # 3.11 alone would mean 3.11.0, which some packages leave out: take the last patch release, whichever it is.
    command = [uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:"]
    command += ["--python", sys.executable, "--python-version", f"{python}.99", "--python-platform", PLATFORM]
    requirements = [f"--requirement {file.resolve()}", *together_with(file)]
    done = subprocess.run([*command, "-"], input="\n".join(requirements), capture_output=True, text=True)
    if done.returncode == 0:
        pins = dict(line.split("==") for line in done.stdout.split("\n") if "==" in line)
        shown = [f"{name} {pins[name]}" for name in SHOWN if name in pins]
        return "resolves", ", ".join([f"{len(pins)} packages", *shown])
    unreached = re.search(r"error sending request|Failed to fetch|dns error|network was disabled", done.stderr)
    return "no index reached" if unreached else "conflict", done.stderr.strip()


def together_with(file: Path) -> list[str]:
    """Return what the part of this repository that the file names requires; nothing where it names none."""
    found = re.search(r"^# Together with: \.(?:\[(\w+)\])?$", file.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        return []
    project = tomllib.loads((ENV.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = found.group(1)
    return project["dependencies"] + (project["optional-dependencies"][extra] if extra else [])


if __name__ == "__main__":
    sys.exit(main())
