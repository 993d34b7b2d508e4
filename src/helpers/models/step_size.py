"""The first step sizes dt of a state space model, as a bias. It knows of no block."""

import math

import torch

__all__ = ["draw_dt_bias"]


def draw_dt_bias(size):
    """Draw a bias whose softplus is log-uniform in [0.001, 0.1]: with no input, dt lies there.

    Parameters
    ----------
    size : int

    Returns
    -------
    Tensor, (size,)
        One random number of torch's default generator was drawn for each.

    Notes
    -----
    Source: Gu & Dao 2023 (arXiv 2312.00752), section 3.6; state-spaces/mamba, ``modules/mamba_simple.py``.
    """
    dt = torch.exp(torch.rand(size) * (math.log(0.1) - math.log(0.001)) + math.log(0.001)).clamp(min=1e-4)
    return dt + torch.log(-torch.expm1(-dt))  # softplus of it is dt
