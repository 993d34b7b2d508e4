"""The install cell of the chapters: one template, one requirement that survives a shell, nothing imported beyond it."""

import ast
import importlib.metadata
import importlib.util
import re
import shlex
import subprocess
import sys
import types
from pathlib import Path

import pytest
import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "env" / "colab" / "install_cell.py"
CHAPTERS = sorted((ROOT / "notebooks").glob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def install_cell(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)


@pytest.fixture(scope="module")
def cell():
    done = install_cell("--print")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_chapter_begins_with_the_cell():
    done = install_cell()
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("old", "new"), [("--quiet ", ""), (f"@v{PROJECT['version']}", "@main"), ("[workbook]", ""), ("remove-cell", "x")]
)
def test_another_cell_is_red_until_it_is_written(cell, tmp_path, old, new):
    chapter = tmp_path / "05_chapter.py"
    head, rest = "# %% [markdown]\n# # A title\n\n", "\n# %%\nprint(1)\n"
    chapter.write_text(head + cell.replace(old, new) + rest)
    done = install_cell(chapter)
    assert done.returncode == 1
    assert "05_chapter.py: another install cell" in done.stderr
    assert install_cell("--write", chapter).returncode == 0
    assert chapter.read_text() == head + cell + rest
    assert install_cell(chapter).returncode == 0


def test_a_chapter_without_the_cell_is_red_and_left_alone(tmp_path):
    chapter = tmp_path / "05_chapter.py"
    chapter.write_text("# %% [markdown]\n# # A title\n\n# %%\nimport numpy\n")
    done = install_cell("--write", chapter)
    assert done.returncode == 1
    assert "no install cell" in done.stderr
    assert chapter.read_text().endswith("# %%\nimport numpy\n")


@pytest.mark.parametrize("installed", [False, True])
def test_it_installs_one_quoted_requirement_and_only_where_it_is_missing(cell, monkeypatch, installed):
    ran = []
    shell = types.SimpleNamespace(run_line_magic=lambda name, line: ran.append((name, line)))
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if installed and name == "helpers" else None)
    exec(compile(cell, "<cell>", "exec"), {})
    if installed:
        assert ran == []
        return
    ((magic, line),) = ran
    command, option, wanted = shlex.split(line)  # the space and the brackets survive a shell
    assert (magic, command, option) == ("pip", "install", "--quiet")
    wanted = Requirement(wanted)
    assert (wanted.name, wanted.extras) == (PROJECT["name"], {"workbook"})
    assert wanted.url == f"git+{PROJECT['urls']['Repository']}@v{PROJECT['version']}"


def imported(text):
    """Top-level names of the modules that a chapter's cells import; not those that a function says it @needs.

    Another function may import these, too, since it can be one that such a function calls; a cell may not.
    """
    tree = ast.parse(re.sub(r"^\s*[%!].*$", "", text, flags=re.MULTILINE))
    needed = set().union(*(_needs(node) for node in ast.walk(tree)))
    return _imports(tree, needed)


def _imports(node, needed):
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return set() if node.level else {node.module.partition(".")[0]}
    names = set().union(*(_imports(child, needed) for child in ast.iter_child_nodes(node)))
    if isinstance(node, ast.FunctionDef):
        return names - (_needs(node) or (set() if node.decorator_list else needed))
    return names


def _needs(node):
    calls = [call for call in getattr(node, "decorator_list", []) if isinstance(call, ast.Call)]
    needs = [argument for call in calls if getattr(call.func, "id", "") == "needs" for argument in call.args]
    return {need.value for need in needs if isinstance(need, ast.Constant)}


def not_installed(names):
    """Of the names, those that are neither Python's, nor helpers, nor of a package that the extra itself names."""
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["workbook"]]
    distributions = {canonicalize_name(Requirement(line).name) for line in wanted}
    owners = importlib.metadata.packages_distributions()
    known = {name for name, owned in owners.items() if distributions & {canonicalize_name(owner) for owner in owned}}
    known |= {*sys.stdlib_module_names, "helpers", "IPython"}  # without IPython there is no kernel to ask
    return sorted(names - known)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_imports_only_what_the_cell_installs(chapter):
    assert not_installed(imported(chapter.read_text())) == []


def test_an_import_of_anything_else_is_red():
    text = "import numpy\nfrom scipy import signal\nif True:\n    from pandas.api import types\nimport seaborn as s\n"
    assert not_installed(imported(text)) == ["pandas", "seaborn"]


def test_what_a_function_says_it_needs_may_be_imported_there_and_only_there():
    function = '@needs("a GPU", "mamba_ssm")\ndef f():\n    import mamba_ssm\n    import causal_conv1d\n'
    assert not_installed(imported(function)) == ["causal_conv1d"]
    assert not_installed(imported(function + "import mamba_ssm\n")) == ["causal_conv1d", "mamba_ssm"]
    assert not_installed(imported(function + "def g():\n    import mamba_ssm, pandas\n")) == ["causal_conv1d", "pandas"]
