"""Measured numbers: what may be recorded, how they get into the text, and which texts are wrong."""

import json

import jupytext
import nbformat
import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.cli import app
from helpers.teaching import ResultError, execute, fill_numbers, record, stale
from helpers.teaching.results import TABLE, fill, read_results, wrong_numbers

TABLES = {"gpu": {"auroc": 0.16234, "windows": 177}, "cpu": {"auroc": 0.5, "device": "2 cores"}}


@pytest.fixture
def book(tmp_path):
    """A book of two chapters, 03 with results of two lanes and 04 without, and one prose page."""
    (tmp_path / "book").mkdir()
    (tmp_path / "notebooks").mkdir()
    for name, home in [("03_one", "gpu"), ("04_two", "cpu")]:
        notebook = nbformat.v4.new_notebook(metadata={"workbook": {"home": home, "lanes": {}}})
        nbformat.write(notebook, tmp_path / "notebooks" / f"{name}.ipynb")
    (tmp_path / "notebooks" / "03_one.results.json").write_text(json.dumps(TABLES))
    return tmp_path


def span(reference, shown=""):
    return f'<span data-result="{reference}">{shown}</span>'


@pytest.mark.parametrize(
    ("page", "reference", "number"),
    [
        ("notebooks/03_one.ipynb", "auroc:.3f", "0.162"),  # home lane
        ("notebooks/03_one.ipynb", "auroc", "0.16234"),
        ("notebooks/03_one.ipynb", "cpu/auroc:.2f", "0.50"),
        ("notebooks/03_one.ipynb", "cpu/device", "2 cores"),
        ("notebooks/04_two.ipynb", "03_one/windows:d", "177"),
        ("book/page.md", "03_one/auroc:.1%", "16.2%"),
        ("book/page.md", "03_one/cpu/auroc:g", "0.5"),
    ],
)
def test_a_reference_finds_its_number(book, page, reference, number):
    text = f"before {span(reference, 'old')} after"
    filled = fill(text, book / page)
    assert filled == f"before {span(reference, number)} after"
    assert wrong_numbers(filled, book / page) == []
    assert wrong_numbers(text, book / page) == [f"{reference.split(':')[0]} is 'old' in the text, measured {number!r}"]


@pytest.mark.parametrize(
    ("page", "reference", "reason"),
    [
        ("notebooks/03_one.ipynb", "aurok:.3f", "03_one recorded no 'aurok' in lane gpu; it has auroc, windows"),
        ("notebooks/04_two.ipynb", "auroc", "04_two recorded no 'auroc' in lane cpu; it has nothing"),
        ("notebooks/03_one.ipynb", "tpu/auroc", "there is no chapter tpu.ipynb"),
        ("notebooks/03_one.ipynb", "a/03_one/gpu/auroc", "recorded no 'auroc'"),
        ("notebooks/03_one.ipynb", "cpu/device:.3f", "'2 cores' has no format '.3f'"),
        ("book/page.md", "auroc:.3f", "there is no chapter page.ipynb; name one, as in 00_start_here/auroc"),
        ("book/page.md", "05_none/auroc", "there is no chapter 05_none.ipynb"),
    ],
)
def test_a_reference_that_leads_nowhere_is_named_and_left_alone(book, page, reference, reason):
    text = f"before {span(reference, '1')} after"
    assert fill(text, book / page) == text
    (found,) = wrong_numbers(text, book / page)
    assert reason in found


@pytest.mark.parametrize("broken", ["<span data-result='auroc'>1</span>", '<span data-result="auroc"><b>1</b></span>'])
def test_a_span_that_cannot_be_read_is_a_fault(book, broken):
    assert "1 of the spans cannot be read" in wrong_numbers(broken, book / "notebooks" / "03_one.ipynb")[0]


@pytest.mark.parametrize(
    ("value", "kept"),
    [(np.float32(0.25), 0.25), (np.int64(7), 7), (1 / 3, 0.333333), (123456789, 123456789), ("H100", "H100")],
)
def test_record_keeps_plain_values(monkeypatch, value, kept):
    table = {}
    monkeypatch.setattr("helpers.teaching.results.TABLE", table)
    record(value=value)
    assert table == {"value": kept}
    assert type(table["value"]) is type(kept)


@pytest.mark.parametrize("value", [None, True, [1, 2], np.zeros(3), 1j])
def test_record_refuses_what_is_no_number(value):
    before = dict(TABLE)
    with pytest.raises((ResultError, ValueError)):
        record(fine=1, value=value)
    assert before == TABLE


def chapter(folder):
    """A chapter that records two numbers and has a text that shows them."""
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"display_name": "Python 3", "name": "python3"}})
    code = "from helpers.teaching import record\n\nrecord(answer=41 + 1, half=0.5)"
    text = f"The answer is {span('answer')}, and half of one {span('half:.2f')}."
    notebook.cells = [nbformat.v4.new_code_cell(code), nbformat.v4.new_markdown_cell(text)]
    path = folder / "01_scratch.ipynb"
    nbformat.write(notebook, path)
    path.with_suffix(".py").write_text(jupytext.writes(jupytext.read(path), fmt="py:percent"))
    return path


def test_a_run_fills_the_text_and_stamps_the_table(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    path = chapter(tmp_path)
    execute(path, "cpu", commit="abc")
    assert read_results(path) == {"cpu": {"answer": 42, "half": 0.5}}
    for file in (path, path.with_suffix(".py")):
        assert ">42</span>" in file.read_text().replace('\\"', '"')
        assert ">0.50</span>" in file.read_text().replace('\\"', '"')
    assert stale(path).cells == ()

    table = path.with_suffix(".results.json")
    whole = table.read_text()
    table.write_text(whole.replace("42", "43"))
    assert stale(path).cells == (
        "lane cpu: the results table is not the one that the run wrote; run workbook execute --lane cpu",
        "answer is '42' in the text, measured '43'",
    )
    table.write_text(whole)

    retyped = path.read_text().replace(">42<", ">44<")
    path.write_text(retyped)
    path.with_suffix(".py").write_text(path.with_suffix(".py").read_text().replace(">42<", ">44<"))
    assert stale(path).cells == ("answer is '44' in the text, measured '42'",)
    assert fill_numbers(path)
    assert not fill_numbers(path)
    assert stale(path).cells == ()


def test_a_prose_page_is_filled_and_checked(book):
    page = book / "book" / "page.md"
    page.write_text(f"# Page\n\nIt was {span('03_one/windows')} windows, and {span('03_one/nothing')}.\n")
    result = CliRunner().invoke(app, ["fill", str(page)])
    assert result.exit_code == 1
    assert "recorded no 'nothing'" in result.stderr
    assert ">177</span>" in page.read_text()
    assert CliRunner().invoke(app, ["stale", str(page)]).exit_code == 1
    page.write_text(page.read_text().replace("nothing", "windows"))
    assert CliRunner().invoke(app, ["fill", str(page)]).exit_code == 0
    assert CliRunner().invoke(app, ["stale", str(page)]).exit_code == 0
