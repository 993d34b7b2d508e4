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
# # Installing mamba-ssm
#
# `pip install mamba-ssm` is one line. Behind it, pip runs a program that somebody else wrote, in an environment that
# you do not see, to guess the name of a file on another server, and only if the guess fails does anything get compiled.
# Most advice on the internet is a cure for one of these steps, without a word about which.
#
# `mamba-ssm` holds the official Mamba layers, and `causal-conv1d` a short convolution that they call; both carry CUDA
# code for NVIDIA GPUs. **You may not need either.** Every model of this book also runs on plain PyTorch, with the same
# results. What the two give is speed on a GPU.
#
# In this chapter you take the install apart. Every message below is real, from the real source archives on PyPI, in a
# throwaway folder. Where its cause would need another machine, we stage it and say how: a torch that we make up, a
# compiler that can only tell its version.
#
# **You will**
#
# - say which torch pip sees while it builds, and why `--no-build-isolation` works;
# - predict the name of the wheel that is downloaded, and whether it exists;
# - read the end of a long log, and know which of its errors is the cause;
# - break the call between the two packages in both directions;
# - check an install on a GPU against an exact computation;
# - get the right commands for your own machine from `workbook plan`.
#
# **You need** Python and pip, and Linux with a C++ compiler (Colab and WSL2 have one). One section needs a GPU; without
# one you see what it printed on ours.
#
# In a hurry? Three commands come with this book ([how to get them](../book/how_to_use.md)): `workbook plan` prints what
# to install on this machine, `workbook doctor` says what is broken, and `workbook explain` reads a log. The rest of
# this chapter is what these three know. The codes that they print, such as B1, are those of the [troubleshooting
# tree](../book/troubleshooting.md).
#
# Some words, if they are new: *CUDA* is NVIDIA's way to compute on its GPUs, its *toolkit* contains the compiler
# `nvcc`, and *ninja* runs many compilers at once. A [wheel](../book/glossary.md) is a package ready to be copied into
# place; an *ABI* is what compiled code takes for granted about other compiled code. Where the text says *field note A*
# (or B, C, D), it means working notes of engineers who fought these installs before; [a page of this
# book](../book/field_notes.md) checks them claim by claim.

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
import os

from helpers.environment import (
    Lab,
    LabError,
    compile_command,
    expect_error,
    explain,
    sdist,
    unpacked,
    wheelhouse,
)
from helpers.teaching import needs, require

require("Linux", "gcc", remedy="Use Colab or WSL2, or read on here.")
lab = Lab()

# %% [markdown]
# A `Lab` is a throwaway folder, gone when the kernel stops. `sdist("mamba-ssm", "2.2.4")` is the source archive of that
# release, as on PyPI, out of your cache. `expect_error` runs a block that has to fail, and prints the error. A function
# under `@needs(...)` runs at once where the machine has what it names; elsewhere you see what it printed on ours.
#
# ## The five steps of one line
#
# `pip install mamba-ssm==2.2.4` downloads the source archive, since PyPI has no wheels of it. Then:
#
# 1. **An empty room.** pip makes a new, empty environment for the build, and installs into it what the archive asks
#    for. This is *build isolation*.
# 2. **setup.py starts** in that room, and its first lines import torch: the room's torch, not yours.
# 3. **A guess.** From that torch, setup.py makes up the name of a *prebuilt wheel* and asks GitHub for it.
# 4. **If GitHub has it**, that file is what you get. Nothing is compiled.
# 5. **If not**, the compilers start: g++ and nvcc, for half an hour, if everything they need is there.
#
# Each step fails in its own way. We go through them in this order.
#
# ## The empty room
# <a id="lab-isolation"></a>
#
# Here is an environment in which torch is installed, and can be imported.

# %% tags=["lab:isolation"]
mine = lab.environment(inherit=True)
lab.python("import torch; print('torch is here')", python=mine)

# %% [markdown]
# **Guess:** what does pip say when it is asked for `mamba-ssm` 2.3.2.post1?

# %% tags=["lab:isolation"]
with expect_error(LabError, match="No module named 'torch'") as isolated:
    lab.pip(
        *("install", "--no-deps", sdist("mamba-ssm", "2.3.2.post1")),
        python=mine,
    )

# %% [markdown]
# Torch is installed, and pip says that it is not. Both are right. They speak of two environments: yours, and the room.
# This release's archive does not ask for torch, so the room has none.
#
# A log like this can be pasted into `workbook explain`. From Python:

# %% tags=["lab:isolation"]
explain(isolated.error.output)

# %% [markdown]
# Now the same archive without the room. (Two variables tell setup.py to look for no wheel and to compile no CUDA, so
# that we see this step alone.)

# %% tags=["lab:isolation"]
BARE = {"MAMBA_FORCE_BUILD": "TRUE", "MAMBA_SKIP_CUDA_BUILD": "TRUE"}
log = lab.pip(
    *("install", "--no-deps", "--no-build-isolation"),
    sdist("mamba-ssm", "2.3.2.post1"),
    python=mine,
    env=BARE,
)
log.splitlines()[-1]

