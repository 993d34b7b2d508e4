"""The Mamba-2 block: projection, short causal convolution, SSD, gate, projection.

`Mamba2` has the parameter names, shapes and initialization of ``mamba_ssm.Mamba2``, so that a state dict loads strictly
in both directions. It computes with `ssd_chunked` and needs no compiled extension; where mamba_ssm is installed on a
GPU it can use its fused kernels instead. It reads a sequence whole, in pieces or step by step. Bidirectional layers are
in `helpers.models.bimamba2`.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from helpers.models.causal_conv import causal_conv
from helpers.models.checks import check_backend, check_sequence, check_sizes, heads_of
from helpers.models.gated_norm import GatedRMSNorm
from helpers.models.linear import Linear
from helpers.models.official import backend_in_force, input_obstacle, official_module
from helpers.models.ssd import ssd_chunked
from helpers.models.step_size import draw_dt_bias

__all__ = ["Mamba2", "Mamba2State"]

_KERNEL_CHUNK = 256  # mamba_ssm's default; its kernels need a power of two (state-spaces/mamba#449)


class Mamba2State(NamedTuple):
    """What a `Mamba2` block knows of the past: all that it needs to go on, of a size that does not grow.

    Attributes
    ----------
    conv : Tensor, (batch, d_inner + 2 · ngroups · d_state, d_conv - 1)
        The last inputs of the convolution, the newest last.
    ssm : Tensor, (batch, heads, headdim, d_state)
        The state of the SSD, float32 at least.
    """

    conv: torch.Tensor
    ssm: torch.Tensor


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
        Steps a chunk of `ssd_chunked`. It changes the cost, never the result. mamba_ssm's kernels take chunks of 256
        steps whatever it is: theirs must be a power of two.
    backend : {"auto", "torch", "mamba_ssm"}
        "torch" runs everywhere, in float64 too. "mamba_ssm" is its fused kernel: CUDA, no float64, d_conv 2 to 4,
        headdim up to 256, d_inner and 2 · ngroups · d_state multiples of 8, no state carried, mamba_ssm and
        causal_conv1d installed. "auto" takes the kernel wherever these hold, torch elsewhere; `backend_for` says which.

    Raises
    ------
    ValueError
        If a size is no positive whole number, if `headdim` does not divide d_inner or `ngroups` the heads, or if
        `backend` is none of the above.

    Notes
    -----
    The same seed gives the same parameters as mamba_ssm, bit for bit: random numbers are drawn in its order.
    A ~ U(1, 16), dt log-uniform in [0.001, 0.1] through the inverse of softplus, D = 1, the rest as torch does it.
    A_log, dt_bias and D are marked ``_no_weight_decay``. Frameworks that re-initialize every Linear and Conv1d of a
    model silence the SSM; `helpers.models` never does.

    Source: Dao & Gu 2024, section 7; state-spaces/mamba, ``mamba_ssm/modules/mamba2.py``, v2.3.2.post1.
    """

    def __init__(self, d_model, d_state=128, d_conv=4, expand=2, headdim=64, ngroups=1, chunk_size=64, backend="auto"):
        super().__init__()
        sizes = {"d_model": d_model, "d_state": d_state, "d_conv": d_conv, "expand": expand, "headdim": headdim}
        sizes |= {"ngroups": ngroups, "chunk_size": chunk_size}
        check_sizes(**sizes)
        for name, value in sizes.items():
            setattr(self, name, value)
        check_backend(backend)
        self.backend = backend
        self.d_inner = expand * d_model
        self.nheads = heads_of(d_model, expand, headdim, ngroups)

        channels = self.d_inner + 2 * ngroups * d_state  # x, B and C go through the convolution
        self.in_proj = Linear(d_model, self.d_inner + channels + self.nheads, bias=False)  # z, x B C, dt
        self.conv1d = nn.Conv1d(channels, channels, d_conv, groups=channels, padding=d_conv - 1)
        self.dt_bias = nn.Parameter(draw_dt_bias(self.nheads))
        self.A_log = nn.Parameter(torch.log(torch.empty(self.nheads).uniform_(1, 16)))
        self.D = nn.Parameter(torch.ones(self.nheads))
        self.norm = GatedRMSNorm(self.d_inner, groups=ngroups)
        self.out_proj = Linear(self.d_inner, d_model, bias=False)
        for parameter in (self.dt_bias, self.A_log, self.D):
            parameter._no_weight_decay = True

    def forward(self, u, state=None, return_state=False):
        """(batch, length, d_model) to (batch, length, d_model).

        Parameters
        ----------
        u : Tensor, (batch, length, d_model)
            A sequence, or the next piece of one.
        state : Mamba2State, optional
            What the piece before returned; None is the start of a sequence. Gradients flow through it: detach its
            tensors to cut them.
        return_state : bool
            Also return the state after the last step.

        Returns
        -------
        y : Tensor, (batch, length, d_model)
        state : Mamba2State
            Only with ``return_state=True``.

        Raises
        ------
        ValueError
            If the input or the state has another shape.
        RuntimeError
            As `backend_for`.
        """
        check_sequence(u, self.d_model)
        if self.backend_for(u, state, return_state) == "mamba_ssm":
            return self._by_kernel(u)
        if state is not None:
            self._check_state(state, len(u))
        return self._by_torch(u, state, return_state)

    def step(self, u_t, state):
        """One step of the recurrence: what `forward` gives for that step, at a cost that the past does not change.

        Parameters
        ----------
        u_t : Tensor, (batch, d_model)
        state : Mamba2State
            Of `initial_state`, of `forward` or of the step before. It is left as it is.

        Returns
        -------
        y_t : Tensor, (batch, d_model)
        state : Mamba2State
            After this step.

        Raises
        ------
        ValueError
            If the input or the state has another shape.
        RuntimeError
            If `backend` is "mamba_ssm", whose fused kernel carries no state.
        """
        if u_t.ndim != 2 or u_t.shape[-1] != self.d_model or 0 in u_t.shape:
            raise ValueError(f"input has shape {tuple(u_t.shape)}; expected (batch, {self.d_model}), none of them zero")
        self.backend_for(u_t, state)
        self._check_state(state, len(u_t))
        z, xBC, dt = self._split(self.in_proj(u_t))
        taps = torch.cat([state.conv.to(xBC.dtype), xBC[..., None]], dim=-1)  # (batch, channels, d_conv)
        xBC = F.silu((taps * self.conv1d.weight[:, 0]).sum(-1) + self.conv1d.bias)
        x, B, C, dt, A = self._of_ssd(xBC, dt)
        x, B, C, ssm = (t.to(dt.dtype) for t in (x, B, C, state.ssm))
        B, C = (t.repeat_interleave(self.nheads // self.ngroups, dim=1) for t in (B, C))  # (batch, heads, d_state)
        decay = torch.exp(dt * A)  # (batch, heads)
        ssm = decay[..., None, None] * ssm + (dt[..., None] * x)[..., None] * B[:, :, None]
        y = (ssm * C[:, :, None]).sum(-1) + self.D.to(x.dtype)[:, None] * x  # (batch, heads, headdim)
        return self.out_proj(self.norm(y.flatten(1).to(z.dtype), z)), Mamba2State(taps[..., 1:], ssm)

    def initial_state(self, batch):
        """`Mamba2State` before the first step: zeros, on the block's device."""
        conv, ssm = self._state_shapes(batch)
        weight = self.conv1d.weight
        work = torch.promote_types(weight.dtype, torch.float32)
        return Mamba2State(weight.new_zeros(conv), weight.new_zeros(ssm, dtype=work))

    def backend_for(self, u, state=None, return_state=False):
        """Which backend computes `forward` of these arguments: "torch" or "mamba_ssm".

        Raises
        ------
        RuntimeError
            If `backend` is "mamba_ssm" and that cannot be.
        """
        return backend_in_force(self.backend, lambda: self._obstacle(u, state is not None or return_state))

    def _obstacle(self, u, carried):
        if carried:
            return "it hands no state from piece to piece: its convolution starts from zeros. Give it whole sequences"
        if found := input_obstacle(u, self.d_conv):
            return found
        if self.headdim > 256:  # from 512 on, a head does not fit in shared memory (state-spaces/mamba#387)
            return f"headdim is {self.headdim}, expected at most 256. Build the block with such a headdim"
        d_BC = 2 * self.ngroups * self.d_state
        if self.d_inner % 8 or d_BC % 8:  # causal_conv1d reads 16 bytes at a time
            return (
                f"d_inner is {self.d_inner} and 2 x ngroups x d_state is {d_BC}, expected multiples of 8. "
                "Build the block with such sizes"
            )
        module, found = official_module("triton.ssd_combined")
        projected = 2 * self.d_inner + d_BC + self.nheads
        if module and projected % 8 and not hasattr(module, "ensure_stride"):  # state-spaces/mamba#351
            return (
                f"in_proj is {projected} wide, expected a multiple of 8 before mamba_ssm 2.3. "
                "Install a newer one as `workbook plan` says"
            )
        return found

    def _by_torch(self, u, state, return_state):
        z, xBC, dt = self._split(self.in_proj(u))
        if state is None and return_state:
            state = self.initial_state(len(u))
        if state is not None:
            xBC = torch.cat([state.conv.mT.to(xBC.dtype), xBC], dim=1)  # (batch, d_conv - 1 + length, channels)
        convolved = causal_conv(xBC, self.conv1d.weight, self.conv1d.bias, silu=True)
        if state is not None:
            convolved = convolved[:, self.d_conv - 1 :]
        x, B, C, dt, A = self._of_ssd(convolved, dt)
        y = ssd_chunked(
            x,
            dt,
            A,
            B,
            C,
            D=self.D,
            chunk_size=self.chunk_size,
            initial_state=None if state is None else state.ssm,
            return_final_state=return_state,
        )
        if not return_state:
            return self.out_proj(self.norm(y.flatten(-2), z))
        y, ssm = y
        conv = xBC[:, u.shape[1] :].mT.clone()  # a view would keep the whole piece in memory
        return self.out_proj(self.norm(y.flatten(-2), z)), Mamba2State(conv, ssm)

    def _by_kernel(self, u):
        module, _ = official_module("triton.ssd_combined")
        projected = isinstance(self.out_proj, nn.Linear)  # not in a copy of `fuse_for_inference`
        weight = self.conv1d.weight.new_ones(self.d_inner) if self.norm.weight is None else self.norm.weight
        y = module.mamba_split_conv1d_scan_combined(
            self.in_proj(u),
            self.conv1d.weight[:, 0],
            self.conv1d.bias,
            self.dt_bias,
            -torch.exp(self.A_log.float()),
            D=self.D,
            chunk_size=_KERNEL_CHUNK,
            activation="silu",
            rmsnorm_weight=weight,
            rmsnorm_eps=self.norm.eps,
            outproj_weight=self.out_proj.weight if projected else None,
            outproj_bias=None,
            headdim=self.headdim,
            ngroups=self.ngroups,
            norm_before_gate=False,
        )
        return y if projected else self.out_proj(y)

    def _split(self, projected):
        """Take z, x B C and dt, before the convolution and the softplus, from what in_proj gives."""
        return projected.split(
            [self.d_inner, self.d_inner + 2 * self.ngroups * self.d_state, self.nheads], dim=-1
        )  # (…, d_inner), (…, channels), (…, heads)

    def _of_ssd(self, xBC, dt):
        """Make the arguments of the SSD, one axis a head or group; dt and A in float32 at least."""
        d_BC = self.ngroups * self.d_state
        x, B, C = xBC.split([self.d_inner, d_BC, d_BC], dim=-1)
        work = torch.promote_types(dt.dtype, torch.float32)
        return (
            x.unflatten(-1, (self.nheads, self.headdim)),  # (…, heads, headdim)
            B.unflatten(-1, (self.ngroups, self.d_state)),  # (…, groups, d_state)
            C.unflatten(-1, (self.ngroups, self.d_state)),
            F.softplus(dt.to(work) + self.dt_bias),  # (…, heads)
            -torch.exp(self.A_log.to(work)),  # (heads,)
        )

    def _state_shapes(self, batch):
        return (
            (batch, self.d_inner + 2 * self.ngroups * self.d_state, self.d_conv - 1),
            (batch, self.nheads, self.headdim, self.d_state),
        )

    def _check_state(self, state, batch):
        for name, found, expected in zip(state._fields, state, self._state_shapes(batch), strict=True):
            if tuple(found.shape) != expected:
                raise ValueError(
                    f"state.{name} has shape {tuple(found.shape)}; expected {expected} "
                    f"for this block and a batch of {batch}"
                )
