"""A store in memory, and a training on it that nothing disturbs: what those that are stopped or resumed must equal."""

import logging
import signal
import warnings

import pytest
import torch
from memory_store import MemoryStore
from tiny import config

from helpers.training import fit


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    return MemoryStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def whole(store, tmp_path_factory):
    """The training, what it reported, and a check of what of the process it changed."""
    calls, reports = [], []
    torch.manual_seed(1)  # of no consequence, as another one for those that are resumed
    out = tmp_path_factory.mktemp("runs") / "whole"
    before = _process()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = fit(config(), store, out, progress=lambda *call: calls.append(call), report=reports.append)
    assert _process() == before
    return result, calls, reports


def _process():
    levels = [logging.getLogger(name).level for name in ("lightning.pytorch", "lightning.fabric")]
    handlers = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    return handlers, levels, torch.random.get_rng_state().tolist()
