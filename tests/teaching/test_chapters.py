"""The rules that every chapter keeps, each shown red on a chapter that breaks it.

A rule is a function from a notebook to a list of faults. No rule runs a cell: nbmake does that.
"""

import json
import re
import statistics
from pathlib import Path

import nbformat
import pytest
import tomllib
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers.teaching import lane_of, stale
from helpers.teaching.pairs import differs_from_its_text

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = sorted((ROOT / "book").glob("*.md"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# A number with a unit that only a measurement gives, a score, or three decimals. Sizes of windows, rates in Hz and
# other givens have none of these.
MEASURED = re.compile(
    r"""(?<![\w.,:/-])\d[\d.,]*\s?(?:
        (?:m|µ|n)s\b | [KMGT]i?B/s\b | [KMG]iB\b | [GT]?FLOP | samples/s\b | windows/s\b | tokens/s\b
        | (?:times|×|x)\s+(?:faster|slower|real.time|cheaper|larger|smaller|as\s+fast) | \s?%
    ) | (?<![\w.,:/-])\d+\.\d{3,}\b | \$\d+\.\d+ | AUROC(?:\s\w+){0,2}\s[01]\.\d+""",
    re.VERBOSE,
)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def large_cells(notebook):
    """Code cells of more than 40 lines, or a median above 6 over the cells that a reader sees opened."""
    folded = {"hide-input", "remove-input", "remove-cell"}
    lines = [len(cell.source.splitlines()) for cell in code_cells(notebook)]
    seen = [
        n for n, cell in zip(lines, code_cells(notebook), strict=True) if not folded & {*cell.metadata.get("tags", [])}
    ]
    faults = [f"a cell has {max(lines)} lines"] if max(lines) > 40 else []
    median = statistics.median(seen)
    return faults + ([f"half of the cells have {median:g} lines or more"] if median > 6 else [])


def missing_outputs(notebook):
    """A chapter that shows nothing, an error that was stored, or widget state, which makes a page ask a remote host."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    faults = [] if outputs else ["no output is stored"]
    faults += [f"stored error {output.ename}" for output in outputs if output.output_type == "error"]
    kept = [output for output in outputs if "application/vnd.jupyter.widget-view+json" in output.get("data", {})]
    return faults + (["widget state is stored"] if kept or "widgets" in notebook.metadata else [])


def figures_without_text(notebook):
    """Figures whose cell has no alt text that a person who cannot see it could work from."""
    faults = []
    for cell in code_cells(notebook):
        if any("image/png" in output.get("data", {}) for output in cell.outputs):
            text = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            if len(text) < 80:
                first = cell.source.partition("\n")[0]
                faults.append(
                    f"the figure of the cell {first!r} has the alt text {text!r}: give it at least 80 characters, "
                    '# %% mystnb={"image": {"alt": "…"}}'
                )
    return faults


def paths_of_a_machine(notebook):
    """Outputs that tell where the machine keeps its files."""
    outputs = json.dumps([cell.outputs for cell in code_cells(notebook)])
    return re.findall(r"/(?:home|root|work|Users|tmp)/[\w.-]*", outputs)


def missing_parts(notebook):
    """What every chapter has: one title, aims, needs, what can go wrong, exercises, recap, what next."""
    text = prose(notebook)
    lines = ["**You will**", "## What can go wrong here", "## Exercises", "## Recap", "## What next"]
    faults = [f"no line {line!r}" for line in lines if line not in text.splitlines()]
    faults += [] if re.search(r"^\*\*You need\*\*", text, re.M) else ["no line that begins with '**You need**'"]
    titles = re.findall(r"^# .*$", text, re.M)
    return faults + ([] if len(titles) == 1 else [f"{len(titles)} titles"])


def missing_exercises(notebook):
    """At least three exercises, each with a starter that is checked and the solution behind a click."""
    code = "\n".join(cell.source for cell in code_cells(notebook))
    checked, solved = re.findall(r'^check\("([\d.]+)"', code, re.M), re.findall(r'^solution\("([\d.]+)"\)', code, re.M)
    faults = [f"{len(checked)} exercises"] if len(checked) < 3 else []
    for cell in code_cells(notebook):
        if re.search(r"^check\(", cell.source, re.M) and "..." not in cell.source:
            faults.append(f"the starter is filled in: {cell.source}")
        if re.search(r"^solution\(", cell.source, re.M) and "remove-input" not in cell.metadata.get("tags", []):
            faults.append(f"{cell.source}: tag the cell remove-input")
    return faults + ([] if checked == solved else [f"checked {checked}, solved {solved}"])


def wrong_install_cell(notebook):
    """The first code cell installs the pinned release, quoted, where `helpers` cannot be found, and only there."""
    first = code_cells(notebook)[0].source
    wanted = ['find_spec("helpers") is None', f'"git+{PROJECT["urls"]["Repository"]}"', f"@v{PROJECT['version']}\"'"]
    return [f"the first code cell has no {part}" for part in wanted if part not in first]


def lanes_that_ci_would_run(notebook):
    """Cells of the GPU lane that nbmake would run on a CPU."""
    cells = [cell for cell in code_cells(notebook) if lane_of(cell) == "gpu"]
    return [cell.source for cell in cells if "skip-execution" not in cell.metadata.tags]


def unnamed_seeds(notebook):
    """Random numbers in a chapter that names no SEED, which the stamp would carry."""
    code = "\n".join(cell.source for cell in code_cells(notebook))
    drawn = re.findall(r"default_rng\([^)]*\)|manual_seed|\brandn?\(|load_detector\([^)]*\)|synthetic\(", code)
    named = re.search(r"^SEEDS? = ", code, re.M)
    return [] if named else [f"{call}: name the seed on a line of its own, SEED = 0" for call in drawn]


def typed_numbers(text):
    """Measured numbers that somebody typed into prose: outside code, spans of results, and paragraphs with a source.

    A source is a citation, a link to another site, or a comment ``<!-- given: why -->`` for a number by definition.
    """
    text = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.M | re.S)
    faults = []
    for paragraph in re.split(r"\n\s*\n", text):
        cited = re.search(r"\{cite|\]\(https?://|<!-- given: \w+", paragraph)
        bare = re.sub(r"`[^`]*`|<span data-result=.*?</span>|\]\([^)]*\)", "", paragraph, flags=re.S)
        faults += [] if cited else [match.group(0) for match in MEASURED.finditer(bare)]
    return faults


RULES = [
    large_cells,
    missing_outputs,
    figures_without_text,
    paths_of_a_machine,
    missing_parts,
    missing_exercises,
    wrong_install_cell,
    lanes_that_ci_would_run,
    unnamed_seeds,
]


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def chapter(request):
    return request.param


@pytest.mark.parametrize("rule", RULES)
def test_a_chapter_keeps_the_rule(chapter, rule):
    faults = rule(nbformat.read(chapter, 4))
    assert not faults, "\n".join(map(str, faults))


def test_a_chapter_equals_its_text(chapter, tmp_path):
    assert not differs_from_its_text(chapter), f"run: jupytext --sync {chapter.relative_to(ROOT)}"
    notebook, copied = nbformat.read(chapter, 4), tmp_path / chapter.name
    copied.with_suffix(".py").write_text(chapter.with_suffix(".py").read_text())
    for index, change in [
        (0, {"source": "one word"}),
        (-1, {"source": "one word"}),
        (3, {"metadata": {"tags": ["x"]}}),
    ]:
        nbformat.write(notebook, copied)
        assert not differs_from_its_text(copied)
        edited = nbformat.read(chapter, 4)
        edited.cells[index].update(change)
        nbformat.write(edited, copied)
        assert differs_from_its_text(copied)
        assert any("run jupytext --sync" in reason for reason in stale(copied).cells)


def test_every_text_has_its_notebook():
    assert {path.stem for path in (ROOT / "notebooks").glob("*.py")} == {path.stem for path in CHAPTERS}


def test_what_a_chapter_shows_is_what_its_code_made(chapter):
    assert not stale(chapter).cells, "\n".join(stale(chapter).cells)


def test_a_chapter_is_small(chapter):
    assert chapter.stat().st_size <= 0.6 * 2**20


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_the_numbers_of_a_prose_page_are_measured(page):
    assert not stale(page).cells, "\n".join(stale(page).cells)


@pytest.mark.parametrize("path", [*CHAPTERS, *PAGES, ROOT / "README.md"], ids=lambda path: path.stem)
def test_no_measured_number_is_typed(path):
    text = prose(nbformat.read(path, 4)) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
    advice = "record them and refer to them with a span, cite a source, or say <!-- given: why --> (CONTRIBUTING.md)"
    assert not typed_numbers(text), f"{typed_numbers(text)}: {advice}"


PNG = new_output("display_data", {"image/png": ""})
VIEW = new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "x"})
INSTALL = f"""if importlib.util.find_spec("helpers") is None:
    repository = "git+{PROJECT["urls"]["Repository"]}"
    pip(f'install "bimamba-eeg-workbook[workbook] @ {{repository}}@v{PROJECT["version"]}"')
"""
TEXT = """# Title

**You will**

- see

**You need** nothing.

## What can go wrong here

## Exercises

## Recap

## What next"""


def sound():
    """A small chapter that keeps every rule."""
    code = [INSTALL, "1 + 1", *(f'def f(): ...\n\n\ncheck("01.{i}", f)' for i in (1, 2, 3))]
    code += [f'solution("01.{i}")' for i in (1, 2, 3)]
    cells = [new_code_cell(source, outputs=[new_output("stream", text="2\n")]) for source in code]
    for cell in cells[-3:]:
        cell.metadata["tags"] = ["remove-input"]
    cells.append(new_code_cell("plot()", outputs=[PNG], metadata={"mystnb": {"image": {"alt": "A line. " * 12}}}))
    cells.append(new_code_cell("gpu()", metadata={"tags": ["lane:gpu", "skip-execution"]}))
    return new_notebook(cells=[new_markdown_cell(TEXT), *cells])


@pytest.mark.parametrize("rule", RULES)
def test_a_sound_chapter_has_no_fault(rule):
    assert rule(sound()) == []


def edit(index, old, new):
    """Replace in the source of one cell; the first is the text, the second the install cell."""

    def change(notebook):
        assert old in notebook.cells[index].source
        notebook.cells[index].source = notebook.cells[index].source.replace(old, new)

    return change


def without_outputs(notebook):
    for cell in code_cells(notebook):
        cell.outputs = []


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        (large_cells, lambda nb: nb.cells[2].update(source="x = 1\n" * 41)),
        (large_cells, lambda nb: [cell.update(source="x = 1\n" * 7) for cell in code_cells(nb)]),
        (missing_outputs, without_outputs),
        (
            missing_outputs,
            lambda nb: nb.cells[2].outputs.append(new_output("error", ename="E", evalue="", traceback=[])),
        ),
        (missing_outputs, lambda nb: nb.cells[2].outputs.append(VIEW)),
        (missing_outputs, lambda nb: nb.metadata.update(widgets={})),
        (figures_without_text, lambda nb: nb.cells[2].outputs.append(PNG)),
        (figures_without_text, lambda nb: nb.cells[-2].metadata.mystnb.image.update(alt="A line.")),
        (paths_of_a_machine, lambda nb: nb.cells[2].outputs.append(new_output("stream", text="/home/ada/x.edf"))),
        (missing_parts, edit(0, "**You need**", "Needs")),
        (missing_parts, edit(0, "## What can go wrong here", "## Faults")),
        (missing_parts, edit(0, "## Recap", "## What you saw")),
        (missing_parts, edit(0, "## Exercises", "# Exercises")),
        (missing_exercises, edit(3, 'check("01.1", f)', "pass")),
        (missing_exercises, edit(3, "...", "return 2")),
        (missing_exercises, lambda nb: nb.cells[6].metadata.update(tags=["hide-input"])),
        (missing_exercises, edit(8, 'solution("01.3")', 'solution("01.2")')),
        (wrong_install_cell, edit(1, f"@v{PROJECT['version']}\"'", "\"'")),
        (wrong_install_cell, edit(1, f"@v{PROJECT['version']}", "@v0.0.9")),
        (wrong_install_cell, edit(1, 'find_spec("helpers") is None', "True")),
        (unnamed_seeds, lambda nb: nb.cells[2].update(source="np.random.default_rng(0)")),
        (lanes_that_ci_would_run, lambda nb: nb.cells[-1].metadata.update(tags=["lane:gpu"])),
    ],
)
def test_a_rule_goes_red(rule, change):
    notebook = sound()
    change(notebook)
    assert rule(notebook) != []


