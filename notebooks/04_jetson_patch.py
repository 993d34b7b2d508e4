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
# # The Jetson patch
#
# Working notes of engineers, *field note D* in this book, report a success. On an NVIDIA Jetson, a small computer with an
# ARM processor and a GPU, `mamba_ssm` would not run. They blamed a missing library, changed some lines of Python, and it
# ran. The change helps. The reason given for it is wrong, and it does not mend all.
#
# Here you make the same failure on whatever machine you have, apply the note's patch, see where it ends, and mend the
# rest. No Jetson is needed, and none was used: what happens is a matter of two Python packages.
#
# **You will**
#
# - see which of two errors was read as the other, and why the patch seemed to cure both;
# - read from installed files, without running them, whether two packages fit each other;
# - apply the note's patch, and find out how far it reaches;
# - let `workbook patch jetson` find the right cure, patch what must be patched, and take it back byte for byte;
# - turn four checks that print PASS into checks that can fail;
# - read for whom an ARM wheel is, and give a torch without `torch.distributed` the names that are asked for.
#
# **You need** PyTorch, and Linux with a C++ compiler (Colab and WSL2 have one). From [chapter 02](02_loader.ipynb): a
# compiled module asks for libraries when it is imported, and `import torch` brings torch's. From [chapter
# 01](01_install.ipynb): the two packages have a contract that nobody checks. The sections tell both again, briefly.
# Some cells need a GPU; elsewhere you see what they printed on ours.

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
import re

from helpers.environment import (
    Lab,
    expect_error,
    jetson,
    read_extension,
    sdist,
    unpacked,
)
from helpers.teaching import needs, require
from helpers.teaching.jetson_lab import compare, pair, run

require("Linux", "gcc", remedy="Use Colab or WSL2, or read on here.")
lab = Lab()

# %% [markdown]
# A `Lab` is a throwaway folder, shown as `<lab>`; `expect_error` runs a block that has to fail with a certain text.
#
# ## What the note says
#
# In our words, with its own in quotation marks:
#
# 1. `import causal_conv1d_cuda` fails: "libc10.so: cannot open shared object file".
# 2. The cause: "PyTorch on Jetson doesn't provide libc10.so as a separate library".
# 3. The cure: `mamba_ssm` called the compiled function `causal_conv1d_cuda.causal_conv1d_fwd`. Let it call
#    `causal_conv1d_fn`, "a Python wrapper that doesn't have the libc10.so dependency".
# 4. "All Mamba-SSM components are now functional", with `mamba_ssm` 2.2.4 and `causal_conv1d` 1.6.0.
#
# **Guess:** the cure works. Does that prove the cause?
#
# ## A machine to break
#
# We rebuild the note's installation in a folder: the real Python sources of both packages, as they are on PyPI. What is
# compiled in them needs CUDA, so stand-ins take its place: plain torch that computes the same convolution and the same
# scan, slowly, on a CPU. `pair` puts all that together.

# %% tags=["setup"]
site = pair(lab / "site", "2.2.4", "1.6.0")

# %%
sorted(path.name for path in site.iterdir())

# %% [markdown]
# One thing is still missing, `causal_conv1d_cuda`. That one we compile, because its signature is what this chapter is
# about. These are the lists of arguments of the real functions, before release 1.5.1 and from there on (`T` is a tensor,
# `O` one that may be absent). The functions are empty, and nobody calls them: the compiler puts their names into the
# file, and we read those later. Look for what was added.

# %% tags=["setup"]
SIGNATURES = """
#if FWD == 7
void causal_conv1d_fwd(T x, T weight, O bias, O seq_idx, O initial, O final, bool silu) {}
void causal_conv1d_bwd(T x, T weight, O bias, T dout, O seq_idx, O initial, O dfinal,
                       O dx, bool return_dinitial, bool silu) {}
#else
void causal_conv1d_fwd(T x, T weight, O bias, O seq_idx, O initial, T out, O final, bool silu) {}
void causal_conv1d_bwd(T x, T weight, O bias, T dout, O seq_idx, O initial, O dfinal,
                       T dx, T dweight, O dbias, O dinitial, bool silu) {}
#endif
"""

