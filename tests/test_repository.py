"""The repository itself: style, layers, what the wheel holds, sizes, docstrings, and its one address."""

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tomllib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
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
        ("eeg/windows.py", "from helpers.eeg.torch_filters import zero_phase_fir"),
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


def test_wheel_holds_every_module_and_data_file(tmp_path):
    """Built by hatchling itself, so that no network is needed."""
    code = f"from hatchling.build import build_wheel; print(build_wheel({str(tmp_path)!r}))"
    result = run(sys.executable, "-c", code)
    assert result.returncode == 0, result.stderr
    names = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    sources = {str(path.relative_to(ROOT / "src")) for path in FILES if path.is_relative_to(ROOT / "src")}
    assert {"helpers/eeg/montage.toml", "helpers/cli.py"} <= sources
    assert sources <= names


def other_addresses(texts, repository):
    """Addresses in texts that name this repository at another place than pyproject.toml does."""
    pattern = re.compile(r"github\.com/[\w.-]+/bimamba-eeg-workbook|raw\.githubusercontent\.com/[\w.-]+/bimamba\S*")
    return [match for text in texts for match in pattern.findall(text) if match != repository.removeprefix("https://")]


def test_every_address_of_the_repository_is_the_one_in_pyproject():
    repository = PROJECT["urls"]["Repository"]
    suffixes = {".md", ".toml", ".yml", ".cff", ".py", ".ipynb"}
    texts = [path.read_text(encoding="utf-8") for path in FILES if path.suffix in suffixes and path != Path(__file__)]
    assert sum(repository in text for text in texts) >= 5
    assert other_addresses(texts, repository) == []
    moved = "see https://github.com/somebody-else/bimamba-eeg-workbook/issues"
    assert other_addresses([moved], repository) == ["github.com/somebody-else/bimamba-eeg-workbook"]


def too_large(files):
    """Recordings, and what makes the tree larger than 20 MiB."""
    formats = {".edf", ".bdf", ".h5", ".hdf5", ".npy", ".fif"}
    faults = [f"{path.name} is a recording" for path in files if path.suffix.lower() in formats]
    total = sum(path.stat().st_size for path in files) / 2**20
    return faults + ([f"{total:.1f} MiB in all"] if total > 20 else [])


def test_no_recording_and_no_large_file_in_the_tree(tmp_path):
    assert too_large(FILES) == []
    for name, size in [("a.EDF", 10), ("b.png", 21 * 2**20)]:
        (tmp_path / name).write_bytes(bytes(size))
    assert too_large(sorted(tmp_path.iterdir())) == ["a.EDF is a recording", "21.0 MiB in all"]


def test_extras_keep_their_promises():
    """Python 3.10 gets the base package alone, and no extra pulls the two compiled packages."""
    extras = PROJECT["optional-dependencies"]
    for name, requirements in extras.items():
        for requirement in requirements:
            assert not re.match(r"(mamba|causal)", requirement), f"{name}: {requirement}"
            if not requirement.startswith(PROJECT["name"]):
                assert "python_version >= '3.11'" in requirement, f"{name}: {requirement}"
    assert not [requirement for requirement in extras["book"] if requirement.startswith("torch")]


def without_docstring(path, source):
    """Names of a module that a reader can import and cannot read about; the module itself included."""
    tree = ast.parse(source)
    bare = [] if ast.get_docstring(tree) else [f"{path.name}: module"]
    return bare + [
        f"{path.name}: {node.name}"
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
        and ast.get_docstring(node) is None
    ]


def test_public_names_have_docstrings():
    sources = [path for path in FILES if path.is_relative_to(ROOT / "src" / "helpers") and path.suffix == ".py"]
    solutions = re.compile(r"ch\d\d\.py")  # a solution is what a reader would write; its task stands in the chapter
    bare = [without_docstring(path, path.read_text()) for path in sources if not solutions.fullmatch(path.name)]
    assert len(bare) > 40
    assert [name for names in bare for name in names] == []
    assert without_docstring(Path("a.py"), "def f(): ...\ndef _g(): ...\n") == ["a.py: module", "a.py: f"]
