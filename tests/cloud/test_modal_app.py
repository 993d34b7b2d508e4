"""Every action of env/modal/app.py, end to end against the model of Modal, in the order in which a reader takes them.

The containers are real processes that see only what the app mounted; the recordings are synthetic.
"""

import json
import re
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from conftest import CANARY, ROOT

from helpers.cloud import LONGEST_TIMEOUT, TimeoutRuleError, checked_timeout
from helpers.eeg import open_store
from helpers.training import fit, read_checkpoint

CONFIG = """
detector: {widths: [4, 4, 8, 32], rescnn_blocks: 0, mamba_layers: 1}
optimizer: {lr: 0.003, warmup: 0.1}
fractions: {train: 0.34, validation: 0.33, test: 0.33}
epochs: 1
batch_size: 1
workers: 0
checkpoint_every: 2
"""


@pytest.fixture(scope="module", autouse=True)
def runnable():
    pytest.importorskip("modal")
    from helpers.cloud.local.containers import why_no_containers

    if why := why_no_containers():
        pytest.skip(why)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    return tmp_path_factory.mktemp("volumes")


@pytest.fixture(scope="module")
def results(volumes):
    return volumes / "workbook-results"


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def prepared(local_modal, modal_run, volumes, results):
    """Three synthetic recordings, drawn and prepared; what was said, and the model."""
    with local_modal(volumes=volumes) as modal:
        said = modal_run(modal, "--action", "prepare", "--gpu", "none", "--synthetic", "3", "--minutes", "4")
    return said, modal


def test_prepare_maps_over_recordings(prepared, results):
    said, modal = prepared
    assert "synthetic EEG of 3 subjects: no patient was recorded" in said
    assert "3 recordings prepared, 0 already there, 0 left out; " in said
    assert [attempt["function"] for attempt in modal.attempts] == ["list_recordings"] + ["prepare_recording"] * 3
    assert {attempt["status"] for attempt in modal.attempts} == {"ok"}
    store = open_store(results / "store")
    assert store.subjects == ("sub-01", "sub-02", "sub-03")
    store.verify()
    assert len(modal.requests("VolumeCommit")) == 4
    assert modal.leaks() == modal.missing == []


def test_prepare_goes_on_with_a_read_only_bucket(prepared, local_modal, modal_run, volumes, results, tmp_path):
    """The same recording is kept, the others of the store are named, and nothing is written to the bucket."""
    name = "sub-01/eeg/sub-01_task-synthetic_run-01"
    home = (tmp_path / "edf" / name).parent
    shutil.copytree((results / "recordings" / name).parent, home)
    before = {path: path.read_bytes() for path in home.rglob("*")}
    with local_modal(volumes=volumes, buckets={"patients": tmp_path}) as modal:
        said = modal_run(modal, "--action", "prepare", "--gpu", "none", "--bucket", "patients/edf")
    assert "0 recordings prepared, 1 already there, 0 left out" in said
    assert "The store also holds 2 other recordings (sub-02/eeg/" in said
    assert {path: path.read_bytes() for path in home.rglob("*")} == before
    assert modal.leaks() == []
    assert len(open_store(results / "store").recordings) == 3


@pytest.fixture(scope="module")
def trained(prepared, local_modal, modal_run, volumes, results, config):
    """A training whose 24 hours are over twice: with every checkpoint that is committed, 13 h go by.

    ``--no-resume`` asks for a new run; what one call has begun, its next attempts go on with all the same.
    """
    steps = []

    def clock():
        if len(steps) < len(modal.attempts):
            saved = results / "runs" / "tiny" / "last.ckpt"
            steps.append(read_checkpoint(saved)["training"]["step"] if saved.exists() else 0)
        return 13 * 3600 * len(modal.requests("VolumeCommit")) if len(steps) < 3 else 0

    with local_modal(volumes=volumes, clock=clock) as modal:
        said = modal_run(modal, "--action", "train", "--no-resume", "--gpu", "none", "--config", config, detach=True)
    return said, modal, steps


def test_a_training_goes_past_its_timeouts(trained, results, config, tmp_path):
    """Killed twice in the middle of an epoch, it ends with the losses and the weights of one that was not."""
    said, modal, steps = trained
    assert [attempt["status"] for attempt in modal.attempts] == ["timeout", "timeout", "ok"]
    assert "trained: modal run" in said
    assert [said.count(f"going on with step {step + 1} of") for step in steps[1:]] == [1, 1]
    whole = fit(config, open_store(results / "store"), tmp_path / "whole")
    assert steps[0] == 0 < steps[1] < steps[2] < len(whole.steps)  # all in one epoch
    for name in ("last.ckpt", "detector.pt"):
        one, other = read_checkpoint(tmp_path / "whole" / name), read_checkpoint(results / "runs" / "tiny" / name)
        assert one["training"]["validations"] == other["training"]["validations"]
        assert all(torch.equal(weight, other["state_dict"][key]) for key, weight in one["state_dict"].items())
    assert np.array_equal(whole.steps, read_checkpoint(results / "runs" / "tiny" / "last.ckpt")["steps"].numpy())
    assert [path.name for path in (results / "runs" / "tiny").glob(".*")] == []  # of the files a kill left
    assert modal.leaks() == []