# %% [markdown]
# From 1.5.1 on the caller has to say where results go: `out` in the forward; `dweight`, `dbias` and `dinitial` in the
# backward. So 7 arguments became 8, and 10 became 12. Around the signatures stands a frame (behind the click), which is
# what Python calls: it counts what it is given, as pybind does in the real module, and passes it to the stand-in. The file
# is linked with `libc10.so`, as every extension of torch is. (Nothing in ours uses that library, and a linker would leave
# it out; `--no-as-needed` keeps it.)

# %% tags=["setup", "hide-input"]
FRAME = """
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <optional>
namespace at { class Tensor; }
using T = const at::Tensor&;
using O = const std::optional<at::Tensor>&;
%s
static PyObject* pass_on(const char* name, int takes, PyObject* given) {
    if (PyTuple_GET_SIZE(given) != takes)
        return PyErr_Format(PyExc_TypeError, "%%s() takes %%d arguments, got %%zd", name, takes, PyTuple_GET_SIZE(given));
    PyObject* kernels = PyImport_ImportModule("kernels");
    PyObject* function = kernels ? PyObject_GetAttrString(kernels, name) : nullptr;
    return function ? PyObject_CallObject(function, given) : nullptr;
}
static PyObject* fwd(PyObject*, PyObject* given) { return pass_on("causal_conv1d_fwd", FWD, given); }
static PyObject* bwd(PyObject*, PyObject* given) { return pass_on("causal_conv1d_bwd", BWD, given); }
static PyMethodDef methods[] = {
    {"causal_conv1d_fwd", fwd, METH_VARARGS, ""}, {"causal_conv1d_bwd", bwd, METH_VARARGS, ""}, {0, 0, 0, 0}};
static PyModuleDef about = {PyModuleDef_HEAD_INIT, "causal_conv1d_cuda", 0, -1, methods};
PyMODINIT_FUNC PyInit_causal_conv1d_cuda() { return PyModule_Create(&about); }
"""
lab.write("causal_conv1d_cuda.cpp", FRAME % SIGNATURES)


def compile_into(folder, forward, backward):
    return lab.build(
        "causal_conv1d_cuda.cpp",
        links=["c10"],
        flags=[f"-DFWD={forward}", f"-DBWD={backward}", "-Wl,--no-as-needed"],
        output=folder / "causal_conv1d_cuda.so",
    )


# %% tags=["setup"]
compiled = compile_into(site, 8, 12)

# %%
read_extension(compiled).needed

# %% [markdown]
# ## The library that is not missing
# <a id="lab-import-order"></a>
#
# The note tested its compiled module as one does: by importing it.

# %% tags=["lab:import-order"]
with expect_error(
    ImportError, match=r"^libc10\.so: cannot open shared object file"
):
    lab.python("import causal_conv1d_cuda", folder=site)

# %% [markdown]
# The note's very error, on a machine that is no Jetson. The library lies in torch's own folder, where the loader does not
# look. A library that is *in the process* already needs no search, and `import torch` brings it:

# %% tags=["lab:import-order"]
code = """
    from causal_conv1d import causal_conv1d_fn
    import sys
    print("torch" in sys.modules, "causal_conv1d_cuda" in sys.modules)
"""
print(lab.python(code, folder=site))

# %% [markdown]
# No error, and both are there: torch, and the compiled module that "cannot be imported". The Python function stands on it,
# and imports torch before it. Here are the lines:

# %%
for name in ("causal_conv1d_interface.py", "cpp_functions.py"):
    lines = (site / "causal_conv1d" / name).read_text().splitlines()
    for number, line in enumerate(lines[:12], start=1):
        if "import" in line and "functional" not in line:
            print(f"{name}:{number}: {line[:60]}")

# %% [markdown]
# So point 3 is wrong: the "wrapper" has the very dependency that it is said to avoid. Point 2 is wrong too: a Jetson's own
# `ldd` shows the file in `torch/lib` ([colcon-core#639](https://github.com/colcon/colcon-core/issues/639)), and nothing can
# be linked with a library that does not exist. The note itself reports `selective_scan_cuda` as working. On our machine
# with the real files, both ask for the same:
#
# <a id="lab-same-needs"></a>


