"""The repository itself: style, layers, the pair of each notebook, what the wheel holds, sizes, and its one address."""

import ast
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import jupytext
import nbformat
import pytest
import tomllib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TRACKED = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
FILES = [ROOT / name for name in TRACKED.split("\0") if name and (ROOT / name).is_file()]


def run(*command, cwd=ROOT):
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize("command", [("check",), ("format", "--check")], ids="-".join)
def test_style(command):
    result = run(sys.executable, "-m", "ruff", *command)
    assert result.returncode == 0, result.stdout + result.stderr


def lint_imports(folder):
    """Run import-linter on the sources of a folder, whichever copy of the package is installed."""
    code = "import sys; sys.path.insert(0, 'src'); from importlinter.cli import lint_imports_command as go; go()"
    return run(sys.executable, "-c", code, cwd=folder)


def test_layers():
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("scoring/events.py", "import helpers.detection"),
        ("models/ssd.py", "from helpers.eeg import load"),
        ("environment/memory.py", "import numpy"),
        ("eeg/windows.py", "import torch"),
    ],
)
def test_a_forbidden_import_is_red(tmp_path, module, forbidden):
    """The contracts, on a copy of the sources in which one file imports what it must not."""
    package = tmp_path / "src" / "helpers"
    for source in (ROOT / "src" / "helpers").rglob("*.py"):
        target = package / source.relative_to(ROOT / "src" / "helpers")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text())
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    (package / module).write_text((package / module).read_text() + f"\n{forbidden}\n")
    result = lint_imports(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout


def differs_from_its_pair(notebook, text):
    return jupytext.writes(notebook, fmt="py:percent") != text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_equals_its_text(path):
    notebook = jupytext.read(path)
    text = path.with_suffix(".py").read_text()
    assert not differs_from_its_pair(notebook, text), f"run: jupytext --sync {path.relative_to(ROOT)}"
    notebook.cells[0].source += " "
    notebook.cells[-1].source += "one word"
    assert differs_from_its_pair(notebook, text)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_stores_outputs_and_small_cells(path):
    notebook = nbformat.read(path, 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert any(cell.outputs for cell in code)
    assert not [o for cell in code for o in cell.outputs if o.output_type == "error"]
    assert "widgets" not in notebook.metadata, "a stored widget state makes the page load scripts from a remote host"
    lines = sorted(len(cell.source.splitlines()) for cell in code)
    assert lines[-1] <= 40
    assert lines[len(lines) // 2] <= 6
    assert path.stat().st_size <= 0.6 * 2**20
    for cell in code:
        if any("image/png" in o.get("data", {}) for o in cell.outputs):
            assert len(cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")) > 80, cell.source


def test_every_text_notebook_has_its_pair():
    assert {path.stem for path in (ROOT / "notebooks").glob("*.py")} == {path.stem for path in NOTEBOOKS}


def test_wheel_holds_every_module_and_data_file(tmp_path):
    """Built by hatchling itself, so that no network is needed."""
    code = f"from hatchling.build import build_wheel; print(build_wheel({str(tmp_path)!r}))"
    result = run(sys.executable, "-c", code)
    assert result.returncode == 0, result.stderr
    names = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    sources = {str(path.relative_to(ROOT / "src")) for path in FILES if path.is_relative_to(ROOT / "src")}
    assert {"helpers/eeg/montage.toml", "helpers/cli.py"} <= sources
    assert sources <= names


def test_every_address_of_the_repository_is_the_one_in_pyproject():
    repository = PROJECT["urls"]["Repository"]
    pattern = re.compile(r"github\.com/[\w.-]+/bimamba-eeg-workbook")
    found = {
        (path.name, match)
        for path in FILES
        if path.suffix in {".md", ".toml", ".yml", ".cff", ".py", ".ipynb"}
        for match in pattern.findall(path.read_text(encoding="utf-8"))
    }
    assert found
    assert {match for _, match in found} == {repository.removeprefix("https://")}


def test_no_recording_and_no_large_file_in_the_tree():
    formats = {".edf", ".bdf", ".h5", ".hdf5", ".npy", ".fif"}
    assert [path.name for path in FILES if path.suffix.lower() in formats] == []
    assert sum(path.stat().st_size for path in FILES) <= 20 * 2**20


def test_extras_keep_their_promises():
    """Python 3.10 gets the base package alone, and no extra pulls the two compiled packages."""
    extras = PROJECT["optional-dependencies"]
    for name, requirements in extras.items():
        for requirement in requirements:
            assert not re.match(r"(mamba|causal)", requirement), f"{name}: {requirement}"
            if not requirement.startswith(PROJECT["name"]):
                assert "python_version >= '3.11'" in requirement, f"{name}: {requirement}"
    assert not [requirement for requirement in extras["book"] if requirement.startswith("torch")]


def test_public_names_have_docstrings():
    bare = []
    for path in (ROOT / "src" / "helpers").rglob("*.py"):
        if re.fullmatch(r"ch\d\d\.py", path.name):
            continue  # a solution is what a reader would write; its task stands in the chapter
        tree = ast.parse(path.read_text())
        if ast.get_docstring(tree) is None:
            bare.append(f"{path.name}: module")
        bare += [
            f"{path.name}: {node.name}"
            for node in tree.body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef))
            and not node.name.startswith("_")
            and ast.get_docstring(node) is None
        ]
    assert bare == []


def test_notebook_code_prints_no_path_of_the_machine_that_ran_it():
    for path in NOTEBOOKS:
        outputs = json.dumps([c.get("outputs") for c in nbformat.read(path, 4).cells if c.cell_type == "code"])
        assert not re.search(r"/(home|root|work|Users)/", outputs), path.name
