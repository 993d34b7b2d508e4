"""What the book adds to a chapter: its card, its launch menu, and the origin of each measured number.

The card is a function of a notebook; it is tested on notebooks made here. Numbers and menu are tested in a small book,
which is built twice: as it should be, and with references that lead nowhere.
"""

import copy
import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import nbformat
import pytest

from helpers.cloud import Price

ROOT = Path(__file__).resolve().parents[2]
GPU = {
    "device": "NVIDIA H100 80GB HBM3",
    "driver": "580.1",
    "versions": {"python": "3.12.3", "torch": "2.11.0"},
    "seconds": 50.4,
    "peak_mib": 2906,
    "peak_gpu_mib": 2284,
    "commit": "4948406d6812",
    "date": "2026-11-22",
}
CPU = {**GPU, "device": "4 cores, x86_64", "driver": None, "seconds": 212.3, "peak_gpu_mib": None, "commit": "abc123+"}


@pytest.fixture(scope="module")
def chapter_card():
    location = ROOT / "book" / "_ext" / "chapter_card.py"
    spec = importlib.util.spec_from_file_location("chapter_card", location)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SOURCES = Path(__file__).resolve().parents[2] / "src"


def chapter(*cells, **lanes):
    """A notebook of Markdown cells (texts) and code cells (texts that begin with ``>``), with the stamps of lanes."""
    notebook = nbformat.v4.new_notebook()
    for cell in cells:
        new = nbformat.v4.new_code_cell if cell.startswith(">") else nbformat.v4.new_markdown_cell
        notebook.cells.append(new(cell.removeprefix(">")))
    if lanes:
        notebook.metadata["workbook"] = {"home": next(iter(lanes)), "lanes": copy.deepcopy(lanes)}
    return notebook


def words(page):
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


@pytest.mark.parametrize(
    ("cells", "minutes"),
    [
        (["# Short", "Two words."], 5),
        (["word " * 1000], 5),
        (["word " * 1001], 10),
        (["word " * 900, ">" + "\n\n".join(["x = 1"] * 8)], 10),  # 8 lines, half a minute more than 4.5
        (["[word](https://example.org/one/two/three) " * 500 + '<span data-result="x:.1f">1.5</span> ' * 500], 5),
    ],
)
def test_reading_time_by_the_rule(chapter_card, cells, minutes):
    assert chapter_card.reading_minutes(chapter(*cells)) == minutes


def test_changed_helpers_are_named_on_the_card(chapter_card):
    digest = hashlib.sha256((SOURCES / "helpers" / "eeg" / "windows.py").read_bytes()).hexdigest()
    package = hashlib.sha256((SOURCES / "helpers" / "eeg" / "__init__.py").read_bytes()).hexdigest()
    same = {"helpers.eeg.windows": digest, "helpers.eeg": package}
    assert "Code changed" not in chapter_card.card(chapter("# A", cpu={**CPU, "modules": same}), SOURCES)
    other = {**same, "helpers.eeg.windows": "0" * 64, "helpers.eeg.gone": digest}
    text = words(chapter_card.card(chapter("# A", cpu={**CPU, "modules": other}), SOURCES))
    assert "Code changed since these outputs were stored: helpers.eeg.gone, helpers.eeg.windows." in text


def test_code_that_the_page_does_not_show_takes_no_time(chapter_card):
    notebook = chapter("word " * 900, ">" + "x = 1\n" * 8)
    notebook.cells[1].metadata["tags"] = ["remove-cell"]
    assert chapter_card.reading_minutes(notebook) == 5


