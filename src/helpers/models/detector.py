"""The seizure detector: U-Net, ResCNN and bidirectional Mamba-2; EEG windows in, one logit a sample out.

It maps arrays to arrays. Reading recordings is in `helpers.eeg`, turning logits into events in `helpers.detection`.
"""

from torch import nn

from helpers.models.bimamba2 import BiMamba2
from helpers.models.rescnn import ResCNN
from helpers.models.unet import Decoder, Encoder

__all__ = ["SeizureDetector", "check_window", "layers_backend", "parameters_by_stage"]


class SeizureDetector(nn.Module):
    """(batch, n_channels, length) EEG, z-scored, to (batch, length) logits.

    Without arguments it is the reference: 19 channels at 256 Hz, a bottleneck of 512 channels at 16 Hz,
    32,606,439 parameters. `config` is the dict that builds it again, ``SeizureDetector(**model.config)``; a file of
    weights should carry it.

    Parameters
    ----------
    n_channels : int
        EEG channels.
    widths : sequence of int
        Channels of the encoder's stages; each halves the rate.
    rescnn_blocks, mamba_layers : int
        Depth of the two parts of the bottleneck.
    d_state : int
        State size of Mamba-2.
    dropout : float
        In the ResCNN blocks and the Bi-Mamba-2 layers.
    mixing : {"concat", "sum", "shared"}
        How a layer joins its two directions; see `BiMamba2`.
    backend : {"auto", "torch", "mamba_ssm", "conv1d"}
        What computes the layers; see `BiMamba2`. "conv1d" is the stand-in, another network; `config` records it also
        where an environment variable asked for it.
    chunk_size : int
        Steps a chunk of the torch path. It changes the cost, never the result; 32 takes the fewest operations while
        the state is small.

    Raises
    ------
    ValueError
        If the input's length is no multiple of 2**len(widths) (16), or its channels do not fit.

    Notes
    -----
    The head is two linear maps in a row (widths[0] -> n_channels -> 1), as in the reference, so that counts and state
    dicts agree; together they are one linear map. Source: ``brain-go-brr-v2`` v2.1.0, built anew.
    """

    def __init__(
        self,
        n_channels=19,
        widths=(64, 128, 256, 512),
        rescnn_blocks=3,
        mamba_layers=6,
        d_state=16,
        dropout=0.1,
        mixing="concat",
        backend="auto",
        chunk_size=32,
    ):
        super().__init__()
        self.n_channels = n_channels
        self.stride = 2 ** len(widths)
        self.encoder = Encoder(n_channels, widths)
        self.rescnn = nn.Sequential(*(ResCNN(widths[-1], dropout) for _ in range(rescnn_blocks)))
        options = {
            "mixing": mixing,
            "dropout": dropout,
            "backend": backend,
            "d_state": d_state,
            "chunk_size": chunk_size,
        }
        self.mamba = nn.Sequential(*(BiMamba2(widths[-1], **options) for _ in range(mamba_layers)))
        self.decoder = Decoder(widths, out_channels=n_channels)
        self.head = nn.Conv1d(n_channels, 1, kernel_size=1)
        self.config = {
            "n_channels": n_channels,
            "widths": list(widths),
            "rescnn_blocks": rescnn_blocks,
            "mamba_layers": mamba_layers,
            **options,
            "backend": self.mamba[0].backend if mamba_layers else backend,
        }

    def forward(self, eeg):
        """(batch, n_channels, length) to (batch, length) logits; a sigmoid makes them probabilities."""
        check_window(eeg, self.n_channels, self.stride)
        x, skips = self.encoder(eeg)  # (batch, 512, length / 16)
        x = self.rescnn(x)
        x = self.mamba(x.transpose(1, 2)).transpose(1, 2)  # Mamba-2 reads (batch, length, channels)
        return self.head(self.decoder(x, skips)).squeeze(1)  # (batch, length)

    def backend_for(self, eeg):
        """Which backend computes the layers for the input `eeg`: "torch", "mamba_ssm" or "conv1d".

        Raises
        ------
        RuntimeError
            If the backend is "mamba_ssm" and that cannot be.
        """
        return layers_backend(self.mamba, eeg, self.stride)


def layers_backend(layers, eeg, stride):
    """What `backend_for` of the first of `layers` says about the input that `eeg` will become; "torch" without any."""
    if not len(layers):
        return "torch"
    return layers[0].backend_for(
        eeg.new_empty(eeg.shape[0], eeg.shape[-1] // stride, layers[0].norm.normalized_shape[0])
    )


def check_window(eeg, n_channels, stride):
    """Raise a ValueError that names what is wrong with the shape of a detector's input; nothing where it fits."""
    if eeg.ndim != 3 or eeg.shape[1] != n_channels:
        raise ValueError(f"input has shape {tuple(eeg.shape)}; expected (batch, {n_channels}, length)")
    if eeg.shape[2] == 0 or eeg.shape[2] % stride:
        raise ValueError(f"length {eeg.shape[2]} is no multiple of {stride}; pad or cut the window")


def parameters_by_stage(model):
    """Trainable parameters of each direct child of `model`, by name, and their ``total``.

    Returns
    -------
    dict of str to int
    """
    counts = {
        name: sum(parameter.numel() for parameter in child.parameters()) for name, child in model.named_children()
    }
    return {**counts, "total": sum(parameter.numel() for parameter in model.parameters())}
