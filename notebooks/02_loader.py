# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The loader
#
# `import mamba_ssm` ends, a few files further down, in a request to the operating system: open this shared library,
# find everything that it asks for, connect the names. The program that does it is called the *dynamic loader*. It is
# old, fast and terse. When it fails, Python passes its one line on as an `ImportError`, and that line is read wrongly
# more often than any other in deep learning.
#
# In this chapter you build small compiled modules, break each of them in one way, and read what the loader says. Every
# error is real and takes about a second to make.
#
# **You will**
#
# - read what a compiled module asks for, without loading it;
# - make `libc10.so: cannot open shared object file` happen, and say why `import torch` cures it;
# - see what `LD_LIBRARY_PATH` mends, and what it breaks;
# - read an undefined symbol: what is missing, and which of the two sides is older;
# - tell a wrong CUDA, a wrong C library, a wrong processor and a wrong Python apart by one line;
# - on a GPU, compile a CUDA kernel, load it wrong, load it right, and launch it.
#
# **You need** Python, and Linux with a C++ compiler (Colab and WSL2 have one). No C++: skip the C++ lines if you like,
# nothing depends on them. Two cells and the last section need a GPU; elsewhere you see what they printed on ours.
#
# Some words, if they are new: the *linker* runs when something is built and notes down what it will need; the *loader*
# runs when it is started. Where the text says *field note A* (or B, D), it means working notes of engineers who fought
# these errors before; [a page of this book](../book/field_notes.md) checks them claim by claim. Codes such as L1 are
# those of the [troubleshooting tree](../book/troubleshooting.md), and of `workbook doctor` and `workbook explain`, two
# commands that come with this book ([how to get them](../book/how_to_use.md)).

# %% tags=["remove-cell"]
import importlib.util

# On Colab this installs the workbook. Where it is installed already, nothing happens.
if importlib.util.find_spec("helpers") is None:
    from IPython import get_ipython

    repository = (
        "git+https://github.com/clarity-digital-twin/bimamba-eeg-workbook"
    )
    get_ipython().run_line_magic(
        "pip",
        f'install --quiet "bimamba-eeg-workbook[workbook] @ {repository}@v0.1.0"',
    )

# %% tags=["setup"]
from helpers.environment import (
    Lab,
    LabError,
    diagnose,
    expect_error,
    explain,
    read_extension,
    torch_folder,
)
from helpers.teaching import needs, require

require("Linux", "gcc", remedy="Use Colab or WSL2, or read on here.")
lab = Lab()

# %% [markdown]
# A `Lab` is a throwaway folder. What we break, we break there, in fresh processes; it is gone when the kernel stops.
# `expect_error` runs a block that has to fail with a certain text, and prints the error. If the block should ever *not*
# fail, it is the cell that fails. A function under `@needs(...)` runs at once where the machine has what it names. In
# what is printed, `<lab>` is the throwaway folder and `<env>` your Python environment. Some causes are staged: a
# stand-in library with one function, a changed byte. The errors are the loader's own.
#
# ## A compiled module is a list of wishes
#
# Here is a Python module in C++ with a single function, `call`. The frame is the same for all that follow, so we write
# it once. What changes is what stands in front of it (`declare`) and inside (`body`).


# %% tags=["setup"]
def module(name, declare, body):
    """Write name.cpp: a Python module whose function `call` runs `body`."""
    lab.write(
        f"{name}.cpp",
        f"""
#define PY_SSIZE_T_CLEAN
#include <Python.h>
{declare}
static PyObject* call(PyObject*, PyObject* given) {{ {body} }}
static PyMethodDef methods[] = {{{{"call", call, METH_O, ""}}, {{0, 0, 0, 0}}}};
static PyModuleDef about = {{PyModuleDef_HEAD_INIT, "{name}", 0, -1, methods}};
PyMODINIT_FUNC PyInit_{name}() {{ return PyModule_Create(&about); }}
""",
    )
    return f"{name}.cpp"


# %% [markdown]
# The first one checks a kernel width as the real `causal_conv1d` does. For the check it uses one thing of PyTorch's:
# the macro `TORCH_CHECK`, whose code lies in torch's smallest library, `libc10.so`.

# %% tags=["setup"]
WIDTH = """
    long width = PyLong_AsLong(given);
    try { TORCH_CHECK(width >= 2 && width <= 4, "only width between 2 and 4"); }
    catch (const c10::Error& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what_without_backtrace());
        return nullptr;
    }
    return PyLong_FromLong(width);
"""
source = module("light_scan", "#include <c10/util/Exception.h>", WIDTH)
light_scan = lab.build(source, links=["c10"])

# %% [markdown]
# `lab.build` runs g++ as PyTorch's own build does: torch's headers, torch's library folder, and `-lc10`. The result is
# a file in the ELF format, which every Linux program and library uses. Among other things it lists what has to be there
# before its code can run:

