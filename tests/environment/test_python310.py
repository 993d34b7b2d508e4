"""The floor: on a bare Python 3.10, the base install works and says that the notebooks need 3.11."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# What pip and its resolver print when no index can be reached at all, as against an index that answers.
NO_INDEX = (
    "Temporary failure in name resolution|Name or service not known|nodename nor servname|getaddrinfo failed|"
    "NewConnectionError|ConnectTimeoutError|Network is unreachable|Connection refused|ProxyError|Max retries exceeded"
)

RETRY = "WARNING: Retrying after connection broken by 'NewConnectionError(': [Errno -2] Name or service not known')'"


def run(*command, **options):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)


def find_python310() -> str | None:
    """Return a Python 3.10 that really runs: a shim on PATH may only say that it does not."""
    candidates = [shutil.which("python3.10")]
    candidates += sorted(Path("~/.pyenv/versions").expanduser().glob("3.10*/bin/python"))
    if shutil.which("uv"):
        candidates += run("uv", "python", "find", "3.10", timeout=60).stdout.split("\n")
    for candidate in filter(None, candidates):
        try:
            found = run(candidate, "-c", "import sys, venv, ensurepip; print(sys.version_info[:2])", timeout=60)
        except OSError:
            continue
        if found.stdout.strip() == "(3, 10)":
            return str(candidate)
    return None


def no_index_reached(output: str) -> bool:
    """Tell a pip that reached no index from one that failed for a reason of ours."""
    nothing_offered = "(from versions: none)" in output and re.search(r"\(from versions: \d", output) is None
    return nothing_offered and re.search(NO_INDEX, output) is not None


def environment_tools(python, *arguments):
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return run(python, "-m", "helpers.environment", *arguments, timeout=60, cwd=python.parent, env=environ)


def test_base_install_is_small(python310):
    names = {item["name"] for item in json.loads(run(python310, "-m", "pip", "list", "--format=json").stdout)}
    assert "bimamba-eeg-workbook" in names
    assert not names & {"numpy", "torch", "mamba-ssm", "causal-conv1d"}


def test_preflight_says_that_notebooks_need_311(python310):
    done = environment_tools(python310)
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""
    assert re.search(r"^  Environment tools +yes", done.stdout, re.MULTILINE)
    assert re.search(r"^  Notebooks on CPU +no +needs Python 3\.11 or later, found 3\.10", done.stdout, re.MULTILINE)
    assert "virtual environment" in done.stdout
    assert len(done.stdout.splitlines()) <= 24


def test_json_on_python310(python310):
    done = environment_tools(python310, "--json")
    facts = json.loads(done.stdout)
    assert done.returncode == 1
    assert facts["ready"] is False
    assert facts["machine"]["python"].startswith("3.10.")
    assert all(item["problem"] is None for item in facts["packages"])  # the base dependencies, tomli included


def test_labs_on_python310(python310):
    code = """
from helpers.environment import Lab, LabError, expect_error
with Lab() as lab:
    with expect_error(ModuleNotFoundError, match="mamba_ssm") as caught:
        lab.python("import mamba_ssm")
    print(caught.error.output)
    with expect_error(LabError, match="exit code 3"):
        lab.run("sh", "-c", "exit 3")
"""
    done = run(python310, "-c", code, timeout=60, cwd=python310.parent)
    assert done.returncode == 0, done.stderr
    said = "ModuleNotFoundError: No module named 'mamba_ssm'"
    traceback = f'Traceback (most recent call last):\n  File "<code>", line 1, in <module>\n{said}'
    assert done.stdout == f"{said}\n{traceback}\nLabError: `sh -c 'exit 3'` ended with exit code 3\n"


@pytest.mark.parametrize(
    ("output", "unreachable"),
    [
        (f"{RETRY}\nERROR: Could not find a version of hatchling (from versions: none)", True),
        (f"{RETRY}\nERROR: Could not find a version of typer>=99 (from versions: 0.15.0, 0.15.1)", False),
        (f"{RETRY}\nERROR: Failed building wheel for bimamba-eeg-workbook", False),
        ("ERROR: Could not find a version of no-such-package (from versions: none)", False),
        ("ERROR: Package 'x' requires a different Python: 3.10.13 not in '>=3.11'", False),
    ],
)
def test_only_an_unreachable_index_is_a_reason_to_skip(output, unreachable):
    assert no_index_reached(output) is unreachable