# %% [markdown]
# **That is why `--no-build-isolation` works: setup.py runs in *your* environment, so it sees *your* torch.** It
# compiled nothing here. Field note A calls the flag a way to "force recompilation"; whether something is compiled is
# decided two steps later.
#
# In other releases the room has a torch: versions 2.2.4 to 2.3.1 ask for one, and pip brings *the newest*, several
# gigabytes of it. What comes then depends on the day. While there was a prebuilt wheel for that newest torch, pip
# installed it and reported success, and the import under an older torch said `undefined symbol` ([chapter
# 02](02_loader.ipynb#lab-other-torch)). When there is none, as for the newest torch of today, the compilers start, in
# the wrong room.
#
# ## Without the room, you furnish it
# <a id="lab-build-tools"></a>
#
# The room had one virtue: what the build needs was put there. Outside, that is your job. Here is an environment as an
# image of 2024 had it: pip, an older setuptools, nothing else.

# %% tags=["lab:build-tools"]
bare = lab.environment("setuptools==69.5.1", "wheel", name="bare")
install = ("install", "--no-deps", "--no-build-isolation")
with expect_error(LabError, match="No module named 'packaging'"):
    lab.pip(*install, sdist("mamba-ssm", "2.2.4"), python=bare)

# %% [markdown]
# Field note A: "`--no-build-isolation` requires all build deps pre-installed". True. After `packaging` comes the next
# one, and this time the message means what it says:

# %% tags=["lab:build-tools"]
lab.pip("install", "packaging", python=bare)
with expect_error(LabError, match="No module named 'torch'"):
    lab.pip(*install, sdist("mamba-ssm", "2.2.4"), python=bare)

# %% [markdown]
# The order that works is: torch, then `setuptools wheel packaging ninja`, then the archive without isolation. The very
# same line, `No module named 'torch'`, had another cause in the lab before. What tells them apart is the flag.
#
# ## The guess
# <a id="lab-wheel-guess"></a>
#
# What does setup.py do with the torch that it sees? It asks four questions: your version, your CUDA, your string ABI,
# your Python. The answers become a file name. We let the *real* setup.py of 2.2.4 guess, under torches that we make up:
# a folder called `torch` that answers the questions and can do nothing else.

# %% tags=["setup", "hide-input"]
STAND_IN = """
import sys, types
__version__ = {version!r}
version = types.SimpleNamespace(cuda={cuda!r}, hip=None)
_C = types.SimpleNamespace(_GLIBCXX_USE_CXX11_ABI={abi})
compiled_with_cxx11_abi = lambda: {abi}
cpp_extension = types.ModuleType("torch.utils.cpp_extension")
cpp_extension.BuildExtension = cpp_extension.CppExtension = cpp_extension.CUDAExtension = object
cpp_extension.CUDA_HOME = cpp_extension.HIP_HOME = None
utils = types.ModuleType("torch.utils")
utils.cpp_extension = cpp_extension
utils.__path__ = __path__ = []
sys.modules.update({{"torch.utils": utils, "torch.utils.cpp_extension": cpp_extension}})
"""
mamba = unpacked("mamba-ssm", "2.2.4", lab / ".")
NOWHERE = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")


def stand_in(version, cuda, abi):
    """A folder with a torch that says this of itself."""
    text = STAND_IN.format(version=version, cuda=cuda, abi=abi)
    return lab.write(f"torch-{version}/torch/__init__.py", text).parents[1]


def run_setup(torch, **env):
    """`python setup.py bdist_wheel` of mamba-ssm 2.2.4 under this torch."""
    code = """
        import runpy, sys
        sys.argv = ["setup.py", "bdist_wheel"]
        runpy.run_path("setup.py", run_name="__main__")
    """
    env = {
        **NOWHERE,
        "MAMBA_SKIP_CUDA_BUILD": "TRUE",
        **env,
        "PYTHONPATH": torch,
    }
    return lab.python(code, env=env, folder=mamba)


# %% tags=["lab:wheel-guess"]
def guessed(version, cuda, abi):
    """The file name that the real setup.py makes up."""
    try:
        run_setup(stand_in(version, cuda, abi))
    except Exception as error:
        log = error.output
    return log.split("Guessing wheel URL:")[1].split()[0].rpartition("/")[2]


for seen in (("2.2.2+cu121", "12.1", False), ("2.14.1+cu130", "13.0", True)):
    print(seen[0].ljust(13), guessed(*seen))

# %% [markdown]
# Two torches, two files. Yours may be 2.2.2; in isolation, setup.py sees the newest one and asks for *that* one's
# wheel. If GitHub has it, pip says *Successfully installed*, and the import says `undefined symbol`: a function is
# missing that the other torch had.
#
# Look at the second name again: `cu12`, for a torch with CUDA 13. This setup.py knows 11 and 12 only.
#
# **And a hit?** We put up a server on this machine in GitHub's place, with a wheel of the right name, and take the
# compilers away.

# %% tags=["setup", "hide-input"]
import functools
import http.server
import threading
import zipfile


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


handler = functools.partial(Silent, directory=lab / ".")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
here = f"http://127.0.0.1:{server.server_port}"
setup_py = mamba / "setup.py"
_ = setup_py.write_text(
    setup_py.read_text().replace("https://github.com", here)
)

