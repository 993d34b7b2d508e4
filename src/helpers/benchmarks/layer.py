"""Times of one Mamba-2 layer's training step on this machine's CPU, beside its projections alone and its peer.

The peer is the torch path of transformers' Mamba2, with the same weights. Forward and backward in float32. Every ratio
is one of pairs that ran right after each other, so that what else the machine does meanwhile touches both.
"""

import resource
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from helpers.benchmarks.measurement import summary
from helpers.environment import keep_freed_memory
from helpers.models import Mamba2

__all__ = ["measure_layer", "missing_peer"]

_SHAPES = {16: 32, 128: 64}  # d_state, and the chunk size that is the fastest with it
_DEFAULT, _OTHERS = 256, (32, 64, 128)  # chunk sizes of the peer


def measure_layer(repeats=15, long=15_360):
    """Measure the layer at d_model 512.

    Parameters
    ----------
    repeats : int
        Pairs of each ratio with the projections, after one that is not counted; a third as many with the peer.
    long : int
        Length of the long sequence, in steps.

    Returns
    -------
    list of Measurement
        With the peer only where transformers is installed; `missing_peer` says so.
    """
    keep_freed_memory()
    few, results = max(1, repeats // 3), []
    for d_state, chunk_size in _SHAPES.items():
        block, u = _block(d_state, chunk_size), torch.randn(4, 960, 512)
        what = f"Mamba-2 layer, forward and backward, batch 4 x 960, d_state {d_state}"
        results += _beside_projections(what, block, u, repeats)
        if missing_peer() is None:
            results += _beside_peer(block, u, few)
    block, u = _block(16, _SHAPES[16]), torch.randn(1, long, 512)
    results += _beside_projections(f"Mamba-2 layer, forward and backward, 1 x {long}, d_state 16", block, u, few)
    if missing_peer() is None:
        results += _beside_peer(block, u, few)
    return results + _memory(long)


def missing_peer():
    """One line that says what is missing to measure the peer, None where nothing is."""
    if find_spec("transformers") is None:
        return "transformers is not installed, so its Mamba-2 was left out: pip install 'bimamba-eeg-workbook[bench]'"
    return None


def _block(d_state, chunk_size):
    torch.manual_seed(0)
    return Mamba2(512, d_state=d_state, chunk_size=chunk_size, backend="torch")


def _peer(block, chunk_size):
    from transformers import Mamba2Config
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer
    from transformers.utils import logging

    logging.set_verbosity_error()  # it says with each model that it takes the torch path: that is what is wanted
    config = Mamba2Config(
        hidden_size=block.d_model,
        num_heads=block.nheads,
        head_dim=block.headdim,
        state_size=block.d_state,
        n_groups=block.ngroups,
        conv_kernel=block.d_conv,
        expand=block.expand,
        chunk_size=chunk_size,
        num_hidden_layers=1,
    )
    peer = Mamba2Mixer(config, layer_idx=0)
    peer.load_state_dict(block.state_dict(), strict=True)
    u = torch.randn(2, 100, block.d_model)
    torch.testing.assert_close(peer(u), block(u), rtol=1e-3, atol=1e-4)  # what is compared computes the same
    return peer


def _beside_projections(what, block, u, repeats):
    """The layer, its projections as torch's own Linear computes them, and as the layer does."""
    plain = [nn.Linear(layer.in_features, layer.out_features, bias=False) for layer in (block.in_proj, block.out_proj)]
    by_torch, by_us = _projections(plain, u), _projections([block.in_proj, block.out_proj], u)
    ours, torchs, own = _in_turns(repeats, _step(block, u), by_torch, by_us)
    return [
        summary(what, [t * 1e3 for t in ours], "ms"),
        summary("  its two projections alone, torch's Linear", [t * 1e3 for t in torchs], "ms"),
        summary("    the layer by them", _ratios(ours, torchs), "x"),
        summary("  its two projections alone, as the layer computes them", [t * 1e3 for t in own], "ms"),
        summary("    the layer by them", _ratios(ours, own), "x"),
    ]


def _beside_peer(block, u, repeats):
    peers = {size: _step(_peer(block, size), u) for size in (_DEFAULT, *_OTHERS)}
    once = {size: _seconds(step) for size, step in peers.items() if size != _DEFAULT}
    best = min(once, key=once.get)
    results = []
    for size, which in ((_DEFAULT, "its default"), (best, f"the best of {', '.join(map(str, _OTHERS))}")):
        theirs, ours = _in_turns(repeats, peers[size], _step(block, u))
        name = f"  transformers' torch path, chunks of {size} ({which})"
        results += [
            summary(name, [t * 1e3 for t in theirs], "ms"),
            summary("    times slower than the layer", _ratios(theirs, ours), "x"),
        ]
    return results


def _step(block, u):
    """A training step without the optimizer: forward, backward to the input and every parameter."""
    u = u.clone().requires_grad_()
    weight = torch.randn(u.shape)
    inputs = [u, *block.parameters()]
    return lambda: torch.autograd.grad(block(u), inputs, weight)


def _projections(layers, u):
    """The same of in_proj and out_proj alone, from inputs that are there already."""
    y = torch.randn(*u.shape[:2], layers[1].in_features, requires_grad=True)
    pairs = list(zip(layers, (u.clone().requires_grad_(), y), strict=True))
    weights = [torch.randn(*u.shape[:2], layer.out_features) for layer, _ in pairs]

    def step():
        for (layer, x), weight in zip(pairs, weights, strict=True):
            torch.autograd.grad(layer(x), [x, layer.weight], weight)

    return step


def _in_turns(repeats, *functions):
    """Seconds of each of `functions`, taken in turns."""
    seconds = [[_seconds(function) for function in functions] for _ in range(repeats + 1)]
    return zip(*seconds[1:], strict=True)


def _seconds(step):
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def _ratios(first, second):
    return [a / b for a, b in zip(first, second, strict=True)]


def _memory(length):
    """Peak memory of one training step at `length`, each in a process of its own that has nothing else."""
    names = {"ours": f"peak memory of a training step, 1 x {length}, d_state 16, beyond the process before"}
    if missing_peer() is None:
        names["peer"] = f"  transformers' torch path, chunks of {_OTHERS[0]}"
    results = []
    for which, name in names.items():
        command = [sys.executable, "-c", f"from helpers.benchmarks import layer; layer._peak('{which}', {length})"]
        found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        results.append(summary(name, [float(found)], "MB"))
    return results


def _peak(which, length):
    """Run in a process of its own: print by how many MB the peak of its memory grew."""
    block = _block(16, _SHAPES[16])
    layer = block if which == "ours" else _peer(block, _OTHERS[0])
    torch.autograd.grad(layer(torch.randn(1, 64, 512)).sum(), list(layer.parameters()))  # loads what is loaded late
    u = torch.randn(1, length, 512, requires_grad=True)
    before = _peak_memory(anew=True)
    layer(u).sum().backward()
    print((_peak_memory() - before) / 1e6)


def _peak_memory(anew=False):
    """Peak memory of this process in bytes; on Linux first forgotten if `anew`, so that it is what is in use now.

    There ru_maxrss will not do: a process starts with its parent's (getrusage(2): it survives execve).
    """
    if sys.platform != "linux":
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])  # in kB
