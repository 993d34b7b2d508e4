"""The doctor on environments that are really built: each broken in one way, and the healthy ones.

The torch in them is a toy of three compiled files with the real one's names and structure, so that the loader itself
says what is broken; a prediction is right where the import then fails as predicted.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_elf import newer, other_machine
from test_python310 import find_python310
from typer.testing import CliRunner

from helpers import environment
from helpers.cli import app
from helpers.environment import Host, main
from helpers.environment.doctor import DoctorError, examine

COMPILER = shutil.which("gcc")
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the loader's rules are those of Linux"),
    pytest.mark.skipif(COMPILER is None, reason="no gcc here to compile an extension with"),
]

SUFFIX = f".cpython-{sys.version_info[0]}{sys.version_info[1]}-{os.uname().machine}-linux-gnu.so"
ERROR = "_ZN3c105ErrorC1ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
OLD_ERROR = "_ZN3c105ErrorC1ENS_14SourceLocationESs"
DEVICE = "_ZN3c104cuda14ExchangeDeviceEa"
H100 = "NVIDIA H100 80GB HBM3, 81559, 9.0, 580.65.06"
MODULE = """
    extern void *PyModule_Create2(void *, int);
    {declarations}
    static struct {{ long refs; void *type, *init; long index; void *copy; const char *name, *doc; long size;
                     void *methods, *slots, *traverse, *clear, *free; }} def = {{1, 0, 0, 0, 0, "{name}", 0, -1}};
    void *PyInit_{name}(void) {{ {body}; return PyModule_Create2(&def, 1013); }}
"""
TORCH = {
    "__init__.py": "from torch import _C, cuda, distributed\nfrom torch.version import __version__\n",
    "cuda/__init__.py": "import os\ndef is_available():\n    return 'TOY_GPU' in os.environ\n",
    "distributed/__init__.py": "class ProcessGroup:\n    pass\n",
}
MAMBA = {
    "__init__.py": "from mamba_ssm.ops import selective_scan_interface\n",
    "ops/__init__.py": "",
    "ops/selective_scan_interface.py": """\
import torch
from torch.distributed import ProcessGroup
import triton, einops, transformers, huggingface_hub
try:
    from causal_conv1d.cpp_functions import causal_conv1d_fwd_function
except ImportError:
    causal_conv1d_fwd_function = None
import selective_scan_cuda
""",
}
CONV = {
    "__init__.py": "import torch\nimport causal_conv1d_cuda\n",
    "cpp_functions.py": "causal_conv1d_fwd_function = print\n",
}
OTHERS = {"triton": "3.5.0", "einops": "0.8.1", "transformers": "4.57.0", "huggingface_hub": "0.36.0"}


def compiled(folder, name, *flags, calls=(), section=b""):
    """Compile a module that calls the symbols; `section` becomes its fat binary."""
    declarations = "".join(f"extern int {symbol}(void);\n" for symbol in calls)
    if section:
        numbers = ",".join(map(str, section))
        declarations += (
            f'__attribute__((section(".nv_fatbin"), used, aligned(8))) const unsigned char fat[]={{{numbers}}};'
        )
    source = folder / f"{name}.c"
    source.write_text(MODULE.format(name=name, declarations=declarations, body=";".join(f"{it}()" for it in calls)))
    return link(source, folder / f"{name}{SUFFIX}", *flags)


def library(folder, name, *symbols, flags=(), calls=()):
    source = folder / f"{name}.c"
    inner = "".join(f"extern int {symbol}(void);\n" for symbol in calls)
    inner += "".join(f"int {symbol}(void) {{ return 7; }}\n" for symbol in symbols)
    inner += f"int use_{name}(void) {{ return 0{''.join(f'+{symbol}()' for symbol in calls)}; }}\n"
    source.write_text(inner)
    return link(source, folder / f"{name}.so", f"-Wl,-soname,{name}.so", *flags)


def link(source, target, *flags):
    subprocess.run([COMPILER, "-shared", "-fPIC", "-w", source, "-o", target, *flags], check=True)
    source.unlink()
    return target


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A toy torch, and modules compiled for it."""
    folder = tmp_path_factory.mktemp("parts")
    for name, text in TORCH.items():
        path = folder / "torch" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    lib = folder / "torch/lib"
    lib.mkdir()
    here = (f"-L{lib}", "-Wl,--no-as-needed", "-Wl,-rpath,$ORIGIN:$ORIGIN/lib")
    library(lib, "libc10", ERROR, "c10_helper")
    library(lib, "libtorch_python", "initModule", flags=(*here, "-lc10"), calls=("c10_helper",))
    compiled(folder / "torch", "_C", *here, "-ltorch_python", calls=("initModule",))
    for name in ("causal_conv1d_cuda", "selective_scan_cuda"):
        compiled(folder, name, *c10(folder), calls=(ERROR,))
    return folder