def test_a_card_of_two_lanes(chapter_card):
    text = words(chapter_card.card(chapter("# A", gpu=GPU, cpu=CPU), SOURCES)).replace("\N{NO-BREAK SPACE}", " ")
    assert "Read about 5 min" in text
    assert "Run on a GPU 50 s on H100 80GB HBM3, 2.2 GiB of GPU memory" in text
    assert "The same GPU, rented about $0.06 on Modal, a cloud service; price of 2026-07, GPU alone" in text
    assert "Run on a CPU 4 min on 4 cores, x86_64, 2.8 GiB of memory" in text
    assert (
        "GPU run, which stored the outputs: NVIDIA H100 80GB HBM3, driver 580.1; python 3.12.3, torch 2.11.0; 50 s"
        in text
    )
    assert "CPU run: 4 cores, x86_64; python 3.12.3" in text
    assert "commit abc123+, 2026-11-22." in text
    assert "$0.001097 a second for one H100 on 2026-07-01, according to github.com/api-evangelist/" in text


def test_a_card_of_one_lane(chapter_card):
    on_cpu = words(chapter_card.card(chapter("# A", cpu=CPU), SOURCES))
    assert "Run on a CPU" in on_cpu
    assert not {"GPU", "Modal", "$"} & set(re.findall(r"\w+|\$", on_cpu))
    on_gpu = words(chapter_card.card(chapter("# A", gpu=GPU), SOURCES))
    assert "The same GPU, rented" in on_gpu
    assert "CPU run" not in on_gpu


def test_a_lane_with_cells_of_its_own_says_so(chapter_card):
    notebook = chapter("# A", ">print(1)", gpu=GPU, cpu=CPU)
    notebook.cells[1].metadata["tags"] = ["lane:cpu"]
    text = words(chapter_card.card(notebook, SOURCES))
    assert "GPU run, which stored the outputs: NVIDIA" in text
    assert "CPU run, which stored the outputs of its own cells: 4 cores" in text


def test_a_card_without_a_stamp_says_so(chapter_card):
    assert "Outputs without a stamp: nobody knows what made them." in chapter_card.card(chapter("# A"), SOURCES)


def test_two_gpus_cost_twice_as_much(chapter_card):
    text = words(chapter_card.card(chapter("# A", gpu={**GPU, "device": "2 × NVIDIA H200"}), SOURCES))
    assert "50 s on 2 × H200" in text
    assert "The same 2 GPUs, rented about $0.13 on Modal" in text
    assert "$0.001261 a second for one H200" in text


def test_a_gpu_without_a_price_gets_none(chapter_card):
    text = words(chapter_card.card(chapter("# A", gpu={**GPU, "device": "NVIDIA GH200 480GB"}), SOURCES))
    assert "The same GPU, rented no price known for this GPU" in text
    assert "$" not in text


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(9.9, "under one cent"), (10.1, "about $0.01"), (3600, "about $3.60"), (36_000, "about $36.00")],
)
def test_what_a_run_costs(chapter_card, monkeypatch, seconds, says):
    cent_in_ten_seconds = Price("X", 0.001, "GPU", date(2026, 5, 7), "nobody")
    monkeypatch.setattr(chapter_card, "price_of", lambda stamp: (1, cent_in_ten_seconds))
    assert chapter_card.cost_fact({**GPU, "seconds": seconds})[1] == says


@pytest.mark.parametrize(
    ("seconds", "says"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (5400, "1.5 h")]
)
def test_durations(chapter_card, seconds, says):
    assert chapter_card.duration(seconds) == says


def test_a_name_from_a_stamp_cannot_become_markup(chapter_card):
    assert "<b>" not in chapter_card.card(chapter("# A", gpu={**GPU, "device": "<b>", "commit": "<b>"}), SOURCES)


# A small book ---------------------------------------------------------------------------------------------------------

MADE = """# Made

Here <span data-result="auroc:.3f">0.162</span>, on the CPU <span data-result="cpu/seconds:.0f">212</span>.

| a | b |
|---|---|
| <span data-result="auroc">0.1621</span> | text |
"""
INTRO = """# Intro

There <span data-result="05_made/auroc:.3f">0.162</span> and <span data-result="05_made/cpu/seconds:.0f">212</span>.
"""
LOST = {
    "05_gone/auroc": "there is no chapter notebooks/05_gone.ipynb",
    "auroc": "there is no chapter book/intro.ipynb",  # a page has no numbers of its own
    "a/b/05_made/auroc": "there is no chapter",
    "05_bare/auroc": "notebooks/05_bare.ipynb has no stamp",
    "05_gpu/cpu/auroc": "notebooks/05_gpu.ipynb has no stamp of lane cpu",
}


