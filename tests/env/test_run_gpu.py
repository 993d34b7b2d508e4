"""run_gpu.sh: what it says when Python, torch or the driver is missing, and what Python gets when all are there.

Python is this one behind a wrapper; torch is a folder with the files that the script looks for; the driver is hidden or
shown by a sitecustomize, so that the tests say the same on a machine with a GPU.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "env" / "wsl2" / "run_gpu.sh"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SHOW = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"
DRIVER = """
import ctypes
class CDLL(ctypes.CDLL):
    def __init__(self, name, *rest, **more):
        if name == "libcuda.so.1":
            if not {there}:
                raise OSError("libcuda.so.1: cannot open shared object file")
            name = None
        super().__init__(name, *rest, **more)
ctypes.CDLL = CDLL
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the script is for Linux")


class Place:
    """A folder with a Python, a torch and a driver; everything is there until a test takes it away."""

    def __init__(self, folder):
        self.folder = folder
        self.torch = folder / "site" / "torch"
        (self.torch / "lib").mkdir(parents=True)
        for name in ("__init__.py", "lib/libc10.so", "lib/libc10_cuda.so"):
            (self.torch / name).touch()
        self.driver(there=True)
        self.wsl = folder / "wsl lib"
        self.python = self.interpreter(folder / "bin" / "python")

    def driver(self, there):
        (self.folder / "site" / "sitecustomize.py").write_text(DRIVER.format(there=there))

    def interpreter(self, path, options=""):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {options} "$@"\n')
        path.chmod(0o755)
        return path

    def run(self, *arguments, **variables):
        kept = {name: os.environ[name] for name in ("HOME", "PATH", "LANG") if name in os.environ}
        places = {"PYTHON": self.python, "PYTHONPATH": self.folder / "site", "WSL_LIB": self.wsl}
        given = {name: str(value) for name, value in {**places, **variables}.items() if value is not None}
        return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, env={**kept, **given})


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def environment(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)[1]


def test_arguments_reach_python_as_they_are(place):
    done = place.run("-c", SHOW, "two words", "--help", "$HOME", "")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0] == ["two words", "--help", "$HOME", ""]


def test_it_becomes_python_and_ends_as_it_ends(place):
    assert place.run("-c", "raise SystemExit(7)").returncode == 7
    done = place.run("-c", "import os; print(os.getppid())")
    assert done.stdout.strip() == str(os.getpid())  # no shell stands between


def test_threads_are_one_unless_they_are_set(place):
    found = environment(place.run("-c", SHOW, OMP_NUM_THREADS=6))
    assert [found[name] for name in THREADS] == ["6", "1", "1"]


def test_no_library_path_unless_asked_for(place):
    assert "LD_LIBRARY_PATH" not in environment(place.run("-c", SHOW))
    assert environment(place.run("-c", SHOW, LD_LIBRARY_PATH="/a"))["LD_LIBRARY_PATH"] == "/a"


def test_torch_lib_puts_the_torch_of_this_python_first(place):
    found = environment(place.run("--torch-lib", "-c", SHOW))["LD_LIBRARY_PATH"]
    assert found == str(place.torch / "lib")
    found = environment(place.run("--torch-lib", "-c", SHOW, LD_LIBRARY_PATH="/a:/b"))["LD_LIBRARY_PATH"]
    assert found == f"{place.torch / 'lib'}:/a:/b"


def test_the_driver_of_wsl2_is_found_where_the_loader_does_not_look(place):
    place.driver(there=False)
    place.wsl.mkdir()
    (place.wsl / "libcuda.so.1").touch()
    found = environment(place.run("--torch-lib", "-c", SHOW))
    assert found["LD_LIBRARY_PATH"] == f"{place.torch / 'lib'}:{place.wsl}"
    assert found["TRITON_LIBCUDA_PATH"] == str(place.wsl)
    assert environment(place.run("-c", SHOW, TRITON_LIBCUDA_PATH="/mine"))["TRITON_LIBCUDA_PATH"] == "/mine"


def test_a_driver_that_the_loader_finds_changes_nothing(place):
    place.wsl.mkdir()
    (place.wsl / "libcuda.so.1").touch()
    assert not {"LD_LIBRARY_PATH", "TRITON_LIBCUDA_PATH"} & environment(place.run("-c", SHOW)).keys()


def refused(done, *parts):
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert [part for part in parts if part not in done.stderr] == []


def test_no_driver(place):
    place.driver(there=False)
    refused(place.run("-c", SHOW), "libcuda.so.1 was not found", str(place.wsl), "none inside WSL", "nvidia-smi")


@pytest.mark.parametrize("name", ["libc10.so", "libc10_cuda.so"])
def test_a_torch_that_is_not_whole_or_not_for_cuda(place, name):
    (place.torch / "lib" / name).unlink()
    refused(place.run("-c", SHOW), f"lib/{name} is missing", "install")


def test_no_torch(place):
    python = place.interpreter(place.folder / "bare", options="-I -S")
    refused(place.run("-c", SHOW, PYTHON=python), f"'{python}' has no torch", "current.txt")


def test_a_torch_that_fails_to_import_is_still_found(place):
    (place.torch / "__init__.py").write_text("raise ImportError")
    assert place.run("-c", SHOW).returncode == 0


@pytest.mark.parametrize("python", ["missing", "broken"])
def test_no_python(place, python):
    broken = place.folder / "broken"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    refused(place.run("-c", SHOW, PYTHON=place.folder / python), "does not run as Python", "PYTHON=")


def test_the_active_environment_comes_before_others(place):
    place.interpreter(place.folder / "venv" / "bin" / "python", options="-X importtime=0 -X marked")
    code = "import sys; print(sys._xoptions)"
    assert "marked" in place.run("-c", code, PYTHON=None, VIRTUAL_ENV=place.folder / "venv").stdout
    assert "marked" not in place.run("-c", code, VIRTUAL_ENV=place.folder / "venv").stdout


def test_help_and_no_arguments(place):
    done = place.run("--help")
    assert done.returncode == 0
    assert [name for name in (*THREADS, "PYTHON", "--torch-lib") if name not in done.stdout] == []
    done = place.run()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: run_gpu.sh")


@pytest.mark.parametrize("script", sorted(SCRIPT.parents[1].rglob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_clean(script):
    """By shellcheck where it is installed; else bash reads them."""
    checker = ["shellcheck"] if shutil.which("shellcheck") else ["bash", "-n"]
    done = subprocess.run([*checker, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