def c10(parts):
    return f"-L{parts}/torch/lib", "-Wl,--no-as-needed", "-lc10"


class Environment:
    """A virtual environment without pip, on a machine of its own."""

    def __init__(self, folder, parts):
        self.folder, self.parts = folder, parts
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        self.python = folder / "venv/bin/python"
        self.site = next(folder.glob("venv/lib/python*/site-packages"))
        self.bin, self.root = folder / "bin", folder / "root"
        self.bin.mkdir()
        self.root.mkdir()
        self.environ = {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(folder)}

    def write(self, name, text):
        path = self.site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def package(self, name, version, files=None):
        for file, text in (files or {"__init__.py": f"__version__ = '{version}'\n"}).items():
            self.write(f"{name.replace('-', '_')}/{file}", text)
        for old in self.site.glob(f"{name.replace('-', '_')}-*.dist-info"):
            shutil.rmtree(old)
        folder = f"{name.replace('-', '_')}-{version}.dist-info"
        self.write(f"{folder}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    def torch(self, version="2.6.0+cpu", cuda=None):
        self.package("torch", version, TORCH)
        shutil.copytree(self.parts / "torch", self.site / "torch", dirs_exist_ok=True)
        lines = ("from typing import Optional", f"__version__ = {version!r}", f"cuda: Optional[str] = {cuda!r}", "")
        self.write("torch/version.py", "\n".join(lines))

    def kernels(self, mamba="2.3.0", conv="1.5.4"):
        self.package("mamba-ssm", mamba, MAMBA)
        self.package("causal-conv1d", conv, CONV)
        for name, version in OTHERS.items():
            self.package(name, version)
        for name in ("causal_conv1d_cuda", "selective_scan_cuda"):
            shutil.copy(self.parts / f"{name}{SUFFIX}", self.site)

    def replace(self, path, name="causal_conv1d_cuda"):
        shutil.copy(path, self.site / f"{name}{SUFFIX}")

    def program(self, name, script):
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)

    def gpu(self, answer=H100):
        self.program("nvidia-smi", f"echo '{answer}'")
        self.environ["TOY_GPU"] = "1"

    def host(self):
        return Host(root=self.root, environ=self.environ, timeout=5.0)

    def examine(self, imports=True):
        return examine(self.python, imports=imports, host=self.host())


@pytest.fixture
def whole(tmp_path, parts):
    """Everything in order: torch with CUDA, both packages, a GPU."""
    environment = Environment(tmp_path, parts)
    environment.torch("2.6.0+cu124", "12.4")
    environment.kernels()
    environment.gpu()
    return environment


@pytest.fixture
def bare(tmp_path, parts):
    return Environment(tmp_path, parts)


def states(checkup):
    return {layer.name: layer.state for layer in checkup.layers}


def first(checkup):
    found = checkup.to_dict()["first_broken"]
    return (found["layer"], found["id"]) if found else None


def ids(checkup, layer):
    return [fault.id for name, fault in checkup.broken if name == layer]


def works(checkup):
    return {backend.name: backend.works for backend in checkup.backends}


# -- healthy -----------------------------------------------------------------------------------------------------------


def test_gpu_machine_with_everything_right(whole):
    checkup = whole.examine()
    assert checkup.broken == (), str(checkup)
    assert set(states(checkup).values()) <= {"ok", "not here"}, str(checkup)
    assert works(checkup) == {"torch": True, "mamba_ssm": True}
    text = str(checkup)
    assert text.splitlines()[0] == "Doctor: nothing is broken"
    assert len(text.splitlines()) <= 24
    assert all(len(line) <= 80 for line in text.splitlines() if str(whole.folder) not in line)


def test_torch_cpu_without_mamba(bare):
    bare.torch()
    checkup = bare.examine()
    assert checkup.broken == (), str(checkup)
    assert states(checkup)["pair"] == "not here"
    assert works(checkup) == {"torch": True, "mamba_ssm": False}


