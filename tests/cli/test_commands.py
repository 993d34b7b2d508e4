"""The command line: what it writes, what it says, and one line with an exit code for what goes wrong."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import helpers
from helpers import environment
from helpers.cli import app
from helpers.detection import Detection, detect_by_rule
from helpers.eeg import CANONICAL, DATASETS, DownloadError, read_recording
from helpers.environment import artifacts, cache_folder
from helpers.models import SeizureDetector
from helpers.scoring import COLUMNS, read_events

WORKBOOK = [sys.executable, "-m", "helpers.cli"]


def workbook(*arguments):
    """Run a command in this process; standard output and standard error apart."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def words(text):
    """A text without the line breaks of the terminal and the frames of tables."""
    return " ".join(re.sub(r"[│┃┏┓┡┩└┘━─┴┳╇]", " ", text).split())


def one_error(result, *said, code=1):
    assert result.exit_code == code, (result.stdout, result.stderr)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    line = re.sub(r"/\S*/", "", line)  # folders are named after the tests
    for word in said:
        assert word in line
    assert "Traceback" not in line
    assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.fixture(scope="module")
def edf(synthetic, export, tmp_path_factory):
    """A synthetic recording of 61 s with a burst and the mark of a seizure."""
    raw = synthetic(61, seed=2, burst=(23, 31), marks=[(23.0, 8.0, "seizure")])
    return export(raw, tmp_path_factory.mktemp("edf") / "night 1.edf")


@pytest.fixture
def figures(monkeypatch):
    """Every figure that is drawn, by what stands above it."""
    import helpers.teaching

    titles, draw = [], helpers.teaching.detection_figure

    def watched(*arguments):
        figure = draw(*arguments)
        titles.append(figure.get_suptitle())
        return figure

    monkeypatch.setattr(helpers.teaching, "detection_figure", watched)
    return titles


# -- start-up ---------------------------------------------------------------------------------------------------------


def seconds(command, repeats):
    """The shortest of some runs: the others waited for somebody else."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return min(times)


def test_importing_helpers_takes_less_than_50_ms():
    bare = seconds([sys.executable, "-c", "pass"], 5)
    assert seconds([sys.executable, "-c", "import helpers"], 5) - bare < 0.05


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["detect", "--help"], ["preflight", "--help"], ["data", "fetch", "--help"]]
)
def test_help_takes_less_than_half_a_second(arguments):
    assert seconds([*WORKBOOK, *arguments], 3) < 0.5


def test_no_heavy_import_before_it_is_needed():
    code = (
        "import sys, helpers.cli; print(*sorted({'torch', 'numpy', 'mne', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split() == []


def test_version():
    result = workbook("--version")
    assert result.exit_code == 0
    assert result.stdout == f"workbook {helpers.__version__}\n"


def test_help_names_every_command_and_choice():
    everything = words(workbook("--help").stdout)
    for command in ("preflight", "detect", "data"):
        assert command in everything
    detect = words(workbook("detect", "--help").stdout)
    for word in ("--method", "rule", "network", "--weights", "--output", "absence", "untrained"):
        assert word in detect
    assert workbook().exit_code == 2  # without a command: the help, as a usage error


# -- preflight --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("code", [0, 1])
def test_preflight_is_that_of_helpers_environment(monkeypatch, options, code):
    asked = []
    monkeypatch.setattr(environment, "main", lambda arguments: asked.append(arguments) or code)
    assert workbook("preflight", *options).exit_code == code
    assert asked == [["preflight", *options]]


def test_preflight_of_this_machine():
    result = subprocess.run([*WORKBOOK, "preflight", "--json"], capture_output=True, text=True)
    same = subprocess.run([sys.executable, "-m", "helpers.environment", "--json"], capture_output=True, text=True)
    assert result.returncode == same.returncode
    assert json.loads(result.stdout).keys() == json.loads(same.stdout).keys()


# -- detect -----------------------------------------------------------------------------------------------------------


def test_detect_by_rule_writes_three_files_that_name_the_method(edf, tmp_path, figures):
    from PIL import Image

    output = tmp_path / "new" / "folder"
    result = workbook("detect", edf, "--output", output)
    assert result.exit_code == 0, result.stderr
    detection = detect_by_rule(read_recording(edf))
    names = ["night 1_rule.png", "night 1_rule_events.tsv", "night 1_rule_scores.tsv"]
    assert sorted(path.name for path in output.iterdir()) == names
    for name in names:
        assert f"wrote {output / name}" in result.stdout
    for name in names[1:]:
        rows = (output / name).read_text().splitlines()[1:]
        assert rows
        assert all(row.endswith(f"\t{detection.method}") for row in rows)
    assert figures == [detection.method]
    with Image.open(output / names[0]) as picture:
        picture.verify()
        assert min(picture.size) > 800
    assert (output / names[1]).read_text().startswith("\t".join(COLUMNS))
    assert [(event.onset, event.end) for event in read_events(output / names[1])] == [(22.5, 31.5)]
    said = words(result.stdout)
    assert f"1 events by {detection.method}" in said
    assert "Against the 1 marked seizures" in said
    assert "1 of 1" in said
    assert "threshold was chosen on this recording" not in said  # that is the real one's


def test_detect_without_seizures_and_without_marks(synthetic, export, tmp_path):
    path = export(synthetic(19, seed=3), tmp_path / "quiet.bdf")
    result = workbook("detect", path, "--output", tmp_path)
    assert result.exit_code == 0, result.stderr
    assert "No events by rule" in words(result.stdout)
    assert "Against" not in result.stdout
    assert (tmp_path / "quiet_rule_events.tsv").read_text().splitlines()[1].startswith("0.00\t19.00\tbckg\tn/a")


@pytest.fixture
def quick_network(monkeypatch):
    """The network's result without its time: the scores of a random walk; weights are still loaded and named."""
    import helpers.detection
    from helpers.detection import load_detector

    def detect(raw, weights=None, device=None, progress=None):
        if progress:
            progress(1, 2)
            progress(2, 2)
        times = np.arange(int(raw.times[-1])) + 0.5
        scores = np.random.default_rng(0).random(len(times))
        return Detection(load_detector(weights)[1], times, scores, "probability", 0.86, 0.78, [], raw.times[-1])

    monkeypatch.setattr(helpers.detection, "detect_by_network", detect)


