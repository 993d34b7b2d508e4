"""Execution in lanes and stamps: what is stored, what is left alone, and what makes a notebook stale."""

import subprocess

import jupytext
import nbformat
import pytest
from typer.testing import CliRunner

from helpers.cli import app
from helpers.teaching import NotebookError, execute, stale

CELLS = """\
# %%
from helpers.scoring import auroc

word = "both"

# %% tags=["lane:cpu"]
print("cpu only", word)

# %%
print("end", auroc([True, False], [2.0, 1.0]))
"""


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """A chapter of three cells in a git repository of its own."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    notebook = jupytext.reads(CELLS, fmt="py:percent")
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    path = tmp_path / "01_scratch.ipynb"
    write(path, notebook)
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    return path


def write(path, notebook):
    nbformat.write(notebook, path)
    path.with_suffix(".py").write_text(jupytext.writes(jupytext.read(path), fmt="py:percent"))


def texts(path):
    cells = nbformat.read(path, 4).cells
    return ["".join(output.get("text", "") for output in cell.outputs).strip() for cell in cells]


def edit(path, change):
    notebook = nbformat.read(path, 4)
    change(notebook)
    write(path, notebook)


@pytest.mark.parametrize(
    ("line", "seed"), [("SEED = 7", [7]), ("SEEDS = range(2)", [0, 1]), ("SEED, SEEDS = 1, [4, 5]", [4, 5]), ("", None)]
)
def test_the_seed_is_in_the_stamp(chapter, line, seed):
    edit(chapter, lambda notebook: notebook.cells[0].update(source=notebook.cells[0].source + "\n" + line))
    assert execute(chapter, "cpu")["seed"] == seed


def test_home_lane_stores_shared_cells_and_its_own(chapter):
    stamp = execute(chapter, "cpu")
    assert texts(chapter) == ["", "cpu only both", "end 1.0"]
    assert stamp["device"].endswith("cores, " + stamp["device"].split(", ")[1])
    assert not stamp["commit"].endswith("+")
    assert {"helpers.scoring.scores", "helpers.scoring"} <= set(stamp["modules"])
    assert stamp["versions"]["python"]
    assert stamp["peak_mib"] > 10
    assert stale(chapter).cells == ()
    assert stale(chapter).modules == ()


def test_what_executes_a_chapter_is_not_in_its_stamp(chapter):
    edit(chapter, lambda notebook: notebook.cells[1].update(source="import helpers.teaching"))
    modules = execute(chapter, "cpu")["modules"]
    assert "helpers.teaching.results" in modules  # what cells record with
    assert "helpers.teaching.notebooks" not in modules


def test_another_lane_stores_its_own_cells_only(chapter):
    """The GPU lane is home and its outputs are there; a run in the CPU lane must not touch the shared cells."""

    def stored_elsewhere(notebook):
        notebook.metadata["workbook"] = {"home": "gpu", "lanes": {}}
        notebook.cells[2].outputs = [nbformat.v4.new_output("stream", text="from the GPU")]

    edit(chapter, stored_elsewhere)
    execute(chapter, "cpu")
    assert texts(chapter) == ["", "cpu only both", "from the GPU"]
    assert "no stamp" in stale(chapter).cells[0]  # the home lane has not run yet


def test_a_lane_does_not_lean_on_the_other_lanes_cells(chapter):
    def lean(notebook):
        notebook.cells.insert(1, nbformat.v4.new_code_cell("secret = 1", metadata={"tags": ["lane:gpu"]}))
        notebook.cells[3].source = "print(secret)"

    edit(chapter, lean)
    before = chapter.read_bytes()
    with pytest.raises(NotebookError, match=r"cell 3 \(print\(secret\)\): NameError: name 'secret' is not defined"):
        execute(chapter, "cpu")
    assert chapter.read_bytes() == before


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("import time; time.sleep(99)", r"still running after 2 s. Allow it more \(--timeout\)"),
        ("import os; os._exit(7)", "it ended the kernel"),
    ],
)
def test_a_cell_that_never_ends_or_ends_the_kernel_is_named(chapter, cell, reason):
    edit(chapter, lambda notebook: notebook.cells[1].update(source=cell))
    before = chapter.read_bytes()
    with pytest.raises(NotebookError, match=rf"cell 2 \(import .*\): {reason}"):
        execute(chapter, "cpu", timeout=2)
    assert chapter.read_bytes() == before


def test_what_ran_before_an_error_is_kept_beside_the_chapter(chapter):
    edit(chapter, lambda notebook: notebook.cells[2].update(source="raise KeyboardInterrupt"))
    with pytest.raises(
        NotebookError, match=r"cell 3 \(raise KeyboardInterrupt\): KeyboardInterrupt.*\n.*\.failed"
    ) as error:
        execute(chapter, "cpu")
    kept = chapter.parent / ".failed" / chapter.name
    assert str(error.value).endswith(str(kept))
    assert [cell.outputs[0].output_type for cell in nbformat.read(kept, 4).cells[1:3]] == ["stream", "error"]


def test_what_is_printed_in_a_row_is_one_output(chapter):
    source = "import time\nfor n in range(3):\n    print(n, flush=True)\n    time.sleep(0.3)\ndisplay(4)\nprint(5)"
    edit(chapter, lambda notebook: notebook.cells[1].update(source=source))
    execute(chapter, "cpu")
    printed = nbformat.read(chapter, 4).cells[1].outputs
    assert [one.get("text") for one in printed] == ["0\n1\n2\n", None, "5\n"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda nb: nb.cells[0].update(source="word = 'other'"), "code cells changed since they ran"),
        (lambda nb: nb.cells[2].outputs[0].update(text="end 0.9"), "stored outputs are not those"),
        (lambda nb: nb.cells[1].update(outputs=[]), "stored outputs are not those"),
        (lambda nb: nb.metadata.pop("workbook"), "no stamp"),
    ],
)
def test_an_edit_is_stale(chapter, change, reason):
    execute(chapter, "cpu")
    edit(chapter, change)
    assert any(reason in cell for cell in stale(chapter).cells)
    result = CliRunner().invoke(app, ["stale", str(chapter)])
    assert result.exit_code == 1
    assert "STALE" in result.stdout


def test_changed_helpers_are_named_and_fail_a_release(chapter):
    execute(chapter, "cpu")

    def age(notebook):
        notebook.metadata["workbook"]["lanes"]["cpu"]["modules"]["helpers.scoring.scores"] = "0" * 64

    edit(chapter, age)
    assert stale(chapter).cells == ()
    assert stale(chapter).modules == ("lane cpu: helpers.scoring.scores changed since",)
    assert CliRunner().invoke(app, ["stale", str(chapter)]).exit_code == 0
    assert CliRunner().invoke(app, ["stale", "--release", str(chapter)]).exit_code == 1


def test_cells_of_a_lane_that_never_ran_are_stale(chapter):
    gpu_cell = nbformat.v4.new_code_cell("1", metadata={"tags": ["lane:gpu"]})
    edit(chapter, lambda notebook: notebook.cells.append(gpu_cell))
    execute(chapter, "cpu")
    assert stale(chapter).cells == ("lane gpu: never executed; run workbook execute --lane gpu",)


def test_prose_may_change_without_a_run(chapter):
    execute(chapter, "cpu")
    edit(chapter, lambda nb: nb.cells.append(nbformat.v4.new_markdown_cell("More words.")))
    assert stale(chapter).cells == ()


def test_a_pair_that_differs_is_not_executed(chapter):
    chapter.with_suffix(".py").write_text("# %%\nprint(1)\n")
    with pytest.raises(NotebookError, match=r"differs from 01_scratch\.py\. Run jupytext --sync"):
        execute(chapter, "cpu")


def test_the_gpu_lane_needs_a_gpu(chapter):
    before = chapter.read_bytes()
    with pytest.raises(NotebookError, match="lane gpu, but PyTorch found no GPU"):
        execute(chapter, "gpu")
    assert chapter.read_bytes() == before


def test_a_tree_with_changes_is_stamped_so(chapter):
    (chapter.parent / "new.txt").write_text("x")
    assert execute(chapter, "cpu")["commit"].endswith("+")
    assert execute(chapter, "cpu", commit="abc123")["commit"] == "abc123"


def test_an_unknown_tag_is_named(chapter):
    edit(chapter, lambda nb: nb.cells[1].metadata.update(tags=["lane:tpu"]))
    with pytest.raises(NotebookError, match="cell tagged tpu"):
        execute(chapter, "cpu")


def test_an_unknown_tag_is_a_reason_of_its_own(chapter):
    execute(chapter, "cpu")
    edit(chapter, lambda nb: nb.cells[1].metadata.update(tags=["lane:CPU"]))
    result = CliRunner().invoke(app, ["stale", str(chapter)])
    assert result.exit_code == 1
    assert "cell tagged CPU: expected at most one of lane:gpu and lane:cpu" in result.stdout


def test_cells_that_take_long_are_named(chapter, monkeypatch):
    monkeypatch.setattr("helpers.cli._SLOW_CELL", 0.5)
    edit(chapter, lambda nb: nb.cells[1].update(source=f"import time\ntime.sleep(0.6)\n{nb.cells[1].source}"))
    result = CliRunner().invoke(app, ["execute", str(chapter), "--lane", "cpu"])
    assert "cell 2: 1 s\n" in result.stdout
    assert "cell 3:" not in result.stdout


def test_the_home_of_a_chapter_can_change(chapter):
    """A chapter that ran on the CPU first, and whose page is to show what another lane prints; here the other way."""

    def stored_elsewhere(notebook):
        notebook.metadata["workbook"] = {"home": "gpu", "lanes": {}}
        notebook.cells[2].outputs = [nbformat.v4.new_output("stream", text="from the GPU")]

    edit(chapter, stored_elsewhere)
    assert CliRunner().invoke(app, ["execute", str(chapter), "--lane", "cpu", "--home"]).exit_code == 0
    assert texts(chapter) == ["", "cpu only both", "end 1.0"]
    assert stale(chapter).cells == ()
