"""Two faults of the reference detector's training, by name, so that their effect can be measured.

`reinitialize_globally` is what it does to a model right after building it; `parameter_groups` is how weight decay is
handed out, right by default and as the reference does it when asked. Nothing in this workbook applies either fault by
itself. Source: ``brain-go-brr-v2`` v2.1.0, ``models/detector.py`` and ``train/loop.py``.
"""

from torch import nn

__all__ = ["parameter_groups", "reinitialize_globally"]


def parameter_groups(model, weight_decay, decay_all=False):
    """Groups for ``torch.optim.AdamW``: what is pulled toward zero, and what must not be.

    Decay is for the weights of maps. By default it spares what is marked ``_no_weight_decay`` (A_log, dt_bias and D of
    a state space model: zero is no neutral value there), every bias, and every norm, which all have one dimension.

    Parameters
    ----------
    model : torch.nn.Module
    weight_decay : float
        Of the group that decays.
    decay_all : bool
        The reference's fault: decay on every parameter.

    Returns
    -------
    list of dict
        ``{"params": …, "weight_decay": …}``: the ones that decay, then the ones that do not, in the model's order. A
        group without parameters is left out; parameters that take no gradient are in none.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trained if decay_all or _decays(parameter)]
    chosen = {id(parameter) for parameter in decayed}
    spared = [parameter for parameter in trained if id(parameter) not in chosen]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def reinitialize_globally(model):
    """Draw every convolution and linear map of `model` anew, those inside the state space models too; in place.

    Convolutions: Kaiming normal by fan-out. Linear maps: Xavier normal. Biases 0; batch norms 1 and 0. That suits a
    network of convolutions. A Mamba-2 block it leaves with A_log, dt_bias and D as they were and almost no input to the
    state: the fan-out of a depthwise convolution counts all channels, although each of them feeds one.

    Parameters
    ----------
    model : torch.nn.Module

    Returns
    -------
    torch.nn.Module
        `model` itself.
    """
    for module in model.modules():
        if isinstance(module, (nn.Conv1d, nn.ConvTranspose1d)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm1d):
            nn.init.ones_(module.weight)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return model


def _decays(parameter):
    return parameter.ndim > 1 and not getattr(parameter, "_no_weight_decay", False)
