"""Chapter 13: its labs break for the reason that they give, and its arithmetic is that of `helpers.cloud`."""

import pytest
from test_chapter_labs import cells, labs, run

from helpers.cloud import estimate, throughput

CHAPTER = "13_modal_training"
MENDED = {  # lab: what stands in its cells, and what takes the cause away
    "timeout": {"30 * 3600": "24 * 3600"},
    "resume": {'"--resume", "true"': '"--resume"'},
}


def test_every_lab_is_mended_here():
    assert labs(CHAPTER) == set(MENDED)


@pytest.mark.parametrize("lab", MENDED)
def test_without_its_cause_a_lab_turns_red(lab):
    if lab == "resume":
        pytest.importorskip("modal")
    with pytest.raises(AssertionError, match=r"the block ran without an error, expected \w+ matching"):
        run(CHAPTER, lab, MENDED[lab])


@pytest.mark.parametrize("epochs", [1, 70])
def test_what_the_chapter_computes_is_what_the_app_prints(epochs):
    (source,) = (cell.source for cell in cells(CHAPTER) if cell.source.startswith("WINDOWS = "))
    exec(compile(source, CHAPTER, "exec"), variables := {})
    speed = throughput("H100")
    found = variables["seconds"](epochs, speed.training, speed.inference)
    assert found == pytest.approx(estimate("H100", epochs, variables["WINDOWS"]).seconds)
