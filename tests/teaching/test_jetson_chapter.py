"""Chapter 04: its labs break for the reason that they give, and what it shows of env/jetson is what is there."""

import re
from pathlib import Path

import pytest
from test_chapter_labs import cells, labs, run

CHAPTER = "04_jetson_patch"
ROOT = Path(__file__).resolve().parents[2]
MENDED = {  # lab: what stands in its cells, and what takes the cause away
    "import-order": {'"import causal_conv1d_cuda"': '"import torch, causal_conv1d_cuda"'},
    "arguments": {"compare(lab, site)": "jetson.apply(site / 'mamba_ssm'); compare(lab, site)"},
    "backward": {'"2.2.4", "1.6.0")\ncompile_into(noted, 8, 12)': '"2.2.4", "1.4.0")\ncompile_into(noted, 7, 10)'},
    "refused": {'"None, dx, 0"': '"None, None, dx, False"'},
    "distributed": {"lab.python(WITHOUT, folder": "lab.python(WITHOUT, env={'PYTHONPATH': stand_ins}, folder"},
}


def test_every_lab_is_mended_here():
    assert labs(CHAPTER) == set(MENDED)


@pytest.mark.parametrize("lab", MENDED)
def test_without_its_cause_a_lab_turns_red(lab):
    with pytest.raises(AssertionError, match=r"the block ran without an error, expected \w+ matching"):
        run(CHAPTER, lab, MENDED[lab])


def test_the_stand_ins_of_the_chapter_are_those_of_env_jetson():
    there = (ROOT / "env" / "jetson" / "sitecustomize.py").read_text(encoding="utf-8")
    (shown,) = re.findall(r"STAND_INS = '''\\\n(.*?)'''", "\n".join(cell.source for cell in cells(CHAPTER)), re.S)
    assert shown == there[there.index("import sys\n") :]