# %% tags=["lab:wheel-guess"]
cached = "state-spaces/mamba/releases/download/v2.2.4/" + guessed(
    "2.2.2+cu121", "12.1", False
)
(lab / cached).parent.mkdir(parents=True)
with zipfile.ZipFile(lab / cached, "w") as wheel:
    wheel.writestr(
        "mamba_ssm/__init__.py", "compiled = 'on a server, long ago'"
    )

direct = {"no_proxy": "*", "PATH": "/nowhere"}
log = run_setup(stand_in("2.2.2+cu121", "12.1", False), **direct)
print("copied to", log.split("Raw wheel path")[1].split()[0])

# %% [markdown]
# No compiler on the path, isolation off, and it went through in a second: the file was copied from the server (and got
# a plainer name on the way). **A hit compiles nothing.** Field note A says that prebuilt wheels "link to wrong PyTorch"
# and that one MUST compile. A wheel that was built for your torch links to the right one; the trouble begins when it
# was guessed for another. (Whether note A itself had to compile is [another question](../book/field_notes.md#a10).)
#
# <a id="lab-no-network"></a>
# If the server cannot be reached at all, setup.py does not go on to step 5. It handles *not found*; anything else ends
# the install:

# %% tags=["lab:no-network"]
with expect_error(LabError, match="urlopen error .*Connection refused"):
    run_setup(stand_in("2.2.2+cu121", "12.1", False))

# %% [markdown]
# On a cluster without internet this is the error, whatever else is right. `MAMBA_FORCE_BUILD=TRUE` skips the guess, or
# download the wheel elsewhere and install the file.
#
# ## Which wheels exist
#
# A guess leads somewhere if somebody built that file, and it helps if the file is for your machine. Who built what can
# be read from the releases; `workbook plan` carries the table. Here it is as a picture, for Python 3.11 on Linux. Move
# the controls.

# %%
from helpers.teaching import explore
from helpers.teaching.wheel_map import describe_wheels, wheel_map

cudas, machines = ["12.4", "13.0", "11.8"], ["x86_64", "aarch64"]
choices = {"cuda": ("CUDA of torch", cudas), "machine": ("machine", machines)}
explore(wheel_map, alt=describe_wheels, **choices)

# %% [markdown]
# Read it by columns: that is your torch. No release has wheels for every torch, and none that we know of has them for a
# torch newer than 2.10. There a compiler is needed, or an older torch. A diamond is a wheel that was built against a
# nightly torch and carries the release's name: it may lack a symbol under the release. A cross is worse than a dot: pip
# installs it, and it cannot work.
#
# ## Reading a log from its end
# <a id="lab-no-csrc"></a>
#
# Step 5: the server says 404, *not found*, and the compilers start. We let the real setup.py of 2.2.4 go there. Our
# torch may have no CUDA, and the machine no nvcc. So we tell setup.py a lie or two: that torch was built for CUDA 12.4,
# and that there is a toolkit, whose `nvcc` can do nothing but tell its version.

# %% tags=["setup", "hide-input"]
builder = lab.environment(
    "setuptools==80.9.0", "wheel", "ninja", name="builder", inherit=True
)


def toolkit(version):
    """A CUDA toolkit that can only say its version."""
    says = f'#!/bin/sh\necho "Cuda compilation tools, release {version}, V{version}.99"\n'
    nvcc = lab.write(f"cuda-{version}/bin/nvcc", says)
    nvcc.chmod(0o755)
    return nvcc.parents[1]


def build(cuda_home, **env):
    """setup.py of mamba-ssm 2.2.4, under our torch, as on a machine with CUDA."""
    code = """
        import os, runpy, sys, torch
        from torch.utils import cpp_extension
        torch.version.cuda = "12.4"
        cpp_extension.CUDA_HOME = os.environ["CUDA_HOME"]
        sys.argv = ["setup.py", "bdist_wheel"]
        runpy.run_path("setup.py", run_name="__main__")
    """
    path = f"{builder.parent}:{os.environ['PATH']}"
    env = {"CUDA_HOME": cuda_home, "PATH": path, "no_proxy": "*", **env}
    return lab.python(code, env=env, folder=mamba, python=builder)


# %% tags=["lab:no-csrc"]
with expect_error(
    RuntimeError, match="Error compiling objects for extension"
) as failed:
    build(toolkit("12.4"))
log = failed.error.output
print(len(log.splitlines()), "lines, of which three:")
for word in ("HTTP Error", "no known rule", "RuntimeError:"):
    print("  ", [line for line in log.splitlines() if word in line][-1][:110])

# %% [markdown]
# Three errors. People search for the first, the 404, because it looks like the problem. **It is not: setup.py expected
# it.** The last one says that something failed, not what. The middle one is the cause: a file that ought to be compiled
# is not in the archive.

# %% tags=["lab:no-csrc"]
explain(log)

# %% [markdown]
# `mamba-ssm` up to 2.2.4 and `causal-conv1d` up to 1.5.0.post8 were published *without their C++ and CUDA sources*.
# Look for yourself:

# %% tags=["lab:no-csrc"]
import tarfile

for version in ("2.2.2", "2.2.4", "2.2.5"):
    with tarfile.open(sdist("mamba-ssm", version)) as tar:
        names = [
            name
            for name in tar.getnames()
            if name.endswith((".cu", ".cpp", ".cuh"))
        ]
    print(version, len(names), "C++ and CUDA files")

