"""A tensor that says it is on a GPU, to ask on a CPU which backend a block would take there. It computes on the CPU."""

import torch


class OnGPU(torch.Tensor):
    """Made by ``u.as_subclass(OnGPU)``; what is computed from it are plain tensors again."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = torch.device("cuda")
