"""Configurations: the shipped ones are what they say, and a mistake is named before anything is computed."""

import re
from importlib.resources import files

import pytest
import torch
from tiny import config

from helpers.models import SeizureDetector
from helpers.training import TrainingConfig, TrainingError, load_config, shipped_configs


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("name", shipped_configs())
def test_shipped_configurations_build_what_their_comment_says(name):
    with torch.device("meta"):
        model = SeizureDetector(**load_config(name).detector.model_dump())
    (said,) = re.findall(
        r"^#.*?([\d,]+) parameters", (files("helpers.training") / f"configs/{name}.yaml").read_text(), re.M
    )
    assert sum(parameter.numel() for parameter in model.parameters()) == int(said.replace(",", ""))


def test_full_is_the_reference_and_small_fits_into_four_megabytes():
    with torch.device("meta"):
        full, small = (SeizureDetector(**load_config(name).detector.model_dump()) for name in ("full", "small"))
        assert full.config == SeizureDetector().config
    assert sum(tensor.nbytes for tensor in small.state_dict().values()) < 3.9e6


def test_a_name_a_file_and_a_file_of_a_shipped_name(written, tmp_path, monkeypatch):
    assert load_config("smoke") == load_config("smoke.yaml") != load_config("full")
    path = written("epochs: 3\noptimizer: {lr: 3e-4}\n")  # YAML 1.1 reads 3e-4 as text
    assert load_config(str(path)) == load_config(path) == TrainingConfig(epochs=3)
    monkeypatch.chdir(tmp_path)
    path.rename("smoke.yaml")
    assert load_config("smoke.yaml").epochs == 3


def test_a_configuration_is_the_same_after_a_checkpoint():
    first = config(fractions={"train": 0.55, "validation": 0.45}, seed=7)
    assert TrainingConfig.model_validate(first.model_dump(mode="json")) == first


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch: 3", "unknown key epoch; did you mean epochs?"),
        (
            "optimizer:\n  learning_rate: 0.1",
            "unknown key optimizer.learning_rate; expected lr, weight_decay, warmup, clip",
        ),
        ("detector: {mixing: add}", "detector.mixing is 'add'; input should be 'concat', 'sum' or 'shared'"),
        ("loss: {pos_weight: 0}", "pos_weight"),
        ("optimizer: {lr: .nan}", "optimizer.lr is nan"),
        ("optimizer: {warmup: 1}", "optimizer.warmup is 1; input should be less than 1"),
        ("optimizer: {lr: .inf}", "optimizer.lr is inf"),
        ("optimizer: {lr: fast}", "optimizer.lr is 'fast'"),
        ("epochs: 0\nbatch_size: -1", "epochs is 0; input should be greater than 0; batch_size is -1"),
        ("epochs: 3\nseed: 1\nepochs: 4", "line 3: no YAML (epochs stands twice)"),
        ("optimizer:\n  lr: 1\n  lr: 2", "line 3: no YAML (lr stands twice)"),
        ("fractions: {train: 0.7, validation: 0.2}", "must be there, and all must add up to 1"),
        ("fractions: {train: 0.5, test: 0.5}", "train and validation must be there"),
        ("fractions: {training: 1}", "fractions.training"),
        ("- epochs", "found list, expected"),
        ("", "found NoneType, expected"),
        ("epochs: [1, 2", "no YAML"),
        ("a: !!python/object/apply:os.system [true]", "no YAML"),
    ],
)
def test_mistakes_are_named(written, text, said):
    path = written(text)
    with pytest.raises(TrainingError, match=re.escape(said)) as found:
        load_config(path)
    assert str(found.value).startswith(str(path))
    assert len(str(found.value)) < 400


def test_what_is_not_there_is_named_beside_what_is(tmp_path):
    for missing in ("smokey", tmp_path / "no.yaml", tmp_path):
        with pytest.raises(TrainingError, match="full, small, smoke") as found:
            load_config(missing)
        assert str(found.value).startswith(str(missing))