# %% [markdown]
# So every "compiled from source" of these versions that came from PyPI was a prebuilt wheel. That includes the pins of
# field note C (2.2.2 and 1.4.0), and its wheel sizes of hundreds of megabytes fit: that is code for many GPUs at once.
#
# ## The compiler's turn
#
# From 2.2.5 on the sources are there, and real compiling fails in its own ways, most of them within seconds. (The
# checks that fail here are the same in all releases, so we stay with the archive that is unpacked.) This is a section
# to look things up in: skim it now, and come back with an error in hand. `why` prints what `explain` says, in two
# lines.


# %% tags=["setup"]
def why(caught):
    """The cause, by its number in the catalogue, and the first step of the fix."""
    cause = explain(caught.error.output).causes[0]
    print(f"\n{cause.id}: {cause.title}.\nFix: {cause.fix[0]}")


# %% [markdown]
# <a id="lab-no-cuda"></a>
# **A torch without CUDA.** The message speaks of nvcc, and nvcc may well be installed. It is torch that looks for no
# toolkit when torch itself is a CPU build. **Guess** what setup.py makes of that.


# %% tags=["lab:no-cuda"]
@needs("a torch without CUDA")
def torch_without_cuda():
    code = "import sys, runpy; sys.argv = ['setup.py', 'bdist_wheel']; runpy.run_path('setup.py', run_name='__main__')"
    for version, error in (("2.2.4", NameError), ("2.3.2.post1", LabError)):
        folder = unpacked("mamba-ssm", version, lab / "no-cuda")
        with expect_error(
            error,
            match="'bare_metal_version' is not defined|Invalid version: None",
        ) as caught:
            lab.python(code, folder=folder)
        why(caught)


# %% [markdown]
# Neither message contains the word torch. Cure the cause, torch, and not the compiler.
#
# <a id="lab-nvcc-major"></a>
# **The toolkit of another CUDA.** The compiler's major version has to be that of torch.

# %% tags=["lab:nvcc-major"]
with expect_error(
    RuntimeError,
    match=r"CUDA version.*mismatches the version that was used to compile",
) as caught:
    build(toolkit("13.0"), MAMBA_FORCE_BUILD="TRUE")
why(caught)

# %% [markdown]
# <a id="lab-old-nvcc"></a>
# **An old toolkit in front.** A distribution's own nvcc often comes first on the path.

# %% tags=["lab:old-nvcc"]
with expect_error(
    RuntimeError, match=r"only supported on CUDA 11\.6 and above"
) as caught:
    build(toolkit("11.5"), MAMBA_FORCE_BUILD="TRUE")
why(caught)

# %% [markdown]
# <a id="lab-no-compiler"></a>
# **No C++ compiler.** Images for running have none. (And on a Python that was built with clang, as uv's and Modal's
# are, the build looks for `clang++`: then `CC=gcc CXX=g++` is the cure, not another package. Field note A installed
# `build-essential` and blamed the CUDA image.)

# %% tags=["lab:no-compiler"]
lab.write("empty.cpp", "")
with expect_error(LabError, match=r"c\+\+: (command )?not found") as caught:
    lab.run("/bin/sh", "-c", "c++ -c empty.cpp", env={"PATH": "/nowhere"})
why(caught)

# %% [markdown]
# <a id="lab-cxx-standard"></a>
# **An older C++.** Torch's headers ask for a minimum, and the minimum rises: C++17 first, C++20 from torch 2.14 on.
# `mamba-ssm` up to 2.3.2.post1 says `-std=c++17` in its setup.py. We ask for one standard less than our torch wants:

# %% tags=["lab:cxx-standard"]
lab.write("tensor.cpp", "#include <ATen/ATen.h>\n")
flags = ["-std=c++14", "-fmax-errors=1"]
message = r"#error C\+\+\d+ or later compatible compiler is required"
with expect_error(LabError, match=message) as caught:
    lab.build("tensor.cpp", links=["torch_cpu"], flags=flags)
why(caught)

# %% [markdown]
# <a id="lab-out-of-memory"></a>
# **Out of memory.** Several compilers at once, each for several GPUs, take tens of gigabytes. The operating system ends
# one, and the log says `Killed`, or this:

# %% tags=["lab:out-of-memory"]
lab.write("big.cpp", "#include <torch/csrc/utils/pybind.h>\n")
compiler = compile_command(lab / "big.cpp", lab / "big.so", links=["c10"])
little = ("bash", "-c", 'ulimit -v 300000; exec "$@"', "bash")
with expect_error(LabError, match="memory exhausted|of memory") as caught:
    lab.run(*little, *compiler)
why(caught)

# %% [markdown]
# `MAX_JOBS` sets how many run at once. It does nothing where a wheel is downloaded: field note B passed `MAX_JOBS=4` to
# an install that compiled nothing.
#
# <a id="lab-dropped-arch"></a>
# **A GPU that nvcc has forgotten.** CUDA 13 dropped all before Turing, and `mamba-ssm` up to 2.2.5 asks for them by
# name. (The variable `TORCH_CUDA_ARCH_LIST` does not help: both packages pass their own list.)


