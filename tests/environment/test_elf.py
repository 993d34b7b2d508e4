"""Static predictions: what is said of an extension without loading it is what Python says when it loads it.

The extensions are compiled here, each around one cause, and imported for real in a fresh process.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.environment.elf import ElfError, Search, loader_path, predict, read_extension
from helpers.environment.labs import Lab, LabError

COMPILER = shutil.which("g++")
found = importlib.util.find_spec("torch")
TORCH = Path(found.origin).parent if found and found.origin else None
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the loader's rules are those of Linux"),
    pytest.mark.skipif(COMPILER is None, reason="no g++ here to compile an extension with"),
    pytest.mark.skipif(TORCH is None, reason="no torch here to compile an extension against"),
]

MODULE = """
    #include <Python.h>
    {declarations}
    static PyObject* call(PyObject*, PyObject*) {{ {body}; Py_RETURN_NONE; }}
    static PyMethodDef methods[] = {{{{"call", call, METH_NOARGS, ""}}, {{0, 0, 0, 0}}}};
    static PyModuleDef definition = {{PyModuleDef_HEAD_INIT, "module", 0, -1, methods}};
"""
START = "PyMODINIT_FUNC PyInit_{name}() {{ return PyModule_Create(&definition); }}\n"
CHECK = ("#include <c10/util/Exception.h>", 'TORCH_CHECK(PyErr_Occurred() == nullptr, "boom")')
ERROR = ("#include <c10/util/Exception.h>", 'throw c10::Error(c10::SourceLocation{"f", "x.cpp", 1}, std::string("b"))')
DEVICE = ("namespace c10::cuda { signed char ExchangeDevice(signed char); }", "c10::cuda::ExchangeDevice(0)")
DEVICES = ("namespace c10 { signed char number_of_channels(); }", "c10::number_of_channels()")
MIDDLE = ('extern "C" int middle();', "middle()")
FIRST = ('extern "C" int first();', "first()")
CUDART = ('extern "C" int cudaGetDevice();', "cudaGetDevice()")
SEVERAL = ('extern "C" int beta(), alpha(), gamma_(); extern int rate;', "beta() + alpha() + rate + gamma_()")
BOTH = ('extern "C" int middle(), lost();', "lost() + middle()")
STRING = ("#include <string>", "std::string text(PyUnicode_AsUTF8(nullptr)); text.append(text)")
C10 = (f"-L{TORCH}/lib", "-Wl,--no-as-needed", "-lc10", "-Wl,--as-needed")
RUNPATH, RPATH = ("-Wl,--enable-new-dtags",), ("-Wl,--disable-new-dtags",)


def compile_library(lab, source, target, *flags):
    (lab / target).parent.mkdir(exist_ok=True)
    options = ("-O0", "-shared", "-fPIC", "-std=c++20", f"-I{sysconfig.get_path('include')}")
    lab.run(COMPILER, *options, source, "-o", target, *flags)


def compile_modules(lab, content, modules):
    """Modules of one content: compiled once, with the start of each, and linked for each with its own flags."""
    declarations, body = content
    first, starts = next(iter(modules)), "".join(START.format(name=name) for name in modules)
    lab.write(f"{first}.cpp", MODULE.format(declarations=declarations, body=body) + starts)
    defines = [flag for flag in modules[first] if flag.startswith("-D")]
    compile_library(lab, f"{first}.cpp", f"{first}.o", "-c", f"-I{TORCH}/include", *defines)
    for name, flags in modules.items():
        compile_library(lab, f"{first}.o", f"{name}.so", *flags)


def patch(lab, source, target, change):
    data = bytearray((lab / source).read_bytes())
    change(data)
    lab.write(target, bytes(data))


def other_machine(data):
    data[18:20] = (183 if data[18] == 62 else 62).to_bytes(2, "little")


def elf_hash(name):
    number = 0
    for byte in name.encode():
        number = (number << 4) + byte
        high = number & 0xF0000000
        number = (number ^ (high >> 24)) & ~high & 0xFFFFFFFF
    return number


def newer(old, new):
    """Return a change of the file that makes it need version `new` (as long as `old`): the text and its hash."""

    def change(data):
        text, number = f"\0{old}\0".encode(), struct.pack("<I", elf_hash(old))
        assert data.count(text) == 1
        assert data.count(number) >= 1
        data[:] = data.replace(text, f"\0{new}\0".encode()).replace(number, struct.pack("<I", elf_hash(new)))

    return change


@pytest.fixture(scope="module")
def lab():
    """A lab with all extensions of this file, compiled once, two at a time."""
    with Lab() as lab:
        build(lab)
        yield lab


def build(lab):
    lab.write("middle.cpp", 'extern "C" int deep(); extern "C" int middle() { return deep(); }')
    lab.write("deep.cpp", 'extern "C" int deep() { return 7; }')
    lab.write("empty.cpp", 'extern "C" int other() { return 8; }')
    lab.write("cudart.cpp", 'extern "C" int cudaGetDevice() { return 0; }')
    compile_library(lab, "deep.cpp", "deps/libdeep.so", "-Wl,--hash-style=sysv")  # as some vendors link
    lab.write("versions.map", "V1 { global: first; second; };")
    lab.write("second.cpp", 'extern "C" int second() { return 2; }')
    lab.write("both.cpp", 'extern "C" int first() { return 1; } extern "C" int second() { return 2; }')
    for source, folder in (("both.cpp", "versioned"), ("second.cpp", "lesser")):
        compile_library(lab, source, f"{folder}/libversions.so", "-Wl,--version-script=versions.map")
    needs_deep = ("-Ldeps", "-ldeep")
    with ThreadPoolExecutor(2) as pool:
        for done in [
            pool.submit(compile_library, lab, "middle.cpp", "deps/libmiddle.so", *needs_deep),
            pool.submit(
                compile_library, lab, "middle.cpp", "own/libmiddle.so", *needs_deep, "-Wl,-rpath,$ORIGIN/../deps"
            ),
            pool.submit(compile_library, lab, "middle.cpp", "undone/libmiddle.so"),
            pool.submit(compile_library, lab, "empty.cpp", "hollow/libmiddle.so"),
            pool.submit(compile_library, lab, "cudart.cpp", "toolkit/libcudart.so", "-Wl,-soname,libcudart.so.11.0"),
        ]:
            done.result()
        shutil.copy(lab / "toolkit/libcudart.so", lab / "toolkit/libcudart.so.11.0")
        (lab / "alien").mkdir()
        patch(lab, "own/libmiddle.so", "alien/libmiddle.so", other_machine)
        lab.write("junk/libmiddle.so", b"not an ELF file " * 9)
        lab.write("empty/libmiddle.so", b"")
        middle = ("-Lown", "-lmiddle", "-Wl,--allow-shlib-undefined")
        for done in [
            pool.submit(compile_modules, lab, content, modules)
            for content, modules in (
                (
                    CHECK,
                    {
                        "light": C10,
                        "runpath": (*C10, *RUNPATH, f"-Wl,-rpath,{TORCH}/lib"),
                        "not_linked": (),
                        "heavy": (f"-L{TORCH}/lib", "-Wl,--no-as-needed", "-lc10", "-ltorch_cpu", "-ltorch_python"),
                    },
                ),
                (ERROR, {"old_abi": (*C10, "-D_GLIBCXX_USE_CXX11_ABI=0")}),
                (ERROR, {"new_abi": (*C10, "-D_GLIBCXX_USE_CXX11_ABI=1")}),
                (DEVICE, {"no_cuda": C10}),
                (DEVICES, {"no_symbol": C10}),
                (STRING, {"standard": ()}),
                (CUDART, {"cuda11": ("-Ltoolkit", "-lcudart")}),
                (
                    MIDDLE,
                    {
                        "no_middle": middle,
                        "origin": (*middle, *RUNPATH, "-Wl,-rpath,${ORIGIN}/own"),
                        "one_level": (*middle, *RUNPATH, "-Wl,-rpath,$ORIGIN/deps"),
                        "all_levels": (*middle, *RPATH, "-Wl,-rpath,$ORIGIN/deps"),
                        "undone": (*middle, *RUNPATH, "-Wl,-rpath,$ORIGIN/undone"),
                        "alien": (*middle, *RUNPATH, "-Wl,-rpath,$ORIGIN/alien"),
                        "alien_first": (*middle, *RUNPATH, "-Wl,-rpath,$ORIGIN/alien:$ORIGIN/own"),
                        "junk": (*middle, *RUNPATH, "-Wl,-rpath,$ORIGIN/junk"),
                        "blank": (*middle, *RUNPATH, "-Wl,-rpath,$ORIGIN/empty"),
                        "strong": (*middle, *RPATH, "-Wl,-rpath,$ORIGIN/own"),
                    },
                ),
                (SEVERAL, {"several": ()}),
                (BOTH, {"both_undone": (*middle, *RUNPATH, "-Wl,-rpath,$ORIGIN/undone")}),
                (
                    FIRST,
                    {
                        "versioned": ("-Lversioned", "-lversions", *RUNPATH, "-Wl,-rpath,$ORIGIN/versioned"),
                        "lesser": ("-Lversioned", "-lversions", *RUNPATH, "-Wl,-rpath,$ORIGIN/lesser"),
                    },
                ),
                (('extern "C" int PyLost_Name();', "PyLost_Name()"), {"python_name": ()}),
            )
        ]:
            done.result()
    patch(lab, "light.so", "wrong_machine.so", other_machine)
    for family, target in (("GLIBC_", "new_glibc.so"), ("GLIBCXX_", "new_glibcxx.so")):
        version = next(word for _, word in read_extension(lab / "standard.so").versions if word.startswith(family))
        patch(lab, "standard.so", target, newer(version, re.sub(r"_\d", "_9", version)))
    shutil.copy(lab / "light.so", lab / "other_python.cpython-399-x86_64-linux-gnu.so")


# Imports each module in a fork of a process that has imported torch, or has not: torch takes seconds to import.
TELL = """
    import importlib, json, os, sys
    if {torch_first}:
        import torch
    for name in {names!r}:
        read, write = os.pipe()
        if os.fork() == 0:
            try:
                importlib.import_module(name)
                said = None
            except ImportError as error:
                said = str(error)
            os.write(write, json.dumps(said).encode())
            os._exit(0)
        os.wait()
        os.close(write)
        print(name, os.read(read, 100_000).decode())
        os.close(read)
