"""What a file of weights and a result record of the network: its config is honored or refused, a stand-in is named."""

import pytest
import torch

from helpers.detection import WeightsError, detect_by_network, load_detector
from helpers.models import SeizureDetector, StandInWarning

SMALL = {"widths": [8, 32], "rescnn_blocks": 1, "mamba_layers": 1, "d_state": 3}


def saved(path, **options):
    """A small detector and the file that a training of it would leave."""
    torch.manual_seed(7)
    model = SeizureDetector(**{**SMALL, **options}).eval()
    torch.save({"state_dict": model.state_dict(), "config": model.config}, path)
    return model


@pytest.mark.parametrize("options", [{}, {"mixing": "shared", "d_state": 5}, {"mixing": "sum", "backend": "torch"}])
def test_a_recorded_config_is_honored(tmp_path, options):
    model = saved(tmp_path / "a.pt", **options)
    loaded, name = load_detector(tmp_path / "a.pt")
    eeg = torch.randn(1, 19, 64)
    assert torch.equal(loaded(eeg), model(eeg))
    assert loaded.config == model.config
    assert "Bi-Mamba-2" in name
    assert "stand-in" not in name


def test_a_stand_in_is_named_in_the_result(tmp_path, synthetic):
    with pytest.warns(StandInWarning):
        saved(tmp_path / "a.pt", backend="conv1d")
    with pytest.warns(StandInWarning):
        detection = detect_by_network(synthetic(60, sfreq=256.0), tmp_path / "a.pt", device="cpu")
    assert "Conv1d stand-in, NO Mamba-2" in detection.method


def test_untrained_weights_under_the_variable_are_named_a_stand_in(monkeypatch):
    monkeypatch.setenv("SEIZURE_MAMBA_FORCE_FALLBACK", "1")
    with pytest.warns(StandInWarning):
        model, name = load_detector()
    assert name.startswith("network (Conv1d stand-in, NO Mamba-2, UNTRAINED")
    assert model.config["backend"] == "conv1d"


def test_the_variable_does_not_turn_recorded_weights_into_a_stand_in(tmp_path, monkeypatch):
    saved(tmp_path / "auto.pt")
    saved(tmp_path / "torch.pt", backend="torch")
    monkeypatch.setenv("SEIZURE_MAMBA_FORCE_FALLBACK", "1")
    with pytest.warns(StandInWarning), pytest.raises(WeightsError, match=r"do not fit the detector \(Conv1d stand-in"):
        load_detector(tmp_path / "auto.pt")
    assert "Bi-Mamba-2" in load_detector(tmp_path / "torch.pt")[1]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"layers": 3}, r"its config builds no detector \(.*unexpected keyword argument 'layers'\)"),
        ({"mixing": "both"}, "mixing is 'both'; expected one of"),
        ({"widths": 7}, "its config builds no detector"),
        ([1], "its config builds no detector"),
        ({**SMALL, "n_channels": 18}, "a detector of 18 channels; recordings have 19 here"),
        ({**SMALL, "d_state": 4}, r"do not fit the detector \(Bi-Mamba-2\)"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(tmp_path, config, message):
    model = saved(tmp_path / "a.pt")
    torch.save({"state_dict": model.state_dict(), "config": config}, tmp_path / "b.pt")
    with pytest.raises(WeightsError, match=message) as caught:
        load_detector(tmp_path / "b.pt")
    assert "b.pt" in str(caught.value)


def test_a_kernel_that_cannot_be_here_is_refused(tmp_path, synthetic):
    saved(tmp_path / "a.pt", backend="mamba_ssm")
    with pytest.raises(WeightsError, match=r"a\.pt: its config asks for what cannot be here.*the input is on cpu"):
        detect_by_network(synthetic(60, sfreq=256.0), tmp_path / "a.pt", device="cpu")