# %%
facts = read_extension(light_scan)
print("needs:     ", *facts.needed)
print("looks in:  ", *(facts.runpath + facts.rpath or ["(nothing of its own)"]))
wants = [name for name in facts.undefined if name.startswith("_ZN3c10")]
print("wants:     ", len(facts.undefined), "names, such as", wants[0])

# %% [markdown]
# Three wishes, then, which the loader fulfills in this order when you import the file:
#
# 1. **Libraries.** Each name under *needs* has to be found as a file and opened, and so on for what *it* needs.
# 2. **Versions.** Some names carry a version (`GLIBC_2.34`), which the opened library has to offer.
# 3. **Symbols.** Each name under *wants* has to be defined in something that is open by now: a library, or Python
#    itself.
#
# The loader stops at the first wish that it cannot fulfill.
#
# ## The library that is there and cannot be found
# <a id="lab-torch-first"></a>
#
# Note B of our field notes met this error on WSL2, note D on a Jetson. Both blamed the machine. One of the libraries
# that our module needs is no part of the system. It lies in torch's own folder:

# %% tags=["setup"]
torch_lib = torch_folder() / "lib"

# %% tags=["lab:torch-first"]
sorted(path.name for path in torch_lib.glob("libc10*"))

# %% [markdown]
# **Guess before you run the next cell.** Torch is installed, the file exists. Does `import light_scan` work?

# %% tags=["lab:torch-first"]
with expect_error(
    ImportError, match=r"^libc10\.so: cannot open shared object file"
):
    lab.python("import light_scan")

# %% [markdown]
# The error says *cannot open*, and people go looking for a missing file. Nothing is missing. The loader was asked for a
# name, `libc10.so`, and looked in the places it knows, in this order:
#
# 1. what is in the process already, under that name;
# 2. the module's own search path, if it is of the old kind, RPATH;
# 3. the folders in the variable `LD_LIBRARY_PATH`;
# 4. the module's own search path, if it is of the new kind, RUNPATH;
# 5. the system's list of libraries.
#
# The module has no path of its own, the variable is not set, and torch's folder is not on the list.
#
# So why does it ever work?

# %% tags=["lab:torch-first"]
lab.python("import torch, light_scan; print(light_scan.call(4))")

# %% [markdown]
# `import torch` opens `libc10.so` by its full path. From then on a library of that name is *in the process*: place 1,
# before any folder. That is the whole mechanism, on WSL2, on a Jetson, and here.
#
# `diagnose` reads the same list and says what would happen, without loading anything. The doctor uses it for every
# compiled module of an environment.

# %% tags=["lab:torch-first"]
diagnose(light_scan)

# %% [markdown]
# ## Three cures, and the price of each
# <a id="lab-shadow"></a>
#
# Import order is one cure. There are two more. A module can be linked with a search path of its own, called RUNPATH:

# %% tags=["setup"]
with_path = lab.build(
    source,
    links=["c10"],
    flags=[f"-Wl,-rpath,{torch_lib}"],
    output="with_path/light_scan.so",
)
lab.python(
    "import light_scan; print(light_scan.call(4))",
    folder=with_path.parent,
)

# %% [markdown]
# It works without torch imported first. No release of `mamba-ssm` or `causal-conv1d` is linked like this, since whoever
# builds a wheel cannot know where your torch will lie.
#
# The other cure is the one of note B: the environment variable `LD_LIBRARY_PATH`.

# %%
lab.python(
    "import light_scan; print(light_scan.call(4))",
    env={"LD_LIBRARY_PATH": torch_lib},
)

# %% [markdown]
# It works too. **Guess:** what happens on the day when that folder belongs to *another* torch, because the machine has
# a second environment? We take the smallest wrong one, an empty library of the right name, and import the module that
# carries its own, right search path:

# %% tags=["lab:shadow"]
lab.write("nothing.c", "void nothing(void) {}")
wrong = lab.build(
    "nothing.c", flags=["-Wl,-soname,libc10.so"], output="wrong/libc10.so"
)

# %% tags=["lab:shadow"]
elsewhere = {"LD_LIBRARY_PATH": wrong.parent}
with expect_error(ImportError, match="with_path/light_scan.so: undefined sym"):
    lab.python("import light_scan", folder="with_path", env=elsewhere)

# %% [markdown]
# **`LD_LIBRARY_PATH` comes before RUNPATH**, so the wrong folder wins, for every program of that shell. Only RPATH
# stands before it. (A file that has both kinds uses RUNPATH alone.) Torch's own libraries carry one of the two, and
# which one depends on the build:

# %%
torch_cpu = read_extension(torch_lib / "libtorch_cpu.so")
print("RPATH  ", *torch_cpu.rpath or ["(none)"])
print("RUNPATH", *torch_cpu.runpath or ["(none)"])

# %% [markdown]
# Where it is RUNPATH, as in this CPU build, the variable breaks `import torch` itself:


# %% tags=["lab:shadow"]
@needs("a torch without CUDA")
def shadowed_torch():
    with expect_error(ImportError, match=r"libtorch_\w+\.so: undefined"):
        lab.python("import torch", env=elsewhere)


# %% [markdown]
# And the CUDA build of torch on the machine with the GPU:


