"""The labs of the chapters break for the reason that they give: without its cause, a lab turns red.

A lab is the cells of a chapter that are tagged ``lab:NAME``, after those tagged ``setup``. Here each runs with its
cause mended, and has to complain. With the cause in place they run as part of the chapter.
"""

import re
import shutil
import sys
from functools import lru_cache
from pathlib import Path

import jupytext
import pytest

from helpers.environment.catalogue import failures

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
BOTH = '"MAMBA_FORCE_BUILD": "TRUE", "MAMBA_SKIP_CUDA_BUILD": "TRUE"'
MENDED = {  # lab: what stands in its cells, and what takes the cause away
    "01_install": {
        "isolation": {
            '"install", "--no-deps", sdist(': '"install", "--no-deps", "--no-build-isolation", sdist(',
            "python=mine,\n    )\n": f"python=mine, env={{{BOTH}}},\n    )\n",
        },
        "build-tools": {'"setuptools==69.5.1", "wheel"': '"setuptools==69.5.1", "wheel", "packaging"'},
        "wheel-guess": {
            "(lab / cached).parent": "(lab / 'other' / cached).parent",
            "lab / cached,": "lab / 'other' / cached,",
        },
        "no-network": {'"12.1", False))': '"12.1", False), no_proxy="*")'},
        "no-csrc": {'build(toolkit("12.4"))': 'build(toolkit("12.4"), MAMBA_SKIP_CUDA_BUILD="TRUE")'},
        "no-cuda": {"lab.python(code, folder=folder)": f"lab.python(code, folder=folder, env={{{BOTH}}})"},
        "nvcc-major": {'toolkit("13.0")': 'toolkit("12.4")'},
        "old-nvcc": {'toolkit("11.5")': 'toolkit("12.4")'},
        "no-compiler": {'{"PATH": "/nowhere"}': "{}"},
        # -E: what stops at an #error has not compiled anything yet, and what passes it need not
        "cxx-standard": {'"-std=c++14"': '"-E", "-std=c++20"'},
        "out-of-memory": {"ulimit -v 300000": "true"},
        "dropped-arch": {"-arch=compute_53": "-arch=compute_90"},
        "contract": {'pair("2.2.4", "1.7.0", "new")': 'pair("2.2.4", "1.4.0", "old")'},
        "swallowed-import": {'pair("2.3.1", "1.4.0", "old"': 'pair("2.3.1", "1.7.0", "new"'},
        "no-triton": {"folder=mamba, python": "folder=mamba, env={'PYTHONPATH': lab / 'stand_ins'}, python"},
        "transformers-5": {'"2.2.6.post3"': '"2.3.1"'},
        "numpy-2": {"lab / 'numpy1/numpy/core/include'": "__import__('numpy').get_include()"},
        "no-distributed": {"del torch.distributed.ProcessGroup": ""},
        "custom-op": {"del torch.library.custom_op; ": ""},
        "wheel-tag": {"cp39-cp39-linux_aarch64": "py3-none-any"},
    },
    "02_loader": {
        "torch-first": {'"import light_scan"': '"import torch, light_scan"'},
        "shadow": {'{"LD_LIBRARY_PATH": wrong.parent}': "{}"},
        "other-torch": {"ExchangeDevice(signed char); }": "ExchangeDevice(signed char d) { return d; } }"},
        "old-torch": {"return PyLong_FromVoidPtr((void*)&at::_ops::zeros_like::call);": "Py_RETURN_NONE;"},
        "string-abi": {'folder=f"abi{1 - mine}"': 'folder=f"abi{mine}"'},
        "stale-wheel": {"reinstalled = pip_install()": 'reinstalled = pip_install("--no-cache-dir")'},
        "cuda-major": {"cudaGetDeviceCount(int*);": "cudaGetDeviceCount(int* n) { return *n = 0; }"},
        "cpu-torch": {'f"{set_device}; }}"': 'f"{set_device} {{}} }}"'},
        "glibc": {"GLIBC_2.99 {": "GLIBC_2.2.5 {"},
        "libstdcxx": {"namespace std { void scan(); }": "namespace std { void scan() {} }"},
        "wrong-machine": {"183 if content[18] == 62 else 62": "content[18]"},
        "no-module": {".cpython-36m-x86_64-linux-gnu.so": ".so"},
        "libcuda": {
            'lab.build(launcher, links=["workbook_cuda"])': 'lab.build(launcher, links=["workbook_cuda"], '
            "flags=[f\"-L{lab / 'usr/lib/wsl/lib'}\"])"
        },
    },
}
ON_A_GPU = {"no-kernel-image", "conv-width", "strides", "cpu-tensor"}  # in cells of the GPU lane


