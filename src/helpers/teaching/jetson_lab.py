"""A machine for chapter 04: the real Python sources of two releases, around stand-ins for what is compiled.

`pair` puts mamba_ssm and causal_conv1d, as they are on PyPI, into one folder. The stand-ins are plain torch, and slow:
a convolution and a selective scan that compute what the CUDA kernels compute, forward and backward, and a `triton`
that can be imported and does nothing. They prove which call reaches which function with which arguments; they are no
measure of speed, and no proof about a GPU.
"""

import shutil
import textwrap
import zipfile
from pathlib import Path

from helpers.environment import unpacked, wheelhouse

__all__ = ["compare", "pair", "run"]

_SECONDS = 600.0  # Triton tries its kernels out when it first runs

KERNELS = '''
"""Stand-ins: what the compiled functions compute, in plain torch. The number of arguments tells which release asks."""
import torch
import torch.nn.functional as F

def convolve(x, weight, bias, silu):
    y = F.conv1d(x, weight[:, None], bias, padding=weight.shape[1] - 1, groups=len(weight))[..., : x.shape[-1]]
    return F.silu(y) if silu else y

def convolve_backward(x, weight, bias, dout, silu):
    width = weight.shape[1]
    if silu:
        before = convolve(x, weight, bias, False)
        gate = torch.sigmoid(before)
        dout = dout * gate * (1 + before * (1 - gate))
    past = F.pad(x, (width - 1, 0)).unfold(-1, width, 1)        # (batch, channels, length, width)
    future = F.pad(dout, (0, width - 1)).unfold(-1, width, 1)
    dx = torch.einsum("bdlw,dw->bdl", future, weight.flip(1))
    return dx, torch.einsum("bdl,bdlw->dw", dout, past), dout.sum((0, 2))

def causal_conv1d_fwd(x, weight, bias, seq_idx, initial_states, *rest):
    y = convolve(x, weight, bias, rest[-1])
    if len(rest) == 2:      # 7 arguments: the result is returned
        return y
    rest[0].copy_(y)        # 8 arguments: the result goes where the caller says

def causal_conv1d_bwd(x, weight, bias, dout, seq_idx, initial_states, dfinal_states, *rest):
    found = convolve_backward(x, weight, bias, dout, rest[-1])
    if len(rest) == 3:      # 10 arguments: dx, return_dinitial_states, silu
        dx = torch.empty_like(x) if rest[0] is None else rest[0]
        return dx.copy_(found[0]), found[1], found[2], None
    for target, value in zip(rest[:3], found):  # 12 arguments: dx, dweight, dbias, dinitial_states, silu
        if target is not None:
            target.copy_(value)

def scan(u, delta, A, B, C, D, z, delta_bias, softplus):
    from mamba_ssm.ops.selective_scan_interface import selective_scan_ref
    return selective_scan_ref(u, delta, A, B, C, D, z, delta_bias, softplus)

def fwd(u, delta, A, B, C, D, z, delta_bias, softplus):
    out = scan(u, delta, A, B, C, D, None, delta_bias, softplus)
    return (out, u) if z is None else (out, u, out * F.silu(z))

def bwd(u, delta, A, B, C, D, z, delta_bias, dout, x, out, dz, softplus, recompute):
    with torch.enable_grad():
        leaves = [t.detach().requires_grad_() for t in (u, delta, A, B, C, D, delta_bias, z)]
        # of a scalar: with dout as an argument, torch would first import a package of symbolic algebra
        found = torch.autograd.grad((scan(*leaves[:6], leaves[7], leaves[6], softplus) * dout).sum(), leaves)
    return *found[:7], dz.copy_(found[7]), out * F.silu(z)
'''
STRICT = """
import kernels
def causal_conv1d_fwd(*given):
    if len(given) != {forward}:
        raise TypeError(f"causal_conv1d_fwd() takes {forward} arguments, got {{len(given)}}")
    return kernels.causal_conv1d_fwd(*given)
def causal_conv1d_bwd(*given):
    if len(given) != {backward}:
        raise TypeError(f"causal_conv1d_bwd() takes {backward} arguments, got {{len(given)}}")
    return kernels.causal_conv1d_bwd(*given)
"""
TRITON = """
class Anything:
    def __getattr__(self, name): return Anything()
    def __call__(self, *given, **options): return Anything()
    def __iter__(self): return iter([Anything()])
    def __getitem__(self, name): return 1
    def __le__(self, other): return True
__version__ = "3.6.0"
def __getattr__(name):
    if name.startswith("__"): raise AttributeError(name)
    return Anything()
"""
PLAIN = """
import sys, types, torch  # its compiler is not used here, and takes longer to import than all the rest
torch._dynamo = sys.modules["torch._dynamo"] = types.SimpleNamespace(disable=lambda function, *_, **__: function)
"""
LAYER = """
import importlib, sys, types, warnings
warnings.simplefilter("ignore")
import torch
standing_in = ["triton", "triton.language"] if DEVICE == "cpu" else []
for name in standing_in:
    sys.modules[name] = importlib.import_module("triton_stand_in")
if DEVICE == "cuda":  # one shape of each kernel: trying all takes minutes, and changes rounding alone
    import triton
    tune = triton.autotune
    triton.autotune = lambda configs, **options: tune(configs[-1:], **options)
package = sys.modules["mamba_ssm"] = types.ModuleType("mamba_ssm")
package.__path__ = ["mamba_ssm"]  # its own __init__ would import language models
file = {"Mamba": "mamba_simple", "Mamba2": "mamba2"}[NAME]
module = importlib.import_module(f"mamba_ssm.modules.{file}")
for name in standing_in:
    del sys.modules[name]  # torch would take it for a real one
from helpers import models
torch.manual_seed(SEED)
size, dtype = (24, torch.float64) if DEVICE == "cpu" else (512, torch.float32)
layer = getattr(module, NAME)(size).to(DEVICE, dtype)
x = torch.randn(2, 11 if DEVICE == "cpu" else 100, size, device=DEVICE, dtype=dtype)
exact = getattr(models, NAME)(size, backend="torch").to(DEVICE).double()
exact.load_state_dict(layer.state_dict())

def off(found, expected):
    return f"{((found - expected).abs().max() / expected.abs().max()).item():.0e} off"

def run(layer, x):
    given = x.clone().requires_grad_()
    y = layer(given)
    yield y
    y.square().sum().backward()
    yield torch.cat([given.grad.flatten(), *(p.grad.flatten() for _, p in sorted(layer.named_parameters()))])

for name, found, expected in zip(("forward", "backward"), run(layer, x), run(exact, x.double())):
    print(f"{name:9s}", off(found.detach(), expected.detach()))
"""


