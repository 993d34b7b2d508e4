"""Labs with needs: run and kept where they can run; elsewhere what was stored, and never a claim to have run."""

import importlib
import json

import pytest

from helpers.teaching.needs import NeedError, needs, require
from helpers.teaching.results import TABLE

module = importlib.import_module("helpers.teaching.needs")  # the package has a function of that name


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "NEEDS", {"a lathe": lambda: True, "a GPU": lambda: False, "nvcc": lambda: False})
    yield tmp_path
    TABLE.clear()


def test_a_lab_that_can_run_runs_and_its_output_is_recorded(capsys):
    @needs("a lathe")
    def turning():
        print("chips")
        return 3

    assert turning == 3
    assert capsys.readouterr().out == "chips\n"
    assert TABLE == {"lab_turning": "chips\n"}


def test_what_a_lab_raises_is_not_hidden():
    with pytest.raises(ZeroDivisionError):

        @needs("a lathe")
        def turning():
            1 / 0  # noqa: B018

    assert TABLE == {}


def test_a_lab_that_cannot_run_shows_its_stored_output_and_where_it_is_from(capsys, machine):
    (machine / "01_x.results.json").write_text(json.dumps({"cpu": {}, "gpu": {"lab_launch": "no kernel image\n"}}))
    stamp = {"device": "NVIDIA H100", "versions": {"torch": "2.11.0+cu130"}, "date": "2026-11-22"}
    (machine / "01_x.ipynb").write_text(json.dumps({"metadata": {"workbook": {"lanes": {"gpu": stamp}}}}))

    @needs("a lathe", "a GPU", "nvcc")
    def launch():
        raise AssertionError("must not run")

    assert launch is None
    assert capsys.readouterr().out == (
        "This lab needs a GPU and nvcc, not found here; nothing was run.\n"
        "What it printed on NVIDIA H100, torch 2.11.0+cu130, 2026-11-22:\n\nno kernel image\n"
    )
    assert TABLE == {}


def test_without_a_stored_output_the_page_has_it(capsys):
    @needs("nvcc")
    def compile_it():
        raise AssertionError("must not run")

    assert capsys.readouterr().out.endswith(
        "nothing was run.\nIts stored output is on this chapter's page of the book.\n"
    )


def test_an_unknown_need_and_a_chapter_that_cannot_run():
    with pytest.raises(NeedError, match=r"unknown need 'a loom', expected one of a lathe, a GPU, nvcc"):
        needs("a loom")
    require("a lathe", remedy="Buy one.")
    with pytest.raises(NeedError, match=r"^this chapter needs nvcc, not found on this machine\. Open it on Colab\.$"):
        require("a lathe", "nvcc", remedy="Open it on Colab.")


def test_the_real_needs_can_all_be_asked(monkeypatch):
    monkeypatch.undo()
    assert all(isinstance(here(), bool) for here in module.NEEDS.values())