# %% tags=["lab:dropped-arch"]
@needs("nvcc")
def dropped_arch():
    lab.write("kernel.cu", "__global__ void kernel() {}")
    command = ("nvcc", "--cubin", "-o", lab / "kernel.cubin", lab / "kernel.cu")
    with expect_error(
        LabError, match="Unsupported gpu architecture 'compute_\\d+'"
    ) as caught:
        lab.run(*command, "-arch=compute_53")
    why(caught)


# %% [markdown]
# ## A call that two packages must agree on
# <a id="lab-contract"></a>
#
# Both packages are installed, both import. Then the first forward pass fails. `mamba-ssm` calls a C++ function of
# `causal-conv1d`, by position, and the number of arguments changed: 7 up to `causal-conv1d` 1.5.0, 8 from 1.5.1 on. The
# one package's metadata says only `causal-conv1d>=1.2.0`, so pip is content with any pair.
#
# We need no GPU to see it. Here is that function with the old and with the new list of arguments, and a body that only
# says that it was reached:

# %% tags=["setup"]
CONVOLUTION = """
#include <torch/csrc/utils/pybind.h>
#include <optional>
using T = at::Tensor;
using O = std::optional<at::Tensor>;
#ifdef OLD
T forward(const T& x, const T& weight, const O& bias, const O& seq_idx,
          const O& initial, const O& final, bool silu) { return x; }
#else
void forward(const T& x, const T& weight, const O& bias, const O& seq_idx,
             const O& initial, T& out, const O& final, bool silu) {}
#endif
PYBIND11_MODULE(causal_conv1d_cuda, m) { m.def("causal_conv1d_fwd", &forward); }
"""
lab.write("causal_conv1d_cuda.cpp", CONVOLUTION)
for name, flags in (("old", ["-O0", "-DOLD"]), ("new", ["-O0"])):
    lab.build(
        "causal_conv1d_cuda.cpp",
        links=["c10", "torch_cpu", "torch_python"],
        flags=flags,
        output=f"{name}/causal_conv1d_cuda.so",
    )

# %% [markdown]
# The Python files are the real ones, of both packages. Around them we put three stand-ins (behind the click): Triton,
# which is large and whose kernels are not reached, the model hub, and a scan kernel that says "reached" and stops.

# %% tags=["setup", "hide-input"]
ANYTHING = """
import sys
__version__ = "3.6.0"
class Anything:
    def __getattr__(self, name): return Anything()
    def __call__(self, *given, **options): return Anything()
    def __iter__(self): return iter([Anything()])
    def __getitem__(self, name): return 1
    def __le__(self, other): return True
def __getattr__(name):
    if name.startswith("__"): raise AttributeError(name)
    return Anything()
sys.modules["triton.language"] = sys.modules[__name__]
"""

# %% tags=["setup", "hide-input"]
lab.write("stand_ins/triton/__init__.py", ANYTHING)
lab.write(
    "stand_ins/huggingface_hub.py", "class PyTorchModelHubMixin:\n    pass\n"
)
lab.write(
    "scan/selective_scan_cuda.py",
    "def fwd(*given):\n    raise SystemExit(print('the convolution was called; next comes the scan'))\n",
)
RUN = """
    import sys, types, torch
    package = sys.modules["mamba_ssm"] = types.ModuleType("mamba_ssm")
    package.__path__ = ["mamba_ssm"]  # its own __init__ would import all models
    from mamba_ssm.modules.{file} import {layer}
    {layer}(64)(torch.zeros(1, 10, 64))
"""
einops = lab.environment("einops", name="einops", inherit=True)


def pair(mamba_version, conv_version, compiled, layer="Mamba"):
    """One forward pass of the layer, with these two releases."""
    folder = unpacked("mamba-ssm", mamba_version, lab / "pair")
    paths = [lab / "stand_ins", lab / "scan"]
    if conv_version:
        paths += [
            unpacked("causal-conv1d", conv_version, lab / "pair"),
            lab / compiled,
        ]
    file = {"Mamba": "mamba_simple", "Mamba2": "mamba2"}[layer]
    code = RUN.format(file=file, layer=layer)
    env = {"PYTHONPATH": ":".join(map(str, paths))}
    return lab.python(code, env=env, folder=folder, python=einops)


# %% [markdown]
# `mamba-ssm` 2.2.4 with `causal-conv1d` 1.7.0, the newest. Nothing in pip's eyes speaks against it.

# %% tags=["lab:contract"]
with expect_error(
    TypeError, match=r"causal_conv1d_fwd\(\): incompatible function arguments"
) as caught:
    pair("2.2.4", "1.7.0", "new")
why(caught)

# %% [markdown]
# With the partner of its time, it gets through:

# %% tags=["lab:contract"]
print(pair("2.2.4", "1.4.0", "old"))

# %% [markdown]
# Which pairs fit, by the number of arguments that the one passes and the other takes:

# %%
from helpers.environment.catalogue.releases import contract_kept, releases

convs = [release.version for release in releases("causal-conv1d")]
print("mamba-ssm    causal-conv1d", *convs)
for mamba_ssm in releases("mamba-ssm"):
    kept = (contract_kept(mamba_ssm.version, conv) for conv in convs)
    cells = (
        ("fits" if fit else "-").center(len(conv))
        for fit, conv in zip(kept, convs, strict=True)
    )
    print(mamba_ssm.version.ljust(26), *cells)