# %% tags=["lane:gpu", "skip-execution"]
@needs("a GPU", "mamba_ssm", "causal_conv1d")
def what_the_real_files_need():
    for name in ("causal_conv1d_cuda", "selective_scan_cuda"):
        real = read_extension(importlib.util.find_spec(name).origin)
        own = [
            each for each in real.needed if re.match("libc10|libtorch", each)
        ]
        print(f"{name:20s}", *own)


# %% [markdown]
# What cured point 1 was the order of imports, and nobody noticed: the patched program imports torch first, the test did
# not.
#
# ## What stopped the program
# <a id="lab-arguments"></a>
#
# Why did the program fail before the patch, then, with torch in front? **Guess** the kind of error. We run the real
# `Mamba` of 2.2.4. `compare` puts it beside this book's exact layer, with the same weights, forward and backward.

# %% tags=["lab:arguments"]
with expect_error(
    TypeError, match=r"causal_conv1d_fwd\(\) takes 8 arguments, got 7"
):
    compare(lab, site)

# %% [markdown]
# That is the failure that the patch cures. (The real module words it as `incompatible function arguments`, and lists
# types; [chapter 01](01_install.ipynb#lab-contract) shows it.) `mamba_ssm` passes 7 from release 1.2 to 2.2.4;
# `causal_conv1d` takes 8 since 1.5.1. pip has nothing against the pair: for `mamba_ssm`, `causal-conv1d` is an optional
# extra, and even whoever asks for the extra gets "1.2.0 or later".
#
# You can see it without running anything. In the Python sources a parser counts the arguments. In the compiled file the
# names tell them, since the name of a C++ function spells the types that it takes:

# %%
import cxxfilt

name = min(
    name for name in read_extension(compiled).defined() if "conv1d_fwd" in name
)
print(name)
print(cxxfilt.demangle(name).replace(", ", ",\n    "))

# %% [markdown]
# Eight lines, eight arguments. Both sides, forward and backward:

# %%
contract = jetson.read_contract(
    site / "mamba_ssm", site / "causal_conv1d", compiled
)
print("mamba_ssm passes   ", contract.passed)
print("causal_conv1d takes", contract.compiled)
print("verdict            ", contract.verdict)

# %% [markdown]
# ## The note's patch, applied
# <a id="lab-backward"></a>
#
# The note gives line numbers. Let us look for the two words that it looks for, in the file of 2.2.4:
#
# <a id="lab-lines"></a>

# %%
scan_file = site / "mamba_ssm/ops/selective_scan_interface.py"
before = scan_file.read_bytes()
lines = before.decode().splitlines()
for number, line in enumerate(lines, start=1):
    if re.search(r"assert causal_conv1d_cuda|causal_conv1d_[fb]wd\(", line):
        print(number, line.strip()[:56])

# %% [markdown]
# The note says 309 for the assert, 211-213 and 318-321 for the calls. What stands there?

# %%
for number in (309, 211, 212, 213, 318, 319, 320, 321):
    print(number, lines[number - 1].strip()[:56])

# %% [markdown]
# Comments, a bracket, and code that has nothing to do with the convolution: the lines were counted in another file, or
# after an edit. The texts of the note do match, so we can replace by text. Each call of the C++ function becomes one of the
# Python function, whose arguments have names and have not changed:

# %% tags=["lab:backward"]
noted = pair(lab / "noted", "2.2.4", "1.6.0")
compile_into(noted, 8, 12)
file = noted / "mamba_ssm/ops/selective_scan_interface.py"
call = r"causal_conv1d_cuda\.causal_conv1d_fwd\(\s*x, conv1d_weight, conv1d_bias, None, None, None, True"
ours = 'causal_conv1d_fn(x, conv1d_weight, conv1d_bias, activation="silu"'
text, count = re.subn(call, ours, file.read_text())
file.write_text(text)
count

# %% [markdown]
# Two calls. The note names the second "backward pass". **Guess:** will it train?

# %% tags=["lab:backward"]
with expect_error(
    TypeError, match=r"causal_conv1d_bwd\(\) takes 12 arguments, got 10"
) as caught:
    compare(lab, noted)
print("before that:", caught.error.output.splitlines()[0])