# %% tags=["lane:gpu", "skip-execution"]
@needs("a GPU")
def torch_with_cuda():
    torch_cpu = read_extension(torch_lib / "libtorch_cpu.so")
    print("RPATH  ", *torch_cpu.rpath[:1] or ["(none)"])
    print("RUNPATH", *torch_cpu.runpath[:1] or ["(none)"])
    print(lab.python("import torch; print('stands it')", env=elsewhere))


# %% [markdown]
# | cure | works because | price |
# |---|---|---|
# | `import torch` first | the name is in the process already | none: do this |
# | RUNPATH | the file says where to look | only whoever builds the file can |
# | `LD_LIBRARY_PATH` | the loader looks there before RUNPATH and the system | it does so for every library of every program, and nobody remembers it |
#
# Note B concluded that the variable MUST be set in every script. The one-line cure was at hand: torch first.
# `mamba_ssm` itself does that. Who imports the compiled module alone, as one does to test an install, does not, and
# gets exactly this error.
#
# If a program cannot be changed, set the variable for that one process and take the folder from the torch that it will
# import.
# [`env/wsl2/run_gpu.sh`](https://github.com/clarity-digital-twin/bimamba-eeg-workbook/blob/main/env/wsl2/run_gpu.sh)
# does that: it is note B's script, made right.
#
# ## A symbol that nobody defines
# <a id="lab-other-torch"></a>
#
# All libraries are found. The loader now connects the names. Field note A began with this one. (We stage it: our module
# asks for a function that the libraries it names here do not have.)

# %% tags=["lab:other-torch"]
exchange = lab.build(
    module(
        "exchange_scan",
        "namespace c10::cuda { signed char ExchangeDevice(signed char); }",
        "return PyLong_FromLong(c10::cuda::ExchangeDevice(0));",
    ),
    links=["c10"],
)

# %% tags=["lab:other-torch"]
with expect_error(
    ImportError, match="undefined symbol: _ZN3c104cuda14ExchangeDeviceEa$"
) as note_a:
    lab.python("import torch, exchange_scan")

# %% [markdown]
# `_ZN3c104cuda14ExchangeDeviceEa` looks like noise, and is a sentence. C++ writes namespace, name and argument types
# into one word (*mangling*): each name is preceded by its length, and a letter stands for each type.
#
# | piece | means |
# |---|---|
# | `_Z` | a mangled name follows |
# | `N … E` | nested: the names between belong inside each other |
# | `3c10` `4cuda` `14ExchangeDevice` | `c10::cuda::ExchangeDevice` |
# | `a` | one argument, a `signed char` |
#
# The types are part of the name. If a release changes an argument from `int` (`i`) to `signed char` (`a`), as torch did
# with its device numbers, then for the loader the old function is gone. So a symbol can tell *for which torch* a module
# was built. `explain` knows the dates of some; it sees the log alone, not this machine:

# %% tags=["lab:other-torch"]
print(explain(note_a.error.output))

# %% [markdown]
# Note A's cause, "compiled against different PyTorch version", is right. Its cure, `--no-build-isolation`, often works,
# and not because it compiles: it changes which torch the install *sees*. [Chapter 01](01_install.ipynb) takes that
# apart.
#
# Note B met another one, and its log was cut off: `_ZN2at4_ops10zeros_like4callERKNS_6TensorE...`. The part behind the
# dots decides. Here is a module as built for an old torch, in which `c10::optional` was a class of its own:

# %% tags=["lab:old-torch", "hide-input"]
OLD_TORCH = """
namespace at { class Tensor; }
namespace c10 {
    enum class ScalarType : signed char;
    enum class Layout : signed char;
    enum class MemoryFormat : signed char;
    struct Device;
    template <class T> class optional;
}
namespace at::_ops { struct zeros_like { static at::Tensor call(
    const at::Tensor&, c10::optional<c10::ScalarType>, c10::optional<c10::Layout>,
    c10::optional<c10::Device>, c10::optional<bool>, c10::optional<c10::MemoryFormat>); }; }
"""

# %% tags=["lab:old-torch"]
call = "return PyLong_FromVoidPtr((void*)&at::_ops::zeros_like::call);"
zeros = lab.build(module("zeros_scan", OLD_TORCH, call), links=["torch_cpu"])
with expect_error(
    ImportError,
    match="undefined symbol: _ZN2at4_ops10zeros_like4callERKNS_6TensorEN3c108optional",
) as note_b:
    lab.python("import torch, zeros_scan")

# %% tags=["lab:old-torch"]
cause = explain(note_b.error.output).causes[0]
print(cause.direction)

# %% [markdown]
# Had the symbol gone on with `St8optional` (`std::optional`), it would be the other way round: built for torch 2.2 or
# newer, running under something older. Cut-off logs have led people to downgrade when they had to upgrade. Keep the
# whole line.
#
# **Why does the error come at import, and not when the function is called?** Because Python asks the loader to connect
# all names at once. It can be asked to wait:

