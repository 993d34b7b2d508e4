"""The stacks of env/: they resolve, their compiled wheels are those that `workbook plan` knows for their torch, and
what the wheels say they need is pinned.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from helpers.environment.artifacts import ArtifactError, sdist
from helpers.environment.catalogue.releases import PACKAGES
from helpers.environment.plan import find_target, plan

ENV = Path(__file__).resolve().parents[2] / "env"
CHECK = ENV / "check_resolves.py"
BUILDS = {"current": "2.10.0+cu128", "field-notes": "2.2.2+cu121"}  # what torch.__version__ says on Linux, from PyPI


def lines(name):
    """The lines of a requirements file of env/ that name something, without comments."""
    stripped = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in (ENV / name).read_text().splitlines())
    return [line for line in stripped if line]


def pins(stack):
    named = [Requirement(line) for line in lines(f"local/{stack}.txt") if not line.startswith("-")]
    return {canonicalize_name(item.name): item.specifier for item in named}


def pythons(stack):
    return re.search(r"^# Python: (.*)$", (ENV / f"local/{stack}.txt").read_text(), re.MULTILINE).group(1).split()


def kernels(stack, python):
    """The addresses of the wheels that a stack names for a Python, by package."""
    named = [Requirement(line) for line in lines(f"local/{stack}-kernels.txt")]
    return {item.name: item.url for item in named if item.marker.evaluate({"python_version": python})}


def versions(stack):
    files = [urlsplit(url).path.rpartition("/")[2] for url in kernels(stack, pythons(stack)[0]).values()]
    return {name: version.public for name, version, _, _ in map(parse_wheel_filename, files)}


def planned(stack, python, **asked):
    """What `workbook plan` says for the torch and a Python of a stack."""
    target = find_target(torch=BUILDS[stack], python=python, platform="linux_x86_64", gpu="8.9")
    found = plan(target, **asked)
    words = [word for command in found.commands for word in shlex.split(command)]
    urls = {word for word in words if word.startswith("https://")}
    needs = [Requirement(word) for word in words[words.index("install", words.index("install") + 1) + 1 :]]
    return found, urls, needs


CASES = [(stack, python) for stack in BUILDS for python in pythons(stack)]


@pytest.mark.parametrize(("stack", "python"), CASES)
def test_the_wheels_are_those_that_plan_knows(stack, python):
    """A pair that keeps its contract, with release files for this torch, CUDA, ABI, Python and machine."""
    asked = versions(stack)
    found, urls, needs = planned(stack, python, mamba=asked["mamba-ssm"], causal_conv1d=asked["causal-conv1d"])
    assert (found.kind, found.chosen.contract) == ("wheels", True)
    assert set(kernels(stack, python)) == set(PACKAGES)
    assert set(kernels(stack, python).values()) == urls
    assert [need for need in needs if not satisfied(need, pins(stack))] == []
    assert f"=={BUILDS[stack].partition('+')[0]}" == str(pins(stack)["torch"])


@pytest.mark.parametrize("python", pythons("current"))
def test_the_current_stack_is_what_plan_says_unasked(python):
    found, urls, _ = planned("current", python)
    assert found.kind == "wheels"
    assert set(kernels("current", python).values()) == urls


def satisfied(need, present):
    """Whether a stack names a package, and what it pins is not outside of what is needed."""
    pinned = present.get(canonicalize_name(need.name))
    exact = [item.version for item in pinned or () if item.operator == "=="]
    return pinned is not None and (
        need.specifier.contains(exact[0]) if exact else str(need.specifier) in ("", str(pinned))
    )


def declared(package, version):
    """What a release says it needs at run time: requires.txt of its source archive, without the extras."""
    with tarfile.open(sdist(package, version)) as archive:
        (name,) = [name for name in archive.getnames() if name.endswith(".egg-info/requires.txt")]
        text = archive.extractfile(name).read().decode()
    return [Requirement(line) for line in text.partition("[")[0].split("\n") if line]


@pytest.mark.parametrize("stack", BUILDS)
@pytest.mark.parametrize("package", PACKAGES)
def test_what_the_compiled_packages_declare_is_pinned(stack, package):
    try:
        needs = declared(package, versions(stack)[package])
    except ArtifactError as fault:
        pytest.skip(str(fault))
    assert {"torch", "packaging", "ninja"} <= {need.name for need in needs}
    assert [str(need) for need in needs if not satisfied(need, pins(stack))] == []


@pytest.mark.parametrize(
    ("need", "fits"),
    [("a", True), ("a<2", True), ("a>=2", False), ("b", True), ("b>=61", True), ("b>=80", False), ("c", False)],
)
def test_a_need_that_a_pin_breaks_is_seen(need, fits):
    present = {"a": Requirement("a==1.5").specifier, "b": Requirement("b>=61").specifier}
    assert satisfied(Requirement(need), present) is fits


@pytest.mark.parametrize("stack", BUILDS)
def test_wsl2_has_the_same_stack(stack):
    assert lines(f"wsl2/{stack}.txt") == [f"-r ../local/{stack}.txt"]


@pytest.mark.parametrize("file", sorted(ENV.glob("*/*.txt")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_head_names_files_that_exist(file):
    head = "\n".join(line for line in file.read_text().splitlines() if line.startswith("#"))
    named = re.findall(r"(?<![\w.-])env/[\w/.-]+\w", head)
    assert [name for name in named if not (ENV.parent / name).exists()] == []
    assert named or file.name.endswith("-kernels.txt")


@pytest.fixture(scope="module")
def uv(tmp_path_factory):
    """A folder with uv in it: the one that is installed, or one fetched from the package index."""
    found = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if found:
        return Path(found).parent
    folder = tmp_path_factory.mktemp("uv")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--retries", "1", "--target", folder, "uv"]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode and "(from versions: none)" in done.stderr:
        pytest.skip("no package index was reached")
    assert done.returncode == 0, done.stderr
    return folder / "bin"


@pytest.fixture(scope="module")
def check(uv, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")

    def run(*stacks, **variables):
        own = {"PATH": f"{uv}{os.pathsep}{os.environ['PATH']}", "UV_CACHE_DIR": str(cache), **variables}
        command = [sys.executable, CHECK, *stacks]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **own}, timeout=180)

    return run


@pytest.fixture
def write(tmp_path):
    def stack(*named, head="# Python: 3.11"):
        path = tmp_path / "stack.txt"
        path.write_text("\n".join([head, *named]))
        return path

    return stack


def answer(done):
    """The exit code, the answers, and what was said against them; skips where no index was reached."""
    if done.returncode == 3:
        pytest.skip("no package index was reached")
    return done.returncode, done.stdout.split("\n")[:-1], done.stderr


def test_every_stack_resolves(check):
    code, rows, said = answer(check())
    assert (code, said) == (0, "")
    assert [row.split()[:3] for row in rows] == [[f"local/{stack}.txt", python, "resolves:"] for stack, python in CASES]
    assert [row for row in rows if f"torch {BUILDS['current'][:6]}, numpy 2." in row] == rows[: len(pythons("current"))]


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        (["mne==1.13.0", "numpy==1.26.4"], "mne==1.13.0 depends on numpy>=2"),
        (["torch==2.2.2", "triton==3.6.0"], "torch==2.2.2 depends on"),
        (["einops==99.0"], "einops==99.0"),
    ],
)
def test_a_conflict_is_red_and_named(check, write, named, reason):
    code, rows, said = answer(check(write(*named)))
    assert code == 1
    assert rows[0].endswith("3.11   conflict")
    assert reason in said


def test_what_the_repository_needs_is_resolved_with_it(check, write):
    """The extra `workbook` needs NumPy 2 and the base package does not."""
    assert answer(check(write("numpy==1.26.4", head="# Python: 3.11\n# Together with: .[workbook]")))[0] == 1
    assert answer(check(write("numpy==1.26.4", head="# Python: 3.11\n# Together with: .")))[0] == 0


def test_no_index_is_not_a_conflict(check, write):
    done = check(write("einops==0.8.2"), UV_INDEX_URL="http://127.0.0.1:9/simple", UV_HTTP_RETRIES="0")
    assert done.returncode == 3
    assert done.stdout.strip().endswith("no index reached")
    assert "Nothing is known" in done.stderr


def test_a_file_that_is_no_stack_is_refused(check, write):
    done = check(write("einops", head="# no versions here"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "is no stack" in done.stderr
    assert check("--help").stdout.startswith("usage: check_resolves.py")
