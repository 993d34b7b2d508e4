"""`SS2D`, the selective scan of an image in four directions, and `VSSBlock`, a norm and a residual around it.

They are the blocks of VMamba, which VMRNN took over; chapter 04 verifies an installation with them. Here they stand on
`selective_scan` and need no compiled extension. Not the classes of Mamba-YOLO: those have these names too, but take
channels first, gate with GELU, start from other values and put convolutions around the scan. No model of images either:
patches, stages and stochastic depth (`DropPath`, which is nothing at its default of 0) are left out.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from helpers.models.selective_scan import selective_scan
from helpers.models.step_size import draw_dt_bias

__all__ = ["SS2D", "VSSBlock"]

_DIRECTIONS = 4  # along the rows, along the columns, and both from the end


class SS2D(nn.Module):
    """Selective scan in two dimensions, (batch, height, width, d_model) to the same shape.

    Each direction has its own step sizes, B, C, A and D; each pixel gets the sum of the four.

    Parameters
    ----------
    d_model : int
        Width of the input and the output.
    d_state : int
        Size of the state of one channel in one direction.
    expand : float
        d_inner = expand · d_model, rounded down; `ssm_ratio` in later versions of VMamba.

    Notes
    -----
    Parameter names, shapes and initial values are those of VMamba's first version, so that a state dict loads strictly,
    and the same seed gives the same parameters: random numbers are drawn in its order. A_logs, Ds and dt_projs_bias
    are marked ``_no_weight_decay`` (VMamba marks the first two).

    Source: Liu et al. 2024, "VMamba: Visual State Space Model" (arXiv 2401.10166), section 4; MzeroMiko/VMamba,
    ``classification/models/vmamba/vmamba.py`` at 0ec6c27.
    """

    def __init__(self, d_model, d_state=16, expand=2):
        super().__init__()
        self.d_model, self.d_state, self.expand = d_model, d_state, expand
        self.d_inner = int(expand * d_model)
        self.dt_rank = math.ceil(d_model / 16)

        self.in_proj = nn.Linear(d_model, 2 * self.d_inner, bias=False)  # x, z
        self.conv2d = nn.Conv2d(self.d_inner, self.d_inner, 3, groups=self.d_inner, padding=1)
        x_projs = [nn.Linear(self.d_inner, self.dt_rank + 2 * d_state, bias=False) for _ in range(_DIRECTIONS)]
        self.x_proj_weight = nn.Parameter(torch.stack([x_proj.weight.detach() for x_proj in x_projs]))
        weights, biases = zip(*[_dt_proj(self.dt_rank, self.d_inner) for _ in range(_DIRECTIONS)], strict=True)
        self.dt_projs_weight = nn.Parameter(torch.stack(weights))  # (4, d_inner, dt_rank)
        self.dt_projs_bias = nn.Parameter(torch.stack(biases))  # (4, d_inner)
        rates = torch.arange(1, d_state + 1, dtype=torch.float32)
        self.A_logs = nn.Parameter(torch.log(rates).repeat(_DIRECTIONS * self.d_inner, 1))  # (4 d_inner, d_state)
        self.Ds = nn.Parameter(torch.ones(_DIRECTIONS * self.d_inner))
        self.out_norm = nn.LayerNorm(self.d_inner)
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=False)
        for parameter in (self.A_logs, self.Ds, self.dt_projs_bias):
            parameter._no_weight_decay = True

    def forward(self, image):
        """(batch, height, width, d_model) to (batch, height, width, d_model).

        Raises
        ------
        ValueError
            If the input has another shape.
        """
        if image.ndim != 4 or image.shape[-1] != self.d_model or 0 in image.shape:
            raise ValueError(
                f"image has shape {tuple(image.shape)}; expected (batch, height, width, {self.d_model}), "
                "none of them zero. The channels come last"
            )
        x, z = self.in_proj(image).chunk(2, dim=-1)  # (batch, height, width, d_inner) each
        x = F.silu(self.conv2d(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        y = self._scan(x)
        # In the precision of the scan: its output can be too large for float16 (MzeroMiko/VMamba#182).
        norm = self.out_norm
        y = F.layer_norm(y, norm.normalized_shape, norm.weight.to(y.dtype), norm.bias.to(y.dtype), norm.eps)
        return self.out_proj(y.to(z.dtype) * F.silu(z))

    def _scan(self, x):
        """(batch, height, width, d_inner) to the same shape, at least in float32: the sum over the directions."""
        work = torch.promote_types(x.dtype, torch.float32)
        paths = _cross_scan(x)  # (batch, length, 4, d_inner)
        x_dbl = torch.einsum("blkd,krd->blkr", paths, self.x_proj_weight)
        dt, B, C = x_dbl.split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        dt = torch.einsum("blkr,kdr->blkd", dt, self.dt_projs_weight).to(work) + self.dt_projs_bias
        A = -torch.exp(self.A_logs.to(work))
        y = selective_scan(paths.to(work).flatten(2), F.softplus(dt).flatten(2), A, B, C, D=self.Ds)
        return _cross_merge(y.unflatten(2, (_DIRECTIONS, -1)), *x.shape[1:3])


class VSSBlock(nn.Module):
    """x + SS2D(LayerNorm(x)), (batch, height, width, d_model) to the same shape.

    Parameters
    ----------
    d_model, d_state, expand
        As in `SS2D`.

    Notes
    -----
    The first of VMamba's blocks, with its names, `ln_1` and `self_attention`. Later versions put a feed-forward network
    behind it.
    """

    def __init__(self, d_model, d_state=16, expand=2):
        super().__init__()
        self.ln_1 = nn.LayerNorm(d_model, eps=1e-6)
        self.self_attention = SS2D(d_model, d_state, expand)

    def forward(self, image):
        """(batch, height, width, d_model) to (batch, height, width, d_model); raises as `SS2D` does."""
        return image + self.self_attention(self.ln_1(image))


def _dt_proj(dt_rank, d_inner):
    """Draw weight and bias of one map to dt: softplus of the bias lies between 0.001 and 0.1, even in the logarithm."""
    drawn = nn.Linear(dt_rank, d_inner)  # its own values are not used, but VMamba draws them
    weight = nn.init.uniform_(drawn.weight.detach(), -(dt_rank**-0.5), dt_rank**-0.5)
    return weight, draw_dt_bias(d_inner)


def _cross_scan(x):
    """(batch, height, width, channels) to (batch, length, 4, channels): the pixels in the order of each direction."""
    rows, columns = x.flatten(1, 2), x.transpose(1, 2).flatten(1, 2)
    return torch.stack([rows, columns, rows.flip(1), columns.flip(1)], dim=2)


def _cross_merge(y, height, width):
    """(batch, length, 4, channels) to (batch, height, width, channels): each pixel's sum over the directions."""
    rows, columns = (y[:, :, k] + y[:, :, k + 2].flip(1) for k in (0, 1))
    return rows.unflatten(1, (height, width)) + columns.unflatten(1, (width, height)).transpose(1, 2)