# %%
with expect_error(
    LabError, match="symbol lookup error: .*exchange_scan.so: undefined symbol"
):
    lab.python("""
        import os, sys, torch
        sys.setdlopenflags(os.RTLD_LAZY)
        import exchange_scan
        print("imported")
        exchange_scan.call(0)
    """)

# %% [markdown]
# It is imported, and then the whole process dies at the call, without a traceback. An error at import is the kinder
# one.
#
# ## Two kinds of string
# <a id="lab-string-abi"></a>
#
# In 2015 GCC changed how a `std::string` lies in memory, and gave the new one another name, so that nobody could mix
# them by accident. Both still exist. One setting chooses, `_GLIBCXX_USE_CXX11_ABI`, and that is what `cxx11abiTRUE` and
# `cxx11abiFALSE` in the names of wheels mean. We build one module twice:

# %% tags=["lab:string-abi"]
throw = module(
    "string_scan",
    "#include <c10/util/Exception.h>",
    'throw c10::Error(c10::SourceLocation{"call", "string_scan.cpp", 1}, std::string("boom"));',
)
import torch

mine = int(torch.compiled_with_cxx11_abi())
for abi in (mine, 1 - mine):
    lab.build(
        throw,
        links=["c10"],
        flags=[f"-D_GLIBCXX_USE_CXX11_ABI={abi}"],
        output=f"abi{abi}/string_scan.so",
    )

# %% tags=["lab:string-abi"]
print(
    lab.python(
        "import torch, string_scan; print('imported')",
        folder=f"abi{mine}",
    )
)
with expect_error(
    ImportError,
    match="undefined symbol: _ZN3c105ErrorC[12]ENS_14SourceLocationE",
):
    lab.python("import torch, string_scan", folder=f"abi{1 - mine}")

# %% [markdown]
# Look at the end of the symbol. `Ss` is the old string, `NSt7__cxx1112basic_string…` the new one. Same torch version,
# same function, and still the wrong wheel: its name says one ABI and your torch has the other.
# `torch.compiled_with_cxx11_abi()` tells yours. Official x86-64 wheels of torch went from FALSE to TRUE between 2.6 and
# 2.7 ([pytorch#142064](https://github.com/pytorch/pytorch/issues/142064)).
#
# ## The reinstall that changes nothing
# <a id="lab-stale-wheel"></a>
#
# You upgraded torch, the module broke, you reinstalled it. *Successfully installed*. The same error. This one has made
# people reinstall their operating system, and it needs no torch to show. `mini` stands for torch: a Python package with
# a library in it. `scan` stands for `mamba-ssm`: its setup.py compiles against the `mini` that it finds.

# %% tags=["lab:stale-wheel", "hide-input"]
SETUP = """
import os, setuptools
mini = os.environ["MINI"]
name = open(mini + "/name.txt").read()
scan = setuptools.Extension("scan", ["scan.c"], define_macros=[("NAME", name)],
    library_dirs=[mini], libraries=["mini"], extra_link_args=["-Wl,-rpath," + mini])
setuptools.setup(name="scan", version="1.0", ext_modules=[scan])
"""
SCAN = """
#include <Python.h>
int NAME(void);
static struct PyModuleDef about = {PyModuleDef_HEAD_INIT, "scan", 0, -1, 0};
PyMODINIT_FUNC PyInit_scan(void) { NAME(); return PyModule_Create(&about); }
"""

# %% tags=["lab:stale-wheel", "hide-input"]
import tarfile


def install_mini(function):
    """Install the version of mini that has this function."""
    lab.write("mini/name.txt", function)
    lab.write("mini/mini.c", f"int {function}(void) {{ return 1; }}")
    lab.build("mini/mini.c", output="mini/libmini.so")


def pip_install(*options):
    """pip install scan, and the lines of its log that matter here."""
    log = lab.pip(
        *("install", "scan", "--force-reinstall", *options),
        *("--find-links", lab / "archives"),
        python=python,
        env={"MINI": lab / "mini"},
    )
    telling = ("Using cached scan", "Created wheel", "Successfully installed")
    lines = [line.split(": filename")[0].strip() for line in log.splitlines()]
    return [line for line in lines if line.startswith(telling)]


lab.write("scan-1.0/setup.py", SETUP)
lab.write("scan-1.0/scan.c", SCAN)
facts = "Metadata-Version: 2.1\nName: scan\nVersion: 1.0\n"
lab.write("scan-1.0/PKG-INFO", facts)
archive = lab.write("archives/scan-1.0.tar.gz", "")
with tarfile.open(archive, "w:gz") as tar:
    tar.add(lab / "scan-1.0", "scan-1.0")
python = lab.environment()

# %% [markdown]
# The first version of `mini` has a function called `old_name`. We install `scan`, and it works.

# %% tags=["lab:stale-wheel"]
install_mini("old_name")
print(*pip_install(), sep="\n")
lab.python("import scan; print('imported')", python=python)

# %% [markdown]
# Now the upgrade: in the new version the function is called `new_name`. `scan` breaks, as it must, and we reinstall it.
# **Guess:** is that enough?

