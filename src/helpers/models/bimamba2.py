"""The bidirectional Mamba-2 layer: two directions in time, joined, added to the input and normalized.

For signals that are complete when they are read, as a 60 s window of EEG is. Three ways to join the directions; the
blocks themselves are in `helpers.models.mamba2` and `helpers.models.hydra`.
"""

import torch
from torch import nn

from helpers.models.hydra import Hydra
from helpers.models.linear import Linear
from helpers.models.mamba2 import Mamba2
from helpers.models.stand_in import Conv1dStandIn, stand_in_forced

__all__ = ["BiMamba2"]

_MIXINGS = ("concat", "sum", "shared")
_BACKENDS = ("auto", "torch", "mamba_ssm", "conv1d")


class BiMamba2(nn.Module):
    """y = LayerNorm(x + Dropout(branch(x))), (batch, length, d_model) to the same shape.

    With M_f and M_b two `Mamba2` that share no weights and J the reversal of time, the branch is

    ========  ======================================  ===========================================
    mixing    branch(x)                               source
    ========  ======================================  ===========================================
    concat    W [M_f(x), J M_b(J x)] + bias           ``brain-go-brr-v2`` v2.1.0, built anew
    sum       M_f(x) + J M_b(J x)                     the additive form, as in Vim and FEMBA
    shared    `Hydra`, one block for both directions  Hwang, Lahoti, Dao & Gu 2024
    ========  ======================================  ===========================================

    Parameters
    ----------
    d_model : int
        Width of the input and the output.
    mixing : {"concat", "sum", "shared"}
        How the directions are joined.
    dropout : float
        Probability of a zero on the branch, in training.
    backend : {"auto", "torch", "mamba_ssm", "conv1d"}
        The first three as in `Mamba2`, handed on. "conv1d" puts `Conv1dStandIn` in the place of each block, which is
        another function; SEIZURE_MAMBA_FORCE_FALLBACK=1 turns "auto" into it. ``.backend`` holds what came of it.
    **mamba2
        Options of `Mamba2`, the same for both directions, or of `Hydra`. The stand-in reads none of them.

    Raises
    ------
    ValueError
        If `mixing` or `backend` is none of the above, or an option does not fit the block.
    """

    def __init__(self, d_model, mixing="concat", dropout=0.1, backend="auto", **mamba2):
        super().__init__()
        if mixing not in _MIXINGS:
            raise ValueError(f"mixing is {mixing!r}; expected one of {', '.join(_MIXINGS)}")
        if backend not in _BACKENDS:
            raise ValueError(f"backend is {backend!r}; expected one of {', '.join(_BACKENDS)}")
        if backend == "auto" and stand_in_forced():
            backend = "conv1d"
        self.mixing, self.backend = mixing, backend

        def block(kind):
            return Conv1dStandIn(d_model) if backend == "conv1d" else kind(d_model, backend=backend, **mamba2)

        if mixing == "shared":
            self.ssm = block(Hydra)
        else:
            self.forward_ssm = block(Mamba2)
            self.backward_ssm = block(Mamba2)
        if mixing == "concat":
            self.mix = Linear(2 * d_model, d_model)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x):
        """(batch, length, d_model) to (batch, length, d_model)."""
        return self.norm(x + self.dropout(self._branch(x)))

    def backend_for(self, x):
        """Which backend computes the layer for the input `x`: "torch", "mamba_ssm" or "conv1d".

        Raises
        ------
        RuntimeError
            If `backend` is "mamba_ssm" and that cannot be.
        """
        return (self.ssm if self.mixing == "shared" else self.forward_ssm).backend_for(x)

    def _branch(self, x):
        if self.mixing == "shared":
            return self.ssm(x)
        ahead = self.forward_ssm(x)
        behind = self.backward_ssm(x.flip(1)).flip(1)
        return ahead + behind if self.mixing == "sum" else self.mix(torch.cat([ahead, behind], dim=-1))
