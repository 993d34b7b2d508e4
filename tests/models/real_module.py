"""mamba_ssm's own modules, run from their source on a CPU: what a test of a block compares with.

A test gives `answers_of` a program, which a Python of its own runs: it calls `place_stand_ins`, imports the module from
the source and saves what that gives. The compiled and the Triton parts are replaced by what the same source gives as
their reference. The program names those, because they are other ones for each module.
"""

import importlib.machinery
import importlib.util
import os
import sys

import pytest
import torch
import torch.nn.functional as F
from drawn import by_name, randomized
from on_gpu import OnGPU

from helpers.environment import Lab
from helpers.environment.artifacts import ArtifactError, unpacked, wheelhouse

FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}  # rounding only, values of order 1

MARKS = ("_no_weight_decay", "_no_reinit")


def answers_of(program, kind, every_options):
    """Run the program beside blocks of `kind`, one for each of the options; returns its cases, or skips the test."""
    with Lab() as lab:
        try:
            source = unpacked("mamba-ssm", "2.3.2.post1", lab.folder)
            (einops,) = wheelhouse().glob("einops-*.whl")
        except ArtifactError as fault:
            pytest.skip(str(fault))
        torch.save(every_options, lab / "options.pt")
        for number, options in enumerate(every_options):
            torch.save(with_unequal_values(kind, options).state_dict(), lab / f"ours{number}.pt")
        lab.write("real.py", program)
        path = [einops, *sys.path]  # a wheel is a zip file, and imports; behind it this folder
        lab.run(sys.executable, "real.py", source, env={"PYTHONPATH": os.pathsep.join(map(str, path))})
        return torch.load(lab / "cases.pt")


def with_unequal_values(kind, options):
    """Our block in float32, whose values the real module gets too."""
    torch.manual_seed(100 + options["d_model"])
    return randomized(kind(**options), 5).float()


def marked(block):
    """Which of its parameters carry each mark that an optimizer or an initialization reads."""
    return {mark: {name for name, value in block.named_parameters() if hasattr(value, mark)} for mark in MARKS}


def assert_answers(block, u, expected):
    """The block gives what `answers` has of the other one: in float32, gradients as shares of their largest value."""
    u = u.detach().requires_grad_()
    y = block(u)
    torch.testing.assert_close(y, expected["y"], **FLOAT32)
    for name, found in by_name(block, u, y).items():
        scale = expected["gradients"][name].abs().max()
        torch.testing.assert_close(found / scale, expected["gradients"][name] / scale, **FLOAT32)


def place_stand_ins(source):
    """In a program: make mamba_ssm importable from the folder `source`, and stand-ins of what it would compile."""

    def conv(x, weight, bias, activation):
        assert activation == "silu"
        padded = F.pad(x, (weight.shape[1] - 1, 0))
        return F.silu(F.conv1d(padded, weight[:, None], bias, groups=weight.shape[0]))

    place("mamba_ssm").__path__ = [source + "/mamba_ssm"]  # without its __init__, which imports everything
    place("mamba_ssm.ops.triton.layer_norm", _layer_norm_fwd=None)
    place("mamba_ssm.ops.triton.selective_state_update", selective_state_update=None)
    place("selective_scan_cuda", fwd=None)
    place("causal_conv1d", causal_conv1d_fn=conv, causal_conv1d_update=None)
    names = ("causal_conv1d_fwd_function", "causal_conv1d_bwd_function", "causal_conv1d_update_function")
    place("causal_conv1d.cpp_functions", **dict.fromkeys(names))


def place(name, **content):
    """In a program: an empty module of this name and content, as if it were installed."""
    made = importlib.util.module_from_spec(importlib.machinery.ModuleSpec(name, None, is_package=True))
    made.__dict__.update(content)
    sys.modules[name] = made
    return made


def first_answers(kind, options, number):
    """In a program: the real module with the values of our block, and the case with its own initial ones."""
    torch.manual_seed(options["d_model"])
    real = kind(**options)
    case = {"initial": {name: value.clone() for name, value in real.state_dict().items()}, "marked": marked(real)}
    real.load_state_dict(torch.load(f"ours{number}.pt"), strict=True)
    return real, case


def answers(block, u, y):
    """In a program: what is kept of an output."""
    return {"y": y, "gradients": by_name(block, u, y)}


def kernel_answers(block, u):
    """In a program: of our call of the fused function, which the program has replaced by its reference."""
    posing = u.as_subclass(OnGPU)
    assert block.backend_for(posing) == "mamba_ssm"
    return answers(block, u, block(posing))
