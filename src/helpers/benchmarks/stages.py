"""Time and memory of a detector, stage by stage and whole, on the device that it is on.

Each stage is run alone on the input that it gets in the whole network, so that its time holds nothing of its neighbors.
What the sum of the stages leaves out of the whole are the glue (concatenation, transposition) and the optimizer. What a
stage keeps in memory is counted in a pass of the whole network, so that nothing is counted twice. No data is loaded and
nothing is learned: the input is random.
"""

import copy
import time
from dataclasses import dataclass
from statistics import median

import torch
import torch.nn.functional as F

from helpers.models import parameter_groups, stages_of

__all__ = ["StageCost", "measure_stages", "measure_whole"]

_WARM_UP = 2  # calls that are not counted: kernels are chosen, compiled and tuned in them


@dataclass(frozen=True)
class StageCost:
    """What one stage, or the whole network, costs for one batch.

    Attributes
    ----------
    name : str
        The stage's path in the model, or "whole".
    inference_ms, training_ms : float or None
        Median time: forward without gradients; forward and backward with dropout and batch statistics, for the whole a
        step with its loss and AdamW. None where it was not measured.
    kept_mib : float or None
        Of a stage: memory that its forward pass in training leaves to the backward pass, on any device. Weights are not
        in it, and what two stages keep is the first one's, so that the stages add up. None for the whole.
    inference_mib, training_mib : float or None
        Of the whole: largest GPU memory meanwhile, above what was there before; with weights, gradients and the
        optimizer's moments. None for a stage, and on a CPU.
    """

    name: str
    inference_ms: float
    training_ms: float | None = None
    kept_mib: float | None = None
    inference_mib: float | None = None
    training_mib: float | None = None


def measure_stages(model, batch, length=15360, repeats=10):
    """Time each stage of a detector alone, in inference and in training, and count what it keeps for the backward pass.

    Parameters
    ----------
    model : SeizureDetector
        On the device to measure; it is left as it is. On a GPU it computes under bfloat16 autocast.
    batch : int
        Windows at a time.
    length : int
        Samples of a window.
    repeats : int
        Timed calls of each, after two that are not counted.

    Returns
    -------
    list of StageCost
        In the order of the pass.
    """
    model = copy.deepcopy(model)
    kept, costs = _kept(model, batch, length), []
    for name, module, x in _inputs(model, batch, length):
        timed = _Timer(x.device, repeats)
        module.eval()
        with torch.inference_mode(), _autocast(x.device):
            inference = timed(lambda: module(x))  # noqa: B023 - called before the loop goes on
        module.train()
        x = x.clone().requires_grad_()
        training = timed(lambda: _forward_and_backward(module, x))  # noqa: B023
        costs.append(StageCost(name, inference[0], training[0], kept[name]))
        module.zero_grad(set_to_none=True)
    return costs


def measure_whole(model, batch, length=15360, repeats=10, training=True):
    """Time a detector whole, in inference and in training.

    Parameters
    ----------
    model, batch, length, repeats
        As `measure_stages`; `FusedDetector` too, without training.
    training : bool
        Also measure training steps: forward, binary cross-entropy, backward, AdamW.

    Returns
    -------
    StageCost
        Named "whole".
    """
    device = next(model.parameters()).device
    timed = _Timer(device, repeats, before=torch.cuda.memory_allocated() if device.type == "cuda" else 0)
    model = copy.deepcopy(model).eval()
    eeg = torch.randn(batch, model.n_channels, length, device=device)
    with torch.inference_mode(), _autocast(device):
        inference = timed(lambda: model(eeg))
    if not training:
        return StageCost("whole", inference[0], inference_mib=inference[1])
    model.train()
    marked = (torch.rand(batch, length, device=device) < 0.3).float()
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.05), lr=3e-4, fused=True)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with _autocast(device):
            loss = F.binary_cross_entropy_with_logits(model(eeg), marked)
        loss.backward()
        optimizer.step()

    training = timed(step)
    return StageCost("whole", inference[0], training[0], inference_mib=inference[1], training_mib=training[1])


class _Timer:
    """Calls a function a few times; returns the median time in ms and the largest GPU memory in MiB."""

    def __init__(self, device, repeats, before=None):
        self.gpu, self.repeats, self.before = device.type == "cuda", repeats, before

    def __call__(self, function):
        for _ in range(_WARM_UP):
            function()
        if not self.gpu:
            return median(self._seconds(function) for _ in range(self.repeats)) * 1e3, None
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated() if self.before is None else self.before
        torch.cuda.reset_peak_memory_stats()
        marks = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(self.repeats)]
        for began, ended in marks:
            began.record()
            function()
            ended.record()
        torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated() - before
        return median(began.elapsed_time(ended) for began, ended in marks), peak / 2**20

    @staticmethod
    def _seconds(function):
        began = time.perf_counter()
        function()
        return time.perf_counter() - began


def _kept(model, batch, length):
    """MiB that each stage's forward pass keeps for the backward pass, by name, in one pass of the whole network."""
    device, kept, stage = next(model.parameters()).device, {}, None
    known = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    alive = []  # a storage that is freed would give its address to another one

    def pack(tensor):
        storage = tensor.untyped_storage()  # several tensors may be views of one
        if storage.data_ptr() not in known:
            known.add(storage.data_ptr())
            alive.append(storage)
            kept[stage] += storage.nbytes() / 2**20

    def entered(name):
        nonlocal stage
        stage = name
        kept[name] = 0.0

    hooks = [
        module.register_forward_pre_hook(lambda _, __, name=name: entered(name)) for name, _, module in stages_of(model)
    ]
    eeg = torch.randn(batch, model.n_channels, length, device=device)
    with torch.autograd.graph.saved_tensors_hooks(pack, _never_unpacked), _autocast(device):
        model.train()(eeg)
    for hook in hooks:
        hook.remove()
    return kept


def _never_unpacked(_):
    raise AssertionError("the pass that counts what is kept has no backward pass")


def _inputs(model, batch, length):
    """Each stage with its name and the input that it gets in a pass of random EEG."""
    device, caught = next(model.parameters()).device, {}
    stages = [(name, module) for name, _, module in stages_of(model)]
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs, name=name: caught.update({name: inputs[0]}))
        for name, module in stages
    ]
    with torch.no_grad(), _autocast(device):
        model.eval()(torch.randn(batch, model.n_channels, length, device=device))
    for hook in hooks:
        hook.remove()
    for name, module in stages:
        yield name, module, caught.pop(name)


def _forward_and_backward(module, x):
    x.grad = None
    module.zero_grad(set_to_none=True)
    with _autocast(x.device):
        y = module(x)
    y.backward(torch.ones_like(y))


def _autocast(device):
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