# %% [markdown]
# pip installs a pair that does not fit, and says nothing: `causal-conv1d` 1.7.0 satisfies `>=1.2.0`. The doctor reads
# the versions, and says it. (`--no-deps` and the switched-off CUDA code spare us downloads and the compiler; the doctor
# notices both, further down its list.)

# %%
from helpers.environment.doctor import examine

unfit = lab.environment(name="unfit", inherit=True)
pip_says = lab.pip(
    *("install", "--no-deps", "--no-build-isolation"),
    sdist("mamba-ssm", "2.2.4"),
    sdist("causal-conv1d", "1.7.0"),
    python=unfit,
    env=BARE
    | {name.replace("MAMBA", "CAUSAL_CONV1D"): "TRUE" for name in BARE},
)
print("pip:", pip_says.splitlines()[-1], end="\n\n")
doctor_says = lab.hide(str(examine(unfit, imports=False)))
print(doctor_says.partition("What works here")[0])

# %% [markdown]
# <a id="lab-swallowed-import"></a>
# The other direction, a new `mamba-ssm` on an old `causal-conv1d`, looks quite different. **Guess** how, if you know
# that the import of `causal_conv1d` stands in a `try`.

# %% tags=["lab:swallowed-import"]
with expect_error(
    TypeError, match="^'NoneType' object is not callable$"
) as caught:
    pair("2.3.1", "1.4.0", "old", layer="Mamba2")
why(caught)

# %% [markdown]
# The `try` caught the real error and put `None` in the function's place. Field note C meets this message and says:
# check that torch is 2.2.2. Nothing in it speaks of torch's version. **First make the hidden error visible:**

# %% tags=["lab:swallowed-import"]
conv = unpacked("causal-conv1d", "1.4.0", lab / "pair")
path = {"PYTHONPATH": f"{conv}:{lab / 'old'}"}
hidden = "from causal_conv1d.cpp_functions import causal_conv1d_fwd_function"
with expect_error(ImportError, match="No module named 'causal_conv1d.cpp_"):
    lab.python(hidden, env=path)

# %% [markdown]
# There it is: 1.4.0 has no such file, so the pair does not fit. With nothing installed at all, the message is the same,
# or, in older releases, `'NoneType' object has no attribute 'causal_conv1d_fwd'`. A message about None says that an
# import failed, and not why.
#
# ## The company it keeps
#
# `import mamba_ssm` imports half a machine room. Some neighbors that moved, each in one cell, to look up too.
#
# <a id="lab-no-triton"></a>
# **Triton is missing.** In 2.2.4 it is imported and not declared.


# %% tags=["lab:no-triton"]
@needs("no triton")
def no_triton():
    missing = "No module named 'triton'"
    with expect_error(ModuleNotFoundError, match=missing) as caught:
        lab.python("import mamba_ssm", folder=mamba, python=einops)
    why(caught)


# %% [markdown]
# <a id="lab-transformers-5"></a>
# **transformers 5 removed a name.** `mamba_ssm` imports it for text generation, which a detector does not need, and so
# does every release before 2.3.0. Field note C pins `mamba-ssm` and leaves transformers open: its recipe worked on its
# day and fails today.

# %% tags=["lab:transformers-5", "lane:cpu", "hide-input"]
wheelhouse("transformers")  # out of the cache, or fetched now
HUB = (
    "huggingface-hub",
    "httpx2",
    "httpcore2",
    "h11",
    "truststore",
    "anyio",
    "idna",
    "fsspec",
)
TRANSFORMERS = (
    "transformers",
    "tokenizers",
    "safetensors",
    "regex",
    "filelock",
    *HUB,
)
five = lab.environment(
    "--no-deps", "einops", *TRANSFORMERS, name="five", inherit=True
)
release = unpacked("mamba-ssm", "2.2.6.post3", lab / "pair")
lab.write("just_triton/triton/__init__.py", ANYTHING)
paths = f"{lab / 'just_triton'}:{lab / 'scan'}"

# %% tags=["lab:transformers-5", "lane:cpu"]
with expect_error(
    ImportError,
    match="cannot import name 'GreedySearchDecoderOnlyOutput' from 'transformers",
) as caught:
    lab.python(
        "import mamba_ssm",
        env={"PYTHONPATH": paths},
        folder=release,
        python=five,
    )
why(caught)

# %% [markdown]
# <a id="lab-numpy-2"></a>
# **NumPy 2 under a module of NumPy 1.** Field notes B and C say that NumPy 2 "breaks mamba-ssm". No file of either
# package includes NumPy. It is *torch* up to 2.2 that was compiled against NumPy 1. Any such module shows it; here is
# ours, compiled with the headers of NumPy 1.26.4:

# %% tags=["lab:numpy-2", "lane:cpu", "hide-input"]
BRIDGE = """
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <numpy/arrayobject.h>
static struct PyModuleDef about = {PyModuleDef_HEAD_INIT, "bridge", 0, -1, 0};
PyMODINIT_FUNC PyInit_bridge(void) { import_array(); return PyModule_Create(&about); }
"""


