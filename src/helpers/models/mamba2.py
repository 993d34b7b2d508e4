"""The Mamba-2 block: projection, short causal convolution, SSD, gate, projection.

`Mamba2` has the parameter names, shapes and initialization of ``mamba_ssm.Mamba2``, so that a state dict loads strictly
in both directions; it computes with `ssd_chunked` and needs no compiled extension. Bidirectional layers are in
`helpers.models.bimamba2`.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from helpers.models.causal_conv import causal_conv
from helpers.models.gated_norm import GatedRMSNorm
from helpers.models.linear import Linear
from helpers.models.ssd import ssd_chunked

__all__ = ["Mamba2"]


class Mamba2(nn.Module):
    """One Mamba-2 block, (batch, length, d_model) to the same shape, causal.

    Parameters
    ----------
    d_model : int
        Width of the input and the output.
    d_state : int
        Size of the state of one head and channel.
    d_conv : int
        Width of the depthwise causal convolution, in steps.
    expand : int
        d_inner = expand · d_model.
    headdim : int
        Channels a head; must divide d_inner.
    ngroups : int
        Groups that share B and C; must divide the number of heads.
    chunk_size : int
        Steps a chunk of `ssd_chunked`. It changes the cost, never the result.

    Raises
    ------
    ValueError
        If `headdim` does not divide d_inner, or `ngroups` the heads.

    Notes
    -----
    Initialization after mamba_ssm: A ~ U(1, 16), dt log-uniform in [0.001, 0.1] through the inverse of softplus, D = 1,
    the rest as torch does it. A_log, dt_bias and D are marked ``_no_weight_decay``. Frameworks that re-initialize every
    Linear and Conv1d of a model silence the SSM; `helpers.models` never does.

    Source: Dao & Gu 2024, section 7; state-spaces/mamba, ``mamba_ssm/modules/mamba2.py``, v2.3.2.
    """

    def __init__(self, d_model, d_state=128, d_conv=4, expand=2, headdim=64, ngroups=1, chunk_size=64):
        super().__init__()
        self.d_model, self.d_state, self.d_conv, self.expand = d_model, d_state, d_conv, expand
        self.headdim, self.ngroups, self.chunk_size = headdim, ngroups, chunk_size
        self.d_inner = expand * d_model
        self.nheads, rest = divmod(self.d_inner, headdim)
        if rest:
            raise ValueError(f"headdim {headdim} does not divide d_inner {self.d_inner} (expand {expand} x {d_model})")
        if self.nheads % ngroups:
            raise ValueError(f"ngroups {ngroups} does not divide the {self.nheads} heads")

        d_conv_channels = self.d_inner + 2 * ngroups * d_state
        self.in_proj = Linear(d_model, self.d_inner + d_conv_channels + self.nheads, bias=False)  # z, x B C, dt
        self.conv1d = nn.Conv1d(d_conv_channels, d_conv_channels, d_conv, groups=d_conv_channels, padding=d_conv - 1)
        dt = torch.exp(torch.rand(self.nheads) * (math.log(0.1) - math.log(0.001)) + math.log(0.001)).clamp(min=1e-4)
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))  # softplus(dt_bias) == dt
        self.A_log = nn.Parameter(torch.log(torch.empty(self.nheads).uniform_(1, 16)))
        self.D = nn.Parameter(torch.ones(self.nheads))
        self.norm = GatedRMSNorm(self.d_inner, groups=ngroups)
        self.out_proj = Linear(self.d_inner, d_model, bias=False)
        for parameter in (self.dt_bias, self.A_log, self.D):
            parameter._no_weight_decay = True

    def forward(self, u):
        """(batch, length, d_model) to (batch, length, d_model)."""
        if u.ndim != 3 or u.shape[-1] != self.d_model:
            raise ValueError(f"input has shape {tuple(u.shape)}; expected (batch, length, {self.d_model})")
        d_BC = self.ngroups * self.d_state
        z, xBC, dt = self.in_proj(u).split([self.d_inner, self.d_inner + 2 * d_BC, self.nheads], dim=-1)
        xBC = F.silu(causal_conv(xBC, self.conv1d.weight, self.conv1d.bias))
        x, B, C = xBC.split([self.d_inner, d_BC, d_BC], dim=-1)
        y = ssd_chunked(
            x.unflatten(-1, (self.nheads, self.headdim)),  # (batch, length, heads, headdim)
            F.softplus(dt + self.dt_bias),  # (batch, length, heads)
            -torch.exp(self.A_log),  # (heads,)
            B.unflatten(-1, (self.ngroups, self.d_state)),  # (batch, length, groups, d_state)
            C.unflatten(-1, (self.ngroups, self.d_state)),
            D=self.D,
            chunk_size=self.chunk_size,
        )
        return self.out_proj(self.norm(y.flatten(-2), z))