def test_untrained_network_says_so_in_every_output_beside_the_rule(edf, tmp_path, figures, quick_network):
    result = workbook("detect", edf, "--method", "network", "--output", tmp_path)
    assert result.exit_code == 0, result.stderr
    for name in ("night 1_network_events.tsv", "night 1_network_scores.tsv"):
        assert all("UNTRAINED" in row for row in (tmp_path / name).read_text().splitlines()[1:])
    assert (tmp_path / "night 1_network.png").stat().st_size > 10_000
    assert len(figures) == 1
    assert "UNTRAINED" in figures[0]
    said = words(result.stdout)
    assert "No events by network (Bi-Mamba-2, UNTRAINED" in said
    table = result.stdout.split("Against the 1 marked seizures")[1]
    assert "UNTRAINED" in table
    assert "rule (power" in table


def test_weights_are_named_by_file_and_hash_whatever_the_name_looks_like(edf, tmp_path, quick_network):
    weights = tmp_path / "best[bold]:smile:.pt"
    state = {key: torch.ones((), dtype=t.dtype).expand(t.shape) for key, t in SeizureDetector().state_dict().items()}
    torch.save(state, weights)
    result = workbook("detect", edf, "--method", "network", "--weights", weights, "--output", tmp_path)
    assert result.exit_code == 0, result.stderr
    assert re.search(
        r"by network \(Bi-Mamba-2, weights best\[bold\]:smile:\.pt, sha256 [0-9a-f]{12}\)", words(result.stdout)
    )
    assert "UNTRAINED" not in result.stdout


def test_network_in_a_process_of_its_own(edf, tmp_path):
    """The real network on one synthetic window; progress and nothing else on standard error."""
    command = [*WORKBOOK, "detect", edf, "--method", "network", "--output", tmp_path]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Warning" not in result.stderr
    assert "Detecting" in result.stderr
    assert "UNTRAINED" in result.stdout
    assert len(list(tmp_path.iterdir())) == 3