# %% tags=["lab:numpy-2", "lane:cpu"]
@needs("Python 3.12 or older")
def numpy_two():
    with zipfile.ZipFile(
        next(wheelhouse("numpy").glob("numpy-1.26.4-*.whl"))
    ) as wheel:
        wheel.extractall(lab / "numpy1")
    lab.write("bridge.c", BRIDGE)
    lab.build("bridge.c", flags=[f"-I{lab / 'numpy1/numpy/core/include'}"])
    with expect_error(
        ImportError, match="numpy.core.multiarray failed to import"
    ) as caught:
        lab.python("import bridge")
    why(caught)


# %% [markdown]
# <a id="lab-no-distributed"></a>
# **A torch without `torch.distributed`.** Some torches for Jetson are built so; `mamba_ssm` imports a name from it,
# whether or not you train on several machines. We take the name away:

# %% tags=["lab:no-distributed"]
with expect_error(
    ImportError,
    match="cannot import name 'ProcessGroup' from 'torch.distributed'",
) as caught:
    lab.python(
        """
        import torch.distributed
        del torch.distributed.ProcessGroup
        import mamba_ssm.distributed.distributed_utils
        """,
        env={"PYTHONPATH": f"{lab / 'stand_ins'}:{lab / 'scan'}"},
        folder=mamba,
        python=einops,
    )
why(caught)

# %% [markdown]
# <a id="lab-custom-op"></a>
# **A torch before 2.4** does not know `torch.library.custom_op`, which `causal-conv1d` uses from 1.5.1 on. Field note C
# says "1.5+ requires PyTorch 2.4+": the first that does is 1.5.1.

# %% tags=["lab:custom-op"]
conv = unpacked("causal-conv1d", "1.5.2", lab / "pair")
older = "import torch; del torch.library.custom_op; import causal_conv1d"
message = "module 'torch.library' has no attribute 'custom_op'"
with expect_error(AttributeError, match=message) as caught:
    lab.python(older, env={"PYTHONPATH": lab / "new"}, folder=conv)
why(caught)

# %% [markdown]
# <a id="lab-wheel-tag"></a>
# **A wheel for somebody else.** You download a file by hand, and pip refuses. The last three parts of its name say for
# whom it is: Python, ABI, machine.

# %% tags=["lab:wheel-tag"]
ends = "cu12torch2.5cxx11abiFALSE-cp39-cp39-linux_aarch64.whl"
wheel = lab.write(f"mamba_ssm-2.2.4+{ends}", b"")
with expect_error(LabError, match="is not a supported wheel") as caught:
    lab.pip("install", wheel, python=einops)
why(caught)

# %% [markdown]
# ## The check that counts
#
# "It imports" is not enough, and neither is the output's shape, which the field notes print. The check below runs the
# official layers on an input of `[1, 100, 512]`, forward and backward, and compares the output and every gradient with
# a reference: our plain PyTorch layer with the same weights, in float64.

# %% tags=["setup"]
SEED = 0


# %% tags=["setup", "hide-input"]
def largest(found, exact):
    """Largest difference, relative to the largest exact value."""
    return ((found.double() - exact).abs().max() / exact.abs().max()).item()


def output_and_gradients(layer, x):
    """The output, and the gradients of the input and of every parameter."""
    x = x.clone().requires_grad_()
    y = layer(x)
    y.square().sum().backward()
    return {"output": y, "input": x.grad} | {
        name: parameter.grad for name, parameter in layer.named_parameters()
    }


# %% tags=["lane:gpu", "skip-execution"]
@needs("a GPU", "mamba_ssm", "causal_conv1d")
def the_official_layers():
    import mamba_ssm
    import torch

    from helpers import models

    torch.manual_seed(SEED)
    x = torch.randn(1, 100, 512, device="cuda")
    for name in ("Mamba", "Mamba2"):
        official = getattr(mamba_ssm, name)(512).cuda()
        exact = getattr(models, name)(512).cuda().double()
        exact.load_state_dict(official.state_dict())
        found = output_and_gradients(official, x)
        expected = output_and_gradients(exact, x.double())
        print(f"{name}: {list(x.shape)} to {list(found['output'].shape)}")
        off = {
            part: largest(found[part], value.detach())
            for part, value in expected.items()
        }
        for part in ("output", "input"):
            print(f"  {part:24s} {off.pop(part):.1e}")
        worst = max(off, key=off.get)
        print(
            f"  worst of {len(off):2d} parameters  {off[worst]:.1e}  ({worst})"
        )


# %% [markdown]
# The differences are those of 32-bit arithmetic (and of TF32, which the official Mamba-2 kernels use in products). What
# would a wrong layer look like? Here is our own in 32 bits, and then with a state that forgets everything at once, so that
# it is no Mamba any more. Its output has the right shape.

# %% tags=["lane:cpu"]
import torch

from helpers.models import Mamba2

torch.manual_seed(SEED)
layer, x = Mamba2(512), torch.randn(1, 100, 512)
exact = Mamba2(512).double()
exact.load_state_dict(layer.state_dict())
reference = exact(x.double()).detach()
print("right          ", largest(layer(x).detach(), reference))
torch.nn.init.constant_(layer.A_log, 9)
print("without memory ", largest(layer(x).detach(), reference))

# %% [markdown]
# A difference of a percent or more is none of rounding. A wrong wheel fails outright; what this check finds is a layer
# that silently does something else, such as a stand-in.
#
# And three errors that a *good* install still gives, because of the call: a convolution wider than 4, a tensor on the
# CPU, and rows whose distance in memory is no multiple of 8 (`.contiguous()` mends it).
#
# <a id="lab-conv-width"></a><a id="lab-strides"></a><a id="lab-cpu-tensor"></a>