def build(folder, intro):
    """Build a book of three chapters and one page with the extension, style and configuration of this one."""
    if importlib.util.find_spec("jupyter_book") is None:
        pytest.skip('jupyter-book is not installed: pip install -e ".[book]"')
    for part in ("book/_ext", "book/_static"):
        shutil.copytree(ROOT / part, folder / part)
    for part in ("_config.yml", "book/references.bib"):
        shutil.copy(ROOT / part, folder / part)
    (folder / "src").symlink_to(ROOT / "src")
    (folder / "notebooks").mkdir()
    (folder / "_toc.yml").write_text(
        "format: jb-book\nroot: book/intro\nchapters:\n  - file: book/how_to_use\n"
        + "".join(f"  - file: notebooks/{name}\n" for name in ("05_made", "05_bare", "05_gpu"))
    )
    (folder / "book" / "intro.md").write_text(intro)
    (folder / "book" / "how_to_use.md").write_text("# How\n\n(run-locally)=\n## Local\n\nText.\n")
    for name, made in {
        "05_made": chapter(MADE, gpu=GPU, cpu=CPU),
        "05_bare": chapter("# Bare"),
        "05_gpu": chapter("# On a GPU", gpu=GPU),
    }.items():
        nbformat.write(made, folder / "notebooks" / f"{name}.ipynb")
    code = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "build", ".", "-W", "-n", "--keep-going"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def small_book(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    done = build(folder, INTRO)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "_build" / "html"


def measured(page):
    return re.findall(r'<span data-result="([^"]+)" class="wb-result" title="([^"]+)">([^<]*)</span>', page.read_text())


def test_a_number_says_where_it_was_measured(small_book):
    on_gpu = "on NVIDIA H100 80GB HBM3, commit 4948406d6812, 2026-11-22"
    on_cpu = "on 4 cores, x86_64, commit abc123+, 2026-11-22"
    assert measured(small_book / "notebooks" / "05_made.html") == [
        ("auroc:.3f", f"Measured {on_gpu}", "0.162"),
        ("cpu/seconds:.0f", f"Measured {on_cpu}", "212"),
        ("auroc", f"Measured {on_gpu}", "0.1621"),
    ]
    assert measured(small_book / "book" / "intro.html") == [
        ("05_made/auroc:.3f", f"Measured in chapter 05 {on_gpu}", "0.162"),
        ("05_made/cpu/seconds:.0f", f"Measured in chapter 05 {on_cpu}", "212"),
    ]


def test_a_chapter_can_be_launched_locally_and_a_page_cannot(small_book):
    button = re.compile(
        r'<a href="([^"]+)"[^>]*>\s*<span[^>]*>\s*<i[^>]*></i>\s*</span>\s*<span[^>]*>Run locally</span>'
    )
    assert button.findall((small_book / "notebooks" / "05_made.html").read_text()) == [
        "../book/how_to_use.html#run-locally"
    ]
    assert "Run locally" not in (small_book / "book" / "how_to_use.html").read_text()


def test_a_reference_that_leads_nowhere_fails_the_build(tmp_path):
    spans = [f'A <span data-result="{reference}:.3f">1</span>.' for reference in LOST]
    done = build(tmp_path, "\n\n".join(["# Intro", *spans, "And <span data-result='auroc'>1</span>."]))
    report = done.stdout + done.stderr
    assert done.returncode != 0
    for reference, reason in LOST.items():
        assert f"data-result={reference}: {reason}" in report, reference
    assert 'expected <span data-result="name:.3f">' in report