# %% tags=["lab:stale-wheel"]
install_mini("new_name")
reinstalled = pip_install()
print(*reinstalled, sep="\n")
with expect_error(ImportError, match="undefined symbol: old_name"):
    lab.python("import scan", python=python)

# %% [markdown]
# pip had built a wheel of this archive before, and kept it. The key under which it keeps one is made from where the
# archive came from, and from the Python that runs. What the wheel was compiled *against* is no part of the key. So the
# old wheel comes back.

# %% tags=["lab:stale-wheel"]
print(*pip_install("--no-cache-dir"), sep="\n")
lab.python("import scan; print('imported')", python=python)

# %% [markdown]
# `--no-cache-dir` builds again. For the real thing:
#
# ```bash
# pip cache remove mamba_ssm; pip cache remove causal_conv1d
# workbook plan --commands      # prints the install for this machine; or: pip install --force-reinstall --no-deps
#                               # --no-build-isolation --no-cache-dir causal-conv1d==VERSION mamba-ssm==VERSION
# ```
#
# (`--no-deps` keeps pip from reinstalling torch.) uv keeps a cache too, and has `--no-cache`.
#
# ## CUDA in the names of libraries
# <a id="lab-cuda-major"></a>
#
# The number behind `.so` is a promise: libraries with the same number can stand in for each other, others cannot.
# CUDA's runtime is `libcudart.so.11.0`, `libcudart.so.12` or `libcudart.so.13`. A CUDA build of torch brings one of
# them along. A module built for another asks for a name that never comes:

# %% tags=["lab:cuda-major", "hide-input"]
lab.write(
    "cudart.c", "int cudaGetDeviceCount(int* count) { *count = 0; return 0; }"
)
lab.build(
    "cudart.c",
    flags=["-Wl,-soname,libcudart.so.11.0"],
    output="cuda11/libcudart.so",
)
ASK = 'extern "C" int cudaGetDeviceCount(int*);'
cuda_scan = lab.build(
    module(
        "cuda_scan",
        ASK,
        "int count; cudaGetDeviceCount(&count); return PyLong_FromLong(count);",
    ),
    flags=[f"-L{lab / 'cuda11'}"],
    links=["cudart"],
)

# %% tags=["lab:cuda-major"]
with expect_error(
    ImportError, match=r"^libcudart\.so\.11\.0: cannot open shared object file"
):
    lab.python("import torch, cuda_scan")

# %% [markdown]
# (Our `libcudart.so.11.0` is a stand-in of one function, and lies where the loader does not look. The wish in the
# module is real.)
#
# Advice on the internet is to install the other CUDA toolkit and to add it to `LD_LIBRARY_PATH`. Then the import works,
# and two CUDA runtimes share one process. The module and torch must agree: get the module's wheel for *your* CUDA, the
# `cuNN` in its name. `torch.version.cuda` tells yours.
#
# <a id="lab-cpu-torch"></a>
# The same line with `libc10_cuda.so` means something else. That library is part of every CUDA build of torch, and of no
# CPU build. So if it cannot be opened, the torch that runs is a CPU build, often because a later `pip install` replaced
# it:


# %% tags=["lab:cpu-torch"]
@needs("a torch without CUDA")
def cpu_torch():
    set_device = (
        "namespace c10::cuda { void SetDevice(signed char device, bool force)"
    )
    lab.write("c10_cuda.cpp", f"{set_device} {{}} }}")
    library = ["-Wl,-soname,libc10_cuda.so"]
    lab.build("c10_cuda.cpp", flags=library, output="cuda/libc10_cuda.so")
    lab.build(
        module(
            "device_scan",
            f"{set_device}; }}",
            "c10::cuda::SetDevice(0, false); Py_RETURN_NONE;",
        ),
        flags=[f"-L{lab / 'cuda'}"],
        links=["c10_cuda"],
    )
    missing = r"^libc10_cuda\.so: cannot open shared object file"
    with expect_error(ImportError, match=missing):
        lab.python("import torch, device_scan")


# %% [markdown]
# ## A C library from the future
# <a id="lab-glibc"></a>
#
# A wheel that was built on Ubuntu 22.04 may use functions that the C library of Ubuntu 20.04 does not have. The wish is
# written down with a version. To make one, we build against a stand-in of the math library that claims to be version
# 2.99:

# %% tags=["lab:glibc", "hide-input"]
lab.write("libm.c", "double floor(double x) { return x; }")
lab.write("libm.map", "GLIBC_2.99 { global: floor; };")
future = [
    "-fno-builtin",
    "-Wl,-soname,libm.so.6",
    f"-Wl,--version-script={lab / 'libm.map'}",
]
lab.build("libm.c", flags=future, output="future/libm.so")

FLOOR = 'extern "C" double floor(double);'
source = module(
    "selective_scan_cuda",
    FLOOR,
    "return PyFloat_FromDouble(floor(PyFloat_AsDouble(given)));",
)
wrong = lab.build(
    source,
    flags=["-fno-builtin", f"-L{lab / 'future'}"],
    links=["m"],
    output="glibc/selective_scan_cuda.so",
)

