"""Field notes, checked: every claim has a verdict and evidence, links lead to labs that exist, and what is to come is.

The page is read with the book's own extension. Its counts and anchors are tested in a small book that is built here.
"""

import importlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXTENSIONS = ROOT / "book" / "_ext"
NOTEBOOKS = ROOT / "notebooks"
CHAPTERS = {f"{number:02d}" for number in range(15)}  # of the whole book


@pytest.fixture(scope="module")
def field_notes():
    pytest.importorskip("sphinx", reason='Sphinx is not installed: pip install -e ".[book]"')
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXTENSIONS))
        yield importlib.import_module("field_notes")


@pytest.fixture(scope="module")
def claims(field_notes):
    return field_notes.read_claims((ROOT / "book" / "field_notes.md").read_text(encoding="utf-8"))


def faults(claims, notebooks=NOTEBOOKS):
    """Claims that are misnumbered, without evidence, or whose links and promises are not true of the chapters."""
    found, count = [], Counter()
    texts = {path.stem: path.read_text(encoding="utf-8") for path in notebooks.glob("*.py")}
    here = {stem[:2] for stem in texts}
    for claim in claims:
        count[claim.name[0]] += 1
        if claim.name != f"{claim.name[0]}{count[claim.name[0]]}":
            found.append(f"{claim.name}: expected {claim.name[0]}{count[claim.name[0]]}")
        if claim.verdict != "Not checkable" and not (claim.labs or claim.to_come or claim.sources):
            found.append(f"{claim.name}: no lab, no source, no chapter to come")
        for chapter, lab in claim.labs:
            if f'<a id="lab-{lab}"></a>' not in texts.get(chapter, "") and (lab or chapter not in texts):
                found.append(f"{claim.name}: {chapter} has no lab {lab}")
        for number in claim.to_come:
            if number in here:
                found.append(f"{claim.name}: chapter {number} is here; link the cell that shows it")
            elif number not in CHAPTERS:
                found.append(f"{claim.name}: the book has no chapter {number}")
    return found


def test_every_claim_has_a_true_reference(claims):
    assert faults(claims) == []


def test_all_four_notes_are_there(claims):
    assert [name for name, count in Counter(claim.name[0] for claim in claims).items() if count >= 15] == list("ABCD")
    assert not [
        claim.name for claim in claims if '"' not in claim.says and "`" not in claim.says and len(claim.says) < 10
    ]


def test_claims_that_wait_are_counted_down(claims):
    waiting = Counter(number for claim in claims for number in claim.to_come)
    assert not {number for number in waiting if list(NOTEBOOKS.glob(f"{number}_*.ipynb"))}, waiting


SOUND = """A1. "A quotation".
: **True.** Shown [here](../notebooks/02_loader.ipynb#lab-glibc).
  *To come:* chapters 03 and 13.

A2. Another.
: **Not checkable.** Nobody knows.
"""


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("A2.", "A3.", "expected A2"),
        ("Not checkable", "Wrong", "no lab, no source"),
        ("lab-glibc", "lab-nothing", "02_loader has no lab nothing"),
        ("02_loader", "02_absent", "02_absent has no lab glibc"),
        ("02_loader.ipynb#lab-glibc", "02_absent.ipynb", "02_absent has no lab"),
        ("13.", "22.", "the book has no chapter 22"),
    ],
)
def test_a_broken_claim_is_a_fault(field_notes, tmp_path, old, new, fault):
    (tmp_path / "02_loader.py").write_text('# <a id="lab-glibc"></a>')
    assert faults(field_notes.read_claims(SOUND), tmp_path) == []
    assert old in SOUND
    assert any(fault in found for found in faults(field_notes.read_claims(SOUND.replace(old, new)), tmp_path))


