"""Cost before a training is started: arithmetic on what chapters measured, and no figure for what nobody did."""

import json
from pathlib import Path

import pytest

from helpers.cloud import cost_table, estimate, price, throughput

RESULTS = Path(__file__).parents[2] / "notebooks" / "08_detector.results.json"


def test_the_throughput_is_the_one_that_the_chapter_measured():
    measured = json.loads(RESULTS.read_text())["gpu"]
    stamp = json.loads(RESULTS.with_name("08_detector.ipynb").read_text())["metadata"]["workbook"]["lanes"]["gpu"]
    found = throughput("H100")
    assert stamp["device"] == "NVIDIA H100 80GB HBM3"
    assert price(stamp["device"]).name == found.gpu
    # Another run of the chapter differs by some per cent; more is another program, and another price.
    assert found.training == pytest.approx(1000 * measured["batch"] / measured["step_ms"], rel=0.1)
    assert found.inference == pytest.approx(measured["windows_a_second"], rel=0.1)
    assert str(found.date) == stamp["date"]


def test_an_estimate_is_time_times_price():
    one, ten = estimate("H100", 1, 50_000), estimate("H100", 10, 50_000)
    epoch = (ten.seconds - one.seconds) / 9
    assert epoch == pytest.approx(50_000 / 444 + 0.3 * 50_000 / 1648)
    assert one.seconds > epoch  # imports and first kernels come before
    assert ten.gpu_dollars == pytest.approx(ten.seconds * 0.001097)
    assert ten.core_dollars == pytest.approx(ten.seconds * 8 * 0.0000131)
    assert ten.dollars == ten.gpu_dollars + ten.core_dollars
    assert estimate("H100!", 1, 50_000) == one


@pytest.mark.parametrize("gpu", ["A100-80GB", "H100:2", "L4", "none"])
def test_what_was_not_measured_has_no_estimate(gpu):
    assert estimate(gpu, 1, 1000) is None
    text = cost_table(gpu, 5, 640, 5)
    assert "nothing was measured on it" in text
    assert ("$2.50 an hour" in text) == (gpu == "A100-80GB")
    assert " min  $" not in text


def test_the_table_has_the_early_stop_and_the_field_note():
    lines = cost_table("H100", 100, None, 5).splitlines()
    assert lines[0].startswith("100 epochs of 50,000 windows on H100")
    assert [line.split("min")[0].split() for line in lines[1:4]] == [
        ["one", "epoch", f"{estimate('H100', 1, 50_000).seconds / 60:.1f}"],
        ["stopped", "as", "early", "as", "can", "be,", "6", f"{estimate('H100', 6, 50_000).seconds / 60:.1f}"],
        ["all", f"{estimate('H100', 100, 50_000).seconds / 60:.1f}"],
    ]
    text = "\n".join(lines)
    assert "$140" in text
    assert "$1.40" in text
    assert "$62.46" in text  # 25 h of the dated price
    assert "chapter 08, 2026-11-22" in text


def test_few_epochs_cannot_stop_early():
    assert "stopped as early as can be, 3" in cost_table("H100", 3, 640, 5)