@pytest.mark.parametrize(
    "text",
    [
        "It took 43 ms a window.",
        "That is 12 times faster than before.",
        "It ran at 19.5x real time, or 3×  faster.",
        "It needs 2.3 GiB of memory.",
        "The AUROC is 0.99 here.",
        "The score rises to 0.9986.",
        "This costs $0.06 an hour.",
        "Now 185 GFLOP/s.",
        "Clipped: 3 % of the samples.",
        "First paragraph with [a source](https://example.org).\n\nSecond: 43 ms.",
        'It took <span data-result="a:.0f">43</span> ms and not 51 ms.',
    ],
)
def test_a_typed_number_is_found(text):
    assert len(typed_numbers(text)) >= 1


@pytest.mark.parametrize(
    "text",
    [
        "Windows of 60 seconds at 256 Hz, 15,360 samples, one every 10 s.",
        "Version 1.10.3 and mamba-ssm 2.3.2.post1, Python 3.11; see chapter 08.",
        "The thresholds are 0.86 and 0.78, the edges 0.5 and 120 Hz; 32,606,439 parameters.",
        'It took <span data-result="a:.0f">43</span> ms, <span data-result="b:.1f">3.1</span> times faster.',
        "A T4 needs 43 ms, [says its maker](https://example.org).",
        "It reached 0.912 {cite:p}`dan2025szcore`.",
        "A spike lasts 20 to 70 ms. <!-- given: its definition -->",
        "```\n43 ms\n```",
        "`sleep 0.043`",
    ],
)
def test_givens_and_cited_numbers_may_be_typed(text):
    assert typed_numbers(text) == []