def test_a_claim_stops_waiting_when_its_chapter_is_there(field_notes, tmp_path):
    (tmp_path / "02_loader.py").write_text('# <a id="lab-glibc"></a>')
    assert faults(field_notes.read_claims(SOUND), tmp_path) == []
    (tmp_path / "13_modal_training.py").write_text("")
    assert faults(field_notes.read_claims(SOUND), tmp_path) == [
        "A1: chapter 13 is here; link the cell that shows it",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("**True.**", "**Maybe.**", "A1: verdict 'Maybe'; expected one of True"),
        (": **True.**", ": True.", "no verdict read for A1"),
    ],
)
def test_a_claim_that_cannot_be_read_is_an_error(field_notes, old, new, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        field_notes.read_claims(SOUND.replace(old, new))


def test_the_parameters_that_the_page_tells_are_counted():
    torch = pytest.importorskip("torch")
    from helpers.models import SeizureDetector, parameters_by_stage

    count = parameters_by_stage(SeizureDetector())
    stand_in = [torch.nn.Conv1d(512, 512, 5, groups=512) for _ in range(2)]
    stand_in += [torch.nn.Linear(1024, 512), torch.nn.LayerNorm(512)]  # what joins the two directions stays
    layer = sum(parameter.numel() for part in stand_in for parameter in part.parameters())
    for page in ("field_notes.md", "troubleshooting.md"):
        text = (ROOT / "book" / page).read_text(encoding="utf-8")
        assert f"{count['total']:,}" in text
        assert f"{count['total'] - count['mamba'] + 6 * layer:,}" in text


CONF = f"""
import sys
sys.path.insert(0, {str(EXTENSIONS)!r})
extensions = ["myst_parser", "field_notes"]
myst_enable_extensions = ["deflist"]

def setup(app):
    from anchors import collect_anchors
    app.connect("doctree-read", collect_anchors)
"""
COUNTED = f"""# Title

```{{verdict-counts}}
```
```{{claims-to-come}}
```

{SOUND.replace("../notebooks/", "")}
"""
LINKS = """# Links

<a id="lab-here"></a>Text, [a claim](page.md#a2), [a lab](index.md#lab-here).

```{toctree}
page
```
"""


@pytest.mark.parametrize(("target", "built"), [("a2", True), ("a3", False)])
def test_a_page_shows_its_counts_and_its_claims_can_be_linked(field_notes, tmp_path, target, built):
    pytest.importorskip("myst_parser")
    (tmp_path / "conf.py").write_text(CONF)
    page = COUNTED.replace("[here](02_loader.ipynb#lab-glibc)", "[here](../notebooks/02_loader.ipynb#lab-glibc)")
    (tmp_path / "page.md").write_text(page)
    (tmp_path / "index.md").write_text(LINKS.replace("a2", target))
    (tmp_path / "notebooks").mkdir()
    options = ["-b", "html", "-q", str(tmp_path), str(tmp_path / "html")]
    done = subprocess.run([sys.executable, "-m", "sphinx", *options], capture_output=True, text=True)
    assert ("local id not found in doc 'page'" in done.stderr) is not built, done.stderr
    assert "lab-here" not in done.stderr
    html = (tmp_path / "html" / "page.html").read_text(encoding="utf-8")
    rows = [re.findall(r"<td[^>]*><p>(.*?)</p></td>", row) for row in re.findall(r"<tr.*?</tr>", html, re.S)]
    assert {re.search("<strong>(.+)</strong>", row[0])[1]: row[1:] for row in rows if row} == {
        "True": ["1", "1"],
        "True with a limit": ["0", "0"],
        "Wrong reason": ["0", "0"],
        "Wrong": ["0", "0"],
        "Not checkable": ["1", "1"],
        "All": ["2", "2"],
    }
    assert (
        "A chapter of today shows 1 of the 2 claims. 1 wait for chapters to come; by chapter: 03 (1), 13 (1)."
        in html.replace("\N{NO-BREAK SPACE}", " ")
    )
    assert re.search(r'<dt id="a2">\s*A2\. Another', html)
