"""The Mamba block (Mamba-1): projection, short causal convolution, selective scan, gate, projection.

`Mamba` has the parameter names, shapes and initialization of ``mamba_ssm.Mamba``, so that a state dict loads strictly
in both directions. It computes with `selective_scan` and needs no compiled extension; where mamba_ssm is installed on a
GPU it can use its fused kernels instead. There is no step-by-step decoding: recordings are read whole.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from helpers.models.checks import check_backend, check_sequence, check_sizes
from helpers.models.linear import Linear
from helpers.models.official import backend_in_force, input_obstacle, official_module
from helpers.models.selective_scan import selective_scan
from helpers.models.step_size import draw_dt_bias

__all__ = ["Mamba"]


class Mamba(nn.Module):
    """One Mamba block, (batch, length, d_model) to the same shape, causal.

    Parameters
    ----------
    d_model : int
        Width of the input and the output.
    d_state : int
        Size of the state of one channel.
    d_conv : int
        Width of the depthwise causal convolution, in steps.
    expand : float
        d_inner = expand · d_model, rounded down.
    dt_rank : int or "auto"
        Rank of the map to dt; "auto" is d_model / 16, rounded up.
    backend : {"auto", "torch", "mamba_ssm"}
        "torch" runs everywhere, in float64 too. "mamba_ssm" is its fused kernel: CUDA, no float64, d_conv 2 to 4,
        d_state up to 256, mamba_ssm and causal_conv1d installed. "auto" takes the kernel wherever these hold, torch
        elsewhere; `backend_for` says which.

    Raises
    ------
    ValueError
        If `dt_rank` or `backend` is none of the above, or a size is no positive whole number.

    Notes
    -----
    The same seed gives the same parameters as mamba_ssm, bit for bit: random numbers are drawn in its order. A_log, D
    and the bias of dt_proj are marked ``_no_weight_decay`` (mamba_ssm marks the first two), and that bias
    ``_no_reinit``: from a zero there dt would start near 0.69, not between 0.001 and 0.1.

    Source: Gu & Dao 2023, sections 3.4 and 3.6; state-spaces/mamba, ``modules/mamba_simple.py``, v2.3.2.post1.
    """

    def __init__(self, d_model, d_state=16, d_conv=4, expand=2, dt_rank="auto", backend="auto"):
        super().__init__()
        check_backend(backend)
        if dt_rank != "auto" and not (isinstance(dt_rank, int) and dt_rank > 0):
            raise ValueError(f"dt_rank is {dt_rank!r}; expected a positive whole number or 'auto'")
        check_sizes(d_model=d_model, d_state=d_state, d_conv=d_conv)
        self.d_model, self.d_state, self.d_conv, self.expand, self.backend = d_model, d_state, d_conv, expand, backend
        self.d_inner = int(expand * d_model)
        self.dt_rank = math.ceil(d_model / 16) if dt_rank == "auto" else dt_rank

        self.in_proj = Linear(d_model, 2 * self.d_inner, bias=False)  # x, z
        self.conv1d = nn.Conv1d(self.d_inner, self.d_inner, d_conv, groups=self.d_inner, padding=d_conv - 1)
        self.x_proj = Linear(self.d_inner, self.dt_rank + 2 * d_state, bias=False)  # dt before its own map, B, C
        self.dt_proj = Linear(self.dt_rank, self.d_inner)
        nn.init.uniform_(self.dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        with torch.no_grad():
            self.dt_proj.bias.copy_(draw_dt_bias(self.d_inner))
        rates = torch.arange(1, d_state + 1, dtype=torch.float32)
        self.A_log = nn.Parameter(torch.log(rates).repeat(self.d_inner, 1))  # (d_inner, d_state)
        self.D = nn.Parameter(torch.ones(self.d_inner))
        self.out_proj = Linear(self.d_inner, d_model, bias=False)
        for parameter in (self.A_log, self.D, self.dt_proj.bias):
            parameter._no_weight_decay = True
        self.dt_proj.bias._no_reinit = True

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
        return self._by_kernel(u) if self.backend_for(u) == "mamba_ssm" else self._by_torch(u)

    def backend_for(self, u):
        """Which backend computes the block for the input `u`: "torch" or "mamba_ssm".

        Raises
        ------
        RuntimeError
            If `backend` is "mamba_ssm" and that cannot be.
        """
        return backend_in_force(self.backend, lambda: self._obstacle(u))

    def _obstacle(self, u):
        if found := input_obstacle(u, self.d_conv):
            return found
        if self.d_state > 256:
            return f"d_state is {self.d_state}, expected at most 256. Build the block with such a d_state"
        return official_module("selective_scan_interface")[1]

    def _by_torch(self, u):
        x, z = self.in_proj(u).chunk(2, dim=-1)  # (batch, length, d_inner) each
        x = F.silu(self.conv1d(x.mT)[..., : u.shape[1]]).mT
        dt, B, C = self.x_proj(x).split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        work = torch.promote_types(dt.dtype, torch.float32)
        dt = F.linear(dt, self.dt_proj.weight).to(work) + self.dt_proj.bias  # (batch, length, d_inner)
        A = -torch.exp(self.A_log.to(work))
        y = selective_scan(x, F.softplus(dt), A, B[:, :, None], C[:, :, None], D=self.D, z=z)
        return self.out_proj(y)

    def _by_kernel(self, u):
        module, _ = official_module("selective_scan_interface")
        xz = (self.in_proj.weight @ u.flatten(0, 1).mT).unflatten(1, u.shape[:2]).transpose(0, 1)
        return module.mamba_inner_fn(  # xz: (batch, 2 d_inner, length), time last in memory
            xz,
            self.conv1d.weight,
            self.conv1d.bias,
            self.x_proj.weight,
            self.dt_proj.weight,
            self.out_proj.weight,
            self.out_proj.bias,
            -torch.exp(self.A_log.float()),
            D=self.D.float(),
            delta_bias=self.dt_proj.bias.float(),
            delta_softplus=True,
        )