# %% [markdown]
# The forward is right. (The layer and its input are in 64 bits here; the scan of `mamba_ssm`'s that stands in for the
# compiled one rounds to 32.) The backward fails. What the note patched there is the forward convolution, which the
# backward pass computes *again* to save memory. The call of `causal_conv1d_bwd`, a few lines below, still passes 10
# arguments where 12 are taken. The note's four checks run forward only, so none of them could see it.
#
# <a id="lab-fallback"></a>
# One more thing about that patch. It tests whether `causal_conv1d_fn` is there, and falls back to `causal_conv1d_cuda`
# if not. When is the first missing and the second not? Here is where the file gets both:

# %%
start = lines.index("try:")
print(*lines[start : start + 6], sep="\n")

# %% [markdown]
# One `try`, so both are there, or both are None. (And the first needs the second, as you saw.) The second way is never
# taken.
#
# ## The right cure first
# <a id="lab-tool"></a>
#
# `workbook patch jetson` asks four questions before it touches anything: the arguments, the machine that the files are
# built for, the order of imports, and `torch.distributed`. In a notebook it is `jetson.check`.

# %%
print(lab.hide(str(jetson.check(site))))

# %% [markdown]
# The first layer is broken, and the advice has an order. A pair that fits comes first: an older `causal-conv1d`, or a
# newer `mamba-ssm`; `workbook plan` prints the commands for the machine. The patch is for the day on which nothing can be
# compiled. Here is the first cure, the pair of that time, and nothing patched. (Any `causal-conv1d` from 1.2.0 to
# 1.5.0.post8 would do. On ARM you compile it from git, since PyPI's archive of it lacks the sources.)

# %%
fitting = pair(lab / "fitting", "2.2.4", "1.5.0.post8")
compile_into(fitting, 7, 10)
print(compare(lab, fitting))

# %% [markdown]
# Forward and backward. Which other pairs fit? We need not trust a table of versions. Here are the sources of four
# releases of each, read by the same function (rows: `mamba-ssm`):

# %%
convs = ["1.4.0", "1.5.0.post8", "1.5.2", "1.6.0"]
print(" " * 12, *(conv.ljust(12) for conv in convs))
for mamba in ("2.2.2", "2.2.4", "2.2.5", "2.3.1"):
    ours = unpacked("mamba-ssm", mamba, lab / "releases") / "mamba_ssm"
    row = []
    for conv in convs:
        folder = unpacked("causal-conv1d", conv, lab / "releases")
        found = jetson.read_contract(ours, folder / "causal_conv1d")
        row.append(found.verdict)
    print(mamba.ljust(12), *(verdict.ljust(12) for verdict in row))

# %% [markdown]
# *too few* is the note's pair: 2.2.4 passes fewer arguments than are taken. *too old* is the reverse, and no patch of
# `mamba_ssm` mends it. From 2.2.5 on `mamba_ssm` goes through Python functions of `causal_conv1d` for all its calls: the
# authors did what the note did, in both directions.
#
# ## The patch, done right
#
# The tool's patch finds the calls by parsing, not by line number. It turns the two forward calls and the backward call of
# each of the two files, and refuses a file whose calls are not those of 2.2.2 and 2.2.4.

# %%
for path in jetson.apply(site / "mamba_ssm"):
    print("patched", path.relative_to(site))
print(compare(lab, site))

# %% [markdown]
# Exact in both directions. This is what it changed, one file of two:

# %%
import difflib

after = scan_file.read_bytes().decode().splitlines()
for line in difflib.unified_diff(lines, after, lineterm="", n=0):
    if line[0] in "+-" and not line.startswith(("+++", "---")):
        print(line)

# %% [markdown]
# And back. *Byte for byte* is meant literally, and you may apply and revert as often as you like, in any order. The two
# files change in one step: a changed copy of the folder that holds them takes its place. Some file systems cannot do that.
# There one file is renamed after the other, an error puts back what was there, and `--check` names the half that a killed
# process leaves.

# %%
jetson.apply(site / "mamba_ssm")
jetson.revert(site / "mamba_ssm")
print(scan_file.read_bytes() == before)

# %% [markdown]
# A file whose calls were edited is refused (a comment more does no harm):
#
# <a id="lab-refused"></a>

# %% tags=["lab:refused"]
edited = pair(lab / "edited", "2.2.4", "1.6.0") / "mamba_ssm"
file = edited / "ops/selective_scan_interface.py"
file.write_text(
    file.read_text().replace("None, None, dx, False", "None, dx, 0")
)
with expect_error(jetson.PatchError, match="line 358 passes 9 arguments"):
    jetson.apply(edited)