def cells(chapter):
    notebook = jupytext.read(NOTEBOOKS / f"{chapter}.py")
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def labs(chapter):
    tags = [tag for cell in cells(chapter) for tag in cell.metadata.get("tags", [])]
    return {tag.removeprefix("lab:") for tag in tags if tag.startswith("lab:")}


@lru_cache(maxsize=len(MENDED))
def prepared(chapter):
    """What the setup cells leave: a lab needs nothing else of its chapter."""
    variables = {"__name__": "__main__"}
    for cell in cells(chapter):
        if "setup" in cell.metadata.get("tags", []):
            exec(compile(cell.source, f"{chapter} setup", "exec"), variables)
    return variables


def run(chapter, lab, changes=None):
    source = "\n\n".join(cell.source for cell in cells(chapter) if f"lab:{lab}" in cell.metadata.get("tags", []))
    for old, new in (changes or {}).items():
        assert old in source, f"lab {lab} has no {old!r} to mend"
        source = source.replace(old, new, 1)
    exec(compile(source, f"{chapter} lab:{lab}", "exec"), dict(prepared(chapter)))


MENDABLE = [
    (chapter, lab)
    for chapter, table in MENDED.items()
    for lab in table
    if (lab != "dropped-arch" or shutil.which("nvcc")) and (lab != "numpy-2" or sys.version_info < (3, 13))
]


@pytest.mark.parametrize(("chapter", "lab"), [("01_install", "cxx-standard"), ("02_loader", "torch-first")])
def test_with_its_cause_a_lab_runs_on_the_setup_cells_alone(chapter, lab):
    run(chapter, lab)  # the first of its chapter: nothing else has run there


@pytest.mark.parametrize(("chapter", "lab"), MENDABLE)
def test_without_its_cause_a_lab_turns_red(chapter, lab):
    # AssertionError from expect_error, or the lab's own line about a log that is not there
    with pytest.raises((AssertionError, IndexError), match=r"expected \w+ matching|list index out of range"):
        run(chapter, lab, MENDED[chapter][lab])


@pytest.mark.parametrize("chapter", MENDED)
def test_every_lab_of_a_chapter_is_mended_here(chapter):
    assert labs(chapter) == set(MENDED[chapter])


def test_there_are_at_least_twenty_labs_that_run_without_a_gpu():
    assert sum(len(table) for table in MENDED.values()) >= 20


def test_every_lab_that_the_catalogue_names_has_its_place_in_a_chapter():
    for failure in failures():
        if failure.lab:
            text = (NOTEBOOKS / f"{failure.chapter}.py").read_text(encoding="utf-8")
            assert f'<a id="lab-{failure.lab}"></a>' in text, (
                f"{failure.id}: {failure.chapter} has no lab {failure.lab}"
            )
            assert failure.lab in set(MENDED[failure.chapter]) | ON_A_GPU, failure.id


def test_every_lab_says_which_failure_it_is():
    named = {failure.lab for failure in failures()}
    for chapter, table in MENDED.items():
        anchors = set(
            re.findall(r'<a id="lab-([\w-]+)"></a>', (NOTEBOOKS / f"{chapter}.py").read_text(encoding="utf-8"))
        )
        assert anchors - {"shadow", "old-torch"} <= named, "an anchor that no failure of the catalogue leads to"
        assert set(table) - {"old-torch"} <= anchors
