"""`explain` on logs of every failure, on unrelated ones, on noise, and on hostile input."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.environment import explain, main, render_explanation

PARTS = re.split(r"^=== (\w+)\n", Path(__file__).with_name("logs.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)
LOGS = list(zip(PARTS[1::2], PARTS[2::2], strict=True))
NOISE = [
    "Collecting einops (from mamba-ssm==2.2.2)",
    "  Downloading torch-2.4.1-cp311-cp311-manylinux1_x86_64.whl (797.1 MB)",
    "\r     \x1b[32m━━━━━━━\x1b[0m 12.3/797.1 MB 5.1 MB/s eta 0:02:01\r     ━━━━━━━━━━ 797.1/797.1 MB",
    "WARNING: Running pip as the 'root' user can result in broken permissions",
    "Requirement already satisfied: numpy in /usr/lib/python3/dist-packages (1.26.4)",
    "[notice] A new release of pip is available: 24.0 -> 26.3",
    "/v/torch/cuda/__init__.py:51: FutureWarning: The pynvml package is deprecated.",
    "  copying mamba_ssm/__init__.py -> build/lib.linux-x86_64-cpython-311/mamba_ssm",
    "",
]


def first(log):
    causes = explain(log).causes
    return causes[0].id if causes else "none"


def test_enough_logs():
    assert len(LOGS) >= 60
    assert sum(expected == "none" for expected, _ in LOGS) >= 8


@pytest.mark.parametrize(("expected", "log"), LOGS, ids=[f"{i}-{log[0]}" for i, log in enumerate(LOGS)])
def test_first_cause(expected, log):
    assert first(log) == expected
    assert first(log.replace("\n", "\r\n").encode()) == expected


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(LOGS), st.lists(st.sampled_from(NOISE)), st.lists(st.sampled_from(NOISE)), st.data())
def test_noise_paths_and_versions_change_nothing(case, before, after, data):
    expected, log = case
    folder = data.draw(st.from_regex(r"/[a-z]{1,8}(/[a-z0-9._-]{1,9}){0,4}", fullmatch=True))
    minor, line = data.draw(st.integers(8, 15)), data.draw(st.integers(1, 4000))
    log = re.sub(r"(?<=[\s\"(])/v(?=/)", folder, log).replace("cpython-311", f"cpython-3{minor}")
    log = re.sub(r"line \d+", f"line {line}", log)
    assert first("\n".join([*before, log, *after])) == expected


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(), st.text()))
def test_anything_is_a_log(log):
    render_explanation(explain(log))


@pytest.mark.parametrize(
    "piece",
    [
        "undefined symbol: _Z2at",
        "\x1b]",
        "csrc/",
        " ",
        "\r",
        "Successfully installed mamba ",
        "No module named 'torch'\n",
    ]
    + [log for _, log in LOGS[::9]],
)
def test_a_megabyte_within_a_second(piece):
    log = piece * (1_000_000 // len(piece))
    start = time.process_time()
    explain(log)
    assert time.process_time() - start < 1


def test_symbol_direction_and_contract():
    cause = explain(
        "torch.__version__ = 2.2.2+cu121\nImportError: a.so: undefined symbol: _ZN3c104cuda14ExchangeDeviceEa"
    )
    cause = cause.causes[0]
    assert cause.symbol == "c10::cuda::ExchangeDevice(signed char)"
    assert cause.direction == "built for torch 2.3 or newer; running under torch 2.2.2+cu121 by the log"
    refused = next(log for expected, log in LOGS if expected == "I3")
    assert "1.5.1 or newer" in explain(refused).causes[0].direction


def test_last_error_first_and_place():
    log = "/bin/sh: 1: c++: not found\n...\nModuleNotFoundError: No module named 'selective_scan_cuda'\n"
    assert [cause.id for cause in explain(log).causes] == ["I1", "B13"]
    modal = explain("modal run app.py\n/bin/sh: 1: clang++: not found").causes[0]
    assert any("image.apt_install" in step for step in modal.fix)


def test_command(tmp_path, capsys):
    log = tmp_path / "a.log"
    log.write_text("ImportError: libc10.so: cannot open shared object file: No such file or directory\n")
    assert main(["explain", str(log), "--json"]) == 0
    (cause,) = json.loads(capsys.readouterr().out)["causes"]
    assert list(cause) == ["id", "title", "cause", "evidence", "fix", "lab"]
    assert cause["evidence"] == log.read_text().strip()
    log.write_text("all is well\n")
    assert main(["explain", "--json", str(log)]) == 1
    assert json.loads(capsys.readouterr().out) == {"causes": []}
    assert main(["explain", str(tmp_path / "absent")]) == 2
    assert main(["explain", "--what"]) == 2
    assert main(["explain", "--help"]) == 0