# %% [markdown]
# So is the note's own patch, which the tool recognizes. For both, `--check` says how to put the Python file of the release
# back. Installing the package again would take more away than it mends, as the section on ARM files shows.

# %%
print(
    jetson.read_contract(noted / "mamba_ssm", noted / "causal_conv1d").verdict
)

# %% [markdown]
# On a machine with a GPU, the same with the real compiled files: the sources of 2.2.4 beside the `causal_conv1d` that is
# installed there, and nothing stands in for anything.
#
# <a id="lab-real"></a>


# %% tags=["lane:gpu", "skip-execution"]
@needs("a GPU", "mamba_ssm", "causal_conv1d")
def on_the_real_files():
    real = pair(lab / "real", "2.2.4")
    with expect_error(TypeError, match=r"causal_conv1d_fwd\(\): incompatible"):
        compare(lab, real, device="cuda")
    jetson.apply(real / "mamba_ssm")
    for layer in ("Mamba", "Mamba2"):
        print(layer)
        print(compare(lab, real, layer=layer, device="cuda"))


# %% [markdown]
# First the note's error, from the real `causal_conv1d_cuda`: it lists what the file takes, `arg0` to `arg7`. Then, patched, both directions of
# both layers. (Mamba-2 is further off because its kernels round the factors of their products to [TF32](06_mamba2_block.ipynb), with 10 bits
# of fraction where 32-bit numbers have 23.)
#
# ## Four checks that can fail
# <a id="lab-verification"></a>
#
# The note ends with four verifications. Each calls something, and prints PASS if nothing was raised. Here is the first, as
# it stands there: `causal_conv1d_fn(x, weight, None, None, None, None, 'silu')`. **Guess** what the last argument does.

# %%
code = """
    import torch
    import torch.nn.functional as F
    from causal_conv1d import causal_conv1d_fn
    torch.manual_seed(0)
    x, weight = torch.randn(1, 64, 100), torch.randn(64, 4)
    plain = F.conv1d(x, weight[:, None], padding=3, groups=64)[..., :100]
    noted = causal_conv1d_fn(x, weight, None, None, None, None, 'silu')
    named = causal_conv1d_fn(x, weight, activation='silu')
    print("as noted = convolution + SiLU:", torch.allclose(noted, F.silu(plain), atol=1e-5))
    print("as noted = convolution alone :", torch.allclose(noted, plain, atol=1e-5))
    print("by name  = convolution + SiLU:", torch.allclose(named, F.silu(plain), atol=1e-5))
"""
print(run(lab, site, code))

# %% [markdown]
# The seventh argument is `final_states_out`. The word `'silu'` goes there, is ignored, and the activation is left out. The
# check passes, on a function that is not the one of the layer. **A check that compares nothing cannot fail.**
#
# So we compare. First on this machine, with this book's layers, which need no compiled file. `verify(name, layer, x)`
# (behind the click) puts a layer beside a copy of it in 64 bits that takes the scan one step at a time, and prints the
# largest relative difference of the output, and of all gradients.

# %% tags=["setup", "hide-input"]
import copy
from contextlib import contextmanager, nullcontext
from unittest.mock import patch as replaced

import torch

from helpers import models
from helpers.models import SS2D, Mamba, VSSBlock

SEED = 0


def both(layer, x):
    """The output, and all gradients in one vector."""
    x = x.clone().requires_grad_()
    y = layer(x)
    loss = y.double().square().sum()
    grads = torch.autograd.grad(loss, [x, *layer.parameters()])
    return y.detach(), torch.cat([each.flatten() for each in grads])


# %% tags=["setup", "hide-input"]
@contextmanager
def scanning(function):
    """Let the layers of this book scan with this function."""
    with (
        replaced("helpers.models.mamba.selective_scan", function),
        replaced("helpers.models.vmamba.selective_scan", function),
    ):
        yield


def verify(name, layer, x, context=None, scan=models.selective_scan):
    """Print how far a layer is from the exact one, forward and backward."""
    exact = copy.deepcopy(layer).double()
    exact.backend = "torch"
    with scanning(models.selective_scan_recurrence):
        expected = both(exact, x.double())
    with scanning(scan), context or nullcontext():
        found = both(layer, x)
    print(f"{name:22s}", end="")
    ways = "forward", "backward"
    for way, a, b in zip(ways, found, expected, strict=True):
        off = (a.double() - b).abs().max() / b.abs().max()
        print(f" {way} {off.item():.0e}", end="")
    print()