# %% tags=["lab:glibc"]
with expect_error(
    ImportError,
    match=r"libm\.so\.6: version `GLIBC_2\.99' not found \(required by ",
):
    lab.python("import selective_scan_cuda", folder="glibc")

# %% [markdown]
# In the wild it reads `GLIBC_2.32`. Nothing in Python mends it: the C library belongs to the operating system. Take a
# newer one (a container will do), or a wheel built on an older one, or build on the machine itself.
#
# <a id="lab-libstdcxx"></a>
# `GLIBCXX_3.4.NN` looks alike, and means another library: `libstdc++.so.6`, which belongs to the compiler. That one can
# be newer in a conda environment than in the system, or older, and the one that is opened first wins.

# %% tags=["lab:libstdcxx", "hide-input"]
lab.write("cxx.c", "void _ZSt4scanv(void) {}")
lab.write("cxx.map", "GLIBCXX_3.4.99 { global: _ZSt4scanv; };")
newer = [
    "-Wl,-soname,libstdc++.so.6",
    f"-Wl,--version-script={lab / 'cxx.map'}",
]
lab.build("cxx.c", flags=newer, output="newer/libcxx.so")

source = module(
    "causal_conv1d_cuda",
    "namespace std { void scan(); }",
    "std::scan(); Py_RETURN_NONE;",
)
wrong = lab.build(
    source,
    flags=[f"-L{lab / 'newer'}"],
    links=["cxx"],
    output="libstdcxx/causal_conv1d_cuda.so",
)

# %% tags=["lab:libstdcxx"]
with expect_error(
    ImportError,
    match=r"libstdc\+\+\.so\.6: version `GLIBCXX_3\.4\.99' not found",
) as conda:
    lab.python("import causal_conv1d_cuda", folder="libstdcxx")
print("\nFix:", explain(conda.error.output).causes[0].fix[0])

# %% [markdown]
# ## No such file, and it is there
# <a id="lab-wrong-machine"></a>
#
# The two bytes at position 18 of an ELF file say for which processor it is. We change them from x86-64 to ARM (or the
# other way round), and nothing else.

# %% tags=["lab:wrong-machine"]
content = bytearray(light_scan.read_bytes())
content[18:20] = (183 if content[18] == 62 else 62).to_bytes(2, "little")
other = lab.write("other_processor/light_scan.so", bytes(content))
with expect_error(
    ImportError,
    match=r"<lab>/other_processor/light_scan\.so: cannot open shared object file: No such file",
):
    lab.python("import torch, light_scan", folder=other.parent)

# %% [markdown]
# *No such file*, about a file whose full path it prints. Rule: **a full path in front of "cannot open", and the file is
# there: the wrong processor.** A bare name means a library that nobody loaded. The doctor looks at the two bytes:

# %% tags=["lab:wrong-machine"]
diagnose(other, torch_first=True)

# %% [markdown]
# ## The file that Python does not see
# <a id="lab-no-module"></a>
#
# Before the loader is even asked, Python has to find the file. It looks for fixed endings only:

# %% tags=["lab:no-module"]
import importlib.machinery

print(importlib.machinery.EXTENSION_SUFFIXES)

# %% tags=["lab:no-module"]
ending = ".cpython-36m-x86_64-linux-gnu.so"
old = lab.write(f"old/light_scan{ending}", light_scan.read_bytes())
with expect_error(ModuleNotFoundError, match="No module named 'light_scan'"):
    lab.python("import torch, light_scan", folder="old")

# %% [markdown]
# The file is there, it was built for Python 3.6, and Python says *No module*. The same happens with a file that says
# `aarch64` in its name on a PC, and with the reverse (the lab before had a plain `.so`, so Python went on to the
# loader): up to version 2.3.1, `mamba-ssm` asked for an x86-64 wheel on *every* machine, so that a Jetson ended up with
# files that it could not see ([chapter 01](01_install.ipynb)).
#
# ## WSL2, where the driver lives elsewhere
# <a id="lab-libcuda"></a>
#
# `libcuda.so` is not part of CUDA's toolkit. It belongs to the *driver*, and on WSL2 the driver is that of Windows: its
# library lies in `/usr/lib/wsl/lib`, a folder that the *linker* (which runs when something is built) does not search.
# Triton builds a small module when it starts, and so the first kernel fails with a linker's error. Here is a stand-in
# for that folder:

# %% tags=["lab:libcuda", "hide-input"]
lab.write("driver.c", "int cuInit(unsigned flags) { return 100; }")
lab.build(
    "driver.c",
    flags=["-Wl,-soname,libcuda.so.1"],
    output="usr/lib/wsl/lib/libworkbook_cuda.so",
)
launcher = module(
    "launcher",
    'extern "C" int cuInit(unsigned);',
    "return PyLong_FromLong(cuInit(0));",
)

# %% tags=["lab:libcuda"]
with expect_error(LabError, match="cannot find -lworkbook_cuda"):
    lab.build(launcher, links=["workbook_cuda"])

