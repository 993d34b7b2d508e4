"""What of mamba_ssm can be used here, or what stands in the way: one answer for `Mamba` and `Mamba2`.

It finds mamba_ssm's fused kernels and names the obstacle where they cannot compute an input. It computes nothing, and
it never decides by itself to go another way: a backend asked for by name is that backend or an error.
"""

import warnings
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec

import torch

__all__ = ["BACKENDS", "backend_in_force", "input_obstacle", "official_module"]

BACKENDS = ("auto", "torch", "mamba_ssm")


def backend_in_force(backend, obstacle):
    """Which backend computes: "torch" or "mamba_ssm".

    Parameters
    ----------
    backend : {"auto", "torch", "mamba_ssm"}
        What was asked for.
    obstacle : callable
        Returns what stands in mamba_ssm's way and what to do about it, or None. Not called for "torch".

    Raises
    ------
    RuntimeError
        If `backend` is "mamba_ssm" and there is an obstacle.
    """
    found = "the torch backend was asked for" if backend == "torch" else obstacle()
    if found and backend == "mamba_ssm":
        raise RuntimeError(f"backend 'mamba_ssm': {found}, or take backend='torch', which is the same function")
    return "torch" if found else "mamba_ssm"


def input_obstacle(u, d_conv):
    """What keeps the kernels from an input `u` and a convolution of width `d_conv`, or None.

    Notes
    -----
    Source: Dao-AILab/causal-conv1d, ``csrc/causal_conv1d.cpp``, v1.7.0.
    """
    if u.device.type != "cuda":
        return f"the input is on {u.device.type}, expected cuda. Move input and module to a GPU"
    if u.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return f"the input is {u.dtype}, expected float32, float16 or bfloat16. Convert input and module"
    if not 2 <= d_conv <= 4:
        return (
            f"d_conv is {d_conv}, expected 2 to 4, the widths that causal_conv1d has kernels for. "
            "Build the block with such a d_conv"
        )
    return None


@lru_cache
def official_module(name):
    """One of mamba_ssm's modules of kernels and None, or None and what stands in its way.

    Parameters
    ----------
    name : {"selective_scan_interface", "triton.ssd_combined"}
        Where in ``mamba_ssm.ops`` it is: the first has Mamba's fused block, the second Mamba-2's.

    Warns
    -----
    UserWarning
        If mamba_ssm is installed but unusable, with its error.
    """
    try:
        for package in ("mamba_ssm", "causal_conv1d"):
            if find_spec(package) is None:
                return None, f"{package} is not installed. Install it as `workbook plan` says"
        module = import_module(f"mamba_ssm.ops.{name}")
        if module.causal_conv1d_fn is None:  # mamba_ssm drops the error that it got
            raise ImportError("it cannot use the causal_conv1d that is installed")
        if name == "selective_scan_interface" and not hasattr(module.selective_scan_cuda, "fwd"):
            raise ImportError("it was built without its CUDA kernels")
    except Exception as error:  # a broken extension can raise anything
        found = f"mamba_ssm is installed but unusable ({type(error).__name__}: {error})"
        warnings.warn(f"{found}; backend='auto' computes in torch. See `workbook doctor`.", stacklevel=2)
        return None, f"{found}. See `workbook doctor`"
    return module, None