# %%
torch.manual_seed(SEED)
sequence, image = torch.randn(1, 100, 64), torch.randn(1, 8, 8, 64)
block = VSSBlock(64, d_state=8)
verify("Mamba", Mamba(64, d_state=8, backend="torch"), sequence)
verify("SS2D", SS2D(64, d_state=8), image)
verify("VSSBlock", block, image)

# %% [markdown]
# The three are right to the rounding of 32 bits. (`SS2D` and `VSSBlock` here are those of VMamba. The note's classes have
# the same names and belong to another project; the scan in them is the same.) The note adds that they "require `float32`
# due to LayerNorm expectations", and: "use `float()` or autocast for mixed precision". Two claims, and one can be tried:

# %%
verify("float()", block.float(), image)
auto = torch.autocast("cpu", torch.bfloat16)
verify("autocast", block, image, auto)
verify("all in 16 bits", block.bfloat16(), image.bfloat16())

# %% [markdown]
# Ours runs in all three, and in 16 bits precision is lost. The two that the note offers are not two ways to the same.
# `float()` changes nothing here: the block was in 32 bits, and its numbers are those above. Under `autocast` the parameters
# stay in 32 bits, and the matrix products run in 16.
#
# On a GPU, with the official kernels in all four:


# %% tags=["setup", "hide-input"]
def official_scan(x, dt, A, B, C, D=None):
    """`selective_scan` of this book, computed by mamba_ssm's CUDA kernel."""
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    dt, B, C = (each.to(x.dtype) for each in (dt, B, C))  # the kernel asks it
    x, dt = (each.transpose(1, 2).contiguous() for each in (x, dt))
    B, C = (each.permute(0, 2, 3, 1).contiguous() for each in (B, C))
    return selective_scan_fn(x, dt, A, B, C, D).transpose(1, 2)


# %% tags=["lane:gpu", "skip-execution"]
@needs("a GPU", "mamba_ssm", "causal_conv1d")
def four_verifications():
    from causal_conv1d import causal_conv1d_fn

    torch.manual_seed(SEED)
    conv = torch.nn.Conv1d(64, 64, 4, padding=3, groups=64).cuda().double()
    x = torch.randn(1, 64, 100, device="cuda")
    plain = conv(x.double())[..., :100]
    weight, bias = conv.weight[:, 0].float(), conv.bias.float()
    for name, activation, exact in (
        ("causal_conv1d_fn", None, plain),
        ("causal_conv1d_fn, SiLU", "silu", torch.nn.functional.silu(plain)),
    ):
        y = causal_conv1d_fn(x, weight, bias, activation=activation)
        off = ((y.double() - exact).abs().max() / exact.abs().max()).item()
        print(f"{name:22s}", f"forward {off:.0e}")


# %% [markdown]
# <a id="lab-four"></a>


# %% tags=["lane:gpu", "skip-execution"]
@needs("a GPU", "mamba_ssm", "causal_conv1d")
def layers_with_the_official_kernels():
    torch.manual_seed(SEED)
    sequence = torch.randn(1, 100, 64, device="cuda")
    image = torch.randn(1, 8, 8, 64, device="cuda")
    mamba = Mamba(64, d_state=8, backend="mamba_ssm").cuda()
    verify("Mamba", mamba, sequence)
    for block in (SS2D, VSSBlock):
        layer, name = block(64, d_state=8).cuda(), block.__name__
        verify(name, layer, image, scan=official_scan)
        layer.zero_grad()
        auto = torch.autocast("cuda", torch.bfloat16)
        verify(f"{name}, autocast", layer, image, auto, official_scan)


# %% [markdown]
# The rounding of 32 bits in both directions; under autocast, that of bfloat16. The scan takes either format, as long as all that it gets is in
# one (`official_scan` sees to that).
#
# That was the patch. Two sections remain, for whoever installs on a Jetson. Each can be read alone.
#
# ## ARM files, and files that say they are
# <a id="lab-wheel-name"></a>
#
# The note says that `selective_scan_cuda` works, and does not say where it came from. `pip install mamba-ssm` need not
# compile: `setup.py` puts the name of a file together, and where the release page has such a file, downloads it and renames
# it to what pip waits for. The two lines in 2.2.4:

