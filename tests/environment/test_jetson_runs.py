"""The patched sources compute what they should, forward and backward; a pair that does not fit fails at once.

The real mamba_ssm runs on a CPU, around stand-ins in plain torch for what is compiled, and is compared with this
book's exact layers. Each run is a process of its own.
"""

import re

import pytest

pytest.importorskip("torch", reason="the stand-ins are written in torch")
pytest.importorskip("helpers.teaching.jetson_lab", reason="needs the extra `workbook`")

from helpers.environment import ArtifactError, Lab, wheelhouse
from helpers.environment.jetson import apply
from helpers.teaching.jetson_lab import compare, pair

OLD, NEW = (7, 10), (8, 12)
TOLERANCE = 1e-6  # float32: the scan of mamba_ssm's reference, the weight's gradient of causal_conv1d from 1.5.1 on


@pytest.fixture(scope="module")
def lab():
    try:
        wheelhouse()
    except ArtifactError as fault:
        pytest.skip(str(fault))
    with Lab() as lab:
        yield lab


def differences(said):
    return {name: float(value) for name, value in re.findall(r"^(\w+) +(\S+) off$", said, re.MULTILINE)}


@pytest.mark.parametrize(
    ("mamba", "conv", "takes", "with_patch"),
    [
        ("2.2.4", "1.5.0.post8", OLD, False),
        ("2.2.4", "1.6.0", NEW, True),
        ("2.2.2", "1.7.0", NEW, True),
        ("2.2.4", "1.5.0.post8", OLD, True),  # the patch harms no pair that fits
    ],
)
def test_a_pair_that_fits_and_a_patched_one_are_exact(lab, mamba, conv, takes, with_patch):
    folder = pair(lab / "site", mamba, conv, takes)
    if with_patch:
        assert len(apply(folder / "mamba_ssm")) == 2
    found = differences(compare(lab, folder, seed=3))
    assert list(found) == ["forward", "backward"]
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize(("mamba", "conv", "takes"), [("2.2.2", "1.5.2", NEW), ("2.2.4", "1.4.0", NEW)])
def test_a_pair_that_does_not_fit_fails(lab, mamba, conv, takes):
    folder = pair(lab / "site", mamba, conv, takes)
    with pytest.raises(TypeError, match=r"causal_conv1d_fwd\(\) takes 8 arguments, got 7"):
        compare(lab, folder)


MAMBA2 = """
import sys, types
import torch
import triton_stand_in
standing_in = {"triton": triton_stand_in, "triton.language": triton_stand_in}
sys.modules.update(standing_in)
package = sys.modules["mamba_ssm"] = types.ModuleType("mamba_ssm")
package.__path__ = ["mamba_ssm"]
import mamba_ssm.ops.triton.ssd_combined as ssd
for name in standing_in:
    del sys.modules[name]
from torch.nn import functional as F
from helpers.models import ssd_recurrence

def scan(x, dt, A, B, C, D, z, dt_bias):
    y = ssd_recurrence(x, F.softplus(dt + dt_bias), A, B, C, D=D)
    return y * F.silu(z)

def scan_forward(x, dt, A, B, C, chunk_size, D, z, dt_bias, **rest):
    y = scan(x, dt, A, B, C, D, z, dt_bias)
    return y, x, None, None, None, None

def scan_backward(dout, x, dt, A, B, C, out, chunk_size, D, z, dt_bias, dx, ddt, dB, dC, dz, **rest):
    with torch.enable_grad():
        leaves = [t.detach().requires_grad_() for t in (x, dt, A, B, C, D, z, dt_bias)]
        found = torch.autograd.grad(scan(*leaves), leaves, dout)
    for target, value in zip((dx, ddt, dB, dC, dz), (found[0], found[1], found[3], found[4], found[6])):
        target.copy_(value)
    return dx, ddt, found[2], dB, dC, found[5], dz, found[7], None

ssd._mamba_chunk_scan_combined_fwd, ssd._mamba_chunk_scan_combined_bwd = scan_forward, scan_backward
torch.manual_seed(1)
heads, headdim, state, width = 3, 8, 4, 4
dim = heads * headdim
channels = dim + 2 * state
draw = lambda *shape: torch.randn(*shape, dtype=torch.float64).requires_grad_()
shapes = [(2, 9, 2 * dim + 2 * state + heads), (channels, width), (channels,), (heads,), (heads,), (heads,)]
inputs = [draw(*shape) for shape in shapes]

def by_hand(given, weight, bias, dt_bias, A, D):
    z, x, dt = given.split([dim, channels, heads], dim=-1)
    x = F.silu(F.conv1d(x.transpose(1, 2), weight[:, None], bias, padding=width - 1, groups=channels)[..., :9])
    x, B, C = x.transpose(1, 2).split([dim, state, state], dim=-1)
    parts = (t.unflatten(-1, (-1, size)) for t, size in ((x, headdim), (B, state), (C, state), (z, headdim)))
    x, B, C, z = parts
    return scan(x, dt, -A.exp(), B, C, D, z, dt_bias).flatten(2)

def real(given, weight, bias, dt_bias, A, D):
    return ssd.mamba_split_conv1d_scan_combined(
        given, weight, bias, dt_bias, -A.exp(), D, chunk_size=4, headdim=headdim, activation="silu"
    )

for name, function in (("real", real), ("by_hand", by_hand)):
    y = function(*inputs)
    globals()[name] = [y, *torch.autograd.grad(y.square().sum(), inputs)]
for name, found, expected in zip(("output", "input", "weight", "bias", "dt_bias", "A", "D"), real, by_hand):
    print(name, float((found - expected).abs().max() / expected.abs().max()), "off")
"""


@pytest.mark.parametrize(("takes", "conv", "with_patch"), [(OLD, "1.4.0", False), (NEW, "1.6.0", True)])
def test_mamba2s_convolution_gets_its_gradients(lab, takes, conv, with_patch):
    """The scan between the two convolutions is a stand-in, since its Triton kernels need a GPU."""
    folder = pair(lab / "site", "2.2.4", conv, takes)
    if with_patch:
        apply(folder / "mamba_ssm")
    found = differences(lab.python(MAMBA2, folder=folder))
    assert list(found) == ["output", "input", "weight", "bias", "dt_bias", "A", "D"]
    assert max(found.values()) < TOLERANCE, found