def test_evaluate_scores_what_the_run_did_not_see(trained, local_modal, modal_run, volumes, results):
    with local_modal(volumes=volumes) as modal:
        said = modal_run(modal, "--action", "evaluate", "--gpu", "none", "--run", "tiny")
    network, rule = json.loads((results / "runs" / "tiny" / "evaluation.json").read_text())
    assert network["recordings"] == rule["recordings"] == 1  # the one test subject has one
    assert f"AUROC {network['auroc']:.3f}" in said
    assert f"rule (power at 2.5-4.5 Hz, threshold 40 x median): AUROC {rule['auroc']:.3f}" in said
    assert modal.leaks() == []


def test_mamba_looks_from_inside(local_modal, modal_run, volumes):
    """The container has every data file of the package, and its two layers agree with float64."""
    source = ROOT / "src" / "helpers"
    data = [path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    count = sum(path.suffix != ".py" for path in data) + 1  # the weights
    with local_modal(volumes=volumes) as modal:
        said = modal_run(modal, "--action", "test-mamba", "--gpu", "none")
    assert f"the package has its {count} data files" in said
    assert len(re.findall(r"Mamba2?: off float64 by \de-0[678] ", re.sub(r"\.\d", "", said))) == 2
    assert f"torch {torch.__version__} on cpu" in said


def test_a_chapter_comes_back_with_its_stamp(checkout, local_modal, modal_run, volumes):
    """It prints its whole environment: the Secret that exists in the workspace is not in it."""
    import jupytext

    app = checkout()
    chapter = app.parents[2] / "notebooks" / "98_tiny.py"
    head = "# ---\n# jupyter:\n#   jupytext:\n#     formats: ipynb,py:percent\n# ---\n\n"
    chapter.write_text(head + "# %%\nimport os\n\nprint(dict(os.environ), 6 * 7)\n")
    jupytext.write(jupytext.read(chapter), chapter.with_suffix(".ipynb"))
    jupytext.write(jupytext.read(chapter.with_suffix(".ipynb")), chapter, fmt="py:percent")
    text = chapter.read_text()
    with local_modal(volumes=volumes, buckets={"patients": volumes}) as modal:
        said = modal_run(
            modal, "--action", "notebook", "--chapter", "98", "--gpu", "none", "--bucket", "patients", app=app
        )
    found = json.loads(chapter.with_suffix(".ipynb").read_text())
    assert found["metadata"]["workbook"]["home"] == "cpu"
    assert found["metadata"]["workbook"]["lanes"]["cpu"]["commit"] == "unknown"
    output = "".join(found["cells"][0]["outputs"][0]["text"])
    assert output.endswith("42\n")
    assert CANARY not in output
    assert chapter.read_text() == text
    assert "98_tiny.ipynb: " in said
    assert modal.leaks() == []
    assert sorted(path.name for path in chapter.parent.iterdir()) == ["98_tiny.ipynb", "98_tiny.py"]


def test_cost_asks_nobody(local_modal, monkeypatch, capsys):
    """In this process, which has imported what reads a configuration."""
    from modal.__main__ import main

    with local_modal() as modal:
        for name, value in modal.client_environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # which modal replaces
        monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
        app = str(ROOT / "env" / "modal" / "app.py")
        monkeypatch.setattr(sys, "argv", ["modal", "run", app, "--action", "cost", "--config", "full"])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    assert modal.calls == []
    said = capsys.readouterr().out
    assert "100 epochs of 50,000 windows on H100" in said
    assert "Field note A" in said


def test_cost_says_what_it_needs_here(local_modal, modal_run):
    with local_modal() as modal:
        said = modal_run(modal, "--action", "cost", code=1)
    assert re.fullmatch(
        r'error: a configuration is read with \w+\. Install it: pip install -e "\.\[workbook\]"\n', said
    )
    assert modal.calls == []


def test_a_timeout_that_modal_refuses_is_refused_before_it_is_asked(local_modal):
    with local_modal() as modal:
        command = [sys.executable, "-m", "modal", "run", str(ROOT / "env" / "modal" / "app.py")]
        command += ["--action", "train", "--timeout=108000"]
        done = subprocess.run(command, env=modal.environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert modal.calls == []
    assert "error: timeout is 108000 s, expected 1 to 86,400 s (24 h) for one attempt" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("seconds", [1, 3600, LONGEST_TIMEOUT])
def test_the_timeouts_that_modal_takes(seconds):
    assert checked_timeout(seconds) == seconds


@pytest.mark.parametrize(("seconds", "remedy"), [(LONGEST_TIMEOUT + 1, "2 attempts"), (864_000, "10 attempts")])
def test_the_remedy_for_a_long_run(seconds, remedy):
    with pytest.raises(TimeoutRuleError, match=f"Give 86400: a run of .* takes {remedy}, and each goes on from the"):
        checked_timeout(seconds)


@pytest.mark.parametrize("value", ["24h", 0, 1.5, None])
def test_what_is_no_timeout(value):
    with pytest.raises(TimeoutRuleError, match="expected 1 to 86,400 s"):
        checked_timeout(value)


def test_an_action_that_there_is_not(local_modal, modal_run):
    with local_modal() as modal:
        assert "fly" in modal_run(modal, "--action", "fly", code=2)
    assert modal.attempts == []
