"""`diagnose` in a notebook: what its text says of an extension is what happens when the extension is imported."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest

from helpers.environment import ElfError, Lab, LabError, diagnose
from helpers.environment.catalogue import failures

COMPILER = shutil.which("g++")
found = importlib.util.find_spec("torch")
TORCH = Path(found.origin).parent if found and found.origin else None
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the loader's rules are those of Linux"),
    pytest.mark.skipif(COMPILER is None, reason="no g++ here to compile an extension with"),
    pytest.mark.skipif(TORCH is None, reason="no torch here to compile an extension against"),
]
SOURCE = """
    #include <Python.h>
    #include <c10/util/Exception.h>
    static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "NAME", 0, -1, nullptr};
    static void fail() { throw c10::Error(c10::SourceLocation{"f", "x.cpp", 1}, std::string("boom")); }
    PyMODINIT_FUNC PyInit_NAME() { if (PyErr_Occurred()) fail(); return PyModule_Create(&definition); }
"""


def compile_extensions(lab):
    for name, abi, *flags in (("light_scan", 1), ("old_scan", 0), ("own_path", 1, f"-Wl,-rpath,{TORCH}/lib")):
        lab.write(f"{name}.cpp", SOURCE.replace("NAME", name))
        folders = (f"-I{TORCH}/include", f"-I{sysconfig.get_path('include')}", f"-L{TORCH}/lib")
        options = ("-shared", "-fPIC", "-std=c++20", f"-D_GLIBCXX_USE_CXX11_ABI={abi}", *folders)
        lab.run(COMPILER, *options, f"{name}.cpp", "-lc10", *flags, "-o", f"{name}.so")
    content = (lab / "light_scan.so").read_bytes()
    lab.write("cut_scan.so", content[:50])
    lab.write("half_scan.so", content[: len(content) // 2])
    lab.write("junk_scan.so", b"a page that says 404, saved under this name by a download that did not look at it")
    shutil.copy(lab / "light_scan.so", lab / "arm_scan.cpython-39-aarch64-linux-gnu.so")


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        compile_extensions(lab)
        yield lab


def joined(examined):
    """Return the text as one line, so that a wrapped message can be compared."""
    return " ".join(str(examined).split())


def said(lab, name, before=""):
    """Return what Python says when it imports the extension in a fresh process."""
    try:
        lab.python(f"{before}\nimport {name}")
    except ImportError as error:
        return f"{type(error).__name__}: {error}"
    return None


def test_an_extension_that_needs_torch_first(lab):
    examined = diagnose(lab / "light_scan.so")
    text, (finding, *_) = joined(examined), examined.findings
    assert said(lab, "light_scan") in text
    assert (finding.id, examined.after_torch) == ("L1", ())
    title = next(failure.title for failure in failures() if failure.id == "L1")
    assert f"L1: {title} Here: {finding.reason}." in text
    assert text.startswith(f"light_scan.so, built for {os.uname().machine} needs libc10.so, ")
    assert "search path none (no RPATH, no RUNPATH) C++ ABI cxx11" in text
    assert text.endswith("OK only after `import torch`.")
    assert said(lab, "light_scan", "import torch") is None


@pytest.mark.parametrize(
    ("name", "changes", "before"),
    [
        ("light_scan", {"torch_first": True}, "import torch"),
        ("light_scan", {"library_path": TORCH and TORCH / "lib"}, None),
        ("own_path", {}, ""),
    ],
)
def test_an_extension_that_nothing_stands_against(lab, name, changes, before):
    examined = diagnose(lab / f"{name}.so", **changes)
    assert (examined.findings, examined.after_torch) == ((), None)
    assert joined(examined).endswith("Nothing stands against the import.")
    assert before is None or said(lab, name, before) is None


def test_what_import_torch_does_not_heal(lab):
    examined = diagnose(lab / "old_scan.so")
    text = joined(examined)
    assert [examined.findings[0].id, examined.after_torch[0].id] == ["L1", "U2"]
    assert "C++ ABI old" in text
    assert said(lab, "old_scan") in text
    assert re.search("After `import torch` it would be U2: .* Here: c10::Error should be in libc10.so", text)
    assert "OK only" not in text
    later = diagnose(lab / "old_scan.so", torch_first=True)
    assert lab.hide(said(lab, "old_scan", "import torch")) in joined(later)


@pytest.mark.parametrize("name", ["cut_scan", "junk_scan"])
def test_a_file_that_is_no_library(lab, name):
    examined = diagnose(lab / f"{name}.so")
    assert examined.extension is None
    assert [finding.id for finding in examined.findings] == ["L8"]
    assert lab.hide(said(lab, name)) in joined(examined)


def test_a_library_that_is_cut_in_its_middle_ends_python(lab):
    text = str(diagnose(lab / "half_scan.so"))
    assert "`import half_scan` would end Python: Bus error\n  L8: " in text
    with pytest.raises(LabError, match="ended by SIGBUS"):
        lab.python("import torch, half_scan")


def test_a_file_for_another_python(lab):
    (path,) = lab.folder.glob("arm_scan*")
    examined = diagnose(path)
    assert examined.findings[0].id == "I1"
    assert said(lab, "arm_scan") in joined(examined)


def test_the_text_is_short_and_the_same_in_every_lab(lab):
    names = sorted(path.name for path in lab.folder.glob("*.so"))
    texts = [str(diagnose(lab / name)) for name in names]
    for text in texts:
        assert len(text.splitlines()) <= 14
        assert max(map(len, text.splitlines())) <= 80
        assert str(lab.folder) not in text
    with Lab() as other:
        shutil.copytree(lab.folder, other.folder, dirs_exist_ok=True)
        assert [str(diagnose(other / name)) for name in names] == texts


def test_the_extension_is_not_loaded(lab):
    code = """
        import sys
        from helpers.environment import diagnose
        text = repr(diagnose("light_scan.so"))
        maps = [line.split(maxsplit=5) for line in open("/proc/self/maps")]
        assert [row[1] for row in maps if "x" in row[1] and "light_scan" in row[-1]] == []
        assert not {"torch", "numpy", "light_scan"} & set(sys.modules)
        print(text.splitlines()[-1])
    """
    assert lab.python(code) == "OK only after `import torch`."


def test_a_file_that_is_not_there(lab):
    with pytest.raises(ElfError, match="No such file"):
        diagnose(lab / "lost.so")
