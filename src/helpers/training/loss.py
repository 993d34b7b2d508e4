"""The loss of one batch: binary cross-entropy for each sample, focused on what is still wrong.

It knows logits and labels; where they come from, and what is done with the number, is said elsewhere.
"""

import math

import torch
import torch.nn.functional as F

__all__ = ["balancing_weight", "detection_loss"]


def detection_loss(logits, labels, gamma=2.0, pos_weight=1.0):
    """Mean over all samples of (1 - p)^gamma · w · (-log p), where p is the probability given to the right answer.

    Parameters
    ----------
    logits : Tensor, (batch, length)
    labels : Tensor, (batch, length)
        1 where a sample is ictal, else 0.
    gamma : float
        0 is binary cross-entropy. Above 0, samples that are right already count less: the focal loss.
    pos_weight : float
        w of the ictal samples; that of the others is 1.

    Returns
    -------
    Tensor, ()
        In float32, whatever the logits are.

    Notes
    -----
    Source: Lin et al. 2017, "Focal loss for dense object detection", equation 5. Its alpha is `pos_weight` here, up to
    a factor of the whole loss.
    """
    logits, labels = logits.float(), labels.float()
    loss = F.binary_cross_entropy_with_logits(
        logits, labels, pos_weight=torch.tensor(pos_weight, device=logits.device), reduction="none"
    )
    if gamma:
        log_wrong = F.logsigmoid(torch.where(labels > 0.5, -logits, logits))  # log(1 - p)
        loss = loss * torch.exp(gamma * log_wrong)  # as a power, it has no gradient at 1 - p = 0 for a gamma below 1
    return loss.mean()


def balancing_weight(share):
    """√((1 - share) / share): between no weight at all, and the one at which both kinds of samples weigh the same.

    Parameters
    ----------
    share : float
        Of the samples that are ictal, between 0 and 1.

    Returns
    -------
    float

    Notes
    -----
    The form is the reference's (``brain-go-brr-v2`` v2.1.0), which puts the share of *windows* into it.
    """
    return math.sqrt((1 - share) / share)
