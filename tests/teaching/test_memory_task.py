"""The synthetic windows of chapter 07: what their labels mean, and that only the burst tells the two kinds apart."""

import pytest
import torch

from helpers.scoring import auroc
from helpers.teaching.memory_task import SAMPLES_PER_STEP, STEPS_PER_SECOND, eeg_like


def power(x, frequency):
    """Power at one frequency of pieces of half a second, (…, 32 samples)."""
    time = torch.arange(x.shape[-1]) / (STEPS_PER_SECOND * SAMPLES_PER_STEP)
    return ((x * torch.exp(2j * torch.pi * frequency * time)).sum(-1).abs() / x.shape[-1]) ** 2


def draw(length=131, batch=400):
    return eeg_like(batch, length, torch.Generator().manual_seed(3))


def test_the_same_generator_gives_the_same_windows():
    for first, second in zip(draw(batch=5), draw(batch=5), strict=True):
        assert torch.equal(first, second)


def test_labels_hold_from_the_burst_to_the_end_of_the_waves():
    x, labels, since = draw()
    assert x.shape == (400, 131, SAMPLES_PER_STEP)
    assert labels.shape == (400, 131, 2)
    assert set(labels.unique().tolist()) == {-1.0, 1.0}
    ictal, waves = labels[..., 0] > 0, since >= 0
    seizure = ictal.any(1)
    assert 150 < seizure.sum() < 250  # a fair coin, 400 times
    assert not ictal[~seizure].any()
    assert (ictal & waves)[seizure].equal(waves[seizure])
    assert ((ictal & ~waves)[seizure].sum(1) == STEPS_PER_SECOND // 2).all()  # half a second before
    assert (waves.sum(1) >= 3 * STEPS_PER_SECOND).all()


def test_the_burst_and_the_waves_are_where_the_labels_say():
    x, labels, since = draw()
    seizure = (labels[..., 0] > 0).any(1)
    begin = (since == 0).int().argmax(1)
    before = torch.stack([window[at - 8 : at].flatten() for window, at in zip(x, begin, strict=True)])
    after = torch.stack([window[at : at + 8].flatten() for window, at in zip(x, begin, strict=True)])
    assert power(before, 20)[seizure].min() > 10 * power(before, 20)[~seizure].median()
    assert power(after, 3).median() > 20 * power(before, 3)[~seizure].median()


def test_waves_alone_do_not_tell_a_seizure():
    """Mean, spread and extremes of the steps of waves are the same in both kinds."""
    x, labels, since = draw(batch=2000)
    seizure = (labels[..., 0] > 0).any(1).numpy()
    at = (since == 10).int().argmax(1)
    middle = torch.stack([window[place : place + 32].flatten() for window, place in zip(x, at, strict=True)])
    for feature in (middle.mean(1), middle.std(1), middle.amax(1), power(middle, 20)):
        assert abs(auroc(seizure, feature.numpy()) - 0.5) < 0.05  # 4 standard errors


def test_spikes_are_where_the_second_label_says():
    x, labels, _ = draw()
    assert auroc((labels[..., 1] > 0).flatten().numpy(), x[..., 1].flatten().numpy()) > 0.9


def test_a_window_that_is_too_short_is_named():
    with pytest.raises(ValueError, match="length is 111 steps; expected at least 112"):
        eeg_like(2, 111, torch.Generator())