def test_torch_cuda_without_gpu(bare):
    bare.torch("2.6.0+cu124", "12.4")
    checkup = bare.examine()
    assert checkup.broken == (), str(checkup)
    assert states(checkup)["gpu"] == "not here"
    assert works(checkup) == {"torch": True, "mamba_ssm": False}


def test_bare_python(bare):
    checkup = bare.examine()
    assert checkup.broken == (), str(checkup)
    assert states(checkup)["torch"] == "not here"
    assert works(checkup) == {"torch": False, "mamba_ssm": False}
    assert "no torch" in checkup.build_torch


def test_bare_python310(tmp_path):
    python = find_python310()
    if python is None:
        pytest.skip("no working Python 3.10 on PATH, in ~/.pyenv/versions or known to uv")
    subprocess.run([python, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    checkup = examine(tmp_path / "venv")
    assert checkup.broken == (), str(checkup)
    assert checkup.layers[0].summary.startswith("3.10.")
    assert "cpython-310" in checkup.layers[0].summary


def test_what_works_is_open_without_an_import(whole):
    assert works(whole.examine(imports=False)) == {"torch": None, "mamba_ssm": None}


def test_mamba_without_gpu_is_whole_and_does_not_work(whole):
    (whole.bin / "nvidia-smi").unlink()
    assert works(whole.examine(imports=False)) == {"torch": None, "mamba_ssm": False}
    checkup = whole.examine()
    assert checkup.broken == (), str(checkup)
    assert works(checkup) == {"torch": True, "mamba_ssm": False}


# -- compiled modules: the prediction, and the import that confirms it ------------------------------------------------


def module(whole, *flags, **options):
    return compiled(whole.folder, "causal_conv1d_cuda", *flags, **options)


def wrong_machine(whole):
    data = bytearray((whole.site / f"causal_conv1d_cuda{SUFFIX}").read_bytes())
    other_machine(data)
    (whole.site / f"causal_conv1d_cuda{SUFFIX}").write_bytes(data)


def renamed(suffix):
    def breaks(whole):
        (whole.site / f"causal_conv1d_cuda{SUFFIX}").rename(whole.site / f"causal_conv1d_cuda{suffix}")

    return breaks


def removed(whole):
    (whole.site / f"causal_conv1d_cuda{SUFFIX}").unlink()


def other_cuda(whole):
    source = whole.folder / "cudart.c"
    source.write_text("int cudaGetDevice(void) { return 0; }")
    link(source, whole.folder / "libcudart.so", "-Wl,-soname,libcudart.so.11.0")
    flags = (*c10(whole.parts), f"-L{whole.folder}", "-lcudart")
    whole.replace(module(whole, *flags, calls=("cudaGetDevice",)))


def cuda_module_under_cpu_torch(whole):
    library(whole.folder, "libc10_cuda", DEVICE)
    whole.replace(module(whole, *c10(whole.parts), f"-L{whole.folder}", "-lc10_cuda", calls=(DEVICE,)))


def undefined_symbol(whole):
    whole.replace(module(whole, *c10(whole.parts), calls=(DEVICE,)))


def other_string(whole):
    whole.replace(module(whole, *c10(whole.parts), calls=(OLD_ERROR,)))


def newer_glibc(whole):
    path = module(whole, *c10(whole.parts), "-Wl,-z,relro", calls=("fopen",))
    data = bytearray(path.read_bytes())
    old = next(name for name in ("GLIBC_2.2.5", "GLIBC_2.17") if data.count(f"\0{name}\0".encode()) == 1)
    newer(old, "GLIBC_2.99"[: len(old)].ljust(len(old), "9"))(data)
    path.write_bytes(data)
    whole.replace(path)


@pytest.mark.parametrize(
    ("breaks", "id"),
    [
        (wrong_machine, "L6"),
        (renamed(".cpython-310-x86_64-linux-gnu.so"), "I1"),
        (renamed(f".cpython-{sys.version_info[0]}{sys.version_info[1]}-riscv64-linux-gnu.so"), "I1"),
        (removed, "I1"),
        (other_cuda, "L3"),
        (cuda_module_under_cpu_torch, "L2"),
        (undefined_symbol, "U1"),
        (other_string, "U2"),
        (newer_glibc, "L4"),
    ],
    ids=["machine", "cp310", "riscv64", "absent", "cuda11", "cpu-torch", "symbol", "string", "glibc"],
)
def test_broken_module(whole, breaks, id):
    breaks(whole)
    checkup = whole.examine()
    assert first(checkup) == ("extensions", id), str(checkup)
    assert ids(checkup, "imports")[:1] == [id], str(checkup)  # what the loader itself says is the same failure
    fault = checkup.broken[0][1]
    assert fault.title
    assert fault.evidence
    assert fault.fix
    assert works(checkup) == {"torch": True, "mamba_ssm": False}


def test_library_of_nobody(whole):
    library(whole.folder, "libnobody", "nobody")
    whole.replace(module(whole, *c10(whole.parts), f"-L{whole.folder}", "-lnobody", calls=("nobody",)))
    checkup = whole.examine()
    assert first(checkup)[0] == "extensions"
    assert "libnobody.so" in checkup.broken[0][1].evidence
    assert states(checkup)["imports"] == "broken"


def test_damaged_module(whole):
    (whole.site / f"selective_scan_cuda{SUFFIX}").write_bytes(b"<html>not found</html>" * 9)
    checkup = whole.examine(imports=False)
    assert first(checkup)[0] == "extensions"
    assert "selective_scan_cuda" in checkup.broken[0][1].evidence


def fat_binary(*architectures):
    entries = b"".join(
        struct.pack("<H2xIQ12xI8xQ", kind, 64, 8, number, 0).ljust(64, b"\0") + b"\0" * 8
        for kind, number in architectures
    )
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(entries)) + entries


@pytest.mark.parametrize(
    ("architectures", "fits"),
    [([(2, 80)], False), ([(2, 80), (2, 90)], True), ([(2, 100)], False), ([(1, 80)], True), ([(1, 100)], False)],
    ids=["sm_80", "sm_80,sm_90", "sm_100", "compute_80", "compute_100"],
)
def test_code_for_the_gpu(whole, architectures, fits):
    whole.replace(module(whole, *c10(whole.parts), calls=(ERROR,), section=fat_binary(*architectures)))
    checkup = whole.examine()
    assert first(checkup) == (None if fits else ("extensions", "R1")), str(checkup)


def test_right_module_beside_a_misnamed_one(whole):
    shutil.copy(whole.site / f"causal_conv1d_cuda{SUFFIX}", whole.site / "causal_conv1d_cuda.cpython-36m-darwin.so")
    assert whole.examine(imports=False).broken == ()


def test_what_an_import_refutes_is_no_fault(whole, monkeypatch):
    undefined_symbol(whole)
    path = library(whole.folder, "libpreloaded", DEVICE)
    whole.environ["LD_PRELOAD"] = str(path)  # which the reader of files does not know
    assert first(whole.examine(imports=False)) == ("extensions", "U1")
    checkup = whole.examine()
    assert checkup.broken == (), str(checkup)
    assert states(checkup)["extensions"] == "note"


# -- versions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mamba", "conv"), [("2.2.4", "1.6.0"), ("2.3.0", "1.4.0"), ("2.2.2", "1.5.1")])
def test_contract(whole, mamba, conv):
    whole.kernels(mamba, conv)
    checkup = whole.examine(imports=False)
    assert first(checkup) == ("pair", "I3"), str(checkup)
    assert conv in checkup.broken[0][1].evidence


@pytest.mark.parametrize(
    ("mamba", "conv"), [("2.2.4", "1.5.0.post8"), ("2.2.5", "1.5.1"), ("1.1.1", "1.1.3"), ("3.1", "2.0")]
)
def test_contract_kept(whole, mamba, conv):
    whole.kernels(mamba, conv)
    assert states(whole.examine(imports=False))["pair"] == "ok"


@pytest.mark.parametrize(
    ("changes", "id"),
    [
        ({"mamba-ssm": "2.2.6.post3", "transformers": "5.0.1"}, "I4"),
        ({"torch": "2.2.2", "numpy": "2.1.0", "mamba-ssm": "2.2.4", "causal-conv1d": "1.4.0"}, "I9"),
        ({"torch": "2.3.1"}, "I7"),
        ({"triton": None}, "I5"),
        ({"einops": None}, "I13"),
        ({"huggingface_hub": None}, "I13"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_pin(whole, changes, id):
    for name, version in changes.items():
        if name == "torch":
            whole.torch(version, "12.1")
        elif version is None:
            shutil.rmtree(whole.site / name)
        else:
            whole.package(name, version, {"mamba-ssm": MAMBA, "causal-conv1d": CONV}.get(name))
    checkup = whole.examine(imports=False)
    assert first(checkup) == ("pins", id), str(checkup)


def test_transformers_5_under_a_newer_mamba(whole):
    whole.package("transformers", "5.0.1")
    assert whole.examine(imports=False).broken == ()


# -- torch -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file", ["__init__.py", "version.py", f"_C{SUFFIX}", "lib/libc10.so", "lib/libtorch_python.so", "."]
)
def test_torch_in_parts(whole, file):
    path = whole.site / "torch" / file
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    checkup = whole.examine()
    assert first(checkup) == ("torch", "D1"), str(checkup)
    assert "torch==2.6.0 --index-url https://download.pytorch.org/whl/cu124" in " ".join(checkup.broken[0][1].fix)
    assert works(checkup) == {"torch": False, "mamba_ssm": False}


def test_torch_for_another_python(bare):
    bare.torch()
    path = bare.site / f"torch/_C{SUFFIX}"
    path.rename(path.with_name("_C.cpython-310-x86_64-linux-gnu.so"))
    assert first(bare.examine(imports=False)) == ("torch", "D1")


def test_kernels_without_torch(whole):
    shutil.rmtree(whole.site / "torch")
    shutil.rmtree(next(whole.site.glob("torch-*.dist-info")))
    assert first(whole.examine()) == ("torch", "D4")


def test_torch_without_a_record_of_pip(bare):
    bare.torch()
    shutil.rmtree(next(bare.site.glob("torch-*.dist-info")))
    checkup = bare.examine()
    assert checkup.broken == (), str(checkup)
    assert works(checkup)["torch"] is True


def test_torch_that_fails_in_python(bare):
    bare.torch()
    bare.write("torch/__init__.py", "raise RuntimeError('half a torch')\n")
    checkup = bare.examine()
    assert first(checkup) == ("imports", "D2"), str(checkup)
    assert checkup.broken[0][1].evidence == "RuntimeError: half a torch"


def test_nothing_is_tried_after_a_torch_that_fails(whole):
    whole.write("torch/__init__.py", "raise RuntimeError('half a torch')\n")
    assert [fault.id for _, fault in whole.examine().broken] == ["D2"]


# -- imports -----------------------------------------------------------------------------------------------------------


def test_torch_without_distributed(whole):
    whole.write("torch/distributed/__init__.py", "")
    assert first(whole.examine()) == ("imports", "I6")


def test_swallowed_import(whole):
    """mamba_ssm imports all the same; causal_conv1d imports too, but not what mamba_ssm wants of it."""
    whole.write("causal_conv1d/cpp_functions.py", "raise ImportError('the true reason')\n")
    checkup = whole.examine()
    assert first(checkup) == ("imports", "I2"), str(checkup)
    assert works(checkup) == {"torch": True, "mamba_ssm": False}


def test_import_that_fails_for_its_own_reason(whole):
    whole.write("causal_conv1d/__init__.py", "import nobody_knows_this\n")
    checkup = whole.examine()
    assert first(checkup) == ("imports", "D10"), str(checkup)
    assert "nobody_knows_this" in checkup.broken[0][1].evidence


def test_import_that_crashes(whole):
    whole.write("mamba_ssm/__init__.py", "import os; os.kill(os.getpid(), 11)\n")
    checkup = whole.examine()
    assert first(checkup) == ("imports", "D10"), str(checkup)
    assert checkup.broken[0][1].evidence == "ended by SIGSEGV"


def test_import_that_hangs(whole, monkeypatch):
    monkeypatch.setattr("helpers.environment.doctor_imports.SECONDS", 2.0)
    whole.write("causal_conv1d/__init__.py", "import time; time.sleep(60)\n")
    assert first(whole.examine()) == ("imports", "D5")


def test_torch_does_not_reach_the_gpu(whole):
    del whole.environ["TOY_GPU"]
    checkup = whole.examine()
    assert first(checkup) == ("imports", "D8"), str(checkup)
    whole.environ["CUDA_VISIBLE_DEVICES"] = ""
    assert whole.examine().broken == ()


# -- LD_LIBRARY_PATH ---------------------------------------------------------------------------------------------------


def shadow(whole, *symbols):
    folder = whole.folder / "other/lib"
    folder.mkdir(parents=True)
    library(folder, "libc10", *symbols)
    whole.environ["LD_LIBRARY_PATH"] = str(folder)


@pytest.mark.parametrize("imports", [True, False])
def test_library_path_that_breaks_torch(whole, imports):
    shadow(whole, ERROR)
    checkup = whole.examine(imports)
    assert first(checkup) == ("library_path", "D3"), str(checkup)
    assert works(checkup) == {"torch": False, "mamba_ssm": False}
    assert "unset LD_LIBRARY_PATH" in " ".join(checkup.broken[0][1].fix)


def test_library_path_that_only_the_import_shows(whole):
    shadow(whole, ERROR, "c10_helper")
    folder = Path(whole.environ["LD_LIBRARY_PATH"])
    (folder / "libc10.c").write_text(
        f"int {ERROR}(void) {{ return 1; }} int c10_helper(void) {{ return 1; }}"
        "__attribute__((constructor)) void start(void) { __builtin_trap(); }"
    )
    link(folder / "libc10.c", folder / "libc10.so", "-Wl,-soname,libc10.so")
    assert states(whole.examine(imports=False))["library_path"] == "note"
    assert first(whole.examine()) == ("library_path", "D3")


def test_library_path_that_breaks_a_module_only(whole):
    library(whole.site, "libhelp", "help_me")
    flags = (*c10(whole.parts), "-Wl,-rpath,$ORIGIN", f"-L{whole.site}", "-lhelp")
    whole.replace(module(whole, *flags, calls=("help_me",)))
    folder = whole.folder / "other"
    folder.mkdir()
    library(folder, "libhelp", "another")
    whole.environ["LD_LIBRARY_PATH"] = str(folder)
    checkup = whole.examine()
    assert first(checkup) == ("library_path", "D3"), str(checkup)
    assert works(checkup) == {"torch": True, "mamba_ssm": False}
    assert "import torch, causal_conv1d fails with it" in checkup.broken[0][1].evidence


def test_library_path_that_torch_survives_after_all(whole):
    shadow(whole, ERROR)
    whole.environ["LD_PRELOAD"] = str(library(whole.folder, "libpreloaded", "c10_helper"))
    assert first(whole.examine(imports=False)) == ("library_path", "D3")
    checkup = whole.examine()
    assert checkup.broken == (), str(checkup)
    assert states(checkup)["library_path"] == "note"


@pytest.mark.parametrize(("system", "id"), [("Windows", "P1"), ("Darwin", "P4")])
def test_another_system(whole, system, id):
    host = replace(whole.host(), system=system, path=(str(whole.site),))
    assert first(examine(host=host, imports=False)) == ("python", id)
    shutil.rmtree(whole.site)
    whole.site.mkdir()
    assert examine(host=host, imports=False).broken == ()


def test_library_path_that_hides_nothing_that_matters(whole):
    shadow(whole, ERROR, "c10_helper")
    checkup = whole.examine()
    assert checkup.broken == (), str(checkup)
    assert states(checkup)["library_path"] == "note"
    folder = whole.folder / "toolkit"
    folder.mkdir()
    (folder / "libcudart.so.12").touch()
    whole.write("nvidia/cuda_runtime/lib/libcudart.so.12", "")
    whole.environ["LD_LIBRARY_PATH"] = str(folder)
    assert states(whole.examine(imports=False))["library_path"] == "note"
    whole.environ["LD_LIBRARY_PATH"] = f"{whole.site}/torch/lib:/usr/lib/wsl/lib"
    assert states(whole.examine(imports=False))["library_path"] == "ok"


# -- GPU and toolkit ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "id"),
    [
        ("Tesla T4, 15360, 7.5, 470.82.01", "D6"),
        ("Tesla K40, 11441, 3.5, 580.65.06", "D11"),
        ("Tesla T4, 15360, 7.5, 525.60.13", None),
    ],
)
def test_driver(bare, answer, id):
    bare.torch("2.6.0+cu124", "12.4")
    bare.gpu(answer)
    checkup = bare.examine(imports=False)
    assert first(checkup) == (("gpu", id) if id else None), str(checkup)


def test_driver_that_torch_can_use_after_all(bare):
    bare.torch("2.6.0+cu124", "12.4")
    bare.gpu("Tesla T4, 15360, 7.5, 470.82.01")  # with NVIDIA's forward compatibility package
    assert bare.examine().broken == ()


def test_gpu_that_does_not_answer(bare):
    bare.torch("2.6.0+cu124", "12.4")
    bare.program("nvidia-smi", "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18")
    assert first(bare.examine()) == ("gpu", "D7")
    bare.torch("2.6.0+cpu")
    assert bare.examine().broken == ()


@pytest.mark.parametrize(
    ("release", "torch", "state", "said"),
    [
        ("12.4", ("2.6.0+cu124", "12.4"), "ok", "nvcc 12.4"),
        ("13.0", ("2.6.0+cu124", "12.4"), "note", "B8"),
        ("11.5", ("2.6.0+cu118", "11.8"), "note", "B9"),
        ("12.4", ("2.6.0+cpu", None), "note", "B4"),
    ],
)
def test_toolkit_is_never_a_fault(bare, release, torch, state, said):
    bare.torch(*torch)
    bare.program("nvcc", f"echo 'Cuda compilation tools, release {release}, V{release}.99'")
    checkup = bare.examine(imports=False)
    assert checkup.broken == ()
    toolkit = next(layer for layer in checkup.layers if layer.name == "toolkit")
    assert toolkit.state == state
    assert said in toolkit.summary


def test_wheels_are_advice(bare):
    bare.torch("2.6.0+cu124", "12.4")
    layer = next(layer for layer in bare.examine(imports=False).layers if layer.name == "wheels")
    assert layer.state == "ok"
    assert "mamba-ssm 2." in layer.summary
    bare.torch("2.14.1+cu130", "13.0")
    layer = next(layer for layer in bare.examine(imports=False).layers if layer.name == "wheels")
    assert layer.state == "note"


# -- what it says ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "environ", "said"),
    [
        ({}, {}, []),
        ({}, {"MODAL_TASK_ID": "ta-1"}, ["Install torch in an image layer before"]),
        ({}, {"COLAB_RELEASE_TAG": "release"}, ["Restart the session"]),
    ],
)
def test_fix_for_the_place(whole, files, environ, said):
    undefined_symbol(whole)
    whole.environ.update(environ)
    fix = " ".join(whole.examine(imports=False).broken[0][1].fix)
    for text in ("Install torch in an image layer before", "Restart the session"):
        assert (text in fix) == (text in said)


def test_fix_names_the_interpreter_that_is_examined(whole):
    undefined_symbol(whole)
    fix = "\n".join(whole.examine(imports=False).broken[0][1].fix)
    assert f"{whole.python} -m pip uninstall" in fix
    whole.environ["PATH"] = f"{whole.python.parent}:/usr/bin:/bin"
    fix = "\n".join(whole.examine(imports=False).broken[0][1].fix)
    assert str(whole.python) not in fix
    assert "pip uninstall -y mamba-ssm" in fix


def test_no_library_path_is_recommended(whole):
    whole.environ["WSL_DISTRO_NAME"] = "Ubuntu"
    (whole.root / "dev").mkdir()
    (whole.root / "dev/dxg").touch()
    whole.write("mamba_ssm/__init__.py", "raise ImportError('libcuda.so.1: cannot open shared object file')\n")
    checkup = whole.examine()
    assert first(checkup) == ("imports", "R3"), str(checkup)
    assert "TRITON_LIBCUDA_PATH=/usr/lib/wsl/lib" in str(checkup)
    assert "LD_LIBRARY_PATH=" not in json.dumps(checkup.to_dict())


def test_screen_and_json_say_the_same(whole):
    whole.kernels("2.2.4", "1.6.0")
    undefined_symbol(whole)
    checkup = whole.examine(imports=False)
    found, lines = checkup.to_dict(), str(checkup).splitlines()
    assert found["verdict"] == "broken"
    assert [layer["name"] for layer in found["layers"] if layer["state"] == "broken"] == ["pair", "extensions"]
    assert set(found["first_broken"]) == {"layer", "id", "title", "cause", "evidence", "fix"}
    assert lines[0] == "Doctor: broken at Pair: I3 mamba-ssm and causal-conv1d do not fit together"
    assert any(line.startswith("  Compiled  U1") for line in lines[lines.index("Also broken") :])
    for step in found["first_broken"]["fix"]:
        assert f"  {step}" in lines


def test_which_torch_a_build_sees(whole):
    text = " ".join(str(whole.examine(imports=False)).split())
    assert f"would see torch 2.6.0+cu124 of {whole.site / 'torch'} with --no-build-isolation" in text


def test_a_folder_comes_first(whole, tmp_path):
    """A folder of packages, as a lab breaks one: it is examined before what the interpreter has itself."""
    site = tmp_path / "site"
    site.mkdir()
    assert examine(whole.python, site=site, imports=False, host=whole.host()).broken == ()
    shutil.copy(module(whole, *c10(whole.parts), calls=(DEVICE,)), site)
    checkup = examine(whole.python, site=site, host=whole.host())
    assert first(checkup) == ("extensions", "U1")
    assert ids(checkup, "imports") == ["U1"]
    (site / f"causal_conv1d_cuda{SUFFIX}").unlink()
    compiled(site, "light_scan", *c10(whole.parts), calls=(DEVICE,))  # of neither package, but of torch
    checkup = examine(whole.python, site=site, imports=False, host=whole.host())
    assert first(checkup) == ("extensions", "U1")
    assert "light_scan" in checkup.broken[0][1].evidence


def test_progress_is_told_before_the_imports(whole):
    lines = []
    examine(whole.python, progress=lines.append, host=whole.host())
    assert lines[0] == "Files and versions: nothing broken. Now the imports."
    assert [line.split(" (")[0] for line in lines[1:]] == [
        "import torch",
        "import torch, causal_conv1d",
        "import mamba_ssm",
    ]


# -- command -----------------------------------------------------------------------------------------------------------


def test_command(bare, capsys):
    bare.torch()
    assert main(["doctor", "--python", str(bare.python)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Doctor: nothing is broken")
    assert "import torch" in err
    (bare.site / "torch/lib/libc10.so").unlink()
    assert main(["doctor", "--no-import", "--json", f"--python={bare.python}"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["first_broken"]["id"] == "D1"
    assert err == ""


@pytest.mark.parametrize("code", [0, 1, 2])
def test_workbook_doctor_is_that_of_helpers_environment(monkeypatch, code):
    asked = []
    monkeypatch.setattr(environment, "main", lambda arguments: asked.append(arguments) or code)
    assert CliRunner().invoke(app, ["doctor"]).exit_code == code
    assert CliRunner().invoke(app, ["doctor", "--no-import", "--json", "--python", "venv"]).exit_code == code
    assert asked == [["doctor"], ["doctor", "--python=venv", "--no-import", "--json"]]


@pytest.mark.parametrize("path", ["no/such/python", "/etc/hostname", "no-such-python"])
def test_no_interpreter(path, capsys):
    assert main(["doctor", "--python", path]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_interpreter_that_hangs(tmp_path, monkeypatch):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nsleep 60\n")
    script.chmod(0o755)
    monkeypatch.setattr("helpers.environment.doctor_target.SECONDS", 0.5)
    with pytest.raises(DoctorError, match="did not start within"):
        examine(script)


def test_noisy_start_of_an_interpreter(bare):
    bare.write("sitecustomize.py", "import sys; print('{\"python\": 1}'); print('hello', file=sys.stderr)\n")
    bare.torch()
    assert bare.examine().broken == ()


def test_no_such_folder(tmp_path):
    with pytest.raises(DoctorError, match="is no folder"):
        examine(site=tmp_path / "nothing")


def test_static_verdict_of_this_environment_is_fast():
    seconds = []
    for _ in range(3):  # the best of three: others may be busy on this machine
        start = time.monotonic()
        checkup = examine(imports=False)
        seconds.append(time.monotonic() - start)
    assert min(seconds) < 2
    assert checkup.broken == (), str(checkup)


# -- anything ----------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_files_may_be_missing_or_cut(whole, tmp_path_factory, data):
    site = tmp_path_factory.mktemp("site")
    files = sorted(path for path in whole.site.rglob("*") if path.is_file())
    gone = data.draw(st.sets(st.sampled_from(files)))
    cut = data.draw(st.sets(st.sampled_from(files), max_size=3))
    for path in files:
        if path not in gone:
            target = site / path.relative_to(whole.site)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes()[: 100 if path in cut else None])
    checkup = examine(imports=False, host=replace(whole.host(), path=(str(site),), executable=str(whole.python)))
    assert checkup.to_dict()["verdict"] in ("ok", "broken")
    assert str(checkup)
    shutil.rmtree(site)