# %% tags=["lane:gpu", "skip-execution"]
@needs("a GPU", "causal_conv1d")
def calls_that_are_refused():
    import torch
    from causal_conv1d import causal_conv1d_fn

    x = torch.randn(1, 64, 100, device="cuda")
    with expect_error(
        RuntimeError, match="only supports width between 2 and 4"
    ):
        causal_conv1d_fn(x, torch.randn(64, 5, device="cuda"))
    with expect_error(RuntimeError, match="x.is_cuda"):
        causal_conv1d_fn(x.cpu(), torch.randn(64, 4))
    with expect_error(RuntimeError, match="strides .* multiples of 8"):
        rows = torch.randn(1, 100, 68, device="cuda")[:, :, :64]
        causal_conv1d_fn(rows.mT, torch.randn(64, 4, device="cuda"))


# %% [markdown]
# ## Let the tools do it
#
# Now you know what the three commands do. `workbook plan` asks the questions of setup.py, looks the answers up, and
# prints the shortest way:

# %%
from helpers.environment.plan import find_target, plan

plan(find_target())

# %% [markdown]
# It can be asked about any machine. This is what field note B's would need, an RTX 4090 with torch 2.2.2:

# %%
plan(
    find_target(
        torch="2.2.2+cu121", python="3.10", platform="linux_x86_64", gpu="8.9"
    )
)

# %% [markdown]
# And `workbook doctor` examines what is installed, from the bottom up, and names the first layer that is broken. (Here
# without its last step, the imports, which take up to half a minute.)

# %%
print(lab.hide(str(examine(imports=False))))

# %% [markdown]
# ## What can go wrong here
#
# - **"It worked yesterday."** An unpinned torch, transformers or `mamba-ssm` moved. Pin all of them; `env/local` has
#   lists that were resolved.
# - **pip's log shows a success, and the import fails.** pip never imports what it installs. A wheel for another torch,
#   or one without its compiled module, installs without a word.
# - **Two problems at once.** Fix the first, and a second error appears: that is progress, not a failed fix. Read the
#   new one from its end.
# - **conda, uv, poetry** run the same setup.py. uv isolates too: `uv pip install --no-build-isolation`.
# - **You do not need it.** This workbook's own path is exact and needs neither package. Without a GPU of your own there
#   is nothing to gain.
#
# ## Exercises

# %% [markdown]
# **01.1** Write `wheel_name(version, cuda, torch, abi, python)`: the file that `mamba-ssm` 2.2.4 asks for on an x86-64
# Linux, with `cuda` as `"12.4"`, `torch` as `"2.5.1+cu124"`, `abi` as `True` or `False` and `python` as `"3.11"`. For
# example `mamba_ssm-2.2.4+cu12torch2.5cxx11abiFALSE-cp311-cp311-linux_x86_64.whl`. This release knows CUDA 11 and 12
# only: anything from 12 up is `cu12`.

# %%
from helpers.teaching import check, solution


def wheel_name(version, cuda, torch, abi, python): ...


check("01.1", wheel_name)

# %% tags=["remove-input"]
solution("01.1")

# %% [markdown]
# **01.2** Write `fits(mamba, causal_conv1d)`: does this pair keep the contract? Versions are tuples such as `(2, 2,
# 4)`. `mamba-ssm` from 1.2.0 to 2.2.4 passes 7 arguments, from 2.2.5 on 8. `causal-conv1d` from 1.2.0 to 1.5.0 takes 7,
# from 1.5.1 on 8. (Nothing older will be asked.)


# %%
def fits(mamba, causal_conv1d): ...


check("01.2", fits)

# %% tags=["remove-input"]
solution("01.2")

# %% [markdown]
# **01.3** Write `culprit(log)`: the line of a build log that names the cause. It is the last line that contains `error`
# (in capitals or not), leaving out those that say only that something failed: `Error compiling objects`,
# `subprocess-exited-with-error`, `error originates from`, `Failed to build`, `Failed building wheel`, and `HTTP Error
# 404`, which setup.py expects.


# %%
def culprit(log): ...


check("01.3", culprit)

# %% tags=["remove-input"]
solution("01.3")

# %% [markdown]
# ## Recap
#
# - `--no-build-isolation` lets setup.py see *your* torch. It compiles nothing by itself.
# - setup.py guesses the name of a prebuilt wheel from the torch that it sees. A hit is copied; only a 404 compiles.
# - PyPI's archives of `mamba-ssm` up to 2.2.4 hold no C++ sources, so they can only ever be installed from a wheel.
# - Read a log from its end. A 404 says only that there is no wheel.
# - The two packages have a contract that nobody checks: 2.2.4 and older with `causal-conv1d` up to 1.5.0, newer with
#   newer.
# - A message about `None` hides an import error: import by hand, with torch first, what stands in the `try`.
# - `workbook plan` knows what fits your machine, and says when nothing has to be installed.
#
# ## What next
#
# [Chapter 02](02_loader.ipynb): the file is installed and does not load. Symbols, libraries, and what `LD_LIBRARY_PATH`
# really does.