# %%
import tarfile

with tarfile.open(sdist("mamba-ssm", "2.2.4")) as archive:
    member = archive.extractfile("mamba_ssm-2.2.4/setup.py")
    setup = member.read().decode()
for number, line in enumerate(setup.splitlines(), start=1):
    if re.search(r"urlretrieve\(|shutil\.move\(", line):
        print(number, line.strip())

# %% [markdown]
# The name has the machine in it, and up to `mamba-ssm` 2.3.1 `setup.py` does not ask which one it is on. This is its
# function, taken out of the file and run:

# %%
import ast
import sys

wanted = [
    node
    for node in ast.parse(setup).body
    if getattr(node, "name", "") == "get_platform"
]
names = {"sys": sys}
exec(compile(ast.Module(wanted, []), "setup.py", "exec"), names)
print(*re.findall(".*linux.*", ast.unparse(wanted[0])), sep="\n")
names["get_platform"]()

# %% [markdown]
# On a Jetson it gives the same. So pip installs a file for a PC there, without a word, and no import finds what is in it
# ([chapter 02](02_loader.ipynb#lab-no-module)). The note's file works: it was built for ARM by somebody, or on the Jetson.
# There are indexes with files for Jetsons; `env/jetson` names one, to look at before an hour of compiling. What a name
# says:
#
# | piece of `mamba_ssm-2.3.1+cu12torch2.7cxx11abiTRUE-cp310-cp310-linux_aarch64.whl` | for whom |
# |---|---|
# | `2.3.1` | the release |
# | `cu12` `torch2.7` `cxx11abiTRUE` | CUDA, torch, and its kind of `std::string`; **pip compares none of them** |
# | `cp310` `cp310` | Python 3.10, which JetPack 6 has |
# | `linux_aarch64` | 64-bit ARM. A server's ARM wheel may hold no code for a Jetson's GPU (`sm_87`) |
#
# [`env/jetson`](https://github.com/clarity-digital-twin/bimamba-eeg-workbook/tree/main/env/jetson) has pins for JetPack 6,
# that index, and the commands that compile both packages there.
#
# ## A torch that cannot be distributed
# <a id="lab-distributed"></a>
#
# The note's last point: a `sitecustomize.py` "is still needed". Some torches for Jetson are built without
# `torch.distributed`. `mamba_ssm` asks for names in it on one machine as on many. We take out of torch what such a build
# lacks, before anything sees it (behind the click), and import:

# %% tags=["setup", "hide-input"]
WITHOUT = """
    import sys
    class Without:
        def find_spec(self, name, path=None, target=None):
            if name == "torch.distributed":
                import torch._C as compiled
                gone = ("_rpc_init", "_faulty_agent_init")
                for each in dir(compiled):
                    if "c10d" in each or each in gone or each.startswith("_distributed"):
                        delattr(compiled, each)
    sys.meta_path.insert(0, Without())
    import torch.distributed as distributed
    import mamba_ssm_distributed.distributed_utils
    print("imported; distributed is available:", distributed.is_available())
"""
distributed = pair(lab / "distributed", "2.2.4")
# One folder of mamba_ssm, without the rest, under a name of its own
part = distributed / "mamba_ssm/distributed"
part = part.rename(distributed / "mamba_ssm_distributed")

# %% tags=["lab:distributed"]
with expect_error(
    AttributeError,
    match="module 'torch.distributed' has no attribute '_all_gather_base'",
):
    lab.python(WITHOUT, folder=distributed)

# %% [markdown]
# Older torches stop a line earlier, at `cannot import name 'ProcessGroup'` ([chapter
# 01](01_install.ipynb#lab-no-distributed)). Python runs a file called `sitecustomize.py` when it starts. Ours (behind the
# click; the same as `env/jetson/sitecustomize.py`) waits until `torch.distributed` is imported, and fills in what is
# missing. The stand-ins do nothing but raise: if a program really wants to speak to other processes, it is told so.