"""
CASES = {  # module: the failure without torch, with torch first; None is fine
    "light": ("L1", None),
    "runpath": (None, None),
    "old_abi": ("L1", "U2"),
    "new_abi": ("L1", None),
    "no_cuda": ("L1", "U1"),
    "no_symbol": ("L1", "U1"),
    "not_linked": ("U1", "U1"),
    "standard": (None, None),
    "cuda11": ("L3", "L3"),
    "no_middle": ("L7", "L7"),
    "origin": (None, None),
    "one_level": ("L7", "L7"),
    "all_levels": (None, None),
    "undone": ("U1", "U1"),
    "several": ("U1", "U1"),
    "both_undone": ("U1", "U1"),
    "versioned": (None, None),
    "lesser": ("U1", "U1"),  # undefined symbol: first, version V1
    "alien": ("L6", "L6"),
    "alien_first": (None, None),
    "junk": ("L8", "L8"),
    "blank": ("L8", "L8"),
    "strong": (None, None),
    "python_name": ("I11", "I11"),
    "wrong_machine": ("L6", "L6"),
    "new_glibc": ("L4", "L4"),
    "new_glibcxx": ("L5", "L5"),
    "other_python": ("I1", "I1"),
}


def tell(lab, names, torch_first, library_path=None):
    code = TELL.format(torch_first=torch_first, names=list(names))
    lines = lab.python(code, env={"LD_LIBRARY_PATH": library_path}).splitlines()
    rows = [line.partition(" ")[::2] for line in lines]
    return {name: json.loads(said.replace("<lab>", str(lab.folder))) for name, said in rows}


@pytest.fixture(scope="module")
def reality(lab):
    return {torch_first: tell(lab, CASES, torch_first) for torch_first in (False, True)}


def file_of(lab, name):
    return next(lab.folder.glob(f"{name}.*so"))


def search(torch_first=True, **changes):
    return Search(**{"torch_first": torch_first, "torch": TORCH, "library_path": "", **changes})


@pytest.mark.parametrize("torch_first", [False, True], ids=["alone", "torch_first"])
@pytest.mark.parametrize("name", CASES)
def test_what_is_predicted_is_what_python_says(lab, reality, name, torch_first):
    findings = predict(read_extension(file_of(lab, name)), search(torch_first))
    first = findings[0] if findings else None
    said = reality[torch_first][name]
    assert (first.text.replace(sys.prefix, "<env>") if first else None) == said
    expected = CASES[name][torch_first]
    assert (first.id if first else None) == expected
    assert all("\n" not in finding.reason and finding.reason for finding in findings)


@pytest.mark.parametrize(
    ("name", "folder", "failure"),
    [
        ("cuda11", "toolkit", None),
        ("no_middle", "own", None),
        ("no_middle", "hollow", "undefined symbol: middle"),
        ("origin", "hollow", "undefined symbol: middle"),  # LD_LIBRARY_PATH comes before RUNPATH
        ("strong", "hollow", None),  # and after RPATH
        ("no_middle", "alien", "libmiddle.so: cannot open"),
        ("light", "torch", None),
    ],
)
def test_ld_library_path(lab, name, folder, failure):
    path = TORCH / "lib" if folder == "torch" else lab / folder
    findings = predict(read_extension(lab / f"{name}.so"), search(False, library_path=f"/nowhere:{path}"))
    said = tell(lab, [name], False, f"/nowhere:{path}")[name]
    assert (findings[0].text if findings else None) == said
    assert (failure is None) == (said is None)
    assert failure is None or failure in said


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_cuda", r"c10::cuda::ExchangeDevice should be in libc10_cuda\.so, which this torch does not have"),
        ("no_symbol", r"c10::number_of_channels should be in libc10\.so, and is not: built against another torch"),
        ("not_linked", r"torchCheckFail is in libc10\.so, which the extension is not linked with"),
        (
            "old_abi",
            r"c10::Error should be in libc10\.so: built for the old std::string, torch for the cxx11 one",
        ),
        ("cuda11", r"built for the CUDA of libcudart\.so\.11\.0"),
        ("alien", r"alien/libmiddle\.so is there, but it is built for"),
        ("new_glibc", r"newest GLIBC of libc\.so\.6 here is GLIBC_2\.\d+"),
        ("new_glibcxx", r"newest GLIBCXX of libstdc\+\+\.so\.6 here is GLIBCXX_3\.4\.\d+"),
        ("python_name", r"PyLost_Name is of Python itself"),
    ],
)
def test_the_reason_names_the_mechanism(lab, name, reason):
    if name in ("no_cuda",) and (TORCH / "lib/libc10_cuda.so").exists():
        pytest.skip("this torch is a CUDA build")
    assert re.search(reason, predict(read_extension(lab / f"{name}.so"), search())[0].reason)


def test_without_torch_the_reason_is_that_there_is_none(lab):
    (finding,) = predict(read_extension(lab / "light.so"), search(torch=None))
    assert (finding.id, finding.text.split(":")[0]) == ("L1", "libc10.so")
    assert "no torch is installed" in finding.reason


def test_a_library_that_another_torch_has(lab):
    def rename(data):
        data[:] = data.replace(b"libcudart.so.11.0", b"libtorch_lost.so\0")

    patch(lab, "cuda11.so", "needs_lost.so", rename)
    (finding,) = predict(read_extension(lab / "needs_lost.so"), search())
    assert (finding.id, finding.text) == ("L7", tell(lab, ["needs_lost"], True)["needs_lost"])
    assert "built for another torch" in finding.reason


def test_a_cuda_extension_under_a_cpu_torch(lab):
    def rename(data):
        data[:] = data.replace(b"libcudart.so.11.0", b"libc10_cuda.so\0\0\0")

    if (TORCH / "lib/libc10_cuda.so").exists():
        pytest.skip("this torch is a CUDA build")
    patch(lab, "cuda11.so", "needs_cuda.so", rename)
    (finding,) = predict(read_extension(lab / "needs_cuda.so"), search())
    assert finding.id == "L2"
    assert finding.text == tell(lab, ["needs_cuda"], True)["needs_cuda"]


def fake_torch(lab, name, cudart):
    """Make the part of a torch for CUDA that loads the runtime, as its wheels do through the folders of `nvidia`."""
    lab.write("deps.cpp", "")
    compile_library(lab, "cudart.cpp", f"{name}_cuda/{cudart}", f"-Wl,-soname,{cudart}")
    (lab / name / "lib").mkdir(parents=True)
    flags = ("-Wl,--no-as-needed", f"{name}_cuda/{cudart}", f"-Wl,-rpath,$ORIGIN/../../{name}_cuda")
    compile_library(lab, "deps.cpp", f"{name}/lib/libtorch_global_deps.so", *flags)
    return lab / name


def test_the_cuda_runtime_comes_with_a_torch_of_the_same_cuda(lab):
    extension = read_extension(lab / "cuda11.so")
    torch = fake_torch(lab, "torch11", "libcudart.so.11.0")
    assert [finding.id for finding in predict(extension, search(False, torch=torch))] == ["L1"]
    assert predict(extension, search(True, torch=torch)) == []
    lab.python(f"import ctypes; ctypes.CDLL({str(torch / 'lib/libtorch_global_deps.so')!r}, 256); import cuda11")
    torch = fake_torch(lab, "torch12", "libcudart.so.12")
    for torch_first in (False, True):
        (finding,) = predict(extension, search(torch_first, torch=torch))
        assert finding.id == "L3"
        assert "libcudart.so.12" in finding.reason


def test_without_a_python_its_names_are_no_finding(lab):
    assert predict(read_extension(lab / "python_name.so"), search(python=None)) == []


def test_what_an_extension_asks_for(lab):
    light = read_extension(lab / "light.so")
    assert light.machine == os.uname().machine
    assert light.needed[0] == "libc10.so"
    assert (light.rpath, light.runpath, light.soname, light.tag) == ((), (), None, None)
    assert read_extension(lab / "origin.so").runpath == ("${ORIGIN}/own",)
    assert read_extension(lab / "strong.so").rpath == ("$ORIGIN/own",)
    assert read_extension(lab / "toolkit/libcudart.so").soname == "libcudart.so.11.0"
    assert [read_extension(lab / f"{name}.so").abi for name in ("old_abi", "new_abi", "no_cuda")] == [
        "old",
        "cxx11",
        "neither",
    ]
    assert read_extension(file_of(lab, "other_python")).tag == "cpython-399-x86_64-linux-gnu"
    assert read_extension(lab / "deps/libmiddle.so").undefined == ("deep",)
    assert "deep" in read_extension(lab / "deps/libdeep.so").defined()
    assert {"middle"} == {name for name in read_extension(lab / "own/libmiddle.so").defined() if name[0] != "_"}


def test_sections_do_not_matter(lab):
    def cut_sections(data):
        data[40:48] = struct.pack("<Q", 2**40)  # where the table of sections would begin

    patch(lab, "light.so", "light_cut.so", cut_sections)
    whole, cut = (read_extension(lab / name) for name in ("light.so", "light_cut.so"))
    assert dataclasses.replace(cut, path=whole.path) == whole
    assert predict(cut, search()) == []


# GPU code


def fat_entry(kind, number, flags=0, header=64, code=b"code" * 6):
    fields = struct.pack("<HHIQIIHHIIIQ", kind, 0x101, header, len(code), 0, 0, 0, 0, number, 0, 0, flags)
    return fields.ljust(header, b"\0") + code


def fat_binary(*entries):
    return struct.pack("<4sHHQ", b"\x50\xed\x55\xba", 1, 16, len(b"".join(entries))) + b"".join(entries)


def compile_with_gpu_code(lab, content):
    values = ",".join(map(str, content))
    lab.write(
        "gpu.cpp", f'__attribute__((section(".nv_fatbin"), used)) static const unsigned char code[] = {{{values}}};'
    )
    compile_library(lab, "gpu.cpp", "gpu.so")
    return lab / "gpu.so"


def test_gpu_architectures_of_a_fat_binary(lab):
    first = fat_binary(fat_entry(2, 90), fat_entry(2, 75), fat_entry(1, 90, header=80, code=b"\xf0 compressed text"))
    second = fat_binary(fat_entry(2, 90, 0x100011), fat_entry(2, 120), fat_entry(2, 100, 0x1200011, header=112))
    path = compile_with_gpu_code(lab, first + bytes(-len(first) % 8) + second)
    assert read_extension(path).gpu_archs == ("sm_75", "sm_90", "sm_90a", "sm_100f", "sm_120", "compute_90")
    assert read_extension(lab / "light.so").gpu_archs == ()


def test_damaged_gpu_code_is_left_out(lab):
    whole = fat_binary(fat_entry(2, 90), fat_entry(2, 75))
    assert read_extension(compile_with_gpu_code(lab, whole[:100])).gpu_archs == ("sm_90",)
    endless = fat_binary(struct.pack("<HHIQ", 2, 0x101, 0, 0).ljust(64, b"\0")) * 3
    assert read_extension(compile_with_gpu_code(lab, endless)).gpu_archs == ("sm_0",)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc here to compile GPU code with")
@pytest.mark.parametrize("option", ["--no-compress", "-Xfatbin=-compress-all"])
def test_gpu_architectures_as_nvcc_writes_them(lab, option):
    lab.write("kernel.cu", "__global__ void add(float* x) { x[threadIdx.x] += 1; }")
    archs = [f"-gencode=arch=compute_{arch},code={code}_{arch}" for arch, code in
             (("80", "sm"), ("90a", "sm"), ("90", "compute"))]  # fmt: skip
    lab.run("nvcc", "-shared", "-Xcompiler", "-fPIC", option, *archs, "kernel.cu", "-o", "kernel.so")
    assert read_extension(lab / "kernel.so").gpu_archs == ("sm_80", "sm_90a", "compute_90")


def test_no_false_alarm_on_any_extension_of_this_environment():
    site, here, wrong = Path(sysconfig.get_path("purelib")), search(), {}
    paths = [*sorted((site / "numpy").rglob("*.cpython*.so"))[:12], *sorted(TORCH.glob("_C.*so"))]
    for path in paths:
        findings = predict(read_extension(path), here)
        if findings:
            wrong[path.name] = findings[0].text
    assert paths
    assert wrong == {}


def test_a_prediction_takes_less_than_a_second(lab):
    began = time.process_time()
    assert predict(read_extension(lab / "heavy.so"), search()) == []
    assert predict(read_extension(lab / "old_abi.so"), search()) != []
    assert time.process_time() - began < 2  # the two of them


# Files that are none


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"#!/bin/sh\n", "expected an ELF file"),
        (b"\x7fELF\x02\x01\x01", "header is cut off"),
        (b"\x7fELF\x01\x01\x01" + bytes(90), "32-bit library"),
        (b"\x7fELF\x02\x07\x01" + bytes(90), "byte order"),
    ],
)
def test_a_file_that_is_no_extension(tmp_path, content, message):
    path = tmp_path / "x.so"
    path.write_bytes(content)
    with pytest.raises(ElfError, match=message) as error:
        read_extension(path)
    assert str(path) in str(error.value)


def test_what_is_no_file(lab, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    cases = [(tmp_path, "is a folder"), (tmp_path / "none.so", "No such file"), (tmp_path / "pipe", "no regular file")]
    for path, message in [*cases, (loop, "cannot be read"), ("nul\0.so", "cannot be read|is no path")]:
        with pytest.raises(ElfError, match=message):
            read_extension(path)
    lab.run(COMPILER, "-c", "deep.cpp", "-o", "object.so")
    with pytest.raises(ElfError, match="object or core file"):
        read_extension(lab / "object.so")


def offset_of(path, tag):
    """Return where a dynamic tag points to in the file."""
    with path.open("rb") as file:
        segments = ELFFile(file).iter_segments("PT_DYNAMIC")
        return next(segments).get_table_offset(tag)[1]


def place_of(path, number):
    """Return where the file holds the value of a dynamic tag."""
    with path.open("rb") as file:
        start = next(ELFFile(file).iter_segments("PT_DYNAMIC"))["p_offset"]
    data = path.read_bytes()
    return next(at + 8 for at in range(start, len(data), 16) if data[at : at + 8] == struct.pack("<Q", number))


def test_lists_without_an_end(lab):
    def circle(data):
        at = offset_of(lab / "deps/libdeep.so", "DT_HASH")
        buckets, chains = struct.unpack_from("<II", data, at)
        for row in range(chains):
            struct.pack_into("<I", data, at + 8 + 4 * (buckets + row), 1)

    def endless_versions(data):
        struct.pack_into("<Q", data, place_of(lab / "standard.so", 0x6FFFFFFF), 2**40)
        struct.pack_into("<I", data, offset_of(lab / "standard.so", "DT_VERNEED") + 12, 0)

    patch(lab, "deps/libdeep.so", "circle.so", circle)
    with pytest.raises(ElfError, match="runs in a circle"):
        read_extension(lab / "circle.so").defined()
    patch(lab, "standard.so", "endless.so", endless_versions)
    with pytest.raises(ElfError, match="has no end"):
        read_extension(lab / "endless.so")


def test_a_file_that_lost_its_second_half(lab):
    data = (lab / "light.so").read_bytes()
    lab.write("half.so", data[: len(data) // 2])
    with pytest.raises(ElfError, match=rf"has {len(data) // 2} bytes of \d+ or more") as error:
        read_extension(lab / "half.so")
    assert (error.value.id, error.value.text) == ("L8", "Bus error")
    with pytest.raises(LabError, match="ended by SIGBUS"):
        lab.python("import torch, half")


def survives(path):
    """Read and predict; only an ElfError may come."""
    nowhere = Search(torch=None, python=None, library_path="", system={}, folders=(), suffixes=())
    here = search(torch_first=False, python=None)
    try:
        extension = read_extension(path)
        extension.defined()
        for place in (nowhere, here):
            assert all(finding.text for finding in predict(extension, place))
    except ElfError:
        pass


@given(share=st.floats(0, 1))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_truncation_gives_an_answer(lab, tmp_path, share):
    data = (lab / "standard.so").read_bytes()
    path = tmp_path / "cut.so"
    path.write_bytes(data[: int(share * len(data))])
    survives(path)


@given(changes=st.lists(st.tuples(st.integers(0, 2**14), st.binary(min_size=1, max_size=9)), min_size=1, max_size=6))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_gives_an_answer(lab, tmp_path, changes):
    data = bytearray((lab / "standard.so").read_bytes())
    for at, content in changes:
        at %= len(data)
        data[at : at + len(content)] = content[: len(data) - at]
    path = tmp_path / "damaged.so"
    path.write_bytes(data)
    survives(path)


@given(content=st.binary(max_size=400), begin=st.sampled_from([b"", b"\x7fELF", b"\x7fELF\x02\x01\x01"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_an_answer(tmp_path, content, begin):
    path = tmp_path / "any.so"
    path.write_bytes(begin + content)
    survives(path)


# The system's libraries


def test_loader_path_is_what_ldconfig_says():
    libraries, folders = loader_path()
    tool = shutil.which("ldconfig", path="/sbin:/usr/sbin:/bin:/usr/bin")
    if tool is None or not Path("/etc/ld.so.cache").exists():
        pytest.skip("no ldconfig or no cache here")
    printed = subprocess.run([tool, "-p"], capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"^\t(\S+) \(.*\) => (\S+)$", printed, re.MULTILINE)
    assert rows
    assert {(name, path) for name, paths in libraries.items() for path in paths} == set(rows)
    assert folders


@pytest.mark.parametrize("cache", [None, b"", b"glibc-ld.so.cache1.1", b"glibc-ld.so.cache1.1" + b"\xff" * 300])
def test_loader_path_without_a_cache(tmp_path, cache):
    (tmp_path / "usr/lib64").mkdir(parents=True)
    if cache is not None:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/ld.so.cache").write_bytes(cache)
    assert loader_path(tmp_path) == ({}, ("/usr/lib64",))


def test_without_a_cache_the_system_folders_are_searched(lab):
    assert predict(read_extension(lab / "standard.so"), search(system={})) == []
    missing = predict(read_extension(lab / "standard.so"), search(system={}, folders=(), python=None, torch=None))
    assert "libstdc++.so.6" in missing[0].text