# %% tags=["lab:libcuda"]
built = lab.build(
    launcher, links=["workbook_cuda"], flags=[f"-L{lab / 'usr/lib/wsl/lib'}"]
)
read_extension(built).needed[0]

# %% [markdown]
# (The stand-in has a name of its own, since on a machine with a driver the real `-lcuda` would be found.) On WSL2 tell
# Triton where to look, `export TRITON_LIBCUDA_PATH=/usr/lib/wsl/lib`, or put the folder on the system's list with `sudo
# ldconfig /usr/lib/wsl/lib`: Triton asks that list where libcuda lies, and passes the answer to the linker. Note B's
# script needed neither, since its failure was the import order.
#
# ## A CUDA module, from source to launch
# <a id="lab-no-kernel-image"></a>
#
# Now all of it together, on a GPU. The kernel below computes the heart of a state space model, each channel on a GPU
# thread of its own: a state that decays and takes in the next sample, `h = a h + x`.

# %% tags=["setup"]
KERNEL = """
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <c10/util/Exception.h>
#include <cuda_runtime.h>

__global__ void decay(const float* x, float* y, float a, int channels, int length) {
    int channel = blockIdx.x * blockDim.x + threadIdx.x;
    if (channel >= channels) return;
    float h = 0;
    for (int t = 0; t < length; ++t) {
        h = a * h + x[channel * length + t];
        y[channel * length + t] = h;
    }
}

static PyObject* run(PyObject*, PyObject* given) {
    unsigned long long x, y; float a; int channels, length;
    if (!PyArg_ParseTuple(given, "KKfii", &x, &y, &a, &channels, &length)) return nullptr;
    decay<<<(channels + 127) / 128, 128>>>((const float*)x, (float*)y, a, channels, length);
    cudaError_t status = cudaGetLastError();
    try { TORCH_CHECK(status == cudaSuccess, "CUDA error: ", cudaGetErrorString(status)); }
    catch (const c10::Error& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what_without_backtrace()); return nullptr;
    }
    Py_RETURN_NONE;
}
static PyMethodDef methods[] = {{"run", run, METH_VARARGS, ""}, {0, 0, 0, 0}};
static PyModuleDef about = {PyModuleDef_HEAD_INIT, "decay_cuda", 0, -1, methods};
PyMODINIT_FUNC PyInit_decay_cuda() { return PyModule_Create(&about); }
"""
path = lab.write("decay_cuda.cu", KERNEL)
# %% [markdown]
# `nvcc` compiles it twice over: once for the processor, once for the GPU. The GPU's part is for named architectures:
# `sm_90` is an H100, `sm_80` an A100. Such code runs on GPUs of the same major version with an equal or higher minor
# one. A module may also carry `compute_NN`, a form that the driver compiles for any newer GPU.


# %% tags=["lane:gpu", "skip-execution"]
@needs("a GPU", "nvcc")
def build_for_this_gpu():
    import torch

    major, minor = torch.cuda.get_device_capability()
    here = f"-gencode=arch=compute_{major}{minor},code=sm_{major}{minor}"
    path = lab.build(
        "decay_cuda.cu", links=["c10"], flags=["-cudart", "shared", here]
    )
    print(diagnose(path))
    print(read_extension(path).gpu_archs)
    return path


# %% [markdown]
# Loaded wrong: without torch in front. **Guess which library it misses first.**


# %% tags=["lane:gpu", "skip-execution"]
@needs("a GPU", "nvcc")
def load_it_wrong():
    with expect_error(ImportError, match="cannot open shared object file"):
        lab.python("import decay_cuda")


# %% [markdown]
# Loaded right, launched, and compared with the same recurrence in a loop, in float64:

# %% tags=["lane:gpu", "skip-execution"]
SEED = 0
LAUNCH = f"""
    import torch, decay_cuda
    torch.manual_seed({SEED})
    x = torch.randn(512, 960, device="cuda")
    y = torch.empty_like(x)
    decay_cuda.run(x.data_ptr(), y.data_ptr(), 0.9, 512, 960)
    h, loop = torch.zeros(512, dtype=torch.float64, device="cuda"), []
    for t in range(960):
        h = 0.9 * h + x[:, t].double()
        loop.append(h)
    print("%.1e" % (y - torch.stack(loop, 1)).abs().max().item())
"""


@needs("a GPU", "nvcc")
def load_it_right():
    print("largest difference from the loop:", lab.python(LAUNCH))


# %% [markdown]
# Last, the module built for another GPU. It loads: the loader knows nothing of GPUs. It fails when the kernel is
# launched.


# %% tags=["lane:gpu", "skip-execution"]
@needs("a GPU", "nvcc")
def no_kernel_image():
    import torch

    other = "80" if torch.cuda.get_device_capability()[0] != 8 else "90"
    flags = [
        "-cudart",
        "shared",
        f"-gencode=arch=compute_{other},code=sm_{other}",
    ]
    path = lab.build(
        "decay_cuda.cu",
        links=["c10"],
        flags=flags,
        output="other_gpu/decay_cuda.so",
    )
    print("built for", *read_extension(path).gpu_archs)
    with expect_error(
        RuntimeError,
        match="no kernel image is available for execution on the device",
    ):
        lab.python(LAUNCH, folder=path.parent)