def test_detect_absence_by_name(absence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = workbook("detect", "absence")
    assert result.exit_code == 0, result.stderr
    said = words(result.stdout)
    assert "7 events by rule" in said
    assert "0.9986" in said
    assert "3 of 3" in said
    assert "threshold was chosen on this recording" in said
    assert sorted(path.name for path in Path("results").iterdir()) == [
        "absence_rule.png",
        "absence_rule_events.tsv",
        "absence_rule_scores.tsv",
    ]


# -- what goes wrong --------------------------------------------------------------------------------------------------

BAD = {
    "notes.edf": b"asleep from nine\n" * 99,
    "page.edf": b"<!DOCTYPE html><title>404</title>" * 99,
    "empty.edf": b"",
    "notes.bdf": b"\xff" * 999,
    "notes.h5": b"\x89HDF\r\n\x1a\n" + b"\0" * 99,
    "notes.txt": b"0       ",
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("method", ["rule", "network"])
def test_bad_file(tmp_path, name, method):
    path = tmp_path / name
    path.write_bytes(BAD[name])
    one_error(workbook("detect", path, "--method", method, "--output", tmp_path / "out"), name)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["missing.edf", ".", "absent", ""])
def test_wrong_path(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    one_error(workbook("detect", name), "check the path")


@pytest.mark.parametrize("share", [0.0002, 0.005, 0.5, 0.999])
def test_truncated_file(edf, tmp_path, share):
    path = tmp_path / "cut.edf"
    content = edf.read_bytes()
    path.write_bytes(content[: round(share * len(content))])
    one_error(workbook("detect", path, "--output", tmp_path), "cut.edf", "no EDF" if share == 0.0002 else "truncated")


def test_recordings_that_cannot_be_used(synthetic, export, tmp_path):
    short = export(synthetic(31, seed=3), tmp_path / "short.edf")
    one_error(
        workbook("detect", short, "--method", "network", "--output", tmp_path), "short.edf", "lasts 31.0 s", "60 s"
    )
    shorter = export(synthetic(7, seed=3), tmp_path / "shorter.edf")
    one_error(workbook("detect", shorter, "--output", tmp_path), "shorter.edf", "lasts 7.0 s")
    few = export(synthetic(31, names=CANONICAL[:-3]), tmp_path / "few.edf")
    one_error(workbook("detect", few, "--output", tmp_path), "few.edf", "3 of the 19", "F8, T4, T6")
    flat = synthetic(31).apply_function(lambda x: 0 * x, picks=["Cz"])
    one_error(workbook("detect", export(flat, tmp_path / "flat.edf"), "--output", tmp_path), "flat.edf", "channel Cz")


def test_weights_with_the_rule_are_a_usage_error(edf, tmp_path):
    result = workbook("detect", edf, "--weights", tmp_path / "w.pt", "--output", tmp_path / "out")
    one_error(result, "--weights belongs to --method network", code=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments", [["detect"], ["detect", "a.edf", "--method", "magic"], ["dance"], ["data", "drop"]]
)
def test_usage_errors(arguments):
    result = workbook(*arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.stderr
    assert "Traceback" not in result.stderr


def test_bad_weights(edf, tmp_path):
    weights = tmp_path / "weights.pt"
    one_error(workbook("detect", edf, "--method", "network", "--weights", weights), "weights.pt", "no such file")
    weights.write_text("hello world\n")
    one_error(workbook("detect", edf, "--method", "network", "--weights", weights), "weights.pt", "no file of weights")


def test_output_that_cannot_be_written(edf, tmp_path):
    (tmp_path / "file").write_text("mine")
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        one_error(workbook("detect", edf, "--output", output), output.name, "--output")
    (tmp_path / "night 1_rule.png").mkdir()
    one_error(workbook("detect", edf, "--output", tmp_path), "cannot write there")
    assert (tmp_path / "file").read_text() == "mine"
    assert not list(tmp_path.glob("*.part"))


def test_errors_of_a_process_of_its_own(tmp_path):
    path = tmp_path / "page.edf"
    path.write_bytes(BAD["page.edf"])
    result = subprocess.run([*WORKBOOK, "detect", path], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "results").exists()


# -- data fetch -------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """A cache that holds what the labs need, and no recording."""
    (tmp_path / "labs").symlink_to(cache_folder() / "labs")
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path))
    return tmp_path


def test_fetch_with_a_filled_cache_asks_nobody(monkeypatch, cache):
    from dataclasses import replace
    from hashlib import sha256

    path = cache / "absence_epilepsy.eeg.h5"
    path.write_bytes(b"whole")
    monkeypatch.setitem(DATASETS, "absence", replace(DATASETS["absence"], sha256=sha256(b"whole").hexdigest()))
    monkeypatch.setattr(subprocess, "Popen", None)
    result = workbook("data", "fetch")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"absence: already here, {path}\n")
    assert "https://pypi.org/project/eeghdf/0.2.4/" in result.stdout
    assert "BSD-3-Clause" in result.stdout
    assert f"labs: {cache / 'labs'}" in result.stdout
    assert "17/17" in result.stderr or result.stderr == ""