# %% tags=["setup", "hide-input"]
STAND_INS = '''\
import sys
from importlib.machinery import PathFinder

NAMES = ("all_gather_into_tensor", "reduce_scatter_tensor")


def missing(*_, **__):
    raise RuntimeError(
        "this torch was built without distributed, and one process was asked to "
        "speak to others. Run it in one process, or install a torch that has it."
    )


class Fill:
    """Fills the names in as soon as torch.distributed was imported."""

    def find_spec(self, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path) if name == "torch.distributed" else None
        if spec is not None:
            execute = spec.loader.exec_module

            def and_fill(module):
                execute(module)
                if not module.is_available():
                    if not hasattr(module, "ProcessGroup"):
                        module.ProcessGroup = type("ProcessGroup", (), {})
                    for each in NAMES:
                        if not hasattr(module, each):
                            setattr(module, each, missing)

            spec.loader.exec_module = and_fill
        return spec


sys.meta_path.insert(0, Fill())
'''
stand_ins = lab.write("stand_ins/sitecustomize.py", STAND_INS).parent

# %% tags=["lab:distributed"]
path = {"PYTHONPATH": stand_ins}
print(lab.python(WITHOUT, folder=distributed, env=path))

# %% [markdown]
# ## What can go wrong here
#
# - **The patch is applied, and the error is the same.** Another `mamba_ssm` is imported than the one that was patched:
#   `python -c "import pathlib, mamba_ssm; print(pathlib.Path(mamba_ssm.__file__).parents[1])"` prints the folder that
#   contains yours, for `--site`.
# - **An upgrade takes the patch away.** pip writes new files. Run `workbook patch jetson` again; with 2.2.5 or later there
#   is nothing to patch.
# - **`too old`, `None`, `cpp_functions`.** The other direction of the contract. The patch does not mend it, `workbook plan`
#   does.
# - **It runs and is slow.** Then the fast path is off, not patched: `mamba_ssm` falls back where `causal_conv1d` cannot be
#   imported. `workbook doctor` shows the error that was swallowed.
# - **A fork.** Vim and others ship a changed `mamba_ssm`. Its calls are others, and the tool refuses it.
#
# ## Exercises

# %% [markdown]
# **04.1** Write `count_arguments(source, function)`: for each call `something.function(...)` in a Python source, the number
# of arguments it passes, as a list. Use `ast`: a call is an `ast.Call`, whose `func` is an `ast.Attribute` with the name
# in `attr`; arguments are in `args` and `keywords`.

# %%
from helpers.teaching import check, solution


def count_arguments(source, function): ...


check("04.1", count_arguments)

# %% tags=["remove-input"]
solution("04.1")

# %% [markdown]
# **04.2** Write `imports_here(name, python, machine)`: is a wheel of this name for this Python (`"cp310"`) and this machine
# (`"aarch64"`)? The last three parts, between hyphens, are Python, ABI and platform. `py3` fits every Python, `any` every
# machine; `py2.py3` means either. The ABI may be left aside.


# %%
def imports_here(name, python, machine): ...


check("04.2", imports_here)

# %% tags=["remove-input"]
solution("04.2")

# %% [markdown]
# **04.3** Write `write_all(files, changes, write)`: all changes or none. `files` and `changes` are dictionaries from names
# to contents. `write(name, content)` changes one file, and `files` with it, or raises `OSError` and changes nothing. If it
# does, write back what was there, and let the error go on.


# %%
def write_all(files, changes, write): ...


check("04.3", write_all)

# %% tags=["remove-input"]
solution("04.3")

# %% [markdown]
# ## Recap
#
# - Two errors, one cure. `libc10.so: cannot open` was the order of imports. What stopped the program was a call with 7
#   arguments to a function that takes 8.
# - The Python function hides the change, so the note's patch mends the forward. The backward was left with 10 arguments
#   where 12 are taken: it fails at the first training step.
# - The right cure is a pair that fits. The patch is the second best, and should know what it patches, change all or
#   nothing, and lead back.
# - Line numbers are no address. Text is better, a parsed call is best.
# - A check that compares nothing passes on the wrong function too.
#
# ## What next
#
# Next is part II: [what a state space model computes](05_ssm_to_ssd.ipynb). If you came here with an error of your own, the
# [troubleshooting tree](../book/troubleshooting.md) has the others, and `workbook explain` reads your log.