# %% [markdown]
# `read_extension` had told it before: a module holds code for the architectures that it was compiled for, and none of
# them runs on this GPU. That is R1 of the catalogue, and the reason why a wheel from before your GPU existed installs,
# imports, and then fails.
#
# ## What can go wrong here
#
# - **`import torch` is in the program, and `libc10.so` still cannot be opened.** Something imports the module earlier:
#   a formatter moved the lines, or a package's `__init__` does. The traceback shows who.
# - **It works in the terminal and not in the notebook.** A kernel may have started before you installed, and a library
#   that is in the process stays there. Restart the kernel. Or the shell has an `LD_LIBRARY_PATH` that the notebook
#   server lacks.
# - **`ldd` says `not found` for libc10.so, and all is well.** `ldd` does not know that torch will come first.
# - **Two torches.** `python -c "import torch; print(torch.__file__)"` in the program that fails, not in your shell.
# - **The symbol is not torch's.** `_ZN5flash…` or a name of OpenCV: same mechanism, another package. Rebuild that one.
#
# ## Exercises

# %% [markdown]
# **02.1** Write `read_mangled(name)`: the parts of a nested mangled name, so that `_ZN3c104cuda14ExchangeDeviceEa`
# gives `["c10", "cuda", "ExchangeDevice"]`. The name begins with `_ZN`, a `K` for `const` may follow; then come length
# and name in turn, up to `E` or anything else that is no digit.

# %%
from helpers.teaching import check, solution


def read_mangled(name): ...


check("02.1", read_mangled)

# %% tags=["remove-input"]
solution("02.1")

# %% [markdown]
# **02.2** Write `first_found(name, rpath, ld_library_path, runpath, system, loaded)`: the path of the file that the
# loader takes for a library `name`. `loaded` maps names to paths of what is in the process already; the others are
# lists of folders, and each folder is a dictionary from names to paths. The order: what is loaded; RPATH, but only if
# there is no RUNPATH; `LD_LIBRARY_PATH`; RUNPATH; the system. Return `"cannot open"` if it is nowhere.


# %%
def first_found(name, rpath, ld_library_path, runpath, system, loaded): ...


check("02.2", first_found)

# %% tags=["remove-input"]
solution("02.2")

# %% [markdown]
# **02.3** Write `runs_on(archs, capability)`: does a module with code for `archs`, such as `["sm_80", "sm_86",
# "compute_90"]`, run on a GPU of capability `(8, 9)`? Machine code (`sm_`) runs on the same major version with an equal
# or higher minor one. `compute_` is an intermediate language, which the driver can compile for any GPU of that version
# or higher.


# %%
def runs_on(archs, capability): ...


check("02.3", runs_on)

# %% tags=["remove-input"]
solution("02.3")

# %% [markdown]
# ## Recap
#
# - A compiled module is a list of wishes: libraries, versions, symbols. The loader stops at the first one that it
#   cannot fulfill, and says so in one line.
# - A bare name in front of *cannot open*: nobody loaded that library. A full path there, of a file that exists: wrong
#   processor.
# - `import torch` first. RUNPATH is the builder's, and `LD_LIBRARY_PATH` is a rule for every program, which wins over
#   RUNPATH.
# - An undefined symbol names a function *with its types*, and so tells which torch the module was built for. Keep the
#   whole line.
# - A reinstall may bring the same wheel back: `--no-cache-dir`.
# - All of it can be read from the file without loading it. `workbook doctor` does.
#
# | the line says | it means | look at it with | do |
# |---|---|---|---|
# | `libc10.so: cannot open` | torch was not imported first | `readelf -d FILE` | `import torch` first |
# | `libcudart.so.NN`, `libc10_cuda.so: cannot open` | built for another CUDA than torch's | `python -c "import torch; print(torch.version.cuda)"` | the wheel of your CUDA |
# | `/a/path.so: cannot open`, and it is there | another processor | `file FILE` | a build for `uname -m` |
# | `undefined symbol: _ZN…` | built for another torch | `c++filt NAME` | `workbook plan` |
# | the same after a reinstall | pip's cached wheel | `pip cache list` | `--no-cache-dir` |
# | `version GLIBC_… not found` | the system is older than the wheel | `ldd --version` | a newer system, or build here |
# | `No module named …_cuda` | no file for this Python | `ls site-packages` | install for this Python |
# | `no kernel image` | no code for this GPU | `cuobjdump --list-elf FILE` | a newer release, or build here |
#
# ## What next
#
# If you have not read it yet, [chapter 01](01_install.ipynb) is about how the wrong file gets onto your machine in the
# first place. If something fails for you right now, go to the [troubleshooting tree](../book/troubleshooting.md), or
# paste your log into `workbook explain`.
