"""The map of wheels: drawn and told from the same facts."""

import matplotlib.pyplot as plt

from helpers.environment.plan import find_target, find_wheel
from helpers.teaching.wheel_map import MARKS, TORCHES, describe_wheels, wheel_map, wheels_found


def test_what_pip_would_find_is_what_the_plan_says():
    target = find_target(torch="2.6.0", cuda="12.4", python="3.11", platform="linux_x86_64", gpu="none")
    found = wheels_found("2.6", "12.4", "x86_64")
    assert found == {version: find_wheel("mamba-ssm", version, target).pip for version in found}
    assert {found["2.2.2"], found["2.2.4"], found["2.3.1"]} == {"404", "nightly", "hit"}
    assert set(wheels_found("2.5", "12.4", "aarch64").values()) == {"unknown"}


def test_every_mark_of_the_map_is_one_answer():
    figure = wheel_map("12.4", "aarch64")
    axes = figure.axes[0]
    answers = [word for torch in TORCHES for word in wheels_found(torch, "12.4", "aarch64").values()]
    assert len(axes.collections) == sum(word in MARKS for word in answers)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(wheels_found("2.6", "12.4", "x86_64"))
    plt.close(figure)


def test_the_words_name_the_torches_that_the_map_marks():
    text = describe_wheels("13.0", "x86_64")
    assert "fits for torch 2.9, 2.10." in text
    assert "For torch 2.1, 2.2, 2.3, 2.4, 2.5, 2.6, 2.7 a file" in text