def pair(folder, mamba, causal_conv1d=None, arguments=None):
    """Put two releases and the stand-ins into a folder, as a site-packages has them.

    Parameters
    ----------
    folder : Path
        Made; what was there is removed.
    mamba, causal_conv1d : str
        Releases of mamba-ssm and causal-conv1d; their sources are fetched once, by hash. Without the second, only the
        sources of mamba-ssm are put there, to run with what is installed.
    arguments : (int, int), optional
        A `causal_conv1d_cuda` in Python that takes so many, forward and backward. When left out there is none, and you
        compile one.

    Returns
    -------
    Path
        The folder.
    """
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, version in (("mamba_ssm", mamba), ("causal_conv1d", causal_conv1d)):
        if version:
            root = unpacked(name, version, folder / "sources")
            shutil.copytree(root / name, folder / name)
    shutil.rmtree(folder / "sources")
    if causal_conv1d is None:
        return folder
    with zipfile.ZipFile(next(wheelhouse().glob("einops-*.whl"))) as wheel:  # which both packages import
        wheel.extractall(folder)
    (folder / "kernels.py").write_text(KERNELS)
    (folder / "selective_scan_cuda.py").write_text("from kernels import bwd, fwd\n")
    (folder / "triton_stand_in.py").write_text(TRITON)
    (folder / "huggingface_hub.py").write_text("class PyTorchModelHubMixin:\n    pass\n")
    if arguments:
        forward, backward = arguments
        (folder / "causal_conv1d_cuda.py").write_text(STRICT.format(forward=forward, backward=backward))
    return folder


def compare(lab, folder, layer="Mamba", device="cpu", seed=0):
    """Run a layer of the pair in a fresh process, forward and backward, beside this book's exact one with its weights.

    Parameters
    ----------
    lab : Lab
    folder : Path
        What `pair` returned, in the lab.
    layer : {"Mamba", "Mamba2"}
        The second needs Triton, and so a GPU.
    device : {"cpu", "cuda"}
        On a CPU in float64, 24 channels and 11 steps; on a GPU in float32, 512 channels and 100 steps. The exact layer
        computes in float64.
    seed : int

    Returns
    -------
    str
        Two lines, forward and backward: the largest difference, of all gradients for the second, relative to the
        largest exact value.

    Raises
    ------
    Exception
        What the layer raised. Its `output` holds what was printed before, and the traceback.
    """
    code = f"NAME, DEVICE, SEED = {layer!r}, {device!r}, {seed}\n{LAYER}"
    if device == "cpu":
        return run(lab, folder, code)
    return lab.python(code, folder=folder, timeout=_SECONDS)


def run(lab, folder, code):
    """Run code in a fresh process beside the pair, on a CPU: `lab.python`, with torch imported but not its compiler.

    Parameters
    ----------
    lab, folder
        As for `compare`.
    code : str

    Returns
    -------
    str
        What it printed.
    """
    return lab.python(PLAIN + textwrap.dedent(code), folder=folder, timeout=_SECONDS)