def test_fetch_shows_progress_and_where_the_file_is(monkeypatch, cache):
    import helpers.eeg

    def fetch(name, progress):
        progress(1, 3)
        progress(3, 3)
        return cache / name

    monkeypatch.setattr(helpers.eeg, "fetch", fetch)
    result = workbook("data", "fetch")
    assert result.exit_code == 0, result.stderr
    assert f"absence: fetched, {cache / 'absence'}" in result.stdout
    assert "Fetching absence" in result.stderr


def test_fetch_by_name_brings_that_and_nothing_else(monkeypatch, cache):
    import helpers.eeg

    asked = []
    monkeypatch.setattr(helpers.eeg, "fetch", lambda name, progress: asked.append(name) or cache / name)
    result = workbook("data", "fetch", "chb01_03", "chb12_27")
    assert result.exit_code == 0, result.stderr
    assert asked == ["chb01_03", "chb12_27"]
    assert f"chb12_27: fetched, {cache / 'chb12_27'}\n  CHB-MIT Scalp EEG Database 1.0.0" in result.stdout
    assert "labs" not in result.stdout
    one_error(workbook("data", "fetch", "sleep"), "no data set is named 'sleep'", "chb01_03")


def test_fetch_that_fails_is_one_error(monkeypatch, cache):
    import helpers.eeg

    def fetch(name, progress):
        raise DownloadError("no network.\nConnect to one.")

    monkeypatch.setattr(helpers.eeg, "fetch", fetch)
    one_error(workbook("data", "fetch"), "no network. Connect to one.")


def test_fetch_says_when_the_labs_cannot_be_had(monkeypatch, cache):
    import helpers.eeg

    monkeypatch.setattr(helpers.eeg, "fetch", lambda name, progress: cache / name)
    (cache / "labs").unlink()
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9")
    artifacts._index.cache_clear()
    result = workbook("data", "fetch")
    artifacts._index.cache_clear()
    assert result.exit_code == 1
    assert "absence: fetched" in result.stdout
    assert "could not be fetched (<urlopen error [Errno 111] Connection refused>)" in result.stderr.replace("\n", " ")


def test_workbook_command_is_this_application():
    program = Path(sys.executable).with_name("workbook")
    if not os.access(program, os.X_OK):
        pytest.skip("the package is not installed with its command")
    result = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert result.stdout == f"workbook {helpers.__version__}\n"


def test_evaluate_puts_the_rule_beside_the_network(edf, tmp_path, quick_network):
    folder = tmp_path / "recordings"
    folder.mkdir()
    (folder / edf.name).write_bytes(edf.read_bytes())
    (folder / "broken.edf").write_text("<!doctype html>")
    result = workbook("evaluate", folder, "--weights", "synthetic")
    assert result.exit_code == 0, result.stderr
    said = words(result.stdout)
    assert "recordings: 1, subjects: 1, hours: 0.0" in said
    assert re.search(r"network \(Bi-Mamba-2, .*rule \(power", said)
    assert "found, each by itself" in said
    assert re.search(r"left out \S*broken\.edf: this is no EDF", said)
    found = json.loads(workbook("evaluate", folder / edf.name, "--json").stdout)
    (rule,) = found["evaluations"]
    assert (rule["method"][:4], rule["overlap"]["reference"], found["left_out"]) == ("rule", 1, {})
    assert rule["operating_points"].keys() == {"10", "5", "2.5", "1"}


def test_evaluate_without_a_recording(tmp_path):
    one_error(workbook("evaluate", tmp_path), "no recording in it")
    (tmp_path / "broken.edf").write_text("<!doctype html>")
    result = workbook("evaluate", tmp_path, "--weights", "synthetic")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1].startswith("error: none of 1 recordings can be scored. The first: ")
