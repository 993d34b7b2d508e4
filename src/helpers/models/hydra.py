"""The Hydra block: one projection, one convolution and one SSD that read a sequence in both directions at once.

Where two Mamba-2 blocks need two of everything, `Hydra` shares all but the step sizes and the maps B and C. As a matrix
it is quasiseparable: one semiseparable half below the diagonal, one above, a diagonal of its own between them. Names,
shapes and initialization are those of ``hydra.modules.hydra.Hydra``. There is no residual, no norm around it and no
step-by-step decoding: the future has to be there.
"""

import torch
import torch.nn.functional as F
from torch import nn

from helpers.models.checks import check_backend, check_sequence, check_sizes, heads_of
from helpers.models.linear import Linear
from helpers.models.official import backend_in_force, input_obstacle, official_module
from helpers.models.ssd import ssd_chunked
from helpers.models.step_size import draw_dt_bias

__all__ = ["Hydra"]

_KERNEL_CHUNK = 256  # mamba_ssm's default, as in `Mamba2`; its kernels need a power of two (state-spaces/mamba#449)


class Hydra(nn.Module):
    """One Hydra block, (batch, length, d_model) to the same shape; every output reads the whole input.

    Parameters
    ----------
    d_model : int
        Width of the input and the output.
    d_state : int
        Size of the state of one head and channel, in each direction.
    d_conv : int
        Width of the depthwise convolution, odd: it reads as many steps of the future as of the past.
    expand : int
        d_inner = expand · d_model.
    headdim : int
        Channels a head; must divide d_inner.
    ngroups : int
        Groups that share B and C; must divide the number of heads.
    chunk_size : int
        Steps a chunk of the torch backend. It changes the cost, never the result.
    backend : {"auto", "torch", "mamba_ssm"}
        What computes the SSD: "torch" everywhere, in float64 too; "mamba_ssm" on a GPU that has it; "auto" takes
        mamba_ssm wherever it can, torch elsewhere. `backend_for` says which.

    Raises
    ------
    ValueError
        If `d_conv` is even, `headdim` does not divide d_inner, `ngroups` does not divide the heads, or `backend` is
        none of the above.

    Notes
    -----
    With f and b the outputs of the SSD (without D) forward and backward in time, and x after the convolution::

        y_t = f_{t-1} + b_{t+1} + (D + W_D x_t) x_t

    The shift by one step leaves the diagonal to the last term alone; two blocks that are added count it twice. The norm
    comes before the gate here, after it in Mamba-2. A starts at -1 in every head. A_log, dt_bias and D are marked
    ``_no_weight_decay``. The same seed gives the same parameters as the source: random numbers are drawn in its order.

    Source: Hwang, Lahoti, Dao & Gu 2024 (arXiv 2407.09941), sections 3.1 and 3.2; goombalab/hydra,
    ``hydra/modules/hydra.py``, 0daa208.
    """

    def __init__(self, d_model, d_state=64, d_conv=7, expand=2, headdim=64, ngroups=1, chunk_size=64, backend="auto"):
        super().__init__()
        check_backend(backend)
        sizes = {"d_model": d_model, "d_state": d_state, "d_conv": d_conv, "expand": expand, "headdim": headdim}
        check_sizes(**sizes, ngroups=ngroups, chunk_size=chunk_size)
        if d_conv % 2 == 0:
            raise ValueError(
                f"d_conv is {d_conv}; expected an odd width, to read as far ahead as back: {d_conv - 1} or {d_conv + 1}"
            )
        self.d_model, self.d_state, self.d_conv, self.expand = d_model, d_state, d_conv, expand
        self.headdim, self.ngroups, self.chunk_size, self.backend = headdim, ngroups, chunk_size, backend
        self.d_inner = expand * d_model
        self.nheads = heads_of(d_model, expand, headdim, ngroups)

        channels = self.d_inner + 4 * ngroups * d_state  # x, then B C forward, then B C backward
        self.in_proj = Linear(d_model, self.d_inner + channels + 2 * self.nheads, bias=False)  # z, x B C B C, dt dt
        self.conv1d = nn.Conv1d(channels, channels, d_conv, groups=channels, padding=d_conv // 2)
        self.dt_bias = nn.Parameter(draw_dt_bias(self.nheads))
        self.A_log = nn.Parameter(torch.zeros(self.nheads))
        self.D = nn.Parameter(torch.ones(self.nheads))
        self.fc_D = Linear(self.d_inner, self.nheads, bias=False)
        self.norm = nn.RMSNorm(self.d_inner, eps=1e-5)
        self.out_proj = Linear(self.d_inner, d_model, bias=False)
        for parameter in (self.dt_bias, self.A_log, self.D):
            parameter._no_weight_decay = True

    def forward(self, u):
        """(batch, length, d_model) to (batch, length, d_model).

        Raises
        ------
        ValueError
            If the input has another shape.
        RuntimeError
            As `backend_for`.
        """
        check_sequence(u, self.d_model)
        ssd = self._by_kernel if self.backend_for(u) == "mamba_ssm" else self._by_torch
        d_BC = 2 * self.ngroups * self.d_state  # B and C of one direction
        z, xBC, dt = self.in_proj(u).split([self.d_inner, self.d_inner + 2 * d_BC, 2 * self.nheads], dim=-1)
        x, BC_ahead, BC_behind = F.silu(self.conv1d(xBC.mT).mT).split([self.d_inner, d_BC, d_BC], dim=-1)
        diagonal = self.fc_D(x) + self.D  # (batch, length, heads)

        # Both directions in one call: the flipped sequence is another half of the batch.
        B, C = _stacked(BC_ahead, BC_behind).unflatten(-1, (2, self.ngroups, self.d_state)).unbind(2)
        heads = (self.nheads, self.headdim)
        y = ssd(
            _stacked(x, x).unflatten(-1, heads),  # (2 batch, length, heads, headdim)
            F.softplus(_stacked(*dt.chunk(2, dim=-1)) + self.dt_bias),  # (2 batch, length, heads)
            B,  # (2 batch, length, groups, d_state)
            C,
        )
        ahead, behind = F.pad(y, (0, 0, 0, 0, 1, -1)).chunk(2)  # each output one step later, the first zero
        y = ahead + behind.flip(1) + diagonal[..., None] * x.unflatten(-1, heads)
        y = F.rms_norm(y.flatten(-2), (self.d_inner,), self.norm.weight.to(y.dtype), self.norm.eps)
        return self.out_proj(y * F.silu(z))

    def backend_for(self, u):
        """Which backend computes the block for the input `u`: "torch" or "mamba_ssm".

        Raises
        ------
        RuntimeError
            If `backend` is "mamba_ssm" and that cannot be.
        """
        return backend_in_force(self.backend, lambda: self._obstacle(u))

    def _obstacle(self, u):
        if found := input_obstacle(u, d_conv=4):  # of the SSD alone; the convolution is torch's, of any width
            return found
        if self.headdim > 256:  # from 512 on, a head does not fit in shared memory (state-spaces/mamba#387)
            return f"headdim is {self.headdim}, expected at most 256. Build the block with such a headdim"
        return official_module("triton.ssd_combined")[1]

    def _by_torch(self, x, dt, B, C):
        return ssd_chunked(x, dt, -torch.exp(self.A_log), B, C, chunk_size=self.chunk_size)

    def _by_kernel(self, x, dt, B, C):
        module, _ = official_module("triton.ssd_combined")
        return module.mamba_chunk_scan_combined(x, dt, -torch.exp(self.A_log.float()), B, C, chunk_size=_KERNEL_CHUNK)


def _stacked(ahead, behind):
    """(batch, length, …) twice to (2 batch, length, …), the second half reversed in time."""
    return torch.cat([ahead, behind.flip(1)])
