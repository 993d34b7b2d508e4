"""`Linear`: torch's linear map, computed by oneDNN where torch itself would not.

On a CPU torch sends a float32 Linear to MKL; the same product written as a 1x1 convolution goes to oneDNN, which was
the faster of the two on the AMD processor that it was written on. With one thread torch computes that convolution by
itself, slower than either. Same parameters, same result up to rounding, no other device or dtype touched.
"""

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["Linear"]


class Linear(nn.Linear):
    """As `torch.nn.Linear`; (batch, length, in_features) float32 on two CPU threads or more goes through oneDNN."""

    def forward(self, x):
        """(batch, length, in_features) to (batch, length, out_features)."""
        if x.ndim == 3 and x.device.type == "cpu" and x.dtype == torch.float32 and _onednn():
            image = x.transpose(1, 2)[:, :, None]  # (batch, in_features, 1, length), channels last in memory
            # Not indexed with 0: the gradient of an index is a tensor of zeros that it is copied into.
            return F.conv2d(image, self.weight[..., None, None], self.bias).squeeze(2).transpose(1, 2)
        return super().forward(x)


def _onednn():
    return torch.backends.mkldnn.enabled and torch.get_num_threads() > 1
